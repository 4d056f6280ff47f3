"""Reserved and provisioned concurrency, and what they leave to the account.

AWS Lambda API Reference, PutFunctionConcurrency and PutProvisionedConcurrencyConfig; Developer
Guide, "Configuring reserved concurrency" and "Configuring provisioned concurrency".
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.functions import names, paging
from labkit.localaws.functions.errors import conflict, function_not_found, invalid, not_found
from labkit.localaws.functions.model import Function, Provisioned, Version
from labkit.localaws.functions.names import LATEST, Ref, is_version, qualified
from labkit.localaws.functions.store import Region, Store, reservation

# What must stay for functions without a reservation.
UNRESERVED_MINIMUM = 100


def put_function_concurrency(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """PutFunctionConcurrency: 0 stops the function, 100 must stay unreserved."""
    function = _unqualified(region, params, LATEST)
    wanted = params["ReservedConcurrentExecutions"]
    owner = region.owner
    with owner.lock:
        provisioned = sum(config.requested for config in function.provisioned.values())
        if wanted < provisioned:
            raise invalid(
                f" ReservedConcurrentExecutions  {wanted} should not be lower than function's "
                f"total provisioned concurrency [{provisioned}]."
            )
        left = unreserved(region, without=function) - wanted
        if wanted and left < UNRESERVED_MINIMUM:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                "UnreservedConcurrentExecution below its minimum value of "
                f"[{UNRESERVED_MINIMUM}]."
            )
        function.reserved = wanted
    return {"ReservedConcurrentExecutions": wanted}


def get_function_concurrency(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetFunctionConcurrency: empty without a reservation."""
    function = _unqualified(region, params, None)
    if function.reserved is None:
        return {}
    return {"ReservedConcurrentExecutions": function.reserved}


def delete_function_concurrency(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """DeleteFunctionConcurrency."""
    _unqualified(region, params, None).reserved = None


def put_provisioned_concurrency_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """PutProvisionedConcurrencyConfig: IN_PROGRESS, until the environments are there."""
    ref = _ref(region, params)
    if ref.qualifier in (None, LATEST):
        raise invalid(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )
    function = _published(region, ref)
    wanted = params["ProvisionedConcurrentExecutions"]
    owner = region.owner
    qualifier = str(ref.qualifier)
    with owner.lock:
        _check_overlap(function, qualifier)
        _check_room(region, function, qualifier, wanted)
        config = Provisioned(wanted, owner.hooks.now())
        function.provisioned[qualifier] = config
        answer = _shown(config)
    _provide(owner, function, qualifier, config)
    return answer


def get_provisioned_concurrency_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetProvisionedConcurrencyConfig."""
    ref = _ref(region, params)
    _check_qualifier(ref)
    function = _published(region, ref)
    with region.owner.lock:
        config = function.provisioned.get(str(ref.qualifier))
        if config is None:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                404,
                Type="User",
            )
        return _shown(config)


def delete_provisioned_concurrency_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> None:
    """DeleteProvisionedConcurrencyConfig; one that is not there is fine."""
    ref = _ref(region, params)
    _check_qualifier(ref)
    function = _published(region, ref)
    owner = region.owner
    with owner.lock:
        config = function.provisioned.pop(str(ref.qualifier), None)
        version = function.version(ref.qualifier)
    if config is not None:
        give_up(owner, function, version.number if version else None)
        owner.tell(owner.on_provisioned_changed, function.arn, str(ref.qualifier))


def list_provisioned_concurrency_configs(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """ListProvisionedConcurrencyConfigs."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    function = region.owner.function(ref, Ref(ref.account, ref.region, ref.name))
    with region.owner.lock:
        found = [
            {"FunctionArn": qualified(function.arn, qualifier), **_shown(config)}
            for qualifier, config in sorted(function.provisioned.items())
        ]
    chosen, marker = paging.page(found, params, key=lambda config: config["FunctionArn"])
    return paging.with_marker("ProvisionedConcurrencyConfigs", chosen, marker)


def alias_moved(owner: Store, function: Function, alias: str, before: str) -> None:
    """Provide an alias's concurrency anew, after it left version *before* for another."""
    with owner.lock:
        config = function.provisioned.get(alias)
        if config is None:
            return
        # The old environments serve until the new ones are there.
        config.status, config.reason = "IN_PROGRESS", None
        config.last_modified = owner.hooks.now()
    _provide(owner, function, alias, config)
    give_up(owner, function, before)


def unreserved(region: Region, *, without: Function | None = None) -> int:
    """What the account's limit leaves to functions without a reservation."""
    functions = region.owner.at(region.account, region.region).functions.values()
    taken = sum(reservation(function) for function in functions if function is not without)
    return region.owner.concurrency_limit - taken


def _unqualified(region: Region, params: Mapping[str, Any], shown: str | None) -> Function:
    ref = names.parse(params["FunctionName"], region.account, region.region)
    if ref.qualifier is not None:
        raise invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not "
            "support this operation. Please specify either a function name or an unqualified "
            "function ARN."
        )
    return region.owner.function(ref, Ref(ref.account, ref.region, ref.name, shown))


def _ref(region: Region, params: Mapping[str, Any]) -> Ref:
    return names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )


def _check_qualifier(ref: Ref) -> None:
    if ref.qualifier in (None, LATEST):
        raise invalid("The function resource provided must be an alias or a published version.")


def _published(region: Region, ref: Ref) -> Function:
    """The function, when the qualifier is a version or an alias of it."""
    function = region.owner.find(ref)
    qualifier = str(ref.qualifier)
    version = function.version(qualifier) if function else None
    if function is None or version is None:
        if is_version(qualifier):
            raise function_not_found(ref.arn)
        raise not_found(f"Cannot find alias arn: {ref.arn}")
    return function


def _check_overlap(function: Function, qualifier: str) -> None:
    """A version gets its concurrency directly or through an alias, not both."""
    alias = function.aliases.get(qualifier)
    if alias is not None:
        if alias.version == LATEST:
            raise invalid(
                "Provisioned Concurrency Configs cannot be applied to unpublished function "
                "versions."
            )
        if any(number in function.provisioned for number in (alias.version, *alias.weights)):
            raise conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already "
                "Provisioned version"
            )
    elif any(name in function.provisioned for name in function.aliases_of(qualifier)):
        raise conflict("Version is pointed by a Provisioned Concurrency alias")


def _check_room(region: Region, function: Function, qualifier: str, wanted: int) -> None:
    others = sum(c.requested for q, c in function.provisioned.items() if q != qualifier)
    if function.reserved is not None:
        if others + wanted > function.reserved:
            raise invalid(
                "Requested Provisioned Concurrency should not be greater than the "
                "reservedConcurrentExecution for function"
            )
        return
    left = unreserved(region, without=function) - others
    if wanted > left:
        raise invalid(
            "Specified ConcurrentExecutions for function is greater than account's unreserved "
            f"concurrency [{left}]."
        )
    if left - wanted < UNRESERVED_MINIMUM:
        raise invalid(
            "Specified ConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_MINIMUM}]."
        )


def _provide(owner: Store, function: Function, qualifier: str, config: Provisioned) -> None:
    """Have the environments of *config* prepared in the background."""

    def provide() -> None:
        with owner.lock:
            version = function.version(qualifier)
        if version is None:
            return
        ready = _prepare(owner, function, version)
        with owner.lock:
            if function.provisioned.get(qualifier) is not config:
                return
            others = _wanted(function, version.number) - config.requested
            config.allocated = max(0, min(config.requested, ready - others))
            if config.allocated == config.requested:
                config.status, config.reason = "READY", None
            else:
                config.status, config.reason = "FAILED", "FUNCTION_ERROR_INIT_FAILURE"
            owner.changed.notify_all()
        owner.tell(owner.on_provisioned_changed, function.arn, qualifier)

    owner.hooks.defer(provide)


def give_up(owner: Store, function: Function, number: str | None) -> None:
    """Have the environments that version *number* has too many go, in the background."""
    version = function.version(number) if number else None
    if version is not None:
        owner.hooks.defer(lambda: _prepare(owner, function, version))


def _prepare(owner: Store, function: Function, version: Version) -> int:
    """Ask for as many environments as all configurations of *version* want; how many are ready."""
    with owner.lock:
        view, wanted = version.serving, _wanted(function, version.number)
    return owner.hooks.provision(view, wanted) if view is not None else 0


def _wanted(function: Function, number: str) -> int:
    return sum(
        config.requested
        for qualifier, config in function.provisioned.items()
        if (version := function.version(qualifier)) is not None and version.number == number
    )


def _shown(config: Provisioned) -> dict[str, Any]:
    moment = datetime.datetime.fromtimestamp(config.last_modified, datetime.UTC)
    shown = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": config.allocated,
        "AllocatedProvisionedConcurrentExecutions": config.allocated,
        "Status": config.status,
        "LastModified": f"{moment:%Y-%m-%dT%H:%M:%S}+0000",
    }
    if config.reason:
        shown["StatusReason"] = config.reason
    return shown

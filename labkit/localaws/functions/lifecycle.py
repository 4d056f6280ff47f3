"""Functions from creation to deletion, and the states they pass through.

AWS Lambda API Reference, CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration,
PublishVersion, DeleteFunction; Developer Guide, "Lambda function states".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.constraints import message, violation
from labkit.localaws.functions import code, code_signing, configuration, names
from labkit.localaws.functions.errors import (
    check_revision,
    conflict,
    function_not_found,
    invalid,
)
from labkit.localaws.functions.layers import LayerVersion
from labkit.localaws.functions.model import Function, Version, new_revision, timestamp
from labkit.localaws.functions.names import LATEST, Ref, is_version
from labkit.localaws.functions.store import Region

_NAME_LIMIT = 64
_CREATING = "The function is being created."


def create_function(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """CreateFunction: a function that is Pending until it has settled in the background."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    if ref.account != region.account:
        # AWS says nothing more.
        raise AwsError("AccessDeniedException", None, 403)  # type: ignore[arg-type]
    if len(ref.name) > _NAME_LIMIT:
        limit = f"Member must have length less than or equal to {_NAME_LIMIT}"
        raise invalid(message([violation(ref.name, "functionName", limit)]))
    configuration.refuse_unbuilt(params)
    owner = region.owner
    _check_free(region, ref)
    package = code.read(params["Code"], owner.fetcher(call.principal))
    config, layers = configuration.initial(region, ref.name, params, package)
    if params.get("CodeSigningConfigArn"):
        code_signing.check_exists(region, params["CodeSigningConfigArn"])
        code_signing.check_package(region, params["CodeSigningConfigArn"])
    with owner.lock:
        _check_free(region, ref)
        _changed(region, config)
        config.update(State="Pending", StateReason=_CREATING, StateReasonCode="Creating")
        function = Function(
            account=ref.account,
            region=ref.region,
            name=ref.name,
            arn=ref.function_arn,
            latest=Version(config, package, _archives(layers)),
            tags=dict(params.get("Tags") or {}),
            code_signing_config=params.get("CodeSigningConfigArn") or None,
        )
        region.functions[ref.name] = function
        created = [function.latest]
        if params.get("Publish"):
            created.append(_publish(region, function, None))
        # The ARN of a function just created is never a version's, its Version may be.
        answer = created[-1].shown(function.arn, None)
    _settle(region, function, created)
    return answer


def update_function_code(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """UpdateFunctionCode: new code for ``$LATEST``, or with DryRun only what it would be."""
    function = _latest(region, params)
    owner = region.owner
    configuration.refuse_unbuilt(params)
    package = code.read(params, owner.fetcher(call.principal))
    code_signing.check_package(region, function.code_signing_config)
    configuration.check_total_size(package, _layers_in_use(region, function))
    with owner.lock:
        _check_idle(region, function)
        latest = function.latest
        check_revision(params.get("RevisionId"), latest.config["RevisionId"])
        config = copy.deepcopy(latest.config)
        configuration.use_package(config, package)
        if params.get("Architectures"):
            config["Architectures"] = list(params["Architectures"])
        if params.get("DryRun"):
            return Version(config, package).shown(function.arn, None)
        publish = bool(params.get("Publish"))
        answer, changing = _apply(region, function, config, package, None, publish)
    _settle(region, function, changing)
    return answer


def update_function_configuration(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """UpdateFunctionConfiguration: the settings given replace those of ``$LATEST``."""
    function = _latest(region, params)
    owner = region.owner
    configuration.refuse_unbuilt(params)
    with owner.lock:
        _check_idle(region, function)
        check_revision(params.get("RevisionId"), function.latest.config["RevisionId"])
        before = function.latest.config["RevisionId"]
        config = copy.deepcopy(function.latest.config)
        package = function.latest.package
    layers = configuration.merge(region, config, params, package)
    with owner.lock:
        _check_idle(region, function)
        if function.latest.config["RevisionId"] != before:
            raise _in_progress(function)
        answer, changing = _apply(region, function, config, package, layers, False)
    _settle(region, function, changing)
    return answer


def publish_version(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """PublishVersion: a new version, or the last one when nothing changed since."""
    function = _latest(region, params)
    owner = region.owner
    with owner.lock:
        _check_idle(region, function)
        latest = function.latest
        check_revision(params.get("RevisionId"), latest.config["RevisionId"])
        expected, actual = params.get("CodeSha256"), latest.config["CodeSha256"]
        if expected and expected != actual:
            raise invalid(
                f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST "
                f"({actual}). Please try again with the CodeSHA256 in $LATEST."
            )
        version = _unchanged(function)
        fresh = version is None
        if version is None:
            version = _publish(region, function, params.get("Description"))
            _active(version)
            version.serving = version.view(function)
            latest.config["RevisionId"] = new_revision()
        answer = version.shown(function.arn, version.number)
    if fresh:
        owner.tell(owner.on_changed, function.arn, version.number)
    return answer


def delete_function(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """DeleteFunction: the function with everything, or the one version of Qualifier."""
    ref = names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )
    owner = region.owner
    qualifier = ref.qualifier
    if qualifier == LATEST:
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    with owner.lock:
        state = owner.at(ref.account, ref.region)
        function = state.functions.get(ref.name)
        if qualifier and not is_version(qualifier) and "$" not in qualifier:
            raise invalid("Deletion of aliases is not currently supported.")
        if function is None:
            raise function_not_found(ref.function_arn)
        if qualifier is None:
            state.functions.pop(ref.name)
            owner.changed.notify_all()
        else:
            users = function.aliases_of(qualifier)
            if users:
                raise conflict(
                    "Unable to delete version because the following aliases reference it: "
                    f"[{', '.join(users)}]"
                )
            function.versions.pop(qualifier, None)
            for configs in (function.policies, function.event_invoke, function.provisioned):
                configs.pop(qualifier, None)
    owner.tell(owner.on_deleted, ref.function_arn, qualifier)
    return {"StatusCode": 204}


# -- steps -----------------------------------------------------------------------------------


def _check_free(region: Region, ref: Ref) -> None:
    if region.owner.find(ref) is not None:
        raise conflict(f"Function already exist: {ref.name}")


def _latest(region: Region, params: Mapping[str, Any]) -> Function:
    """The function whose ``$LATEST`` a request changes; given a moment to settle."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    if ref.qualifier not in (None, LATEST):
        raise invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not "
            "support this operation. Please specify either a function name or an unqualified "
            "function ARN."
        )
    function = region.owner.function(ref, Ref(ref.account, ref.region, ref.name))
    region.owner.wait_settled(function)
    return function


def _check_idle(region: Region, function: Function) -> None:
    if region.owner.find(Ref(function.account, function.region, function.name)) is not function:
        raise function_not_found(function.arn)
    if not function.latest.settled:
        raise _in_progress(function)


def _in_progress(function: Function) -> AwsError:
    if function.latest.config.get("State") == "Pending":
        return conflict(
            "The operation cannot be performed at this time. "
            "The function is currently in the following state: Pending"
        )
    return conflict(
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {function.arn}"
    )


def _layers_in_use(region: Region, function: Function) -> list[LayerVersion]:
    """Layers of ``$LATEST`` as far as their versions still exist to be measured."""
    found = []
    for layer in function.latest.config.get("Layers", []):
        layer_arn, _, number = layer["Arn"].rpartition(":")
        parts = layer_arn.split(":")
        history = region.owner.at(parts[4], parts[3]).layers.get(parts[6])
        version = history.versions.get(int(number)) if history else None
        if version is not None:
            found.append(version)
    return found


def _archives(layers: list[LayerVersion]) -> tuple[tuple[str, Any], ...]:
    return tuple((layer.arn, layer.package.archive) for layer in layers)


def _changed(region: Region, config: dict[str, Any]) -> None:
    config["LastModified"] = timestamp(region.owner.hooks.now())
    config["RevisionId"] = new_revision()


def _apply(
    region: Region,
    function: Function,
    config: dict[str, Any],
    package: code.Package,
    layers: list[LayerVersion] | None,
    publish: bool,
) -> tuple[dict[str, Any], list[Version]]:
    """Make *config* and *package* those of ``$LATEST``; returns the answer and what changed."""
    latest = function.latest
    latest.config, latest.package = config, package
    if layers is not None:
        latest.layer_archives = _archives(layers)
    latest.serial = new_revision()
    _changed(region, config)
    config.update(
        LastUpdateStatus="InProgress",
        LastUpdateStatusReason=_CREATING,
        LastUpdateStatusReasonCode="Creating",
    )
    changing = [latest]
    answer = latest.shown(function.arn, None)
    if publish:
        version = _unchanged(function)
        if version is None:
            version = _publish(region, function, None)
            changing.append(version)
        answer = version.shown(function.arn, version.number)
    return answer, changing


def _unchanged(function: Function) -> Version | None:
    """The last published version when ``$LATEST`` is still what it was published from."""
    if function.published_content != _content(function.latest):
        return None
    return function.versions.get(function.published_number or "")


def _content(latest: Version) -> dict[str, Any]:
    return copy.deepcopy(latest.content())


def _publish(region: Region, function: Function, description: str | None) -> Version:
    """A new version of ``$LATEST``, Pending."""
    state = region.owner.at(function.account, function.region)
    number = state.version_numbers.get(function.name, 0) + 1
    state.version_numbers[function.name] = number
    latest = function.latest
    config = copy.deepcopy(latest.config)
    for name in list(config):
        if name.startswith(("State", "LastUpdateStatus")):
            del config[name]
    config.update(
        Version=str(number),
        RevisionId=new_revision(),
        State="Pending",
        StateReason=_CREATING,
        StateReasonCode="Creating",
    )
    if description is not None:
        config["Description"] = description
    version = Version(config, latest.package, latest.layer_archives)
    function.versions[str(number)] = version
    function.published_content = _content(latest)
    function.published_number = str(number)
    return version


def _active(version: Version) -> None:
    config = version.config
    for name in [name for name in config if name.startswith(("StateReason", "LastUpdateStatus"))]:
        del config[name]
    config.update(State="Active", LastUpdateStatus="Successful")


def _settle(region: Region, function: Function, versions: list[Version]) -> None:
    """Have *versions* become Active and their updates Successful, in the background."""
    owner = region.owner
    serials = [(version, version.serial) for version in versions]

    def settle() -> None:
        # What runs the old code goes before the new can be invoked: told afterwards, listeners
        # would take away what a first invocation of the new just started.
        for version, _ in serials:
            owner.tell(owner.on_changed, function.arn, version.number)
        with owner.lock:
            for version, serial in serials:
                if version.serial == serial:
                    _active(version)
                    # Settling is a change of its own.
                    version.config["RevisionId"] = new_revision()
                    version.serving = version.view(function)
            owner.changed.notify_all()

    owner.hooks.defer(settle)

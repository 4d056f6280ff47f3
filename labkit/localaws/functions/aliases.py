"""Aliases: names for versions, with a weight for a second one.

AWS Lambda API Reference, CreateAlias, UpdateAlias, GetAlias, ListAliases, DeleteAlias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions import names, paging
from labkit.localaws.functions.concurrency import alias_moved, give_up
from labkit.localaws.functions.errors import (
    check_revision,
    conflict,
    function_not_found,
    invalid,
    not_found,
)
from labkit.localaws.functions.model import Alias, Function, new_revision
from labkit.localaws.functions.names import LATEST, Ref, qualified
from labkit.localaws.functions.store import Region


def create_alias(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """CreateAlias."""
    number, name = params["FunctionVersion"], params["Name"]
    function = _function(region, params, number)
    with region.owner.lock:
        weights = _weights(function, number, params)
        if function.version(number) is None:
            raise function_not_found(qualified(function.arn, number))
        if name in function.aliases:
            raise conflict(f"Alias already exists: {qualified(function.arn, name)}")
        alias = Alias(name, number, params.get("Description"), weights or {})
        function.aliases[name] = alias
        return alias.shown(function.arn)


def update_alias(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """UpdateAlias: what is given replaces what was."""
    owner = region.owner
    ref = names.parse(params["FunctionName"], region.account, region.region)
    name = params["Name"]
    function = owner.find(ref)
    alias = function.aliases.get(name) if function else None
    if function is None or alias is None:
        raise not_found(f"Alias not found: {qualified(ref.function_arn, name)}")
    with owner.lock:
        check_revision(params.get("RevisionId"), alias.revision)
        number = params.get("FunctionVersion") or alias.version
        weights = _weights(function, number, params)
        if function.version(number) is None:
            raise function_not_found(qualified(function.arn, number))
        if weights is None and number in alias.weights:
            raise _included(number)
        before, alias.version = alias.version, number
        if weights is not None:
            alias.weights = weights
        if params.get("Description") is not None:
            alias.description = params["Description"]
        alias.revision = new_revision()
        answer = alias.shown(function.arn)
    if before != number:
        alias_moved(owner, function, name, before)
    return answer


def get_alias(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """GetAlias."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    function = region.owner.find(ref)
    with region.owner.lock:
        alias = function.aliases.get(params["Name"]) if function else None
        if function is None or alias is None:
            raise not_found(
                f"Cannot find alias arn: {qualified(ref.function_arn, params['Name'])}"
            )
        return alias.shown(function.arn)


def list_aliases(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """ListAliases, by name; with FunctionVersion only those that point to it."""
    function = _function(region, params, None)
    number = params.get("FunctionVersion")
    with region.owner.lock:
        found = [
            alias.shown(function.arn)
            for name, alias in sorted(function.aliases.items())
            if not number or alias.version == number or number in alias.weights
        ]
    chosen, marker = paging.page(found, params, key=lambda alias: alias["Name"])
    return paging.with_marker("Aliases", chosen, marker)


def delete_alias(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """DeleteAlias, with the policy and settings of the alias; one that is not there is fine."""
    owner = region.owner
    function = _function(region, params, None)
    name = params["Name"]
    with owner.lock:
        alias = function.aliases.pop(name, None)
        provisioned = function.provisioned.pop(name, None)
        function.policies.pop(name, None)
        function.event_invoke.pop(name, None)
    if alias is not None and provisioned is not None:
        give_up(owner, function, alias.version)
        owner.tell(owner.on_provisioned_changed, function.arn, name)


def _function(region: Region, params: Mapping[str, Any], number: str | None) -> Function:
    ref = names.parse(params["FunctionName"], region.account, region.region)
    return region.owner.function(ref, Ref(ref.account, ref.region, ref.name, number))


def _weights(
    function: Function, number: str, params: Mapping[str, Any]
) -> dict[str, float] | None:
    """The weights given, checked; None when RoutingConfig is left out."""
    routing = params.get("RoutingConfig")
    if routing is None:
        return None
    weights = dict(routing.get("AdditionalVersionWeights") or {})
    if len(weights) > 1:
        raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for other in weights:
        if number == LATEST:
            raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
        if other == number:
            raise _included(number)
        if function.version(other) is None:
            raise function_not_found(qualified(function.arn, other))
    return {other: float(weight) for other, weight in weights.items()}


def _included(number: str) -> Exception:
    return invalid(
        f"Invalid function version {number}. Function version {number} is already included in "
        "routing configuration."
    )

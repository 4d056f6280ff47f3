"""Asynchronous invocation's settings: retries, event age, destinations.

AWS Lambda API Reference, PutFunctionEventInvokeConfig and its kin; Developer Guide, "Capturing
records of Lambda asynchronous invocations".
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.functions import names, paging
from labkit.localaws.functions.errors import invalid, not_found
from labkit.localaws.functions.model import Function
from labkit.localaws.functions.names import LATEST, Ref, parse_arn, qualified
from labkit.localaws.functions.store import Region

_NO_FUNCTION = "The function doesn't exist."
_SETTINGS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
# The service of a destination's ARN, to the action the function's role needs.
_ACTIONS = {
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "lambda": "lambda:InvokeFunction",
    "events": "events:PutEvents",
    "s3": "s3:PutObject",
}


def put_function_event_invoke_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """PutFunctionEventInvokeConfig: replaces what was."""
    ref, function = _named(region, params)
    return _store(region, ref, function, params, {})


def update_function_event_invoke_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """UpdateFunctionEventInvokeConfig: what is given replaces its part."""
    ref, function = _named(region, params)
    with region.owner.lock:
        current = function.event_invoke.get(_key(ref))
    if current is None:
        raise _missing(ref)
    return _store(region, ref, function, params, copy.deepcopy(current))


def get_function_event_invoke_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetFunctionEventInvokeConfig."""
    ref = _ref(region, params)
    function = region.owner.find(ref)
    with region.owner.lock:
        config = function.event_invoke.get(_key(ref)) if function else None
        if function is None or config is None:
            raise _missing(ref)
        return _shown(function, _key(ref), config)


def delete_function_event_invoke_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> None:
    """DeleteFunctionEventInvokeConfig."""
    ref = _ref(region, params)
    function = region.owner.find(ref)
    with region.owner.lock:
        if function is None or function.event_invoke.pop(_key(ref), None) is None:
            raise _missing(ref)


def list_function_event_invoke_configs(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """ListFunctionEventInvokeConfigs."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    function = region.owner.find(ref)
    if function is None:
        raise not_found(_NO_FUNCTION)
    with region.owner.lock:
        found = [
            _shown(function, qualifier, config)
            for qualifier, config in sorted(function.event_invoke.items())
        ]
    chosen, marker = paging.page(found, params, key=lambda config: config["FunctionArn"])
    return paging.with_marker("FunctionEventInvokeConfigs", chosen, marker)


def _ref(region: Region, params: Mapping[str, Any]) -> Ref:
    return names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )


def _key(ref: Ref) -> str:
    return ref.qualifier or LATEST


def _named(region: Region, params: Mapping[str, Any]) -> tuple[Ref, Function]:
    ref = _ref(region, params)
    if not any(params.get(name) is not None for name in _SETTINGS):
        raise invalid("You must specify at least one of error handling or destination setting.")
    function = region.owner.find(ref)
    if function is None or function.version(ref.qualifier) is None:
        raise not_found(_NO_FUNCTION)
    return ref, function


def _missing(ref: Ref) -> AwsError:
    arn = qualified(ref.function_arn, _key(ref))
    return not_found(f"The function {arn} doesn't have an EventInvokeConfig")


def _store(
    region: Region,
    ref: Ref,
    function: Function,
    params: Mapping[str, Any],
    config: dict[str, Any],
) -> dict[str, Any]:
    for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds"):
        if params.get(name) is not None:
            config[name] = params[name]
    if params.get("DestinationConfig") is not None:
        config["DestinationConfig"] = _destinations(region, function, params["DestinationConfig"])
    config.setdefault("DestinationConfig", {"OnSuccess": {}, "OnFailure": {}})
    config["LastModified"] = region.owner.hooks.now()
    with region.owner.lock:
        function.event_invoke[_key(ref)] = config
        return _shown(function, _key(ref), config)


def _destinations(
    region: Region, function: Function, given: Mapping[str, Any]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for side in ("OnSuccess", "OnFailure"):
        target = (given.get(side) or {}).get("Destination")
        if target:
            _check_destination(region, function, given, side, target)
        result[side] = {"Destination": target} if target else {}
    return result


def _check_destination(
    region: Region, function: Function, given: Mapping[str, Any], side: str, target: str
) -> None:
    parts = target.split(":")
    service = parts[2] if len(parts) >= 6 else ""
    if service not in _ACTIONS or (service == "s3" and side == "OnSuccess"):
        raise invalid(f"The provided destination config {_as_java(given)} is invalid.")
    if service == "lambda":
        ref = parse_arn(target)
        other = region.owner.find(ref) if ref else None
        if ref is None or other is None or other.version(ref.qualifier) is None:
            raise invalid(f"The destination ARN {target} is invalid.")
        if other is function:
            raise invalid("You can't specify the function as a destination for itself.")
    role = function.latest.config["Role"]
    action = _ACTIONS[service]
    resource = f"{target}/*" if service == "s3" else target
    if not region.owner.hooks.role_allows(role, action, resource):
        raise invalid(
            "The function's execution role does not have permissions to call "
            f"{action.partition(':')[2]} on {target}"
        )


def _as_java(given: Mapping[str, Any]) -> str:
    def side(name: str) -> str:
        if given.get(name) is None:
            return "null"
        return f"{name}(destination={given[name].get('Destination') or 'null'})"

    return f"DestinationConfig(onSuccess={side('OnSuccess')}, onFailure={side('OnFailure')})"


def _shown(function: Function, qualifier: str, config: Mapping[str, Any]) -> dict[str, Any]:
    shown = copy.deepcopy(dict(config))
    shown["FunctionArn"] = qualified(function.arn, qualifier)
    shown["LastModified"] = datetime.datetime.fromtimestamp(config["LastModified"], datetime.UTC)
    return shown

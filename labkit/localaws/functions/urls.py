"""Function URLs: their configuration, per function or alias.

AWS Lambda API Reference, CreateFunctionUrlConfig and its kin.
"""

from __future__ import annotations

import copy
import datetime
import secrets
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions import names, paging
from labkit.localaws.functions.errors import conflict, not_found
from labkit.localaws.functions.model import Function
from labkit.localaws.functions.names import Ref, qualified
from labkit.localaws.functions.store import Region

_NO_FUNCTION = "Function does not exist"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def create_function_url_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """CreateFunctionUrlConfig."""
    ref, function = _named(region, params)
    hooks = region.owner.hooks
    key = ref.qualifier or ""
    with region.owner.lock:
        if key in function.urls:
            raise conflict(
                f"Failed to create function url config for [functionArn = {ref.arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
        url_id = "".join(secrets.choice(_LETTERS) for _ in range(32))
        moment = _moment(hooks.now())
        config: dict[str, Any] = {
            "UrlId": url_id,
            "FunctionUrl": hooks.function_url(url_id, region.region),
            "AuthType": params["AuthType"],
            "CreationTime": moment,
            "LastModifiedTime": moment,
            "InvokeMode": params.get("InvokeMode") or "BUFFERED",
        }
        if params.get("Cors"):
            config["Cors"] = copy.deepcopy(params["Cors"])
        function.urls[key] = config
        # The answer leaves out what was not asked for.
        hidden = ["LastModifiedTime"] + ([] if params.get("InvokeMode") else ["InvokeMode"])
        return _shown(ref, config, hidden)


def update_function_url_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """UpdateFunctionUrlConfig."""
    ref, function = _named(region, params)
    with region.owner.lock:
        config = function.urls.get(ref.qualifier or "")
        if config is None:
            raise not_found()
        for member in ("AuthType", "InvokeMode"):
            if params.get(member):
                config[member] = params[member]
        if params.get("Cors") is not None:
            config["Cors"] = copy.deepcopy(params["Cors"])
            if not config["Cors"]:
                del config["Cors"]
        config["LastModifiedTime"] = _moment(region.owner.hooks.now())
        return _shown(ref, config, [] if params.get("InvokeMode") else ["InvokeMode"])


def get_function_url_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetFunctionUrlConfig."""
    ref = _ref(region, params)
    with region.owner.lock:
        function = region.owner.find(ref)
        config = function.urls.get(ref.qualifier or "") if function else None
        if config is None:
            raise not_found()
        return _shown(ref, config)


def delete_function_url_config(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """DeleteFunctionUrlConfig."""
    ref = _ref(region, params)
    with region.owner.lock:
        function = region.owner.find(ref)
        if function is None or function.urls.pop(ref.qualifier or "", None) is None:
            raise not_found()


def list_function_url_configs(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """ListFunctionUrlConfigs."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    function = region.owner.find(ref)
    if function is None:
        raise not_found(_NO_FUNCTION)
    with region.owner.lock:
        found = [
            _shown(Ref(ref.account, ref.region, ref.name, key or None), config)
            for key, config in sorted(function.urls.items())
        ]
    chosen, marker = paging.page(found, params, key=lambda config: config["FunctionArn"])
    return paging.with_marker("FunctionUrlConfigs", chosen, marker)


def find_url(region: Region, url_id: str) -> tuple[Function, str | None, dict[str, Any]] | None:
    """The function, the alias (or None) and the configuration of a URL, by its id."""
    with region.owner.lock:
        for function in region.functions.values():
            for key, config in function.urls.items():
                if config["UrlId"] == url_id:
                    return function, key or None, dict(config)
    return None


def _ref(region: Region, params: Mapping[str, Any]) -> Ref:
    return names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )


def _named(region: Region, params: Mapping[str, Any]) -> tuple[Ref, Function]:
    ref = _ref(region, params)
    function = region.owner.find(ref)
    if function is None or (ref.qualifier and ref.qualifier not in function.aliases):
        raise not_found(_NO_FUNCTION)
    return ref, function


def _moment(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _shown(ref: Ref, config: Mapping[str, Any], hidden: list[str] | None = None) -> dict[str, Any]:
    shown = copy.deepcopy(dict(config))
    for member in ("UrlId", *(hidden or [])):
        shown.pop(member, None)
    shown["FunctionArn"] = qualified(ref.function_arn, ref.qualifier)
    return shown

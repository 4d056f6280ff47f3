"""The account's limits and usage, and settings of functions that stand by themselves.

AWS Lambda API Reference, GetAccountSettings, PutRuntimeManagementConfig,
PutFunctionRecursionConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions import code, names
from labkit.localaws.functions.concurrency import unreserved
from labkit.localaws.functions.errors import function_not_found, invalid
from labkit.localaws.functions.model import Function
from labkit.localaws.functions.names import LATEST, Ref, qualified
from labkit.localaws.functions.store import Region

TOTAL_CODE_LIMIT = 80_530_636_800


def get_account_settings(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """GetAccountSettings."""
    with region.owner.lock:
        functions = list(region.functions.values())
        stored = sum(v.package.size for f in functions for v in f.all_versions())
        for history in region.layers.values():
            stored += sum(version.package.size for version in history.versions.values())
        return {
            "AccountLimit": {
                "TotalCodeSize": TOTAL_CODE_LIMIT,
                "CodeSizeUnzipped": code.UNZIPPED_LIMIT,
                "CodeSizeZipped": code.ZIPPED_LIMIT,
                "ConcurrentExecutions": region.owner.concurrency_limit,
                "UnreservedConcurrentExecutions": unreserved(region),
            },
            "AccountUsage": {"TotalCodeSize": stored, "FunctionCount": len(functions)},
        }


def get_runtime_management_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetRuntimeManagementConfig: Auto unless set otherwise."""
    ref, function = _qualified(region, params)
    config = function.runtime_management.get(ref.qualifier or LATEST, {"UpdateRuntimeOn": "Auto"})
    return {**config, "FunctionArn": qualified(function.arn, ref.qualifier or LATEST)}


def put_runtime_management_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """PutRuntimeManagementConfig: kept and shown; the runtime here is the machine's Python."""
    ref, function = _qualified(region, params)
    update_on = params["UpdateRuntimeOn"]
    arn = params.get("RuntimeVersionArn")
    if (update_on == "Manual") != bool(arn):
        raise invalid(
            "You must specify a runtime version ARN when UpdateRuntimeOn is Manual, "
            "and can specify one only then."
        )
    config = {"UpdateRuntimeOn": update_on, **({"RuntimeVersionArn": arn} if arn else {})}
    with region.owner.lock:
        function.runtime_management[ref.qualifier or LATEST] = config
    return {**config, "FunctionArn": qualified(function.arn, ref.qualifier or LATEST)}


def get_function_recursion_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetFunctionRecursionConfig."""
    return {"RecursiveLoop": _unqualified(region, params).recursive_loop}


def put_function_recursion_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """PutFunctionRecursionConfig."""
    function = _unqualified(region, params)
    function.recursive_loop = params["RecursiveLoop"]
    return {"RecursiveLoop": function.recursive_loop}


def _unqualified(region: Region, params: Mapping[str, Any]) -> Function:
    ref = names.parse(params["FunctionName"], region.account, region.region)
    return region.owner.function(ref, Ref(ref.account, ref.region, ref.name))


def _qualified(region: Region, params: Mapping[str, Any]) -> tuple[Ref, Function]:
    ref = names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )
    function = region.owner.function(ref)
    if function.version(ref.qualifier) is None:
        raise function_not_found(ref.arn)
    return ref, function

"""What GetFunction and the lists of functions and versions tell.

AWS Lambda API Reference, GetFunction, GetFunctionConfiguration, ListFunctions,
ListVersionsByFunction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions import names, paging
from labkit.localaws.functions.errors import function_not_found
from labkit.localaws.functions.model import Function, Version
from labkit.localaws.functions.names import Ref
from labkit.localaws.functions.store import Region


def get_function(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """GetFunction: configuration, where the package can be had, tags, reserved concurrency."""
    ref, function, version = _named(region, params)
    owner = region.owner
    with owner.lock:
        answer: dict[str, Any] = {
            "Configuration": version.shown(function.arn, ref.qualifier),
            "Code": {
                "RepositoryType": "S3",
                "Location": owner.hooks.code_url(ref.arn, version.package),
            },
        }
        if function.tags:
            answer["Tags"] = dict(function.tags)
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
    return answer


def get_function_configuration(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetFunctionConfiguration."""
    ref, function, version = _named(region, params)
    with region.owner.lock:
        return version.shown(function.arn, ref.qualifier)


def list_functions(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """ListFunctions: ``$LATEST`` of each function, with FunctionVersion=ALL every version."""
    everything = params.get("FunctionVersion") == "ALL"
    with region.owner.lock:
        found = []
        for name in sorted(region.functions):
            function = region.functions[name]
            if everything:
                found += [v.listed(function.arn, v.number) for v in function.all_versions()]
            else:
                found.append(function.latest.listed(function.arn, None))
    chosen, marker = paging.page(found, params, key=lambda config: config["FunctionArn"])
    return paging.with_marker("Functions", chosen, marker)


def list_versions_by_function(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """ListVersionsByFunction: ``$LATEST`` first, then in order of publication."""
    ref = names.parse(params["FunctionName"], region.account, region.region)
    function = region.owner.function(ref, Ref(ref.account, ref.region, ref.name))
    with region.owner.lock:
        found = [v.listed(function.arn, v.number) for v in function.all_versions()]
    chosen, marker = paging.page(found, params, key=lambda config: config["FunctionArn"])
    return paging.with_marker("Versions", chosen, marker)


def _named(region: Region, params: Mapping[str, Any]) -> tuple[Ref, Function, Version]:
    ref = names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )
    function = region.owner.function(ref)
    with region.owner.lock:
        version = function.version(ref.qualifier)
    if version is None:
        raise function_not_found(ref.arn)
    return ref, function, version

"""Code signing configurations, kept and attached; every package here is unsigned.

There is no AWS Signer in this local AWS, so a function whose configuration enforces signatures
takes no code at all, as AWS would refuse the same unsigned package. AWS Lambda API Reference,
CreateCodeSigningConfig, PutFunctionCodeSigningConfig and their kin.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.functions import names, paging
from labkit.localaws.functions.errors import conflict, not_found
from labkit.localaws.functions.model import Function, timestamp
from labkit.localaws.functions.names import Ref
from labkit.localaws.functions.store import Region

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_DEFAULT_POLICIES = {"UntrustedArtifactOnDeployment": "Warn"}


def create_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """CreateCodeSigningConfig."""
    config_id = "csc-" + "".join(secrets.choice(_ID_LETTERS) for _ in range(17))
    arn = f"arn:aws:lambda:{region.region}:{region.account}:code-signing-config:{config_id}"
    config = {
        "CodeSigningConfigId": config_id,
        "CodeSigningConfigArn": arn,
        "Description": params.get("Description") or "",
        "AllowedPublishers": copy.deepcopy(params["AllowedPublishers"]),
        "CodeSigningPolicies": dict(params.get("CodeSigningPolicies") or _DEFAULT_POLICIES),
        "LastModified": timestamp(region.owner.hooks.now()),
        "Tags": dict(params.get("Tags") or {}),
    }
    with region.owner.lock:
        region.code_signing_configs[arn] = config
    return {"CodeSigningConfig": _shown(config)}


def update_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """UpdateCodeSigningConfig."""
    config = _config(region, params)
    with region.owner.lock:
        for member in ("Description", "AllowedPublishers", "CodeSigningPolicies"):
            if params.get(member) is not None:
                config[member] = copy.deepcopy(params[member])
        config["LastModified"] = timestamp(region.owner.hooks.now())
        return {"CodeSigningConfig": _shown(config)}


def get_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetCodeSigningConfig."""
    return {"CodeSigningConfig": _shown(_config(region, params))}


def list_code_signing_configs(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """ListCodeSigningConfigs."""
    with region.owner.lock:
        found = [_shown(config) for _, config in sorted(region.code_signing_configs.items())]
    chosen, marker = paging.page(found, params, key=lambda item: item["CodeSigningConfigArn"])
    return paging.with_marker("CodeSigningConfigs", chosen, marker)


def delete_code_signing_config(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """DeleteCodeSigningConfig: not while a function uses it."""
    config = _config(region, params)
    arn = config["CodeSigningConfigArn"]
    with region.owner.lock:
        if _users(region, arn):
            raise conflict(
                f"The Lambda code signing configuration {arn} can not be deleted: "
                "it is in use by functions."
            )
        region.code_signing_configs.pop(arn, None)


def list_functions_by_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """ListFunctionsByCodeSigningConfig."""
    config = _config(region, params)
    with region.owner.lock:
        found = _users(region, config["CodeSigningConfigArn"])
    chosen, marker = paging.page(found, params, key=str)
    return paging.with_marker("FunctionArns", chosen, marker)


def put_function_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """PutFunctionCodeSigningConfig."""
    arn = params["CodeSigningConfigArn"]
    check_exists(region, arn)
    function = _function(region, params)
    function.code_signing_config = arn
    return {"CodeSigningConfigArn": arn, "FunctionName": function.name}


def get_function_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetFunctionCodeSigningConfig: empty for a function without one."""
    function = _function(region, params)
    if function.code_signing_config is None:
        return {}
    return {
        "CodeSigningConfigArn": function.code_signing_config,
        "FunctionName": function.name,
    }


def delete_function_code_signing_config(
    region: Region, params: Mapping[str, Any], call: Call
) -> None:
    """DeleteFunctionCodeSigningConfig."""
    _function(region, params).code_signing_config = None


def check_exists(region: Region, arn: str) -> None:
    """Refuse (404) a configuration that is not there to be attached."""
    if arn not in region.code_signing_configs:
        raise AwsError(
            "CodeSigningConfigNotFoundException",
            "The code signing configuration cannot be found. "
            f"Check that the provided configuration is not deleted: {arn}.",
            404,
            Type="User",
        )


def check_package(region: Region, arn: str | None) -> None:
    """Refuse the (always unsigned) code of a function whose configuration enforces signatures."""
    policies = region.code_signing_configs.get(arn or "", {}).get("CodeSigningPolicies", {})
    if policies.get("UntrustedArtifactOnDeployment") == "Enforce":
        raise AwsError(
            "CodeVerificationFailedException",
            "The code signature failed one or more of the validation checks for signature "
            "mismatch or expiry, and the code signing policy is set to ENFORCE. Lambda blocks "
            "the deployment.",
            400,
            Type="User",
        )


def _config(region: Region, params: Mapping[str, Any]) -> dict[str, Any]:
    arn = params["CodeSigningConfigArn"]
    config = region.code_signing_configs.get(arn)
    if config is None:
        raise not_found(f"The Lambda code signing configuration {arn} can not be found.")
    return config


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name, value in config.items() if name != "Tags"}


def _users(region: Region, arn: str) -> list[str]:
    functions = region.functions.values()
    return sorted(f.arn for f in functions if f.code_signing_config == arn)


def _function(region: Region, params: Mapping[str, Any]) -> Function:
    ref = names.parse(params["FunctionName"], region.account, region.region)
    return region.owner.function(ref, Ref(ref.account, ref.region, ref.name))

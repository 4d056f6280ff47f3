"""A function's settings: checked, defaulted, and merged into its configuration.

AWS Lambda API Reference, CreateFunction and UpdateFunctionConfiguration; Developer Guide, "Lambda
quotas", "Environment variables" and "Advanced logging controls".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.functions import runtimes
from labkit.localaws.functions.code import UNZIPPED_LIMIT, Package
from labkit.localaws.functions.errors import invalid
from labkit.localaws.functions.layers import LayerVersion, find_layers
from labkit.localaws.functions.store import Region

ENVIRONMENT_LIMIT = 4096
TAG_LIMIT = 50
# "Defined runtime environment variables": those that a function can't set.
RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
_OTHER_PRODUCTS = {
    "ImageConfig": "container images",
    "FileSystemConfigs": "file systems",
    "CapacityProviderConfig": "Lambda Managed Instances",
    "DurableConfig": "durable functions",
    "TenancyConfig": "tenant isolation",
    "AcceleratorConfig": "accelerators",
}


def refuse_unbuilt(params: Mapping[str, Any]) -> None:
    """Refuse what this local AWS has no notion of, saying so."""
    if params.get("PackageType") == "Image" or _code(params).get("ImageUri"):
        raise invalid(
            "This local AWS runs Python functions from zip packages only: container images "
            "(PackageType Image) are not supported."
        )
    for member, product in _OTHER_PRODUCTS.items():
        if params.get(member):
            raise invalid(f"This local AWS has no {product}: leave {member} out.")
    if params.get("PublishTo"):
        raise invalid("This local AWS has no Lambda Managed Instances: leave PublishTo out.")


def initial(
    region: Region, name: str, params: Mapping[str, Any], package: Package
) -> tuple[dict[str, Any], list[LayerVersion]]:
    """The configuration of a new function's ``$LATEST``, and its layers.

    Raises ``InvalidParameterValueException`` with Lambda's words for what is not allowed.
    """
    if not params.get("Runtime") or not params.get("Handler"):
        raise invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment "
            "packages."
        )
    config: dict[str, Any] = {
        "FunctionName": name,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "PackageType": "Zip",
        "Architectures": list(params.get("Architectures") or ["x86_64"]),
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "Version": "$LATEST",
    }
    use_package(config, package)
    check_tags(params.get("Tags") or {})
    return config, merge(region, config, params, package) or []


def merge(
    region: Region, config: dict[str, Any], params: Mapping[str, Any], package: Package
) -> list[LayerVersion] | None:
    """Put the settings in *params* into *config*; returns the new layers, None when not given.

    *config* is changed only as far as the first refusal, so callers merge into a copy.
    """
    for member in ("Handler", "Description", "Timeout", "MemorySize"):
        if params.get(member) is not None:
            config[member] = params[member]
    if params.get("Runtime"):
        runtimes.check(params["Runtime"])
        config["Runtime"] = params["Runtime"]
        arn = runtimes.version_arn(params["Runtime"], region.region)
        config["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    if params.get("SnapStart"):
        apply_on = params["SnapStart"].get("ApplyOn", "None")
        config["SnapStart"] = {"ApplyOn": apply_on, "OptimizationStatus": "Off"}
    if config["SnapStart"]["ApplyOn"] != "None":
        runtimes.check_snap_start(config["Runtime"])
    if params.get("EphemeralStorage"):
        config["EphemeralStorage"] = {"Size": params["EphemeralStorage"]["Size"]}
    if params.get("LoggingConfig"):
        config["LoggingConfig"] = _logging(config["LoggingConfig"], params["LoggingConfig"])
    if params.get("Environment") is not None:
        variables = dict(params["Environment"].get("Variables") or {})
        check_environment(variables)
        config["Environment"] = {"Variables": variables}
    if params.get("KMSKeyArn") is not None:
        _set_or_drop(config, "KMSKeyArn", params["KMSKeyArn"])
    if params.get("Role"):
        _check_role(region, params["Role"])
        config["Role"] = params["Role"]
    if params.get("VpcConfig") is not None:
        _vpc(region, config, params["VpcConfig"])
    if params.get("TracingConfig"):
        config["TracingConfig"] = {"Mode": params["TracingConfig"].get("Mode", "PassThrough")}
    _check_tracing(region, config, params)
    if params.get("DeadLetterConfig") is not None:
        _dead_letters(region, config, params["DeadLetterConfig"].get("TargetArn"))
    if params.get("Layers") is None:
        return None
    layers = find_layers(region, params["Layers"])
    check_total_size(package, layers)
    shown = [{"Arn": layer.arn, "CodeSize": layer.package.size} for layer in layers]
    _set_or_drop(config, "Layers", shown)
    return layers


def use_package(config: dict[str, Any], package: Package) -> None:
    """Have *config* tell of *package*."""
    config["CodeSize"] = package.size
    config["CodeSha256"] = package.sha256


def check_total_size(package: Package, layers: Iterable[LayerVersion]) -> None:
    """Refuse code and layers that are too large together."""
    total = package.unzipped + sum(layer.package.unzipped for layer in layers)
    if total > UNZIPPED_LIMIT:
        raise invalid(
            "Function code combined with layers exceeds the maximum allowed size of "
            f"{UNZIPPED_LIMIT} bytes. The actual size is {total} bytes."
        )


def check_environment(variables: Mapping[str, str]) -> None:
    """Refuse reserved names and more than 4 KB, measured as Lambda does: as compact JSON."""
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided contains reserved keys that are currently not supported "
            f"for modification. Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > ENVIRONMENT_LIMIT:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided exceeded the 4KB limit. "
            f"String measured: {measured}"
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse more tags than a resource can have."""
    if len(tags) > TAG_LIMIT:
        raise invalid("Number of tags exceeds resource tag limit.")


def _code(params: Mapping[str, Any]) -> Mapping[str, Any]:
    code = params.get("Code")
    return code if isinstance(code, Mapping) else params


def _set_or_drop(config: dict[str, Any], member: str, value: Any) -> None:
    if value:
        config[member] = value
    else:
        config.pop(member, None)


def _logging(current: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """LoggingConfig after a partial update: log levels belong to the JSON format alone."""
    merged = {**current, **{name: value for name, value in given.items() if value}}
    levels = ("ApplicationLogLevel", "SystemLogLevel")
    if merged["LogFormat"] == "JSON":
        for level in levels:
            merged.setdefault(level, "INFO")
        return merged
    if any(given.get(level) for level in levels):
        raise invalid(
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your '
            'request or change the LogFormat to "JSON" and try again.'
        )
    return {name: value for name, value in merged.items() if name not in levels}


def _check_role(region: Region, role: str) -> None:
    if role.split(":")[4] != region.account:
        raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.", 403)
    if not region.owner.hooks.can_assume(role):
        raise invalid("The role defined for the function cannot be assumed by Lambda.")


def _vpc(region: Region, config: dict[str, Any], given: Mapping[str, Any]) -> None:
    subnets = list(given.get("SubnetIds") or [])
    groups = list(given.get("SecurityGroupIds") or [])
    if not subnets and not groups and "VpcConfig" not in config:
        return
    vpc = {
        "SubnetIds": subnets,
        "SecurityGroupIds": groups,
        "VpcId": "",
        "Ipv6AllowedForDualStack": bool(given.get("Ipv6AllowedForDualStack")),
    }
    if subnets or groups:
        vpc["VpcId"] = region.owner.hooks.vpc_of(region.account, region.region, vpc)
        _need(region, config["Role"], "ec2:CreateNetworkInterface", "*", "CreateNetworkInterface", "EC2")
    config["VpcConfig"] = vpc


def _check_tracing(region: Region, config: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    asked = params.get("TracingConfig") or params.get("Role")
    if asked and config["TracingConfig"]["Mode"] == "Active":
        _need(region, config["Role"], "xray:PutTraceSegments", "*", "PutTraceSegments", "XRAY")


def _dead_letters(region: Region, config: dict[str, Any], target: str | None) -> None:
    if not target:
        config.pop("DeadLetterConfig", None)
        return
    service = target.split(":")[2] if target.count(":") >= 5 else ""
    if service == "sqs":
        _need(region, config["Role"], "sqs:SendMessage", target, "SendMessage", "SQS")
    elif service == "sns":
        _need(region, config["Role"], "sns:Publish", target, "Publish", "SNS")
    else:
        raise invalid(
            f"The dead letter target ARN {target} is invalid: "
            "it has to name an SQS queue or an SNS topic."
        )
    config["DeadLetterConfig"] = {"TargetArn": target}


def _need(region: Region, role: str, action: str, resource: str, call: str, service: str) -> None:
    if not region.owner.hooks.role_allows(role, action, resource):
        raise invalid(
            f"The provided execution role does not have permissions to call {call} on {service}"
        )

"""AWS Lambda: operations to actions on functions, versions, aliases, layers and mappings.

Follows the AWS Lambda Developer Guide, "Fine-tuning the Resources and Conditions sections of
policies", and the Service Authorization Reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from labkit.localaws.call import Call
from labkit.localaws.iam.asks.ask import Ask, Facts, arn, request_tags, tag_keys

_NAMES = {
    "Invoke": "InvokeFunction",
    "InvokeAsync": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
    "GetFunctionConcurrency": "GetFunctionConcurrency",
}
_ANY_RESOURCE = (
    "ListFunctions", "ListEventSourceMappings", "ListLayers", "GetAccountSettings",
    "ListCodeSigningConfigs", "ListLayerVersions",
)  # fmt: skip
# The operations whose resource is the version or alias named by the Qualifier.
_QUALIFIED = (
    "Invoke", "InvokeWithResponseStream", "GetFunction", "GetFunctionConfiguration",
    "DeleteFunction", "GetPolicy", "AddPermission", "RemovePermission",
    "PutProvisionedConcurrencyConfig", "GetProvisionedConcurrencyConfig",
    "DeleteProvisionedConcurrencyConfig", "PutFunctionEventInvokeConfig",
    "UpdateFunctionEventInvokeConfig", "GetFunctionEventInvokeConfig",
    "DeleteFunctionEventInvokeConfig", "CreateFunctionUrlConfig", "UpdateFunctionUrlConfig",
    "GetFunctionUrlConfig", "DeleteFunctionUrlConfig",
)  # fmt: skip


def read(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a Lambda call asks for."""
    operation, params = call.operation, call.params
    action = f"lambda:{_NAMES.get(operation, operation)}"
    context = _context(call)
    if operation in _ANY_RESOURCE:
        yield Ask(action, "*", context)
    elif "LayerName" in params:
        layer = _layer(call, str(params["LayerName"]))
        version = params.get("VersionNumber")
        yield Ask(action, f"{layer}:{version}" if version else layer, context)
    elif operation == "GetLayerVersionByArn":
        yield Ask(action, str(params.get("Arn", "*")), context)
    elif "EventSourceMapping" in operation:
        yield _mapping(call, facts, action, context)
    elif operation in ("TagResource", "UntagResource", "ListTags"):
        yield Ask(action, unquote(str(params.get("Resource", "*"))), context)
    elif "CodeSigningConfig" in operation and params.get("CodeSigningConfigArn"):
        yield Ask(action, str(params["CodeSigningConfigArn"]), context)
    else:
        qualifier = params.get("Qualifier") if operation in _QUALIFIED else None
        function, unqualified = function_arns(call, params.get("FunctionName"), qualifier)
        if operation not in _QUALIFIED:
            function = unqualified
        yield Ask(action, function, context)
        if operation == "CreateFunction" and params.get("Tags"):
            yield Ask("lambda:TagResource", function, context)


def function_arns(call: Call, name: Any, qualifier: Any = None) -> tuple[str, str]:
    """The ARN a function reference means, with and without its version or alias.

    A reference is a name, ``name:alias``, ``ACCOUNT:function:name`` or a full ARN.
    """
    parts = unquote(str(name or "*")).split(":")
    account, region = call.account_id, call.region
    if parts[0] == "arn" and len(parts) >= 7:
        region, account, parts = parts[3], parts[4], parts[6:]
    elif len(parts) >= 3 and parts[1] == "function":
        account, parts = parts[0], parts[2:]
    unqualified = f"arn:aws:lambda:{region}:{account}:function:{parts[0]}"
    chosen = qualifier or (parts[1] if len(parts) > 1 else None)
    return (f"{unqualified}:{chosen}" if chosen else unqualified), unqualified


def _layer(call: Call, name: str) -> str:
    name = unquote(name)
    return name if name.startswith("arn:") else arn(call, "lambda", f"layer:{name}")


def _mapping(call: Call, facts: Facts, action: str, context: dict[str, Any]) -> Ask:
    params = call.params
    uuid = params.get("UUID")
    if params.get("FunctionName"):
        context["lambda:functionarn"] = function_arns(call, params["FunctionName"])[0]
    elif uuid:
        function = facts.mapping_function(call, str(uuid))
        if function:
            context["lambda:functionarn"] = function
    resource = arn(call, "lambda", f"event-source-mapping:{uuid}") if uuid else "*"
    return Ask(action, resource, context)


def _context(call: Call) -> dict[str, Any]:
    params: Mapping[str, Any] = call.params
    context = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    if params.get("Layers"):
        context["lambda:layer"] = tuple(str(layer) for layer in params["Layers"])
    if call.operation in ("AddPermission", "AddLayerVersionPermission") and params.get("Principal"):
        context["lambda:principal"] = str(params["Principal"])
    for name in ("FunctionUrlAuthType", "AuthType"):
        if params.get(name):
            context["lambda:functionurlauthtype"] = str(params[name])
    if params.get("CodeSigningConfigArn"):
        context["lambda:codesigningconfigarn"] = str(params["CodeSigningConfigArn"])
    network = params.get("VpcConfig") or {}
    for name, key in (("SubnetIds", "subnetids"), ("SecurityGroupIds", "securitygroupids")):
        if network.get(name):
            context[f"lambda:{key}"] = tuple(network[name])
    return context

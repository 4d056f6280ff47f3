"""The Lambda API: every operation of the control plane, and its ties to the local AWS.

Operations check their input as Lambda's front end does, by the service model, and delegate to
``labkit.localaws.functions``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws import constraints
from labkit.localaws.call import AwsError, Call, Forward, Reply
from labkit.localaws.functions import (
    aliases,
    code,
    code_signing,
    concurrency,
    event_invoke,
    layers,
    lifecycle,
    mappings,
    permissions,
    reading,
    resource_policies,
    runtimes,
    settings,
    tags,
    urls,
)
from labkit.localaws.functions.lookups import Functions
from labkit.localaws.functions.store import Hooks, Region
from labkit.localaws.protocol import operation_model
from labkit.localaws.services.lambda_hooks import hooks_of
from labkit.localaws.services.lambda_invoke import InvokeOperations

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

Work = Callable[[Region, Mapping[str, Any], Call], dict[str, Any] | None]
Operation = Callable[["LambdaLayer", Call, Forward], Reply | dict[str, Any] | None]


def _compatible_runtimes(values: list[str]) -> str | None:
    known = {*runtimes.SUPPORTED, *runtimes.DEPRECATED, *runtimes.NEWER}
    if all(value in known for value in values):
        return None
    return f"Member must satisfy enum value set: {runtimes.enum_text()}"


RULES = constraints.Rules(
    limits={
        # The model's bounds are those of Lambda Managed Instances.
        "Timeout": {"max": 900},
        "MemorySize": {"max": 10_240},
        "EphemeralStorageSize": {"max": 10_240},
    },
    # The service has its own words for runtimes it does not take.
    skip=frozenset({"Runtime"}),
    special={"CompatibleRuntimes": _compatible_runtimes},
    plain_lists=frozenset({"SubnetIds", "SecurityGroupIds"}),
)


def _operation(work: Work) -> Operation:
    """A method that checks the call's input and answers with what *work* makes of it."""

    def operation(
        self: LambdaLayer, call: Call, forward: Forward
    ) -> Reply | dict[str, Any] | None:
        self.check(call)
        result = work(self.functions.at(call.account_id, call.region), call.params, call)
        if result and "StatusCode" in result:
            return Reply(result["StatusCode"], {"x-amzn-requestid": call.request_id}, b"", call)
        return result

    operation.__doc__ = work.__doc__
    return operation


class LambdaLayer(InvokeOperations):
    """Lambda, complete: nothing of it is moto's."""

    service = "lambda"

    def __init__(self, aws: LocalAws, hooks: Hooks | None = None) -> None:
        super().__init__(aws)
        self.functions = Functions(hooks or hooks_of(aws))
        aws.functions = self.functions

    def handler(self, operation: str) -> Callable[[Call, Forward], Any]:
        """The method for *operation*; what is not built says so and never reaches moto."""
        return super().handler(operation) or self._unbuilt

    def _unbuilt(self, call: Call, forward: Forward) -> None:
        raise AwsError(
            "NotImplemented",
            f"This local AWS does not have Lambda's operation {call.operation or '(unknown)'}.",
            501,
        )

    def check(self, call: Call) -> None:
        """Refuse what violates the model's constraints or is too large."""
        model = operation_model("lambda", call.operation)
        if call.operation in ("CreateFunction", "UpdateFunctionCode", "PublishLayerVersion"):
            code.check_zip_size(call.params.get("Code") or call.params.get("Content") or call.params)
            code.check_request_size(call.operation, len(call.request.get_data()))
        if model is not None:
            constraints.check(model.input_shape, call.params, RULES)

    def Invoke(self, call: Call, forward: Forward) -> Reply:
        """Invoke, once the front end is content."""
        self.check(call)
        return super().Invoke(call, forward)

    def InvokeWithResponseStream(self, call: Call, forward: Forward) -> Any:
        """InvokeWithResponseStream, once the front end is content."""
        self.check(call)
        return super().InvokeWithResponseStream(call, forward)

    CreateFunction = _operation(lifecycle.create_function)
    UpdateFunctionCode = _operation(lifecycle.update_function_code)
    UpdateFunctionConfiguration = _operation(lifecycle.update_function_configuration)
    DeleteFunction = _operation(lifecycle.delete_function)
    PublishVersion = _operation(lifecycle.publish_version)
    GetFunction = _operation(reading.get_function)
    GetFunctionConfiguration = _operation(reading.get_function_configuration)
    ListFunctions = _operation(reading.list_functions)
    ListVersionsByFunction = _operation(reading.list_versions_by_function)

    CreateAlias = _operation(aliases.create_alias)
    UpdateAlias = _operation(aliases.update_alias)
    GetAlias = _operation(aliases.get_alias)
    ListAliases = _operation(aliases.list_aliases)
    DeleteAlias = _operation(aliases.delete_alias)

    AddPermission = _operation(permissions.add_permission)
    RemovePermission = _operation(permissions.remove_permission)
    GetPolicy = _operation(permissions.get_policy)

    PutFunctionConcurrency = _operation(concurrency.put_function_concurrency)
    GetFunctionConcurrency = _operation(concurrency.get_function_concurrency)
    DeleteFunctionConcurrency = _operation(concurrency.delete_function_concurrency)
    PutProvisionedConcurrencyConfig = _operation(concurrency.put_provisioned_concurrency_config)
    GetProvisionedConcurrencyConfig = _operation(concurrency.get_provisioned_concurrency_config)
    ListProvisionedConcurrencyConfigs = _operation(
        concurrency.list_provisioned_concurrency_configs
    )
    DeleteProvisionedConcurrencyConfig = _operation(
        concurrency.delete_provisioned_concurrency_config
    )

    PutFunctionEventInvokeConfig = _operation(event_invoke.put_function_event_invoke_config)
    UpdateFunctionEventInvokeConfig = _operation(event_invoke.update_function_event_invoke_config)
    GetFunctionEventInvokeConfig = _operation(event_invoke.get_function_event_invoke_config)
    ListFunctionEventInvokeConfigs = _operation(event_invoke.list_function_event_invoke_configs)
    DeleteFunctionEventInvokeConfig = _operation(event_invoke.delete_function_event_invoke_config)

    PublishLayerVersion = _operation(layers.publish_layer_version)
    GetLayerVersion = _operation(layers.get_layer_version)
    GetLayerVersionByArn = _operation(layers.get_layer_version_by_arn)
    ListLayerVersions = _operation(layers.list_layer_versions)
    ListLayers = _operation(layers.list_layers)
    DeleteLayerVersion = _operation(layers.delete_layer_version)
    AddLayerVersionPermission = _operation(permissions.add_layer_version_permission)
    RemoveLayerVersionPermission = _operation(permissions.remove_layer_version_permission)
    GetLayerVersionPolicy = _operation(permissions.get_layer_version_policy)

    CreateEventSourceMapping = _operation(mappings.create_event_source_mapping)
    UpdateEventSourceMapping = _operation(mappings.update_event_source_mapping)
    GetEventSourceMapping = _operation(mappings.get_event_source_mapping)
    ListEventSourceMappings = _operation(mappings.list_event_source_mappings)
    DeleteEventSourceMapping = _operation(mappings.delete_event_source_mapping)

    CreateFunctionUrlConfig = _operation(urls.create_function_url_config)
    UpdateFunctionUrlConfig = _operation(urls.update_function_url_config)
    GetFunctionUrlConfig = _operation(urls.get_function_url_config)
    ListFunctionUrlConfigs = _operation(urls.list_function_url_configs)
    DeleteFunctionUrlConfig = _operation(urls.delete_function_url_config)

    TagResource = _operation(tags.tag_resource)
    UntagResource = _operation(tags.untag_resource)
    ListTags = _operation(tags.list_tags)

    GetAccountSettings = _operation(settings.get_account_settings)
    GetRuntimeManagementConfig = _operation(settings.get_runtime_management_config)
    PutRuntimeManagementConfig = _operation(settings.put_runtime_management_config)
    GetFunctionRecursionConfig = _operation(settings.get_function_recursion_config)
    PutFunctionRecursionConfig = _operation(settings.put_function_recursion_config)

    PutResourcePolicy = _operation(resource_policies.put_resource_policy)
    GetResourcePolicy = _operation(resource_policies.get_resource_policy)
    DeleteResourcePolicy = _operation(resource_policies.delete_resource_policy)

    CreateCodeSigningConfig = _operation(code_signing.create_code_signing_config)
    UpdateCodeSigningConfig = _operation(code_signing.update_code_signing_config)
    GetCodeSigningConfig = _operation(code_signing.get_code_signing_config)
    ListCodeSigningConfigs = _operation(code_signing.list_code_signing_configs)
    DeleteCodeSigningConfig = _operation(code_signing.delete_code_signing_config)
    ListFunctionsByCodeSigningConfig = _operation(
        code_signing.list_functions_by_code_signing_config
    )
    PutFunctionCodeSigningConfig = _operation(code_signing.put_function_code_signing_config)
    GetFunctionCodeSigningConfig = _operation(code_signing.get_function_code_signing_config)
    DeleteFunctionCodeSigningConfig = _operation(code_signing.delete_function_code_signing_config)

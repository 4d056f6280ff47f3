"""AWS KMS, AWS Secrets Manager and Systems Manager Parameter Store: operations to actions.

Follows the AWS KMS Developer Guide, "AWS KMS permissions", the AWS Secrets Manager User Guide and
the AWS Systems Manager User Guide, "Restricting access to Parameter Store parameters".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.iam import catalog
from labkit.localaws.iam.asks import generic
from labkit.localaws.iam.asks.ask import Ask, Facts, arn, request_tags, strings, tag_keys


def read_kms(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a KMS call asks for."""
    operation, params = call.operation, call.params
    context = _kms_context(params)
    if operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        alias = str(params.get("AliasName", "*"))
        yield Ask(f"kms:{operation}", arn(call, "kms", alias), context)
        target = params.get("TargetKeyId") or alias
        key = facts.key_arn(call, str(target))
        if key:
            yield Ask(f"kms:{operation}", key, context)
    elif operation == "ReEncrypt":
        source = _key(call, facts, params.get("SourceKeyId"))
        found = facts.key_of_ciphertext(call, params.get("CiphertextBlob") or b"")
        yield Ask("kms:ReEncryptFrom", found or source or arn(call, "kms", "key/*"), context)
        target = _key(call, facts, params.get("DestinationKeyId"))
        yield Ask("kms:ReEncryptTo", target or arn(call, "kms", "key/*"), context)
    else:
        key_id = params.get("KeyId")
        key = _key(call, facts, key_id)
        if key is None and params.get("CiphertextBlob"):
            key = facts.key_of_ciphertext(call, params["CiphertextBlob"])
        if key is not None and str(key_id or "").partition(":key/")[1] == "" and key_id:
            text = str(key_id)
            if "alias/" in text:
                context["kms:requestalias"] = text[text.index("alias/") :]
        if key is not None:
            aliases = facts.key_aliases(key)
            if aliases:
                context["kms:resourcealiases"] = aliases
        needs_key = key is not None or key_id or params.get("CiphertextBlob")
        resource = key or (arn(call, "kms", f"key/{key_id or '*'}") if needs_key else "*")
        yield Ask(f"kms:{operation}", resource, context)


def _key(call: Call, facts: Facts, key_id: Any) -> str | None:
    return facts.key_arn(call, str(key_id)) if key_id else None


def _kms_context(params: Mapping[str, Any]) -> dict[str, Any]:
    context = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    encryption = params.get("EncryptionContext")
    if isinstance(encryption, Mapping) and encryption:
        for name, value in encryption.items():
            context[f"kms:encryptioncontext:{str(name).lower()}"] = str(value)
        context["kms:encryptioncontextkeys"] = tuple(str(name) for name in encryption)
    for name, key in (
        ("EncryptionAlgorithm", "encryptionalgorithm"),
        ("SigningAlgorithm", "signingalgorithm"),
        ("MacAlgorithm", "macalgorithm"),
        ("KeySpec", "keyspec"),
        ("KeyUsage", "keyusage"),
        ("Origin", "keyorigin"),
        ("PolicyName", "policyname"),
        ("GranteePrincipal", "granteeprincipal"),
        ("RetiringPrincipal", "retiringprincipal"),
        ("PendingWindowInDays", "scheduledeletionpendingwindowindays"),
        ("RotationPeriodInDays", "rotationperiodindays"),
    ):
        if params.get(name) is not None:
            context[f"kms:{key}"] = str(params[name])
    if params.get("Operations"):
        context["kms:grantoperations"] = tuple(params["Operations"])
    return context


def read_secretsmanager(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a Secrets Manager call asks for."""
    operation, params = call.operation, call.params
    context = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    for name in ("VersionStage", "VersionId", "KmsKeyId"):
        if params.get(name):
            context[f"secretsmanager:{name.lower()}"] = str(params[name])
    if operation == "CreateSecret":
        name = str(params.get("Name", "*"))
        context["secretsmanager:name"] = name
        # The six random characters of the ARN are not known yet.
        resource = arn(call, "secretsmanager", f"secret:{name}-??????")
        yield Ask("secretsmanager:CreateSecret", resource, context, shown=name)
        return
    if operation == "BatchGetSecretValue":
        yield Ask(f"secretsmanager:{operation}", "*", context)
        for secret in strings(params.get("SecretIdList")):
            yield _secret(call, facts, "GetSecretValue", secret, context)
        return
    if params.get("SecretId"):
        yield _secret(call, facts, operation, str(params["SecretId"]), context)
        return
    yield Ask(f"secretsmanager:{operation}", "*", context)


def _secret(
    call: Call, facts: Facts, operation: str, secret: str, context: Mapping[str, Any]
) -> Ask:
    found = facts.secret_arn(call, secret)
    resource = found or (
        secret if secret.startswith("arn:") else arn(call, "secretsmanager", f"secret:{secret}")
    )
    keys = {**context, "secretsmanager:secretid": resource}
    return Ask(f"secretsmanager:{operation}", resource, keys, shown=secret)


def read_ssm(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a Systems Manager call asks for; Parameter Store's in full."""
    operation, params = call.operation, call.params
    context: dict[str, Any] = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    action = f"ssm:{operation}"
    if params.get("ResourceType") == "Parameter" and params.get("ResourceId"):
        yield Ask(action, _parameter_arn(call, str(params["ResourceId"])), context)
        return
    if "Parameter" not in operation or operation == "DescribeParameters":
        known = catalog.action("ssm", operation)
        for resource in generic.resources(call, "ssm", known):
            yield Ask(action, resource, context)
        return
    if operation == "PutParameter":
        context["ssm:overwrite"] = "true" if params.get("Overwrite") else "false"
    if operation == "GetParametersByPath":
        context["ssm:recursive"] = "true" if params.get("Recursive") else "false"
        names = [str(params.get("Path", "/"))]
    else:
        names = strings(params.get("Name")) + strings(params.get("Names"))
    for name in names or ["*"]:
        yield Ask(action, _parameter_arn(call, name), context)
    if operation == "PutParameter" and params.get("Tags"):
        yield Ask("ssm:AddTagsToResource", _parameter_arn(call, names[0]), context)


def _parameter_arn(call: Call, name: str) -> str:
    """The ARN of a parameter; its name may carry a version or label, or be an ARN."""
    if name.startswith("arn:"):
        return name
    # A version or label is not part of the resource.
    name = name.split(":")[0]
    return arn(call, "ssm", "parameter/" + name.lstrip("/") if name != "/" else "parameter/")

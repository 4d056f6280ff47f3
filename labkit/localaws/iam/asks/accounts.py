"""AWS IAM, AWS STS and Amazon SES: operations to actions on identities.

Follows the Service Authorization Reference; which STS calls need no permission at all stands in
the IAM User Guide, "Permissions for GetSessionToken" and the STS API Reference's GetCallerIdentity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.iam import catalog
from labkit.localaws.iam.asks import generic
from labkit.localaws.iam.asks.ask import Ask, Facts, arn, request_tags, tag_keys

# Allowed to everybody who is authenticated, even against an explicit deny.
_FREE = ("GetCallerIdentity", "GetSessionToken")
# Decided by the role's trust policy without a signature.
_BY_TRUST = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")
# About the caller when no user is named.
_OF_CALLER = (
    "GetUser", "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey",
    "ChangePassword", "ListMFADevices", "ListSigningCertificates",
)  # fmt: skip


def read_iam(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an IAM call asks for."""
    operation, params = call.operation, call.params
    action = f"iam:{operation}"
    context: dict[str, Any] = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    if params.get("PermissionsBoundary"):
        context["iam:permissionsboundary"] = str(params["PermissionsBoundary"])
    if params.get("AWSServiceName"):
        context["iam:awsservicename"] = str(params["AWSServiceName"])
    attaches = operation.startswith(("Attach", "Detach"))
    if attaches and params.get("PolicyArn"):
        context["iam:policyarn"] = str(params["PolicyArn"])
    yield Ask(action, _iam_resource(call, facts), context)
    if operation.startswith("Create") and params.get("Tags"):
        kind = operation.removeprefix("Create")
        yield Ask(f"iam:Tag{kind}", _iam_resource(call, facts), context)
    if operation == "AddRoleToInstanceProfile" and params.get("RoleName"):
        role = facts.iam_arn(call, "role", str(params["RoleName"]))
        yield Ask("iam:PassRole", role, {"iam:passedtoservice": "ec2.amazonaws.com"})


def _iam_resource(call: Call, facts: Facts) -> str:
    operation, params = call.operation, call.params
    path = str(params.get("Path") or "/")
    for parameter, kind in (
        ("UserName", "user"),
        ("RoleName", "role"),
        ("GroupName", "group"),
        ("InstanceProfileName", "instance-profile"),
    ):
        name = params.get(parameter)
        if operation in ("AddUserToGroup", "RemoveUserFromGroup") and kind == "user":
            continue
        if operation.endswith("InstanceProfile") and kind == "role":
            continue
        if name:
            if operation == f"Create{parameter.removesuffix('Name')}":
                return arn(call, "iam", f"{kind}{path}{name}", region=False)
            return facts.iam_arn(call, kind, str(name))
    if operation == "CreatePolicy":
        name = params.get("PolicyName", "*")
        return arn(call, "iam", f"policy{path}{name}", region=False)
    for parameter in (
        "PolicyArn", "PolicySourceArn", "SAMLProviderArn", "OpenIDConnectProviderArn", "Arn",
        "SerialNumber",
    ):  # fmt: skip
        if params.get(parameter):
            return str(params[parameter])
    if operation in _OF_CALLER and call.principal.kind == "user":
        return call.principal.arn
    known = catalog.action("iam", operation)
    return generic.resources(call, "iam", known)[0]


def read_sts(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an STS call asks for; nothing for the calls open to everybody."""
    operation, params = call.operation, call.params
    if operation in _FREE or operation in _BY_TRUST:
        return
    if operation == "AssumeRole":
        # The service layer asks: the role's trust policy decides together with the caller's.
        return
    context: dict[str, Any] = request_tags(params.get("Tags"))
    resource = "*"
    if operation == "GetFederationToken":
        name = params.get("Name", "*")
        resource = arn(call, "sts", f"federated-user/{name}", region=False)
    yield Ask(f"sts:{operation}", resource, context)


def read_ses(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an SES call asks for; sending is about the identity of the sender."""
    operation, params = call.operation, call.params
    context = generic.tag_context(params)
    sender = params.get("Source") or params.get("FromEmailAddress")
    if not operation.startswith("Send") or not sender:
        known = catalog.action("ses", operation)
        for resource in generic.resources(call, "ses", known):
            yield Ask(f"ses:{operation}", resource, context)
        return
    address = str(sender).rsplit("<", 1)[-1].rstrip("> ")
    context["ses:fromaddress"] = address
    destination = params.get("Destination") or {}
    recipients = [
        str(to)
        for kind in ("ToAddresses", "CcAddresses", "BccAddresses")
        for to in destination.get(kind) or ()
    ]
    recipients += [str(to) for to in params.get("Destinations") or () if isinstance(to, str)]
    if recipients:
        context["ses:recipients"] = tuple(recipients)
    yield Ask(f"ses:{operation}", arn(call, "ses", f"identity/{address}"), context)


def read_apigateway(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an API Gateway call asks for: its actions are the HTTP methods, its ARNs the paths."""
    path = call.request.path.removeprefix("/v2")
    context = generic.tag_context(call.params)
    resource = f"arn:aws:apigateway:{call.region}::{path}"
    yield Ask(f"apigateway:{call.request.method.upper()}", resource, context)

"""Resource policies: who may invoke a function, a version, an alias; who may use a layer.

AWS Lambda API Reference, AddPermission, RemovePermission, GetPolicy and the same of layer
versions; Developer Guide, "Viewing resource-based IAM policies in Lambda".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.functions import layers, names
from labkit.localaws.functions.errors import (
    REVISION_OF_LAYER_POLICY,
    REVISION_OF_POLICY,
    check_revision,
    conflict,
    function_not_found,
    invalid,
    not_found,
)
from labkit.localaws.functions.model import Function, Policy, new_revision
from labkit.localaws.functions.names import LATEST, Ref, is_version, qualified
from labkit.localaws.functions.store import Region

POLICY_LIMIT = 20_480
_SERVICE = re.compile(r"[a-z0-9.-]+\.(amazonaws\.com(\.cn)?|amazon\.com)")
_IDENTITY = re.compile(r"arn:aws[a-zA-Z-]*:(iam|sts)::\d{12}:.+")


def add_permission(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """AddPermission: one more statement in the policy of the function, version or alias."""
    ref = names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )
    if ref.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    statement = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": principal(params["Principal"]),
        "Action": params["Action"],
        "Resource": ref.arn,
        **_condition(params),
    }
    function = _resource(region, ref)
    with region.owner.lock:
        policy = function.policies.get(ref.qualifier or "")
        latest = [policy.revision] if policy else []
        check_revision(
            params.get("RevisionId"),
            *latest,
            _resource_revision(function, ref.qualifier),
            wording=REVISION_OF_POLICY,
        )
        function.policies[ref.qualifier or ""] = _with(policy, statement)
    return {"Statement": _text(statement)}


def remove_permission(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """RemovePermission."""
    ref = names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )
    if region.owner.find(ref) is None:
        raise not_found(f"No policy found for: {ref.arn}")
    function = _resource(region, ref)
    with region.owner.lock:
        policy = function.policies.get(ref.qualifier or "")
        if policy is None:
            raise not_found("No policy is associated with the given resource.")
        left = _without(policy, params["StatementId"])
        check_revision(
            params.get("RevisionId"),
            policy.revision,
            _resource_revision(function, ref.qualifier),
            wording=REVISION_OF_POLICY,
        )
        if left is None:
            del function.policies[ref.qualifier or ""]
        else:
            function.policies[ref.qualifier or ""] = left


def get_policy(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """GetPolicy."""
    ref = names.parse(
        params["FunctionName"], region.account, region.region, params.get("Qualifier")
    )
    with region.owner.lock:
        function = region.owner.find(ref)
        policy = function.policies.get(ref.qualifier or "") if function else None
        if policy is None:
            raise not_found()
        return {"Policy": _text(policy.document()), "RevisionId": policy.revision}


def add_layer_version_permission(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """AddLayerVersionPermission."""
    version = layers.required(region, params)
    who = params["Principal"]
    statement: dict[str, Any] = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": principal(who),
        "Action": params["Action"],
        "Resource": version.arn,
    }
    if params.get("OrganizationId"):
        if who != "*":
            raise invalid("OrganizationId can only be used with the principal *.")
        organization = {"aws:PrincipalOrgID": params["OrganizationId"]}
        statement["Condition"] = {"StringEquals": organization}
    with region.owner.lock:
        policy = version.policy
        check_revision(
            params.get("RevisionId"),
            *([policy.revision] if policy else []),
            wording=REVISION_OF_LAYER_POLICY,
        )
        version.policy = _with(policy, statement)
        return {"Statement": _text(statement), "RevisionId": version.policy.revision}


def remove_layer_version_permission(
    region: Region, params: Mapping[str, Any], call: Call
) -> None:
    """RemoveLayerVersionPermission."""
    version = layers.required(region, params)
    with region.owner.lock:
        if version.policy is None:
            raise not_found("No policy is associated with the given resource.")
        left = _without(version.policy, params["StatementId"])
        check_revision(
            params.get("RevisionId"), version.policy.revision, wording=REVISION_OF_LAYER_POLICY
        )
        version.policy = left


def get_layer_version_policy(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetLayerVersionPolicy."""
    version = layers.required(region, params)
    with region.owner.lock:
        if version.policy is None:
            raise not_found("No policy is associated with the given resource.")
        return {
            "Policy": _text(version.policy.document()),
            "RevisionId": version.policy.revision,
        }


def principal(given: str) -> str | dict[str, str]:
    """The Principal element for what a request names: a service, account, identity or ``*``."""
    if given == "*":
        return "*"
    if re.fullmatch(r"\d{12}", given):
        return {"AWS": f"arn:aws:iam::{given}:root"}
    if _IDENTITY.fullmatch(given):
        return {"AWS": given}
    if _SERVICE.fullmatch(given):
        return {"Service": given}
    raise invalid(
        "The provided principal was invalid. Please check the principal and try again."
    )


def _condition(params: Mapping[str, Any]) -> dict[str, Any]:
    """The Condition element that AddPermission's parameters make, in AWS's order; or nothing."""
    url_auth = params.get("FunctionUrlAuthType")
    if url_auth and params["Action"] != "lambda:InvokeFunctionUrl":
        raise invalid(
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
        )
    equal = {
        "AWS:SourceAccount": params.get("SourceAccount"),
        "lambda:FunctionUrlAuthType": url_auth,
        "aws:PrincipalOrgID": params.get("PrincipalOrgID"),
        "lambda:EventSourceToken": params.get("EventSourceToken"),
    }
    condition: dict[str, Any] = {}
    if any(equal.values()):
        condition["StringEquals"] = {name: value for name, value in equal.items() if value}
    if params.get("InvokedViaFunctionUrl") is not None:
        told = "true" if params["InvokedViaFunctionUrl"] else "false"
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": told}
    if params.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
    return {"Condition": condition} if condition else {}


def _resource(region: Region, ref: Ref) -> Function:
    """The function, when the qualifier names something of it."""
    function = region.owner.function(ref, Ref(ref.account, ref.region, ref.name))
    qualifier = ref.qualifier
    if qualifier and function.version(qualifier) is None:
        if is_version(qualifier) or "$" in qualifier:
            raise function_not_found(ref.arn)
        raise not_found(f"Cannot find alias arn: {qualified(function.arn, qualifier)}")
    return function


def _resource_revision(function: Function, qualifier: str | None) -> str:
    alias = function.aliases.get(qualifier or "")
    if alias is not None:
        return alias.revision
    version = function.version(qualifier)
    assert version is not None
    return version.config["RevisionId"]


def _with(policy: Policy | None, statement: dict[str, Any]) -> Policy:
    statements = list(policy.statements) if policy else []
    if any(other.get("Sid") == statement["Sid"] for other in statements):
        raise conflict(
            f"The statement id ({statement['Sid']}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
    extended = Policy([*statements, statement])
    size = len(_text(extended.document()).encode())
    if size > POLICY_LIMIT:
        raise AwsError(
            "PolicyLengthExceededException",
            f"The final policy size ({size}) is bigger than the limit ({POLICY_LIMIT}).",
            400,
            Type="User",
        )
    return extended


def _without(policy: Policy, sid: str) -> Policy | None:
    left = [statement for statement in policy.statements if statement.get("Sid") != sid]
    if len(left) == len(policy.statements):
        raise not_found(f"Statement {sid} is not found in resource policy.")
    return Policy(left, new_revision()) if left else None


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)

"""Whole resource policies of functions, put, read and deleted as documents.

AWS Lambda API Reference, PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy. They are the
same policies that AddPermission writes single statements of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions.errors import (
    check_revision,
    function_not_found,
    invalid,
    not_found,
)
from labkit.localaws.functions.model import Function, Policy
from labkit.localaws.functions.names import LATEST, Ref, parse_arn
from labkit.localaws.functions.store import Region

_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetResourcePolicy API to retrieve the latest Revision Id"
)
_NEEDED = ("Effect", "Principal", "Action", "Resource")


def put_resource_policy(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """PutResourcePolicy: replaces the policy of a function, version or alias."""
    ref, function = _resource(region, params)
    document = _document(params["Policy"])
    with region.owner.lock:
        current = function.policies.get(ref.qualifier or "")
        check_revision(
            params.get("RevisionId"), *([current.revision] if current else []), wording=_REVISION
        )
        policy = Policy(
            document["Statement"],
            version=document.get("Version", "2012-10-17"),
            policy_id=document.get("Id", "default"),
        )
        function.policies[ref.qualifier or ""] = policy
        return _shown(policy)


def get_resource_policy(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """GetResourcePolicy."""
    ref, function = _resource(region, params)
    with region.owner.lock:
        policy = function.policies.get(ref.qualifier or "")
        if policy is None:
            raise not_found()
        return _shown(policy)


def delete_resource_policy(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """DeleteResourcePolicy."""
    ref, function = _resource(region, params)
    with region.owner.lock:
        policy = function.policies.get(ref.qualifier or "")
        if policy is None:
            raise not_found()
        check_revision(params.get("RevisionId"), policy.revision, wording=_REVISION)
        del function.policies[ref.qualifier or ""]


def _resource(region: Region, params: Mapping[str, Any]) -> tuple[Ref, Function]:
    arn = params["ResourceArn"]
    ref = parse_arn(arn)
    if ref is None:
        raise invalid(f"This local AWS keeps resource policies of functions only, not of {arn}.")
    function = region.owner.function(ref)
    if function.version(ref.qualifier) is None:
        raise function_not_found(ref.arn)
    if ref.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    return ref, function


def _document(text: str) -> dict[str, Any]:
    """The policy document in *text*; a single statement becomes a list of one."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("The provided policy is not valid JSON.") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise invalid("The provided policy has no statement.")
    for statement in statements:
        if not isinstance(statement, dict) or any(name not in statement for name in _NEEDED):
            raise invalid(
                "Every statement of the provided policy needs Effect, Principal, Action and "
                "Resource."
            )
    return {**document, "Statement": statements}


def _shown(policy: Policy) -> dict[str, Any]:
    return {
        "Policy": json.dumps(policy.document(), separators=(",", ":"), ensure_ascii=False),
        "RevisionId": policy.revision,
    }

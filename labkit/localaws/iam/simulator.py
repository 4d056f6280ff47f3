"""IAM's policy simulator: SimulateCustomPolicy and SimulatePrincipalPolicy on the real engine.

Follows the IAM API Reference and the IAM User Guide, "Testing IAM policies with the IAM policy
simulator".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.iam.accounts import Accounts, Entity
from labkit.localaws.iam.evaluation import (
    ALLOWED,
    BOUNDARY,
    EXPLICIT_DENY,
    IDENTITY,
    RESOURCE,
    Caller,
    Match,
    Policies,
    PolicySet,
    Request,
    decide,
)
from labkit.localaws.iam.policy import parse
from labkit.localaws.iam.positions import statement_spans
from labkit.localaws.iam.simulation import matching, missing_keys, written_keys

_LISTS = ("stringList", "numericList", "booleanList", "ipList", "binaryList", "dateList")


@dataclass(frozen=True)
class Scenario:
    """What is simulated: policies, a caller, and the keys of the request."""

    policies: Policies
    caller: Caller
    context: Mapping[str, Any] = field(default_factory=dict)


def context_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The condition keys that ContextEntries set."""
    context: dict[str, Any] = {}
    for entry in entries:
        values = [str(value) for value in entry.get("ContextKeyValues") or ()]
        name = str(entry.get("ContextKeyName", "")).lower()
        if entry.get("ContextKeyType") in _LISTS:
            context[name] = tuple(values)
        elif values:
            context[name] = values[0] if len(values) == 1 else tuple(values)
    return context


def caller_of(arn: str) -> Caller:
    """The caller an ARN of a user, role, session or root stands for."""
    parts = arn.split(":", 5)
    if len(parts) != 6:
        raise AwsError(
            "InvalidInput",
            f"Invalid Entity Arn: {arn} does not clearly define entity type and name.",
            400,
        )
    account, resource = parts[4], parts[5]
    if resource == "root":
        return Caller("root", account, arn)
    if resource.startswith("assumed-role/"):
        role = resource.split("/")[1]
        return Caller("role", account, arn, f"arn:aws:iam::{account}:role/{role}")
    if resource.startswith("role/"):
        return Caller("role", account, arn, arn)
    return Caller("user", account, arn, arn)


def principal_context(entity: Entity | None) -> dict[str, Any]:
    """The keys about the principal that the simulator knows by itself."""
    if entity is None:
        return {}
    context = {
        "aws:principalarn": entity.arn,
        "aws:principalaccount": entity.account_id,
        "aws:principaltype": "User" if entity.kind == "user" else "AssumedRole",
    }
    if entity.kind == "user":
        context["aws:username"] = entity.name
        context["aws:userid"] = entity.id
    for key, value in entity.tags.items():
        context[f"aws:principaltag/{key.lower()}"] = value
    return context


def simulate(
    scenario: Scenario, actions: Sequence[str], resources: Sequence[str]
) -> list[dict[str, Any]]:
    """One EvaluationResult for each action on each resource, in the API's shape."""
    results = []
    for action in actions:
        prefix, colon, name = action.partition(":")
        if not (prefix and colon and name):
            raise AwsError("InvalidInput", f"Invalid action name {action}", 400)
        for resource in resources or ["*"]:
            if resource != "*" and not resource.startswith("arn:"):
                raise AwsError("InvalidInput", f"Invalid resource ARN: {resource}", 400)
            results.append(_result(scenario, action, resource))
    return results


def _result(scenario: Scenario, action: str, resource: str) -> dict[str, Any]:
    policies = scenario.policies
    request = Request(action, resource, scenario.caller, scenario.context)
    decision = decide(request, policies)
    found: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": decision.outcome,
        "MatchedStatements": [
            _shown(match) for match in _deciding(request, policies, decision.outcome)
        ],
        "MissingContextValues": missing_keys(request, policies),
    }
    if policies.boundary is not None:
        allowed = _allows(request, policies.boundary)
        found["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
    if policies.resource is not None and policies.resource_account != scenario.caller.account:
        found["EvalDecisionDetails"] = {
            "IAM Policy": _outcome(request, policies.identity),
            "Resource Policy": _outcome(request, policies.resource),
        }
    return found


def _deciding(request: Request, policies: Policies, outcome: str) -> list[Match]:
    """The statements that make the result: the denying ones, else those that allow it."""
    if outcome not in (ALLOWED, EXPLICIT_DENY):
        return []
    matches = [
        match
        for policy_set in policies.sets()
        if outcome == EXPLICIT_DENY or policy_set.kind in (IDENTITY, RESOURCE)
        for match in matching(request, policy_set)
    ]
    return [match for match in matches if match.statement.allow == (outcome == ALLOWED)]


def _allows(request: Request, policy_set: PolicySet) -> bool:
    return _outcome(request, policy_set) == ALLOWED


def _outcome(request: Request, policy_set: PolicySet) -> str:
    matches = matching(request, policy_set)
    if any(not match.statement.allow for match in matches):
        return EXPLICIT_DENY
    return ALLOWED if matches else "implicitDeny"


def _shown(match: Match) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "SourcePolicyId": match.attached.source_id,
        "SourcePolicyType": match.attached.source_type,
    }
    spans = statement_spans(match.attached.policy.text)
    if match.statement.index < len(spans):
        span = spans[match.statement.index]
        for name, (line, column) in (("StartPosition", span.start), ("EndPosition", span.end)):
            shown[name] = {"Line": line, "Column": column}
    return shown


def input_documents(texts: Iterable[str], name: str) -> tuple[tuple[str, str, str], ...]:
    """Documents passed to the simulator, named as it names them (``PolicyInputList.1``)."""
    return tuple((f"{name}.{number}", "none", text) for number, text in enumerate(texts, 1))


def custom_policies(
    accounts: Accounts,
    identity: Sequence[tuple[str, str, str]],
    boundary: Sequence[str],
    resource_policy: str | None,
    resource_account: str,
) -> Policies:
    """The policies of a simulation from documents."""
    boundaries = input_documents(boundary, "PermissionsBoundaryPolicyInputList")
    resource = None
    if resource_policy:
        resource = accounts.policy_set(RESOURCE, (("ResourcePolicy", "resource", resource_policy),))
    return Policies(
        identity=accounts.policy_set(IDENTITY, tuple(identity)),
        boundary=accounts.policy_set(BOUNDARY, boundaries) if boundaries else None,
        resource=resource,
        resource_account=resource_account,
    )


def context_keys(documents: Iterable[str]) -> list[str]:
    """The condition keys that policies read, in order of appearance, each once."""
    found: dict[str, str] = {}
    for text in documents:
        for statement in parse(text).statements:
            for key, written in written_keys(statement):
                found.setdefault(key, written)
    return list(found.values())

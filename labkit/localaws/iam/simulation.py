"""Policy simulation on the engine that decides real calls: every matching statement, missing keys.

What IAM's SimulatePrincipalPolicy and SimulateCustomPolicy answer, and what an explanation of a
real decision shows of each statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.localaws.iam.evaluation import (
    RESOURCE,
    TRUST,
    Match,
    Policies,
    PolicySet,
    Request,
    applies,
    named,
)
from labkit.localaws.iam.policy import Statement


def matching(request: Request, policy_set: PolicySet) -> list[Match]:
    """Every statement of a set that applies to *request*, allowing or denying."""
    return [
        Match(attached, statement, policy_set.kind)
        for attached, statement in policy_set.about(request.action)
        if applies(request, policy_set.kind, statement)
    ]


def verdict(request: Request, kind: str, statement: Statement) -> dict[str, Any]:
    """Whether *statement* applies to *request*, and if not, why: the first part that differs.

    ``applies`` is a bool; ``differs`` one of Action, Principal, Resource, Condition or None;
    ``conditions`` lists each condition with the request's value and whether it is met.
    """
    differs = None
    if not statement.covers_action(request.action.lower()):
        differs = "Action"
    elif kind in (RESOURCE, TRUST) and not named(request.caller, statement):
        differs = "Principal"
    elif not statement.covers_resource(request.resource, request.variable):
        differs = "Resource"
    elif not statement.conditions_hold(request.context):
        differs = "Condition"
    conditions = [
        {
            "operator": condition.operator,
            "key": condition.written_key,
            "wanted": list(condition.values),
            "given": _given(request, condition.key),
            "met": condition.holds(request.context),
        }
        for condition in statement.conditions
    ]
    return {"applies": differs is None, "differs": differs, "conditions": conditions}


def _given(request: Request, key: str) -> Any:
    value = request.context.get(key)
    return list(value) if isinstance(value, tuple) else value


def missing_keys(request: Request, policies: Policies) -> list[str]:
    """The condition keys that statements about the action and resource read and the request
    lacks, as the policies write them, in order."""
    missing: dict[str, str] = {}
    for policy_set in policies.sets():
        for _, statement in policy_set.about(request.action):
            if not statement.covers_resource(request.resource, request.variable):
                if not any(p.variables for p in statement.resources or ()):
                    continue
            for key, written in written_keys(statement):
                if request.context.get(key) is None:
                    missing.setdefault(key, written)
    return list(missing.values())


def written_keys(statement: Statement) -> Iterator[tuple[str, str]]:
    """The condition keys a statement reads: lower case, and as it writes them."""
    for condition in statement.conditions:
        yield condition.key, condition.written_key
        for name in condition.variables:
            yield name, name
    for pattern in (*(statement.resources or ()), *(statement.not_resources or ())):
        for name in pattern.variables:
            yield name, name

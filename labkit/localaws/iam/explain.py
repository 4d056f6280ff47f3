"""Why a call was allowed or denied, and what would have been enough.

The latest decisions are kept with everything they were made from; what can be said about them is
worked out when somebody asks. All answers are plain dicts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.localaws.call import Call, Principal
from labkit.localaws.iam import simulation
from labkit.localaws.iam.asks.ask import Ask
from labkit.localaws.iam.evaluation import Decision, Policies, PolicySet, Request

KEPT = 1000


@dataclass(frozen=True)
class Entry:
    """One decision and what it was made from; ``number`` counts from 1."""

    number: int
    at: float
    principal: Principal
    service: str
    operation: str
    request_id: str
    request: Request
    policies: Policies
    decision: Decision


class Journal:
    """The latest decisions, oldest first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._guard = threading.Lock()
        self._count = 0
        # Signs encoded authorization messages, so that only ours can be decoded.
        self._secret = secrets.token_bytes(32)

    def record(self, call: Call, request: Request, policies: Policies, decision: Decision) -> None:
        """Remember the decision on one thing a call asked for."""
        self._add(
            call.notes.get("arrived", 0.0),
            call.principal,
            call.service,
            call.operation,
            call.request_id,
            request,
            policies,
            decision,
        )

    def record_other(
        self,
        at: float,
        principal: Principal,
        request: Request,
        policies: Policies,
        decision: Decision,
    ) -> None:
        """Remember a decision outside any call: a role assumed, a delivery, a function's logs."""
        service, _, operation = request.action.partition(":")
        self._add(at, principal, service, operation, "", request, policies, decision)

    def _add(self, *parts: Any) -> None:
        with self._guard:
            self._count += 1
            self._entries.append(Entry(self._count, *parts))

    def entries(self) -> list[Entry]:
        """What is remembered, oldest first."""
        with self._guard:
            return list(self._entries)

    # -- what can be asked -------------------------------------------------------------------

    def decisions(
        self,
        *,
        since: int = 0,
        denied_only: bool = False,
        principal: str | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """The latest decisions in short, newest last.

        ``since`` leaves out those up to that number; ``principal`` keeps those whose caller's ARN
        contains it.
        """
        found = []
        for entry in self.entries():
            if entry.number <= since or (denied_only and entry.decision.allowed):
                continue
            if principal and principal not in entry.principal.arn:
                continue
            found.append(_short(entry))
        return found[-limit:]

    def explain(self, number: int | None = None) -> dict[str, Any]:
        """Everything about one decision: of a number, or of the latest denial.

        Raises LookupError when it is not (or no longer) remembered.
        """
        for entry in reversed(self.entries()):
            if entry.number == number or (number is None and not entry.decision.allowed):
                return _long(entry)
        raise LookupError("no such decision is remembered")

    def least_privilege(
        self,
        *,
        principal: str | None = None,
        since: int = 0,
        include_denied: bool = False,
        exact: bool = False,
    ) -> dict[str, Any]:
        """The identity policy that would have been enough for the calls made since a number.

        ``include_denied`` adds what was refused; ``exact`` keeps every log stream and object by
        itself, where policies name the log group and the prefix. Calls of AWS services are left
        out: resource policies are for them. ``document`` is the policy, ``used`` what it was
        made from: action, resource and how often.
        """
        used: Counter[tuple[str, str]] = Counter()
        for entry in self.entries():
            if entry.number <= since or entry.principal.kind not in ("user", "role", "root"):
                continue
            if principal and principal not in entry.principal.arn:
                continue
            if entry.decision.allowed or include_denied:
                used[entry.request.action, entry.request.resource] += 1
        pairs = set(used) if exact else generalised(used)
        return {
            "document": minimal_policy(pairs),
            "used": [
                {"action": action, "resource": resource, "times": times}
                for (action, resource), times in sorted(used.items())
            ],
        }

    # -- encoded authorization messages ------------------------------------------------------

    def encode(self, call: Call, ask: Ask, decision: Decision) -> str:
        """The details of a denial in a form only :meth:`decode` reads."""
        details = {
            "allowed": decision.allowed,
            "explicitDeny": decision.outcome == "explicitDeny",
            "matchedStatements": {
                "items": [{"statementId": m.statement.sid} for m in decision.statements]
            },
            "failures": {"items": []},
            "context": {
                "principal": {"id": call.principal.name, "arn": call.principal.arn},
                "action": ask.action,
                "resource": ask.resource,
                "conditions": {"items": []},
            },
        }
        packed = zlib.compress(json.dumps(details).encode())
        seal = hmac.new(self._secret, packed, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(seal + packed).decode()

    def decode(self, message: str) -> str:
        """The JSON details of an encoded message; raises ValueError for one that is not ours."""
        raw = base64.urlsafe_b64decode(message.encode())
        seal, packed = raw[:32], raw[32:]
        if not hmac.compare_digest(seal, hmac.new(self._secret, packed, hashlib.sha256).digest()):
            raise ValueError("not a message of this service")
        return zlib.decompress(packed).decode()


def generalised(used: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """(action, resource) pairs with the resources policies are written with: a log group for its
    streams, and the common folder of an action's objects in a bucket for the objects."""
    found: set[tuple[str, str]] = set()
    objects: dict[tuple[str, str], list[str]] = {}
    for action, resource in used:
        if resource.startswith("arn:aws:logs:") and ":log-stream:" in resource:
            group = resource.split(":log-stream:")[0]
            # The group of all groups, which lists are about, is the account's.
            found.add((action, f"{group}:*" if not group.endswith(":log-group:") else f"{group}*"))
        elif resource.startswith("arn:aws:s3:::") and "/" in resource:
            bucket, _, key = resource.partition("/")
            objects.setdefault((action, bucket), []).append(key)
        else:
            found.add((action, resource))
    for (action, bucket), keys in objects.items():
        folder = os.path.commonprefix([f"{key.rpartition('/')[0]}/" for key in keys])
        folder = folder[: folder.rfind("/") + 1].lstrip("/")
        found.add((action, f"{bucket}/{folder}*"))
    return found


def minimal_policy(used: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A policy document that allows these (action, resource) pairs and nothing else.

    Actions used on the same resources share a statement.
    """
    by_action: dict[str, set[str]] = {}
    for action, resource in used:
        by_action.setdefault(action, set()).add(resource)
    by_resources: dict[tuple[str, ...], list[str]] = {}
    for action, resources in by_action.items():
        by_resources.setdefault(tuple(sorted(resources)), []).append(action)
    statements = []
    for resources, actions in sorted(by_resources.items(), key=lambda item: sorted(item[1])):
        statements.append(
            {
                "Effect": "Allow",
                "Action": _one_or_many(sorted(actions)),
                "Resource": _one_or_many(list(resources)),
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _one_or_many(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _short(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.at,
        "principal": entry.principal.arn,
        "service": entry.service,
        "operation": entry.operation,
        "request_id": entry.request_id,
        "action": entry.request.action,
        "resource": entry.request.resource,
        "outcome": entry.decision.outcome,
        "decided_by": entry.decision.by,
    }


def _long(entry: Entry) -> dict[str, Any]:
    request, policies = entry.request, entry.policies
    looked_at = [each for policy_set in policies.sets() for each in _policies(policy_set, request)]
    context = request.context
    complete = context.complete() if hasattr(context, "complete") else dict(context)
    return {
        **_short(entry),
        "context": {key: _plain(value) for key, value in sorted(complete.items())},
        "policies": looked_at,
        "deciding": [
            {
                "policy": match.attached.source_id,
                "kind": match.kind,
                "statement": dict(match.statement.source),
            }
            for match in entry.decision.statements
        ],
        "suggestion": _suggestion(entry),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _policies(policy_set: PolicySet, request: Request) -> list[dict[str, Any]]:
    """Each policy of a set with what every statement about the action came to."""
    found = []
    for attached in policy_set.attached:
        statements = [
            {
                "index": statement.index,
                "sid": statement.sid,
                "effect": "Allow" if statement.allow else "Deny",
                "statement": dict(statement.source),
                **simulation.verdict(request, policy_set.kind, statement),
            }
            for statement in attached.policy.statements
        ]
        found.append(
            {
                "kind": policy_set.kind,
                "policy": attached.source_id,
                "source": attached.source_type,
                "statements": statements,
            }
        )
    return found


def _suggestion(entry: Entry) -> Mapping[str, Any] | None:
    """What would have to change for a denied call to be allowed; None for one that was."""
    decision, request = entry.decision, entry.request
    if decision.allowed:
        return None
    if decision.outcome == "explicitDeny":
        return {
            "where": decision.by,
            "change": "remove or narrow the statement that denies",
            "statement": dict(decision.statements[0].statement.source),
        }
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": request.action,
        "Resource": request.resource,
    }
    if decision.by in ("resource-based policy", "role trust policy"):
        statement = {"Effect": "Allow", "Principal": _principal_element(entry), **statement}
        if decision.by == "role trust policy":
            del statement["Resource"]
    return {"where": decision.by, "change": "add this statement", "statement": statement}


def _principal_element(entry: Entry) -> Any:
    caller = entry.request.caller
    if caller.kind == "service":
        return {"Service": caller.name}
    if caller.kind == "anonymous":
        return "*"
    return {"AWS": caller.entity_arn or caller.arn}

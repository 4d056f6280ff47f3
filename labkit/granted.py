"""Which permissions a run used: the policy that would have been enough, beside the one in force.

IAM User Guide, "Refine permissions in AWS using last accessed information" and "IAM Access
Analyzer policy generation", which do this for a real account from CloudTrail.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labkit import policies
from labkit.decisions import REMEMBERED, number_at, short
from labkit.display import Table
from labkit.errors import LabError
from labkit.session import Lab

ELSEWHERE = (
    "Only the local AWS remembers every decision. In your account, generate a policy with IAM "
    "Access Analyzer (it reads CloudTrail, up to 90 days), and see with "
    "iam.generate_service_last_accessed_details(Granularity='ACTION_LEVEL') what was never used."
)


@dataclass(frozen=True)
class Grant:
    """One action that a policy in force allows: on which of its resources it was used, how often.

    ``idle`` are the resources it was not used on, ``enough`` narrower ones that would have done.
    """

    policy: str
    action: str
    used: tuple[str, ...]
    times: int
    idle: tuple[str, ...]
    enough: tuple[str, ...] = ()


class LeastPrivilege:
    """What a principal's calls needed: ``policy`` is the document that would have been enough.

    ``used`` and ``grants`` are tables' rows as data; ``unused`` are the actions that the policies
    in force allow and that no call needed.
    """

    def __init__(self, told: Mapping[str, Any], grants: Iterable[Grant], note: str = "") -> None:
        self.policy: dict[str, Any] = told["document"]
        self.used: list[Mapping[str, Any]] = told["used"]
        self.grants = list(grants)
        self.note = note

    @property
    def unused(self) -> list[str]:
        """Actions that are granted and were not used at all, sorted."""
        needed = {grant.action for grant in self.grants if grant.used}
        return sorted({grant.action for grant in self.grants} - needed)

    @property
    def comparison(self) -> Table:
        """Each action in force: on what it was used, and on what it was granted in vain."""
        return Table(
            ["policy in force", "action", "used", "on", "enough would be"],
            [
                [
                    grant.policy,
                    grant.action,
                    grant.times or "never",
                    "\n".join([*map(short, grant.used), *_idle(grant)]),
                    "\n".join(map(short, grant.enough)),
                ]
                for grant in self.grants
            ],
        )

    def __repr__(self) -> str:
        parts = ["Enough would have been:", json.dumps(self.policy, indent=2), str(self.comparison)]
        return "\n".join([*parts, self.note] if self.note else parts)

    def _repr_html_(self) -> str:
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return (
            f"{self.comparison._repr_html_()}{note}<details><summary>The policy that would have "
            f"been enough</summary><pre>{html.escape(json.dumps(self.policy, indent=2))}</pre>"
            "</details>"
        )


def least_privilege(
    lab: Lab, principal: str | None = None, since: datetime | int | None = None
) -> LeastPrivilege:
    """The policy that would have been enough for a principal's calls, and what else it may do.

    *principal* is the name of a role or a user, by default the function's role; *since* a time of
    the lab's clock or the number of a decision. Only calls that were allowed count, and only
    those that were made: a run shows what that run needed, no more. Raises LabError where nobody
    remembers them.
    """
    if lab.control is None:
        raise LabError(ELSEWHERE)
    name = principal or lab.names.role
    number = number_at(lab, since)
    told = {"document": {}, "used": []}
    for part in (f":assumed-role/{name}/", f":user/{name}"):
        asked = {"principal": part, "since": number}
        found = lab.control.ask("iam/least-privilege", asked)
        if found["used"]:
            told = found
            break
    documents = in_force(lab.client("iam"), name)
    used = [(one["action"], one["resource"], one["times"]) for one in told["used"]]
    oldest = lab.control.ask("iam/decisions", {"limit": REMEMBERED})
    forgotten = bool(oldest) and oldest[0]["number"] > number + 1
    note = (
        f"The local AWS remembers its last {REMEMBERED:,} decisions; earlier ones are not in this."
        if forgotten
        else ""
    )
    return LeastPrivilege(told, compared(documents, used, told["document"]), note)


def in_force(iam: Any, name: str) -> dict[str, dict[str, Any]]:
    """The identity policies of a role, or else of a user and its groups, by their names."""
    try:
        return _documents(iam, "role", name)
    except iam.exceptions.NoSuchEntityException:
        found = _documents(iam, "user", name)
    for page in iam.get_paginator("list_groups_for_user").paginate(UserName=name):
        for group in page["Groups"]:
            found |= _documents(iam, "group", group["GroupName"])
    return found


def _documents(iam: Any, kind: str, name: str) -> dict[str, dict[str, Any]]:
    """The documents of one role, user or group: its inline and its managed policies."""
    whose = {f"{kind.title()}Name": name}
    found = {}
    for page in iam.get_paginator(f"list_{kind}_policies").paginate(**whose):
        for inline in page["PolicyNames"]:
            answer = getattr(iam, f"get_{kind}_policy")(**whose, PolicyName=inline)
            found[inline] = answer["PolicyDocument"]
    for page in iam.get_paginator(f"list_attached_{kind}_policies").paginate(**whose):
        for managed in page["AttachedPolicies"]:
            arn = managed["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            answer = iam.get_policy_version(PolicyArn=arn, VersionId=version)
            found[managed["PolicyName"]] = answer["PolicyVersion"]["Document"]
    return found


def compared(
    documents: Mapping[str, Mapping[str, Any]],
    used: Iterable[tuple[str, str, int]],
    enough: Mapping[str, Any],
) -> list[Grant]:
    """Each allowed action of *documents* beside the calls (action, resource, how often) it let in.

    *enough* is the policy that would have done. An action on a resource of another service means
    nothing, so such pairs are left out.
    """
    calls = list(used)
    needed = list(_allowed({"": enough}))
    grants = []
    for name, action, resources in _allowed(documents):
        mine = [one for one in calls if policies.fits(action.lower(), one[0].lower())]
        resources = [one for one in resources if _same_service(action, one)]
        busy = [one for one in resources if any(policies.fits(one, call[1]) for call in mine)]
        times = sum(one[2] for one in mine if any(policies.fits(r, one[1]) for r in busy))
        narrower = {
            one
            for _, exact, those in needed
            for one in those
            if policies.fits(action.lower(), exact.lower())
            if one not in busy and any(policies.fits(r, one) for r in busy)
        }
        idle = tuple(one for one in resources if one not in busy)
        grants.append(Grant(name, action, tuple(busy), times, idle, tuple(sorted(narrower))))
    return grants


def _allowed(
    documents: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, list[str]]]:
    """Policy, action and resources of everything that *documents* allow."""
    for name, document in documents.items():
        for statement in policies.listed(document.get("Statement")):
            if statement.get("Effect") == "Allow":
                for action in policies.listed(statement.get("Action")):
                    yield name, action, policies.listed(statement.get("Resource"))


def _idle(grant: Grant) -> list[str]:
    """The resources an action was not used on, said to be so where it was used on others."""
    return [f"{short(one)} (never)" if grant.used else short(one) for one in grant.idle]


def _same_service(action: str, resource: str) -> bool:
    parts = resource.split(":")
    return len(parts) < 3 or policies.fits(parts[2], action.split(":")[0].lower())

"""The latest decisions about calls, as the local AWS remembers them, and words for what they name."""

from __future__ import annotations

from datetime import datetime

from labkit.display import Table
from labkit.errors import LabError
from labkit.session import Lab

# As many decisions as the local AWS remembers.
REMEMBERED = 1000

ELSEWHERE = (
    "Only the local AWS remembers its decisions. On this one, ask with the error or its sentence: "
    "explain(lab, error) puts it to IAM's policy simulator. Further help: CloudTrail's event history "
    "names principal, action and errorCode; sts.decode_authorization_message opens the encoded "
    "message of an UnauthorizedOperation; IAM Access Analyzer proposes policies from CloudTrail."
)


def decisions(
    lab: Lab,
    since: datetime | int | None = None,
    *,
    denied: bool = False,
    principal: str | None = None,
    last: int = 20,
) -> Table:
    """The latest decisions as a table: number, who, action, resource, how it ended and by what."""
    if lab.control is None:
        raise LabError(ELSEWHERE)
    asked = {"since": number_at(lab, since), "denied_only": denied, "principal": principal}
    found = lab.control.ask("iam/decisions", {**asked, "limit": last})
    return Table(
        ["#", "who", "action", "resource", "decision", "by"],
        [
            [one["number"], caller(one["principal"]), one["action"], short(one["resource"]),
             one["outcome"], one["decided_by"]]
            for one in found
        ],
        wide=3,
    )  # fmt: skip


def number_at(lab: Lab, since: datetime | int | None) -> int:
    """The number of the last decision before *since*; 0 stands for all that are remembered."""
    if not isinstance(since, datetime):
        return since or 0
    assert lab.control is not None
    found = lab.control.ask("iam/decisions", {"limit": REMEMBERED})
    later = [one["number"] for one in found if one["at"] >= since.timestamp()]
    return later[0] - 1 if later else found[-1]["number"] if found else 0


def caller(arn: str) -> str:
    """Who an ARN stands for, in words: ``role R (session S)``, ``user U``, ``the service X``."""
    if arn == "*":
        return "nobody in particular"
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return f"the service {arn}"
    kind, _, name = parts[5].partition("/")
    if kind == "assumed-role":
        role, _, session = name.partition("/")
        return f"role {role} (session {session})"
    return f"{kind} {name}".strip()


def short(arn: str) -> str:
    """The part of an ARN that tells resources of one account apart."""
    parts = arn.split(":", 5)
    return parts[5] if len(parts) == 6 else arn

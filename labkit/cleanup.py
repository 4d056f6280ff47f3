"""Listing, pricing and removing what the lab created, and proof that nothing is left.

Two sources say what there may be: the ledger of what was created through the lab, and the lab's
own names, for what another machine created. Only what AWS still knows counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError

from labkit.display import Table, progress
from labkit.kinds import BY_NAME, Kind
from labkit.ledger import Entry
from labkit.pipeline import TAGS
from labkit.prices import Prices
from labkit.reading import error_code
from labkit.session import Lab

# Some things go only after others; what could not be deleted is tried again so often.
_PASSES = 3


@dataclass(frozen=True)
class Resource:
    """One thing that exists: its kind, its name or ARN, since when as far as the lab knows."""

    kind: Kind
    id: str
    created: datetime | None = None

    @property
    def name(self) -> str:
        """A short name for tables: the last part of an ARN."""
        return self.id.rsplit(":", 1)[-1] if self.id.startswith("arn:") else self.id


def existing(lab: Lab) -> list[Resource]:
    """What the lab created and AWS still knows, oldest first."""
    with progress("Looking for what the lab created") as shown:
        found = []
        for candidate in _candidates(lab):
            shown.text = candidate.name
            if candidate.kind.exists(lab, candidate.id):
                found.append(candidate)
        return found


@dataclass
class Cost:
    """What the lesson costs on real AWS, and what it would cost if it were forgotten."""

    resources: list[tuple[Resource, float, float]]
    requests: float
    prices: Prices
    real: bool

    @property
    def so_far(self) -> float:
        """USD so far: resources since they were created, and this session's requests."""
        hours = sum(hourly * hours for _, hourly, hours in self.resources)
        return hours + self.requests

    @property
    def month(self) -> float:
        """USD for a month of leaving everything where it is."""
        return sum(hourly for _, hourly, _ in self.resources) * self.prices.month_hours

    @property
    def table(self) -> Table:
        """What stands, what it costs a month; most of it costs nothing until it is used."""
        return Table(
            ["resource", "name", "USD a month"],
            [
                [
                    found.kind.name,
                    found.name,
                    f"{hourly * self.prices.month_hours:.2f}" if hourly else "by use",
                ]
                for found, hourly, _ in self.resources
            ],
            wide=1,
        )

    @property
    def sentence(self) -> str:
        """Both sums in one line."""
        where = "This lesson" if self.real else "This lesson on real AWS"
        return (
            f"{where}: about {self.so_far:.4f} USD; forgotten for a month: {self.month:.2f} USD "
            f"(list prices of {self.prices.date}, us-east-1, without the free tier)."
        )

    def __repr__(self) -> str:
        return f"{self.table}\n{self.sentence}"

    def _repr_html_(self) -> str:
        return f"{self.table._repr_html_()}<p>{self.sentence}</p>"


def cost(lab: Lab) -> Cost:
    """What stands now and what it costs."""
    prices, now = Prices.load(), lab.clock.now()
    rows = []
    for found in existing(lab):
        age = (now - found.created).total_seconds() / 3600 if found.created else 0.0
        rows.append((found, prices.hourly(found.kind.price), max(age, 0.0)))
    return Cost(rows, prices.requests(lab.calls), prices, lab.costs_money)


@dataclass
class Cleaned:
    """What a clean-up removed, what it could not, and what was still there when it looked again."""

    removed: list[Resource] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    left: list[Resource] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is left."""
        return not self.left

    @property
    def table(self) -> Table:
        """What was removed and what is left."""
        rows = [["removed", found.kind.name, found.name, ""] for found in self.removed]
        rows += [
            ["LEFT", found.kind.name, found.name, self.problems.get(found.id, "still there")]
            for found in self.left
        ]
        return Table(["", "resource", "name", "why"], rows)

    @property
    def sentence(self) -> str:
        """The count in one line."""
        found = len({*self.removed, *self.left})
        return f"Found {found}, removed {len(self.removed)}, left {len(self.left)}."

    def __repr__(self) -> str:
        return f"{self.table}\n{self.sentence}" if self.removed or self.left else self.sentence

    def _repr_html_(self) -> str:
        table = self.table._repr_html_() if self.removed or self.left else ""
        return f"{table}<p>{self.sentence}</p>"


def clean(lab: Lab) -> Cleaned:
    """Delete what the lab created, newest first, go on past errors, and look whether it is gone."""
    cleaned = Cleaned()
    with progress("Cleaning up") as shown:
        # What is still running would write logs again after they were deleted.
        lab.settle()
        waiting = existing(lab)
        waiting.sort(key=lambda found: found.kind.name == "log group", reverse=True)
        waiting.reverse()
        for _ in range(_PASSES):
            failed = []
            for found in waiting:
                shown.text = f"{found.kind.name} {found.name}"
                try:
                    found.kind.remove(lab, found.id)
                except ClientError as error:
                    cleaned.problems[found.id] = error_code(error)
                    failed.append(found)
                except (BotoCoreError, RuntimeError) as problem:
                    cleaned.problems[found.id] = str(problem)
                    failed.append(found)
                else:
                    cleaned.removed.append(found)
            if not failed or len(failed) == len(waiting):
                break
            waiting = failed
        cleaned.left = existing(lab)
    left = {(found.kind, found.id) for found in cleaned.left}
    cleaned.removed = [f for f in cleaned.removed if (f.kind, f.id) not in left]
    for entry in lab.ledger.entries():
        if (BY_NAME.get(entry.kind), entry.id) not in left:
            lab.ledger.gone(entry.kind, entry.id)
    return cleaned


def _candidates(lab: Lab) -> list[Resource]:
    """Everything the lab may have created, oldest first, without asking AWS."""
    entries = lab.ledger.entries()
    known = {(entry.kind, entry.id) for entry in entries}
    found = [_resource(entry) for entry in entries if entry.kind in BY_NAME]
    for kind, identifier in reversed(_named(lab)):
        if (kind, identifier) not in known and _is_ours(lab, identifier):
            found.insert(0, Resource(BY_NAME[kind], identifier))
            known.add((kind, identifier))
    # A function's log group is made by Lambda, which is not a call of ours.
    for function in [f.id for f in found if f.kind.name == "Lambda function"]:
        group = f"/aws/lambda/{function}"
        if ("log group", group) not in known:
            found.append(Resource(BY_NAME["log group"], group))
            known.add(("log group", group))
    return found


def _is_ours(lab: Lab, identifier: str) -> bool:
    """Whether something with one of the lab's names may be taken for the lab's own.

    In a real account, somebody's own OrdersTable may have that name: there, only what carries
    the lab's tag counts, besides what the ledger knows.
    """
    if not lab.costs_money:
        return True
    pages = lab.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(
        TagFilters=[{"Key": key, "Values": [value]} for key, value in TAGS.items()]
    )  # fmt: skip
    tagged = [one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]]
    return any(arn == identifier or re.split("[:/]", arn)[-1] == identifier for arn in tagged)


def _named(lab: Lab) -> list[tuple[str, str]]:
    """The orders pipeline, in the order of building."""
    names = lab.names
    return [
        ("DynamoDB table", names.table),
        ("SNS topic", names.topic_arn),
        ("SQS queue", names.queue),
        ("Kinesis stream", names.stream),
        ("IAM role", names.role),
        ("Lambda function", names.function),
        ("SQS queue", names.dead_letter_queue),
        ("S3 bucket", names.bucket),
        ("log group", names.log_group),
    ]


def _resource(entry: Entry) -> Resource:
    return Resource(BY_NAME[entry.kind], entry.id, entry.created)

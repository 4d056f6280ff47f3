"""Rules: what EventBridge accepts of them and of events, and what one is at a moment.

Follows the EventBridge API (PutRule, PutTargets, PutEvents) and the EventBridge User Guide,
"Calculating PutEvents event entry size".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws import constraints
from labkit.localaws.call import AwsError
from labkit.localaws.services import event_patterns, event_transform, schedules
from labkit.localaws.services.event_targets import NEED_ROLE
from labkit.localaws.services.pattern_tokens import PatternError

if TYPE_CHECKING:
    from moto.events.models import EventBus, Rule

MOST_TARGETS = 5
LARGEST_REQUEST_BYTES = 1024 * 1024
_MOST_ENTRIES = 10


class Snapshot:
    """What a rule was at one moment."""

    def __init__(self, rule: Rule) -> None:
        self.name = rule.name
        self.arn = rule.arn
        self.state = rule.state
        self.account_id = rule.account_id
        self.region = rule.region_name
        self.pattern = rule.event_pattern.dump()
        self.schedule = rule.scheduled_expression or ""
        self.targets = [dict(target) for target in rule.targets]


def shown_bus(bus: EventBus) -> dict[str, Any]:
    """A bus as ListEventBuses shows it."""
    shown: dict[str, Any] = {
        "Name": bus.name,
        "Arn": bus.arn,
        "CreationTime": bus.creation_time,
        "LastModifiedTime": bus.last_modified_time,
    }
    if bus.description:
        shown["Description"] = bus.description
    if bus.policy:
        shown["Policy"] = bus.policy
    return shown


def check_number(entries: list[Mapping[str, Any]]) -> None:
    """Refuse too many entries, which AWS recites one by one."""
    if len(entries) <= _MOST_ENTRIES:
        return
    names = {
        "time": "Time",
        "source": "Source",
        "resources": "Resources",
        "detailType": "DetailType",
        "detail": "Detail",
        "eventBusName": "EventBusName",
        "traceHeader": "TraceHeader",
        "kmsKeyIdentifier": "KmsKeyIdentifier",
        "internalMetadata": "",
    }
    recited = ", ".join(
        "PutEventsRequestEntry("
        + ", ".join(f"{java}={constraints.java(entry.get(name))}" for java, name in names.items())
        + ")"
        for entry in entries
    )
    found = constraints.violation(
        f"[{recited}]",
        "entries",
        f"Member must have length less than or equal to {_MOST_ENTRIES}",
    )
    raise AwsError("ValidationException", constraints.message([found]))


def check_target(target: Mapping[str, Any]) -> None:
    """Refuse a target whose members contradict each other or lack something."""
    given = [name for name in ("Input", "InputPath", "InputTransformer") if target.get(name)]
    if len(given) > 1:
        raise AwsError(
            "ValidationException",
            "Only one of Input, InputPath, or InputTransformer must be provided for target "
            f"{target['Id']}.",
        )
    transformer = target.get("InputTransformer") or {}
    known = set(transformer.get("InputPathsMap") or ())
    for name in event_transform.placeholders(transformer.get("InputTemplate") or ""):
        if name not in known and not name.startswith("aws.events."):
            raise AwsError(
                "ValidationException",
                f"InputTemplate for target {target['Id']} contains invalid placeholder {name}.",
            )
    service = (target["Arn"].split(":") + [""] * 3)[2]
    if service in NEED_ROLE and not target.get("RoleArn"):
        raise AwsError("ValidationException", f"RoleArn is required for target {target['Arn']}.")


def read_pattern(text: str) -> event_patterns.Pattern:
    """The pattern *text* stands for; raises InvalidEventPatternException."""
    try:
        return event_patterns.compiled(text)
    except PatternError as problem:
        raise AwsError(
            "InvalidEventPatternException", f"Event pattern is not valid. Reason: {problem}"
        ) from None


def read_schedule(expression: str) -> schedules.Rate | schedules.Cron:
    """The schedule *expression* stands for; raises ValidationException."""
    try:
        return schedules.parse(expression)
    except schedules.BadExpression:
        raise AwsError(
            "ValidationException", "Parameter ScheduleExpression is not valid."
        ) from None


def entry_size(entry: Mapping[str, Any]) -> int:
    """What an entry counts for: its texts, and 14 bytes for a time."""
    size = 14 if entry.get("Time") else 0
    for name in ("Source", "DetailType", "Detail"):
        size += len((entry.get(name) or "").encode())
    return size + sum(len(one.encode()) for one in entry.get("Resources") or ())


def page(name: str, found: list[dict[str, Any]], params: Mapping[str, Any]) -> dict[str, Any]:
    """A list operation's answer: a page of what was found, and where the next one starts."""
    start, limit = int(params.get("NextToken") or 0), params.get("Limit") or 100
    result: dict[str, Any] = {name: found[start : start + limit]}
    if start + limit < len(found):
        result["NextToken"] = str(start + limit)
    return result

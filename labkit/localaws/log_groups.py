"""Log groups and streams: moto's, holding lines of ours, which are kept in order.

moto keeps the groups and streams (and everything else knows them there); what is different is how
a stream's events are kept: small, sorted by time as they come in, and numbered as CloudWatch Logs
numbers them, so that a page of them is found by bisection.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from moto.backends import get_backend

from labkit.localaws.call import AwsError

_numbers = itertools.count(1)
_timestamp = attrgetter("timestamp")
_DAY_MS = 86_400_000


class LogLine:
    """One log event; times are epoch milliseconds."""

    __slots__ = ("timestamp", "message", "ingestion_time", "number")

    def __init__(self, timestamp: int, message: str, ingestion_time: int) -> None:
        self.timestamp = timestamp
        self.message = message
        self.ingestion_time = ingestion_time
        self.number = next(_numbers)

    @property
    def order(self) -> int:
        """What events are sorted and found by: the time and the number of arrival."""
        return (self.timestamp << 144) + self.number

    @property
    def event_id(self) -> str:
        """The id as CloudWatch Logs writes it: 56 digits that begin with the time."""
        return f"{self.order:056d}"

    # moto's own readers of a stream (exports, live tail) ask an event for these.

    def to_response_dict(self) -> dict[str, Any]:
        """The event as GetLogEvents answers it."""
        return {
            "timestamp": self.timestamp,
            "message": self.message,
            "ingestionTime": self.ingestion_time,
        }

    def to_filter_dict(self) -> dict[str, Any]:
        """The event as FilterLogEvents answers it."""
        return {"eventId": self.event_id, **self.to_response_dict()}


@dataclass
class GroupExtras:
    """What moto does not keep of a log group: its filters, by name, and its class."""

    metric_filters: dict[str, Any] = field(default_factory=dict)
    subscriptions: dict[str, Any] = field(default_factory=dict)
    log_class: str = "STANDARD"
    protected: bool = False


def extras(group: Any) -> GroupExtras:
    """What we keep of a group beyond moto; it goes when the group goes."""
    known = getattr(group, "lab_extras", None)
    if known is None:
        known = group.lab_extras = GroupExtras()
    return known


def backend(account_id: str, region: str) -> Any:
    """moto's state of CloudWatch Logs in one account and region."""
    # The one place our lines are put into: the API could not take them in as fast as functions
    # write them.
    return get_backend("logs")[account_id][region]


def name_of(identifier: str) -> str:
    """A log group's name from its name or ARN."""
    if identifier.startswith("arn:"):
        return identifier.split(":", 6)[-1].removesuffix(":*")
    return identifier


def no_group() -> AwsError:
    """The answer when a log group isn't there."""
    return AwsError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> AwsError:
    """The answer when a log stream isn't there."""
    return AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def find_group(account_id: str, region: str, name: str) -> Any:
    """A log group by name or ARN; raises ResourceNotFoundException."""
    group = backend(account_id, region).groups.get(name_of(name))
    if group is None:
        raise no_group()
    return group


def find_stream(group: Any, name: str) -> Any:
    """A group's stream; raises ResourceNotFoundException."""
    stream = group.streams.get(name)
    if stream is None:
        raise no_stream()
    return stream


def append(stream: Any, lines: Sequence[LogLine]) -> None:
    """Put lines where their time is; the caller holds the lock."""
    events: list[LogLine] = stream.events
    for line in lines:
        if not events or events[-1].timestamp <= line.timestamp:
            events.append(line)
        else:
            bisect.insort_right(events, line, key=_timestamp)


def expire(group: Any, now_ms: int) -> None:
    """Drop what is older than the group's retention; the caller holds the lock."""
    if not group.retention_in_days:
        return
    horizon = now_ms - int(group.retention_in_days) * _DAY_MS
    for stream in group.streams.values():
        events = stream.events
        if events and events[0].timestamp < horizon:
            gone = bisect.bisect_left(events, horizon, key=_timestamp)
            stream.stored_bytes -= sum(size_of(line.message) for line in events[:gone])
            del events[:gone]


def size_of(message: str) -> int:
    """What a message counts for: its bytes and 26 more."""
    return (len(message) if message.isascii() else len(message.encode())) + 26


def between(stream: Any, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
    """Where in a stream the events from *start_ms* until before *end_ms* are: a half-open range."""
    events = stream.events
    first = 0 if start_ms is None else bisect.bisect_left(events, start_ms, key=_timestamp)
    last = len(events) if end_ms is None else bisect.bisect_left(events, end_ms, key=_timestamp)
    return first, max(first, last)


def lines_between(stream: Any, start_ms: int | None, end_ms: int | None) -> Iterator[LogLine]:
    """A stream's events from *start_ms* until before *end_ms*, oldest first."""
    first, last = between(stream, start_ms, end_ms)
    return iter(stream.events[first:last])

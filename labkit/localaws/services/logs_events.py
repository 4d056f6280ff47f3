"""Log events of CloudWatch Logs: in with PutLogEvents, out with GetLogEvents and FilterLogEvents."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labkit.localaws import log_groups
from labkit.localaws.call import Call, Forward, ServiceLayer
from labkit.localaws.log_groups import LogLine
from labkit.localaws.log_patterns import BadPattern, compile_pattern
from labkit.localaws.services.logs_requests import check, group_of, invalid, read_token, token

# Amazon CloudWatch Logs API Reference, "PutLogEvents".
MAX_BATCH_BYTES = 1_048_576
MAX_EVENTS = 10_000
_PAST_MS = 14 * 86_400_000
_AHEAD_MS = 2 * 3_600_000
_SPAN_MS = 86_400_000
_DAY_MS = 86_400_000
# An answer holds at most so much of messages.
_PAGE_BYTES = 1_048_576
_PAGE_EVENTS = 10_000
_PLACE = re.compile(r"([fb])/(\d{56})(?:/s)?")


class EventOperations(ServiceLayer):
    """Putting, getting and searching log events."""

    def PutLogEvents(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Take a batch of events in; what is too old or too new is left out and told."""
        params = check(call)
        events = params["logEvents"]
        _check_events(events)
        group = group_of(call)
        stream = log_groups.find_stream(group, params["logStreamName"])
        now_ms = int(self.aws.clock.now() * 1000)
        accepted, rejected = _sorted_out(events, group.retention_in_days, now_ms)
        self.aws.telemetry.logs.append(
            call.account_id,
            call.region,
            group,
            stream,
            [(event["timestamp"], event["message"]) for event in accepted],
        )
        answer: dict[str, Any] = {
            "nextSequenceToken": f"{(now_ms << 144) + stream.upload_sequence_token:056d}"
        }
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        return answer

    def GetLogEvents(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of one stream's events, oldest first, with tokens for both directions."""
        params = check(call)
        group = group_of(call)
        limit = params.get("limit") or _PAGE_EVENTS
        direction, place = _read_place(params.get("nextToken"))
        if direction is None:
            direction = "f" if params.get("startFromHead") else "b"
        with self.aws.lock("logs", call.account_id):
            log_groups.expire(group, int(self.aws.clock.now() * 1000))
            stream = log_groups.find_stream(group, params["logStreamName"])
            lines = list(
                log_groups.lines_between(stream, params.get("startTime"), params.get("endTime"))
            )
        if place is not None:
            lines = [
                line for line in lines
                if (line.order > place if direction == "f" else line.order < place)
            ]  # fmt: skip
        page = _page(lines if direction == "f" else lines[::-1], limit)
        if direction == "b":
            page.reverse()
        if page:
            backward, forward_place = page[0].order, page[-1].order
        elif place is not None:
            # Nothing further this way: the token stays the same, which is how readers know.
            backward = forward_place = place
        else:
            at = params.get("startTime") or int(self.aws.clock.now() * 1000)
            backward = forward_place = at << 144
        return {
            "events": [line.to_response_dict() for line in page],
            "nextForwardToken": f"f/{forward_place:056d}/s",
            "nextBackwardToken": f"b/{backward:056d}/s",
        }

    def FilterLogEvents(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of a group's events that match a pattern, in the order of time."""
        params = check(call)
        names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix")
        if names and prefix:
            raise invalid(
                "LogStream names and LogStream name prefix are mutually exclusive parameters."
            )
        pattern = _pattern(params.get("filterPattern") or "")
        group = group_of(call)
        after = read_token(params.get("nextToken")).get("after")
        if params.get("nextToken") and after is None:
            raise invalid("The specified nextToken is invalid.")
        limit = params.get("limit") or _PAGE_EVENTS
        end = params.get("endTime")
        with self.aws.lock("logs", call.account_id):
            log_groups.expire(group, int(self.aws.clock.now() * 1000))
            if names:
                streams = {name: log_groups.find_stream(group, name) for name in names}
            else:
                streams = {
                    name: stream
                    for name, stream in group.streams.items()
                    if name.startswith(prefix or "")
                }
            # Here the end belongs to the span, unlike in GetLogEvents.
            spans = {
                name: list(
                    log_groups.lines_between(
                        stream, params.get("startTime"), None if end is None else end + 1
                    )
                )
                for name, stream in streams.items()
            }
        matching = (
            (name, line)
            for name, line in _merged(spans)
            if (after is None or line.order > int(after)) and pattern.matches(line.message)
        )
        page: list[tuple[str, LogLine]] = []
        size = 0
        more = False
        for name, line in matching:
            size += log_groups.size_of(line.message)
            if len(page) >= limit or (page and size > _PAGE_BYTES):
                more = True
                break
            page.append((name, line))
        answer: dict[str, Any] = {
            "events": [{"logStreamName": name, **line.to_filter_dict()} for name, line in page],
            "searchedLogStreams": [],
        }
        if more:
            answer["nextToken"] = token(after=str(page[-1][1].order))
        return answer


def _merged(spans: Mapping[str, Sequence[LogLine]]) -> Iterator[tuple[str, LogLine]]:
    if len(spans) == 1:
        name, lines = next(iter(spans.items()))
        return ((name, line) for line in lines)

    def named(name: str, lines: Sequence[LogLine]) -> Iterator[tuple[str, LogLine]]:
        return ((name, line) for line in lines)

    return heapq.merge(
        *(named(name, lines) for name, lines in spans.items()),
        key=lambda each: (each[1].timestamp, each[1].number),
    )


def _pattern(text: str) -> Any:
    try:
        return compile_pattern(text)
    except BadPattern as problem:
        raise invalid(str(problem)) from problem


def _page(lines: Sequence[LogLine], limit: int) -> list[LogLine]:
    page: list[LogLine] = []
    size = 0
    for line in lines[:limit]:
        size += log_groups.size_of(line.message)
        if page and size > _PAGE_BYTES:
            break
        page.append(line)
    return page


def _read_place(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    match = _PLACE.fullmatch(text)
    if match is None:
        raise invalid("The specified nextToken is invalid.")
    return match.group(1), int(match.group(2))


def _check_events(events: Sequence[Mapping[str, Any]]) -> None:
    if not events:
        raise invalid(
            "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )
    if len(events) > MAX_EVENTS:
        raise invalid(
            "1 validation error detected: Value at 'logEvents' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_EVENTS}"
        )
    size = 0
    previous = None
    for number, event in enumerate(events, 1):
        message, stamp = event.get("message"), event.get("timestamp")
        for name, value in (("timestamp", stamp), ("message", message)):
            if value is None:
                raise invalid(
                    "1 validation error detected: Value null at "
                    f"'logEvents.{number}.member.{name}' failed to satisfy constraint: "
                    "Member must not be null"
                )
        if not message:
            raise invalid(
                f"1 validation error detected: Value '' at 'logEvents.{number}.member.message' "
                "failed to satisfy constraint: Member must have length greater than or equal to 1"
            )
        assert message is not None and stamp is not None
        if stamp < 0:
            raise invalid(
                f"1 validation error detected: Value '{stamp}' at "
                f"'logEvents.{number}.member.timestamp' failed to satisfy constraint: "
                "Member must have value greater than or equal to 0"
            )
        if previous is not None and stamp < previous:
            raise invalid(
                "Log events in a single PutLogEvents request must be in chronological order."
            )
        previous = stamp
        own = log_groups.size_of(message)
        if own > MAX_BATCH_BYTES:
            raise invalid(f"Log event too large: {own} bytes exceeds limit of {MAX_BATCH_BYTES}")
        size += own
    if size > MAX_BATCH_BYTES:
        raise invalid(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}")
    if events[-1]["timestamp"] - events[0]["timestamp"] > _SPAN_MS:
        raise invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than "
            "24 hours."
        )


def _sorted_out(
    events: Sequence[Mapping[str, Any]], retention_days: Any, now_ms: int
) -> tuple[list[Mapping[str, Any]], dict[str, int]]:
    """The events that are taken, and where the others begin or end."""
    oldest, newest = now_ms - _PAST_MS, now_ms + _AHEAD_MS
    kept_from = now_ms - int(retention_days) * _DAY_MS if retention_days else None
    accepted = []
    rejected: dict[str, int] = {}
    for index, event in enumerate(events):
        stamp = event["timestamp"]
        if stamp < oldest:
            rejected["tooOldLogEventEndIndex"] = index + 1
        elif kept_from is not None and stamp < kept_from:
            rejected["expiredLogEventEndIndex"] = index + 1
        elif stamp > newest:
            rejected.setdefault("tooNewLogEventStartIndex", index)
        else:
            accepted.append(event)
    return accepted, rejected

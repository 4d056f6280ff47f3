"""Log events as Logs Insights sees them: fields that are there, fields that are discovered.

Amazon CloudWatch Logs User Guide, "Supported logs and discovered fields". System fields begin with
``@``; JSON gives its own, nested ones with dots (``a.b.0.c``); functions' log lines give
``@requestId``, ``@duration`` and others.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from typing import Any

from labkit.localaws.log_groups import LogLine

_MEGABYTE = 1_000_000

_LAMBDA_TYPE = re.compile(r"(START|END|REPORT|INIT_START|INIT_REPORT)\b")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_REQUEST_ID = re.compile(rf"RequestId: ({_UUID})|(?:^|\t)({_UUID})(?:\t|\s|$)")
_LAMBDA_NUMBERS = {
    "@duration": (re.compile(r"(?:^|\t)Duration: ([\d.]+) ms"), 1),
    "@billedDuration": (re.compile(r"Billed Duration: ([\d.]+) ms"), 1),
    "@memorySize": (re.compile(r"Memory Size: ([\d.]+) MB"), _MEGABYTE),
    "@maxMemoryUsed": (re.compile(r"Max Memory Used: ([\d.]+) MB"), _MEGABYTE),
    "@initDuration": (re.compile(r"Init Duration: ([\d.]+) ms"), 1),
}
_XRAY = {
    "@xrayTraceId": re.compile(r"XRAY TraceId: (\S+)"),
    "@xraySegmentId": re.compile(r"XRAY TraceId: \S+\s+SegmentId: (\S+)"),
}
_DECODER = json.JSONDecoder()
_UNREAD: Any = object()
_MAX_FIELDS = 200


class Timestamp(float):
    """Epoch milliseconds that are shown as a date."""

    __slots__ = ()


class Record:
    """One log event, or one row that a command made of several."""

    __slots__ = ("line", "stream", "log", "values", "_json")

    def __init__(self, line: LogLine | None, stream: str = "", log: str = "") -> None:
        self.line = line
        self.stream = stream
        self.log = log
        # What commands computed; it hides what the event has under the same name.
        self.values: dict[str, Any] = {}
        self._json: Any = _UNREAD

    def get(self, name: str) -> Any:
        """A field's value: text, number, truth value, or None when the event hasn't it."""
        if name in self.values:
            return self.values[name]
        if self.line is None:
            return None
        if name.startswith("@"):
            value = self._system(name)
            if value is not None:
                return value
        parsed = self.json()
        if parsed is None:
            return None
        return _leaf(_lookup(parsed, name.split(".")))

    def json(self) -> Any:
        """The first JSON object in the message, or None."""
        if self._json is _UNREAD:
            self._json = None
            message = self.line.message if self.line is not None else ""
            start = message.find("{")
            if start >= 0:
                try:
                    parsed, _ = _DECODER.raw_decode(message, start)
                    self._json = parsed if isinstance(parsed, dict) else None
                except (ValueError, RecursionError):
                    self._json = None
        return self._json

    def _system(self, name: str) -> Any:
        line = self.line
        assert line is not None
        if name == "@timestamp":
            return Timestamp(line.timestamp)
        if name == "@message":
            return line.message
        if name == "@logStream":
            return self.stream
        if name == "@log":
            return self.log
        if name == "@ingestionTime":
            return Timestamp(line.ingestion_time)
        if name == "@ptr":
            return pointer(self.log, self.stream, line)
        return _lambda_field(name, line.message)

    def fields(self) -> dict[str, Any]:
        """Every field of the event, with its value."""
        found = {"@ptr": self.get("@ptr")}
        for name in ("@timestamp", "@message", "@logStream", "@log", "@ingestionTime"):
            found[name] = self.get(name)
        for name in ("@requestId", "@type", *_LAMBDA_NUMBERS, *_XRAY):
            value = self.get(name)
            if value is not None:
                found[name] = value
        parsed = self.json()
        if parsed is not None:
            _flatten("", parsed, found)
        return found


def _lambda_field(name: str, message: str) -> Any:
    if name == "@requestId":
        match = _REQUEST_ID.search(message)
        return None if match is None else match.group(1) or match.group(2)
    if name == "@type":
        match = _LAMBDA_TYPE.match(message)
        return None if match is None else match.group(1)
    if name in _LAMBDA_NUMBERS:
        if not message.startswith(("REPORT", "INIT_REPORT")):
            return None
        pattern, factor = _LAMBDA_NUMBERS[name]
        match = pattern.search(message)
        return None if match is None else float(match.group(1)) * factor
    if name in _XRAY:
        match = _XRAY[name].search(message)
        return None if match is None else match.group(1)
    return None


def _lookup(value: Any, parts: list[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, list):
        place = parts[0]
        if place.isdigit() and int(place) < len(value):
            return _lookup(value[int(place)], parts[1:])
        return None
    if not isinstance(value, dict):
        return None
    # Names may have dots themselves: the shortest that is there counts.
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        if name in value:
            return _lookup(value[name], parts[length:])
    return None


def _leaf(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value


def _flatten(prefix: str, value: Any, into: dict[str, Any]) -> None:
    if len(into) >= _MAX_FIELDS:
        return
    if isinstance(value, dict):
        for name, each in value.items():
            _flatten(f"{prefix}.{name}" if prefix else name, each, into)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            _flatten(f"{prefix}.{place}", each, into)
    elif value is not None:
        into[prefix] = value


# -- pointers ------------------------------------------------------------------------------------


def pointer(log: str, stream: str, line: LogLine) -> str:
    """What GetLogRecord finds an event by."""
    state = json.dumps([log, stream, line.timestamp, line.number], separators=(",", ":"))
    return base64.urlsafe_b64encode(state.encode()).decode()


def read_pointer(text: str) -> tuple[str, str, int, int]:
    """Log (account:group), stream, time and number of a pointer; raises ValueError."""
    log, stream, timestamp, number = json.loads(base64.urlsafe_b64decode(text))
    return str(log), str(stream), int(timestamp), int(number)


# -- comparing and showing -----------------------------------------------------------------------


def number(value: Any) -> float | None:
    """*value* as a number, None when it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            parsed = float(value)
        except ValueError:
            return None
        return parsed if math.isfinite(parsed) else None
    return None


def text(value: Any) -> str:
    """*value* as text, as comparisons and results show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Timestamp):
        return date(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return repr(value)
    return str(value)


def rounded(value: Any) -> Any:
    """A computed number with the four decimals that statistics come with."""
    if isinstance(value, float) and not isinstance(value, Timestamp) and math.isfinite(value):
        return round(value, 4)
    return value


def date(milliseconds: float) -> str:
    """Epoch milliseconds as a date in UTC."""
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def sort_key(value: Any) -> tuple[int, float, str]:
    """What values are sorted by: numbers by size, then texts, nothing first of all."""
    if value is None:
        return (0, 0.0, "")
    amount = number(value)
    if amount is not None:
        return (1, amount, "")
    return (2, 0.0, text(value))

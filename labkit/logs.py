"""What the function logged, as lines and as pandas tables.

Lambda guide, "Sending Lambda function logs to CloudWatch Logs": the platform's own lines (START,
END, REPORT, ...) stand between those the function wrote, which are JSON here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.session import Lab

if TYPE_CHECKING:
    import pandas as pd

_PLATFORM = re.compile(r"^(INIT_START|START|END|REPORT|XRAY|INIT_REPORT|EXTENSION)\b")
_REQUEST = re.compile(r"RequestId: ([0-9a-f-]{36})")
# S3 puts the resource in quotation marks, which JSON escapes.
_REFUSAL = re.compile(
    r'(User: \S+ is not authorized to perform: [\w-]+:\w+)(?:( on resource: )\\*"?([^\s"\\]+))?'
)
_MEASURES = {
    "duration_ms": r"\tDuration: ([\d.]+) ms|RequestId: \S+\s+Duration: ([\d.]+) ms",
    "billed_ms": r"Billed Duration: ([\d.]+) ms",
    "memory_mb": r"Memory Size: (\d+) MB",
    "max_memory_mb": r"Max Memory Used: (\d+) MB",
    "init_ms": r"Init Duration: ([\d.]+) ms",
}


@dataclass(frozen=True)
class LogLine:
    """One log event: when (UTC), in which stream, its text, and its fields when it is JSON."""

    time: datetime
    stream: str
    text: str
    fields: dict[str, Any] | None

    @property
    def platform(self) -> str | None:
        """Which of Lambda's own lines this is (``START``, ``REPORT``, ...), or None."""
        found = _PLATFORM.match(self.text)
        return found[1] if found else None

    @property
    def level(self) -> str:
        """The level the function gave it; PLATFORM for Lambda's own lines, TEXT for others."""
        if self.platform:
            return "PLATFORM"
        return str((self.fields or {}).get("level", "TEXT"))

    @property
    def request_id(self) -> str | None:
        """The invocation it belongs to, where the line says so."""
        if self.fields and "function_request_id" in self.fields:
            return self.fields["function_request_id"]
        found = _REQUEST.search(self.text) if self.platform else None
        return found[1] if found else None


def lines(lab: Lab, since: datetime | None = None, group: str | None = None) -> list[LogLine]:
    """The function's log events, oldest first, perhaps only those *since* some time.

    *group* names another log group. Raises botocore's ResourceNotFoundException without one.
    """
    request: dict[str, Any] = {"logGroupName": group or lab.names.log_group}
    if since is not None:
        request["startTime"] = int(since.timestamp() * 1000)
    pages = lab.client("logs").get_paginator("filter_log_events").paginate(**request)
    found = [_line(event) for page in pages for event in page["events"]]
    # Stable: events of one stream keep the order in which they were written.
    return sorted(found, key=lambda line: line.time)


def refusals(lab: Lab, since: datetime | None = None, group: str | None = None) -> list[str]:
    """What AWS refused the function, in its words (*User: ... is not authorized to perform: ...*),
    each once, in the order of the log."""
    found = (_REFUSAL.search(line.text) for line in lines(lab, since, group))
    return list(dict.fromkeys("".join(match.groups("")) for match in found if match))


def frame(lab: Lab, since: datetime | None = None, group: str | None = None) -> pd.DataFrame:
    """The log events as a table: time, level, message, order_id, request_id, stream, text."""
    import pandas as pd

    rows = []
    for line in lines(lab, since, group):
        fields = line.fields or {}
        message = fields.get("message", line.text.rstrip())
        row = (line.time, line.level, message, fields.get("order_id"), line.request_id)
        rows.append((*row, line.stream, line.text))
    columns = ["time", "level", "message", "order_id", "request_id", "stream", "text"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"time": "datetime64[ms, UTC]"})


def reports(lab: Lab, since: datetime | None = None, group: str | None = None) -> pd.DataFrame:
    """What the REPORT lines measured, one row an invocation.

    time, request_id, duration_ms, billed_ms, memory_mb, max_memory_mb, init_ms (missing when the
    start was warm) and cold.
    """
    import pandas as pd

    rows = []
    for line in lines(lab, since, group):
        if line.platform == "REPORT":
            measured = {name: _measure(pattern, line.text) for name, pattern in _MEASURES.items()}
            rows.append({"time": line.time, "request_id": line.request_id, **measured})
    table = pd.DataFrame(rows, columns=["time", "request_id", *_MEASURES])
    table = table.astype({"time": "datetime64[ms, UTC]", **dict.fromkeys(_MEASURES, float)})
    return table.assign(cold=table["init_ms"].notna())


def _line(event: dict[str, Any]) -> LogLine:
    when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return LogLine(when, event["logStreamName"], event["message"], _fields(event["message"]))


def _fields(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _measure(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(next(group for group in found.groups() if group)) if found else None

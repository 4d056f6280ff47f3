"""Logs Insights: runs a query's commands over log events and tells what comes out.

Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.insights_parser import Command, read_query
from labkit.localaws.insights_values import Record, rounded, sort_key, text

DEFAULT_LIMIT = 10_000
MAX_LIMIT = 100_000


@dataclass
class Outcome:
    """What a query found: rows of (field, value as text), and how much it looked at."""

    rows: list[list[tuple[str, str]]] = field(default_factory=list)
    matched: int = 0
    scanned: int = 0
    scanned_bytes: int = 0


def run(query: str, records: Iterable[Record], limit: int | None = None) -> Outcome:
    """The outcome of *query* over *records*, which come newest first; raises BadQuery."""
    commands = read_query(query)
    outcome = Outcome()
    rows: list[Record] = []
    for record in records:
        outcome.scanned += 1
        assert record.line is not None
        outcome.scanned_bytes += len(record.line.message)
        rows.append(record)
    outcome.matched = len(rows)
    columns: list[str] = []
    grouped = False
    most = None
    for command in commands:
        if command.kind in ("fields", "display"):
            names = _columns(command, rows)
            columns = names if command.kind == "display" else [*columns, *names]
        elif command.kind == "filter":
            assert command.test is not None
            rows = [record for record in rows if command.test(record)]
            if not grouped:
                outcome.matched = len(rows)
        elif command.kind == "stats":
            rows, columns = _stats(command, rows)
            grouped = True
        elif command.kind == "sort":
            rows = _sorted(command, rows)
        elif command.kind == "limit":
            most = command.number if most is None else min(most, command.number)
            rows = rows[: command.number]
        elif command.kind == "parse":
            _parse(command, rows)
        elif command.kind == "dedup":
            rows = _dedup(command, rows)
        elif command.kind == "pattern":
            rows, columns = _patterns(command, rows)
            grouped = True
        elif command.kind == "unnest":
            rows = _unnest(command, rows)
    if not columns:
        columns = ["@timestamp", "@message"]
    rows = rows[: min(most or limit or DEFAULT_LIMIT, MAX_LIMIT)]
    outcome.rows = [_shown(record, columns, grouped) for record in rows]
    return outcome


def _shown(record: Record, columns: Sequence[str], grouped: bool) -> list[tuple[str, str]]:
    row = []
    for name in dict.fromkeys(columns):
        value = record.values[name] if name in record.values else record.get(name)
        if isinstance(value, dict | list):
            value = json.dumps(value, separators=(",", ":"))
        if value is not None:
            row.append((name, text(value)))
    if not grouped and record.line is not None:
        row.append(("@ptr", text(record.get("@ptr"))))
    return row


def _columns(command: Command, rows: Sequence[Record]) -> list[str]:
    for named in command.columns:
        for record in rows:
            # A plain field keeps what it has; the rest is computed once, for all later commands.
            value = named.value(record)
            if value is not None or named.name in record.values:
                record.values[named.name] = value
    return [named.name for named in command.columns]


def _stats(command: Command, rows: Sequence[Record]) -> tuple[list[Record], list[str]]:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    keys: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for record in rows:
        values = tuple(named.value(record) for named in command.by)
        key = tuple(None if value is None else text(value) for value in values)
        group = groups.get(key)
        if group is None:
            group = groups[key] = [kind(*given) for kind, given, _ in command.aggregates]
            keys[key] = values
        when = record.line.timestamp if record.line is not None else 0
        for aggregate, (_, _, expression) in zip(group, command.aggregates, strict=True):
            aggregate.take(1 if expression is None else expression(record), when)
    if not groups and not command.by:
        groups[()] = [kind(*given) for kind, given, _ in command.aggregates]
        keys[()] = ()
    results = []
    for key, group in groups.items():
        row = Record(None)
        for named, value in zip(command.by, keys[key], strict=True):
            row.values[named.name] = value
        for place, aggregate in enumerate(group):
            row.values[f"#{place}"] = aggregate.result()
        for named in command.columns:
            row.values[named.name] = rounded(named.value(row))
        results.append(row)
    names = [named.name for named in command.by] + [named.name for named in command.columns]
    return results, names


def _sorted(command: Command, rows: list[Record]) -> list[Record]:
    # Sorted by the last key first: what is equal keeps its place.
    for value, descending in reversed(command.orders):
        rows = sorted(rows, key=lambda record: sort_key(value(record)), reverse=descending)
    return rows


def _parse(command: Command, rows: Sequence[Record]) -> None:
    assert command.pattern is not None
    by_name = command.pattern.groupindex
    for record in rows:
        source = record.get("@message") if command.source is None else command.source(record)
        match = None if source is None else command.pattern.search(text(source))
        if match is None:
            continue
        for place, name in enumerate(command.names, 1):
            record.values[name] = match.group(name) if name in by_name else match.group(place)


def _dedup(command: Command, rows: Sequence[Record]) -> list[Record]:
    seen: set[tuple[str, ...]] = set()
    kept = []
    for record in rows:
        values = [named.value(record) for named in command.columns]
        # Events without the field are all different.
        if any(value is None for value in values):
            kept.append(record)
            continue
        key = tuple(text(value) for value in values)
        if key not in seen:
            seen.add(key)
            kept.append(record)
    return kept


_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\dT[\d:.]+Z?|\b[0-9a-fA-F]{16,}\b|\b\d+(?:\.\d+)*\b"
)
_SEVERITIES = ("FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE")


def _patterns(command: Command, rows: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Messages grouped by what is left of them without numbers, dates and identifiers."""
    assert command.source is not None
    counts: dict[str, int] = {}
    for record in rows:
        value = command.source(record)
        if value is not None:
            shape = _VARIABLE.sub("<*>", text(value)).strip()
            counts[shape] = counts.get(shape, 0) + 1
    total = sum(counts.values())
    results = []
    for shape, count in sorted(counts.items(), key=lambda each: -each[1]):
        row = Record(None)
        upper = shape.upper()
        severity = next((each for each in _SEVERITIES if each in upper), None)
        row.values = {
            "@pattern": shape,
            "@ratio": round(count / total, 4),
            "@sampleCount": count,
            "@severityLabel": severity,
        }
        results.append(row)
    return results, ["@pattern", "@ratio", "@sampleCount", "@severityLabel"]


def _unnest(command: Command, rows: Sequence[Record]) -> list[Record]:
    assert command.source is not None
    results = []
    for record in rows:
        value = command.source(record)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                continue
        for each in value if isinstance(value, list) else []:
            row = Record(record.line, record.stream, record.log)
            row.values = {**record.values, command.names[0]: each}
            results.append(row)
    return results

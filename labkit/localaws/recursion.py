"""Recursive loops: how often one chain of events has already led to the same function. No I/O.

Follows the Lambda Developer Guide, "Use Lambda recursive loop detection to prevent infinite
loops". The chain travels in the trace header: functions' SDKs send it along with every call, and
what a call leaves behind (a message, say) keeps it. Its ``Lineage`` counts, for every function it
went through, how often.
"""

from __future__ import annotations

import secrets
import zlib
from urllib.parse import unquote

# Lambda stops a function that one chain of events would run more often than this.
MOST_RUNS = 16
HEADER = "X-Amzn-Trace-Id"


def carried(header: str | None) -> str | None:
    """The trace header of a call made by a function, as what the call leaves behind keeps it."""
    if not header:
        return None
    text = unquote(header)
    return text if "Root=" in text else None


def run_again(header: str | None, function_arn: str, now: float) -> tuple[str, int]:
    """The trace header of a run of *function_arn* caused by *header*, and which run it is."""
    parts = dict(part.split("=", 1) for part in (header or "").split(";") if "=" in part)
    counts = _counts(parts.get("Lineage", ""))
    mark = f"{zlib.crc32(function_arn.encode()):08x}"
    counts[mark] = counts.get(mark, 0) + 1
    root = parts.get("Root") or f"1-{int(now):08x}-{secrets.token_hex(12)}"
    sampled = parts.get("Sampled", "0")
    lineage = "|".join(f"{name}:{count}" for name, count in counts.items())
    header = f"Root={root};Parent={secrets.token_hex(8)};Sampled={sampled};Lineage={lineage}"
    return header, counts[mark]


def _counts(lineage: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in lineage.split("|"):
        name, _, count = entry.partition(":")
        if name and count.isdigit():
            counts[name] = int(count)
    return counts

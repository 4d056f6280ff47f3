"""Tumbling windows: which window a record belongs to, and what the function is told of it. No I/O.

Follows the Lambda Developer Guide, "Using Lambda to process records with tumbling windows":
windows are bounded by the records' arrival in the stream and carry a state of at most 1 MB from
invocation to invocation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

STATE_BYTES = 1024 * 1024


@dataclass
class Window:
    """One open window of a shard: seconds since the epoch, and the state so far."""

    start: int
    seconds: int
    state: dict[str, Any] = field(default_factory=dict)
    # Its state grew too large: the function is told the end before its time.
    too_large: bool = False

    @classmethod
    def around(cls, moment: float, seconds: int) -> Window:
        """The window that *moment* lies in."""
        return cls(int(moment // seconds) * seconds, seconds)

    @property
    def end(self) -> int:
        """Where the next window begins."""
        return self.start + self.seconds

    def holds(self, moment: float) -> bool:
        """Whether a record that arrived then belongs to this window."""
        return moment < self.end

    def keep(self, state: dict[str, Any]) -> None:
        """Take over the state an invocation returned."""
        self.state = state
        self.too_large = len(json.dumps(state, separators=(",", ":")).encode()) > STATE_BYTES

    def event(
        self, records: list[dict[str, Any]], shard_id: str, source_arn: str, *, final: bool
    ) -> dict[str, Any]:
        """The event of one invocation within the window."""
        return {
            "Records": records,
            "window": {"start": _iso(self.start), "end": _iso(self.end)},
            "state": self.state,
            "shardId": shard_id,
            "eventSourceARN": source_arn,
            "isFinalInvokeForWindow": final,
            "isWindowTerminatedEarly": self.too_large,
        }


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

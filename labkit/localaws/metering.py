"""What every meter needs: samples collected and counted at once, and a look at the answer.

Metering must never break the call it meters, and it is paid for on every call: nothing here parses
more than it needs.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Call, Reply
from labkit.localaws.metrics_store import Handle

if TYPE_CHECKING:
    from labkit.localaws.telemetry import Telemetry

# Errors that mean: not now.
THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
    }
)


class Emit:
    """Collects one call's samples: same account, region and moment for all of them."""

    __slots__ = ("_scope", "_telemetry", "_namespace", "_samples")

    def __init__(self, telemetry: Telemetry, call: Call, namespace: str) -> None:
        self._telemetry = telemetry
        self._scope = (call.account_id, call.region)
        self._namespace = namespace
        self._samples: list[tuple[Handle, float]] = []

    def __call__(
        self, name: str, value: float, unit: str, pairs: tuple[tuple[str, str], ...]
    ) -> None:
        handle = self._telemetry.handle(self._scope, self._namespace, name, pairs, unit)
        self._samples.append((handle, value))

    def done(self) -> None:
        """Count everything collected."""
        if self._samples:
            self._telemetry.store.count(self._samples, time.time())


def milliseconds(call: Call) -> float:
    """How long the call took."""
    started = call.notes.get("started")
    return 0.0 if started is None else (time.monotonic() - started) * 1000


def output_of(reply: Reply) -> dict[str, Any]:
    """The answer's members in a JSON protocol; empty for anything else."""
    if reply.body[:1] != b"{":
        return {}
    try:
        return json.loads(reply.body)
    except ValueError:
        return {}


def error_code(call: Call, reply: Reply) -> str:
    """The code of an error answer."""
    error = call.notes.get("error")
    if error is not None:
        return error.code
    code = str(output_of(reply).get("__type", "")) or reply.headers.get("x-amzn-errortype", "")
    return code.rpartition("#")[2]

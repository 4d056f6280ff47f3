"""How an invocation ended: the payload, the error envelope, the log's tail and the figures."""

from __future__ import annotations

import json
from dataclasses import dataclass

from labkit.localaws.runtime.api import MAX_RESPONSE_BYTES
from labkit.localaws.runtime.process import Ended


@dataclass(frozen=True)
class InvocationResult:
    """What the invoker gets, and what logs and metrics want to know.

    ``function_error`` is ``Unhandled`` or None; ``error_type`` is the platform's or the runtime's
    (``Sandbox.Timedout``, ``ValueError``). ``log_tail`` holds the last 4 KB of the log.
    ``init_ms`` is given for a cold start, ``billed_ms`` includes it.
    """

    payload: bytes
    function_error: str | None
    error_type: str
    log_tail: bytes
    request_id: str
    environment_id: str
    log_stream: str
    executed_version: str
    cold: bool
    duration_ms: float
    billed_ms: int
    init_ms: float | None
    max_memory_mb: int

    @property
    def timed_out(self) -> bool:
        """Whether the function's timeout ended it."""
        return self.error_type == "Sandbox.Timedout"


@dataclass(frozen=True)
class Fault:
    """Why there is no result: the error type and what the invoker gets as payload.

    ``platform`` is the error type that the REPORT line names when it differs.
    """

    error_type: str
    payload: bytes
    platform: str = ""


def envelope(error_type: str, message: str) -> bytes:
    """The platform's error payload."""
    members = {"errorType": error_type, "errorMessage": message}
    return json.dumps(members, separators=(",", ":")).encode()


def timed_out(request_id: str, timeout_seconds: float) -> Fault:
    """The fault of an invocation that took too long."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_seconds:.2f} seconds"
    return Fault("Sandbox.Timedout", envelope("Sandbox.Timedout", message))


def exited(request_id: str, ended: Ended, *, out_of_memory: bool = False) -> Fault:
    """The fault of an invocation whose process went away."""
    reason = ended.reason
    cause = f"exited with error: {reason}" if reason else "exited without providing a reason"
    message = f"RequestId: {request_id} Error: Runtime {cause}"
    platform = "Runtime.OutOfMemory" if out_of_memory else ""
    return Fault("Runtime.ExitError", envelope("Runtime.ExitError", message), platform)


def too_large() -> Fault:
    """The fault of a response over the limit."""
    kind = "Function.ResponseSizeTooLarge"
    message = (
        f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
    )
    return Fault(kind, envelope(kind, message))


def reported_type(payload: bytes) -> str:
    """The ``errorType`` of an error that the runtime reported itself."""
    try:
        return str(json.loads(payload)["errorType"])
    except (ValueError, KeyError, TypeError):
        return ""

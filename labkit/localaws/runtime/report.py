"""The lines the platform itself writes to a function's log, in the text and the JSON format.

Lambda Developer Guide, "Sending Lambda function logs to CloudWatch Logs" (START, END, REPORT),
"Understanding the Lambda execution environment lifecycle" (INIT_REPORT), and the Telemetry API's
event schema for the JSON format, with its system log levels.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from dataclasses import dataclass
from typing import Any

from labkit.localaws.runtime.version import FunctionVersion

_LEVELS = {"DEBUG": 0, "INFO": 1, "WARN": 2}


def iso_time(epoch_seconds: float) -> str:
    """``2026-01-31T12:00:00.123Z``."""
    seconds, milliseconds = divmod(int(epoch_seconds * 1000), 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{milliseconds:03d}Z"


def billed_ms(duration_ms: float, init_ms: float | None) -> int:
    """Milliseconds billed: rounded up, a cold start's initialisation included."""
    return max(1, math.ceil(round(duration_ms + (init_ms or 0), 2)))


@dataclass(frozen=True)
class RuntimeVersion:
    """The runtime version that INIT_START names, and its ARN."""

    name: str
    arn: str


def runtime_version(version: FunctionVersion) -> RuntimeVersion:
    """How the platform names the runtime: the declared runtime, at our interpreter's patch level.

    AWS counts its own builds (``python:3.12.v38``). The ARN is the one that
    GetFunctionConfiguration shows under RuntimeVersionConfig.
    """
    label = version.runtime.removeprefix("python")
    patch = platform.python_version_tuple()[2]
    digest = hashlib.sha256(f"{version.region}:{version.runtime}".encode()).hexdigest()
    return RuntimeVersion(
        f"python:{label}.v{patch}", f"arn:aws:lambda:{version.region}::runtime:{digest}"
    )


class PlatformLog:
    """Writes the platform's messages for one function version.

    Each method returns the messages to log: none when the system log level hides them.
    """

    def __init__(self, version: FunctionVersion) -> None:
        self.version = version
        self._json = version.log_format == "JSON"
        self._level = _LEVELS.get((version.system_log_level or "INFO").upper(), 1)

    def _event(self, kind: str, when: float, level: str, record: dict[str, Any]) -> list[str]:
        if _LEVELS[level] < self._level:
            return []
        return [json.dumps({"time": iso_time(when), "type": f"platform.{kind}", "record": record})]

    def init_start(self, when: float, initialization_type: str, phase: str = "init") -> list[str]:
        """At the beginning of an environment's life."""
        runtime = runtime_version(self.version)
        if self._json:
            record = {
                "initializationType": initialization_type,
                "phase": phase,
                "runtimeVersion": runtime.name,
                "runtimeVersionArn": runtime.arn,
                "functionName": self.version.function_name,
                "functionVersion": self.version.version,
            }
            return self._event("initStart", when, "INFO", record)
        return [f"INIT_START Runtime Version: {runtime.name}\tRuntime Version ARN: {runtime.arn}\n"]

    def init_report(
        self,
        when: float,
        initialization_type: str,
        *,
        init_ms: float,
        phase: str,
        status: str,
        error_type: str = "",
    ) -> list[str]:
        """When initialisation is over: *status* is ``success``, ``error`` or ``timeout``.

        An on-demand environment reports failures only.
        """
        if self._json:
            record: dict[str, Any] = {
                "initializationType": initialization_type,
                "phase": phase,
                "status": status,
                "metrics": {"durationMs": round(init_ms, 3)},
            }
            if error_type:
                record["errorType"] = error_type
            level = "DEBUG" if initialization_type == "on-demand" else "INFO"
            return self._event("initReport", when, level, record)
        text = f"INIT_REPORT Init Duration: {init_ms:.2f} ms"
        if status == "success":
            return [text + "\n"]
        text += f"\tPhase: {phase}\tStatus: {status}"
        return [text + (f"\tError Type: {error_type}" if error_type else "") + "\n"]

    def start(self, when: float, request_id: str) -> list[str]:
        """When the runtime gets the event."""
        if self._json:
            record = {
                "requestId": request_id,
                "functionArn": self.version.arn,
                "version": self.version.version,
            }
            return self._event("start", when, "INFO", record)
        return [f"START RequestId: {request_id} Version: {self.version.version}\n"]

    def timed_out(self, when: float, request_id: str, timeout_seconds: float) -> list[str]:
        """When the time is up."""
        text = f"{iso_time(when)} {request_id} Task timed out after {timeout_seconds:.2f} seconds"
        return [] if self._json else [text + "\n\n"]

    def end(
        self,
        when: float,
        request_id: str,
        *,
        duration_ms: float,
        init_ms: float | None,
        max_memory_mb: int,
        status: str,
        error_type: str = "",
        bill_init: bool = True,
    ) -> list[str]:
        """When the invocation is over; *status* is ``success``, ``error`` or ``timeout``.

        The text format says nothing of a handler that raised: that comes without *error_type*.
        A provisioned environment's initialisation was billed when it was provisioned.
        """
        billed = billed_ms(duration_ms, init_ms if bill_init else None)
        if self._json:
            return self._json_end(
                when, request_id, duration_ms, billed, init_ms, max_memory_mb, status, error_type
            )
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms"
            f"\tBilled Duration: {billed} ms\tMemory Size: {self.version.memory_mb} MB"
            f"\tMax Memory Used: {max_memory_mb} MB\t"
        )
        if init_ms is not None:
            report += f"Init Duration: {init_ms:.2f} ms\t"
        if status == "timeout":
            report += "Status: timeout"
        elif error_type:
            report += f"Status: error\tError Type: {error_type}"
        return [f"END RequestId: {request_id}\n", report + "\n"]

    def _json_end(
        self,
        when: float,
        request_id: str,
        duration_ms: float,
        billed: int,
        init_ms: float | None,
        max_memory_mb: int,
        status: str,
        error_type: str,
    ) -> list[str]:
        done: dict[str, Any] = {
            "requestId": request_id,
            "status": status,
            "metrics": {"durationMs": round(duration_ms, 3)},
        }
        metrics: dict[str, Any] = {
            "durationMs": round(duration_ms, 3),
            "billedDurationMs": billed,
            "memorySizeMB": self.version.memory_mb,
            "maxMemoryUsedMB": max_memory_mb,
        }
        if init_ms is not None:
            metrics["initDurationMs"] = round(init_ms, 3)
        report: dict[str, Any] = {"requestId": request_id, "metrics": metrics, "status": status}
        if error_type:
            done["errorType"] = report["errorType"] = error_type
        level = "INFO" if status == "success" else "WARN"
        return self._event("runtimeDone", when, "DEBUG" if level == "INFO" else level, done) + (
            self._event("report", when, level, report)
        )

"""One Lambda execution environment: a process, its Runtime API, its log, its life.

The thread that invokes drives everything: it writes the event to the waiting runtime, and until
the runtime asks for the next one it reads the runtime's answers and output and watches the
process, its memory and the time. Between invocations the environment is frozen and no thread
belongs to it (Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle").
"""

from __future__ import annotations

import selectors
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit.localaws.runtime import memory, result
from labkit.localaws.runtime.direct import DirectProcess
from labkit.localaws.runtime.log import EnvironmentLog, LogSink
from labkit.localaws.runtime.process import Ended, KeptProcess, StartError
from labkit.localaws.runtime.report import PlatformLog, billed_ms
from labkit.localaws.runtime.result import Fault, InvocationResult
from labkit.localaws.runtime.runtime_api import Answer, RuntimeApi
from labkit.localaws.runtime.version import FunctionVersion

INIT_SECONDS = 10.0
_PROVISIONED_INIT_SECONDS = 130.0
# How often memory is looked at, and how often a process without a status socket is.
_TICK_SECONDS = 0.025
_KILL_SECONDS = 5.0
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Invocation:
    """One event on its way in."""

    request_id: str
    payload: bytes
    invoked_arn: str
    client_context: str | None = None
    cognito_identity: str | None = None
    trace_id: str | None = None


class Environment:
    """One execution environment; used by one thread at a time.

    ``start_process`` makes the process from the address of the Runtime API and the name of the
    log stream. ``usable`` is false when it has to be thrown away, ``retired`` is for the pool.
    """

    def __init__(
        self,
        version: FunctionVersion,
        start_process: Callable[[Environment, str], KeptProcess | DirectProcess],
        *,
        initialization_type: str,
        on_log: LogSink,
        now: Callable[[], float],
        real_now: Callable[[], float],
        credentials_expire: float | None = None,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.version = version
        self.initialization_type = initialization_type
        self.credentials_expire = credentials_expire
        day = time.strftime("%Y/%m/%d", time.gmtime(now()))
        self.log_group = version.log_group_name
        self.log_stream = f"{day}/[{version.version}]{self.id}"
        self.usable = True
        self.retired = False
        self.invocations = 0
        self.last_used = time.monotonic()
        self.last_used_lab = now()
        self.init_ms: float | None = None
        self._now = now
        self._real_now = real_now
        self._log = EnvironmentLog(self, version, on_log, now, real_now)
        self._platform = PlatformLog(version)
        self._initialised = False
        self._out_of_memory = False
        self._peak = 0
        self._looked = 0.0
        self._selector = selectors.DefaultSelector()
        self._api = RuntimeApi(self._selector)
        try:
            self._process = start_process(self, self._api.address)
        except BaseException:
            self._api.close()
            self._selector.close()
            raise
        if self._process.status is not None:
            status = self._process.status
            self._selector.register(status, selectors.EVENT_READ, self._process.update)
            self._selector.register(self._process.log_fd, selectors.EVENT_READ, self._read_log)

    # -- the two phases ---------------------------------------------------------------------

    def initialise(self) -> None:
        """Run the init phase; when it fails, the first invocation will try again.

        Raises StartError when not even a process could be made.
        """
        limit = INIT_SECONDS
        provisioned = self.initialization_type != "on-demand"
        if provisioned:
            limit = max(_PROVISIONED_INIT_SECONDS, self.version.timeout_seconds)
        self._log.platform(self._platform.init_start(self._now(), self.initialization_type))
        fault, elapsed = self._run_init("init", limit, "")
        if self._process.failure:
            raise StartError(self._process.failure)
        if fault is None:
            self.init_ms = elapsed
            if provisioned:
                self._report_init("init", elapsed, "success")
        self._process.freeze()
        self._log.flush()

    def invoke(self, invocation: Invocation) -> InvocationResult:
        """Run one invocation to its end; never raises for what the function does."""
        version, log = self.version, self._log
        timeout = version.timeout_seconds
        log.begin(invocation.request_id)
        init_ms = self.init_ms if self.invocations == 0 else None
        cold = self.invocations == 0 and self.initialization_type == "on-demand"
        self.invocations += 1
        began = time.monotonic()
        deadline = began + timeout
        fault: Fault | None = None
        self._process.thaw()
        self._process.update()
        if self._process.ended is not None and self._initialised:
            # It died while nobody looked: as after any crash, the next invocation starts it anew.
            self._initialised = False
        if not self._initialised:
            fault, _ = self._run_init("invoke", timeout, invocation.request_id)
        log.platform(self._platform.start(self._now(), invocation.request_id))
        answer = None
        if fault is None:
            answer, fault = self._exchange(invocation, deadline)
        return self._finish(invocation, answer, fault, began, cold, init_ms)

    # -- init -------------------------------------------------------------------------------

    def _run_init(self, phase: str, limit: float, request_id: str) -> tuple[Fault | None, float]:
        """Start the program and wait until it asks for an event: fault, milliseconds."""
        api = self._api
        api.begin_init()
        self._out_of_memory = False
        began = time.monotonic()
        self._process.start()
        outcome = self._wait(lambda: api.waiting or api.init_error is not None, began + limit)
        elapsed = (time.monotonic() - began) * 1000
        if outcome == "done" and api.init_error is None:
            self._initialised = True
            self._drain()
            return None, elapsed
        if outcome == "done":
            # It ends by itself behind its error, and may still say something.
            self._wait(lambda: False, time.monotonic() + 1)
        self._reset()
        fault = self._init_fault(outcome, request_id, limit)
        if outcome == "timeout":
            self._report_init(phase, limit * 1000, "timeout")
            return fault, limit * 1000
        self._report_init(phase, elapsed, "error", fault.platform or fault.error_type)
        return fault, elapsed

    def _init_fault(self, outcome: str, request_id: str, limit: float) -> Fault:
        if self._api.init_error is not None:
            return self._api.init_error
        if outcome == "timeout":
            return result.timed_out(request_id, limit)
        ended = self._process.ended or Ended(-9)
        return result.exited(request_id, ended, out_of_memory=self._out_of_memory)

    def _report_init(self, phase: str, elapsed: float, status: str, error_type: str = "") -> None:
        messages = self._platform.init_report(
            self._now(),
            self.initialization_type,
            init_ms=elapsed,
            phase=phase,
            status=status,
            error_type=error_type,
        )
        self._log.platform(messages)

    # -- invoke -----------------------------------------------------------------------------

    def _exchange(
        self, invocation: Invocation, deadline: float
    ) -> tuple[Answer | None, Fault | None]:
        """Give the event to the runtime and wait for its answer, and for its next question."""
        self._out_of_memory = False
        self._looked = time.monotonic()
        self._send_event(invocation, deadline)
        outcome = self._wait(lambda: self._api.answer is not None, deadline)
        answer = self._api.answer
        if answer is None:
            self._reset()
            if outcome == "timeout":
                timeout = self.version.timeout_seconds
                return None, result.timed_out(invocation.request_id, timeout)
            ended = self._process.ended or Ended(-9)
            return None, result.exited(
                invocation.request_id, ended, out_of_memory=self._out_of_memory
            )
        # The phase ends when the runtime asks for more; the response is no longer at stake.
        if self._wait(lambda: self._api.waiting, deadline) != "done":
            self._reset()
        self._drain()
        if self._sample(final=True):
            # The limit was passed between two looks: AWS would have killed it there and then.
            self._process.kill()
            self._reset()
            return None, result.exited(invocation.request_id, Ended(-9), out_of_memory=True)
        return answer, answer.fault

    def _send_event(self, invocation: Invocation, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(int((self._real_now() + remaining) * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_arn),
        ]
        for name, value in (
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
            ("Lambda-Runtime-Client-Context", invocation.client_context),
            ("Lambda-Runtime-Cognito-Identity", invocation.cognito_identity),
        ):
            if value:
                headers.append((name, value.replace("\r", " ").replace("\n", " ")))
        self._api.send_event(invocation.request_id, invocation.payload, headers)

    def _finish(
        self,
        invocation: Invocation,
        answer: Answer | None,
        fault: Fault | None,
        began: float,
        cold: bool,
        init_ms: float | None,
    ) -> InvocationResult:
        """Log the end and put the result together."""
        timeout = self.version.timeout_seconds
        duration = (time.monotonic() - began) * 1000
        status, error_type, payload = "success", "", b""
        function_error = None
        if fault is not None:
            status, function_error = "error", "Unhandled"
            error_type, payload = fault.error_type, fault.payload
            if error_type == "Sandbox.Timedout":
                status, duration = "timeout", timeout * 1000
                self._log.platform(
                    self._platform.timed_out(self._now(), invocation.request_id, timeout)
                )
        elif answer is not None:
            payload = answer.payload
            if answer.is_error:
                status, function_error = "error", "Unhandled"
                error_type = result.reported_type(payload)
        used = min(self.version.memory_mb, max(1, -(-self._peak // _MEGABYTE)))
        if fault is not None and fault.platform == "Runtime.OutOfMemory":
            used = self.version.memory_mb
        bill_init = self.initialization_type == "on-demand"
        messages = self._platform.end(
            self._now(),
            invocation.request_id,
            duration_ms=duration,
            init_ms=init_ms,
            max_memory_mb=used,
            status=status,
            error_type=(fault.platform or fault.error_type) if fault else "",
            bill_init=bill_init,
        )
        self._log.platform(messages)
        self._process.freeze()
        self._log.flush()
        self.last_used, self.last_used_lab = time.monotonic(), self._now()
        return InvocationResult(
            payload=payload,
            function_error=function_error,
            error_type=error_type,
            log_tail=self._log.tail(),
            request_id=invocation.request_id,
            environment_id=self.id,
            log_stream=self.log_stream,
            executed_version=self.version.version,
            cold=cold,
            duration_ms=duration,
            billed_ms=billed_ms(duration, init_ms if bill_init else None),
            init_ms=init_ms,
            max_memory_mb=used,
        )

    # -- the loop ---------------------------------------------------------------------------

    def _wait(self, done: Callable[[], bool], deadline: float) -> str:
        """Serve the environment until *done*: ``done``, ``ended``, ``memory`` or ``timeout``."""
        while not done():
            if self._process.ended is not None:
                # It may have said its last word just before.
                self._serve(0)
                return "done" if done() else "memory" if self._out_of_memory else "ended"
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return "timeout"
            self._serve(min(remaining, _TICK_SECONDS))
            if self._sample():
                self._out_of_memory = True
                self._process.kill()
                self._await_end()
                return "memory"
        return "done"

    def _serve(self, timeout: float) -> None:
        """Handle what has happened, waiting at most *timeout* seconds for something to."""
        for key, _ in self._selector.select(timeout):
            key.data()
        if self._process.status is None:
            self._read_log()

    def _read_log(self) -> None:
        data = self._process.read_log()
        if data:
            self._log.output(data)

    def _drain(self) -> None:
        """Take in all output that is there."""
        while data := self._process.read_log():
            self._log.output(data)

    # -- memory and ends --------------------------------------------------------------------

    def _sample(self, *, final: bool = False) -> bool:
        """Look at the memory now and then; whether it is over the function's limit."""
        now = time.monotonic()
        if not final and now - self._looked < _TICK_SECONDS:
            return False
        self._looked = now
        if final:
            pid = self._process.main_pid()
            used = memory.peak_bytes(pid) if pid else 0
        else:
            used = memory.resident_bytes(self._process.memory_pids())
        self._peak = max(self._peak, used)
        return used > self.version.memory_mb * _MEGABYTE

    def _await_end(self) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        while self._process.ended is None and time.monotonic() < deadline:
            self._serve(_TICK_SECONDS)
        if self._process.ended is None:
            self.usable = False

    def _reset(self) -> None:
        """Kill what runs and take in its last output; the next invocation starts it anew."""
        if self._process.ended is None:
            self._process.kill()
            self._await_end()
        self._drain()
        self._api.hang_up()
        self._initialised = False
        if self._process.failure:
            self.usable = False

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation, as far as can be seen from here."""
        self._process.update()
        return self.usable and not self._process.failure

    def status(self) -> dict[str, Any]:
        """What a status page shows of it."""
        return {
            "id": self.id,
            "function": self.version.function_name,
            "version": self.version.version,
            "initialization_type": self.initialization_type,
            "log_stream": self.log_stream,
            "invocations": self.invocations,
        }

    def abandon(self) -> None:
        """Kill what runs, from another thread: its invocation ends with Runtime.ExitError."""
        self.retired = True
        self._process.kill()

    def close(self) -> None:
        """End it: everything it started dies, its ``/tmp`` is gone."""
        self.usable = False
        self._api.close()
        self._selector.close()
        self._process.close()

"""Lambda's invocation model: synchronous, asynchronous with retries, limits, destinations.

Follows the Lambda Developer Guide, "Understanding Lambda function invocation methods", "How
Lambda handles errors and retries with asynchronous invocation" and "Understanding function
scaling". What runs the code is the runtime; what a function is, the control plane.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from labkit.localaws import destinations
from labkit.localaws.call import AwsError
from labkit.localaws.runtime.result import InvocationResult
from labkit.localaws.runtime.version import FunctionVersion

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

SYNC_PAYLOAD_BYTES = 6 * 1024 * 1024
ASYNC_PAYLOAD_BYTES = 1024 * 1024
DEFAULT_MAXIMUM_EVENT_AGE_SECONDS = 21_600
DEFAULT_MAXIMUM_RETRY_ATTEMPTS = 2
# Function errors: one minute before the first retry, two before the second.
RETRY_DELAYS_SECONDS = (60.0, 120.0)
# Throttles and system errors: back to the queue, from one second doubling to five minutes.
THROTTLE_FIRST_DELAY_SECONDS = 1.0
THROTTLE_LONGEST_DELAY_SECONDS = 300.0

# AWS runs as many environments as events wait. This machine has only so many processors: more
# environments are added for a waiting event only while the running ones leave it idle time.
_FIRST_PARALLEL = 4
_MOST_PARALLEL = 64
_GROW_AFTER_SECONDS = 0.25
_GROW_BELOW_CPU_PERCENT = 70.0


@dataclass
class AsyncEvent:
    """One event accepted for asynchronous invocation, until it is done with.

    ``accepted`` is lab time. ``attempts`` counts runs of the function, ``refusals`` throttles.
    """

    request_id: str
    account_id: str
    region: str
    function: str
    qualifier: str | None
    payload: bytes
    accepted: float
    client_context: str | None = None
    trace_id: str = ""
    attempts: int = 0
    refusals: int = 0
    queued: float = field(default_factory=time.monotonic)


class Invocations:
    """Runs functions for the Invoke API and for everything inside that triggers them."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._guard = threading.Condition()
        self._running: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[AsyncEvent]] = defaultdict(deque)
        self._async_running: Counter[str] = Counter()
        self._parallel: Counter[str] = Counter()
        self._closed = False
        threading.Thread(target=self._grow, name="async-scaling", daemon=True).start()
        aws.on_close(self.close)

    # -- synchronous -------------------------------------------------------------------------

    def invoke(
        self,
        version: FunctionVersion,
        payload: bytes,
        *,
        request_id: str,
        invoked_arn: str,
        client_context: str | None = None,
        trace_id: str = "",
    ) -> InvocationResult:
        """Run *version* on *payload* now and return what came of it.

        Raises TooManyRequestsException where AWS throttles. An error of the function is a
        result, not an exception.
        """
        with self._concurrency(version, invoked_arn) as concurrent:
            result = self._aws.environments.invoke(
                version,
                payload,
                request_id=request_id,
                invoked_arn=invoked_arn,
                client_context=client_context,
                trace_id=trace_id,
            )
        self._meter(
            version,
            invoked_arn,
            duration_ms=result.duration_ms,
            error=bool(result.function_error),
            concurrent=concurrent,
        )
        return result

    def running(self, function_arn: str) -> int:
        """How many invocations of a function (unqualified ARN) run at this moment."""
        with self._guard:
            return self._running[function_arn]

    def _concurrency(self, version: FunctionVersion, invoked_arn: str) -> _Slot:
        """A slot of the function's concurrency, or TooManyRequestsException."""
        functions = self._aws.functions
        reserved = functions.reserved_concurrency(version.account_id, version.region, version.arn)
        with self._guard:
            if reserved is not None:
                reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
                full = self._running[version.arn] >= reserved
            else:
                reason = "ConcurrentInvocationLimitExceeded"
                limit = functions.unreserved_concurrency(version.account_id, version.region)
                full = self._unreserved_running(version) >= limit
            if not full:
                self._running[version.arn] += 1
                return _Slot(self, version.arn, self._running[version.arn])
        self._meter(version, invoked_arn, throttled=True)
        raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, Reason=reason)

    def _unreserved_running(self, version: FunctionVersion) -> int:
        functions = self._aws.functions
        return sum(
            count
            for arn, count in self._running.items()
            if arn.split(":")[3:5] == [version.region, version.account_id]
            and functions.reserved_concurrency(version.account_id, version.region, arn) is None
        )

    def _meter(self, version: FunctionVersion, invoked_arn: str, **what: Any) -> None:
        self._aws.telemetry.function_invoked(
            version.function_name,
            resource=invoked_arn.split(":function:")[1],
            executed_version=version.version,
            account_id=version.account_id,
            region=version.region,
            **what,
        )

    def _count(self, version: FunctionVersion, name: str, value: float = 1.0) -> None:
        self._aws.telemetry.function_metric(
            name,
            version.function_name,
            value,
            account_id=version.account_id,
            region=version.region,
        )

    def _release(self, function_arn: str) -> None:
        with self._guard:
            self._running[function_arn] -= 1
            if not self._running[function_arn]:
                del self._running[function_arn]
            self._guard.notify_all()

    # -- asynchronous ------------------------------------------------------------------------

    def invoke_async(
        self,
        account_id: str,
        region: str,
        function: str,
        qualifier: str | None,
        payload: bytes,
        *,
        request_id: str | None = None,
        client_context: str | None = None,
        trace_id: str = "",
    ) -> str:
        """Accept an event for *function* and return its request id; it runs afterwards."""
        event = AsyncEvent(
            request_id or str(uuid.uuid4()),
            account_id,
            region,
            function,
            qualifier,
            payload,
            self._aws.clock.now(),
            client_context,
            trace_id,
        )
        version = self._aws.functions.resolve(account_id, region, function, qualifier)
        self._count(version, "AsyncEventsReceived")
        self._enqueue(event)
        return event.request_id

    def waiting(self) -> int:
        """How many accepted events wait for their turn (not those that wait for a retry)."""
        with self._guard:
            return sum(len(events) for events in self._waiting.values())

    def close(self) -> None:
        """Start nothing new."""
        with self._guard:
            self._closed = True
            self._waiting.clear()
            self._guard.notify_all()

    def _enqueue(self, event: AsyncEvent) -> None:
        event.queued = time.monotonic()
        with self._guard:
            self._waiting[event.function].append(event)
            # The waiting event is unfinished work: at least one worker of its function runs.
            self._start_workers(event.function)
            self._guard.notify_all()

    def _start_workers(self, function: str) -> None:
        limit = self._parallel[function] or _FIRST_PARALLEL
        while (
            not self._closed
            and self._async_running[function] < limit
            and self._async_running[function] < len(self._waiting[function])
            + self._async_running[function]
            and self._waiting[function]
        ):
            event = self._waiting[function].popleft()
            self._async_running[function] += 1
            self._aws.activity.submit(self._work, function, event, name="async invocation")

    def _work(self, function: str, event: AsyncEvent | None) -> None:
        while event is not None:
            try:
                self._attempt(event)
            finally:
                with self._guard:
                    waiting = self._waiting[function]
                    event = waiting.popleft() if waiting and not self._closed else None
                    if event is None:
                        self._async_running[function] -= 1
                        self._parallel.pop(function, None)

    def _grow(self) -> None:
        """Add workers for events that wait while the machine has time to spare."""
        while True:
            with self._guard:
                self._guard.wait_for(lambda: self._closed or any(self._waiting.values()))
                if self._closed:
                    return
            psutil.cpu_percent(None)
            with self._guard:
                self._guard.wait_for(lambda: self._closed, timeout=_GROW_AFTER_SECONDS)
                if psutil.cpu_percent(None) > _GROW_BELOW_CPU_PERCENT:
                    continue
                for function, waiting in list(self._waiting.items()):
                    limit = self._parallel[function] or _FIRST_PARALLEL
                    if waiting and limit < _MOST_PARALLEL:
                        self._parallel[function] = limit * 2
                        self._start_workers(function)

    def _attempt(self, event: AsyncEvent) -> None:
        """Run *event* once and decide what becomes of it."""
        aws = self._aws
        functions = aws.functions
        try:
            version = functions.resolve(
                event.account_id, event.region, event.function, event.qualifier
            )
        except AwsError as problem:
            if problem.code != "ResourceNotFoundException":
                aws.clock.call_later(1.0, self._enqueue, event, name="event of a pending function")
            # Of a function that is gone, the events are gone too.
            return
        invoked_arn = version.arn + (f":{event.qualifier}" if event.qualifier else "")
        config = functions.event_invoke_config(
            event.account_id, event.region, event.function, event.qualifier
        )
        longest = config.get("MaximumEventAgeInSeconds") or DEFAULT_MAXIMUM_EVENT_AGE_SECONDS
        if aws.clock.now() - event.accepted > longest:
            self._give_up(event, version, config, "EventAgeExceeded", None)
            return
        try:
            result = self.invoke(
                version,
                event.payload,
                request_id=event.request_id,
                invoked_arn=invoked_arn,
                client_context=event.client_context,
                trace_id=event.trace_id,
            )
        except AwsError as refusal:
            self._refused(event, version, config, longest, refusal)
            return
        event.attempts += 1
        age_ms = (aws.clock.now() - event.accepted) * 1000
        self._count(version, "AsyncEventAge", age_ms)
        if not result.function_error:
            self._deliver(event, version, config, "OnSuccess", "Success", result)
            return
        retries = config.get("MaximumRetryAttempts")
        retries = DEFAULT_MAXIMUM_RETRY_ATTEMPTS if retries is None else retries
        if event.attempts > retries:
            self._give_up(event, version, config, "RetriesExhausted", result)
            return
        delay = RETRY_DELAYS_SECONDS[event.attempts - 1]
        if aws.clock.now() + delay - event.accepted > longest:
            self._give_up(event, version, config, "EventAgeExceeded", result)
            return
        aws.clock.call_later(delay, self._enqueue, event, name=f"retry of {version.function_name}")

    def _refused(
        self,
        event: AsyncEvent,
        version: FunctionVersion,
        config: dict[str, Any],
        longest: float,
        refusal: AwsError,
    ) -> None:
        """Throttled: without any concurrency at once to the failure side, else later again."""
        reserved = self._aws.functions.reserved_concurrency(
            event.account_id, event.region, version.arn
        )
        if reserved == 0:
            self._give_up(event, version, config, "EventAgeExceeded", None, refusal)
            return
        delay = min(
            THROTTLE_FIRST_DELAY_SECONDS * 2**event.refusals, THROTTLE_LONGEST_DELAY_SECONDS
        )
        event.refusals += 1
        if self._aws.clock.now() + delay - event.accepted > longest:
            self._give_up(event, version, config, "EventAgeExceeded", None, refusal)
            return
        self._aws.clock.call_later(
            delay, self._enqueue, event, name=f"throttled event of {version.function_name}"
        )

    def _give_up(
        self,
        event: AsyncEvent,
        version: FunctionVersion,
        config: dict[str, Any],
        condition: str,
        result: InvocationResult | None,
        refusal: AwsError | None = None,
    ) -> None:
        self._count(version, "AsyncEventsDropped")
        self._deliver(event, version, config, "OnFailure", condition, result)
        target = self._aws.functions.dead_letter_target(
            event.account_id, event.region, event.function, event.qualifier
        )
        if not target:
            return
        status, message = (429, "Rate Exceeded.") if result is None else (200, "")
        if result is not None:
            message = _error_message(result.payload)
        try:
            destinations.dead_letter(
                self._aws, version, target, event.payload, event.request_id, status, message
            )
        except AwsError:
            self._count(version, "DeadLetterErrors")

    def _deliver(
        self,
        event: AsyncEvent,
        version: FunctionVersion,
        config: dict[str, Any],
        side: str,
        condition: str,
        result: InvocationResult | None,
    ) -> None:
        where = (config.get("DestinationConfig") or {}).get(side) or {}
        if not where.get("Destination"):
            return
        record = destinations.invocation_record(
            now=self._aws.clock.now(),
            request_id=event.request_id,
            function_arn=f"{version.arn}:{event.qualifier or '$LATEST'}",
            condition=condition,
            attempts=event.attempts,
            payload=event.payload,
            executed_version=version.version,
            result=result,
        )
        try:
            destinations.send(self._aws, version, where["Destination"], record)
        except AwsError:
            self._count(version, "DestinationDeliveryFailures")


class _Slot:
    """One unit of a function's concurrency, given back at the end of the block."""

    def __init__(self, invocations: Invocations, function_arn: str, concurrent: int) -> None:
        self._invocations = invocations
        self._function_arn = function_arn
        self._concurrent = concurrent

    def __enter__(self) -> int:
        """How many invocations of the function run now, this one included."""
        return self._concurrent

    def __exit__(self, *_: object) -> None:
        self._invocations._release(self._function_arn)


def _error_message(payload: bytes) -> str:
    try:
        return str(json.loads(payload).get("errorMessage", ""))
    except (ValueError, AttributeError):
        return ""

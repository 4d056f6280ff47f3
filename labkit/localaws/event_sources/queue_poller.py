"""Lambda's poller of an SQS queue: gather a batch, invoke, delete what was handled.

Follows the Lambda Developer Guide, "Using Lambda with Amazon SQS": "Creating and configuring an
SQS event source mapping", "Configuring scaling behavior" and "Handling errors for an SQS event
source". Retries are the queue's: what was not handled becomes visible again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError
from labkit.localaws.destinations import queue_url
from labkit.localaws.event_sources.filters import Filters
from labkit.localaws.event_sources.poller import PAYLOAD_BYTES, Poller, Target, aws_error, denied
from labkit.localaws.event_sources.records import payload_of, sqs_record
from labkit.localaws.event_sources.responses import failed_items
from labkit.localaws.functions.mappings import Mapping
from labkit.localaws.recursion import MOST_RUNS, run_again
from labkit.localaws.runtime.result import InvocationResult

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# SQS answers and deletes at most ten messages a call.
_A_CALL = 10
# Five batches at once, and 300 more a minute while there is a backlog.
_FIRST_AT_ONCE = 5
_MORE_A_SECOND = 5
_MOST_AT_ONCE = 1250
# This machine has no room for Lambda's 1,250 environments of one function.
_ROOM_AT_ONCE = 64
# With a batching window, messages stay hidden at least for window, timeout and this.
_WINDOW_MARGIN_SECONDS = 30
_THROTTLE_FIRST_SECONDS = 1.0
_EMPTY_EVENT_BYTES = len(b'{"Records":[]}')


@dataclass
class _Batch:
    """Messages on their way to the function: records of the event, and until when it may try."""

    hidden_until: float
    opened: float
    records: list[dict[str, Any]] = field(default_factory=list)
    size: int = _EMPTY_EVENT_BYTES
    refusals: int = 0

    def takes(self, size: int, most: int) -> bool:
        """Whether one more record of *size* bytes fits."""
        if not self.records:
            return True
        return len(self.records) < most and self.size + size <= PAYLOAD_BYTES

    def add(self, record: dict[str, Any], size: int) -> None:
        self.records.append(record)
        self.size += size


class QueuePoller(Poller):
    """Reads one queue for one function."""

    def __init__(self, aws: LocalAws, mapping: Mapping) -> None:
        super().__init__(aws, mapping)
        self._arn = mapping.source_arn
        self._url = queue_url(aws, self._arn)
        self._sqs = aws.layer("sqs")
        self._busy = 0
        self._saturated_since: float | None = None
        # A batch that is not full yet and whose window is open. Only looks touch it.
        self._open: _Batch | None = None
        self._filters = Filters("sqs", None)
        self._filtered_by: Any = None
        self._stop_watching = lambda: None

    # -- looking -----------------------------------------------------------------------------

    def started(self) -> None:
        """Listen to the queue."""
        self._stop_watching = self._sqs.watch(self._arn, self.wake)

    def stopped(self) -> None:
        """Listen no more. A batch still open is left: its messages become visible again."""
        self._stop_watching()

    def look(self) -> float | None:
        """Receive while there is something and room for it, and send off what is complete."""
        clock = self.aws.clock
        try:
            found, messages = self._sqs.queue(self._arn)
        except AwsError:
            # A queue deleted and made again under its name is heard of.
            self._open = None
            return None
        target: Target | None = None
        try:
            while self.running and self._room() and messages.has_ready(clock.now()):
                target = target or self.target()
                if not self._receive(target, found):
                    break
        except ClientError as problem:
            error = aws_error(problem)
            if denied(error):
                self.note(f"PROBLEM: {error.message}")
            return self.trouble()
        except AwsError as error:
            self.note(f"PROBLEM: {error.message}")
            # A function that is gone is heard of should it come back.
            return None if error.code == "ResourceNotFoundException" else self.trouble()
        self.no_trouble()
        return self._next_look(messages)

    def _next_look(self, messages: Any) -> float | None:
        now = self.aws.clock.now()
        window_ends = None
        if self._open is not None:
            window_ends = self._open.opened + self.config["MaximumBatchingWindowInSeconds"]
            if window_ends <= now:
                self._send_off()
                window_ends = None
        if self._busy < self._limit():
            self._saturated_since = None
            moments = [window_ends, messages.next_visible(now)]
        elif messages.has_ready(now):
            # More batches at once are allowed with every second of backlog.
            moments = [window_ends, now + 1.0]
        else:
            moments = [window_ends]
        return min((moment for moment in moments if moment is not None), default=None)

    def _room(self) -> bool:
        return self._busy < self._limit()

    def _limit(self) -> int:
        """How many batches may be under way at once at this moment."""
        most = (self.config.get("ScalingConfig") or {}).get("MaximumConcurrency", _MOST_AT_ONCE)
        now = self.aws.clock.now()
        with self._guard:
            if self._busy < _FIRST_AT_ONCE:
                return min(_FIRST_AT_ONCE, most)
            if self._saturated_since is None:
                self._saturated_since = now
            grown = _FIRST_AT_ONCE + int((now - self._saturated_since) * _MORE_A_SECOND)
            return min(grown, most, _ROOM_AT_ONCE)

    # -- gathering ---------------------------------------------------------------------------

    def _receive(self, target: Target, found: Any) -> bool:
        """Receive once; False when there was nothing."""
        config = self.config
        window, most = config["MaximumBatchingWindowInSeconds"], config["BatchSize"]
        now = self.aws.clock.now()
        hidden_for = float(found.visibility_timeout)
        params: dict[str, Any] = {}
        if window and window + target.version.timeout_seconds > hidden_for:
            hidden_for = window + target.version.timeout_seconds + _WINDOW_MARGIN_SECONDS
            params["VisibilityTimeout"] = int(hidden_for)
        wanted = most - (len(self._open.records) if self._open else 0)
        answer = self.client("sqs", target).receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(wanted, _A_CALL),
            WaitTimeSeconds=0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
            **params,
        )
        messages = answer.get("Messages") or []
        self.count("PolledEventCount", len(messages))
        unwanted: list[str] = []
        for message in messages:
            record = sqs_record(message, self._arn, windowed=bool(window))
            if not self._accepts(record):
                unwanted.append(record["receiptHandle"])
                continue
            size = len(payload_of(record)) + 1
            if self._open is not None and not self._open.takes(size, most):
                self._send_off()
            if self._open is None:
                self._open = _Batch(now + hidden_for, now)
            self._open.add(record, size)
        if unwanted:
            self.count("FilteredOutEventCount", len(unwanted))
            self._delete(target, unwanted)
        if self._open is not None and (not window or len(self._open.records) >= most):
            self._send_off()
        return bool(messages)

    def _accepts(self, record: dict[str, Any]) -> bool:
        criteria = self.config.get("FilterCriteria")
        if criteria is not self._filtered_by:
            self._filters, self._filtered_by = Filters("sqs", criteria), criteria
        return self._filters.accept(record)

    def _send_off(self) -> None:
        batch, self._open = self._open, None
        if batch is None:
            return
        with self._guard:
            self._busy += 1
        self.aws.activity.submit(self._handle, batch, name=f"batch of {self._arn}")

    # -- handling ----------------------------------------------------------------------------

    def _handle(self, batch: _Batch) -> None:
        """Invoke the function with *batch*, and delete what it handled."""
        retry_at: float | None = None
        try:
            if batch.refusals and not self.running:
                return
            target = self.target()
            trace_id = self._break_loops(batch, target)
            if not batch.records:
                return
            try:
                _, result = self.invoke(target, {"Records": batch.records}, trace_id)
            except AwsError as refusal:
                retry_at = self._refused(batch, refusal)
                return
            self._handled(batch, target, result)
        except AwsError as problem:
            # The function is gone, or not ready: the messages become visible again.
            self.note(f"PROBLEM: {problem.message}")
        finally:
            if retry_at is not None:
                name = f"throttled batch of {self._arn}"
                self.aws.clock.call_at(retry_at, self._handle, batch, name=name)
            else:
                with self._guard:
                    self._busy -= 1
                self.wake()

    def _break_loops(self, batch: _Batch, target: Target) -> str:
        """Take out of *batch* what the function keeps sending itself; the trace of the rest.

        What is taken out becomes visible again, until the queue's redrive policy moves it.
        """
        version, now = target.version, self.aws.clock.now()
        allowed = self.aws.functions.recursive_loop(version.account_id, version.region, version.arn)
        longest, runs = run_again(None, version.arn, now)
        kept: list[dict[str, Any]] = []
        for record in batch.records:
            trace = record["attributes"].get("AWSTraceHeader")
            header, run = run_again(trace, version.arn, now) if trace else (longest, 1)
            if run > MOST_RUNS and allowed == "Terminate":
                continue
            kept.append(record)
            if run > runs or (trace and run == runs):
                longest, runs = header, run
        dropped = len(batch.records) - len(kept)
        if dropped:
            self.aws.telemetry.function_metric(
                "RecursiveInvocationsDropped",
                version.function_name,
                float(dropped),
                account_id=version.account_id,
                region=version.region,
            )
            self.count("DroppedEventCount", dropped)
            batch.records = kept
        return longest

    def _refused(self, batch: _Batch, refusal: AwsError) -> float | None:
        """When to try a throttled batch again; None once its messages will be visible by then."""
        if refusal.status != 429:
            self.count("DroppedEventCount", len(batch.records))
            return None
        delay = _THROTTLE_FIRST_SECONDS * 2**batch.refusals
        batch.refusals += 1
        when = self.aws.clock.now() + delay
        if when < batch.hidden_until:
            return when
        self.count("DroppedEventCount", len(batch.records))
        return None

    def _handled(self, batch: _Batch, target: Target, result: InvocationResult) -> None:
        handles = {record["messageId"]: record["receiptHandle"] for record in batch.records}
        failed: set[str] | None = set()
        if result.function_error:
            failed = None
        elif "ReportBatchItemFailures" in (self.config.get("FunctionResponseTypes") or ()):
            failed = failed_items(result.payload, handles)
        if failed is None:
            self.count("FailedInvokeEventCount", len(handles))
            return
        self.count("InvokedEventCount", len(handles) - len(failed))
        self.count("FailedInvokeEventCount", len(failed))
        done = [handle for message_id, handle in handles.items() if message_id not in failed]
        self._delete(target, done)

    def _delete(self, target: Target, handles: Iterable[str]) -> None:
        """Delete messages; what can't be deleted comes back, as in AWS."""
        handles = list(handles)
        client = self.client("sqs", target)
        for start in range(0, len(handles), _A_CALL):
            some = handles[start : start + _A_CALL]
            entries = [{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(some)]
            try:
                answer = client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            except ClientError as problem:
                self.note(f"PROBLEM: {aws_error(problem).message}")
                return
            self.count("DeletedEventCount", len(answer.get("Successful") or ()))

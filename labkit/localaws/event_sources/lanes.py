"""One lane of a shard: records that must be handled one batch after the other.

A shard has one lane, or as many as its mapping's ParallelizationFactor; a record's key decides
which. A lane only keeps and decides; who calls it looks at the clock and invokes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.localaws.event_sources.poller import PAYLOAD_BYTES, Target
from labkit.localaws.event_sources.responses import failed_items, window_state
from labkit.localaws.event_sources.sources import StreamRecord
from labkit.localaws.event_sources.verdicts import Batch, Rules, Verdict, failed, refused
from labkit.localaws.event_sources.windows import Window
from labkit.localaws.runtime.result import InvocationResult

# What an event has besides its records; a window's state comes on top.
_EVENT_BYTES = 1024


@dataclass(frozen=True)
class Outcome:
    """How the invocation with a batch ended; without a result it did not come to one."""

    request_id: str = ""
    target: Target | None = None
    result: InvocationResult | None = None


@dataclass(frozen=True)
class Work:
    """A batch that is with the function, and the window it belongs to; final has no records."""

    batch: Batch
    window: Window | None = None
    final: bool = False


class Lane:
    """Records on their way to the function, in order."""

    def __init__(self) -> None:
        # Read and not in a batch yet.
        self.pending: deque[StreamRecord] = deque()
        # Batches that come before anything pending: retries and halves.
        self.again: deque[Batch] = deque()
        self.not_before = 0.0
        self.working: Work | None = None
        self.outcome: Outcome | None = None
        self.window: Window | None = None
        self._final_failures: Batch | None = None
        self._gathering_since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is left here, an open window apart."""
        return not (self.pending or self.again or self.working)

    def records(self) -> list[StreamRecord]:
        """Everything that is not done with, in order."""
        waiting = [item for batch in self.again for item in batch.items]
        return [*waiting, *self.pending]  # type: ignore[list-item]

    def add(self, record: StreamRecord, now: float) -> None:
        """Take a record that was just read."""
        if not self.pending and not self.again and self.working is None:
            self._gathering_since = now
        self.pending.append(record)

    # -- the next batch ----------------------------------------------------------------------

    def next_batch(
        self, config: Mapping[str, Any], now: float, *, ended: bool
    ) -> tuple[Work | None, float | None]:
        """What to invoke with now; or when to ask again, None for when something is added.

        *ended* says that the shard has nothing further to read and takes no further records.
        """
        if self.working is not None:
            return None, None
        if now < self.not_before:
            return None, self.not_before
        if self.again:
            return Work(self.again[0], self.window), None
        seconds = int(config.get("TumblingWindowInSeconds") or 0)
        if self.window is not None and self._window_over(now, seconds, ended=ended):
            return Work(self._final_failures or Batch(()), self.window, final=True), None
        if not self.pending:
            return None, self.window.end if self.window else None
        if seconds and self.window is None:
            self.window = Window.around(self.pending[0].arrived, seconds)
        return self._gather(config, now, ended=ended)

    def _window_over(self, now: float, seconds: int, *, ended: bool) -> bool:
        window = self.window
        assert window is not None
        if window.too_large or not seconds:
            return True
        if self.pending:
            return not window.holds(self.pending[0].arrived)
        return ended or now >= window.end

    def _gather(
        self, config: Mapping[str, Any], now: float, *, ended: bool
    ) -> tuple[Work | None, float | None]:
        most = config["BatchSize"]
        taken: list[StreamRecord] = []
        size = _EVENT_BYTES
        if self.window is not None:
            size += len(str(self.window.state))
        full = False
        for record in self.pending:
            outside = self.window is not None and not self.window.holds(record.arrived)
            if taken and (outside or size + record.size > PAYLOAD_BYTES):
                full = True
                break
            taken.append(record)
            size += record.size
            if len(taken) == most:
                full = True
                break
        since = now if self._gathering_since is None else self._gathering_since
        self._gathering_since = since
        until = since + (config.get("MaximumBatchingWindowInSeconds") or 0)
        if self.window is not None:
            until = min(until, self.window.end)
        if not full and not ended and now < until:
            return None, until
        return Work(Batch(tuple(taken)), self.window), None

    # -- its way -----------------------------------------------------------------------------

    def begin(self, work: Work) -> None:
        """The work given by :meth:`next_batch`, perhaps with fewer records, is now invoked."""
        self._take_out(work)
        self.working = work

    def drop(self, work: Work) -> None:
        """None of the work's records is to be sent any more."""
        self._take_out(work)

    def _take_out(self, work: Work) -> None:
        if work.final:
            return
        if self.again:
            self.again.popleft()
            return
        last = work.batch.items[-1].sequence
        while self.pending and self.pending[0].sequence <= last:
            self.pending.popleft()

    def settle(
        self, config: Mapping[str, Any], rules: Rules, now: float
    ) -> tuple[Work, Outcome, Verdict, str | None] | None:
        """Take in the outcome of the work under way, if it is there.

        Returns the work, its outcome, the verdict and the function error as the record of a
        discarded batch shows it (None for an answer that could not be used).
        """
        work, outcome = self.working, self.outcome
        if work is None or outcome is None:
            return None
        self.working = self.outcome = None
        verdict = self._verdict(work, outcome, config, rules)
        self.not_before = now + verdict.delay
        if work.final:
            again = verdict.retry[0] if verdict.retry else None
            self._final_failures = again
            if again is None:
                self.window = None
        else:
            self.again.extendleft(reversed(verdict.retry))
        self._gathering_since = now if self.pending else None
        error = outcome.result.function_error if outcome.result else None
        return work, outcome, verdict, error

    def _verdict(
        self, work: Work, outcome: Outcome, config: Mapping[str, Any], rules: Rules
    ) -> Verdict:
        result = outcome.result
        if result is None:
            return refused(work.batch)
        if result.function_error:
            return failed(work.batch, rules)
        state = window_state(result.payload) if work.window is not None else None
        if work.window is not None and state is None and not work.final:
            # An aggregating invocation owes a state.
            return failed(work.batch, rules)
        first = 0
        if "ReportBatchItemFailures" in (config.get("FunctionResponseTypes") or ()):
            known = [str(item.sequence) for item in work.batch.items]
            listed = failed_items(result.payload, known)
            if listed is None:
                return failed(work.batch, rules)
            if listed:
                first = known.index(min(listed, key=int))
                if first == 0:
                    return failed(work.batch, rules)
        if work.window is not None and state is not None:
            work.window.keep(state)
        return failed(work.batch, rules, first) if first else Verdict()

"""What becomes of a batch of stream records that failed: retried, split, or given up. No I/O.

Follows the Lambda Developer Guide, "Using Lambda with Kinesis Data Streams" ("Retain discarded
batch records", "Configuring partial batch response") and the same of DynamoDB Streams. AWS names
no retry intervals: they double from half a second, to a minute at most, which gives as many
attempts within a minute as are seen there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from typing import Any, Protocol

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0

EXHAUSTED = "RetryAttemptsExhausted"
TOO_OLD = "RecordAgeExceeded"


class Entry(Protocol):
    """A record of a shard: its place in it, and the lab time it arrived there."""

    @property
    def sequence(self) -> int: ...

    @property
    def arrived(self) -> float: ...


@dataclass(frozen=True)
class Rules:
    """A mapping's error handling; -1 means without limit, ages are in seconds.

    ``retention`` is the stream's own: what it has forgotten, Lambda forgets as well.
    """

    bisect: bool = False
    max_retries: int = -1
    max_age: float = -1
    retention: float = float("inf")

    @classmethod
    def of(cls, config: Mapping[str, Any], retention: float) -> Rules:
        """The rules in a mapping's configuration."""
        return cls(
            bisect=bool(config.get("BisectBatchOnFunctionError")),
            max_retries=_limit(config.get("MaximumRetryAttempts")),
            max_age=_limit(config.get("MaximumRecordAgeInSeconds")),
            retention=retention,
        )


@dataclass(frozen=True)
class Batch:
    """Records that go to the function together, oldest first.

    ``failures`` counts how often exactly these records failed, ``refusals`` how often in a row
    the function could not even be invoked with them.
    """

    items: tuple[Entry, ...]
    failures: int = 0
    refusals: int = 0


@dataclass(frozen=True)
class Verdict:
    """What comes next in the batch's place: batches in order, the first in ``delay`` seconds.

    ``discarded`` is given up for ``condition``, the word in the record for the on-failure
    destination. Records that are in neither are done with.
    """

    retry: tuple[Batch, ...] = ()
    delay: float = 0.0
    discarded: Batch | None = None
    condition: str = ""


def failed(batch: Batch, rules: Rules, first_failed: int = 0) -> Verdict:
    """The verdict on a batch that failed, from the record at index *first_failed* on.

    What is before it succeeded: then the rest is a batch of its own, tried at once. Without such
    progress a batch is split in halves (which is no retry) or retried as it is.
    """
    if first_failed > 0:
        return Verdict(retry=(Batch(batch.items[first_failed:]),))
    if rules.bisect and len(batch.items) > 1:
        middle = len(batch.items) // 2
        return Verdict(retry=(Batch(batch.items[:middle]), Batch(batch.items[middle:])))
    failures = batch.failures + 1
    again = Batch(batch.items, failures)
    if 0 <= rules.max_retries < failures:
        return Verdict(discarded=again, condition=EXHAUSTED)
    return Verdict(retry=(again,), delay=delay_after(failures))


def refused(batch: Batch) -> Verdict:
    """The verdict on a batch the function was not invoked with (throttled, say): later again.

    Only its records' age ends this.
    """
    refusals = batch.refusals + 1
    again = Batch(batch.items, batch.failures, refusals)
    return Verdict(retry=(again,), delay=delay_after(refusals))


def aged(batch: Batch, rules: Rules, now: float) -> tuple[Batch | None, Batch | None]:
    """What is too old to be sent at *now*, and what is left to send; each may be None.

    Records that the stream itself has forgotten are in neither.
    """
    present = list(dropwhile(lambda item: item.arrived + rules.retention <= now, batch.items))
    old = list(takewhile(lambda item: 0 <= rules.max_age <= now - item.arrived, present))
    return _part(batch, old), _part(batch, present[len(old) :])


def delay_after(attempts: int) -> float:
    """Seconds before the next try after so many that came to nothing."""
    return min(FIRST_DELAY_SECONDS * 2 ** min(attempts - 1, 30), LONGEST_DELAY_SECONDS)


def _part(batch: Batch, items: list[Entry]) -> Batch | None:
    if len(items) == len(batch.items):
        return batch
    return Batch(tuple(items), batch.failures, batch.refusals) if items else None


def _limit(value: Any) -> int:
    return -1 if value is None else int(value)

"""Lambda's poller of a stream: shard by shard, in order, one batch after the other.

Follows the Lambda Developer Guide, "Using Lambda with Kinesis Data Streams" and "... with
DynamoDB". A batch that fails holds up its lane of its shard and nothing else.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError
from labkit.localaws.event_sources import discards, verdicts
from labkit.localaws.event_sources.discards import Discard
from labkit.localaws.event_sources.filters import Filters
from labkit.localaws.event_sources.lanes import Lane, Outcome, Work
from labkit.localaws.event_sources.poller import CALL_FAILED, Poller, aws_error, denied
from labkit.localaws.event_sources.sources import (
    KinesisSource,
    ShardSource,
    StreamRecord,
    TableSource,
)
from labkit.localaws.event_sources.verdicts import Batch, Rules
from labkit.localaws.functions.mappings import Mapping

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

_SOURCES: dict[str, type[ShardSource]] = {"kinesis": KinesisSource, "dynamodb": TableSource}
# One read's worth, and no more is kept of a shard than is needed for a few batches.
_READ_LIMIT = 10_000


@dataclass
class _Shard:
    """One shard as far as it was read."""

    shard_id: str
    parents: tuple[str, ...]
    after: int
    lanes: list[Lane] = field(default_factory=lambda: [Lane()])
    ended: bool = False

    @property
    def done(self) -> bool:
        """Whether the shard ended and everything in it is handled."""
        return self.ended and all(lane.idle and lane.window is None for lane in self.lanes)

    def lane_of(self, record: StreamRecord) -> Lane:
        return self.lanes[zlib.crc32(record.key.encode()) % len(self.lanes)]


class StreamPoller(Poller):
    """Reads all shards of one stream for one function. Only looks change its shards."""

    def __init__(self, aws: LocalAws, mapping: Mapping) -> None:
        super().__init__(aws, mapping)
        self._source = _SOURCES[mapping.kind](aws, mapping.source_arn, self._role_arn)
        self._shards: dict[str, _Shard] = {}
        self._identity: object = None
        self._first_started: float | None = None
        self._list_again = True
        self._filters = Filters(mapping.kind, None)
        self._filtered_by: Any = None
        self._stop_watching = lambda: None

    def started(self) -> None:
        """Listen to the stream. LATEST means: since the mapping was first enabled."""
        if self._first_started is None:
            self._first_started = self.mapping.last_modified
        self._stop_watching = self._source.watch(self.wake)

    def stopped(self) -> None:
        """Listen no more; where it was is kept for when it is enabled again."""
        self._stop_watching()

    # -- looking -----------------------------------------------------------------------------

    def look(self) -> float | None:
        """Take in what ended, read what is new, and invoke with what is complete."""
        moments: list[float] = []
        try:
            rules = self._rules()
            for shard in self._shards.values():
                for lane in shard.lanes:
                    self._take_in(shard, lane, rules)
            self._know_shards()
            for shard in list(self._shards.values()):
                if self._turn_of(shard):
                    moments += self._serve(shard)
        except (AwsError, ClientError) as problem:
            error = aws_error(problem) if isinstance(problem, ClientError) else problem
            return self._in_trouble(error)
        self.no_trouble()
        if self._list_again:
            # A shard ended: its children have their turn now.
            self.wake()
        return min(moments, default=None)

    def _in_trouble(self, error: AwsError) -> float | None:
        arn = self.mapping.source_arn
        if error.code == "ResourceNotFoundException":
            if self._exists():
                # The function is gone. Should it come back, that is heard of.
                self.note(f"PROBLEM: {error.message}")
                return None
            self.note(f"PROBLEM: Stream not found: {arn}")
            self._shards.clear()
            self._identity, self._list_again = None, True
            # So is a stream made anew under this name.
            return None
        if denied(error):
            self.note(
                f"PROBLEM: Cannot access stream {arn}. Please ensure the role can perform the "
                "GetRecords, GetShardIterator, DescribeStream, ListShards, and ListStreams Actions "
                "on your stream in IAM."
            )
        else:
            self.note(f"PROBLEM: {error.message}")
        return self.trouble()

    def _exists(self) -> bool:
        try:
            self._source.identity()
        except AwsError:
            return False
        return True

    def _turn_of(self, shard: _Shard) -> bool:
        """Children wait until their parents are handled to the end."""
        parents = (self._shards.get(parent) for parent in shard.parents)
        return all(parent is None or parent.done for parent in parents)

    def _know_shards(self) -> None:
        identity = self._source.identity()
        if identity is not self._identity:
            self._shards.clear()
            self._list_again = True
        if not self._list_again:
            return
        first = self._identity is not identity
        for found in self._source.shards(self.client(self._source.service, self.target())):
            if found.shard_id not in self._shards:
                after = self._starting_position(found.shard_id) if first else 0
                self._shards[found.shard_id] = _Shard(found.shard_id, found.parents, after)
        self._identity, self._list_again = identity, False

    def _starting_position(self, shard_id: str) -> int:
        kind = self.config["StartingPosition"]
        if kind == "TRIM_HORIZON":
            return 0
        if kind == "LATEST":
            assert self._first_started is not None
            return self._source.since(shard_id, self._first_started)
        moment = self.config["StartingPositionTimestamp"]
        seconds = moment.timestamp() if isinstance(moment, datetime) else float(moment)
        return self._source.since(shard_id, seconds)

    # -- one shard ---------------------------------------------------------------------------

    def _serve(self, shard: _Shard) -> list[float]:
        """Read and invoke as far as possible; when to look again at this shard."""
        self._fit_lanes(shard)
        now = self.aws.clock.now()
        moments: list[float] = []
        served = True
        while served and self.running:
            served = self._read(shard, now)
            moments = []
            for lane in shard.lanes:
                moment, invoked = self._advance(shard, lane, now)
                served = served or invoked
                if moment is not None:
                    moments.append(moment)
        if not shard.ended and self._source.closed(shard.shard_id):
            if not self._source.more(shard.shard_id, shard.after):
                shard.ended = self._list_again = True
        return moments

    def _fit_lanes(self, shard: _Shard) -> None:
        """As many lanes as the mapping has now; what waits is dealt out anew."""
        wanted = int(self.config.get("ParallelizationFactor") or 1)
        if self.config.get("TumblingWindowInSeconds"):
            wanted = 1
        if len(shard.lanes) == wanted or any(lane.working for lane in shard.lanes):
            return
        waiting = [record for lane in shard.lanes for record in lane.records()]
        shard.lanes = [Lane() for _ in range(wanted)]
        now = self.aws.clock.now()
        for record in sorted(waiting, key=lambda record: record.sequence):
            shard.lane_of(record).add(record, now)

    def _read(self, shard: _Shard, now: float) -> bool:
        """Read on if there is something and a need; whether anything was read."""
        waiting = sum(len(lane.pending) for lane in shard.lanes)
        room = min(self.config["BatchSize"] * len(shard.lanes) * 2, _READ_LIMIT) - waiting
        if room <= 0 or not self._source.more(shard.shard_id, shard.after):
            return False
        client = self.client(self._source.service, self.target())
        found = self._source.read(client, shard.shard_id, shard.after, room)
        if not found:
            return False
        self.count("PolledEventCount", len(found))
        shard.after = found[-1].sequence
        for record in found:
            if self._accepts(record):
                shard.lane_of(record).add(record, now)
            else:
                self.count("FilteredOutEventCount", 1)
        return True

    def _accepts(self, record: StreamRecord) -> bool:
        criteria = self.config.get("FilterCriteria")
        if criteria is not self._filtered_by:
            self._filters, self._filtered_by = Filters(self.mapping.kind, criteria), criteria
        return self._filters.accept(record.event)

    def _advance(self, shard: _Shard, lane: Lane, now: float) -> tuple[float | None, bool]:
        """Invoke with the lane's next batch if it is time; when to ask again, and whether."""
        while True:
            work, moment = lane.next_batch(self.config, now, ended=shard.ended)
            if work is None:
                return moment, False
            if work.final:
                break
            old, left = verdicts.aged(work.batch, self._rules(), now)
            if old is not None:
                self._discard(shard, old, verdicts.TOO_OLD, None, None)
            if left is not None:
                work = Work(left, work.window)
                break
            lane.drop(work)
        lane.begin(work)
        name = f"batch of {self.mapping.source_arn}"
        self.aws.activity.submit(self._run, shard.shard_id, lane, work, name=name)
        return None, True

    def _rules(self) -> Rules:
        return Rules.of(self.config, self._source.retention())

    # -- one invocation ----------------------------------------------------------------------

    def _run(self, shard_id: str, lane: Lane, work: Work) -> None:
        events = [item.event for item in work.batch.items]  # type: ignore[attr-defined]
        event: dict[str, Any] = {"Records": events}
        if work.window is not None:
            event = work.window.event(events, shard_id, self._source.arn, final=work.final)
        outcome = Outcome()
        try:
            target = self.target()
            request_id, result = self.invoke(target, event)
            outcome = Outcome(request_id, target, result)
        except AwsError:
            pass  # Not invoked: the records wait.
        finally:
            with self._guard:
                lane.outcome = outcome
            self.wake()

    def _take_in(self, shard: _Shard, lane: Lane, rules: Rules) -> None:
        """Act on the outcome of the lane's work, if it has one."""
        now = self.aws.clock.now()
        settled = lane.settle(self.config, rules, now)
        if settled is None:
            return
        work, outcome, verdict, error = settled
        fine = outcome.result is not None and not verdict.retry and verdict.discarded is None
        self.note("OK" if fine else CALL_FAILED)
        count = len(work.batch.items)
        if outcome.target is not None and count:
            self._meter_age(outcome.target.version, now - work.batch.items[-1].arrived)
        back = sum(len(batch.items) for batch in verdict.retry)
        lost = len(verdict.discarded.items) if verdict.discarded else 0
        self.count("FailedInvokeEventCount", back + lost)
        self.count("InvokedEventCount", count - back - lost)
        if verdict.discarded is not None and not work.final:
            self._discard(shard, verdict.discarded, verdict.condition, outcome, error)

    def _meter_age(self, version: Any, age: float) -> None:
        self.aws.telemetry.function_metric(
            "IteratorAge",
            version.function_name,
            max(age, 0.0) * 1000,
            account_id=version.account_id,
            region=version.region,
        )

    def _discard(
        self,
        shard: _Shard,
        batch: Batch,
        condition: str,
        outcome: Outcome | None,
        error: str | None,
    ) -> None:
        """Give *batch* up: tell the on-failure destination, if there is one."""
        where = (self.config.get("DestinationConfig") or {}).get("OnFailure") or {}
        destination = where.get("Destination")
        if not destination:
            self.count("DroppedEventCount", len(batch.items))
            return
        exhausted = condition == verdicts.EXHAUSTED
        discard = Discard(
            shard_id=shard.shard_id,
            records=batch.items,  # type: ignore[arg-type]
            condition=condition,
            # The attempt that found the records too old counts, though nothing was invoked.
            invocations=batch.failures if exhausted else batch.failures + 1,
            function_arn=self.mapping.function_arn,
            request_id=(outcome.request_id if outcome else "") or str(uuid.uuid4()),
            executed_version=outcome.target.version.version if outcome and outcome.target else None,
            function_error=error,
        )
        try:
            version = (
                outcome.target.version if outcome and outcome.target else self.target().version
            )
            discards.deliver(
                self.aws, version, destination, self._source, self.mapping.uuid, discard
            )
            self.count("OnFailureDestinationDeliveredEventCount", len(batch.items))
        except AwsError:
            name = self.mapping.function_arn.split(":function:")[1].split(":")[0]
            self.aws.telemetry.function_metric(
                "DestinationDeliveryFailures",
                name,
                account_id=self.mapping.account,
                region=self.mapping.region,
            )
            self.count("DroppedEventCount", len(batch.items))

    def _role_arn(self) -> str:
        return self.target().version.role_arn

"""Streams through random histories: every record handled or discarded by the rules, in order."""

from __future__ import annotations

import base64
import itertools
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from history_support import SEEDS, Script, fault
from polling_support import Watched, answer, idle, watch
from test_dynamodb_streams import Table
from wiring_support import Wiring, wiring

__all__ = ["idle", "watch", "wiring"]

KEYS = "abcd"


class Source(ABC):
    """A stream to write numbered changes of a few keys to: ``a:0``, ``b:1``, ``a:2``."""

    arn: str

    @abstractmethod
    def put(self, key: str, name: str) -> None:
        """Write one."""

    @abstractmethod
    def name(self, record: dict) -> str:
        """What was written, from a record of an event."""

    @staticmethod
    @abstractmethod
    def sequence(record: dict) -> str:
        """A record's identifier in an answer."""

    @abstractmethod
    def reshard(self) -> None:
        """Have shards take over from others, where streams have that."""


class DataStream(Source):
    """A Kinesis data stream of two shards."""

    def __init__(self, wiring: Wiring) -> None:
        self._kinesis = wiring.client("kinesis")
        self._name = wiring.name("history")
        self._kinesis.create_stream(StreamName=self._name, ShardCount=2)
        self.arn = wiring.arn("kinesis", f"stream/{self._name}")
        self._whole = True

    def put(self, key, name):
        self._kinesis.put_record(StreamName=self._name, Data=name, PartitionKey=key)

    def name(self, record):
        return base64.b64decode(record["kinesis"]["data"]).decode()

    @staticmethod
    def sequence(record):
        return record["kinesis"]["sequenceNumber"]

    def reshard(self):
        if self._whole:
            self._whole = False
            self._kinesis.split_shard(
                StreamName=self._name,
                ShardToSplit="shardId-000000000000",
                NewStartingHashKey=str(2**126),
            )
            self._kinesis.split_shard(
                StreamName=self._name,
                ShardToSplit="shardId-000000000001",
                NewStartingHashKey=str(2**127 + 2**126),
            )


class Changes(Source):
    """The stream of a table."""

    def __init__(self, wiring: Wiring) -> None:
        self._table = Table(wiring, "NEW_IMAGE")
        self.arn = self._table.arn

    def put(self, key, name):
        self._table.put(id=key, name=name)

    def name(self, record):
        return record["dynamodb"]["NewImage"]["name"]["S"]

    @staticmethod
    def sequence(record):
        return record["dynamodb"]["SequenceNumber"]

    def reshard(self):
        pass


@dataclass
class Invocation:
    """One batch as the function saw it."""

    number: int
    when: float
    names: list[str]


@dataclass
class History:
    """A stream, its function, and everything that happened."""

    wiring: Wiring
    function: Watched
    source: Source
    rng: random.Random
    invocations: list[Invocation] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    written: list[str] = field(default_factory=list)
    handled: set[str] = field(default_factory=set)
    disturbed: bool = False
    throttled: bool = False

    def __post_init__(self) -> None:
        rng = self.rng
        self.reports = rng.random() < 0.5
        self.bisect = rng.random() < 0.5
        self.retries = rng.randint(0, 2)
        self.lanes = rng.choice((1, 1, 3))
        kinds = ("fail", "die", "killed", *(("report",) * 3 if self.reports else ()))
        self.script = Script(rng, kinds, 6)
        self.bucket = self.wiring.name("discards")
        self.s3 = self.wiring.client("s3")
        self.s3.create_bucket(Bucket=self.bucket)
        self.function.decide = self.decide
        self.mapping = self.function.map(
            self.source.arn,
            StartingPosition="TRIM_HORIZON",
            BatchSize=rng.randint(1, 5),
            ParallelizationFactor=self.lanes,
            MaximumBatchingWindowInSeconds=rng.choice((0, 0, 10)),
            MaximumRetryAttempts=self.retries,
            BisectBatchOnFunctionError=self.bisect,
            FunctionResponseTypes=["ReportBatchItemFailures"] if self.reports else [],
            DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{self.bucket}"}},
        )

    def decide(self, event):
        records = event["Records"]
        names = [self.source.name(record) for record in records]
        self.invocations.append(Invocation(next(self.numbers), self.wiring.now(), names))
        outcomes = self.script.attempt(names)
        failure = fault(self.function, outcomes)
        if failure is not None:
            return failure
        first = outcomes.index("report") if "report" in outcomes else len(names)
        self.handled |= set(names[:first])
        failed = [{"itemIdentifier": self.source.sequence(one)} for one in records[first:]]
        return answer({"batchItemFailures": failed[:1]})

    # -- what happens ------------------------------------------------------------------------

    def put(self) -> None:
        for _ in range(self.rng.randint(1, 6)):
            key = self.rng.choice(KEYS)
            name = f"{key}:{len(self.written)}"
            self.script.plan(name)
            self.written.append(name)
            self.source.put(key, name)

    def advance(self) -> None:
        self.wiring.advance(seconds=self.rng.randint(1, 30))

    def kill(self) -> None:
        killed = self.function.kill(lambda: self.rng.random() < 0.7)
        self.disturbed = self.disturbed or killed > 0

    def pause(self) -> None:
        self.function.change(self.mapping, Enabled=False)
        self.put()
        self.advance()
        self.function.change(self.mapping, Enabled=True)

    def throttle(self) -> None:
        self.throttled = True
        lam, name = self.wiring.client("lambda"), self.function.name
        lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.put()
        self.advance()
        lam.delete_function_concurrency(FunctionName=name)

    def run(self) -> None:
        steps = [self.put, self.put, self.put, self.advance, self.advance]
        steps += [self.kill] if self.rng.random() < 0.4 else []
        steps += [self.pause, self.throttle] if self.rng.random() < 0.4 else []
        self.put()
        resharded = self.rng.randrange(4)
        for number in range(6):
            if number == resharded:
                self.source.reshard()
            self.rng.choice(steps)()
        self.wiring.advance(minutes=20)

    def discards(self) -> list[dict]:
        """The records of discarded batches, with the names in their payloads."""
        found = []
        for listed in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            body = self.s3.get_object(Bucket=self.bucket, Key=listed["Key"])["Body"].read()
            record = json.loads(body)
            payload = json.loads(record["payload"])
            record["names"] = [self.source.name(one) for one in payload["Records"]]
            found.append(record)
        return found


@pytest.fixture(params=[DataStream, Changes], ids=["kinesis", "dynamodb"])
def history(request, wiring, watch) -> Callable[[int], History]:
    """Makes histories over streams of either kind."""
    return lambda seed: History(wiring, watch(), request.param(wiring), random.Random(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_is_handled_or_discarded_after_its_retries(history, seed):
    history = history(seed)
    history.run()
    discards = history.discards()
    lost = [name for record in discards for name in record["names"]]
    assert len(lost) == len(set(lost))
    assert history.handled | set(lost) == set(history.written)
    if not history.disturbed:
        assert not history.handled & set(lost)
    for record in discards:
        context = record["requestContext"]
        assert context["condition"] == "RetryAttemptsExhausted"
        assert context["approximateInvokeCount"] == history.retries + 1
        alike = [one for one in history.invocations if one.names == record["names"]]
        assert len(alike) <= history.retries + 1
        if not history.disturbed:
            assert len(alike) == history.retries + 1
        if history.bisect:
            assert len(record["names"]) == 1
    check_order(history)
    check_times(history)


def check_order(history: History) -> None:
    """Nothing is handed out while something of its key before it is not done with."""
    for key in KEYS:
        names = [name for name in history.written if name.startswith(f"{key}:")]
        for first, second in zip(names, names[1:], strict=False):
            with_first = [one for one in history.invocations if first in one.names]
            with_second = [one for one in history.invocations if second in one.names]
            alone = [one for one in with_second if first not in one.names]
            last = with_first[-1].number
            assert all(one.number > last for one in alone), (first, second)
            for one in with_second:
                if first in one.names:
                    assert one.names.index(first) < one.names.index(second)


def check_times(history: History) -> None:
    """The same batch comes again after half a second, then after one, and not much later."""
    seen: dict[tuple[str, ...], list[float]] = {}
    for one in history.invocations:
        seen.setdefault(tuple(one.names), []).append(one.when)
    for times in seen.values():
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        for number, gap in enumerate(gaps):
            assert gap >= 0.5 * 2**number * 0.9
            if not (history.disturbed or history.throttled):
                assert gap < 0.5 * 2**number + 40

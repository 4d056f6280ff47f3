"""What a poller reads shards from: one face for Kinesis data streams and DynamoDB streams.

Whether there is anything to read is asked of the stream itself; reading goes through the
stream's API with the function's role, so that permissions and metrics apply.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.localaws.change_streams import RETENTION_SECONDS, ChangeStream
from labkit.localaws.event_sources import records
from labkit.localaws.services.dynamodb_streams import position_since

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# Iterators are renewed before they expire (five minutes in Kinesis).
_ITERATOR_SECONDS = 240.0


@dataclass(frozen=True)
class StreamRecord:
    """A record read from a shard: its place, arrival (lab time), key and form in an event."""

    sequence: int
    arrived: float
    key: str
    event: dict[str, Any]
    size: int


@dataclass(frozen=True)
class ShardSummary:
    """One shard of a stream and the shards it took over from."""

    shard_id: str
    parents: tuple[str, ...] = ()


class ShardSource(ABC):
    """A stream behind an event source mapping. Positions are "after this sequence number"."""

    service: str
    # The member with the batch's place in the record for an on-failure destination.
    batch_info: str

    def __init__(self, aws: LocalAws, arn: str, role_arn: Callable[[], str]) -> None:
        self.aws = aws
        self.arn = arn
        self._role_arn = role_arn
        self._iterators: dict[str, tuple[int, float, str]] = {}

    @abstractmethod
    def identity(self) -> object:
        """What is another object once the stream was deleted and made again.

        Raises AwsError when there is no such stream.
        """

    @abstractmethod
    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have *listener* called when there is something new; returns how to stop it."""

    @abstractmethod
    def retention(self) -> float:
        """For how many seconds the stream keeps records."""

    @abstractmethod
    def shards(self, client: Any) -> list[ShardSummary]:
        """All shards, parents before children; raises botocore's ClientError."""

    @abstractmethod
    def since(self, shard_id: str, moment: float) -> int:
        """The position before the first record that arrived at or after *moment*."""

    @abstractmethod
    def more(self, shard_id: str, after: int) -> bool:
        """Whether the shard has records after a position."""

    @abstractmethod
    def closed(self, shard_id: str) -> bool:
        """Whether the shard takes no further records (or is gone)."""

    @abstractmethod
    def read(self, client: Any, shard_id: str, after: int, most: int) -> list[StreamRecord]:
        """Up to *most* records after a position; raises botocore's ClientError."""

    @staticmethod
    @abstractmethod
    def moment(when: float) -> str:
        """An arrival as the record for an on-failure destination has it."""


class KinesisSource(ShardSource):
    """A data stream, read by shared throughput, or by a registered consumer's own."""

    service = "kinesis"
    batch_info = "KinesisBatchInfo"

    def __init__(self, aws: LocalAws, arn: str, role_arn: Callable[[], str]) -> None:
        super().__init__(aws, arn, role_arn)
        self._stream_arn = arn.split("/consumer/")[0]
        self._layer = aws.layer("kinesis")

    def identity(self) -> object:
        return self._layer.stream(self._stream_arn)[1]

    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._layer.watch(self._stream_arn, listener)

    def retention(self) -> float:
        return self._layer.stream(self._stream_arn)[0].retention_period_hours * 3600.0

    def shards(self, client: Any) -> list[ShardSummary]:
        found: list[ShardSummary] = []
        params: dict[str, Any] = {"StreamARN": self._stream_arn}
        while True:
            answer = client.list_shards(**params)
            for shard in answer["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                known = tuple(parent for parent in parents if parent)
                found.append(ShardSummary(shard["ShardId"], known))
            if not answer.get("NextToken"):
                return found
            params = {"NextToken": answer["NextToken"]}

    def since(self, shard_id: str, moment: float) -> int:
        shard = self._shards()[shard_id]
        index = shard.since(moment)
        if index < len(shard.records):
            return shard.records[index].sequence - 1
        return shard.records[-1].sequence if shard.records else shard.opened

    def more(self, shard_id: str, after: int) -> bool:
        shard = self._shards().get(shard_id)
        return shard is not None and shard.after(after) < len(shard.records)

    def closed(self, shard_id: str) -> bool:
        shard = self._shards().get(shard_id)
        return shard is None or not shard.open

    def read(self, client: Any, shard_id: str, after: int, most: int) -> list[StreamRecord]:
        if self.arn != self._stream_arn:
            return self._subscribed(client, shard_id, after)
        where = {"StreamARN": self._stream_arn}
        now = self.aws.clock.now()
        position, made, iterator = self._iterators.get(shard_id, (-1, 0.0, ""))
        if position != after or now - made > _ITERATOR_SECONDS:
            iterator = client.get_shard_iterator(**where, ShardId=shard_id, **_start(after))[
                "ShardIterator"
            ]
        answer = client.get_records(**where, ShardIterator=iterator, Limit=most)
        found = self._records(answer["Records"], shard_id)
        if found and answer.get("NextShardIterator"):
            self._iterators[shard_id] = (found[-1].sequence, now, answer["NextShardIterator"])
        return found

    def _subscribed(self, client: Any, shard_id: str, after: int) -> list[StreamRecord]:
        start = _start(after)
        position = {"Type": start["ShardIteratorType"]}
        if after:
            position["SequenceNumber"] = start["StartingSequenceNumber"]
        answer = client.subscribe_to_shard(
            ConsumerARN=self.arn, ShardId=shard_id, StartingPosition=position
        )
        pushed = [
            record
            for event in answer["EventStream"]
            for record in event["SubscribeToShardEvent"]["Records"]
        ]
        return self._records(pushed, shard_id)

    def _records(self, answered: list[dict[str, Any]], shard_id: str) -> list[StreamRecord]:
        role_arn = self._role_arn() if answered else ""
        found: list[StreamRecord] = []
        for record in answered:
            event = records.kinesis_record(record, shard_id, self.arn, role_arn)
            found.append(
                StreamRecord(
                    int(record["SequenceNumber"]),
                    record["ApproximateArrivalTimestamp"].timestamp(),
                    record["PartitionKey"],
                    event,
                    len(records.payload_of(event)) + 1,
                )
            )
        return found

    def _shards(self) -> Any:
        return self._layer.stream(self._stream_arn)[1].shards

    @staticmethod
    def moment(when: float) -> str:
        return iso(when)


class TableSource(ShardSource):
    """The stream of a DynamoDB table."""

    service = "dynamodbstreams"
    batch_info = "DDBStreamBatchInfo"

    def __init__(self, aws: LocalAws, arn: str, role_arn: Callable[[], str]) -> None:
        super().__init__(aws, arn, role_arn)
        self._layer = aws.layer("dynamodbstreams")

    def identity(self) -> object:
        return self._stream()

    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._layer.watch(self.arn, listener)

    def retention(self) -> float:
        return RETENTION_SECONDS

    def shards(self, client: Any) -> list[ShardSummary]:
        found: list[ShardSummary] = []
        params: dict[str, Any] = {"StreamArn": self.arn}
        while True:
            description = client.describe_stream(**params)["StreamDescription"]
            for shard in description["Shards"]:
                parent = shard.get("ParentShardId")
                found.append(ShardSummary(shard["ShardId"], (parent,) if parent else ()))
            if not description.get("LastEvaluatedShardId"):
                return found
            params["ExclusiveStartShardId"] = description["LastEvaluatedShardId"]

    def since(self, shard_id: str, moment: float) -> int:
        return position_since(self._stream(), moment)

    def more(self, shard_id: str, after: int) -> bool:
        return bool(self._stream().read(after, 1))

    def closed(self, shard_id: str) -> bool:
        return self._stream().disabled is not None

    def read(self, client: Any, shard_id: str, after: int, most: int) -> list[StreamRecord]:
        stream = self._stream()
        # What was forgotten meanwhile can't be asked for.
        after = after if after >= stream.forgotten else 0
        now = self.aws.clock.now()
        position, made, iterator = self._iterators.get(shard_id, (-1, 0.0, ""))
        if position != after or now - made > _ITERATOR_SECONDS:
            start = {"ShardIteratorType": "TRIM_HORIZON"}
            if after:
                start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": str(after)}
            iterator = client.get_shard_iterator(StreamArn=self.arn, ShardId=shard_id, **start)[
                "ShardIterator"
            ]
        answer = client.get_records(ShardIterator=iterator, Limit=min(most, 1000))
        # The API tells times to the second; ages are measured by the stream's own.
        written = {str(one.sequence): one for one in stream.read(after, len(answer["Records"]))}
        found: list[StreamRecord] = []
        for record in answer["Records"]:
            kept = written.get(record["dynamodb"]["SequenceNumber"])
            if kept is None:
                continue  # Forgotten this very moment.
            event = records.dynamodb_record(record, self.arn)
            size = len(records.payload_of(event)) + 1
            found.append(StreamRecord(kept.sequence, kept.arrived, kept.partition, event, size))
        if found and answer.get("NextShardIterator"):
            self._iterators[shard_id] = (found[-1].sequence, now, answer["NextShardIterator"])
        return found

    def _stream(self) -> ChangeStream:
        return self._layer.stream(self.arn)

    @staticmethod
    def moment(when: float) -> str:
        return datetime.fromtimestamp(int(when), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso(when: float) -> str:
    """A moment with milliseconds, as Lambda's records have it."""
    moment = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _start(after: int) -> dict[str, str]:
    if not after:
        return {"ShardIteratorType": "TRIM_HORIZON"}
    return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(after)}

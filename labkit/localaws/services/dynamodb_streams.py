"""DynamoDB Streams: tables are moto's, streams and their records ours (``change_streams``).

Follows the DynamoDB API Reference, "Amazon DynamoDB Streams". moto records puts that change
nothing and updates of new items twice, keeps records for ever, writes to a stream that was
disabled, and knows one stream a table.
"""

from __future__ import annotations

import base64
import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import moto.backends

from labkit.localaws import moto_hooks
from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.change_streams import Change, ChangeStream, plain

ITERATOR_SECONDS = 900.0
GET_RECORDS_LIMIT = 1000
GET_RECORDS_BYTES = 1024 * 1024
DESCRIBE_LIMIT = 100


class TableShard:
    """What moto calls a table's stream shard: it takes changes until the call that makes them ends.

    moto copies tables, this included, before a transaction and puts the copy back when it fails:
    changes are therefore kept here, with the table, and published after the call.
    """

    def __init__(self, layer: DynamoDbStreamsLayer, table: Any, stream: ChangeStream) -> None:
        self._layer = layer
        self.table = table
        self.stream = stream
        self.pending: list[Change] = []

    def add(self, old: Any, new: Any) -> None:
        """Note that an item (moto's) changed; nothing is noted where nothing did."""
        if self.stream.disabled is not None:
            return
        before = plain(old.to_json()["Attributes"]) if old is not None else None
        after = plain(new.to_json()["Attributes"]) if new is not None else None
        if before == after:
            return
        image = after if before is None else before
        assert image is not None
        keys = {key["AttributeName"]: image[key["AttributeName"]] for key in self.table.schema}
        change = Change(keys, before, after, self._layer.now(), self._layer.expiring)
        # moto makes an updated item that was not there first, and updates it then.
        last = self.pending[-1] if self.pending else None
        if last is not None and last.keys == keys and last.name == change.name == "INSERT":
            self.pending.pop()
        self.pending.append(change)
        self._layer.changed(self.table)

    def __deepcopy__(self, memo: dict[int, Any]) -> TableShard:
        twin = TableShard(self._layer, copy.deepcopy(self.table, memo), self.stream)
        twin.pending = list(self.pending)
        return twin


class DynamoDbStreamsLayer(ServiceLayer):
    """The streams of all tables, and the four operations that read them."""

    service = "dynamodbstreams"

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        self._guard = threading.Lock()
        self._streams: dict[str, ChangeStream] = {}
        self._changed: set[tuple[str, str, str]] = set()
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self._thread = threading.local()
        moto_hooks.keep_table_streams(self.enable, self.disable)

    # -- for other parts of the local AWS ----------------------------------------------------

    def stream(self, arn: str) -> ChangeStream:
        """The stream with this ARN, everything written so far included.

        Raises ResourceNotFoundException.
        """
        self.publish()
        now = self.aws.clock.now()
        with self._guard:
            found = self._streams.get(arn)
            if found is not None and found.gone(now):
                del self._streams[arn]
                found = None
        if found is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Requested resource not found: Stream: {arn} not found",
            )
        found.trim(now)
        return found

    def watch(self, arn: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Have *listener* called whenever a stream has something new; returns how to stop it."""
        with self._guard:
            self._watchers.setdefault(arn, []).append(listener)

        def stop() -> None:
            with self._guard:
                if listener in self._watchers.get(arn, ()):
                    self._watchers[arn].remove(listener)

        return stop

    @contextmanager
    def by_time_to_live(self) -> Iterator[None]:
        """Within the block, deletions on this thread are those of Time to Live."""
        self._thread.expiring = True
        try:
            yield
        finally:
            self._thread.expiring = False

    @property
    def expiring(self) -> bool:
        """Whether this thread is deleting in the name of Time to Live."""
        return getattr(self._thread, "expiring", False)

    # -- for moto's tables -------------------------------------------------------------------

    def now(self) -> float:
        """Lab time."""
        return self.aws.clock.now()

    def enable(self, table: Any) -> TableShard:
        """Open a new stream for moto's *table* and return its shard."""
        stream = ChangeStream(
            table.table_arn,
            list(table.schema),
            table.stream_specification.get("StreamViewType", "NEW_AND_OLD_IMAGES"),
            self.now(),
        )
        table.latest_stream_label = stream.label
        arn = stream.arn
        with self._guard:
            self._streams[arn] = stream
        stream.listen(lambda: self._news(arn))
        return TableShard(self, table, stream)

    def disable(self, shard: TableShard) -> None:
        """Close the stream of a table that has none any more, or is deleted."""
        shard.stream.append(shard.pending)
        shard.pending = []
        shard.stream.disable(self.now())

    def changed(self, table: Any) -> None:
        """Have what *table* noted published once the call that changes it has ended."""
        with self._guard:
            key = (table.account_id, table.region_name, table.name)
            if key in self._changed:
                return
            self._changed.add(key)
        self.aws.activity.submit(self.publish, name="changes of a table")

    def publish(self) -> None:
        """Put into the streams whatever tables have noted."""
        with self._guard:
            changed, self._changed = self._changed, set()
        for account_id, region, name in sorted(changed):
            # The lock is held by whoever is changing the table.
            with self.aws.lock("dynamodb", account_id):
                # Tables are moto's; a transaction that failed has put another object in place.
                tables = moto.backends.get_backend("dynamodb")[account_id][region].tables
                shard = getattr(tables.get(name), "stream_shard", None)
                if not isinstance(shard, TableShard):
                    continue
                changes, shard.pending = shard.pending, []
            if changes:
                shard.stream.append(changes)

    def _news(self, arn: str) -> None:
        for listener in list(self._watchers.get(arn, ())):
            listener()

    # -- operations --------------------------------------------------------------------------

    def ListStreams(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The streams of one table or of all, those disabled within the last day included."""
        params = call.params
        most = _limit(params, DESCRIBE_LIMIT)
        now = self.aws.clock.now()
        with self._guard:
            streams = sorted(self._streams.items())
        found = [
            stream
            for arn, stream in streams
            if arn.split(":")[3:5] == [call.region, call.account_id]
            and not stream.gone(now)
            and params.get("TableName") in (None, stream.table_name)
            and arn > params.get("ExclusiveStartStreamArn", "")
        ]
        answer: dict[str, Any] = {
            "Streams": [
                {
                    "StreamArn": stream.arn,
                    "TableName": stream.table_name,
                    "StreamLabel": stream.label,
                }
                for stream in found[:most]
            ]
        }
        if len(found) > most:
            answer["LastEvaluatedStreamArn"] = found[most - 1].arn
        return answer

    def DescribeStream(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The stream with its shard."""
        params = call.params
        stream = self.stream(params["StreamArn"])
        _limit(params, DESCRIBE_LIMIT)
        sequences = {"StartingSequenceNumber": str(stream.first_sequence)}
        if stream.last_sequence is not None:
            sequences["EndingSequenceNumber"] = str(stream.last_sequence)
        shards = [{"ShardId": stream.shard_id, "SequenceNumberRange": sequences}]
        children_only = (params.get("ShardFilter") or {}).get("Type") == "CHILD_SHARDS"
        if children_only or stream.shard_id <= params.get("ExclusiveStartShardId", ""):
            shards = []
        return {
            "StreamDescription": {
                "StreamArn": stream.arn,
                "StreamLabel": stream.label,
                "StreamStatus": "ENABLED" if stream.disabled is None else "DISABLED",
                "StreamViewType": stream.view_type,
                "CreationRequestDateTime": datetime.fromtimestamp(stream.created, UTC),
                "TableName": stream.table_name,
                "KeySchema": stream.key_schema,
                "Shards": shards,
            }
        }

    def GetShardIterator(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A position in the shard, good for fifteen minutes."""
        params = call.params
        stream = self.stream(params["StreamArn"])
        if params["ShardId"] != stream.shard_id:
            raise AwsError(
                "ResourceNotFoundException",
                "Requested resource not found: Shard does not exist",
            )
        kind = params["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            after = 0
        elif kind == "LATEST":
            after = _tip(stream)
        elif kind == "AT_TIMESTAMP":
            if "Timestamp" not in params:
                raise _invalid("Timestamp is required for AT_TIMESTAMP")
            after = position_since(stream, _seconds(params["Timestamp"]))
        else:
            text = params.get("SequenceNumber")
            if not text:
                raise _invalid(
                    "One or more parameter values were invalid: SequenceNumber is required for "
                    f"shard iterator type {kind}"
                )
            if not text.isdigit():
                raise _invalid(f"Invalid SequenceNumber: {text}")
            after = int(text) - (kind == "AT_SEQUENCE_NUMBER")
            _check_kept(stream, after)
        return {"ShardIterator": self._iterator(stream, after)}

    def GetRecords(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Records from the iterator's position, and the iterator to go on with."""
        most = _limit(call.params, GET_RECORDS_LIMIT)
        arn, after = self._position(call.params["ShardIterator"])
        stream = self.stream(arn)
        if after:
            _check_kept(stream, after)
        taken: list[dict[str, Any]] = []
        size = 0
        for record in stream.read(after, most):
            size += record.shown["dynamodb"]["SizeBytes"]
            if taken and size > GET_RECORDS_BYTES:
                break
            taken.append(dict(record.shown))
            after = record.sequence
        answer: dict[str, Any] = {"Records": taken}
        if stream.disabled is None or stream.read(after, 1):
            answer["NextShardIterator"] = self._iterator(stream, after)
        return answer

    def _iterator(self, stream: ChangeStream, after: int) -> str:
        position = json.dumps([str(after), self.aws.clock.now()]).encode()
        return f"{stream.arn}|1|{base64.b64encode(position).decode()}"

    def _position(self, iterator: str) -> tuple[str, int]:
        try:
            arn, _, position = iterator.split("|")
            after, made = json.loads(base64.b64decode(position))
        except (ValueError, TypeError):
            raise _invalid("Invalid ShardIterator") from None
        if self.aws.clock.now() - made > ITERATOR_SECONDS:
            raise AwsError(
                "ExpiredIteratorException",
                "The provided iterator exceeds the maximum age allowed.",
            )
        return arn, int(after)


def position_since(stream: ChangeStream, moment: float) -> int:
    """The sequence number just before the first record written at or after *moment*."""
    index = stream.since(moment)
    return stream.records[index].sequence - 1 if index < len(stream.records) else _tip(stream)


def _tip(stream: ChangeStream) -> int:
    return stream.records[-1].sequence if stream.records else stream.first_sequence


def _check_kept(stream: ChangeStream, after: int) -> None:
    """Refuse a position from which records have been forgotten."""
    if after < stream.forgotten:
        raise AwsError(
            "TrimmedDataAccessException",
            "The operation attempted to read past the oldest stream record in a shard.",
        )


def _limit(params: dict[str, Any], most: int) -> int:
    limit = params.get("Limit", most)
    if not 1 <= limit <= most:
        relation, bound = ("greater", 1) if limit < 1 else ("less", most)
        raise _invalid(
            f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy "
            f"constraint: Member must have value {relation} than or equal to {bound}"
        )
    return limit


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _seconds(moment: Any) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)

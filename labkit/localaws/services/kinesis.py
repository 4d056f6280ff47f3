"""Kinesis Data Streams: streams are moto's, shards and records ours (``labkit.localaws.streams``).

Follows the Kinesis Data Streams API Reference. moto moves a shard's records when it is split,
numbers records from one in every shard and never throttles.
"""

from __future__ import annotations

import base64
import functools
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import moto.backends

from labkit.localaws.call import AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.streams import (
    HASH_KEYS,
    NotEligible,
    Record,
    RecordStream,
    Shard,
    ThroughputExceeded,
)

ITERATOR_SECONDS = 300.0
GET_RECORDS_LIMIT = 10_000
GET_RECORDS_BYTES = 10 * 1024 * 1024
PUT_RECORDS_LIMIT = 500
DEFAULT_RECORD_BYTES = 1024 * 1024


class KinesisLayer(ServiceLayer):
    """The data plane of Kinesis: records in shards, iterators, resharding."""

    service = "kinesis"

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        self._guard = threading.Lock()
        self._streams: dict[str, tuple[Any, RecordStream]] = {}
        self._record_bytes: dict[str, int] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    # -- for other parts of the local AWS ----------------------------------------------------

    def stream(self, arn: str) -> tuple[Any, RecordStream]:
        """moto's stream (name, mode, retention, consumers) and our shards for a stream ARN.

        Raises ResourceNotFoundException.
        """
        _, _, _, region, account_id, rest = arn.split(":", 5)
        name = rest.split("/")[1]
        found = moto.backends.get_backend("kinesis")[account_id][region].streams.get(name)
        if found is None:
            raise AwsError(
                "ResourceNotFoundException", f"Stream {name} under account {account_id} not found."
            )
        now = self.aws.clock.now()
        with self._guard:
            known = self._streams.get(arn)
            # A stream deleted and made again under its name starts empty.
            if known is None or known[0] is not found:
                known = (found, RecordStream(found.shard_count or 1, now))
                known[1].listen(functools.partial(self._news, arn))
                self._streams[arn] = known
        known[1].trim(now, found.retention_period_hours * 3600.0)
        return known

    def watch(self, arn: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Have *listener* called whenever a stream of this ARN has something new.

        Also when the stream does not exist yet, or is deleted and made again. Returns how to stop.
        """
        with self._guard:
            self._watchers.setdefault(arn, []).append(listener)

        def stop() -> None:
            with self._guard:
                if listener in self._watchers.get(arn, ()):
                    self._watchers[arn].remove(listener)

        return stop

    def _news(self, arn: str) -> None:
        for listener in list(self._watchers.get(arn, ())):
            listener()

    # -- writing -----------------------------------------------------------------------------

    def PutRecord(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The shard and sequence number the record got."""
        params = call.params
        arn = self._arn(call)
        found, stream = self.stream(arn)
        self._check_record(arn, params)
        try:
            shard, record = stream.put(
                params["PartitionKey"], _data(params), self.aws.clock.now(), _hash_key(params)
            )
        except ThroughputExceeded as exceeded:
            raise AwsError(
                "ProvisionedThroughputExceededException", _rate_message(found, exceeded.shard_id)
            ) from None
        return {"ShardId": shard.shard_id, "SequenceNumber": str(record.sequence)}

    def PutRecords(self, call: Call, forward: Forward) -> dict[str, Any]:
        """For each record its shard and sequence number, or why it was not taken."""
        entries = call.params.get("Records") or []
        arn = self._arn(call)
        found, stream = self.stream(arn)
        if not 1 <= len(entries) <= PUT_RECORDS_LIMIT:
            relation = "greater" if not entries else "less"
            bound = 1 if not entries else PUT_RECORDS_LIMIT
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value at 'records' failed to satisfy constraint: "
                f"Member must have length {relation} than or equal to {bound}",
            )
        for number, entry in enumerate(entries, 1):
            self._check_record(arn, entry, f"records.{number}.member.data")
        total = sum(len(_data(entry)) + len(entry["PartitionKey"].encode()) for entry in entries)
        if total > 10 * 1024 * 1024:
            raise AwsError(
                "InvalidArgumentException", "Records size exceeds 10 MB limit",
            )
        results: list[dict[str, Any]] = []
        for entry in entries:
            try:
                shard, record = stream.put(
                    entry["PartitionKey"], _data(entry), self.aws.clock.now(), _hash_key(entry)
                )
                results.append(
                    {"SequenceNumber": str(record.sequence), "ShardId": shard.shard_id}
                )
            except ThroughputExceeded as exceeded:
                results.append(
                    {
                        "ErrorCode": "ProvisionedThroughputExceededException",
                        "ErrorMessage": _rate_message(found, exceeded.shard_id),
                    }
                )
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedRecordCount": failed, "Records": results}

    def UpdateMaxRecordSize(self, call: Call, forward: Forward) -> None:
        """Nothing; records of the stream may be as large from now on."""
        arn = self._arn(call)
        self.stream(arn)
        size = call.params["MaxRecordSizeInKiB"]
        if not 1024 <= size <= 10_240:
            raise AwsError("ValidationException", "MaxRecordSizeInKiB is not from 1024 to 10240")
        self._record_bytes[arn] = size * 1024

    def _check_record(
        self, arn: str, params: dict[str, Any], where: str = "data"
    ) -> None:
        key = params.get("PartitionKey", "")
        if not 1 <= len(key) <= 256:
            relation, bound = ("greater", 1) if not key else ("less", 256)
            shown = where.replace("data", "partitionKey")
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{key}' at '{shown}' failed to satisfy "
                f"constraint: Member must have length {relation} than or equal to {bound}",
            )
        limit = self._record_bytes.get(arn, DEFAULT_RECORD_BYTES)
        if len(_data(params)) > limit:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
                f"Member must have length less than or equal to {limit}",
            )
        hash_key = params.get("ExplicitHashKey")
        if hash_key is not None and not (hash_key.isdigit() and int(hash_key) < HASH_KEYS):
            raise AwsError(
                "InvalidArgumentException",
                f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "
                f"Specified value was {hash_key}",
            )

    # -- reading -----------------------------------------------------------------------------

    def GetShardIterator(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A position in one shard, good for five minutes."""
        params = call.params
        arn = self._arn(call)
        found, stream = self.stream(arn)
        shard = self._shard(found, stream, params["ShardId"])
        kind = params["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            after = 0
        elif kind == "LATEST":
            after = shard.records[-1].sequence if shard.records else shard.opened
        elif kind == "AT_TIMESTAMP":
            if "Timestamp" not in params:
                raise _invalid("Must either specify timestamp or not use AT_TIMESTAMP.")
            after = self._before(shard, shard.since(_seconds(params["Timestamp"])))
        else:
            if not params.get("StartingSequenceNumber", "").isdigit():
                raise _invalid(
                    f"Invalid StartingSequenceNumber for ShardIteratorType {kind}."
                )
            sequence = int(params["StartingSequenceNumber"])
            after = sequence - 1 if kind == "AT_SEQUENCE_NUMBER" else sequence
        return {"ShardIterator": self._iterator(arn, shard.shard_id, after)}

    def GetRecords(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Records from the iterator's position, and the iterator to go on with."""
        params = call.params
        limit = params.get("Limit", GET_RECORDS_LIMIT)
        if not 1 <= limit <= GET_RECORDS_LIMIT:
            relation, bound = ("greater", 1) if limit < 1 else ("less", GET_RECORDS_LIMIT)
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy "
                f"constraint: Member must have value {relation} than or equal to {bound}",
            )
        arn, shard_id, after = self._position(params["ShardIterator"])
        # The request itself names no stream; the metrics have to.
        call.notes["stream_name"] = arn.rpartition("/")[2]
        _, stream = self.stream(arn)
        return self.read(arn, stream, stream.shards[shard_id], after, limit)

    def read(
        self, arn: str, stream: RecordStream, shard: Shard, after: int, limit: int
    ) -> dict[str, Any]:
        """A GetRecords answer for the records after a sequence number."""
        taken = stream.read(shard.shard_id, shard.after(after), limit, GET_RECORDS_BYTES)
        last = taken[-1].sequence if taken else after
        behind = 0.0
        upcoming = shard.after(last)
        if upcoming < len(shard.records):
            behind = max(0.0, self.aws.clock.now() - shard.records[upcoming].arrived)
        answer: dict[str, Any] = {
            "Records": [shown(record) for record in taken],
            "MillisBehindLatest": int(behind * 1000),
        }
        if shard.open or upcoming < len(shard.records):
            answer["NextShardIterator"] = self._iterator(arn, shard.shard_id, last)
        else:
            answer["ChildShards"] = [_child(child) for child in stream.children(shard.shard_id)]
        return answer

    def SubscribeToShard(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What is in the shard now, as one push of a registered consumer's subscription."""
        consumer_arn = call.params["ConsumerARN"]
        arn = consumer_arn.split("/consumer/")[0]
        found, stream = self.stream(arn)
        if found.get_consumer_by_arn(consumer_arn) is None:
            raise AwsError(
                "ResourceNotFoundException", f"Consumer {consumer_arn} not found."
            )
        shard = self._shard(found, stream, call.params["ShardId"])
        start = call.params["StartingPosition"]
        kind = start["Type"]
        if kind == "TRIM_HORIZON":
            after = 0
        elif kind == "LATEST":
            after = shard.records[-1].sequence if shard.records else shard.opened
        elif kind == "AT_TIMESTAMP":
            after = self._before(shard, shard.since(_seconds(start["Timestamp"])))
        else:
            after = int(start["SequenceNumber"]) - (kind == "AT_SEQUENCE_NUMBER")
        read = self.read(arn, stream, shard, after, GET_RECORDS_LIMIT)
        event = {
            "Records": read["Records"],
            "ContinuationSequenceNumber": read["Records"][-1]["SequenceNumber"]
            if read["Records"]
            else str(max(after, shard.opened)),
            "MillisBehindLatest": read["MillisBehindLatest"],
        }
        if "ChildShards" in read:
            event["ChildShards"] = read["ChildShards"]
        return {"EventStream": [{"SubscribeToShardEvent": event}]}

    def _iterator(self, arn: str, shard_id: str, after: int) -> str:
        position = [arn, shard_id, str(after), self.aws.clock.now()]
        return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()

    def _position(self, iterator: str) -> tuple[str, str, int]:
        try:
            arn, shard_id, after, made = json.loads(base64.urlsafe_b64decode(iterator))
        except (ValueError, TypeError):
            raise _invalid("Invalid ShardIterator.") from None
        now = self.aws.clock.now()
        if now - made > ITERATOR_SECONDS:
            raise AwsError(
                "ExpiredIteratorException",
                f"Iterator expired. The iterator was created at time {_date(made)} while right "
                f"now it is {_date(now)} which is further in the future than the tolerated delay "
                f"of {int(ITERATOR_SECONDS * 1000)} milliseconds.",
            )
        return arn, shard_id, int(after)

    @staticmethod
    def _before(shard: Shard, index: int) -> int:
        """The sequence number just before the record at *index*."""
        if index < len(shard.records):
            return shard.records[index].sequence - 1
        return shard.records[-1].sequence if shard.records else shard.opened

    # -- shards ------------------------------------------------------------------------------

    def SplitShard(self, call: Call, forward: Forward) -> None:
        """Nothing; the shard is closed and has two children."""
        found, stream = self.stream(self._arn(call))
        shard = self._shard(found, stream, call.params["ShardToSplit"])
        try:
            stream.split(
                shard.shard_id, int(call.params["NewStartingHashKey"]), self.aws.clock.now()
            )
        except NotEligible as problem:
            raise _invalid(str(problem)) from None

    def MergeShards(self, call: Call, forward: Forward) -> None:
        """Nothing; both shards are closed and have one child."""
        found, stream = self.stream(self._arn(call))
        one = self._shard(found, stream, call.params["ShardToMerge"])
        other = self._shard(found, stream, call.params["AdjacentShardToMerge"])
        try:
            stream.merge(one.shard_id, other.shard_id, self.aws.clock.now())
        except NotEligible as problem:
            raise _invalid(str(problem)) from None

    def UpdateShardCount(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The counts before and after; at most double and at least half of what there is."""
        arn = self._arn(call)
        found, stream = self.stream(arn)
        current, target = len(stream.open_shards()), call.params["TargetShardCount"]
        if target > 2 * current or target * 2 < current:
            raise AwsError(
                "LimitExceededException" if target > 2 * current else "InvalidArgumentException",
                f"UpdateShardCount cannot scale {'up over double' if target > current else 'down below half'} "
                f"your current open shard count. Current open shard count: {current}, Target "
                f"shard count: {target}",
            )
        stream.reshard(target, self.aws.clock.now())
        return {
            "StreamName": found.stream_name,
            "CurrentShardCount": current,
            "TargetShardCount": target,
            "StreamARN": arn,
        }

    def ListShards(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The shards, closed ones with records included, a thousand at most at a time."""
        params = call.params
        start = params.get("ExclusiveStartShardId", "")
        if params.get("NextToken"):
            try:
                arn, start = json.loads(base64.urlsafe_b64decode(params["NextToken"]))
            except (ValueError, TypeError):
                raise _invalid("Invalid NextToken.") from None
        else:
            arn = self._arn(call)
        _, stream = self.stream(arn)
        shards = [s for s in stream.shards.values() if s.shard_id > start]
        kind = (params.get("ShardFilter") or {}).get("Type")
        if kind in ("AT_LATEST",):
            shards = [s for s in shards if s.open]
        most = params.get("MaxResults", 1000)
        answer: dict[str, Any] = {"Shards": [_shard(s) for s in shards[:most]]}
        if len(shards) > most:
            token = json.dumps([arn, shards[most - 1].shard_id]).encode()
            answer["NextToken"] = base64.urlsafe_b64encode(token).decode()
        return answer

    def DescribeStream(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """The stream with its shards as they are."""
        reply = forward()
        if not reply.ok:
            return reply
        _, stream = self.stream(self._arn(call))
        description = reply.parsed()["StreamDescription"]
        start = call.params.get("ExclusiveStartShardId", "")
        shards = [s for s in stream.shards.values() if s.shard_id > start]
        most = call.params.get("Limit", 100)
        description["Shards"] = [_shard(shard) for shard in shards[:most]]
        description["HasMoreShards"] = len(shards) > most
        return {"StreamDescription": description}

    def DescribeStreamSummary(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """The stream without its shards, but with how many are open."""
        reply = forward()
        if not reply.ok:
            return reply
        arn = self._arn(call)
        _, stream = self.stream(arn)
        summary = reply.parsed()["StreamDescriptionSummary"]
        summary["OpenShardCount"] = len(stream.open_shards())
        summary["MaxRecordSizeInKiB"] = self._record_bytes.get(arn, DEFAULT_RECORD_BYTES) // 1024
        return {"StreamDescriptionSummary": summary}

    def _shard(self, found: Any, stream: RecordStream, shard_id: str) -> Shard:
        shard = stream.shards.get(shard_id)
        if shard is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Shard {shard_id} in stream {found.stream_name} under account "
                f"{found.account_id} does not exist",
            )
        return shard

    def _arn(self, call: Call) -> str:
        arn = call.params.get("StreamARN")
        if arn:
            return arn
        name = call.params.get("StreamName")
        if not name:
            raise _invalid("Either StreamName or StreamARN must be provided.")
        return f"arn:aws:kinesis:{call.region}:{call.account_id}:stream/{name}"


def shown(record: Record) -> dict[str, Any]:
    """A record as GetRecords shows it."""
    return {
        "SequenceNumber": str(record.sequence),
        "ApproximateArrivalTimestamp": datetime.fromtimestamp(record.arrived, UTC),
        "Data": record.data,
        "PartitionKey": record.partition_key,
    }


def _shard(shard: Shard) -> dict[str, Any]:
    sequences = {"StartingSequenceNumber": str(shard.opened)}
    if shard.closed is not None:
        sequences["EndingSequenceNumber"] = str(shard.closed)
    view: dict[str, Any] = {
        "ShardId": shard.shard_id,
        "HashKeyRange": {
            "StartingHashKey": str(shard.first_hash),
            "EndingHashKey": str(shard.last_hash),
        },
        "SequenceNumberRange": sequences,
    }
    if shard.parent:
        view["ParentShardId"] = shard.parent
    if shard.adjacent_parent:
        view["AdjacentParentShardId"] = shard.adjacent_parent
    return view


def _child(shard: Shard) -> dict[str, Any]:
    view = _shard(shard)
    return {
        "ShardId": view["ShardId"],
        "ParentShards": [p for p in (shard.parent, shard.adjacent_parent) if p],
        "HashKeyRange": view["HashKeyRange"],
    }


def _data(params: dict[str, Any]) -> bytes:
    data = params.get("Data", b"")
    return data.encode() if isinstance(data, str) else bytes(data)


def _hash_key(params: dict[str, Any]) -> int | None:
    key = params.get("ExplicitHashKey")
    return None if key is None else int(key)


def _seconds(moment: Any) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def _rate_message(found: Any, shard_id: str) -> str:
    return (
        f"Rate exceeded for shard {shard_id} in stream {found.stream_name} under account "
        f"{found.account_id}."
    )


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidArgumentException", message)


def _date(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")

"""Proofs on Kinesis Data Streams: keys and shards, limits, iterators, retention, resharding."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of


def _shards(kinesis, stream: str) -> list[dict]:
    return kinesis.list_shards(StreamName=stream)["Shards"]


def _read(kinesis, stream: str, shard: str, kind: str = "TRIM_HORIZON", **more) -> list[str]:
    """The records of one shard from an iterator of this kind on, as texts."""
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType=kind, **more
    )["ShardIterator"]
    return [r["Data"].decode() for r in kinesis.get_records(ShardIterator=iterator)["Records"]]


def _put(kinesis, stream: str, key: str, data: str) -> str:
    """Puts one record; the id of the shard that took it."""
    return kinesis.put_record(StreamName=stream, PartitionKey=key, Data=data.encode())["ShardId"]


def order_per_key(aws: Bench) -> Observations:
    """kinesis-01: one key, one shard, in the order of writing."""
    kinesis, see = aws.client("kinesis"), Observations()
    stream = aws.stream("positions", shards=3)
    by_vehicle = {_put(kinesis, stream, "truck-7", f"position {n}") for n in range(5)}
    see("Shards that truck-7's records went to", len(by_vehicle), 1, supports="vehicle-key")
    found = _read(kinesis, stream, by_vehicle.pop())
    see(
        "Read back",
        found,
        [f"position {n}" for n in range(5)],
        supports="vehicle-key",
    )
    at_random = {_put(kinesis, stream, f"key-{n}", "position") for n in range(30)}
    see("Shards with 30 different keys", len(at_random), 3, refutes="random-key")
    ids = [shard["ShardId"] for shard in _shards(kinesis, stream)]
    addressed = [_put(kinesis, stream, shard, "position") == shard for shard in ids]
    see("Shard ids used as keys reach that shard", all(addressed), False, refutes="shard-key")
    return see


def partial_failure(aws: Bench) -> Observations:
    """kinesis-02: PutRecords succeeds as a call although single records were refused."""
    kinesis, see = aws.client("kinesis"), Observations()
    stream = aws.stream("busy")
    records = [{"Data": b"x" * 600_000, "PartitionKey": "k"} for _ in range(4)]
    answer = kinesis.put_records(StreamName=stream, Records=records)
    see("HTTP status of 2.4 MB to one shard", answer["ResponseMetadata"]["HTTPStatusCode"], 200)
    see(
        "FailedRecordCount",
        answer["FailedRecordCount"],
        lambda count: 0 < count < 4,
        supports="failed-count",
    )
    codes = {record["ErrorCode"] for record in answer["Records"] if "ErrorCode" in record}
    see("Their error code", codes, {"ProvisionedThroughputExceededException"})
    aws.clock.advance(seconds=2)
    again = [r for r, done in zip(records, answer["Records"], strict=True) if "ErrorCode" in done]
    see(
        "Failed when only these are sent again, a moment later",
        kinesis.put_records(StreamName=stream, Records=again[:1])["FailedRecordCount"],
        0,
        supports="failed-count",
    )
    small = [{"Data": b"x", "PartitionKey": "k"}]
    aws.clock.advance(seconds=2)
    see(
        "500 records in one call, failed",
        kinesis.put_records(StreamName=stream, Records=small * 500)["FailedRecordCount"],
        0,
        refutes="too-many",
    )
    see(
        "501 records in one call",
        error_of(kinesis.put_records, StreamName=stream, Records=small * 501),
        lambda code: code != "no error",
        refutes="too-many",
    )
    return see


def hot_shard(aws: Bench) -> Observations:
    """kinesis-03: a constant key loads one shard, however many there are."""
    kinesis, see = aws.client("kinesis"), Observations()
    stream = aws.stream("clicks", shards=4)
    by_country = {_put(kinesis, stream, "DE", "click") for _ in range(40)}
    see("Shards used with the country as key", len(by_country), 1, refutes="split-all")
    answer = kinesis.put_records(
        StreamName=stream, Records=[{"Data": b"click", "PartitionKey": "DE"}] * 40
    )
    used = {record["ShardId"] for record in answer["Records"]}
    see("The same in one batch", len(used), 1, refutes="larger-batches")
    by_click = {_put(kinesis, stream, f"click-{n}", "click") for n in range(40)}
    see("Shards used with the click's id", len(by_click), 4, supports="click-id")
    return see


def shard_limit(aws: Bench) -> Observations:
    """kinesis-04: a shard takes 1 MiB a second; waiting helps, and so do more shards."""
    kinesis, see = aws.client("kinesis"), Observations()
    one, four = aws.stream("one"), aws.stream("four", shards=4)
    half = "x" * 700_000
    kinesis.increase_stream_retention_period(StreamName=one, RetentionPeriodHours=48)
    _put(kinesis, one, "k", half)
    once_only = aws.client("kinesis", config=_no_retries())
    record = {"PartitionKey": "k", "Data": half.encode()}
    see(
        "1.4 MB within a second to one shard, retention raised",
        error_of(once_only.put_record, StreamName=one, **record),
        "ProvisionedThroughputExceededException",
        refutes="retention",
    )
    aws.clock.advance(seconds=2)
    see(
        "The same record two seconds later",
        error_of(once_only.put_record, StreamName=one, **record),
        "no error",
        supports="backoff",
    )
    answer = kinesis.put_records(
        StreamName=four,
        Records=[{"PartitionKey": key, "Data": half.encode()} for key in _spread(kinesis, four)],
    )
    see(
        "Failed of 2.8 MB within a second to four shards",
        answer["FailedRecordCount"],
        0,
        supports="more-shards",
    )
    return see


def _no_retries():
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1})


def _spread(kinesis, stream: str) -> list[str]:
    """One partition key for each shard of *stream*."""
    found: dict[str, str] = {}
    for number in range(200):
        found.setdefault(_put(kinesis, stream, f"key-{number}", "-"), f"key-{number}")
    return list(found.values())


def iterator_types(aws: Bench) -> Observations:
    """kinesis-05: TRIM_HORIZON starts at the oldest record, LATEST behind the newest."""
    kinesis, see = aws.client("kinesis"), Observations()
    stream = aws.stream("events")
    last = None
    for text in ("old 1", "old 2"):
        last = kinesis.put_record(StreamName=stream, PartitionKey="k", Data=text.encode())
    shard, number = last["ShardId"], last["SequenceNumber"]
    latest = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="LATEST"
    )["ShardIterator"]
    _put(kinesis, stream, "k", "new")
    see(
        "TRIM_HORIZON",
        _read(kinesis, stream, shard),
        ["old 1", "old 2", "new"],
        supports="trim-horizon",
    )
    found = [r["Data"].decode() for r in kinesis.get_records(ShardIterator=latest)["Records"]]
    see("LATEST", found, ["new"], refutes="latest")
    behind = _read(kinesis, stream, shard, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number)
    see("AFTER_SEQUENCE_NUMBER of old 2", behind, ["new"], refutes="after-sequence")
    aws.clock.advance(seconds=2)
    now = _read(kinesis, stream, shard, "AT_TIMESTAMP", Timestamp=aws.clock.now())
    see("AT_TIMESTAMP of now", now, [], refutes="at-timestamp")
    return see


def many_readers(aws: Bench) -> Observations:
    """kinesis-07: reading leaves the records in the stream, deleting from a queue does not."""
    kinesis, sqs, see = aws.client("kinesis"), aws.client("sqs"), Observations()
    stream = aws.stream("clicks")
    shard = _put(kinesis, stream, "user", "click 1")
    _put(kinesis, stream, "user", "click 2")
    for reader in ("first application", "second application", "first application, once more"):
        found = _read(kinesis, stream, shard)
        see(f"The {reader} reads", found, ["click 1", "click 2"], supports="kinesis")
    aws.clock.advance(hours=12)
    see(
        "Twelve hours later",
        _read(kinesis, stream, shard),
        ["click 1", "click 2"],
        supports="kinesis",
    )
    for kind, more in (
        ("sqs-standard", {}),
        ("sqs-fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"}),
    ):
        queue = aws.queue("clicks.fifo" if more else "clicks", **more)
        group = {"MessageGroupId": "user"} if more else {}
        sqs.send_message(QueueUrl=queue, MessageBody="click 1", **group)
        read = [message["Body"] for message in aws.messages(queue, at_least=1)]
        see(f"{kind}: processed", read, ["click 1"])
        aws.clock.advance(minutes=1)
        see(f"{kind}: to process again", aws.messages(queue), [], refutes=kind)
    return see


def retention(aws: Bench) -> Observations:
    """kinesis-08: records are kept for a day by default, for longer when asked."""
    kinesis, see = aws.client("kinesis"), Observations()
    kept, lost = aws.stream("kept"), aws.stream("lost", shards=2)
    kinesis.increase_stream_retention_period(StreamName=kept, RetentionPeriodHours=168)
    default = kinesis.describe_stream_summary(StreamName=lost)["StreamDescriptionSummary"]
    see("Hours of retention by default", default["RetentionPeriodHours"], 24)
    shards = {name: _put(kinesis, name, "k", "friday") for name in (kept, lost)}
    aws.clock.advance(hours=60)
    see(
        "After 60 hours, 168 h of retention",
        _read(kinesis, kept, shards[kept]),
        ["friday"],
        supports="retention",
    )
    see(
        "After 60 hours, two shards and defaults",
        _read(kinesis, lost, shards[lost]),
        [],
        refutes="more-shards",
    )
    latest = _read(kinesis, kept, shards[kept], "LATEST")
    see("The kept stream from LATEST", latest, [], refutes="latest")
    return see


def split_shard(aws: Bench) -> Observations:
    """kinesis-09: a split closes the parent, which keeps its records; children take the new ones."""
    kinesis, see = aws.client("kinesis"), Observations()
    stream = aws.stream("growing")
    parent = _put(kinesis, stream, "k", "before")
    span = _shards(kinesis, stream)[0]["HashKeyRange"]
    kinesis.split_shard(
        StreamName=stream,
        ShardToSplit=parent,
        NewStartingHashKey=str(int(span["EndingHashKey"]) // 2),
    )
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    child = _put(kinesis, stream, "k", "after")
    shards = {shard["ShardId"]: shard for shard in _shards(kinesis, stream)}
    closed = "EndingSequenceNumber" in shards[parent]["SequenceNumberRange"]
    see("The parent is closed", closed, True)
    see("The new record's shard is its child", shards[child].get("ParentShardId"), parent)
    see("In the child", _read(kinesis, stream, child), ["after"], refutes="children-only")
    order = _read(kinesis, stream, parent) + _read(kinesis, stream, child)
    see("Parent first, then child", order, ["before", "after"], supports="parent-first")
    latest = _read(kinesis, stream, parent, "LATEST")
    see("LATEST of the closed parent", latest, [], refutes="restart")
    return see

"""The exercises of notebook 06: keep longer, know the shard, read from a moment on."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, NotYet, Wrong, expect
from labkit.waiting import until

_KEYS = ("customer-7", "NB06-1", "Müller")


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 06, and OrdersStream with a retention period of one day."""
    kinesis, names = lab.client("kinesis"), lab.names
    if _retention(lab) > 24:
        kinesis.decrease_stream_retention_period(StreamName=names.stream, RetentionPeriodHours=24)
        kinesis.get_waiter("stream_exists").wait(StreamName=names.stream)

    def read(kind, stream=names.stream, shard="shardId-000000000000", **more):
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard, ShardIteratorType=kind, **more
        )["ShardIterator"]
        return kinesis.get_records(ShardIterator=iterator)

    return {"lab": lab, "names": names, "kinesis": kinesis, "read": read}


def keeps_three_days(lab: Lab) -> str:
    """Whether OrdersStream keeps its records for three days."""
    hours = _retention(lab)
    expect(
        hours == 72,
        "a retention period of 72 hours (three days)",
        f"{hours} hours",
        f"RetentionPeriodHours of {lab.names.stream}",
    )
    return f"{lab.names.stream} keeps a record for {hours} hours."


def hashes_as_kinesis(lab: Lab, hash_key: Callable[[str], Any]) -> str:
    """Whether ``hash_key(partition_key)`` computes what Kinesis computes."""
    _function(hash_key, "hash_key")
    for key in _KEYS:
        found, right = hash_key(key), int(hashlib.md5(key.encode()).hexdigest(), 16)
        expect(
            isinstance(found, int) and not isinstance(found, bool),
            f"a whole number for {key!r}",
            "None" if found is None else f"{type(found).__name__} {found!r}",
            "int(text, 16), which reads hexadecimal digits",
        )
        expect(found == right, f"{right} for {key!r}", found, "hashlib.md5 of the key in UTF-8")
    return f"right for {', '.join(_KEYS)}: this number decides the shard."


def starts_at_a_moment(lab: Lab, arrived_since: Callable[[datetime], Any]) -> str:
    """Whether ``arrived_since(moment)`` returns what came then or later, and nothing older."""
    _function(arrived_since, "arrived_since")
    mark = uuid.uuid4().hex
    early, late = f"early-{mark}".encode(), f"late-{mark}".encode()
    _, before = _put(lab, early)

    def another() -> datetime | None:
        # Kinesis counts milliseconds; both records may fall into one.
        _, stamp = _put(lab, late)
        return stamp if stamp - before > timedelta(milliseconds=2) else None

    moment = until(lab, "Putting two records on the stream", another)
    found = arrived_since(moment)
    try:
        data = [record["Data"] for record in found]
    except (TypeError, KeyError) as problem:
        raise NotYet("a list of records", type(found).__name__, '["Records"]') from problem
    expect(
        late in data,
        "the record that arrived at the very moment",
        f"{len(data)} records without it",
        "the iterator type AT_TIMESTAMP",
    )
    expect(
        early not in data,
        "nothing from before the moment",
        f"{len(data)} records, an older one among them",
        "the iterator type AT_TIMESTAMP, and its Timestamp",
    )
    return f"{len(data)} record{'s' if len(data) > 1 else ''} from that moment on, none older."


def _put(lab: Lab, data: bytes) -> tuple[str, datetime]:
    """Put a record on the stream; its sequence number and when Kinesis says it arrived."""
    kinesis, stream = lab.client("kinesis"), lab.names.stream
    put = kinesis.put_record(StreamName=stream, PartitionKey="check", Data=data)
    iterator = kinesis.get_shard_iterator(
        StreamName=stream,
        ShardId=put["ShardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=put["SequenceNumber"],
    )["ShardIterator"]
    records = until(
        lab,
        "Waiting for a record",
        lambda: kinesis.get_records(ShardIterator=iterator)["Records"],
    )
    return put["SequenceNumber"], records[0]["ApproximateArrivalTimestamp"]


def _retention(lab: Lab) -> int:
    summary = lab.client("kinesis").describe_stream_summary(StreamName=lab.names.stream)
    return summary["StreamDescriptionSummary"]["RetentionPeriodHours"]


def _function(given: Any, name: str) -> None:
    expect(
        callable(given),
        f"the function {name}",
        f"a {type(given).__name__}",
        f"the call of check: hand over {name} itself, without parentheses",
    )


_KEEP = """\
kinesis.increase_stream_retention_period(
    StreamName=names.stream, RetentionPeriodHours=%d
)
check("06.1")"""

_HASH = """\
import hashlib


def hash_key(partition_key):
    return %s


check("06.2", hash_key)"""

_SINCE = """\
def arrived_since(moment):
    return %s


check("06.3", arrived_since)"""

EXERCISES = (
    Exercise(
        id="06.1",
        title="Yesterday's readers",
        task="A reader was ill for two days, and what it missed is gone. Have `OrdersStream` keep "
        "its records for three days.",
        difficulty=1,
        minutes=5,
        skills=("1.1.10", "1.3.7"),
        hints=(
            "There is one call that increases the retention period and one that decreases it.",
            "`increase_stream_retention_period` counts in hours, from 24 to 8760.",
        ),
        start="""\
summary = kinesis.describe_stream_summary(StreamName=names.stream)
summary["StreamDescriptionSummary"]["RetentionPeriodHours"]
check("06.1")""",
        solution=_KEEP % 72,
        remark="Longer retention costs extra in real AWS. It cannot bring back what has gone.",
        look=keeps_three_days,
        scene=scene,
        wrong=(
            Wrong(_KEEP % 48, "found 48 hours"),
            Wrong(
                """\
kinesis.decrease_stream_retention_period(
    StreamName=names.stream, RetentionPeriodHours=24
)
check("06.1")""",
                "found 24 hours",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="06.2",
        title="Where will it go?",
        task="You want to know before you write which shard a record will land on. Finish "
        "`hash_key`: without asking Kinesis it computes the number that Kinesis computes for a "
        "partition key. `check` tries several keys.",
        difficulty=2,
        minutes=10,
        skills=("1.1.10",),
        hints=(
            "MD5, read as one large number.",
            "`hashlib.md5` wants bytes and gives an object with `hexdigest()`; `int` reads "
            "hexadecimal digits when told that the base is 16.",
        ),
        start=_HASH % "None",
        solution=_HASH % "int(hashlib.md5(partition_key.encode()).hexdigest(), 16)",
        wants=("hash_key",),
        look=hashes_as_kinesis,
        scene=scene,
        wrong=(
            Wrong(_HASH % "hash(partition_key)", "hashlib.md5 of the key in UTF-8"),
            Wrong(_HASH % "hashlib.md5(partition_key.encode()).hexdigest()", "a whole number"),
            Wrong(
                _HASH % "int(hashlib.sha256(partition_key.encode()).hexdigest(), 16)",
                "hashlib.md5 of the key in UTF-8",
            ),
            Wrong(
                _HASH % 'int(hashlib.md5(partition_key.encode("ascii")).hexdigest(), 16)',
                "your code raised UnicodeEncodeError",
            ),
            Wrong('hash_key = 7\ncheck("06.2", hash_key)', "the function hash_key", True),
        ),
    ),
    Exercise(
        id="06.3",
        title="From a moment on",
        task="At 14:05 the fraud team learned of a stolen card, and wants everything since. Finish "
        "`arrived_since`: it takes a moment and returns the records that arrived on `OrdersStream` "
        "then or later. `read` from above helps.",
        difficulty=2,
        minutes=10,
        skills=("1.1.10",),
        hints=(
            "It is a matter of where the iterator begins: not at the oldest record.",
            "The iterator type `AT_TIMESTAMP` needs a `Timestamp`.",
        ),
        start=_SINCE % 'read("TRIM_HORIZON")["Records"]',
        solution=_SINCE % 'read("AT_TIMESTAMP", Timestamp=moment)["Records"]',
        wants=("arrived_since",),
        look=starts_at_a_moment,
        scene=scene,
        wrong=(
            Wrong(_SINCE % 'read("LATEST")["Records"]', "records without it"),
            Wrong(_SINCE % 'read("AT_TIMESTAMP", Timestamp=moment)', "a list of records"),
            Wrong(
                _SINCE % 'read("AT_TIMESTAMP", Timestamp=lab.clock.now())["Records"]',
                "records without it",
            ),
            Wrong(_SINCE % 'read("AT_TIMESTAMP")["Records"]', "InvalidArgumentException"),
        ),
    ),
)

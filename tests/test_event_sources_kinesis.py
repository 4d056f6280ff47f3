"""A data stream as event source: order, retries, splits, ages, destinations, windows, shards."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter

import pytest
from polling_support import (
    DIE,
    FAIL,
    answer,
    elapsed,
    idle,
    lab_times,
    wait_until,
    watch,
)
from wiring_support import wiring

__all__ = ["idle", "watch", "wiring"]

FROM_START = {"StartingPosition": "TRIM_HORIZON"}
PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


class Stream:
    """A data stream of its own."""

    def __init__(self, wiring, shards=1):
        self._kinesis = wiring.client("kinesis")
        self.name = wiring.name("stream")
        self._kinesis.create_stream(StreamName=self.name, ShardCount=shards)
        self.arn = wiring.arn("kinesis", f"stream/{self.name}")

    def put(self, *data, key="k"):
        """Put records of one key, and return their sequence numbers."""
        records = [{"Data": one, "PartitionKey": key} for one in data]
        answered = self._kinesis.put_records(StreamName=self.name, Records=records)
        assert answered["FailedRecordCount"] == 0
        return [record["SequenceNumber"] for record in answered["Records"]]


@pytest.fixture
def stream(wiring):
    """A stream of one shard."""
    return Stream(wiring)


def texts(event):
    """The records' data."""
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]


def batches(function):
    """The records' data of every invocation."""
    return [texts(event) for event in function.events]


def poison(*data, fault=FAIL):
    """Fail with every batch that has one of these in it."""
    return lambda event: fault if set(data) & set(texts(event)) else None


def result_of(wiring, mapping):
    """What the mapping tells of its last batch."""
    return wiring.client("lambda").get_event_source_mapping(UUID=mapping)["LastProcessingResult"]


def test_a_record_arrives_as_lambda_words_it(wiring, watch, stream):
    function = watch()
    mapping = function.map(stream.arn, **FROM_START)
    assert result_of(wiring, mapping) == "No records processed"
    [sequence] = stream.put("hello", key="k1")
    wiring.settle()
    (record,) = function.records()
    arrived = record["kinesis"].pop("approximateArrivalTimestamp")
    assert record == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k1",
            "sequenceNumber": sequence,
            "data": "aGVsbG8=",
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": function.role,
        "awsRegion": "us-east-1",
        "eventSourceARN": stream.arn,
    }
    assert abs(arrived - wiring.now()) < 60 and arrived == round(arrived, 3)
    assert result_of(wiring, mapping) == "OK"


def test_batches_are_in_order_and_no_larger_than_asked(wiring, watch, stream):
    stream.put(*map(str, range(25)))
    function = watch()
    function.map(stream.arn, BatchSize=10, **FROM_START)
    assert [len(batch) for batch in batches(function)] == [10, 10, 5]
    assert sum(batches(function), []) == [str(number) for number in range(25)]


def test_latest_takes_what_comes_after_the_mapping(wiring, watch, stream):
    stream.put("before")
    function = watch()
    function.map(stream.arn, StartingPosition="LATEST")
    stream.put("after")
    wiring.settle()
    assert batches(function) == [["after"]]


def test_a_timestamp_takes_what_arrived_since(wiring, watch, stream):
    stream.put("a")
    wiring.advance(minutes=10)
    since = wiring.now()
    wiring.advance(minutes=1)
    stream.put("b", "c")
    function = watch()
    function.map(stream.arn, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=since)
    assert batches(function) == [["b", "c"]]


def test_a_window_gathers_a_batch(wiring, watch, stream):
    function = watch()
    function.map(stream.arn, MaximumBatchingWindowInSeconds=100, **FROM_START)
    stream.put("a")
    wiring.advance(seconds=60)
    stream.put("b")
    wiring.settle()
    assert function.events == []
    wiring.advance(seconds=41)
    assert batches(function) == [["a", "b"]]


def test_a_full_batch_does_not_wait_for_its_window(wiring, watch, stream):
    function = watch()
    function.map(stream.arn, BatchSize=2, MaximumBatchingWindowInSeconds=300, **FROM_START)
    stream.put("a", "b", "c")
    wiring.settle()
    assert batches(function) == [["a", "b"]]
    wiring.advance(seconds=301)
    assert batches(function)[1:] == [["c"]]


def test_a_batch_is_cut_at_six_megabytes(wiring, watch, stream):
    for letter in "abcdefgh":
        stream.put(letter * 900_000)
        wiring.advance(seconds=2)
    function = watch()
    function.map(stream.arn, **FROM_START)
    # A third is added by base64.
    assert [len(batch) for batch in batches(function)] == [5, 3]


@pytest.mark.parametrize("fault", [FAIL, DIE], ids=["raises", "dies"])
def test_a_failed_batch_is_retried_and_blocks_its_shard_alone(wiring, watch, fault):
    stream = Stream(wiring, shards=2)
    keys = {}
    for number in range(20):
        answered = wiring.client("kinesis").put_record(
            StreamName=stream.name, Data=f"warm{number}", PartitionKey=str(number)
        )
        keys.setdefault(answered["ShardId"], str(number))
    bad, good = keys.values()
    function = watch()
    function.map(stream.arn, StartingPosition="LATEST", BatchSize=1)
    fails = {"left": 3}

    def decide(event):
        if texts(event) == ["poison"] and fails["left"]:
            fails["left"] -= 1
            return fault
        return None

    function.decide = decide
    stream.put("poison", "behind", key=bad)
    stream.put("other", key=good)
    wiring.settle()
    assert sorted(batches(function)[:2]) == [["other"], ["poison"]]
    assert ["behind"] not in batches(function)
    wiring.advance(seconds=60)
    assert batches(function)[-1] == ["behind"]
    assert Counter(map(tuple, batches(function)))[("poison",)] == 4


def test_retries_come_at_doubling_intervals(wiring, watch, stream):
    function = watch()
    function.decide = lambda event: FAIL
    function.map(stream.arn, MaximumRetryAttempts=8, **FROM_START)
    stream.put("a")
    wiring.advance(minutes=10)
    times = lab_times(function)
    intervals = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    wanted = [0.5, 1, 2, 4, 8, 16, 32, 60]
    assert len(intervals) == len(wanted)
    # A little late at most: the function itself takes its time.
    assert all(want * 0.9 <= got < want + 10 for want, got in zip(wanted, intervals, strict=True))


def test_without_limits_a_batch_is_retried_until_the_stream_forgets_it(wiring, watch, stream):
    function = watch()
    function.decide = poison("poison")
    mapping = function.map(stream.arn, BatchSize=1, **FROM_START)
    stream.put("poison", "behind")
    wiring.advance(minutes=30)
    assert ["behind"] not in batches(function)
    assert len(function.events) > 30
    assert result_of(wiring, mapping) == "PROBLEM: Function call failed"
    wiring.client("lambda").put_function_concurrency(
        FunctionName=function.name, ReservedConcurrentExecutions=0
    )
    # Throttled for the rest of the day, to see the end of it sooner.
    wiring.advance(hours=23)
    stream.put("later")
    wiring.advance(hours=1)
    wiring.client("lambda").delete_function_concurrency(FunctionName=function.name)
    wiring.advance(minutes=2)
    assert batches(function)[-1] == ["later"]
    assert ["behind"] not in batches(function)


def test_a_batch_out_of_retries_goes_to_the_destination_and_the_shard_goes_on(
    wiring, watch, stream
):
    dead, function = wiring.queue("dead"), watch()
    function.decide = poison("poison")
    function.map(
        stream.arn,
        BatchSize=2,
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    numbers = stream.put("poison", "with it", "behind")
    wiring.advance(minutes=1)
    assert batches(function) == [["poison", "with it"]] * 3 + [["behind"]]
    (record,) = dead.bodies()
    assert list(record) == [
        "requestContext",
        "responseContext",
        "version",
        "timestamp",
        "KinesisBatchInfo",
    ]
    context = record["requestContext"]
    assert len(context.pop("requestId")) == 36
    assert context == {
        "functionArn": wiring.arn("lambda", f"function:{function.name}"),
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    info = record["KinesisBatchInfo"]
    first, last = (info.pop(f"approximateArrivalOf{which}Record") for which in ("First", "Last"))
    assert first <= last < record["timestamp"] and len(last) == len("2019-11-14T00:38:05.580Z")
    assert info == {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": numbers[0],
        "endSequenceNumber": numbers[1],
        "batchSize": 2,
        "streamArn": stream.arn,
    }


def test_a_bucket_gets_the_records_as_well(wiring, watch, stream):
    s3, bucket, function = wiring.client("s3"), wiring.name("bucket"), watch()
    s3.create_bucket(Bucket=bucket)
    function.decide = lambda event: FAIL
    mapping = function.map(
        stream.arn,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
        **FROM_START,
    )
    stream.put("a")
    wiring.settle()
    (found,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    parts = found["Key"].split("/")
    assert parts[:4] == ["aws", "lambda", mapping, "shardId-000000000000"]
    assert "-".join(parts[4:7]) == parts[7][:10]
    record = json.loads(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    # The whole event, as a text that is JSON.
    assert json.loads(record["payload"]) == function.events[0]


def test_a_destination_that_may_not_be_sent_to_is_metered(wiring, watch, stream):
    dead = wiring.queue("dead")
    read = {"Effect": "Allow", "Action": "kinesis:*", "Resource": "*"}
    sent = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    function = watch(policy=[read, sent])
    function.map(
        stream.arn,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    wiring.client("iam").put_role_policy(
        RoleName=function.role_name,
        PolicyName="more",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [read]}),
    )
    function.decide = lambda event: FAIL
    stream.put("a")
    wiring.settle()
    assert dead.messages() == []
    failures = wiring.metric(
        "AWS/Lambda", "DestinationDeliveryFailures", FunctionName=function.name
    )
    assert failures == 1


def test_splitting_loses_only_the_poison(wiring, watch, stream):
    dead, function = wiring.queue("dead"), watch()
    function.decide = poison("5")
    function.map(
        stream.arn,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    numbers = stream.put(*map(str, range(8)))
    wiring.advance(minutes=1)
    assert batches(function) == [
        [*"01234567"],
        [*"0123"],
        [*"4567"],
        [*"45"],
        ["4"],
        ["5"],
        ["5"],
        [*"67"],
    ]
    (record,) = dead.bodies()
    assert record["KinesisBatchInfo"]["startSequenceNumber"] == numbers[5]
    assert record["KinesisBatchInfo"]["batchSize"] == 1
    assert record["requestContext"]["approximateInvokeCount"] == 2


def reported(*data):
    """Report the first of these records in the batch as failed."""

    def decide(event):
        failed = [
            {"itemIdentifier": record["kinesis"]["sequenceNumber"]}
            for record, text in zip(event["Records"], texts(event), strict=True)
            if text in data
        ]
        return answer({"batchItemFailures": failed[:1]})

    return decide


def test_a_partial_answer_moves_the_checkpoint_and_starts_the_retries_anew(wiring, watch, stream):
    dead, function = wiring.queue("dead"), watch()
    function.decide = reported("5")
    stream.put(*map(str, range(6)))
    function.map(
        stream.arn,
        BatchSize=3,
        MaximumRetryAttempts=3,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
        **PARTIAL,
    )
    wiring.advance(minutes=1)
    # As recorded from AWS: five times in all, four of them alone.
    assert batches(function) == [[*"012"], [*"345"], ["5"], ["5"], ["5"], ["5"]]
    (record,) = dead.bodies()
    assert record["requestContext"]["approximateInvokeCount"] == 4
    assert record["responseContext"]["functionError"] is None
    assert record["KinesisBatchInfo"]["batchSize"] == 1


def test_of_several_reported_records_the_earliest_counts(wiring, watch, stream):
    function = watch()

    def decide(event):
        failed = [record["kinesis"]["sequenceNumber"] for record in event["Records"][1:]]
        items = [{"itemIdentifier": number} for number in reversed(failed)]
        return answer({"batchItemFailures": items if len(function.events) == 1 else []})

    function.decide = decide
    stream.put(*"abc")
    function.map(stream.arn, **FROM_START, **PARTIAL)
    assert batches(function) == [[*"abc"], [*"bc"]]


def test_records_older_than_allowed_are_discarded_before_they_are_sent(wiring, watch, stream):
    dead, function = wiring.queue("dead"), watch()
    [old] = stream.put("old")
    wiring.advance(seconds=80)
    stream.put("new", "newer")
    function.map(
        stream.arn,
        MaximumRecordAgeInSeconds=60,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    assert batches(function) == [["new", "newer"]]
    (record,) = dead.bodies()
    assert "responseContext" not in record
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    info = record["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"]) == (old, old)


def test_records_grow_too_old_while_they_are_retried(wiring, watch, stream):
    dead, function = wiring.queue("dead"), watch()
    function.decide = poison("old")
    function.map(
        stream.arn,
        BatchSize=1,
        MaximumRecordAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    stream.put("old")
    wiring.advance(seconds=100)
    (record,) = dead.bodies()
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"
    # As recorded from AWS within its minute.
    assert record["requestContext"]["approximateInvokeCount"] == 8
    stream.put("next")
    wiring.settle()
    assert batches(function)[-1] == ["next"]


def test_throttles_are_no_retries(wiring, watch, stream):
    function = watch(timeout=4)
    lam = wiring.client("lambda")
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    function.map(stream.arn, MaximumRetryAttempts=0, **FROM_START)
    stream.put("a")
    wiring.advance(minutes=5)
    lam.delete_function_concurrency(FunctionName=function.name)
    wiring.advance(minutes=2)
    assert batches(function) == [["a"]]


def test_lanes_keep_the_order_of_each_key(wiring, watch, stream):
    function = watch()
    keys = [f"key{number}" for number in range(6)]
    for turn in range(4):
        for key in keys:
            stream.put(f"{key}-{turn}", key=key)
    failed = set()

    def decide(event):
        first = texts(event)[0]
        if first.endswith("-1") and first not in failed:
            failed.add(first)
            return FAIL
        return None

    function.decide = decide
    function.map(stream.arn, BatchSize=2, ParallelizationFactor=4, **FROM_START)
    wiring.advance(minutes=1)
    handled = sum(batches(function), [])
    for key in keys:
        seen = [text for text in handled if text.startswith(f"{key}-")]
        assert list(dict.fromkeys(seen)) == [f"{key}-{turn}" for turn in range(4)]


def test_lanes_are_handled_at_the_same_time(wiring, watch, stream):
    function = watch()
    both, release = threading.Event(), threading.Event()

    def decide(event):
        if len(function.events) >= 2:
            both.set()
        wait_until(release)

    function.decide = decide
    for number in range(12):
        stream.put(str(number), key=str(number))
    function.map(stream.arn, settle=False, BatchSize=1, ParallelizationFactor=2, **FROM_START)
    wait_until(both)
    release.set()
    wiring.settle()
    assert function.most_at_once == 2
    assert sorted(sum(batches(function), []), key=int) == [str(n) for n in range(12)]


def test_changing_the_lanes_loses_and_repeats_nothing(wiring, watch, stream):
    function = watch()
    function.decide = lambda event: FAIL if function.name not in ready else None
    ready = set()
    mapping = function.map(stream.arn, BatchSize=3, ParallelizationFactor=3, **FROM_START)
    for number in range(9):
        stream.put(str(number), key=str(number))
    wiring.settle()
    function.change(mapping, ParallelizationFactor=1)
    ready.add(function.name)
    count = len(function.events)
    wiring.advance(minutes=2)
    handled = sum(batches(function)[count:], [])
    assert sorted(handled, key=int) == [str(number) for number in range(9)]


def test_children_wait_for_their_parent_to_be_handled(wiring, watch, stream):
    function, kinesis = watch(), wiring.client("kinesis")
    fails = {"left": 2}

    def decide(event):
        if "parent" in texts(event) and fails["left"]:
            fails["left"] -= 1
            return FAIL
        return None

    function.decide = decide
    function.map(stream.arn, **FROM_START)
    stream.put("parent")
    kinesis.split_shard(
        StreamName=stream.name,
        ShardToSplit="shardId-000000000000",
        NewStartingHashKey=str(2**127),
    )
    for number in range(8):
        stream.put(f"child{number}", key=str(number))
    wiring.settle()
    assert {text for batch in batches(function) for text in batch} == {"parent"}
    wiring.advance(minutes=1)
    handled = sum(batches(function), [])
    assert handled[:3] == ["parent"] * 3
    assert sorted(handled[3:]) == [f"child{number}" for number in range(8)]
    shards = {record["eventID"].split(":")[0] for record in function.records()}
    assert shards == {f"shardId-{number:012d}" for number in range(3)}


def test_a_merged_shard_waits_for_both_its_parents(wiring, watch):
    stream, function = Stream(wiring, shards=2), watch()
    function.decide = poison("stuck")
    function.map(stream.arn, MaximumRetryAttempts=6, **FROM_START)
    wiring.client("kinesis").put_record(
        StreamName=stream.name, Data="stuck", PartitionKey="a", ExplicitHashKey="0"
    )
    wiring.client("kinesis").merge_shards(
        StreamName=stream.name,
        ShardToMerge="shardId-000000000000",
        AdjacentShardToMerge="shardId-000000000001",
    )
    stream.put("child")
    wiring.settle()
    assert ["child"] not in batches(function)
    wiring.advance(minutes=3)
    assert batches(function)[-1] == ["child"]


def test_a_tumbling_window_carries_its_state_to_the_end(wiring, watch, stream):
    function = watch()

    def decide(event):
        total = event["state"].get("total", 0) + len(event["Records"])
        return answer({"state": {"total": total}})

    function.decide = decide
    # From the start of a window on, so that the test's records are within one.
    wiring.advance(seconds=120 - wiring.now() % 120)
    function.map(stream.arn, BatchSize=2, TumblingWindowInSeconds=120, **FROM_START)
    stream.put("a", "b", "c")
    wiring.settle()
    wiring.advance(seconds=10)
    assert [len(batch) for batch in batches(function)] == [2, 1]
    wiring.advance(seconds=120)
    *parts, last = function.events
    assert [event["state"] for event in function.events] == [{}, {"total": 2}, {"total": 3}]
    assert (last["Records"], last["isFinalInvokeForWindow"]) == ([], True)
    assert not any(event["isFinalInvokeForWindow"] for event in parts)
    assert list(last) == [
        "Records",
        "window",
        "state",
        "shardId",
        "eventSourceARN",
        "isFinalInvokeForWindow",
        "isWindowTerminatedEarly",
    ]
    assert last["window"]["start"] < last["window"]["end"]
    assert (last["shardId"], last["eventSourceARN"]) == ("shardId-000000000000", stream.arn)
    stream.put("d")
    wiring.settle()
    assert function.events[-1]["state"] == {}


def test_a_window_without_a_state_in_the_answer_failed(wiring, watch, stream):
    dead, function = wiring.queue("dead"), watch()
    function.decide = lambda event: answer({"ok": True})
    function.map(
        stream.arn,
        TumblingWindowInSeconds=60,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    stream.put("a")
    wiring.advance(seconds=10)
    assert len(dead.messages()) == 1
    assert len(function.events) >= 2


def test_a_state_that_grows_too_large_ends_the_window_early(wiring, watch, stream):
    function = watch()
    function.decide = lambda event: answer(
        {"state": {} if event["isFinalInvokeForWindow"] else {"big": "x" * 1_100_000}}
    )
    wiring.advance(seconds=900 - wiring.now() % 900)
    function.map(stream.arn, TumblingWindowInSeconds=900, **FROM_START)
    stream.put("a")
    wiring.settle()
    first, last = function.events
    assert (first["isWindowTerminatedEarly"], first["isFinalInvokeForWindow"]) == (False, False)
    assert (last["isWindowTerminatedEarly"], last["isFinalInvokeForWindow"]) == (True, True)
    assert len(last["state"]["big"]) == 1_100_000


def test_records_that_no_filter_matches_are_passed_over(wiring, watch, stream):
    function = watch()
    pattern = json.dumps({"data": {"kind": ["wanted"]}})
    function.map(stream.arn, FilterCriteria={"Filters": [{"Pattern": pattern}]}, **FROM_START)
    stream.put('{"kind": "wanted", "n": 1}', '{"kind": "other"}', "plain")
    stream.put('{"kind": "wanted", "n": 2}')
    wiring.settle()
    assert [json.loads(text)["n"] for text in sum(batches(function), [])] == [1, 2]


def test_a_disabled_mapping_goes_on_where_it_was(wiring, watch, stream):
    function = watch()
    mapping = function.map(stream.arn, **FROM_START)
    stream.put("a")
    wiring.settle()
    function.change(mapping, Enabled=False)
    stream.put("b")
    wiring.settle()
    assert batches(function) == [["a"]]
    function.change(mapping, Enabled=True)
    assert batches(function) == [["a"], ["b"]]


def test_two_mappings_each_get_every_record(wiring, watch, stream):
    one, other = watch(), watch()
    one.map(stream.arn, **FROM_START)
    other.map(stream.arn, **FROM_START)
    stream.put("a")
    wiring.settle()
    assert batches(one) == batches(other) == [["a"]]


def test_a_consumer_with_throughput_of_its_own(wiring, watch, stream):
    consumer = wiring.client("kinesis").register_stream_consumer(
        StreamARN=stream.arn, ConsumerName="fan-out"
    )["Consumer"]["ConsumerARN"]
    function = watch()
    function.map(consumer, **FROM_START)
    stream.put("a", "b")
    wiring.settle()
    assert sum(batches(function), []) == ["a", "b"]
    assert function.records()[0]["eventSourceARN"] == consumer


def test_a_stream_made_again_under_its_name_is_read_from_its_start(wiring, watch, stream):
    function, kinesis = watch(), wiring.client("kinesis")
    mapping = function.map(stream.arn, **FROM_START)
    stream.put("a")
    wiring.settle()
    kinesis.delete_stream(StreamName=stream.name)
    wiring.settle()
    kinesis.create_stream(StreamName=stream.name, ShardCount=1)
    stream.put("b")
    wiring.settle()
    assert batches(function) == [["a"], ["b"]]
    assert result_of(wiring, mapping) == "OK"


def test_a_stream_deleted_while_a_batch_is_retried_is_let_go(wiring, watch, stream):
    function = watch()
    function.decide = lambda event: FAIL
    mapping = function.map(stream.arn, **FROM_START)
    stream.put("a")
    wiring.settle()
    wiring.client("kinesis").delete_stream(StreamName=stream.name)
    wiring.advance(minutes=5)
    assert result_of(wiring, mapping) == f"PROBLEM: Stream not found: {stream.arn}"
    count = len(function.events)
    wiring.advance(hours=1)
    assert len(function.events) == count
    due = [name for _, name in wiring.running.control("clock")["due"]]
    assert not [name for name in due if stream.arn in name]


def test_a_role_that_may_not_read_is_told_of_and_asked_again(wiring, watch, stream):
    allowed = {"Effect": "Allow", "Resource": "*", "Action": "kinesis:*"}
    function = watch(policy=[allowed])
    mapping = function.map(stream.arn, **FROM_START)
    iam = wiring.client("iam")
    iam.delete_role_policy(RoleName=function.role_name, PolicyName="more")
    stream.put("a")
    wiring.advance(minutes=1)
    assert result_of(wiring, mapping).startswith(f"PROBLEM: Cannot access stream {stream.arn}.")
    document = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_role_policy(
        RoleName=function.role_name, PolicyName="more", PolicyDocument=json.dumps(document)
    )
    wiring.advance(minutes=10)
    assert batches(function) == [["a"]]


def test_the_age_of_the_last_record_is_metered(wiring, watch, stream):
    stream.put("a")
    wiring.advance(seconds=100)
    function = watch(timeout=4)
    function.map(stream.arn, **FROM_START)
    age = wiring.metric("AWS/Lambda", "IteratorAge", FunctionName=function.name)
    assert 100_000 <= age < 160_000


def test_an_idle_mapping_costs_the_clock_nothing(wiring, watch, stream):
    function = watch()
    function.map(stream.arn, **FROM_START)
    stream.put("a")
    wiring.advance(minutes=15)
    due = [name for _, name in wiring.running.control("clock")["due"]]
    assert not [name for name in due if stream.arn in name]
    wiring.advance(days=1)
    assert min(elapsed(lambda: wiring.advance(days=1)) for _ in range(3)) < 0.05

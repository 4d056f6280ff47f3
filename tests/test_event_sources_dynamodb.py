"""A table's stream as event source: records, positions, retries, filters, destinations."""

from __future__ import annotations

import json

from polling_support import FAIL, answer, idle, watch
from test_dynamodb_streams import Table, table, typed
from wiring_support import wiring

__all__ = ["idle", "table", "watch", "wiring"]

FROM_START = {"StartingPosition": "TRIM_HORIZON"}


def ids(event):
    """The keys of the items that changed."""
    return [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]


def batches(function):
    """The keys of every invocation."""
    return [ids(event) for event in function.events]


def test_a_change_arrives_as_lambda_words_it(wiring, watch, table):
    function = watch()
    function.map(table.arn, **FROM_START)
    table.db.put_item(
        TableName=table.name, Item={"id": {"S": "id_value"}, "blob": {"B": b"foobar"}}
    )
    wiring.settle()
    (record,) = function.records()
    (kept,) = table.records()
    assert list(record) == [
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
        "eventSourceARN",
    ]
    assert record["eventID"] == kept["eventID"]
    assert (record["eventName"], record["eventVersion"]) == ("INSERT", "1.1")
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:dynamodb", table.arn)
    created = record["dynamodb"].pop("ApproximateCreationDateTime")
    assert isinstance(created, float) and created == int(created)
    assert record["dynamodb"] == {
        "Keys": {"id": {"S": "id_value"}},
        "NewImage": {"id": {"S": "id_value"}, "blob": {"B": "Zm9vYmFy"}},
        "SequenceNumber": kept["dynamodb"]["SequenceNumber"],
        "SizeBytes": 30,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }


def test_changes_come_in_order(wiring, watch, table):
    for number in range(7):
        table.put(id=f"{number}")
    table.delete("0")
    function = watch()
    function.map(table.arn, BatchSize=3, **FROM_START)
    assert batches(function) == [["0", "1", "2"], ["3", "4", "5"], ["6", "0"]]
    assert function.records()[-1]["eventName"] == "REMOVE"


def test_latest_takes_what_changes_after_the_mapping(wiring, watch, table):
    table.put(id="before")
    function = watch()
    function.map(table.arn, StartingPosition="LATEST")
    table.put(id="after")
    wiring.settle()
    assert batches(function) == [["after"]]


def test_a_poison_change_is_isolated_and_its_place_reported(wiring, watch, table):
    dead, function = wiring.queue("dead"), watch()
    for name in "abcd":
        table.put(id=name)
    function.decide = lambda event: FAIL if "c" in ids(event) else None
    function.map(
        table.arn,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": dead.arn}},
        **FROM_START,
    )
    wiring.advance(minutes=1)
    assert batches(function) == [[*"abcd"], [*"ab"], [*"cd"], ["c"], ["c"], ["d"]]
    (record,) = dead.bodies()
    info = record["DDBStreamBatchInfo"]
    assert (info["batchSize"], info["streamArn"]) == (1, table.arn)
    assert info["shardId"] == table.shard()["ShardId"]
    # Changes are dated to the second, and their dates written so.
    assert len(info["approximateArrivalOfFirstRecord"]) == len("2019-11-14T00:13:49Z")
    assert info["startSequenceNumber"] == table.records()[2]["dynamodb"]["SequenceNumber"]


def test_a_partial_answer_goes_on_from_the_failed_change(wiring, watch, table):
    function = watch()
    for name in "abc":
        table.put(id=name)

    def decide(event):
        if len(function.events) > 1:
            return None
        failed = event["Records"][1]["dynamodb"]["SequenceNumber"]
        return answer({"batchItemFailures": [{"itemIdentifier": failed}]})

    function.decide = decide
    function.map(table.arn, FunctionResponseTypes=["ReportBatchItemFailures"], **FROM_START)
    assert batches(function) == [[*"abc"], [*"bc"]]


def test_changes_are_filtered(wiring, watch, table):
    function = watch()
    pattern = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["wanted"]}}}}
    filters = {"Filters": [{"Pattern": json.dumps(pattern)}]}
    function.map(table.arn, FilterCriteria=filters, **FROM_START)
    table.put(id="a", kind="wanted")
    table.put(id="b", kind="other")
    table.put(id="a", kind="wanted", more="now")
    wiring.settle()
    assert batches(function) == [["a"]]


def test_lanes_keep_the_order_of_each_item(wiring, watch, table):
    function = watch()
    for turn in range(3):
        for name in "abcdef":
            table.put(id=name, turn=str(turn))
    function.map(table.arn, BatchSize=2, ParallelizationFactor=3, **FROM_START)
    wiring.settle()
    for name in "abcdef":
        turns = [
            record["dynamodb"]["NewImage"]["turn"]["S"]
            for record in function.records()
            if record["dynamodb"]["Keys"]["id"]["S"] == name
        ]
        assert turns == ["0", "1", "2"]


def test_changes_older_than_a_day_are_lost(wiring, watch, table):
    function = watch()
    mapping = function.map(table.arn, **FROM_START)
    function.change(mapping, Enabled=False)
    table.put(id="lost")
    wiring.advance(hours=23)
    table.put(id="kept")
    wiring.advance(hours=2)
    function.change(mapping, Enabled=True)
    assert batches(function) == [["kept"]]


def test_a_function_in_the_loop_of_its_own_table(wiring, watch):
    source, target, function = Table(wiring), Table(wiring), watch()

    def decide(event):
        for name in ids(event):
            target.put(id=f"copy of {name}")

    function.decide = decide
    function.map(source.arn, **FROM_START)
    source.put(id="a")
    wiring.settle()
    found = target.db.scan(TableName=target.name)["Items"]
    assert found == [typed({"id": "copy of a"})]


def test_what_expired_is_told_apart_from_what_was_deleted(wiring, watch, table):
    function = watch()
    table.db.update_time_to_live(
        TableName=table.name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
    )
    table.put(id="expires", expires={"N": str(int(wiring.now()) + 60)})
    table.put(id="deleted")
    pattern = {
        "userIdentity": {
            "type": ["Service"],
            "principalId": ["dynamodb.amazonaws.com"],
        }
    }
    filters = {"Filters": [{"Pattern": json.dumps(pattern)}]}
    function.map(table.arn, StartingPosition="LATEST", FilterCriteria=filters)
    table.delete("deleted")
    wiring.advance(days=3)
    assert batches(function) == [["expires"]]
    (record,) = function.records()
    assert (record["eventName"], record["userIdentity"]) == (
        "REMOVE",
        {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    )

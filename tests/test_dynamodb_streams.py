"""DynamoDB Streams: what is recorded of a change, for how long, and how it is read."""

from __future__ import annotations

import re

import pytest
from wiring_support import refusal, wiring

from labkit.localaws.change_streams import Change, ChangeStream, size_of

__all__ = ["wiring"]


class Table:
    """A table with a stream."""

    def __init__(self, wiring, view="NEW_AND_OLD_IMAGES"):
        self.wiring = wiring
        self.db = wiring.client("dynamodb")
        self.streams = wiring.client("dynamodbstreams")
        self.name = wiring.name("table")
        created = self.db.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )["TableDescription"]
        self.arn = created["LatestStreamArn"]
        self.label = created["LatestStreamLabel"]

    def put(self, **item):
        self.db.put_item(TableName=self.name, Item=typed(item))

    def update(self, key, expression, **values):
        self.db.update_item(
            TableName=self.name,
            Key=typed({"id": key}),
            UpdateExpression=expression,
            ExpressionAttributeValues={f":{name}": one for name, one in typed(values).items()},
        )

    def delete(self, key):
        self.db.delete_item(TableName=self.name, Key=typed({"id": key}))

    def describe(self, **more):
        return self.streams.describe_stream(StreamArn=self.arn, **more)["StreamDescription"]

    def shard(self):
        (shard,) = self.describe()["Shards"]
        return shard

    def iterator(self, kind="TRIM_HORIZON", **more):
        return self.streams.get_shard_iterator(
            StreamArn=self.arn, ShardId=self.shard()["ShardId"], ShardIteratorType=kind, **more
        )["ShardIterator"]

    def records(self, kind="TRIM_HORIZON", **more):
        answer = self.streams.get_records(ShardIterator=self.iterator(kind, **more))
        return answer["Records"]

    def changes(self, kind="TRIM_HORIZON", **more):
        return [(one["eventName"], one["dynamodb"]) for one in self.records(kind, **more)]

    def names(self):
        return [one["eventName"] for one in self.records()]


def typed(item):
    return {name: {"S": one} if isinstance(one, str) else one for name, one in item.items()}


@pytest.fixture
def table(wiring):
    return Table(wiring)


def test_records_are_as_dynamodb_words_them(table):
    table.put(id="Fred")
    table.put(id="Fred", name="Fred")
    table.delete("Fred")
    insert, modify, remove = table.records()
    assert list(insert) == [
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
    ]
    assert re.fullmatch("[0-9a-f]{32}", insert["eventID"])
    shown = (insert["eventVersion"], insert["eventSource"], insert["awsRegion"])
    assert shown == ("1.1", "aws:dynamodb", "us-east-1")
    created = insert["dynamodb"].pop("ApproximateCreationDateTime")
    assert created.microsecond == 0
    first = insert["dynamodb"].pop("SequenceNumber")
    assert 21 <= len(first) <= 40 and first < modify["dynamodb"].pop("SequenceNumber")
    # Sizes as recorded from AWS.
    assert insert["dynamodb"] == {
        "Keys": typed({"id": "Fred"}),
        "NewImage": typed({"id": "Fred"}),
        "SizeBytes": 12,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    del modify["dynamodb"]["ApproximateCreationDateTime"]
    assert modify["eventName"] == "MODIFY"
    assert modify["dynamodb"] == {
        "Keys": typed({"id": "Fred"}),
        "NewImage": typed({"id": "Fred", "name": "Fred"}),
        "OldImage": typed({"id": "Fred"}),
        "SizeBytes": 26,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    assert remove["eventName"] == "REMOVE"
    assert remove["dynamodb"]["OldImage"] == typed({"id": "Fred", "name": "Fred"})
    assert "NewImage" not in remove["dynamodb"]


@pytest.mark.parametrize(
    ("view", "images"),
    [
        ("KEYS_ONLY", []),
        ("NEW_IMAGE", ["NewImage"]),
        ("OLD_IMAGE", ["OldImage"]),
        ("NEW_AND_OLD_IMAGES", ["NewImage", "OldImage"]),
    ],
)
def test_the_view_type_decides_which_images_are_kept(wiring, view, images):
    table = Table(wiring, view)
    table.put(id="a")
    table.put(id="a", n="1")
    _, (name, change) = table.changes()
    assert name == "MODIFY"
    assert sorted(set(change) & {"NewImage", "OldImage"}) == images
    assert change["StreamViewType"] == view


def test_what_changes_nothing_is_not_recorded(table):
    table.put(id="a", n="1")
    table.put(id="a", n="1")
    table.update("a", "SET n = :n", n="1")
    table.delete("never there")
    assert table.names() == ["INSERT"]


def test_an_update_of_a_new_item_is_one_insert(table):
    table.update("a", "SET n = :n", n="1")
    ((name, change),) = table.changes()
    assert (name, change["NewImage"]) == ("INSERT", typed({"id": "a", "n": "1"}))
    assert "OldImage" not in change


def test_values_of_every_type_are_kept_as_they_were_then(table):
    item = {
        "id": {"S": "a"},
        "number": {"N": "42"},
        "blob": {"B": b"foobar"},
        "blobs": {"BS": [b"a", b"b"]},
        "list": {"L": [{"S": "x"}, {"B": b"y"}]},
        "map": {"M": {"k": {"N": "1"}, "deep": {"M": {"b": {"B": b"z"}}}}},
        "yes": {"BOOL": True},
        "nothing": {"NULL": True},
    }
    table.db.put_item(TableName=table.name, Item=item)
    table.db.update_item(
        TableName=table.name,
        Key={"id": {"S": "a"}},
        UpdateExpression="SET #m.k = :k",
        ExpressionAttributeNames={"#m": "map"},
        ExpressionAttributeValues={":k": {"N": "2"}},
    )
    (_, insert), (_, modify) = table.changes()
    assert insert["NewImage"] == modify["OldImage"] == item
    assert modify["NewImage"]["map"]["M"]["k"] == {"N": "2"}


def test_batches_and_transactions_are_recorded_item_by_item(table):
    requests = [{"PutRequest": {"Item": typed({"id": name})}} for name in "ab"]
    table.db.batch_write_item(RequestItems={table.name: requests})
    table.db.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": table.name, "Item": typed({"id": "c"})}},
            {"Delete": {"TableName": table.name, "Key": typed({"id": "a"})}},
        ]
    )
    assert table.names() == ["INSERT", "INSERT", "INSERT", "REMOVE"]


def test_a_transaction_that_fails_leaves_no_record(table):
    table.put(id="there")
    refusal(
        table.db.transact_write_items,
        TransactItems=[
            {"Put": {"TableName": table.name, "Item": typed({"id": "new"})}},
            {
                "Put": {
                    "TableName": table.name,
                    "Item": typed({"id": "there"}),
                    "ConditionExpression": "attribute_not_exists(id)",
                }
            },
        ],
    )
    table.put(id="after")
    assert [change["Keys"]["id"]["S"] for _, change in table.changes()] == ["there", "after"]


def test_records_are_kept_for_a_day(wiring, table):
    table.put(id="old")
    old = table.records()[0]["dynamodb"]["SequenceNumber"]
    wiring.advance(hours=12)
    table.put(id="new")
    iterator = table.iterator("AFTER_SEQUENCE_NUMBER", SequenceNumber=old)
    wiring.advance(hours=13)
    assert [change["Keys"]["id"]["S"] for _, change in table.changes()] == ["new"]
    error = refusal(table.streams.get_records, ShardIterator=iterator)
    assert error["Code"] == "ExpiredIteratorException"
    error = refusal(table.iterator, kind="AT_SEQUENCE_NUMBER", SequenceNumber=old)
    assert error["Code"] == "TrimmedDataAccessException"


def test_positions(wiring, table):
    latest = table.iterator("LATEST")
    for name in "abc":
        table.put(id=name)
        wiring.advance(seconds=10)
    assert len(table.streams.get_records(ShardIterator=latest)["Records"]) == 3
    numbers = [one["dynamodb"]["SequenceNumber"] for one in table.records()]

    def ids(kind, **more):
        return [change["Keys"]["id"]["S"] for _, change in table.changes(kind, **more)]

    assert ids("AT_SEQUENCE_NUMBER", SequenceNumber=numbers[1]) == ["b", "c"]
    assert ids("AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[1]) == ["c"]
    assert ids("LATEST") == []
    since = table.records()[1]["dynamodb"]["ApproximateCreationDateTime"]
    assert ids("AT_TIMESTAMP", Timestamp=since) == ["b", "c"]


def test_reading_goes_on_with_the_next_iterator(table):
    for name in "abc":
        table.put(id=name)
    first = table.streams.get_records(ShardIterator=table.iterator(), Limit=2)
    second = table.streams.get_records(ShardIterator=first["NextShardIterator"])
    assert (len(first["Records"]), len(second["Records"])) == (2, 1)
    third = table.streams.get_records(ShardIterator=second["NextShardIterator"])
    assert third["Records"] == [] and third["NextShardIterator"]


def test_the_stream_is_described(table):
    shown = table.describe()
    assert shown["StreamArn"] == table.arn
    assert table.arn.endswith(f"table/{table.name}/stream/{table.label}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", shown["StreamLabel"])
    assert (shown["StreamStatus"], shown["TableName"]) == ("ENABLED", table.name)
    assert shown["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert shown["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    shard = table.shard()
    assert re.fullmatch(r"shardId-\d{20}-[0-9a-f]{8}", shard["ShardId"])
    assert list(shard["SequenceNumberRange"]) == ["StartingSequenceNumber"]
    assert table.describe(ExclusiveStartShardId=shard["ShardId"])["Shards"] == []
    (listed,) = table.streams.list_streams(TableName=table.name)["Streams"]
    assert listed == {
        "StreamArn": table.arn,
        "TableName": table.name,
        "StreamLabel": table.label,
    }


def test_streams_are_listed_page_by_page(wiring):
    tables = [Table(wiring) for _ in range(3)]
    found, start = [], {}
    while True:
        answer = tables[0].streams.list_streams(Limit=2, **start)
        found += [one["StreamArn"] for one in answer["Streams"]]
        if "LastEvaluatedStreamArn" not in answer:
            break
        start = {"ExclusiveStartStreamArn": answer["LastEvaluatedStreamArn"]}
    assert {table.arn for table in tables} <= set(found)
    assert len(found) == len(set(found))


def test_a_disabled_stream_can_be_read_for_another_day(wiring, table):
    table.put(id="a")
    table.db.update_table(TableName=table.name, StreamSpecification={"StreamEnabled": False})
    table.put(id="b")
    assert table.describe()["StreamStatus"] == "DISABLED"
    assert "EndingSequenceNumber" in table.shard()["SequenceNumberRange"]
    answer = table.streams.get_records(ShardIterator=table.iterator())
    assert [one["dynamodb"]["Keys"]["id"]["S"] for one in answer["Records"]] == ["a"]
    assert "NextShardIterator" not in answer
    enabled = table.db.update_table(
        TableName=table.name,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )["TableDescription"]
    assert enabled["LatestStreamArn"] != table.arn
    assert len(table.streams.list_streams(TableName=table.name)["Streams"]) == 2
    wiring.advance(hours=24)
    (left,) = table.streams.list_streams(TableName=table.name)["Streams"]
    assert left["StreamArn"] == enabled["LatestStreamArn"]
    assert refusal(table.describe)["Code"] == "ResourceNotFoundException"


def test_a_deleted_tables_stream_can_still_be_read(table):
    table.put(id="a")
    table.db.delete_table(TableName=table.name)
    assert table.describe()["StreamStatus"] == "DISABLED"
    assert table.names() == ["INSERT"]


def test_a_stream_is_enabled_once(table):
    error = refusal(
        table.db.update_table,
        TableName=table.name,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    assert error["Code"] == "ValidationException"
    assert error["Message"] == f"Table already has an enabled stream: TableName: {table.name}"


def test_refusals(table):
    missing = table.arn[:-1] + "0x"
    error = refusal(table.streams.describe_stream, StreamArn=missing)
    assert error == {
        "Code": "ResourceNotFoundException",
        "Message": f"Requested resource not found: Stream: {missing} not found",
    }
    error = refusal(
        table.streams.get_shard_iterator,
        StreamArn=table.arn,
        ShardId="shardId-00000000000000000000-00000000",
        ShardIteratorType="LATEST",
    )
    assert error["Code"] == "ResourceNotFoundException"
    error = refusal(table.streams.get_records, ShardIterator="nonsense")
    assert (error["Code"], error["Message"]) == ("ValidationException", "Invalid ShardIterator")
    error = refusal(table.streams.get_records, ShardIterator=table.iterator(), Limit=1001)
    assert error["Code"] == "ValidationException"


def test_an_iterator_is_good_for_fifteen_minutes(wiring, table):
    iterator = table.iterator()
    wiring.advance(minutes=14)
    table.streams.get_records(ShardIterator=iterator)
    wiring.advance(minutes=2)
    error = refusal(table.streams.get_records, ShardIterator=iterator)
    assert error["Code"] == "ExpiredIteratorException"


@pytest.mark.parametrize(
    ("item", "size"),
    [
        # As recorded from AWS, keys and image together less the keys.
        ({"my_partition_key": {"S": "hello world"}, "binary_key": {"B": b"foobar"}}, 43),
        ({"id": {"S": "id_value_1"}, "numericFilter": {"N": "42"}}, 27),
        ({"a": {"N": "-1.50"}}, 4),
        ({"a": {"BOOL": True}, "b": {"NULL": True}}, 4),
        ({"a": {"L": [{"S": "xy"}]}}, 7),
        ({"a": {"M": {"k": {"S": "xy"}}}}, 8),
        ({"a": {"SS": ["xy", "z"]}}, 4),
    ],
)
def test_sizes(item, size):
    assert size_of(item) == size


def test_what_time_to_live_deleted_says_so():
    stream = ChangeStream(
        "arn:aws:dynamodb:us-east-1:1:table/t",
        [{"AttributeName": "id", "KeyType": "HASH"}],
        "KEYS_ONLY",
        1000.0,
    )
    image = {"id": {"S": "a"}}
    stream.append([Change(image, image, None, 1001.0, by_service=True)])
    (record,) = stream.read(0, 10)
    assert record.shown["userIdentity"] == {
        "PrincipalId": "dynamodb.amazonaws.com",
        "Type": "Service",
    }

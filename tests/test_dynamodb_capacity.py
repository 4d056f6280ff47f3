"""What operations on tables cost, and what of it is left."""

from __future__ import annotations

from dynamodb_support import index, item, refused, tables  # noqa: F401

from labkit.localaws.tables.values import canonical, item_size, number_size

PROVISIONED = {
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
}
EXCEEDED = "ProvisionedThroughputExceededException"


def test_sizes_count_names_and_values():
    assert item_size({"pk": {"S": "abc"}, "n": {"N": "1"}}) == 5 + 3
    assert item_size({"é": {"S": "ü"}}) == 4
    assert item_size({"b": {"B": b"12345"}}) == 6
    assert item_size({"x": {"BOOL": True}, "y": {"NULL": True}}) == 4
    assert item_size({"l": {"L": [{"S": "ab"}, {"S": "c"}]}}) == 1 + 3 + 2 + 3
    assert item_size({"m": {"M": {"k": {"S": "v"}}}}) == 1 + 3 + 3
    assert item_size({"s": {"SS": ["ab", "c"]}}) == 4


def test_numbers_count_by_their_digits():
    assert number_size("0") == 1
    assert number_size("7") == number_size("70") == number_size("0.7") == 2
    assert number_size("123") == 3
    assert number_size("-123") == 4
    assert canonical("1.50") == "1.5" and canonical("1E3") == "1000" and canonical("-0.0") == "0"
    assert canonical("0042") == "42" and canonical("1e-5") == "0.00001"


def test_reads_by_size_and_consistency(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    db.put_item(TableName=name, Item=item(pk="a", text="x" * 9000))
    key = {"TableName": name, "Key": item(pk="a")}
    assert tables.units(db.get_item, **key) == 1.5
    assert tables.units(db.get_item, **key, ConsistentRead=True) == 3.0
    assert tables.units(db.get_item, **key, ProjectionExpression="pk") == 1.5
    assert tables.units(db.get_item, TableName=name, Key=item(pk="none")) == 0.5
    got = db.transact_get_items(
        TransactItems=[{"Get": key}], ReturnConsumedCapacity="INDEXES"
    )["ConsumedCapacity"]
    assert got == [
        {
            "TableName": name,
            "CapacityUnits": 6.0,
            "ReadCapacityUnits": 6.0,
            "Table": {"CapacityUnits": 6.0, "ReadCapacityUnits": 6.0},
        }
    ]
    many = db.batch_get_item(
        RequestItems={name: {"Keys": [item(pk="a"), item(pk="none")]}},
        ReturnConsumedCapacity="TOTAL",
    )
    assert many["ConsumedCapacity"] == [{"TableName": name, "CapacityUnits": 2.0}]


def test_a_query_sums_before_it_rounds_and_before_the_filter(tables):  # noqa: F811
    db, name = tables.client, tables.make("pk sk")
    for number in range(10):
        db.put_item(TableName=name, Item=item(pk="a", sk=str(number), text="x" * 1000))
    asked = {
        "TableName": name,
        "KeyConditionExpression": "pk = :a",
        "FilterExpression": "#t = :a",
        "ExpressionAttributeNames": {"#t": "text"},
        "ExpressionAttributeValues": item(**{":a": "a"}),
    }
    answer = db.query(**asked, ReturnConsumedCapacity="TOTAL")
    assert (answer["Count"], answer["ScannedCount"]) == (0, 10)
    assert answer["ConsumedCapacity"]["CapacityUnits"] == 1.5
    assert tables.units(db.query, **asked, ConsistentRead=True) == 3.0
    assert tables.units(db.scan, TableName=name) == 1.5


def test_writes_count_the_larger_of_before_and_after(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    put = {"TableName": name, "Item": item(pk="a", text="x" * 2500)}
    assert tables.units(db.put_item, **put) == 3.0
    assert tables.units(db.put_item, TableName=name, Item=item(pk="a", text="x")) == 3.0
    assert tables.units(db.put_item, TableName=name, Item=item(pk="a", text="x")) == 1.0
    update = {
        "TableName": name,
        "Key": item(pk="a"),
        "UpdateExpression": "SET more = :m",
        "ExpressionAttributeValues": item(**{":m": "y" * 1500}),
    }
    assert tables.units(db.update_item, **update) == 2.0
    assert tables.units(db.delete_item, TableName=name, Key=item(pk="a")) == 2.0
    assert tables.units(db.delete_item, TableName=name, Key=item(pk="a")) == 1.0


def test_indexes_have_their_share(tables):  # noqa: F811
    db = tables.client
    name = tables.make(
        "pk sk",
        "g:S l:S",
        GlobalSecondaryIndexes=[index("global", "g", "KEYS_ONLY")],
        LocalSecondaryIndexes=[index("local", "pk l", "KEYS_ONLY")],
    )

    def put(**values):
        new = item(pk="a", sk="1", **values)
        return tables.units(db.put_item, "INDEXES", TableName=name, Item=new)

    assert put(g="x", l="y", text="x" * 1500) == {
        "TableName": name,
        "CapacityUnits": 4.0,
        "Table": {"CapacityUnits": 2.0},
        "GlobalSecondaryIndexes": {"global": {"CapacityUnits": 1.0}},
        "LocalSecondaryIndexes": {"local": {"CapacityUnits": 1.0}},
    }
    # Nothing that the indexes hold changes.
    assert put(g="x", l="y", text="z")["CapacityUnits"] == 2.0
    # Another key: the old entry is deleted, a new one made.
    moved = put(g="w", l="y", text="z")
    assert moved["GlobalSecondaryIndexes"] == {"global": {"CapacityUnits": 2.0}}
    assert put(l="y")["GlobalSecondaryIndexes"] == {"global": {"CapacityUnits": 1.0}}
    assert "GlobalSecondaryIndexes" not in put(l="y")
    put(g="x", l="y", text="x" * 9000)
    query = {
        "TableName": name,
        "KeyConditionExpression": "pk = :a",
        "ExpressionAttributeValues": item(**{":a": "a"}),
        "IndexName": "local",
    }
    assert tables.units(db.query, **query) == 0.5
    # What a local index does not hold is fetched from the table.
    whole = db.query(**query, Select="ALL_ATTRIBUTES", ReturnConsumedCapacity="INDEXES")
    assert whole["Items"][0]["text"] == {"S": "x" * 9000}
    assert whole["ConsumedCapacity"]["Table"] == {"CapacityUnits": 1.5}
    scan = tables.units(db.scan, "INDEXES", TableName=name, IndexName="global")
    assert scan["Table"] == {"CapacityUnits": 0.0}
    assert scan["GlobalSecondaryIndexes"] == {"global": {"CapacityUnits": 0.5}}


def test_a_condition_that_fails_costs_too(tables):  # noqa: F811
    db, name = tables.client, tables.make(**PROVISIONED)
    db.put_item(TableName=name, Item=item(pk="a", text="x" * 250_000))
    again = {
        "TableName": name,
        "Item": item(pk="a"),
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    assert refused(db.put_item, **again)[0] == "ConditionalCheckFailedException"
    code, message = refused(db.put_item, **again)
    assert code == EXCEEDED
    assert message == (
        "The level of configured provisioned throughput for the table was exceeded. Consider "
        "increasing your provisioning level with the UpdateTable API."
    )


def test_throughput_comes_back_with_time(tables):  # noqa: F811
    db, name = tables.client, tables.make(**PROVISIONED)
    large = {"TableName": name, "Item": item(pk="a", text="x" * 299_000)}
    db.put_item(**large)
    db.put_item(**large)
    try:
        db.put_item(**large)
    except db.exceptions.ProvisionedThroughputExceededException as problem:
        arn = tables.wiring.arn("dynamodb", f"table/{name}")
        assert problem.response["ThrottlingReasons"] == [
            {"reason": "TableWriteProvisionedThroughputExceeded", "resource": arn}
        ]
    else:
        raise AssertionError("not throttled")
    # Reads have a throughput of their own.
    db.get_item(TableName=name, Key=item(pk="a"))
    tables.wiring.advance(minutes=10)
    db.put_item(**large)
    db.update_table(TableName=name, BillingMode="PAY_PER_REQUEST")
    for _ in range(3):
        db.put_item(**large)


def test_an_index_without_capacity_holds_writes_up(tables):  # noqa: F811
    db = tables.client
    small = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    name = tables.make(
        "pk",
        "g:S",
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 100, "WriteCapacityUnits": 100},
        GlobalSecondaryIndexes=[index("global", "g") | {"ProvisionedThroughput": small}],
    )
    for number in range(2):
        large = item(pk=str(number), g="x", text="x" * 250_000)
        db.put_item(TableName=name, Item=large)
    code, message = refused(db.put_item, TableName=name, Item=item(pk="2", g="x"))
    assert code == EXCEEDED and "one or more global secondary indexes" in message
    assert "Item" not in db.get_item(TableName=name, Key=item(pk="2"), ConsistentRead=True)
    # What does not concern the index is written.
    db.put_item(TableName=name, Item=item(pk="2"))


def test_a_batch_leaves_over_what_finds_no_capacity(tables):  # noqa: F811
    db, name = tables.client, tables.make(**PROVISIONED)
    puts = [
        {"PutRequest": {"Item": item(pk=str(n), text="x" * 100_000)}} for n in range(8)
    ]
    left = db.batch_write_item(RequestItems={name: puts})["UnprocessedItems"][name]
    assert puts[-len(left) :] == left and 0 < len(left) < 8
    assert refused(db.batch_write_item, RequestItems={name: left})[0] == EXCEEDED
    # 76 units each time, of 300 saved up.
    keys = [item(pk=str(n)) for n in range(3)] + [item(pk="none")]
    for _ in range(9):
        answer = db.batch_get_item(RequestItems={name: {"Keys": keys, "ConsistentRead": True}})
        if answer["UnprocessedKeys"]:
            break
    assert answer["UnprocessedKeys"][name]["ConsistentRead"] is True


def test_metrics_count_the_same_units(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    db.put_item(TableName=name, Item=item(pk="a", text="x" * 2500))
    db.get_item(TableName=name, Key=item(pk="a"))
    now = tables.wiring.now()
    for metric, units in (("ConsumedWriteCapacityUnits", 3), ("ConsumedReadCapacityUnits", 0.5)):
        found = tables.wiring.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/DynamoDB",
            MetricName=metric,
            Dimensions=[{"Name": "TableName", "Value": name}],
            StartTime=now - 600,
            EndTime=now + 600,
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        assert sum(point["Sum"] for point in found) == units

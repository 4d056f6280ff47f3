"""What DynamoDB refuses, in its own words."""

from __future__ import annotations

import pytest
from dynamodb_support import index, invalid, item, refused, tables  # noqa: F401

PREFIX = "One or more parameter values were invalid: "


def put(tables, name, **attributes):  # noqa: F811
    new = {"pk": {"S": "a"}, **attributes}
    return invalid(tables.client.put_item, TableName=name, Item=new)


def test_values_that_are_none(tables):  # noqa: F811
    name = tables.make()
    assert put(tables, name, x={"SS": []}).endswith(f"{PREFIX}An string set  may not be empty")
    assert put(tables, name, x={"NS": []}).endswith(f"{PREFIX}An number set  may not be empty")
    assert put(tables, name, x={"BS": []}).endswith(f"{PREFIX}Binary sets should not be empty")
    assert put(tables, name, x={"L": [{"SS": []}]}).endswith("An string set  may not be empty")
    assert put(tables, name, x={"SS": ["a", "a"]}).endswith(
        f"{PREFIX}Input collection [a, a] contains duplicates."
    )
    assert put(tables, name, x={"NS": ["1", "1.0"]}).endswith("Input collection contains duplicates")
    assert put(tables, name, x={"NULL": False}) == (
        f"{PREFIX}Null attribute value types must have the value of true"
    )
    assert put(tables, name, x={}) == (
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
    )
    tables.client.put_item(TableName=name, Item={**item(pk="a"), "x": {"S": ""}, "y": {"B": b""}})


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("1" * 39, "Attempting to store more than 38 significant digits in a Number"),
        (
            "1E126",
            "Number overflow. Attempting to store a number with magnitude larger than supported "
            "range",
        ),
        (
            "-1E-131",
            "Number underflow. Attempting to store a number with magnitude smaller than supported "
            "range",
        ),
        ("12a", "The parameter cannot be converted to a numeric value: 12a"),
        ("", "The parameter cannot be converted to a numeric value"),
    ],
)
def test_numbers_that_are_none(tables, number, message):  # noqa: F811
    name = tables.make()
    assert put(tables, name, x={"N": number}) == message
    assert invalid(
        tables.client.update_item,
        TableName=name,
        Key=item(pk="a"),
        UpdateExpression="SET x = :x",
        ExpressionAttributeValues={":x": {"N": number}},
    ) == f"ExpressionAttributeValues contains invalid value: {message} for key :x"


def test_numbers_come_back_in_plain_notation(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    given = {"1.50": "1.5", "1E3": "1000", "007": "7", "-0": "0", "9" * 38: "9" * 38}
    for number, kept in given.items():
        db.put_item(TableName=name, Item={**item(pk="a"), "n": {"N": number}})
        found = db.get_item(TableName=name, Key=item(pk="a"))["Item"]
        assert found["n"] == {"N": kept}


def test_sizes_and_depth(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    room = 400 * 1024 - len("pka") - len("x")
    db.put_item(TableName=name, Item=item(pk="a", x="x" * room))
    too_large = "Item size has exceeded the maximum allowed size"
    assert put(tables, name, x={"S": "x" * (room + 1)}) == too_large
    assert invalid(
        db.update_item,
        TableName=name,
        Key=item(pk="a"),
        UpdateExpression="SET y = :y",
        ExpressionAttributeValues=item(**{":y": "y"}),
    ) == "Item size to update has exceeded the maximum allowed size"
    assert "y" not in db.get_item(TableName=name, Key=item(pk="a"))["Item"]
    deep = {"S": "x"}
    for _ in range(32):
        deep = {"L": [deep]}
    db.put_item(TableName=name, Item={**item(pk="b"), "x": deep})
    assert put(tables, name, x={"M": {"y": deep}}) == (
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels "
        "beyond supported limit"
    )


def test_keys_that_do_not_fit(tables):  # noqa: F811
    db, name = tables.client, tables.make("pk sk", "g:N", GlobalSecondaryIndexes=[index("g", "g")])
    mismatch = "The provided key element does not match the schema"
    for key in (item(pk="a"), item(pk="a", sk=1), item(pk="a", sk="b", g=1), item(sk="a")):
        assert invalid(db.get_item, TableName=name, Key=key) == mismatch
        assert invalid(db.delete_item, TableName=name, Key=key) == mismatch
        assert invalid(db.update_item, TableName=name, Key=key) == mismatch
        assert invalid(db.batch_get_item, RequestItems={name: {"Keys": [key]}}) == mismatch
    assert invalid(db.get_item, TableName=name, Key=item(pk="", sk="b")) == (
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
        "contain an empty string value. Key: pk"
    )
    assert invalid(db.put_item, TableName=name, Item=item(pk="a")) == (
        f"{PREFIX}Missing the key sk in the item"
    )
    assert invalid(db.put_item, TableName=name, Item=item(pk="a", sk=1)) == (
        f"{PREFIX}Type mismatch for key sk expected: S actual: N"
    )
    assert invalid(db.put_item, TableName=name, Item=item(pk="a", sk="b", g="x")) == (
        f"{PREFIX}Type mismatch for Index Key g Expected: N Actual: S IndexName: g"
    )
    assert invalid(db.put_item, TableName=name, Item=item(pk="x" * 2049, sk="b")) == (
        f"{PREFIX}Size of hashkey has exceeded the maximum size limit of2048 bytes"
    )
    update = {"TableName": name, "Key": item(pk="a", sk="b"), "UpdateExpression": "SET g = :g"}
    values = {"ExpressionAttributeValues": item(**{":g": "x"})}
    assert invalid(db.update_item, **update, **values) == (
        "The update expression attempted to update the secondary index key to unsupported type"
    )
    assert "Item" not in db.get_item(TableName=name, Key=item(pk="a", sk="b"))


def test_names_and_values_that_nothing_uses(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    unused = "Value provided in ExpressionAttribute{} unused in expressions: keys: {{{}}}"
    put_if = {
        "TableName": name,
        "Item": item(pk="a"),
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    assert invalid(
        db.put_item, **put_if, ExpressionAttributeValues=item(**{":a": "x", ":b": "y"})
    ).endswith(unused.format("Values", ":a, :b"))
    assert invalid(db.put_item, **put_if, ExpressionAttributeNames={"#a": "x"}).endswith(
        unused.format("Names", "#a")
    )
    values = {"ExpressionAttributeValues": item(**{":a": "x"})}
    assert invalid(db.put_item, TableName=name, Item=item(pk="a"), **values) == (
        "ExpressionAttributeValues can only be specified when using expressions: "
        "ConditionExpression is null"
    )
    assert invalid(db.scan, TableName=name, ExpressionAttributeNames={"#a": "x"}) == (
        "ExpressionAttributeNames can only be specified when using expressions"
    )
    query = {"TableName": name, "KeyConditionExpression": "pk = :a"}
    two = {"ExpressionAttributeValues": item(**{":a": "x", ":b": "y"})}
    assert invalid(db.query, **query, **two) == unused.format("Values", ":b")


def test_filters_on_keys_and_indexes_that_are_not_there(tables):  # noqa: F811
    db = tables.client
    name = tables.make("pk sk", "g:S", GlobalSecondaryIndexes=[index("g", "g", "KEYS_ONLY")])
    values = {"ExpressionAttributeValues": item(**{":a": "a"})}
    query = {"TableName": name, "KeyConditionExpression": "pk = :a", **values}
    refusal = "Filter Expression can only contain non-primary key attributes: Primary key attribute: "
    assert invalid(db.query, **query, FilterExpression="begins_with(sk, :a)") == refusal + "sk"
    names = {"ExpressionAttributeNames": {"#p": "pk"}}
    assert invalid(db.query, **query, **names, FilterExpression="#p = :a") == refusal + "pk"
    # The table's key is no key of the index, and a part of another attribute's path is no key.
    db.query(
        TableName=name,
        IndexName="g",
        KeyConditionExpression="g = :a",
        FilterExpression="sk = :a",
        **values,
    )
    db.query(**query, FilterExpression="x.sk = :a")
    db.scan(TableName=name, FilterExpression="sk = :a", **values)
    assert invalid(db.query, **query, IndexName="none") == (
        "The table does not have the specified index: none"
    )
    on_index = {
        "TableName": name,
        "IndexName": "g",
        "KeyConditionExpression": "g = :a",
        "ProjectionExpression": "pk, x",
        **values,
    }
    assert invalid(db.query, **on_index) == (
        f"{PREFIX}Global secondary index g does not project [x]"
    )
    start = {"ExclusiveStartKey": item(pk="a")}
    assert invalid(db.query, **query, **start) == "The provided starting key is invalid"


def test_batches(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    puts = [{"PutRequest": {"Item": item(pk=str(number))}} for number in range(26)]
    message = invalid(db.batch_write_item, RequestItems={name: puts})
    assert message.startswith(f"1 validation error detected: Value '{{{name}=[WriteRequest(")
    assert message.endswith(
        "at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: "
        "[Member must have length less than or equal to 25, "
        "Member must have length greater than or equal to 1]"
    )
    other = tables.make()
    both = {name: puts[:13], other: puts[13:]}
    assert invalid(db.batch_write_item, RequestItems=both) == (
        "Too many items requested for the BatchWriteItem call"
    )
    doubled = "Provided list of item keys contains duplicates"
    twice = [puts[0], {"DeleteRequest": {"Key": item(pk="0")}}]
    assert invalid(db.batch_write_item, RequestItems={name: twice}) == doubled
    twice = [puts[0], {"PutRequest": {"Item": item(pk="0", x="other")}}]
    assert invalid(db.batch_write_item, RequestItems={name: twice}) == doubled
    keys = {"Keys": [item(pk="0"), item(pk="0")]}
    assert invalid(db.batch_get_item, RequestItems={name: keys}) == doubled
    keys = {"Keys": [item(pk=str(number)) for number in range(101)]}
    assert invalid(db.batch_get_item, RequestItems={name: keys}) == (
        f"1 validation error detected: Value at 'RequestItems.{name}.member.Keys' failed to satisfy "
        "constraint: Member must have length less than or equal to 100"
    )
    assert invalid(db.batch_get_item, RequestItems={}) == (
        "The requestItems parameter is required for BatchGetItem"
    )
    missing = ("ResourceNotFoundException", "Requested resource not found")
    assert refused(db.batch_write_item, RequestItems={"nowhere": puts[:1]}) == missing
    assert refused(db.get_item, TableName="nowhere", Key=item(pk="a")) == missing
    one_bad = [puts[0], {"PutRequest": {"Item": item(x="no key")}}]
    invalid(db.batch_write_item, RequestItems={name: one_bad})
    assert db.scan(TableName=name)["Count"] == 0


def test_choices_are_checked_together(tables):  # noqa: F811
    message = invalid(
        tables.client.put_item,
        TableName=tables.make(),
        Item=item(pk="a"),
        ReturnValues="ALL",
        ReturnConsumedCapacity="SOME",
    )
    assert message.startswith("2 validation errors detected: ")
    assert "Value 'ALL' at 'returnValues' failed to satisfy constraint: " in message
    assert "Value 'SOME' at 'returnConsumedCapacity' failed to satisfy constraint: " in message


def test_tables_that_can_not_be(tables):  # noqa: F811
    six = [index(f"l{number}", f"pk l{number}") for number in range(6)]
    kinds = " ".join(f"l{number}:S" for number in range(6))

    def refusal(keys="pk", attributes="", **settings):
        return invalid(lambda **_: tables.make(keys, attributes, **settings))

    assert refusal("pk sk", kinds, LocalSecondaryIndexes=six) == (
        f"{PREFIX}Number of LocalSecondaryIndexes exceeds per-table limit of 5"
    )
    many = [index(f"g-{number:02}", "g") for number in range(21)]
    assert refusal("pk", "g:S", GlobalSecondaryIndexes=many) == (
        f"{PREFIX}GlobalSecondaryIndex count exceeds the per-table limit of 20"
    )
    assert refusal("pk", "l:S", LocalSecondaryIndexes=[index("l-1", "pk l")]) == (
        f"{PREFIX}Table KeySchema does not have a range key, which is required when specifying a "
        "LocalSecondaryIndex"
    )
    twins = [index("same", "g"), index("same", "g")]
    assert refusal("pk", "g:S", GlobalSecondaryIndexes=twins) == (
        f"{PREFIX}Duplicate index name: same"
    )
    units = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    assert refusal(ProvisionedThroughput=units) == (
        f"{PREFIX}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
        "BillingMode is PAY_PER_REQUEST"
    )


def test_states_protection_and_updates(tables):  # noqa: F811
    db = tables.client
    name = tables.make(DeletionProtectionEnabled=True)
    assert invalid(db.delete_table, TableName=name) == (
        "Resource cannot be deleted as it is currently protected against deletion. Disable "
        "deletion protection first."
    )
    for number in range(3):
        db.put_item(TableName=name, Item=item(pk=str(number), g="x"))
    changed = db.update_table(
        TableName=name,
        DeletionProtectionEnabled=False,
        AttributeDefinitions=[{"AttributeName": "g", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": index("by-g", "g")}],
    )["TableDescription"]
    assert changed["TableStatus"] == "UPDATING"
    assert changed["GlobalSecondaryIndexes"][0]["IndexStatus"] == "CREATING"
    described = db.describe_table(TableName=name)["Table"]
    assert described["TableStatus"] == "ACTIVE"
    [made] = described["GlobalSecondaryIndexes"]
    assert (made["IndexStatus"], made["ItemCount"]) == ("ACTIVE", 3)
    assert made["IndexArn"] == described["TableArn"] + "/index/by-g"
    names = [one["AttributeName"] for one in described["AttributeDefinitions"]]
    assert sorted(names) == ["g", "pk"]
    assert "LocalSecondaryIndexes" not in described
    gone = {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "none"}}]}
    assert refused(db.update_table, TableName=name, **gone)[0] == "ResourceNotFoundException"
    deleted = db.delete_table(TableName=name)["TableDescription"]
    assert deleted["TableStatus"] == "DELETING"
    assert refused(db.describe_table, TableName=name) == (
        "ResourceNotFoundException",
        f"Requested resource not found: Table: {name} not found",
    )


def test_requests_that_say_nothing_sensible(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    one = "1 validation error detected: Value {} at '{}' failed to satisfy constraint: Member must {}"
    assert invalid(db.put_item, Item=item(pk="a")) == one.format("null", "tableName", "not be null")
    assert invalid(db.get_item, TableName="a table", Key=item(pk="a")) == one.format(
        "'a table'", "tableName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    )
    assert invalid(db.scan, TableName=name, Limit=0) == one.format(
        "'0'", "limit", "have value greater than or equal to 1"
    )
    undefined = "An expression attribute {} used in {} is not defined; attribute {}"
    assert invalid(db.scan, TableName=name, FilterExpression="#x = #y") == (
        "Invalid FilterExpression: "
        + undefined.format("name", "the document path", "name: #x")
    )
    put_if = {"TableName": name, "Item": item(pk="a"), "ConditionExpression": "pk = :x"}
    assert invalid(db.put_item, **put_if) == (
        "Invalid ConditionExpression: " + undefined.format("value", "expression", "value: :x")
    )
    assert invalid(db.put_item, **put_if, Expected={"pk": {"Exists": False}}) == (
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}"
    )
    asked = {"TableName": name, "Key": item(pk="a")}
    assert invalid(db.get_item, **asked, ProjectionExpression="!!x") == (
        'Invalid ProjectionExpression: Syntax error; token: "!", near: "!!"'
    )
    assert invalid(
        db.query,
        TableName=name,
        KeyConditionExpression="pk = :a",
        ExpressionAttributeValues=item(**{":a": 1}),
    ) == f"{PREFIX}Condition parameter type does not match schema type"


def test_binary_keys_and_values_are_found_again(tables):  # noqa: F811
    db, name = tables.client, tables.make("pk", "pk:B")
    new = {"pk": {"B": b"\x00k"}, "b": {"B": b"x" * 5000}, "l": {"L": [{"B": b"z"}]}}
    key = {"TableName": name, "Key": {"pk": new["pk"]}}
    db.transact_write_items(TransactItems=[{"Put": {"TableName": name, "Item": new}}])
    assert db.get_item(**key)["Item"] == new
    assert tables.units(db.get_item, **key) == 1.0
    condition = {
        "ConditionExpression": "b <> :b",
        "ExpressionAttributeValues": {":b": new["b"]},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(db.exceptions.TransactionCanceledException) as caught:
        db.transact_write_items(TransactItems=[{"Delete": key | condition}])
    [reason] = caught.value.response["CancellationReasons"]
    assert reason["Item"] == new
    db.batch_write_item(RequestItems={name: [{"DeleteRequest": {"Key": key["Key"]}}]})
    assert "Item" not in db.get_item(**key)

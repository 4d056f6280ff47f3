"""Transactions: all or nothing, and once for each token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from dynamodb_support import invalid, item, refused, tables  # noqa: F401


def put(name, **values):
    return {"Put": {"TableName": name, "Item": item(**values)}}


def add(name, key, amount):
    return {
        "Update": {
            "TableName": name,
            "Key": item(pk=key),
            "UpdateExpression": "ADD n :n",
            "ExpressionAttributeValues": item(**{":n": amount}),
        }
    }


def stored(tables, name, key):  # noqa: F811
    answer = tables.client.get_item(TableName=name, Key=item(pk=key), ConsistentRead=True)
    return answer.get("Item")


def test_all_or_nothing_with_a_reason_for_each(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    db.put_item(TableName=name, Item=item(pk="there", n=1))
    check = {
        "TableName": name,
        "Item": item(pk="there"),
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(ClientError) as caught:
        db.transact_write_items(
            TransactItems=[put(name, pk="new"), {"Put": check}, add(name, "other", 1)]
        )
    response = caught.value.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    assert response["Error"]["Message"] == (
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        "[None, ConditionalCheckFailed, None]"
    )
    assert response["CancellationReasons"] == [
        {"Code": "None"},
        {
            "Code": "ConditionalCheckFailed",
            "Message": "The conditional request failed",
            "Item": item(pk="there", n=1),
        },
        {"Code": "None"},
    ]
    assert stored(tables, name, "new") is None and stored(tables, name, "other") is None


def test_what_can_not_be_carried_out_undoes_the_rest(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    db.put_item(TableName=name, Item=item(pk="text", n="no number"))
    with pytest.raises(ClientError) as caught:
        db.transact_write_items(TransactItems=[put(name, pk="new"), add(name, "text", 1)])
    codes = [reason["Code"] for reason in caught.value.response["CancellationReasons"]]
    assert codes == ["None", "ValidationError"]
    assert stored(tables, name, "new") is None
    bad = {"Put": {"TableName": name, "Item": item(x="no key")}}
    code, message = refused(db.transact_write_items, TransactItems=[bad])
    assert code == "TransactionCanceledException" and message.endswith("[ValidationError]")


def test_a_hundred_at_most_each_on_its_own_item(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    many = [put(name, pk=str(number)) for number in range(101)]
    db.transact_write_items(TransactItems=many[:100])
    gets = [{"Get": {"TableName": name, "Key": item(pk=str(number))}} for number in range(100)]
    answer = db.transact_get_items(TransactItems=gets)
    assert [one["Item"]["pk"]["S"] for one in answer["Responses"]] == list(map(str, range(100)))
    assert invalid(db.transact_write_items, TransactItems=many).endswith(
        "at 'transactItems' failed to satisfy constraint: "
        "Member must have length less than or equal to 100"
    )
    assert invalid(db.transact_get_items, TransactItems=[]) == (
        "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )
    twice = "Transaction request cannot include multiple operations on one item"
    assert invalid(db.transact_write_items, TransactItems=[many[0], add(name, "0", 1)]) == twice
    assert invalid(db.transact_get_items, TransactItems=gets[:1] * 2) == twice
    large = [put(name, pk=str(number), x="x" * 350_000) for number in range(13)]
    assert "4 MB" in invalid(db.transact_write_items, TransactItems=large)


def test_a_token_counts_once_for_ten_minutes(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    request = {
        "TransactItems": [add(name, "a", 5)],
        "ClientRequestToken": name,
        "ReturnConsumedCapacity": "TOTAL",
    }
    [cost] = db.transact_write_items(**request)["ConsumedCapacity"]
    assert cost == {"TableName": name, "CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}
    [cost] = db.transact_write_items(**request)["ConsumedCapacity"]
    assert cost == {"TableName": name, "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0}
    assert stored(tables, name, "a")["n"] == {"N": "5"}
    other = request | {"TransactItems": [add(name, "a", 6)]}
    code, _ = refused(db.transact_write_items, **other)
    assert code == "IdempotentParameterMismatchException"
    tables.wiring.advance(minutes=11)
    db.transact_write_items(**other)
    assert stored(tables, name, "a")["n"] == {"N": "11"}


def test_many_clients_at_once_lose_nothing(tables):  # noqa: F811
    db, name = tables.client, tables.make()

    def transfer(number):
        parts = [add(name, "from", -1), add(name, "to", 1), put(name, pk=f"receipt-{number}")]
        db.transact_write_items(TransactItems=parts)
        db.update_item(TableName=name, **{k: v for k, v in add(name, "all", 1)["Update"].items()
                                          if k != "TableName"})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(transfer, range(48)))
    totals = [stored(tables, name, key)["n"]["N"] for key in ("from", "to", "all")]
    assert totals == ["-48", "48", "48"]
    assert db.scan(TableName=name)["Count"] == 51

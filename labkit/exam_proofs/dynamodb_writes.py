"""Proofs on DynamoDB's writes: conditions, counters, transactions, batches, TTL, streams."""

from __future__ import annotations

import json
from decimal import Decimal

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_and_message, error_of


def _s(text: str) -> dict[str, str]:
    return {"S": text}


def _n(number: int) -> dict[str, str]:
    return {"N": str(number)}


def put_once(aws: Bench) -> Observations:
    """dynamodb-07: a condition and its write are one step."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("orders", "OrderId")
    once = {"TableName": table, "ConditionExpression": "attribute_not_exists(OrderId)"}

    def order(text: str) -> dict:
        return {"OrderId": _s("7"), "By": _s(text)}

    def stored() -> str:
        return dynamodb.get_item(TableName=table, Key={"OrderId": _s("7")}, ConsistentRead=True)[
            "Item"
        ]["By"]["S"]

    see("The first", error_of(dynamodb.put_item, Item=order("first"), **once), "no error")
    see(
        "The second",
        error_of(dynamodb.put_item, Item=order("second"), **once),
        "ConditionalCheckFailedException",
        supports="condition",
    )
    see("Stored", stored(), "first", supports="condition")

    dynamodb.delete_item(TableName=table, Key={"OrderId": _s("7")})
    key = {"TableName": table, "Key": {"OrderId": _s("7")}, "ConsistentRead": True}
    looks = ["Item" in dynamodb.get_item(**key) for _ in range(2)]
    see("Two workers look first, both find it", looks, [False, False])
    for worker in ("first", "second"):
        dynamodb.put_item(TableName=table, Item=order(worker))
    see("Stored after both have written", stored(), "second", refutes="get-first")
    old = dynamodb.put_item(TableName=table, Item=order("third"), ReturnValues="ALL_OLD")
    see(
        "ALL_OLD tells of one, and stored is another",
        (old["Attributes"]["By"]["S"], stored()),
        ("second", "third"),
        refutes="return-old",
    )
    batch = {table: [{"PutRequest": {"Item": order("fourth")}}]}
    dynamodb.batch_write_item(RequestItems=batch)
    see("Stored after a batch", stored(), "fourth", refutes="batch")
    return see


def atomic_counter(aws: Bench) -> Observations:
    """dynamodb-08: ADD counts both of two updates; read, add and put loses one."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("pages", "Page")
    key = {"Page": _s("home")}

    def views() -> int:
        item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
        return int(item["Views"]["N"])

    dynamodb.put_item(TableName=table, Item=key | {"Views": _n(0)})
    read_by_two = [views(), views()]
    for seen in read_by_two:
        dynamodb.put_item(TableName=table, Item=key | {"Views": _n(seen + 1)})
    see("Two readers, consistent, then two puts", views(), 1, refutes="consistent-read")
    dynamodb.put_item(TableName=table, Item=key | {"Views": _n(0)})
    for seen in [views(), views()]:
        request = {"PutRequest": {"Item": key | {"Views": _n(seen + 1)}}}
        dynamodb.batch_write_item(RequestItems={table: [request]})
    see("The same with BatchWriteItem", views(), 1, refutes="batch-write")
    dynamodb.put_item(TableName=table, Item=key | {"Views": _n(0)})
    for _ in range(2):
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="ADD #v :one",
            ExpressionAttributeNames={"#v": "Views"},
            ExpressionAttributeValues={":one": _n(1)},
        )
    see("Two UpdateItem with ADD", views(), 2, supports="update-add")
    return see


def optimistic_lock(aws: Bench) -> Observations:
    """dynamodb-09: a write on condition of the version that was read can't destroy another one."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("products", "Id")
    key = {"Id": _s("1")}

    def save(text: str, version: int) -> str:
        return error_of(
            dynamodb.update_item,
            TableName=table,
            Key=key,
            UpdateExpression="SET #t = :t, Version = :next",
            ConditionExpression="Version = :read",
            ExpressionAttributeNames={"#t": "Text"},
            ExpressionAttributeValues={
                ":t": _s(text),
                ":read": _n(version),
                ":next": _n(version + 1),
            },
        )

    dynamodb.put_item(TableName=table, Item=key | {"Text": _s("old"), "Version": _n(1)})
    see("Ann read version 1 and saves", save("Ann's", 1), "no error")
    see(
        "Bob read version 1 and saves",
        save("Bob's", 1),
        "ConditionalCheckFailedException",
        supports="version",
    )
    see("Bob reads again and saves", save("Ann's and Bob's", 2), "no error", supports="version")

    put = {"Put": {"TableName": table, "Item": key | {"Text": _s("Ann's")}}}
    dynamodb.transact_write_items(TransactItems=[put])
    put = {"Put": {"TableName": table, "Item": key | {"Text": _s("Bob's")}}}
    see(
        "Both save by a transaction without a condition",
        error_of(dynamodb.transact_write_items, TransactItems=[put]),
        "no error",
    )
    item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    see(
        "What is left, read consistently", item["Text"]["S"], "Bob's", refutes="transact consistent"
    )
    return see


def transaction(aws: Bench) -> Observations:
    """dynamodb-10: a transaction does all or nothing, across tables."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    flights, tickets = aws.table("flights", "Id"), aws.table("tickets", "Id")
    dynamodb.put_item(TableName=flights, Item={"Id": _s("LH1"), "Seats": _n(1)})
    take_seat = {
        "TableName": flights,
        "Key": {"Id": _s("LH1")},
        "UpdateExpression": "SET Seats = Seats - :one",
        "ConditionExpression": "Seats >= :one",
        "ExpressionAttributeValues": {":one": _n(1)},
    }

    def book(ticket: str) -> str:
        store = {"TableName": tickets, "Item": {"Id": _s(ticket)}}
        return error_of(
            dynamodb.transact_write_items, TransactItems=[{"Update": take_seat}, {"Put": store}]
        )

    def sold() -> int:
        return dynamodb.scan(TableName=tickets, ConsistentRead=True)["Count"]

    see("The last seat", book("t1"), "no error")
    see("One more", book("t2"), "TransactionCanceledException", supports="transact-write")
    see("Tickets stored", sold(), 1, supports="transact-write")
    try:
        store = {"TableName": tickets, "Item": {"Id": _s("t3")}}
        dynamodb.transact_write_items(TransactItems=[{"Update": take_seat}, {"Put": store}])
    except dynamodb.exceptions.TransactionCanceledException as cancelled:
        reasons = [reason["Code"] for reason in cancelled.response["CancellationReasons"]]
        see("Its reasons", reasons, ["ConditionalCheckFailed", "None"], supports="transact-write")
    request = {"PutRequest": {"Item": {"Id": _s("t4")}}, "ConditionExpression": "Seats >= :one"}
    see(
        "A batch with a condition",
        error_of(dynamodb.batch_write_item, RequestItems={tickets: [request]}),
        "ParamValidationError",
        refutes="batch-write",
    )
    dynamodb.put_item(TableName=tickets, Item={"Id": _s("t5")})
    see("A ticket put first, with no seat free", sold(), 2, refutes="put-stream")
    return see


def decimal(aws: Bench) -> Observations:
    """dynamodb-13: numbers are exact decimals; boto3 takes Decimal and refuses floats."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("orders", "OrderId")
    to_item, from_item = TypeSerializer(), TypeDeserializer()
    body = '{"OrderId": "7", "Amount": 12.50}'
    try:
        to_item.serialize(json.loads(body)["Amount"])
        refused = "no error"
    except TypeError as error:
        refused = str(error)
    see("A float", refused, lambda text: text.startswith("Float types are not supported"))
    order = json.loads(body, parse_float=Decimal)
    item = {name: to_item.serialize(value) for name, value in order.items()}
    see("A Decimal becomes", item["Amount"], {"N": "12.50"}, supports="decimal")
    dynamodb.put_item(TableName=table, Item=item)
    key = {"OrderId": _s("7")}
    dynamodb.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="ADD Amount :cents",
        ExpressionAttributeValues={":cents": to_item.serialize(Decimal("0.10"))},
    )
    read = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    see(
        "After ADD 0.10",
        from_item.deserialize(read["Amount"]),
        Decimal("12.60"),
        supports="decimal",
        refutes="round",
    )
    see(
        "The low-level client with a float",
        error_of(dynamodb.put_item, TableName=table, Item=key | {"Amount": {"N": 12.5}}),
        "ParamValidationError",
        refutes="client",
    )
    dynamodb.put_item(TableName=table, Item=key | {"Amount": _s("12.5")})
    see(
        "ADD to an amount stored as text",
        error_of(
            dynamodb.update_item,
            TableName=table,
            Key=key,
            UpdateExpression="ADD Amount :one",
            ExpressionAttributeValues={":one": _n(1)},
        ),
        "ValidationException",
        refutes="str",
    )
    return see


def reserved_word(aws: Bench) -> Observations:
    """dynamodb-14: a placeholder with # stands for any attribute name."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("orders", "OrderId")
    key = {"OrderId": _s("7")}

    def update(expression: str, **more) -> tuple[str, str]:
        values = {":v": _s("paid")} | more.pop("values", {})
        return error_and_message(
            dynamodb.update_item,
            TableName=table,
            Key=key,
            UpdateExpression=expression,
            ExpressionAttributeValues=values,
            **more,
        )

    code, message = update("SET status = :v")
    see("The name itself", (code, "reserved" in message), ("ValidationException", True))
    see(
        "A name placeholder",
        update("SET #s = :v", ExpressionAttributeNames={"#s": "status"})[0],
        "no error",
        supports="name-placeholder",
    )
    item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    see("The attribute that was set", item.get("status"), _s("paid"), supports="name-placeholder")
    see(
        "A value placeholder",
        update("SET :s = :v", values={":s": _s("status")})[0],
        "ValidationException",
        refutes="value-placeholder",
    )
    see("Quotes", update('SET "status" = :v')[0], "ValidationException", refutes="quotes")
    see("Upper case", update("SET STATUS = :v")[0], "ValidationException", refutes="upper-case")
    return see


def request_token(aws: Bench) -> Observations:
    """dynamodb-22: the same token and content have no further effect for ten minutes."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("accounts", "Id")
    for account in ("a", "b"):
        dynamodb.put_item(TableName=table, Item={"Id": _s(account), "Balance": _n(100)})

    def transfer(token: str, amount: int = 50) -> str:
        actions = [
            {
                "Update": {
                    "TableName": table,
                    "Key": {"Id": _s(account)},
                    "UpdateExpression": "ADD Balance :amount",
                    "ExpressionAttributeValues": {":amount": _n(change)},
                }
            }
            for account, change in (("a", -amount), ("b", amount))
        ]
        return error_of(
            dynamodb.transact_write_items, TransactItems=actions, ClientRequestToken=token
        )

    def balances() -> list[int]:
        items = dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        return [int(item["Balance"]["N"]) for item in sorted(items, key=lambda i: i["Id"]["S"])]

    see("The transfer", (transfer("token-1"), balances()), ("no error", [50, 150]))
    see(
        "Again, same token",
        (transfer("token-1"), balances()),
        ("no error", [50, 150]),
        supports="same-token",
    )
    see(
        "Same token, another amount",
        transfer("token-1", 60),
        "IdempotentParameterMismatchException",
    )
    see(
        "Again, new token",
        (transfer("token-2"), balances()),
        ("no error", [0, 200]),
        refutes="new-token",
    )
    update = {"Update": {"Key": {"Id": _s("a")}}}
    see(
        "An update in a batch",
        error_of(dynamodb.batch_write_item, RequestItems={table: [update]}),
        "ParamValidationError",
        refutes="batch",
    )
    return see

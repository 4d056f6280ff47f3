"""The exercises of notebook 01: read less, write with a version, page through an index."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, NotYet, Wrong, expect

TABLE = "PracticeOrders"
_DAY = Path(__file__).resolve().parents[3] / "data" / "orders" / "day.jsonl"


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 01, and its practice table with the day of orders in it."""
    dynamodb = lab.client("dynamodb")
    practice = lab.resource("dynamodb").Table(TABLE)
    day = [json.loads(line, parse_float=Decimal) for line in _DAY.read_text("utf-8").splitlines()]
    if TABLE not in dynamodb.list_tables()["TableNames"]:
        _create(dynamodb)
        with practice.batch_writer() as batch:
            for order in day:
                who = order["Customer"]
                keys = {"Customer": who["Name"], "Country": who["Country"]}
                batch.put_item(Item={**order, **keys})
    (regular, _), = Counter(order["Customer"]["Name"] for order in day).most_common(1)  # fmt: skip
    return {"lab": lab, "names": lab.names, "dynamodb": dynamodb, "practice": practice,
            "regular": regular, "Key": Key, "Attr": Attr, "Decimal": Decimal}  # fmt: skip


def only_two_fields(lab: Lab, answer: Any, cheaper: Any) -> str:
    """Whether a query returned id and amount of all the regular's orders, and no more."""
    usable = isinstance(answer, dict) and isinstance(answer.get("Items"), list)
    expect(usable, "the whole answer of practice.query", type(answer).__name__, "your cell")
    found = Counter(name for item in answer["Items"] for name in item)
    listed = ", ".join(sorted(found)) or "no attributes"
    where = "ProjectionExpression, which names what comes back"
    expect(found.keys() == {"OrderId", "Amount"}, "only Amount and OrderId", listed, where)
    owners = Counter(item["Customer"] for item in _scan(lab))
    _, times = owners.most_common(1)[0]
    count = len(answer["Items"])
    expect(count == times, f"the regular customer's {times} orders", count, "the key condition")
    read = answer.get("ScannedCount", count)
    expect(
        read == count,
        f"{count} items read for {count} returned",
        f"{read} items read",
        "what a scan does: it reads, and bills, everything",
    )
    expect(
        cheaper is False,
        "cheaper = False",
        f"cheaper = {cheaper}",
        "what is billed: the items that are read, not the fields that are returned",
    )
    return f"{count} orders, two fields each; the bill stays the same, the traffic shrinks."


def version_guards(lab: Lab, save: Callable[[dict[str, Any], str, int], Any]) -> str:
    """Whether ``save(key, note, read)`` writes once and never over somebody's newer version."""
    _function(save, "save")
    practice = lab.resource("dynamodb").Table(TABLE)
    key = {"Customer": "Check", "OrderId": f"CHECK-{uuid.uuid4().hex}"}

    def stored() -> dict[str, Any]:
        return practice.get_item(Key=key, ConsistentRead=True).get("Item", {})

    practice.put_item(Item={**key, "Amount": 5, "Version": 3})
    try:
        save(key, "call first", 3)
        item = stored()
        expect(
            item.get("Note") == "call first",
            "the note to be stored",
            item.get("Note"),
            "SET Note = :note in the UpdateExpression",
        )
        expect(
            item.get("Version") == 4,
            "version 4 after saving what was read as version 3",
            item.get("Version"),
            "SET Version = Version + :one",
        )
        expect(
            item.get("Amount") == 5,
            "Amount to be left as it was",
            item.get("Amount"),
            "put_item, which replaces the whole item, and update_item, which does not",
        )
        try:
            save(key, "too late", 3)
        except ClientError as refused:
            if refused.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
        expect(
            stored() == item,
            "a second save of version 3 to change nothing",
            f"note {stored().get('Note')!r}",
            "ConditionExpression: Version = :read",
        )
        save(key, "read again", 4)
        expect(
            stored().get("Version") == 5,
            "a save of version 4 to work again",
            f"version {stored().get('Version')}",
            "the version you compare with",
        )
    finally:
        practice.delete_item(Key=key)
    return "whoever read an old version is told so, and nothing is undone."


def pages_through_germany(lab: Lab, page_after: Callable[[Any], Any]) -> str:
    """Whether ``page_after(last_key)`` walks through Germany's orders, ten at a time."""
    _function(page_after, "page_after")
    amounts = [item["Amount"] for item in _scan(lab) if item.get("Country") == "DE"]
    expect(amounts, "orders from Germany in the table", "none", "the cell that loads the day")
    wanted = sorted(amounts, reverse=True)
    seen: list[Any] = []
    ids: set[str] = set()
    key: Any = None
    while True:
        page, key = _page(page_after, key)
        found = [item["Amount"] for item in page]
        where = f"page {len(seen) // 10 + 1}"
        again = [item["OrderId"] for item in page if item["OrderId"] in ids]
        expect(
            not again,
            "each order once",
            f"{again[:1]} a second time on {where}",
            "ExclusiveStartKey: where the page before ended",
        )
        ids.update(item["OrderId"] for item in page)
        right = wanted[len(seen) : len(seen) + 10]
        shown = ", ".join(map(str, found[:3])) or "nothing"
        expect(
            found == right,
            f"{len(right)} orders on {where}, {right[0]} first"
            if right
            else f"nothing more on {where}",
            f"{len(found)} orders: {shown} ...",
            "ScanIndexForward and Limit",
        )
        seen += found
        if key is None or not page:
            break
    expect(
        len(seen) == len(wanted),
        f"{len(wanted)} orders on all pages together",
        f"no next key after {len(seen)}",
        "LastEvaluatedKey of the answer",
    )
    return f"{len(seen)} orders in pages of ten, largest first."


def _page(page_after: Callable[[Any], Any], key: Any) -> tuple[list[dict[str, Any]], Any]:
    answer = page_after(key)
    try:
        items, following = answer
        [(item["Amount"], item["OrderId"]) for item in items]
    except (TypeError, ValueError, KeyError) as problem:
        raise NotYet(
            "a list of orders and the next last key", type(answer).__name__, "what you return"
        ) from problem
    return list(items), following


def _function(given: Any, name: str) -> None:
    expect(callable(given), f"the function {name}", f"a {type(given).__name__}",
           f"the call of check: hand over {name} itself, without parentheses")  # fmt: skip


def _scan(lab: Lab) -> list[dict[str, Any]]:
    practice = lab.resource("dynamodb").Table(TABLE)
    pages = practice.meta.client.get_paginator("scan").paginate(TableName=TABLE)
    return [item for page in pages for item in page["Items"]]


def _create(dynamodb: Any) -> None:
    def key(partition: str, sort: str) -> list[dict[str, str]]:
        pairs = [(partition, "HASH"), (sort, "RANGE")]
        return [{"AttributeName": name, "KeyType": kind} for name, kind in pairs]

    kinds = {"Customer": "S", "OrderId": "S", "Country": "S", "Amount": "N"}
    index = {"IndexName": "ByCountry", "KeySchema": key("Country", "Amount"),
             "Projection": {"ProjectionType": "ALL"}}  # fmt: skip
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=key("Customer", "OrderId"),
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()
        ],
        GlobalSecondaryIndexes=[index],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=TABLE)


_FIELDS = """\
wanted = {"KeyConditionExpression": Key("Customer").eq(regular)}
answer = practice.query(**wanted%s)
cheaper = %s
check("01.1", answer, cheaper)"""
_TWO = ', ProjectionExpression="OrderId, Amount"'

_SAVE = """\
def save(key, note, read):
    practice.update_item(
        Key=key,
        UpdateExpression="SET Note = :note, Version = %s",
        ConditionExpression="Version = :read",
        ExpressionAttributeValues={":note": note, ":one": 1, ":read": read},
    )


check("01.2", save)"""
_SAVE_RIGHT = _SAVE % "Version + :one"

_PAGES = """\
def page_after(last_key):
    answer = practice.query(
        IndexName="ByCountry",
        KeyConditionExpression=Key("Country").eq("DE"),
        ScanIndexForward=False,
        Limit=10,
        **({"ExclusiveStartKey": last_key} if last_key else {}),
    )
    return answer["Items"], answer.get("LastEvaluatedKey")


check("01.3", page_after)"""

EXERCISES = (
    Exercise(
        id="01.1",
        title="Only the fields you need",
        task="The order page shows id and amount. Read the regular customer's orders so that only "
        "`OrderId` and `Amount` come back. Is that cheaper? Set `cheaper` to `True` or `False`.",
        difficulty=1,
        minutes=5,
        skills=("1.3.3", "1.3.6"),
        hints=(
            "The query is right; it needs one more parameter that names the attributes.",
            'A projection expression: `ProjectionExpression="Name1, Name2"`. As to the bill: '
            "remember what a filter saved.",
        ),
        start=_FIELDS % ("", "None"),
        solution=_FIELDS % (_TWO, "False"),
        remark="It saves traffic only: what is read is billed, not what is returned.",
        wants=("answer", "cheaper"),
        look=only_two_fields,
        scene=scene,
        wrong=(
            Wrong(_FIELDS % (_TWO, "True"), "not the fields that are returned"),
            Wrong(_FIELDS % (', ProjectionExpression="OrderId"', "False"), "found OrderId."),
            Wrong(_FIELDS % (_TWO + ", Limit=2", "False"), "found 2."),
            Wrong(
                """\
answer = practice.scan(
    FilterExpression=Attr("Customer").eq(regular), ProjectionExpression="OrderId, Amount"
)
cheaper = False
check("01.1", answer, cheaper)""",
                "what a scan does",
            ),
            Wrong(
                'answer = answer["Items"]\ncheck("01.1", answer, cheaper)',
                "the whole answer of practice.query",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="01.2",
        title="Do not undo somebody's work",
        task="Two employees edit one order. Finish `save`: it sets the order's note and raises its "
        "`Version` by one, on the condition that the version still is the one you read. Everything "
        "else in the order stays. `check` tries it on an order of its own.",
        difficulty=2,
        minutes=10,
        skills=("1.1.5", "1.3.6"),
        hints=(
            "`update_item` changes some attributes and takes a `ConditionExpression`.",
            "The condition compares `Version` with a value; the update sets it to one more.",
            'The condition is `"Version = :read"`, and `:read` one of the '
            "`ExpressionAttributeValues`.",
        ),
        start="""\
def save(key, note, read):
    practice.update_item(
        Key=key,
        UpdateExpression="SET Note = :note",
        ExpressionAttributeValues={":note": note},
    )


check("01.2", save)""",
        solution=_SAVE_RIGHT,
        remark="Who is late gets `ConditionalCheckFailedException`: read again, then decide.",
        wants=("save",),
        look=version_guards,
        scene=scene,
        wrong=(
            Wrong(
                _SAVE_RIGHT.replace('        ConditionExpression="Version = :read",\n', "").replace(
                    ', ":read": read', ""
                ),
                "a second save of version 3 to change nothing",
            ),
            Wrong(
                """\
def save(key, note, read):
    practice.put_item(
        Item={**key, "Note": note, "Version": read + 1},
        ConditionExpression=Attr("Version").eq(read),
    )


check("01.2", save)""",
                "Amount to be left as it was",
            ),
            Wrong(_SAVE % ":read + :one + :one", "version 4 after saving"),
            Wrong(
                _SAVE_RIGHT.replace("Version = :read", "attribute_exists(Version)").replace(
                    ', ":read": read', ""
                ),
                "a second save of version 3 to change nothing",
            ),
            Wrong(
                'save = "done"\ncheck("01.2", save)',
                "the function save",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="01.3",
        title="A page at a time",
        task="A web page shows ten of Germany's orders, largest first, and has a button *more*. "
        "Finish `page_after`: it takes the last key of the page before, or `None`, and returns "
        "ten orders and the next last key, `None` after the last page.",
        difficulty=3,
        minutes=10,
        skills=("1.3.3", "1.3.4"),
        hints=(
            "The index is sorted by amount already; only the direction is wrong.",
            "The answer's `LastEvaluatedKey` is the next call's `ExclusiveStartKey`.",
            "`ExclusiveStartKey` may not be `None`: leave it out on the first page.",
        ),
        start="""\
def page_after(last_key):
    answer = practice.query(
        IndexName="ByCountry", KeyConditionExpression=Key("Country").eq("DE"), Limit=10
    )
    return answer["Items"], None


check("01.3", page_after)""",
        solution=_PAGES,
        wants=("page_after",),
        look=pages_through_germany,
        scene=scene,
        wrong=(
            Wrong(_PAGES.replace("        ScanIndexForward=False,\n", ""), "ScanIndexForward"),
            Wrong(
                _PAGES.replace(
                    '        **({"ExclusiveStartKey": last_key} if last_key else {}),\n', ""
                ),
                "each order once",
            ),
            Wrong(_PAGES.replace('answer.get("LastEvaluatedKey")', "None"), "no next key after 10"),
            Wrong(
                _PAGES.replace(
                    '**({"ExclusiveStartKey": last_key} if last_key else {})',
                    "ExclusiveStartKey=last_key",
                ),
                "ParamValidationError",
            ),
            Wrong(
                _PAGES.replace(
                    'return answer["Items"], answer.get("LastEvaluatedKey")',
                    'return answer["Items"]',
                ),
                "a list of orders and the next last key",
            ),
        ),
    ),
)

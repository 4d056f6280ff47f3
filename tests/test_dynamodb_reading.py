"""Pages, order and segments of queries and scans."""

from __future__ import annotations

import pytest
from dynamodb_support import index, item, tables  # noqa: F401


def query(name, **more):
    return {
        "TableName": name,
        "KeyConditionExpression": "pk = :a",
        "ExpressionAttributeValues": item(**{":a": "a"}),
        **more,
    }


def test_a_page_that_its_limit_ends_has_a_key_to_go_on(tables):  # noqa: F811
    db, name = tables.client, tables.make("pk sk")
    for number in range(4):
        db.put_item(TableName=name, Item=item(pk="a", sk=str(number)))
    assert "LastEvaluatedKey" in db.query(**query(name, Limit=4))
    assert "LastEvaluatedKey" not in db.query(**query(name, Limit=5))
    page = db.query(**query(name, Limit=3, ScanIndexForward=False))
    assert [one["sk"]["S"] for one in page["Items"]] == ["3", "2", "1"]
    rest = query(name, ScanIndexForward=False, ExclusiveStartKey=page["LastEvaluatedKey"])
    assert [one["sk"]["S"] for one in db.query(**rest)["Items"]] == ["0"]
    # A start key need not be there.
    after = query(name, ExclusiveStartKey=item(pk="a", sk="15"))
    assert [one["sk"]["S"] for one in db.query(**after)["Items"]] == ["2", "3"]


def test_a_page_ends_at_a_megabyte(tables):  # noqa: F811
    db, name = tables.client, tables.make("pk sk")
    for number in range(5):
        db.put_item(TableName=name, Item=item(pk="a", sk=str(number), x="x" * 300_000))
    first = db.query(**query(name))
    assert first["Count"] == 3 and first["LastEvaluatedKey"] == item(pk="a", sk="2")
    pages = list(db.get_paginator("query").paginate(**query(name)))
    assert [page["Count"] for page in pages] == [3, 2]
    narrow = db.query(**query(name, ProjectionExpression="sk"))
    assert narrow["Count"] == 3
    # Filtered out entirely, and still a page of its own.
    none = db.query(**query(name, FilterExpression="x = :a"))
    assert (none["Count"], none["ScannedCount"], "LastEvaluatedKey" in none) == (0, 3, True)


@pytest.mark.parametrize(
    ("kind", "ordered"),
    [
        ("N", [{"N": "-10"}, {"N": "-9.5"}, {"N": "2"}, {"N": "10"}]),
        ("B", [{"B": b"\x00"}, {"B": b"\x01\xff"}, {"B": b"\x7f"}, {"B": b"\xf0"}]),
        ("S", [{"S": "B"}, {"S": "a"}, {"S": "é"}, {"S": "\U0001f600"}]),
    ],
)
def test_sort_keys_by_their_type(tables, kind, ordered):  # noqa: F811
    db, name = tables.client, tables.make("pk sk", f"sk:{kind}")
    for value in reversed(ordered):
        db.put_item(TableName=name, Item={"pk": {"S": "a"}, "sk": value})
    assert [one["sk"] for one in db.query(**query(name))["Items"]] == ordered
    between = query(name, KeyConditionExpression="pk = :a AND sk BETWEEN :l AND :h")
    between["ExpressionAttributeValues"] |= {":l": ordered[1], ":h": ordered[2]}
    assert [one["sk"] for one in db.query(**between)["Items"]] == ordered[1:3]


def test_entries_of_an_index_with_one_key_stay_apart(tables):  # noqa: F811
    db = tables.client
    name = tables.make("pk", "g:S r:N", GlobalSecondaryIndexes=[index("by-g", "g r")])
    for number in range(9):
        db.put_item(TableName=name, Item=item(pk=str(number), g="x", r=number // 3))
    db.put_item(TableName=name, Item=item(pk="sparse", g="x"))
    asked = {
        "TableName": name,
        "IndexName": "by-g",
        "KeyConditionExpression": "g = :g",
        "ExpressionAttributeValues": item(**{":g": "x"}),
    }
    pages = db.get_paginator("query").paginate(**asked, PaginationConfig={"PageSize": 2})
    found = [one["pk"]["S"] for page in pages for one in page["Items"]]
    assert found == [str(number) for number in range(9)]
    back = db.query(**asked, ScanIndexForward=False, Limit=4)
    assert [one["r"]["N"] for one in back["Items"]] == ["2", "2", "2", "1"]


def test_scans_go_everywhere_once(tables):  # noqa: F811
    db, name = tables.client, tables.make("pk sk")
    made = {(str(number), part) for number in range(40) for part in "ab"}
    for pk, sk in made:
        db.put_item(TableName=name, Item=item(pk=pk, sk=sk))

    def scanned(**more):
        pages = db.get_paginator("scan").paginate(
            TableName=name, **more, PaginationConfig={"PageSize": 7}
        )
        return [(one["pk"]["S"], one["sk"]["S"]) for page in pages for one in page["Items"]]

    whole = scanned()
    assert len(whole) == 80 and set(whole) == made and whole != sorted(whole)
    assert whole == scanned()
    parts = [scanned(Segment=number, TotalSegments=3) for number in range(3)]
    assert all(parts) and sorted(sum(parts, [])) == sorted(made)

"""Proofs on DynamoDB's reads and indexes: what is read, what it costs, what comes back."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of


def _s(text: str) -> dict[str, str]:
    return {"S": text}


def _index(name: str, partition: str, sort: str | None = None, projection: str = "ALL") -> dict:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    if sort:
        keys.append({"AttributeName": sort, "KeyType": "RANGE"})
    return {
        "IndexName": name,
        "KeySchema": keys,
        "Projection": {"ProjectionType": projection},
    }


def _text_attributes(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def query_or_scan(aws: Bench) -> Observations:
    """dynamodb-01: a query reads what matches its key condition, a scan reads everything."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("orders", "CustomerId", "OrderedAt")
    for number in range(40):
        item = {
            "CustomerId": _s(f"customer-{number % 10}"),
            "OrderedAt": _s(f"2026-11-{number // 10 + 1:02}"),
            "Notes": _s("x" * 4000),
        }
        dynamodb.put_item(TableName=table, Item=item)
    values = {":c": _s("customer-3"), ":from": _s("2026-11-02")}
    query = dynamodb.query(
        TableName=table,
        KeyConditionExpression="CustomerId = :c AND OrderedAt >= :from",
        ExpressionAttributeValues=values,
        ReturnConsumedCapacity="TOTAL",
    )
    see("Query: items returned", query["Count"], 3)
    see("Query: items read", query["ScannedCount"], 3, supports="query")
    scan = {
        "TableName": table,
        "FilterExpression": "CustomerId = :c AND OrderedAt >= :from",
        "ExpressionAttributeValues": values,
        "ReturnConsumedCapacity": "TOTAL",
    }
    whole = dynamodb.scan(**scan)
    see("Scan: items returned", whole["Count"], 3)
    see("Scan: items read", whole["ScannedCount"], 40)
    units = query["ConsumedCapacity"]["CapacityUnits"]
    see(
        "Read units, scan and query",
        (whole["ConsumedCapacity"]["CapacityUnits"], units),
        lambda pair: pair[0] > 5 * pair[1],
        supports="query",
    )
    parts = [dynamodb.scan(**scan, Segment=n, TotalSegments=4) for n in range(4)]
    see(
        "Scan in four segments: items read",
        sum(part["ScannedCount"] for part in parts),
        40,
        refutes="parallel-scan",
    )
    narrow = dynamodb.scan(**scan, ProjectionExpression="OrderedAt")
    see(
        "Scan with a projection: read units",
        narrow["ConsumedCapacity"]["CapacityUnits"],
        whole["ConsumedCapacity"]["CapacityUnits"],
        refutes="projection",
    )
    limited = dynamodb.scan(**scan, Limit=5)
    see(
        "Scan with Limit 5: read, found",
        (limited["ScannedCount"], limited["Count"]),
        lambda pair: pair[0] == 5 and pair[1] < 3,
        refutes="limit",
    )
    return see


def filter_costs(aws: Bench) -> Observations:
    """dynamodb-02: a filter is applied after reading, and reading is what costs."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("readings", "Sensor", "At")
    for number in range(40):
        item = {"Sensor": _s("s"), "At": _s(f"{number:02}"), "Raw": _s("x" * 4000)}
        item["Fault"] = _s("yes" if number in (7, 19) else "no")
        dynamodb.put_item(TableName=table, Item=item)
    query = {
        "TableName": table,
        "KeyConditionExpression": "Sensor = :s",
        "ReturnConsumedCapacity": "TOTAL",
    }
    whole = dynamodb.query(**query, ExpressionAttributeValues={":s": _s("s")})
    with_filter = query | {
        "FilterExpression": "Fault = :f",
        "ExpressionAttributeValues": {":s": _s("s"), ":f": _s("yes")},
    }
    found = dynamodb.query(**with_filter)
    see("Count, ScannedCount", (found["Count"], found["ScannedCount"]), (2, 40))
    units = whole["ConsumedCapacity"]["CapacityUnits"]
    see(
        "Read units with the filter, as without it",
        found["ConsumedCapacity"]["CapacityUnits"],
        units,
        supports="filter-after",
        refutes="reserved",
    )
    strong = dynamodb.query(**with_filter, ConsistentRead=True)
    see(
        "Read units, strongly consistent",
        strong["ConsumedCapacity"]["CapacityUnits"],
        2 * units,
        refutes="consistent",
    )
    narrow = dynamodb.query(**with_filter, ProjectionExpression="Fault")
    see(
        "Read units with the attribute projected",
        narrow["ConsumedCapacity"]["CapacityUnits"],
        units,
        refutes="no-projection",
    )
    return see


def consistent_read(aws: Bench) -> Observations:
    """dynamodb-03: a strongly consistent read costs twice and returns every earlier write."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("orders", "OrderId")
    key = {"OrderId": _s("7")}
    costs = {}
    for consistent in (False, True):
        dynamodb.put_item(TableName=table, Item=key | {"State": _s(f"paid {consistent}")})
        read = dynamodb.get_item(
            TableName=table, Key=key, ConsistentRead=consistent, ReturnConsumedCapacity="TOTAL"
        )
        costs[consistent] = read["ConsumedCapacity"]["CapacityUnits"]
        if consistent:
            see("Consistent read after the write", read["Item"]["State"]["S"], "paid True")
    see(
        "Read units, eventually and strongly consistent",
        (costs[False], costs[True]),
        (0.5, 1.0),
        supports="consistent-read",
    )
    see(
        "PutItem with ReturnValues ALL_NEW",
        error_of(dynamodb.put_item, TableName=table, Item=key, ReturnValues="ALL_NEW"),
        "ValidationException",
        refutes="return-values",
    )
    return see


def index_consistency(aws: Bench) -> Observations:
    """dynamodb-04: a global secondary index can't be read consistently, its table can."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table(
        "users",
        "Id",
        AttributeDefinitions=_text_attributes("Email"),
        GlobalSecondaryIndexes=[_index("by-email", "Email")],
    )
    dynamodb.put_item(TableName=table, Item={"Id": _s("1"), "Email": _s("a@example.com")})
    query = {
        "TableName": table,
        "IndexName": "by-email",
        "KeyConditionExpression": "Email = :e",
        "ExpressionAttributeValues": {":e": _s("a@example.com")},
    }
    see(
        "ConsistentRead on the index",
        error_of(dynamodb.query, **query, ConsistentRead=True),
        "ValidationException",
        supports="rejected",
        refutes="solved ignored double-cost",
    )
    see(
        "Without it, in the end",
        aws.until(lambda: dynamodb.query(**query)["Count"]),
        1,
        supports="rejected",
    )
    read = dynamodb.get_item(TableName=table, Key={"Id": _s("1")}, ConsistentRead=True)
    see("ConsistentRead on the table", read["Item"]["Email"]["S"], "a@example.com")
    return see


def index_on_existing_table(aws: Bench) -> Observations:
    """dynamodb-05: a global index can be added later and is filled; a local one can't."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("orders", "OrderId")
    for number, day in enumerate(("01", "03", "02")):
        item = {"OrderId": _s(str(number)), "Customer": _s("Ann"), "OrderedAt": _s(day)}
        dynamodb.put_item(TableName=table, Item=item)
    see(
        "A local index added to the table",
        error_of(
            dynamodb.update_table,
            TableName=table,
            LocalSecondaryIndexUpdates=[{"Create": _index("local", "Customer", "OrderedAt")}],
        ),
        "ParamValidationError",
        refutes="lsi",
    )
    see(
        "Another key schema for the table",
        error_of(
            dynamodb.update_table,
            TableName=table,
            KeySchema=[{"AttributeName": "Customer", "KeyType": "RANGE"}],
        ),
        "ParamValidationError",
        refutes="sort-key",
    )
    dynamodb.update_table(
        TableName=table,
        AttributeDefinitions=_text_attributes("Customer", "OrderedAt"),
        GlobalSecondaryIndexUpdates=[{"Create": _index("by-customer", "Customer", "OrderedAt")}],
    )

    def active() -> bool:
        indexes = dynamodb.describe_table(TableName=table)["Table"]["GlobalSecondaryIndexes"]
        return indexes[0]["IndexStatus"] == "ACTIVE"

    aws.until(active)
    found = dynamodb.query(
        TableName=table,
        IndexName="by-customer",
        KeyConditionExpression="Customer = :c",
        ExpressionAttributeValues={":c": _s("Ann")},
        ScanIndexForward=False,
    )
    days = [item["OrderedAt"]["S"] for item in found["Items"]]
    see("Ann's orders by the new index, newest first", days, ["03", "02", "01"], supports="gsi")
    see(
        "Scan with ScanIndexForward",
        error_of(dynamodb.scan, TableName=table, ScanIndexForward=False),
        "ParamValidationError",
        refutes="filter",
    )
    return see


def read_units(aws: Bench) -> Observations:
    """dynamodb-18: an item of 6 KB takes two units, or one when eventually consistent."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("items", "Id")
    dynamodb.put_item(TableName=table, Item={"Id": _s("1"), "Text": _s("x" * 6000)})
    units = [
        dynamodb.get_item(
            TableName=table,
            Key={"Id": _s("1")},
            ConsistentRead=consistent,
            ReturnConsumedCapacity="TOTAL",
        )["ConsumedCapacity"]["CapacityUnits"]
        for consistent in (True, False)
    ]
    see("Units for one read of 6 KB, strong and eventual", units, [2.0, 1.0])
    see(
        "For 50 reads a second",
        [50 * each for each in units],
        [100.0, 50.0],
        supports="100-50",
        refutes="50-25 75-38 300-150",
    )
    return see


def empty_page(aws: Bench) -> Observations:
    """dynamodb-19: Limit counts what is read; a page may be empty and not be the last."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("things", "Owner", "Number")
    for number in range(30):
        kind = "rare" if number >= 27 else "common"
        item = {"Owner": _s("o"), "Number": _s(f"{number:02}"), "Kind": _s(kind)}
        dynamodb.put_item(TableName=table, Item=item)
    query = {
        "TableName": table,
        "KeyConditionExpression": "#o = :o",
        "FilterExpression": "Kind = :k",
        "ExpressionAttributeNames": {"#o": "Owner"},
        "ExpressionAttributeValues": {":o": _s("o"), ":k": _s("rare")},
        "Limit": 10,
    }
    first = dynamodb.query(**query, ConsistentRead=True)
    see(
        "The first page, strongly consistent: items, and whether there is more",
        (first["Count"], "LastEvaluatedKey" in first),
        (0, True),
        supports="last-key",
        refutes="eventual",
    )
    see(
        "With ScanIndexForward true",
        dynamodb.query(**query, ScanIndexForward=True)["Count"],
        0,
        refutes="scan-forward",
    )
    see("With Limit 25", dynamodb.query(**(query | {"Limit": 25}))["Count"], 0, refutes="limit-min")
    query.pop("Limit")
    pages = dynamodb.get_paginator("query").paginate(**query, PaginationConfig={"PageSize": 10})
    found = sum(page["Count"] for page in pages)
    see("All pages, of ten items each", found, 3, supports="last-key")
    return see


def sparse_index(aws: Bench) -> Observations:
    """dynamodb-21: an index holds only the items that have its key."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table(
        "tickets",
        "Id",
        AttributeDefinitions=_text_attributes("OpenSince", "State"),
        GlobalSecondaryIndexes=[
            _index("open", "OpenSince"),
            _index("by-state", "State"),
        ],
    )
    for number in range(20):
        item = {"Id": _s(str(number)), "State": _s("open" if number < 2 else "closed")}
        if number < 2:
            item["OpenSince"] = _s("2026-11-20")
        dynamodb.put_item(TableName=table, Item=item)

    def size(index: str) -> int:
        return dynamodb.scan(TableName=table, IndexName=index)["Count"]

    see(
        "Items in the index on the status",
        aws.until(lambda: size("by-state") == 20),
        True,
        refutes="status-key",
    )
    see("Items in the index on OpenSince", size("open"), 2, supports="sparse")
    dynamodb.update_item(TableName=table, Key={"Id": _s("0")}, UpdateExpression="REMOVE OpenSince")
    see("After one was closed", aws.until(lambda: size("open") == 1), True, supports="sparse")
    scan = dynamodb.scan(
        TableName=table,
        FilterExpression="#s = :o",
        ExpressionAttributeNames={"#s": "State"},
        ExpressionAttributeValues={":o": _s("open")},
    )
    see("Items a filtered scan reads", scan["ScannedCount"], 20, refutes="filter")
    return see

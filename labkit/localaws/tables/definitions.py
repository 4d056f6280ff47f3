"""Tables as they are defined, changed and described, where moto takes or tells otherwise.

Follows the Amazon DynamoDB API Reference (CreateTable, UpdateTable, DescribeTable) and the
Developer Guide, "Service, account, and table quotas".
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.constraints import violation
from labkit.localaws.tables import store
from labkit.localaws.tables.capacity import entry
from labkit.localaws.tables.rules import check_table_name, invalid
from labkit.localaws.tables.values import item_size

MOST_LOCAL_INDEXES, MOST_GLOBAL_INDEXES = 5, 20
_PREFIX = "One or more parameter values were invalid: "


def check_new(params: Mapping[str, Any]) -> None:
    """Refuse a table that can't be created, for what moto would take."""
    name = params.get("TableName")
    if name is None:
        raise invalid("The parameter 'TableName' is required but was not present in the request")
    check_table_name(name)
    if len(name) < 3:
        wording = "Member must have length greater than or equal to 3"
        raise invalid(f"1 validation error detected: {violation(name, 'tableName', wording)}")
    keys = params.get("KeySchema") or []
    definitions = params.get("AttributeDefinitions") or []
    if not keys or len(keys) > 2 or any(key.get("KeyType") not in ("HASH", "RANGE") for key in keys):
        return
    _check_kinds(definitions)
    _check_billing(params)
    _check_keys(keys)
    defined = [one["AttributeName"] for one in definitions]
    if len({key["AttributeName"] for key in keys}) > len(defined):
        raise invalid("Invalid KeySchema: Some index key attribute have no definition")
    names: set[str] = set()
    local = params.get("LocalSecondaryIndexes") or []
    if local and len(keys) != 2:
        raise invalid(
            f"{_PREFIX}Table KeySchema does not have a range key, which is required when "
            "specifying a LocalSecondaryIndex"
        )
    for index in local:
        _check_index(index, defined, names)
        index_keys = index["KeySchema"]
        if len(index_keys) != 2:
            raise invalid(
                f"{_PREFIX}Index KeySchema does not have a range key for index: "
                f"{index['IndexName']}"
            )
        mine, tables = index_keys[0]["AttributeName"], keys[0]["AttributeName"]
        if mine != tables:
            raise invalid(
                f"{_PREFIX}Index KeySchema does not have the same leading hash key as table "
                f"KeySchema for index: {index['IndexName']}. index hash key: {mine}, table hash "
                f"key: {tables}"
            )
    if len(local) > MOST_LOCAL_INDEXES:
        raise invalid(
            f"{_PREFIX}Number of LocalSecondaryIndexes exceeds per-table limit of "
            f"{MOST_LOCAL_INDEXES}"
        )
    for index in params.get("GlobalSecondaryIndexes") or []:
        _check_index(index, defined, names)
        _check_index_billing(index, params.get("BillingMode"))
    if len(params.get("GlobalSecondaryIndexes") or []) > MOST_GLOBAL_INDEXES:
        raise invalid(
            f"{_PREFIX}GlobalSecondaryIndex count exceeds the per-table limit of "
            f"{MOST_GLOBAL_INDEXES}"
        )


def check_update(table: Any, params: Mapping[str, Any]) -> None:
    """Refuse a change that can't be made, for what moto would take or fail at."""
    wanted = params.get("ProvisionedThroughput")
    if wanted and params.get("BillingMode") is None and table.billing_mode == "PAY_PER_REQUEST":
        raise invalid(
            f"{_PREFIX}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
            "BillingMode is PAY_PER_REQUEST"
        )
    if wanted and params.get("BillingMode") is None:
        _check_changes(table.throughput, wanted)
    updates = params.get("GlobalSecondaryIndexUpdates") or []
    if sum("Create" in one or "Delete" in one for one in updates) > 1:
        raise AwsError(
            "LimitExceededException",
            "Subscriber limit exceeded: Only 1 online index can be created or deleted "
            "simultaneously per table",
        )
    defined = [one["AttributeName"] for one in table.attr]
    defined += [one["AttributeName"] for one in params.get("AttributeDefinitions") or []]
    existing = {index.name for index in table.all_indexes()}
    for update in updates:
        if update.get("Create"):
            name = update["Create"]["IndexName"]
            if name in existing:
                raise invalid(
                    f"{_PREFIX}Attempting to create an index which already exists"
                )
            _check_index(update["Create"], defined, set())
            billing = params.get("BillingMode") or table.billing_mode
            _check_index_billing(update["Create"], billing)
            if len(table.global_indexes) >= MOST_GLOBAL_INDEXES:
                raise AwsError(
                    "LimitExceededException",
                    "Subscriber limit exceeded: Number of global secondary indexes exceeds per-"
                    f"table limit of {MOST_GLOBAL_INDEXES}",
                )
        for action in ("Update", "Delete"):
            if update.get(action) and update[action]["IndexName"] not in existing:
                raise AwsError("ResourceNotFoundException", "Requested resource not found")


def settle_update(table: Any, params: Mapping[str, Any]) -> None:
    """Put right what moto's own update of a table leaves wrong."""
    # moto replaces the definitions by those given, which need not repeat the others.
    needed = set(table.table_key_attrs)
    for index in table.all_indexes():
        needed.update(index.schema_key_attrs)
    known = {one["AttributeName"]: one for one in table.attr}
    before = getattr(table, "_defined", {})
    for name in needed - set(known):
        if name in before:
            known[name] = before[name]
    table.attr = [one for name, one in known.items() if name in needed]
    if params.get("BillingMode") == "PAY_PER_REQUEST":
        table.throughput = {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": 0,
            "WriteCapacityUnits": 0,
        }
    elif params.get("ProvisionedThroughput"):
        table.throughput.setdefault("NumberOfDecreasesToday", 0)


def remember_definitions(table: Any) -> None:
    """Keep what a table's attributes are defined as, before moto replaces it."""
    table._defined = {one["AttributeName"]: one for one in table.attr}


def complete(
    described: dict[str, Any], table: Any, status: str, creating: Sequence[str] | set[str]
) -> None:
    """Make moto's description of a table AWS's, in the state that *status* says.

    *creating* names the global indexes that are just being created.
    """
    described["TableStatus"] = status
    for member in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        if not described.get(member):
            described.pop(member, None)
    arn = described["TableArn"]
    described["TableId"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn} {_made(described)}"))
    sizes = _sizes(table) if table is not None else {"": (0, 0)}
    described["ItemCount"], described["TableSizeBytes"] = sizes.get("", (0, 0))
    for member in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for index in described.get(member, ()):
            name = index["IndexName"]
            index["IndexArn"] = f"{arn}/index/{name}"
            index["ItemCount"], index["IndexSizeBytes"] = sizes.get(name, (0, 0))
            if member == "GlobalSecondaryIndexes":
                index["ProvisionedThroughput"].setdefault("NumberOfDecreasesToday", 0)
                if status in ("CREATING", "DELETING") or name in creating:
                    index["IndexStatus"] = "CREATING" if status != "DELETING" else "DELETING"
                if name in creating:
                    index["Backfilling"] = False
    billing = (described.get("BillingModeSummary") or {}).get("BillingMode")
    if billing != "PAY_PER_REQUEST":
        # Tables that were never anything but provisioned have no summary.
        described.pop("BillingModeSummary", None)
    else:
        described["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"] = _made(described)
    described["ProvisionedThroughput"].setdefault("NumberOfDecreasesToday", 0)


def collection_metrics(table: Any, key: Mapping[str, Any]) -> dict[str, Any]:
    """ItemCollectionMetrics for the partition of *key*: how large it is about, in GB."""
    name = table.hash_key_attr
    return {
        "ItemCollectionKey": {name: key[name]},
        "SizeEstimateRangeGB": [0.0, 1.0],
    }


# -- inside ----------------------------------------------------------------------------------


def _sizes(table: Any) -> dict[str, tuple[int, int]]:
    """Items and bytes of the table (under "") and of each index."""
    counted: dict[str, tuple[int, int]] = {"": (0, 0)}
    for partition in table.items.values():
        for item in partition.values() if table.range_key_attr else (partition,):
            _count(counted, "", item_size(item.attrs))
            for index in table.all_indexes():
                held = entry(index, store.attributes(item))
                if held is not None:
                    _count(counted, index.name, item_size(held))
    return counted


def _count(counted: dict[str, tuple[int, int]], name: str, size: int) -> None:
    items, bytes_ = counted.get(name, (0, 0))
    counted[name] = (items + 1, bytes_ + size)


def _made(described: Mapping[str, Any]) -> Any:
    return described.get("CreationDateTime", 0)


def _check_kinds(definitions: Sequence[Mapping[str, Any]]) -> None:
    for number, one in enumerate(definitions, 1):
        if one.get("AttributeType") not in ("S", "N", "B"):
            where = f"attributeDefinitions.{number}.member.attributeType"
            wording = "Member must satisfy enum value set: [B, N, S]"
            shown = violation(one.get("AttributeType"), where, wording)
            raise invalid(f"1 validation error detected: {shown}")


def _check_billing(params: Mapping[str, Any]) -> None:
    throughput = params.get("ProvisionedThroughput")
    if params.get("BillingMode") == "PAY_PER_REQUEST":
        if throughput:
            raise invalid(
                f"{_PREFIX}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
                "BillingMode is PAY_PER_REQUEST"
            )
        return
    for kind in ("ReadCapacityUnits", "WriteCapacityUnits"):
        units = (throughput or {}).get(kind)
        if units is not None and units < 1:
            where = f"provisionedThroughput.{kind[0].lower()}{kind[1:]}"
            wording = "Member must have value greater than or equal to 1"
            raise invalid(f"1 validation error detected: {violation(units, where, wording)}")


def _check_keys(keys: Sequence[Mapping[str, str]]) -> None:
    if len(keys) == 2 and keys[0]["AttributeName"] == keys[1]["AttributeName"]:
        # Two keys need two definitions, and only one name can be defined.
        raise invalid("Invalid KeySchema: Some index key attribute have no definition")
    if keys[0]["KeyType"] != "HASH":
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(keys) == 2 and keys[1]["KeyType"] != "RANGE":
        raise invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")


def _check_index(index: Mapping[str, Any], defined: Sequence[str], names: set[str]) -> None:
    keys = index["KeySchema"]
    used = [key["AttributeName"] for key in keys]
    if any(name not in defined for name in used):
        raise invalid(
            f"{_PREFIX}Some index key attributes are not defined in AttributeDefinitions. Keys: "
            f"[{', '.join(used)}], AttributeDefinitions: [{', '.join(defined)}]"
        )
    if len(keys) == 2 and used[0] == used[1]:
        raise invalid(
            "Both the Hash Key and the Range Key element in the KeySchema have the same name"
        )
    if keys[0].get("KeyType") != "HASH":
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    projection = index.get("Projection") or {}
    kind = projection.get("ProjectionType")
    if kind is None:
        raise invalid(f"{_PREFIX}Unknown ProjectionType: null")
    if projection.get("NonKeyAttributes") and kind != "INCLUDE":
        raise invalid(
            f"{_PREFIX}ProjectionType is {kind}, but NonKeyAttributes is specified"
        )
    if kind == "INCLUDE" and not projection.get("NonKeyAttributes"):
        raise invalid(
            f"{_PREFIX}ProjectionType is INCLUDE, but NonKeyAttributes is not specified"
        )
    if index["IndexName"] in names:
        raise invalid(f"{_PREFIX}Duplicate index name: {index['IndexName']}")
    names.add(index["IndexName"])


def _check_index_billing(index: Mapping[str, Any], billing: str | None) -> None:
    if billing == "PAY_PER_REQUEST":
        if index.get("ProvisionedThroughput"):
            raise invalid(
                f"{_PREFIX}ProvisionedThroughput should not be specified for index: "
                f"{index['IndexName']} when BillingMode is PAY_PER_REQUEST"
            )
    elif not index.get("ProvisionedThroughput"):
        raise invalid(
            f"{_PREFIX}ProvisionedThroughput must be specified for index: {index['IndexName']}"
        )


def _check_changes(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    kinds = ("ReadCapacityUnits", "WriteCapacityUnits")
    if any(current.get(kind) != wanted.get(kind) for kind in kinds):
        return
    compared = " ".join(
        f"Current {kind} provisioned for the table: {current[kind]}. "
        f"Requested {kind}: {wanted[kind]}."
        for kind in kinds
    )
    raise invalid(
        "The provisioned throughput for the table will not change. The requested value equals the "
        f"current value. {compared} Refer to the Amazon DynamoDB Developer Guide for current "
        "limits and how to request higher limits."
    )

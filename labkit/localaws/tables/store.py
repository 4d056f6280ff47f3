"""moto's tables as the layer works on them: items by key, changes that can be taken back.

moto records a change in the table's stream as it makes it, and leaves an item half updated when an
update turns out to be impossible. Here a change is made with the stream held back, judged, and
then either recorded or undone. Callers hold the lock around moto's tables.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import moto.backends
from moto.core.exceptions import JsonRESTError
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.utilities import dynamo_to_dict

from labkit.localaws.call import AwsError, Call
from labkit.localaws.tables.values import as_kept


def backend(account_id: str, region: str) -> Any:
    """moto's DynamoDB of an account in a region."""
    return moto.backends.get_backend("dynamodb")[account_id][region]


def find_table(call: Call, name: str | None = None) -> Any:
    """moto's table of that name or ARN (the call's own when not given), or None."""
    name = call.params.get("TableName", "") if name is None else name
    tables = backend(call.account_id, call.region).tables
    if name.startswith("arn:"):
        name = name.rpartition("/")[2]
    return tables.get(name)


def need_table(call: Call, name: str) -> Any:
    """As :func:`find_table`; raises ResourceNotFoundException."""
    table = find_table(call, name)
    if table is None:
        raise AwsError("ResourceNotFoundException", "Requested resource not found")
    return table


def stored(table: Any, key: Mapping[str, Any]) -> Any:
    """moto's item with this key, or None; moto's own way leaves an empty partition behind."""
    found = table.items.get(DynamoType(as_kept(key[table.hash_key_attr])))
    if found is None or not table.range_key_attr:
        return found
    return found.get(DynamoType(as_kept(key[table.range_key_attr])))


def attributes(item: Any) -> Mapping[str, Any] | None:
    """The attributes of moto's item, None for none."""
    return None if item is None else item.attrs


def copied(item: Any) -> Any:
    """A copy of moto's item, which moto updates in place; None for none."""
    return copy.deepcopy(item)


def put_back(table: Any, key: Mapping[str, Any], item: Any) -> None:
    """Have *item*, or nothing, be what the table holds under *key*."""
    hash_value = DynamoType(as_kept(key[table.hash_key_attr]))
    if not table.range_key_attr:
        if item is None:
            table.items.pop(hash_value, None)
        else:
            table.items[hash_value] = item
        return
    range_value = DynamoType(as_kept(key[table.range_key_attr]))
    if item is not None:
        table.items[hash_value][range_value] = item
    elif hash_value in table.items:
        table.items[hash_value].pop(range_value, None)
        if not table.items[hash_value]:
            del table.items[hash_value]


@contextmanager
def unrecorded(*tables: Any) -> Iterator[None]:
    """Within the block, changes of *tables* are not recorded in their streams."""
    shards = [(table, table.stream_shard) for table in {id(t): t for t in tables}.values()]
    for table, _ in shards:
        table.stream_shard = None
    try:
        yield
    finally:
        for table, shard in shards:
            table.stream_shard = shard


def record(table: Any, old: Any, new: Any) -> None:
    """Record a change in the table's stream, if it has one and anything changed."""
    if table.stream_shard is None or (old is None and new is None):
        return
    if not (table.stream_specification or {}).get("StreamEnabled"):
        return
    if old is None or new is None or old.attrs != new.attrs:
        table.stream_shard.add(old, new)


def shown(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """moto's attributes as the API's output has them."""
    return dynamo_to_dict(dict(found or {}))


def written(value: Any) -> Any:
    """moto's attributes or one value as JSON has them: bytes in base64."""
    if isinstance(value, DynamoType):
        return {value.type: written(value.value)}
    if isinstance(value, Mapping):
        return {name: written(inner) for name, inner in value.items()}
    if isinstance(value, list | set | tuple):
        return [written(inner) for inner in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@contextmanager
def motos_errors() -> Iterator[None]:
    """Raise what moto refuses as an :class:`AwsError`."""
    try:
        yield
    except ItemSizeTooLarge as problem:
        raise AwsError("ValidationException", problem.message) from problem
    except JsonRESTError as problem:
        members = {}
        body = json.loads(problem.description)
        if "Item" in body:
            members["Item"] = body["Item"]
        raise AwsError(problem.relative_error_type, problem.message, **members) from problem

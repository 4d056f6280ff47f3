"""Query and Scan over moto's tables: key order, pages, filters, and what was read on the way.

Follows the Amazon DynamoDB Developer Guide, "Querying tables" and "Scanning tables": a page ends
after Limit items or 1 MB, both counted before the filter, and a page that ends so has a
LastEvaluatedKey even when nothing follows. moto sorts the whole table for every query, ends pages
by its own count and scans in key order, which DynamoDB never does.

The two functions stand in for ``Table.query`` and ``Table.scan`` (see ``moto_hooks``), so that
moto's parsing and checking of the request stay. What they read is left in :data:`READ`.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType, Item

from labkit.localaws.tables.capacity import projected
from labkit.localaws.tables.values import comparable, item_size, kind_of

PAGE_BYTES = 1024 * 1024


class _Read(threading.local):
    """What the query or scan of this thread is asked beyond moto's arguments, and what it read."""

    # Attributes wanted beyond the projection make a local index fetch the item from its table.
    everything = False
    wanted: frozenset[str] = frozenset()
    scanned_bytes = 0
    fetched: Sequence[int] = ()

    def reset(self, everything: bool = False, wanted: frozenset[str] = frozenset()) -> None:
        self.everything, self.wanted = everything, wanted
        self.scanned_bytes, self.fetched = 0, ()


READ = _Read()
Page = tuple[list[Item], int, dict[str, Any] | None]


def query(
    self: Any,
    hash_key: Any,
    range_comparison: str | None,
    range_objs: Sequence[Any],
    limit: int | None,
    exclusive_start_key: dict[str, Any] | None,
    scan_index_forward: bool,
    projection_expressions: list[list[str]] | None,
    index_name: str | None = None,
    consistent_read: bool = False,
    filter_expression: Any = None,
    hash_key_conditions: Sequence[tuple[str, Any]] | None = None,
    range_key_conditions: Sequence[tuple[str, str, Sequence[Any]]] | None = None,
    **filters: Any,
) -> Page:
    """The items of one partition that match, what was counted, and where the page ended."""
    index = _index(self, index_name, consistent_read)
    keys = list(hash_key_conditions or ())
    _check_types(self, keys, range_key_conditions or ())
    if index is None:
        partition = self.items.get(hash_key) if hash_key is not None else None
        if partition is None:
            found: Iterable[Item] = ()
        else:
            found = partition.values() if self.has_range_key else (partition,)
    else:
        found = (
            item
            for item in _entries(self, index)
            if all(item.attrs[name] == value for name, value in keys)
        )
    for name, comparison, values in range_key_conditions or ():
        matches = _comparison(comparison, [comparable(value) for value in values])
        found = [item for item in found if matches(comparable(item.attrs[name]))]
    order = _order_in_partition(self, index)
    ordered = sorted(found, key=lambda item: order(item.attrs), reverse=scan_index_forward is False)
    if exclusive_start_key:
        start = order(_typed(exclusive_start_key))
        forward = scan_index_forward is not False
        ordered = [
            item
            for item in ordered
            if (order(item.attrs) > start if forward else order(item.attrs) < start)
        ]
    conditions = {
        name: (value["ComparisonOperator"], value.get("AttributeValueList") or ())
        for name, value in filters.items()
    }
    return _page(
        self, index, ordered, limit, conditions, filter_expression, projection_expressions
    )


def scan(
    self: Any,
    filters: Mapping[str, tuple[str, Sequence[Any]]],
    limit: int | None,
    exclusive_start_key: dict[str, Any] | None,
    filter_expression: Any = None,
    index_name: str | None = None,
    consistent_read: bool = False,
    projection_expression: list[list[str]] | None = None,
    segments: tuple[Any, Any] = (None, None),
) -> Page:
    """The items of the whole table or index, in the order of their partition keys' hashes."""
    index = _index(self, index_name, consistent_read)
    hash_name = self.hash_key_attr if index is None else index.schema_key_attrs[0]
    order = _order_in_partition(self, index)
    segment, segments_in_all = segments
    start = None
    if exclusive_start_key:
        typed = _typed(exclusive_start_key)
        start = (_place(typed[hash_name]), order(typed))

    places: dict[bytes, list[Item]] = {}
    for item in _entries(self, index):
        places.setdefault(_place(item.attrs[hash_name]), []).append(item)
    if segments_in_all:
        places = {
            place: items
            for place, items in places.items()
            if int.from_bytes(place[:8], "big") * segments_in_all >> 64 == segment
        }

    def ordered() -> Iterable[Item]:
        for place in sorted(places):
            if start is not None and place < start[0]:
                continue
            items = places[place]
            if len(items) > 1:
                items.sort(key=lambda item: order(item.attrs))
            for item in items:
                if start is None or place > start[0] or order(item.attrs) > start[1]:
                    yield item

    return _page(
        self, index, ordered(), limit, filters, filter_expression, projection_expression
    )


def _page(
    table: Any,
    index: Any,
    items: Iterable[Item],
    limit: int | None,
    conditions: Mapping[str, tuple[str, Sequence[Any]]],
    filter_expression: Any,
    projection: list[list[str]] | None,
) -> Page:
    names = None if index is None else projected(index)
    fetch = (
        names is not None
        and index in table.indexes
        and (READ.everything or not READ.wanted <= names)
    )
    results: list[Item] = []
    fetched: list[int] = []
    scanned = size = 0
    last: Item | None = None
    ended = False
    for item in items:
        held = item if names is None else _only(item, names)
        item_bytes = item_size(held.attrs)
        if scanned and size + item_bytes > PAGE_BYTES:
            ended = True
            break
        scanned += 1
        size += item_bytes
        last = item
        if fetch:
            fetched.append(item_size(item.attrs))
            held = item
        if _passes(held, conditions) and (
            filter_expression is None or filter_expression.expr(held)
        ):
            results.append(held)
        if scanned == limit:
            ended = True
            break
    READ.scanned_bytes, READ.fetched = size, fetched
    end = None
    if ended and last is not None:
        end = table._get_last_evaluated_key(last, None if index is None else index.name)
    if projection:
        results = [project(item, projection) for item in results]
    return results, scanned, end


def project(item: Item, paths: list[list[str]]) -> Item:
    """The item with nothing but the document *paths*, as moto parses them."""
    if all(len(path) == 1 and "[" not in path[0] for path in paths):
        return _only(item, frozenset(path[0] for path in paths))
    return item.project(paths)


def _index(table: Any, name: str | None, consistent: bool) -> Any:
    if not name:
        return None
    index = next((i for i in table.all_indexes() if i.name == name), None)
    if index is None:
        raise MockValidationException(f"The table does not have the specified index: {name}")
    if consistent and index in table.global_indexes:
        raise MockValidationException(
            "Consistent reads are not supported on global secondary indexes"
        )
    return index


def _check_types(
    table: Any,
    keys: Iterable[tuple[str, Any]],
    ranges: Iterable[tuple[str, str, Sequence[Any]]],
) -> None:
    declared = {one["AttributeName"]: one["AttributeType"] for one in table.attr}
    given = [*keys, *((name, value) for name, _, values in ranges for value in values)]
    if any(kind_of(value)[0] != declared[name] for name, value in given):
        raise MockValidationException(
            "One or more parameter values were invalid: Condition parameter type does not match "
            "schema type"
        )


def _entries(table: Any, index: Any) -> Iterable[Item]:
    """All items of the table, or those the index has: with all of its keys."""
    names = () if index is None else index.schema_key_attrs
    for partition in table.items.values():
        for item in partition.values() if table.has_range_key else (partition,):
            if all(name in item.attrs for name in names):
                yield item


def _order_in_partition(table: Any, index: Any) -> Callable[[Mapping[str, Any]], tuple]:
    """The sort key of items within one partition, from their attributes."""
    names: list[str] = []
    if index is not None:
        names = [key["AttributeName"] for key in index.schema if key["KeyType"] == "RANGE"]
        # Entries with the same keys are kept apart by the item's own key.
        names += [name for name in table.table_key_attrs if name not in names]
    elif table.range_key_attr:
        names = [table.range_key_attr]

    def order(attributes: Mapping[str, Any]) -> tuple:
        return tuple(comparable(attributes[name]) for name in names)

    return order


def _place(value: Any) -> bytes:
    return _digest(*kind_of(value))


@functools.lru_cache(65_536)
def _digest(kind: str, held: Any) -> bytes:
    data = held if isinstance(held, bytes) else str(held).encode("utf-8", "surrogatepass")
    return hashlib.md5(data, usedforsecurity=False).digest()


def _typed(key: Mapping[str, Any]) -> dict[str, DynamoType]:
    return {name: DynamoType(value) for name, value in key.items()}


def _only(item: Item, names: frozenset[str]) -> Item:
    """The item with no attributes but these; moto's own way goes through boto3's types."""
    shown = Item.__new__(Item)
    shown.hash_key, shown.range_key = item.hash_key, item.range_key
    shown.attrs = {name: value for name, value in item.attrs.items() if name in names}
    return shown


def _passes(item: Item, conditions: Mapping[str, tuple[str, Sequence[Any]]]) -> bool:
    for name, (operator, values) in conditions.items():
        attribute = item.attrs.get(name)
        if operator == "NULL":
            if attribute is not None:
                return False
        elif attribute is None:
            # An attribute that is not there is unequal to everything.
            if operator not in ("NE", "NOT_CONTAINS"):
                return False
        elif operator != "NOT_NULL" and not attribute.compare(
            operator, [DynamoType(value) for value in values]
        ):
            return False
    return True


def _comparison(operator: str, bounds: Sequence[Any]) -> Callable[[Any], bool]:
    return {
        "=": lambda value: value == bounds[0],
        "<": lambda value: value < bounds[0],
        "<=": lambda value: value <= bounds[0],
        ">": lambda value: value > bounds[0],
        ">=": lambda value: value >= bounds[0],
        "BETWEEN": lambda value: bounds[0] <= value <= bounds[1],
        "BEGINS_WITH": lambda value: value[: len(bounds[0])] == bounds[0],
    }[operator.upper()]

"""Capacity units: what one operation consumes of a table and its indexes.

Follows the Amazon DynamoDB Developer Guide, "DynamoDB read and write operations" and "Provisioned
throughput considerations for Global Secondary Indexes".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.tables.values import item_size

READ_BYTES = 4096
WRITE_BYTES = 1024

# The attributes of an item, or None where there is no item.
Attributes = Mapping[str, Any] | None


def read_units(size: int, *, strong: bool = False, transactional: bool = False) -> float:
    """Read units for *size* bytes: 4 KB each, half when eventually consistent."""
    units = max(1, math.ceil(size / READ_BYTES))
    return units * (2.0 if transactional else 1.0 if strong else 0.5)


def write_units(size: int) -> float:
    """Write units for an item of *size* bytes: 1 KB each."""
    return float(max(1, math.ceil(size / WRITE_BYTES)))


@dataclass
class Usage:
    """What was consumed: of the table itself and of each index by name."""

    table: float = 0.0
    global_indexes: dict[str, float] = field(default_factory=dict)
    local_indexes: dict[str, float] = field(default_factory=dict)

    def add(self, other: Usage) -> None:
        """Add what *other* consumed."""
        self.table += other.table
        for mine, theirs in (
            (self.global_indexes, other.global_indexes),
            (self.local_indexes, other.local_indexes),
        ):
            for name, units in theirs.items():
                mine[name] = mine.get(name, 0.0) + units

    def times(self, factor: float) -> Usage:
        """The same, *factor* times."""
        return Usage(
            self.table * factor,
            {name: units * factor for name, units in self.global_indexes.items()},
            {name: units * factor for name, units in self.local_indexes.items()},
        )

    @property
    def total(self) -> float:
        """All units together."""
        return self.table + sum(self.global_indexes.values()) + sum(self.local_indexes.values())

    @property
    def of_table(self) -> float:
        """What counts against the table's own throughput: local indexes share it."""
        return self.table + sum(self.local_indexes.values())

    def shown(self, table_name: str, detail: str, *, split: str | None = None) -> dict[str, Any]:
        """ConsumedCapacity as the API answers it; *detail* is ``TOTAL`` or ``INDEXES``.

        *split* (``ReadCapacityUnits`` or ``WriteCapacityUnits``) is named besides the sum where
        AWS does so: by transactions.
        """

        def units(number: float) -> dict[str, float]:
            return {"CapacityUnits": number, **({split: number} if split else {})}

        shown: dict[str, Any] = {"TableName": table_name, **units(self.total)}
        if detail == "INDEXES":
            shown["Table"] = units(self.table)
            for member, indexes in (
                ("LocalSecondaryIndexes", self.local_indexes),
                ("GlobalSecondaryIndexes", self.global_indexes),
            ):
                if indexes:
                    shown[member] = {name: units(number) for name, number in indexes.items()}
        return shown

    def metered(self, table_name: str, kind: str) -> dict[str, Any]:
        """For the metrics: the table's own share and that of each global index."""
        units = f"{kind}CapacityUnits"
        return {
            "TableName": table_name,
            "Table": {units: self.of_table},
            "GlobalSecondaryIndexes": {
                name: {units: number} for name, number in self.global_indexes.items() if number
            },
        }


def entry(index: Any, attributes: Attributes) -> dict[str, Any] | None:
    """What a (moto) index holds of an item, or None when the item lacks one of its keys."""
    if attributes is None or not all(name in attributes for name in index.schema_key_attrs):
        return None
    names = projected(index)
    if names is None:
        return dict(attributes)
    return {name: value for name, value in attributes.items() if name in names}


def projected(index: Any) -> frozenset[str] | None:
    """The attributes an index projects, or None for all."""
    projection = index.projection or {}
    kind = projection.get("ProjectionType", "ALL")
    if kind == "ALL":
        return None
    names = {*index.table_key_attrs, *index.schema_key_attrs}
    if kind == "INCLUDE":
        names.update(projection.get("NonKeyAttributes") or ())
    return frozenset(names)


def write_usage(table: Any, before: Attributes, after: Attributes) -> Usage:
    """What changing an item from *before* to *after* consumes; each None when there is none.

    The larger of both counts. Given the same twice, it is what a failed condition costs.
    """
    size = max(
        item_size(before) if before is not None else 0,
        item_size(after) if after is not None else 0,
    )
    usage = Usage(write_units(size))
    for indexes, into in (
        (table.global_indexes, usage.global_indexes),
        (table.indexes, usage.local_indexes),
    ):
        for index in indexes:
            units = _index_units(index, before, after)
            if units:
                into[index.name] = units
    return usage


def _index_units(index: Any, before: Attributes, after: Attributes) -> float:
    old, new = entry(index, before), entry(index, after)
    if old is None and new is None:
        return 0.0
    if old is None or new is None:
        return write_units(item_size(old if new is None else new))
    if any(old[name] != new[name] for name in index.schema_key_attrs):
        # Another key: the old entry is deleted, a new one put.
        return write_units(item_size(old)) + write_units(item_size(new))
    if old == new:
        return 0.0
    return write_units(max(item_size(old), item_size(new)))

"""Provisioned throughput: what is left of it, table by table and index by index.

Follows the Amazon DynamoDB Developer Guide, "Provisioned capacity mode" and "Burst and adaptive
capacity": up to five minutes of unused capacity are kept for bursts.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.tables.capacity import Usage

BURST_SECONDS = 300.0

_MESSAGES = {
    "Table": (
        "The level of configured provisioned throughput for the table was exceeded. Consider "
        "increasing your provisioning level with the UpdateTable API."
    ),
    "Index": (
        "The level of configured provisioned throughput for one or more global secondary indexes "
        "of the table was exceeded. Consider increasing your provisioning level for the "
        "under-provisioned global secondary indexes with the UpdateTable API"
    ),
}


@dataclass
class _Bucket:
    """Units left, and when that was so. What an operation takes too much is owed."""

    left: float
    measured: float

    def look(self, rate: float, now: float) -> float:
        """The units left at lab time *now*, at *rate* units a second."""
        passed = max(0.0, now - self.measured)
        self.left = min(rate * BURST_SECONDS, self.left + passed * rate)
        self.measured = now
        return self.left


class Throughput:
    """The buckets of all tables; callers hold the lock around moto's tables."""

    def __init__(self) -> None:
        self._buckets: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], _Bucket]]
        self._buckets = weakref.WeakKeyDictionary()

    def admit(self, table: Any, kind: str, now: float, indexes: Iterable[str] = ()) -> None:
        """Raise ProvisionedThroughputExceededException when nothing is left.

        *kind* is ``Read`` or ``Write``; *indexes* are the global indexes concerned. A request is
        taken as long as a unit is left, whatever it turns out to need: the rest is owed.
        """
        if table.billing_mode == "PAY_PER_REQUEST":
            return
        need = 0.5 if kind == "Read" else 1.0
        if self._left(table, "", kind, now) < need:
            raise exceeded("Table", kind, table.table_arn)
        for name in indexes:
            if self._left(table, name, kind, now) < need:
                raise exceeded("Index", kind, f"{table.table_arn}/index/{name}")

    def admit_index(self, table: Any, index: str, kind: str, now: float) -> None:
        """As :meth:`admit`, for an operation that reads a global index only."""
        if table.billing_mode == "PAY_PER_REQUEST":
            return
        if self._left(table, index, kind, now) < 0.5:
            raise exceeded("Index", kind, f"{table.table_arn}/index/{index}")

    def charge(self, table: Any, kind: str, usage: Usage, now: float) -> None:
        """Take off what was used."""
        if table.billing_mode == "PAY_PER_REQUEST":
            return
        if usage.of_table:
            self._left(table, "", kind, now)
            self._buckets[table]["", kind].left -= usage.of_table
        for name, units in usage.global_indexes.items():
            self._left(table, name, kind, now)
            self._buckets[table][name, kind].left -= units

    def _left(self, table: Any, index: str, kind: str, now: float) -> float:
        rate = _rate(table, index, kind)
        buckets = self._buckets.setdefault(table, {})
        bucket = buckets.get((index, kind))
        if bucket is None:
            # A new table may burst from the start.
            bucket = buckets[index, kind] = _Bucket(rate * BURST_SECONDS, now)
        return bucket.look(rate, now)


def exceeded(what: str, kind: str, arn: str) -> AwsError:
    """The error for a ``Table`` or an ``Index`` whose throughput is used up."""
    reason = {"reason": f"{what}{kind}ProvisionedThroughputExceeded", "resource": arn}
    return AwsError(
        "ProvisionedThroughputExceededException", _MESSAGES[what], ThrottlingReasons=[reason]
    )


def _rate(table: Any, index: str, kind: str) -> float:
    settings = table.throughput
    if index:
        found = next((i for i in table.global_indexes if i.name == index), None)
        settings = found.throughput if found is not None else settings
    return float(settings.get(f"{kind}CapacityUnits") or 1)

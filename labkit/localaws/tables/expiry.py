"""Time to Live: expired items are deleted in the background, some time after.

Follows the Amazon DynamoDB Developer Guide, "Using time to live (TTL) in DynamoDB": AWS deletes
"within a few days". Here it is a day after the item expired, at the next full hour of lab time, so
that it can be told beforehand. Nothing is due on the clock while no item can expire.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError
from labkit.localaws.tables import store
from labkit.localaws.tables.values import kind_of

if TYPE_CHECKING:
    from labkit.localaws.clock import Timer
    from labkit.localaws.server import LocalAws

DELETED_AFTER_SECONDS = 86_400.0
SWEEP_SECONDS = 3600.0
# What expired longer ago was more likely meant otherwise, and stays.
OLDEST_SECONDS = 5 * 365.25 * 86_400
SETTLE_SECONDS = 3600.0


class Expiry:
    """Watches the items of tables with TTL and deletes them when it is time."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._guard = threading.Lock()
        self._timers: dict[tuple[str, str, str], Timer] = {}
        # When TTL was last changed, by table.
        self._changed: dict[str, float] = {}

    def configure(self, table: Any, enabled: bool, attribute: str) -> None:
        """Switch TTL of a table on or off; raises ValidationException as AWS does."""
        now = self._aws.clock.now()
        is_on = table.ttl.get("TimeToLiveStatus") == "ENABLED"
        current = table.ttl.get("AttributeName")
        if not attribute:
            raise AwsError(
                "ValidationException",
                "1 validation error detected: Value '' at 'timeToLiveSpecification.attributeName' "
                "failed to satisfy constraint: Member must have length greater than or equal to 1",
            )
        if is_on and attribute != current:
            raise AwsError(
                "ValidationException",
                "TimeToLive is active on a different AttributeName: current AttributeName is "
                f"{current}",
            )
        if is_on == enabled:
            state = "enabled" if enabled else "disabled"
            raise AwsError("ValidationException", f"TimeToLive is already {state}")
        if now - self._changed.get(self._mark(table), -SETTLE_SECONDS) < SETTLE_SECONDS:
            raise AwsError(
                "ValidationException",
                "Time to live has been modified multiple times within a fixed interval",
            )
        self._changed[self._mark(table)] = now
        if enabled:
            table.ttl = {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}
            self._plan(table)
        else:
            table.ttl = {"TimeToLiveStatus": "DISABLED"}

    def note(self, table: Any, found: Mapping[str, Any] | None) -> None:
        """Note that an item with these attributes was written."""
        if found is None or table.ttl.get("TimeToLiveStatus") != "ENABLED":
            return
        at = self._expires(table, found)
        if at is not None:
            self._schedule(table, at)

    # -- inside ------------------------------------------------------------------------------

    def _mark(self, table: Any) -> str:
        # A table made again under its name is another one.
        return f"{table.table_arn}:{table.created_at.timestamp()}"

    def _expires(self, table: Any, found: Mapping[str, Any]) -> float | None:
        """When an item expires, epoch seconds; None when never."""
        value = found.get(table.ttl.get("AttributeName"))
        if value is None:
            return None
        kind, text = kind_of(value)
        if kind != "N":
            return None
        try:
            at = float(text)
        except ValueError:
            return None
        if at < self._aws.clock.now() - OLDEST_SECONDS or not math.isfinite(at):
            return None
        return at

    def _schedule(self, table: Any, expires: float) -> None:
        due = max(expires + DELETED_AFTER_SECONDS, self._aws.clock.now())
        due = math.ceil(due / SWEEP_SECONDS) * SWEEP_SECONDS
        key = (table.account_id, table.region_name, table.name)
        with self._guard:
            timer = self._timers.get(key)
            if timer is not None:
                if timer.when <= due:
                    return
                timer.cancel()
            self._timers[key] = self._aws.clock.call_at(due, self._sweep, key, name="TTL")

    def _plan(self, table: Any) -> None:
        times = [self._expires(table, item.attrs) for item in _items(table)]
        upcoming = [at for at in times if at is not None]
        if upcoming:
            self._schedule(table, min(upcoming))

    def _sweep(self, key: tuple[str, str, str]) -> None:
        account_id, region, name = key
        with self._guard:
            self._timers.pop(key, None)
        deleted = 0
        with self._aws.lock("dynamodb", account_id):
            table = store.backend(account_id, region).tables.get(name)
            if table is None or table.ttl.get("TimeToLiveStatus") != "ENABLED":
                return
            cut = self._aws.clock.now() - DELETED_AFTER_SECONDS
            for item in list(_items(table)):
                at = self._expires(table, item.attrs)
                if at is not None and at <= cut:
                    self._delete(table, item)
                    deleted += 1
            self._plan(table)
        if deleted:
            self._aws.telemetry.count(
                "AWS/DynamoDB",
                "TimeToLiveDeletedItemCount",
                {"TableName": name},
                float(deleted),
                account_id=account_id,
                region=region,
            )

    def _delete(self, table: Any, item: Any) -> None:
        store.put_back(table, {n: item.attrs[n] for n in table.table_key_attrs}, None)
        streams = self._aws.gateway.layers.get("dynamodbstreams")
        with ExitStack() as stack:
            if streams is not None and hasattr(streams, "by_time_to_live"):
                stack.enter_context(streams.by_time_to_live())
            store.record(table, item, None)


def _items(table: Any) -> Iterator[Any]:
    for partition in table.items.values():
        yield from partition.values() if table.range_key_attr else (partition,)

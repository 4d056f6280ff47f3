"""What things cost on AWS: a dated table of list prices, and sums over it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = Path(__file__).resolve().parents[1] / "data" / "prices.json"


@dataclass(frozen=True)
class Prices:
    """List prices in USD for us-east-1, with the date they were written down."""

    date: str
    _table: dict[str, Any]

    @classmethod
    def load(cls, path: Path = PRICES) -> Prices:
        """The prices in ``data/prices.json``."""
        table = json.loads(path.read_text(encoding="utf-8"))
        return cls(table["date"], table)

    def hourly(self, kind: str | None) -> float:
        """What one resource of *kind* costs an hour by merely existing; 0 when it costs nothing."""
        price = self._table["standing"].get(kind or "", {})
        return price.get("per_hour", price.get("per_month", 0.0) / self.month_hours)

    @property
    def month_hours(self) -> float:
        """Hours in a month, as AWS's price pages count them."""
        return self._table["hours_in_a_month"]

    def request(self, service: str, operation: str) -> float:
        """What one call costs; 0 for calls that AWS does not charge for, or that are not listed."""
        price = self._table["requests"].get(f"{service}.{operation}", {})
        return price.get("per_million", 0.0) / 1e6

    def requests(self, calls: Iterable[Any]) -> float:
        """What *calls* cost together."""
        counted = Counter((call.service, call.operation) for call in calls)
        return sum(self.request(*which) * count for which, count in counted.items())

    def pipeline(self) -> tuple[float, float]:
        """What the orders pipeline costs while it stands idle: USD an hour, USD a month.

        One provisioned shard; everything else in it is billed by use.
        """
        hourly = self.hourly("kinesis stream")
        return hourly, hourly * self.month_hours

"""Functions of Logs Insights: over one event's values, and over the events of a group.

Amazon CloudWatch Logs User Guide, "Supported operations and functions" and "stats".
"""

from __future__ import annotations

import ipaddress
import json
import math
import time
from collections.abc import Callable
from typing import Any

from labkit.localaws.insights_values import Timestamp, number, sort_key, text

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_UNIT_NAMES = {
    "msec": "ms",
    "millisecond": "ms",
    "milliseconds": "ms",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "minute": "m",
    "minutes": "m",
    "hour": "h",
    "hours": "h",
    "hr": "h",
    "day": "d",
    "days": "d",
    "week": "w",
    "weeks": "w",
}


def duration_ms(amount: str, unit: str) -> int | None:
    """A period such as 5m in milliseconds, None for a unit that isn't one."""
    factor = _UNIT_MS.get(_UNIT_NAMES.get(unit.lower(), unit.lower()))
    return None if factor is None else int(float(amount) * factor)


def floor_time(value: Any, period: Any) -> Timestamp | None:
    """The start of the period a moment is in."""
    when, step = number(value), number(period)
    if when is None or not step:
        return None
    return Timestamp(when // step * step)


def _ceil_time(value: Any, period: Any) -> Timestamp | None:
    when, step = number(value), number(period)
    if when is None or not step:
        return None
    return Timestamp(-(-when // step) * step)


def _math(work: Callable[[float], float]) -> Callable[[Any], float | None]:
    def function(value: Any) -> float | None:
        amount = number(value)
        try:
            return None if amount is None else float(work(amount))
        except (ValueError, OverflowError):
            return None

    return function


def _chosen(order: Callable[..., float]) -> Callable[..., float | None]:
    def function(*values: Any) -> float | None:
        amounts = [amount for value in values if (amount := number(value)) is not None]
        return order(amounts) if amounts else None

    return function


def _textual(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function of text: nothing gives nothing."""

    def function(value: Any, *rest: Any) -> Any:
        return None if value is None else work(text(value), *rest)

    return function


def _substring(value: str, start: Any, length: Any = None) -> str:
    first = int(number(start) or 0)
    return value[first:] if length is None else value[first : first + int(number(length) or 0)]


def _address(value: Any, version: int | None = None) -> bool:
    try:
        address = ipaddress.ip_address(text(value))
    except ValueError:
        return False
    return version in (None, address.version)


def _in_subnet(value: Any, subnet: Any) -> bool:
    try:
        return ipaddress.ip_address(text(value)) in ipaddress.ip_network(text(subnet), strict=False)
    except ValueError:
        return False


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _moment(value: Any) -> Timestamp | None:
    amount = number(value)
    return None if amount is None else Timestamp(amount)


def _truth(value: Any) -> bool:
    return value is True or (value not in (None, False, 0, "", "false"))


# Name in lower case to (fewest, most arguments, function).
SCALARS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, _math(abs)),
    "ceil": (1, 1, _math(math.ceil)),
    "floor": (1, 1, _math(math.floor)),
    "round": (1, 1, _math(round)),
    "log": (1, 1, _math(math.log)),
    "sqrt": (1, 1, _math(math.sqrt)),
    "greatest": (1, 50, _chosen(max)),
    "least": (1, 50, _chosen(min)),
    "datefloor": (2, 2, floor_time),
    "dateceil": (2, 2, _ceil_time),
    "frommillis": (1, 1, _moment),
    "tomillis": (1, 1, lambda value: None if number(value) is None else int(number(value) or 0)),
    "now": (0, 0, lambda: int(time.time())),
    "ispresent": (1, 1, lambda value: value is not None),
    "coalesce": (1, 50, lambda *values: next((v for v in values if v is not None), None)),
    "if": (3, 3, lambda test, then, otherwise: then if _truth(test) else otherwise),
    "isempty": (1, 1, lambda value: value is None or text(value) == ""),
    "isblank": (1, 1, lambda value: value is None or not text(value).strip()),
    "concat": (1, 50, lambda *values: "".join(text(v) for v in values if v is not None)),
    "ltrim": (1, 2, _textual(lambda value, chars=None: value.lstrip(chars))),
    "rtrim": (1, 2, _textual(lambda value, chars=None: value.rstrip(chars))),
    "trim": (1, 2, _textual(lambda value, chars=None: value.strip(chars))),
    "strlen": (1, 1, _textual(len)),
    "toupper": (1, 1, _textual(str.upper)),
    "tolower": (1, 1, _textual(str.lower)),
    "substr": (2, 3, _textual(_substring)),
    "replace": (3, 3, _textual(lambda value, old, new: value.replace(text(old), text(new)))),
    "strcontains": (2, 2, _textual(lambda value, part: int(text(part) in value))),
    "jsonparse": (1, 1, _parsed),
    "jsonstringify": (1, 1, lambda value: None if value is None else json.dumps(value)),
    "isvalidip": (1, 1, _address),
    "isvalidipv4": (1, 1, lambda value: _address(value, 4)),
    "isvalidipv6": (1, 1, lambda value: _address(value, 6)),
    "isipinsubnet": (2, 2, _in_subnet),
    "isipv4insubnet": (2, 2, _in_subnet),
    "isipv6insubnet": (2, 2, _in_subnet),
}


# -- over groups ---------------------------------------------------------------------------------


class Aggregate:
    """Takes in one value an event and tells a result in the end."""

    def __init__(self, *parameters: Any) -> None:
        self.values: list[Any] = []

    def take(self, value: Any, when: float) -> None:
        """Take in an event's value; *when* is the event's time."""
        if value is not None:
            self.values.append(value)

    def result(self) -> Any:
        """The result over all values."""
        raise NotImplementedError

    def numbers(self) -> list[float]:
        """The values that are numbers."""
        return [amount for value in self.values if (amount := number(value)) is not None]


class Count(Aggregate):
    """How many events have a value."""

    def __init__(self, *parameters: Any) -> None:
        self.seen = 0

    def take(self, value: Any, when: float) -> None:
        self.seen += value is not None

    def result(self) -> int:
        return self.seen


class CountDistinct(Aggregate):
    """How many different values there are."""

    def __init__(self, *parameters: Any) -> None:
        self.different: set[str] = set()

    def take(self, value: Any, when: float) -> None:
        if value is not None:
            self.different.add(text(value))

    def result(self) -> int:
        return len(self.different)


class Total(Aggregate):
    """The sum, the average and the spread, without keeping the values."""

    def __init__(self, *parameters: Any) -> None:
        self.seen = 0
        self.mean = self.squares = self.total = 0.0

    def take(self, value: Any, when: float) -> None:
        amount = number(value)
        if amount is None:
            return
        self.seen += 1
        self.total += amount
        distance = amount - self.mean
        self.mean += distance / self.seen
        self.squares += distance * (amount - self.mean)

    def result(self) -> float | None:
        return self.total if self.seen else None


class Average(Total):
    """The average of the numbers."""

    def result(self) -> float | None:
        return self.total / self.seen if self.seen else None


class Deviation(Total):
    """The standard deviation of the numbers."""

    def result(self) -> float | None:
        if not self.seen:
            return None
        return math.sqrt(self.squares / (self.seen - 1)) if self.seen > 1 else 0.0


class Extreme(Aggregate):
    """The smallest or largest number; of texts, the first or last."""

    largest = False

    def __init__(self, *parameters: Any) -> None:
        self.best: Any = None

    def take(self, value: Any, when: float) -> None:
        if value is None:
            return
        if self.best is None or (sort_key(value) > sort_key(self.best)) is self.largest:
            self.best = value

    def result(self) -> Any:
        # Dates are shown as the numbers they are once they are computed with.
        return float(self.best) if isinstance(self.best, Timestamp) else self.best


class Largest(Extreme):
    """The largest."""

    largest = True


class Percentile(Aggregate):
    """The value that so many percent of the numbers don't exceed."""

    def __init__(self, *parameters: Any) -> None:
        super().__init__()
        self._percent = number(parameters[0]) if parameters else 50.0

    def result(self) -> float | None:
        numbers = sorted(self.numbers())
        if not numbers or self._percent is None:
            return None
        place = math.ceil(self._percent / 100 * len(numbers) - 1e-9)
        return numbers[min(max(place, 1), len(numbers)) - 1]


class Earliest(Aggregate):
    """The value of the event with the earliest time."""

    latest = False

    def __init__(self, *parameters: Any) -> None:
        self._when: float | None = None
        self._value: Any = None

    def take(self, value: Any, when: float) -> None:
        if value is None:
            return
        if self._when is None or (when > self._when if self.latest else when < self._when):
            self._when, self._value = when, value

    def result(self) -> Any:
        return self._value


class Latest(Earliest):
    """The value of the event with the latest time."""

    latest = True


AGGREGATES: dict[str, type[Aggregate]] = {
    "count": Count,
    "count_distinct": CountDistinct,
    "sum": Total,
    "avg": Average,
    "stddev": Deviation,
    "min": Extreme,
    "max": Largest,
    "pct": Percentile,
    "median": Percentile,
    "earliest": Earliest,
    "latest": Latest,
    "sortsfirst": Extreme,
    "sortslast": Largest,
}

"""Schedule expressions: when ``rate(...)`` and ``cron(...)`` are next due.

Follows the EventBridge User Guide, "Creating an Amazon EventBridge rule that runs on a schedule":
rates of minutes, hours and days, singular for one; cron with six fields in UTC, of which day of
month and day of week are never both given.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)(s?)\)")
_CRON = re.compile(r"cron\((.+)\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
# Sunday is the first day of a week here.
_DAYS = {
    name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)
}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199


class BadExpression(ValueError):
    """Not a schedule expression that EventBridge accepts."""


@dataclass(frozen=True)
class Rate:
    """Every so many seconds, counted from when the rule was made or enabled."""

    seconds: int

    def next_after(self, when: float) -> float | None:
        """The next due time after *when*, epoch seconds."""
        return when + self.seconds


@dataclass(frozen=True)
class _Days:
    """Days of a month by number, by weekday, or by the special signs L, W and #."""

    numbers: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    last: bool = False
    last_weekday: int | None = None
    nearest_workday: int | None = None
    nth: tuple[int, int] | None = None

    def of(self, year: int, month: int) -> set[int]:
        """The matching days of one month."""
        length = calendar.monthrange(year, month)[1]
        days = {number for number in self.numbers if number <= length}
        by_weekday: dict[int, list[int]] = {}
        for day in range(1, length + 1):
            weekday = date(year, month, day).isoweekday() % 7 + 1
            by_weekday.setdefault(weekday, []).append(day)
        for weekday in self.weekdays:
            days.update(by_weekday[weekday])
        if self.last:
            days.add(length)
        if self.last_weekday is not None:
            days.add(by_weekday[self.last_weekday][-1])
        if self.nth is not None:
            weekday, number = self.nth
            days.update(by_weekday[weekday][number - 1 : number])
        if self.nearest_workday is not None:
            days.add(_nearest_workday(year, month, min(self.nearest_workday, length)))
        return days


@dataclass(frozen=True)
class Cron:
    """Minutes in UTC that match all six fields."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: _Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    def next_after(self, when: float) -> float | None:
        """The next due time after *when*, epoch seconds; None when there is none any more."""
        start = datetime.fromtimestamp(when, UTC).replace(second=0, microsecond=0)
        start += timedelta(minutes=1)
        for year in self.years:
            if year < start.year:
                continue
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in sorted(self.days.of(year, month)):
                    found = self._on(year, month, day, start)
                    if found is not None:
                        return found.timestamp()
        return None

    def _on(self, year: int, month: int, day: int, start: datetime) -> datetime | None:
        if date(year, month, day) < start.date():
            return None
        for hour in self.hours:
            for minute in self.minutes:
                moment = datetime(year, month, day, hour, minute, tzinfo=UTC)
                if moment >= start:
                    return moment
        return None


def parse(expression: str) -> Rate | Cron:
    """The schedule that *expression* stands for; raises BadExpression."""
    if match := _RATE.fullmatch(expression):
        number, unit, plural = int(match[1]), match[2], bool(match[3])
        if plural == (number == 1):
            raise BadExpression(expression)
        return Rate(number * _SECONDS[unit])
    if match := _CRON.fullmatch(expression):
        fields = match[1].split()
        if len(fields) == 6:
            return _cron(*fields)
    raise BadExpression(expression)


def _cron(minute: str, hour: str, day: str, month: str, weekday: str, year: str) -> Cron:
    if (day == "?") == (weekday == "?"):
        raise BadExpression("one of day of month and day of week is a question mark")
    years = _numbers(year, _FIRST_YEAR, _LAST_YEAR)
    return Cron(
        tuple(sorted(_numbers(minute, 0, 59))),
        tuple(sorted(_numbers(hour, 0, 23))),
        _weekdays(weekday) if day == "?" else _days(day),
        tuple(sorted(_numbers(month, 1, 12, _MONTHS))),
        tuple(sorted(years)),
    )


def _days(text: str) -> _Days:
    if text == "L":
        return _Days(last=True)
    if match := re.fullmatch(r"(\d+)W", text):
        return _Days(nearest_workday=_within(int(match[1]), 1, 31))
    return _Days(numbers=frozenset(_numbers(text, 1, 31)))


def _weekdays(text: str) -> _Days:
    if text == "L":
        return _Days(weekdays=frozenset({7}))
    if match := re.fullmatch(r"(\w+)L", text):
        return _Days(last_weekday=_number(match[1], 1, 7, _DAYS))
    if match := re.fullmatch(r"(\w+)#([1-5])", text):
        return _Days(nth=(_number(match[1], 1, 7, _DAYS), int(match[2])))
    return _Days(weekdays=frozenset(_numbers(text, 1, 7, _DAYS)))


def _numbers(text: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """The numbers a field stands for: lists, ranges, steps, names and the asterisk."""
    result: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, 1, high, None) if slash else 1
        if span == "*":
            first, last = low, high
        elif "-" in span:
            start, _, end = span.partition("-")
            first, last = _number(start, low, high, names), _number(end, low, high, names)
            if first > last:
                # Ranges may go round: FRI-MON.
                result.update(range(first, high + 1, step))
                first = low
        else:
            first = _number(span, low, high, names)
            last = high if slash else first
        result.update(range(first, last + 1, step))
    return result


def _number(text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    if names and text.upper() in names:
        return names[text.upper()]
    if not text.isdigit():
        raise BadExpression(text)
    return _within(int(text), low, high)


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise BadExpression(str(number))
    return number


def _nearest_workday(year: int, month: int, day: int) -> int:
    length = calendar.monthrange(year, month)[1]
    weekday = date(year, month, day).isoweekday()
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 7:
        return day + 1 if day < length else day - 2
    return day

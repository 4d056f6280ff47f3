"""Expressions of the Logs Insights query language: read from text into functions of an event.

Amazon CloudWatch Logs User Guide, "Supported operations and functions". What can't be read raises
:class:`BadQuery` with the place, as MalformedQueryException tells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from labkit.localaws.insights_functions import (
    AGGREGATES,
    SCALARS,
    Aggregate,
    duration_ms,
    floor_time,
)
from labkit.localaws.insights_values import Record, number, sort_key, text

Expression = Callable[[Record], Any]
# What a group's events are given to: the kind, its parameters, and the value of each event.
Aggregation = tuple[type[Aggregate], tuple[Any, ...], Expression | None]

_SPACE = re.compile(r"(?:\s+|#[^\n]*)+")
NUMBER = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]+)?")
FIELD = re.compile(r"@?`[^`]+`|@?[A-Za-z_$][\w.$@]*")
STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
REGEX = re.compile(r"/((?:[^/\\]|\\.)*)/")
_WORD = re.compile(r"[A-Za-z_]+")
_SYMBOL = re.compile(r"\S")
_RESERVED = frozenset({"and", "or", "not", "like", "in", "as", "by", "asc", "desc"})


class BadQuery(Exception):
    """A query that can't be read, and where: character offsets in the query."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.start, self.end = start, end


class ExpressionReader:
    """Walks over a query and reads the expressions in it."""

    def __init__(self, query: str) -> None:
        self.text = query
        self.at = 0
        # Inside stats, functions over groups are collected here.
        self.aggregates: list[Aggregation] | None
        self.aggregates = None

    # -- scanning ----------------------------------------------------------------------------

    def skip(self) -> None:
        """Step over spaces and comments."""
        match = _SPACE.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What *pattern* finds here, stepped over."""
        self.skip()
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def take(self, symbol: str) -> bool:
        """Step over *symbol* when it comes next."""
        self.skip()
        if self.text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False

    def word(self, *words: str) -> str | None:
        """One of *words*, stepped over, when it comes next."""
        self.skip()
        match = _WORD.match(self.text, self.at)
        if match is None or match.group(0).lower() not in words:
            return None
        self.at = match.end()
        return match.group(0).lower()

    def fail(self) -> NoReturn:
        """Raise BadQuery for what comes next."""
        self.skip()
        start = self.at
        if start >= len(self.text):
            raise BadQuery("unexpected end of query", start, start)
        match = (
            STRING.match(self.text, start)
            or FIELD.match(self.text, start)
            or NUMBER.match(self.text, start)
            or _SYMBOL.match(self.text, start)
        )
        assert match is not None
        line = self.text.count("\n", 0, start) + 1
        place = start - (self.text.rfind("\n", 0, start) + 1)
        raise BadQuery(
            f"unexpected symbol found {match.group(0)} at line {line} and position {place}",
            start,
            match.end(),
        )

    def expect(self, symbol: str) -> None:
        """Step over *symbol*, which has to come next."""
        if not self.take(symbol):
            self.fail()

    # -- expressions -------------------------------------------------------------------------

    def expression(self) -> Expression:
        """The expression that comes next."""
        parts = [self._both()]
        while self.word("or") or self.take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _any(parts)

    def _both(self) -> Expression:
        parts = [self._negated()]
        while self.word("and") or self.take("&&"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else _all(parts)

    def _negated(self) -> Expression:
        if self.word("not"):
            inner = self._negated()
            return lambda record: not inner(record)
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._sum()
        negative = False
        self.skip()
        start = self.at
        if self.word("not"):
            negative = True
        if self.word("like") or self.take("=~"):
            found = _like(left, self._likeness())
            return _not(found) if negative else found
        if self.word("in"):
            self.expect("[")
            values = [self._sum()]
            while self.take(","):
                values.append(self._sum())
            self.expect("]")
            found = _among(left, values)
            return _not(found) if negative else found
        if negative:
            self.at = start
            return left
        for sign in ("!=", "<=", ">=", "==", "=", "<", ">"):
            if self.take(sign):
                return _compared(sign, left, self._sum())
        return left

    def _likeness(self) -> Callable[[str], bool]:
        regex = self.match(REGEX)
        if regex is not None:
            pattern = self.compiled(regex)
            return lambda value: pattern.search(value) is not None
        quoted = self.match(STRING)
        if quoted is None:
            self.fail()
        part = unquoted(quoted)
        return lambda value: part in value

    def _sum(self) -> Expression:
        left = self._product()
        while True:
            if self.take("+"):
                left = _arithmetic("+", left, self._product())
            elif self.take("-"):
                left = _arithmetic("-", left, self._product())
            else:
                return left

    def _product(self) -> Expression:
        left = self._power()
        while True:
            sign = next((each for each in "*/%" if self.take(each)), None)
            if sign is None:
                return left
            left = _arithmetic(sign, left, self._power())

    def _power(self) -> Expression:
        base = self._unary()
        return _arithmetic("^", base, self._power()) if self.take("^") else base

    def _unary(self) -> Expression:
        if self.take("-"):
            inner = self._unary()
            return _arithmetic("-", lambda record: 0, inner)
        return self.primary()

    def primary(self) -> Expression:
        """A constant, a field, a function or something in parentheses."""
        if self.take("("):
            inner = self.expression()
            self.expect(")")
            return inner
        quoted = self.match(STRING)
        if quoted is not None:
            constant: Any = unquoted(quoted)
            return lambda record: constant
        digits = self.match(NUMBER)
        if digits is not None:
            return self._constant(digits)
        start = self.at
        match = self.match(FIELD)
        if match is None or match.group(0).lower() in _RESERVED:
            self.at = start
            self.fail()
        name = match.group(0)
        if self.text.startswith("(", self.at):
            return self._call(name, match.start())
        if name.lower() in ("true", "false"):
            truth = name.lower() == "true"
            return lambda record: truth
        plain = name.replace("`", "")
        if plain.lower() == "null":
            return lambda record: None
        return lambda record: record.get(plain)

    def _constant(self, match: re.Match[str]) -> Expression:
        amount, unit = match.groups()
        if unit:
            period = duration_ms(amount, unit)
            if period is None:
                self.at = match.start()
                self.fail()
            return lambda record: period
        value = float(amount) if "." in amount else int(amount)
        return lambda record: value

    def _call(self, name: str, start: int) -> Expression:
        low = name.lower()
        self.expect("(")
        if low in AGGREGATES:
            if self.aggregates is not None:
                return self._aggregate(low)
            return self._computed(start)
        arguments: list[Expression] = []
        if not self.take(")"):
            arguments.append(self.expression())
            while self.take(","):
                arguments.append(self.expression())
            self.expect(")")
        if low == "bin":
            if not 1 <= len(arguments) <= 2:
                self.at = start
                self.fail()
            period = arguments[-1]
            moment = arguments[0] if len(arguments) == 2 else _timestamp
            return _or_column(
                self.text[start : self.at],
                lambda record: floor_time(moment(record), period(record)),
            )
        known = SCALARS.get(low)
        if known is None or not known[0] <= len(arguments) <= known[1]:
            self.at = start
            self.fail()
        function = known[2]
        return _or_column(
            self.text[start : self.at],
            lambda record: function(*(argument(record) for argument in arguments)),
        )

    def _computed(self, start: int) -> Expression:
        """A function over groups outside of stats: the column that stats made of it."""
        depth = 1
        while depth and self.at < len(self.text):
            depth += {"(": 1, ")": -1}.get(self.text[self.at], 0)
            self.at += 1
        if depth:
            self.fail()
        name = self.text[start : self.at]
        return lambda record: record.values.get(name)

    def _aggregate(self, name: str) -> Expression:
        assert self.aggregates is not None
        outer, self.aggregates = self.aggregates, None
        value: Expression | None = None
        parameters: list[Any] = []
        if self.take("*"):
            self.expect(")")
        elif not self.take(")"):
            value = self.expression()
            while self.take(","):
                parameters.append(self.expression()(Record(None)))
            self.expect(")")
        elif name != "count":
            self.at -= 1
            self.fail()
        self.aggregates = outer
        place = len(outer)
        outer.append((AGGREGATES[name], tuple(parameters), value))
        # The row of a group holds its results under their place.
        return lambda record: record.values[f"#{place}"]

    def compiled(self, match: re.Match[str]) -> re.Pattern[str]:
        """The regular expression between the slashes."""
        # Java writes named groups without the P.
        source = re.sub(r"\(\?<(?![=!])", "(?P<", match.group(1).replace("\\/", "/"))
        try:
            return re.compile(source)
        except re.error as problem:
            raise BadQuery(
                f"invalid regular expression: {problem}", match.start(), match.end()
            ) from problem


def _or_column(name: str, compute: Expression) -> Expression:
    """What an earlier command computed under this very text, or else the computation."""
    return lambda record: record.values[name] if name in record.values else compute(record)


def _timestamp(record: Record) -> Any:
    return record.get("@timestamp")


def unquoted(match: re.Match[str]) -> str:
    """The text between quotes."""
    inside = match.group(1) if match.group(1) is not None else match.group(2)
    return re.sub(r"\\([\"'\\/])", r"\1", inside)


def _any(parts: list[Expression]) -> Expression:
    return lambda record: any(part(record) for part in parts)


def _all(parts: list[Expression]) -> Expression:
    return lambda record: all(part(record) for part in parts)


def _not(inner: Expression) -> Expression:
    return lambda record: not inner(record)


def _like(value: Expression, matches: Callable[[str], bool]) -> Expression:
    def test(record: Record) -> bool:
        found = value(record)
        return found is not None and matches(text(found))

    return test


def _among(value: Expression, options: list[Expression]) -> Expression:
    tests = [_compared("=", value, option) for option in options]
    return lambda record: any(test(record) for test in tests)


def _compared(sign: str, left: Expression, right: Expression) -> Expression:
    def test(record: Record) -> bool:
        one, other = left(record), right(record)
        if sign in ("=", "=="):
            return _same(one, other)
        if sign == "!=":
            return not _same(one, other)
        if one is None or other is None:
            return False
        first, second = sort_key(one), sort_key(other)
        if first[0] != second[0]:
            return False
        return {
            "<": first < second,
            "<=": first <= second,
            ">": first > second,
            ">=": first >= second,
        }[sign]

    return test


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    first, second = number(one), number(other)
    if first is not None and second is not None:
        return first == second
    return text(one) == text(other)


def _arithmetic(sign: str, left: Expression, right: Expression) -> Expression:
    def compute(record: Record) -> float | None:
        one, other = number(left(record)), number(right(record))
        if one is None or other is None:
            return None
        try:
            if sign == "+":
                return one + other
            if sign == "-":
                return one - other
            if sign == "*":
                return one * other
            if sign == "/":
                return one / other
            if sign == "%":
                return one % other
            result = one**other
            return None if isinstance(result, complex) else result
        except (ZeroDivisionError, OverflowError):
            return None

    return compute

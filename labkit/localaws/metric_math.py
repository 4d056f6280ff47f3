"""Metric math: the expression language of GetMetricData and of alarms.

Amazon CloudWatch User Guide, "Using math expressions with CloudWatch metrics" and "Using search
expressions". A value is a number, a text, a time series, or an array of time series; an operation
on an array applies to each of its series.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from labkit.localaws.metrics_store import Metric


@dataclass
class Series:
    """A time series: epoch seconds to value, in ascending order."""

    points: dict[int, float]
    period: int
    label: str = ""
    metric: Metric | None = None
    stat: str = ""


Value = float | str | Series | list[Series]


class Scope(Protocol):
    """What an expression may refer to."""

    @property
    def span(self) -> tuple[float, float]:
        """Start and end of the request."""

    def value(self, identifier: str) -> Value:
        """The value of another query."""

    def metrics(self, containing: str | None = None) -> list[Series]:
        """The series of the metric queries."""

    def search(self, expression: str, stat: str, period: int | None) -> list[Series]:
        """The series that a search expression finds."""


class MathError(Exception):
    """An expression that can't be read or evaluated; the message is for the caller."""

    def __init__(self, message: str, located: bool = False) -> None:
        super().__init__(message)
        self.located = located


def as_series(value: Value, scope: Scope) -> list[Series]:
    """*value* as the series a query returns; a number is no series."""
    if isinstance(value, Series):
        return [value]
    if isinstance(value, list):
        return value
    raise MathError("The expression must return a time series or an array of time series.")


# -- reading -------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^(),<>\[\]]))"
)
_BINDING = {
    "||": 1,
    "OR": 1,
    "&&": 2,
    "AND": 2,
    "==": 3,
    "!=": 3,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "^": 8,
}
_UNARY_BINDING = 7
_KEYWORDS = frozenset({"AVG", "MIN", "MAX", "SUM", "ASC", "DESC", "REPEAT", "LINEAR"})


@dataclass(frozen=True)
class _Node:
    """A parsed piece: ``kind`` is number, text, name, call or array; ``parts`` are operands."""

    kind: str
    value: object
    parts: tuple[_Node, ...] = ()


@functools.lru_cache(maxsize=500)
def parse(expression: str) -> _Node:
    """The parsed expression, or MathError."""
    try:
        return _Parser(expression).whole()
    except RecursionError as problem:
        raise MathError("The expression is nested too deeply") from problem


class _Parser:
    """Reads one expression by operator precedence."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise MathError(f"Invalid syntax at position {at}: '{text[at : at + 10].strip()}'")
            kind = match.lastgroup
            assert kind is not None
            self._tokens.append((kind, match.group(kind)))
            at = match.end()
        self._at = 0

    def whole(self) -> _Node:
        """The one node of the whole text."""
        node = self._operation(0)
        if self._at < len(self._tokens):
            raise MathError(f"Invalid syntax near '{self._tokens[self._at][1]}'")
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, expected: str = "") -> tuple[str, str]:
        token = self._peek()
        if token[0] == "end" or (expected and token[1] != expected):
            raise MathError(f"Invalid syntax: expected '{expected or 'an operand'}'")
        self._at += 1
        return token

    def _operation(self, binding: int) -> _Node:
        left = self._operand()
        while True:
            kind, text = self._peek()
            sign = text.upper() if kind == "name" else text
            power = _BINDING.get(sign) if kind in ("sign", "name") else None
            if power is None or power <= binding:
                return left
            self._at += 1
            # Powers group from the right.
            right = self._operation(power - 1 if sign == "^" else power)
            left = _Node("operation", sign, (left, right))

    def _operand(self) -> _Node:
        kind, text = self._take()
        if kind == "number":
            return _Node("number", float(text))
        if kind == "text":
            return _Node("text", re.sub(r"\\(.)", r"\1", text[1:-1]))
        if text == "-":
            return _Node("negative", "-", (self._operation(_UNARY_BINDING),))
        if text == "+":
            return self._operation(_UNARY_BINDING)
        if text == "(":
            node = self._operation(0)
            self._take(")")
            return node
        if text == "[":
            return _Node("array", "", self._list("]"))
        if kind == "name":
            if self._peek()[1] == "(":
                self._at += 1
                return _Node("call", text.upper(), self._list(")"))
            return _Node("name", text)
        raise MathError(f"Invalid syntax near '{text}'")

    def _list(self, end: str) -> tuple[_Node, ...]:
        parts: list[_Node] = []
        if self._peek()[1] == end:
            self._at += 1
            return ()
        while True:
            parts.append(self._operation(0))
            if self._take()[1] == end:
                return tuple(parts)
            if self._tokens[self._at - 1][1] != ",":
                raise MathError(f"Invalid syntax near '{self._tokens[self._at - 1][1]}'")


# -- evaluating ----------------------------------------------------------------------------------


def evaluate(expression: str, scope: Scope, period: int | None = None) -> Value:
    """What *expression* comes to; *period* (seconds) is the query's own, for searches."""
    from labkit.localaws.metric_functions import FUNCTIONS

    def value(node: _Node) -> Value:
        if node.kind in ("number", "text"):
            return node.value  # type: ignore[return-value]
        if node.kind == "name":
            name = str(node.value)
            # Ids start with a small letter, so these can't be meant as one.
            return name if name in _KEYWORDS else scope.value(name)
        if node.kind == "array":
            return [each for part in node.parts for each in as_series(value(part), scope)]
        if node.kind == "negative":
            return apply(lambda one: -one, value(node.parts[0]))
        if node.kind == "operation":
            return _operate(str(node.value), value(node.parts[0]), value(node.parts[1]))
        function = FUNCTIONS.get(str(node.value))
        if function is None:
            raise MathError(f"Unsupported function: {node.value}")
        return function(scope, [value(part) for part in node.parts], period)

    try:
        return value(parse(expression))
    except RecursionError as problem:
        raise MathError("The expression is nested too deeply") from problem


def apply(change: Callable[[float], float | None], value: Value) -> Value:
    """*value* with every number in it changed; points for which there is no number vanish."""
    if isinstance(value, str):
        raise MathError("Unsupported operand type: 'String'")
    if isinstance(value, list):
        return [one for each in value if isinstance(one := apply(change, each), Series)]
    if isinstance(value, Series):
        changed = {when: change(number) for when, number in value.points.items()}
        points = {when: number for when, number in changed.items() if number is not None}
        return Series(points, value.period, value.label, value.metric, value.stat)
    result = change(value)
    if result is None:
        raise MathError("The expression has no value.")
    return result


def combine(work: Callable[[float, float], float | None], left: Value, right: Value) -> Value:
    """*work* on two values, point by point where both have one."""
    for each in (left, right):
        if isinstance(each, str):
            raise MathError("Unsupported operand type: 'String'")
    if isinstance(left, list) and isinstance(right, list):
        raise MathError("Unsupported operand type(s): 'Array[TimeSeries]' and 'Array[TimeSeries]'")
    if isinstance(left, list):
        return [one for each in left if isinstance(one := combine(work, each, right), Series)]
    if isinstance(right, list):
        return [one for each in right if isinstance(one := combine(work, left, each), Series)]
    if isinstance(left, Series) and isinstance(right, Series):
        points = {
            when: result
            for when, number in left.points.items()
            if when in right.points and (result := work(number, right.points[when])) is not None
        }
        return Series(points, max(left.period, right.period), left.label, left.metric)
    if isinstance(left, Series):
        return apply(lambda number: work(number, right), left)  # type: ignore[arg-type]
    if isinstance(right, Series):
        return apply(lambda number: work(left, number), right)  # type: ignore[arg-type]
    result = work(left, right)  # type: ignore[arg-type]
    if result is None:
        raise MathError("Division by zero.")
    return result


def _operate(sign: str, left: Value, right: Value) -> Value:
    return combine(_OPERATIONS[sign], left, right)


def _power(base: float, exponent: float) -> float | None:
    try:
        result = base**exponent
    except (OverflowError, ZeroDivisionError):
        return None
    return None if isinstance(result, complex) else result


_OPERATIONS: dict[str, Callable[[float, float], float | None]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    # Where the divisor is zero there is no data point.
    "/": lambda one, other: one / other if other else None,
    "^": _power,
    "==": lambda one, other: float(one == other),
    "!=": lambda one, other: float(one != other),
    "<": lambda one, other: float(one < other),
    "<=": lambda one, other: float(one <= other),
    ">": lambda one, other: float(one > other),
    ">=": lambda one, other: float(one >= other),
    "&&": lambda one, other: float(bool(one and other)),
    "AND": lambda one, other: float(bool(one and other)),
    "||": lambda one, other: float(bool(one or other)),
    "OR": lambda one, other: float(bool(one or other)),
}


def date_part(name: str, when: float) -> float:
    """A part of the UTC date of epoch seconds: DAY (of week, Monday is 1), HOUR and alike."""
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    parts = {
        "DAY": moment.isoweekday(),
        "DATE": moment.day,
        "MONTH": moment.month,
        "YEAR": moment.year,
        "HOUR": moment.hour,
        "MINUTE": moment.minute,
        "EPOCH": int(when),
    }
    return float(parts[name])

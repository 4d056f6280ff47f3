"""What all kinds of filter patterns are made of: errors, regular expressions, tests of values."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any, Protocol

# A test of one value: text, number or truth value.
ValueTest = Callable[[Any], bool]


class BadPattern(Exception):
    """A pattern CloudWatch Logs would refuse; the message is its own."""


class Pattern(Protocol):
    """A compiled filter pattern."""

    # What kind of pattern it is: "text", "json" or "fields".
    kind: str

    def matches(self, message: str) -> bool:
        """Whether a log event's message matches."""

    def extract(self, message: str) -> dict[str, str] | None:
        """The values the pattern names, None when the message doesn't match."""


def bad_term(characters: str) -> BadPattern:
    """The refusal of a term with characters that don't belong there."""
    return BadPattern(f"Invalid character(s) in term '{characters}'")


def unescaped(text: str) -> str:
    """*text* without the backslashes that protect what follows them."""
    return re.sub(r"\\(.)", r"\1", text)


_REGEX_CHARACTERS = re.compile(r"(?:[A-Za-z0-9:_#=@/;,^$?\[\]{}|*+.\s-]|\\.)*")


def compile_regex(text: str) -> re.Pattern[str]:
    """A regular expression as patterns may have it; raises BadPattern for any other."""
    match = _REGEX_CHARACTERS.match(text)
    assert match is not None
    if match.end() < len(text):
        raise bad_term(text[match.end()])
    try:
        return re.compile(text)
    except re.error as problem:
        raise BadPattern("Invalid regular expression in filter pattern") from problem


_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_OPERATORS = ("!=", ">=", "<=", "=", ">", "<")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if _NUMBER.fullmatch(value) else None


def shown(value: Any) -> str:
    """A value as text, as patterns compare it."""
    if value is True or value is False:
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def value_test(operator: str, wanted: str, quoted: bool) -> ValueTest:
    """The test of a value against what a pattern says; a leading or trailing * is any text."""
    if wanted.startswith("%") and wanted.endswith("%") and len(wanted) > 2 and not quoted:
        regex = compile_regex(wanted[1:-1])
        found = operator == "="
        return lambda value: (regex.search(shown(value)) is not None) is found
    number = None if quoted else _number(wanted)
    if operator in (">", ">=", "<", "<="):
        if number is None:
            raise bad_term(f'"{wanted}"' if quoted else wanted)
        return _ordered(operator, number)
    same: ValueTest
    if number is not None:
        # What is no number isn't equal to one.
        same = functools.partial(_same_number, number)
    else:
        same = _same_text(wanted)
    return same if operator == "=" else lambda value: not same(value)


def _same_number(number: float, value: Any) -> bool:
    return _number(value) == number


def _ordered(operator: str, limit: float) -> ValueTest:
    compare: dict[str, Callable[[float], bool]] = {
        ">": lambda number: number > limit,
        ">=": lambda number: number >= limit,
        "<": lambda number: number < limit,
        "<=": lambda number: number <= limit,
    }
    test = compare[operator]

    def ordered(value: Any) -> bool:
        number = _number(value)
        return number is not None and test(number)

    return ordered


def _same_text(wanted: str) -> ValueTest:
    if wanted == "*":
        return lambda value: True
    start, end = wanted.startswith("*"), wanted.endswith("*")
    core = wanted[1 if start else 0 : -1 if end else None]
    if start and end:
        return lambda value: core in shown(value)
    if start:
        return lambda value: shown(value).endswith(core)
    if end:
        return lambda value: shown(value).startswith(core)
    return lambda value: shown(value) == core


class Reader:
    """Walks over a pattern's inside."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self, token: str) -> bool:
        """Whether *token* comes next, over spaces."""
        self.skip()
        return self.text.startswith(token, self.at)

    def take(self, token: str) -> bool:
        """Step over *token* when it comes next."""
        if self.peek(token):
            self.at += len(token)
            return True
        return False

    def skip(self) -> None:
        """Step over spaces."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What *pattern* finds here, stepped over."""
        self.skip()
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def rest(self) -> str:
        """What is left."""
        return self.text[self.at :].strip()

    def operator(self) -> str | None:
        """A comparison, when one comes next."""
        return next((sign for sign in _OPERATORS if self.take(sign)), None)

    def value(self, unquoted: re.Pattern[str]) -> tuple[str, bool]:
        """A value and whether it was quoted."""
        quoted = self.match(_QUOTED)
        if quoted is not None:
            return unescaped(quoted.group(1)), True
        percent = self.match(_PERCENT)
        if percent is not None:
            return percent.group(0), False
        bare = self.match(unquoted)
        if bare is None or not bare.group(0):
            raise bad_term(self.rest()[:1])
        return bare.group(0), False


_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_PERCENT = re.compile(r"%[^%]+%")

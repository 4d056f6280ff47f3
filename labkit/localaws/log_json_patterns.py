"""Filter patterns on JSON: ``{ $.level = "ERROR" && $.ms > 3 }``."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from labkit.localaws.log_pattern_parts import (
    BadPattern,
    Reader,
    ValueTest,
    bad_term,
    shown,
    value_test,
)

# A test of a parsed object.
Condition = Callable[[Any], bool]

_SELECTOR = re.compile(r"\$(?:\.[\w-]+|\[(?:\d+|\*)\]|\.?\['[^']+'\])+")
_SELECTOR_PART = re.compile(r"\.([\w-]+)|\[(\d+|\*)\]|\.?\['([^']+)'\]")
_JSON_WORD = re.compile(r"[\w.*+:/-]+")
_MISSING = object()


class JsonPattern:
    """Conditions on the JSON object that the whole message is."""

    kind = "json"

    def __init__(self, text: str) -> None:
        self._selectors: dict[str, Path] = {}
        reader = Reader(text)
        self._condition = self._either(reader)
        if reader.rest():
            raise bad_term(reader.rest()[:1])

    def matches(self, message: str) -> bool:
        parsed = parse_object(message)
        return parsed is not None and self._condition(parsed)

    def extract(self, message: str) -> dict[str, str] | None:
        parsed = parse_object(message)
        if parsed is None or not self._condition(parsed):
            return None
        values = {name: _first(path, parsed) for name, path in self._selectors.items()}
        return {
            name: shown(value)
            for name, value in values.items()
            if value is not _MISSING and not isinstance(value, dict | list)
        }

    def _either(self, reader: Reader) -> Condition:
        parts = [self._both(reader)]
        while reader.take("||"):
            parts.append(self._both(reader))
        return parts[0] if len(parts) == 1 else lambda each: any(part(each) for part in parts)

    def _both(self, reader: Reader) -> Condition:
        parts = [self._one(reader)]
        while reader.take("&&"):
            parts.append(self._one(reader))
        return parts[0] if len(parts) == 1 else lambda each: all(part(each) for part in parts)

    def _one(self, reader: Reader) -> Condition:
        if reader.take("("):
            inner = self._either(reader)
            if not reader.take(")"):
                raise BadPattern("Invalid filter pattern: unbalanced parentheses")
            return inner
        selector = reader.match(_SELECTOR)
        if selector is None:
            start = re.match(r"\$\.?.?|.?", reader.rest())
            raise bad_term(start.group(0) if start else "")
        path = path_of(selector.group(0))
        self._selectors[selector.group(0)] = path
        if (word := reader.match(_KEYWORDS)) is not None:
            return _state(path, re.sub(r"\s+", " ", word.group(0).upper()))
        operator = reader.operator()
        if operator is None:
            raise bad_term(selector.group(0) + reader.rest()[:1])
        test = value_test(operator, *reader.value(_JSON_WORD))
        return functools.partial(_holds, path, test)


_KEYWORDS = re.compile(
    r"(?:IS\s+(?:NOT\s+)?NULL|IS\s+TRUE|IS\s+FALSE|NOT\s+EXISTS|EXISTS)\b", re.IGNORECASE
)

Path = tuple[str | int, ...]


def path_of(selector: str) -> Path:
    """A selector's steps: names, indexes, and ``*`` for every element."""
    steps: list[str | int] = []
    for match in _SELECTOR_PART.finditer(selector):
        name, index, bracketed = match.groups()
        if index is not None:
            steps.append("[*]" if index == "*" else int(index))
        else:
            steps.append(name if name is not None else bracketed)
    return tuple(steps)


def parse_object(message: str) -> dict[str, Any] | None:
    """The JSON object a message is, or None."""
    text = message.strip()
    if not text.startswith("{"):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _found(path: Path, value: Any) -> list[Any]:
    values = [value]
    for step in path:
        following: list[Any] = []
        for each in values:
            if step == "[*]":
                if isinstance(each, list):
                    following += each
            elif isinstance(step, int):
                if isinstance(each, list) and step < len(each):
                    following.append(each[step])
            elif isinstance(each, dict) and step in each:
                following.append(each[step])
        values = following
    return values


def _first(path: Path, value: Any) -> Any:
    found = _found(path, value)
    return found[0] if found else _MISSING


def select(selector: str, parsed: Mapping[str, Any]) -> Any:
    """What ``$.name`` selects from a JSON object, None when there is nothing."""
    value = _first(path_of(selector), parsed)
    return None if value is _MISSING else value


def _holds(path: Path, test: ValueTest, parsed: Any) -> bool:
    # Objects, arrays and null can't be compared: neither = nor != matches them.
    return any(
        not isinstance(value, dict | list) and value is not None and test(value)
        for value in _found(path, parsed)
    )


def _state(path: Path, words: str) -> Condition:
    if words == "NOT EXISTS":
        return lambda parsed: not _found(path, parsed)
    if words == "EXISTS":
        return lambda parsed: bool(_found(path, parsed))
    if words == "IS NOT NULL":
        return lambda parsed: any(value is not None for value in _found(path, parsed))
    wanted = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False}[words]
    return lambda parsed: any(value is wanted for value in _found(path, parsed))

"""Where each statement stands in the text of a policy document.

Policy simulation reports lines and columns the way IAM's parser does: both count from 1, and a
position is the one after the brace that opens or closes the statement.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Span:
    """Line and column where a statement starts and ends."""

    start: tuple[int, int]
    end: tuple[int, int]


def statement_spans(text: str) -> list[Span]:
    """The span of every statement of a document, in order; empty for what is not one."""
    try:
        return [_span(text, start, end) for start, end in _statements(text)]
    except (ValueError, IndexError, RecursionError):
        return []


def _span(text: str, start: int, end: int) -> Span:
    return Span(_position(text, start + 1), _position(text, end))


def _position(text: str, offset: int) -> tuple[int, int]:
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _statements(text: str) -> list[tuple[int, int]]:
    """Start and end offsets of the statements: ``text[start:end]`` is the object."""
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, 0)
    if text[at] != "{":
        return []
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1)
        if name == "Statement":
            return _elements(text, at)
        _, at = decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return []


def _elements(text: str, at: int) -> list[tuple[int, int]]:
    decode = json.JSONDecoder().raw_decode
    if text[at] != "[":
        return [(at, decode(text, at)[1])]
    found = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = decode(text, at)
        found.append((at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at

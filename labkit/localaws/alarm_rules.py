"""Rules of composite alarms: expressions over the states of other alarms.

Amazon CloudWatch API Reference, "PutCompositeAlarm", AlarmRule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# Takes an alarm's name; answers its state, None when there is no such alarm.
StateOf = Callable[[str], str | None]

_TOKEN = re.compile(
    r"\s*(?:(?P<function>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*"
    r"(?:\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<plain>[^()\"']+?))\s*\)"
    r"|(?P<word>AND|OR|NOT|TRUE|FALSE)\b|(?P<paren>[()]))",
    re.IGNORECASE,
)
MAX_CHILDREN = 100


class BadRule(Exception):
    """A rule that can't be read."""


@dataclass(frozen=True)
class Rule:
    """A rule that was read: which alarms it is about, and what it says of their states."""

    children: tuple[str, ...]
    holds: Callable[[StateOf], bool]


def name_of(reference: str) -> str:
    """An alarm's name from its name or ARN."""
    return reference.split(":", 6)[6] if reference.startswith("arn:") else reference


def read_rule(text: str) -> Rule:
    """The rule that *text* is; raises BadRule."""
    try:
        return _Reader(text).rule()
    except RecursionError as problem:
        raise BadRule("The rule is nested too deeply") from problem


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[re.Match[str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise BadRule(f"Error at character {at}: {text[at : at + 20]}")
            self._tokens.append(match)
            at = match.end()
        self._at = 0
        self._children: dict[str, None] = {}

    def rule(self) -> Rule:
        holds = self._either()
        if self._at < len(self._tokens):
            raise BadRule(f"Unexpected '{self._tokens[self._at].group(0).strip()}'")
        if len(self._children) > MAX_CHILDREN:
            raise BadRule(f"A composite alarm can have at most {MAX_CHILDREN} children")
        return Rule(tuple(self._children), holds)

    def _next(self, word: str) -> bool:
        if self._at >= len(self._tokens):
            return False
        match = self._tokens[self._at]
        found = (match.group("word") or match.group("paren") or "").upper()
        if found != word:
            return False
        self._at += 1
        return True

    def _either(self) -> Callable[[StateOf], bool]:
        parts = [self._both()]
        while self._next("OR"):
            parts.append(self._both())
        return lambda state_of: any(part(state_of) for part in parts)

    def _both(self) -> Callable[[StateOf], bool]:
        parts = [self._one()]
        while self._next("AND"):
            parts.append(self._one())
        return lambda state_of: all(part(state_of) for part in parts)

    def _one(self) -> Callable[[StateOf], bool]:
        if self._next("NOT"):
            inner = self._one()
            return lambda state_of: not inner(state_of)
        if self._next("("):
            inner = self._either()
            if not self._next(")"):
                raise BadRule("A parenthesis is not closed")
            return inner
        for word, truth in (("TRUE", True), ("FALSE", False)):
            if self._next(word):
                return lambda _, truth=truth: truth  # type: ignore[misc]
        if self._at >= len(self._tokens) or not self._tokens[self._at].group("function"):
            raise BadRule("An alarm, TRUE or FALSE is expected")
        match = self._tokens[self._at]
        self._at += 1
        wanted = match.group("function").upper()
        reference = match.group("quoted") or match.group("single") or match.group("plain") or ""
        name = name_of(reference.strip())
        self._children[name] = None
        return lambda state_of: state_of(name) == wanted

"""Filter patterns of CloudWatch Logs: which log events a pattern matches, and what it extracts.

Amazon CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters,
filter log events, and Live Tail". There are four kinds: terms (all, any with ``?``, none with
``-``), a regular expression between percent signs, fields separated by spaces in ``[...]``, and
conditions on a JSON object in ``{...}``.
"""

from __future__ import annotations

import functools
import re

from labkit.localaws.log_field_patterns import FieldsPattern
from labkit.localaws.log_json_patterns import JsonPattern
from labkit.localaws.log_pattern_parts import (
    BadPattern,
    Pattern,
    bad_term,
    compile_regex,
    unescaped,
)

__all__ = ["BadPattern", "Pattern", "compile_pattern"]


@functools.lru_cache(maxsize=500)
def compile_pattern(text: str) -> Pattern:
    """The compiled pattern; raises BadPattern."""
    stripped = text.strip()
    if not stripped:
        return _Terms([], [], [])
    for opening, closing in ("{}", "[]"):
        if stripped.startswith(opening) and not stripped.endswith(closing):
            raise BadPattern(
                f"If a filter pattern starts with '{opening}' it must end with '{closing}'"
            )
    try:
        if stripped.startswith("{"):
            return JsonPattern(stripped[1:-1])
        if stripped.startswith("["):
            return FieldsPattern(stripped[1:-1])
    except RecursionError as problem:
        raise BadPattern("Invalid filter pattern: too many parentheses") from problem
    if stripped.startswith("%") and stripped.endswith("%") and len(stripped) > 2:
        return _Regex(stripped[1:-1])
    return _read_terms(stripped)


_TERM = re.compile(r"\s*([?-])?\s*(?:\"((?:[^\"\\]|\\.)*)\"|(\w+))")


class _Terms:
    """Words and phrases that must, may or must not be in the message; they match inside words."""

    kind = "text"

    def __init__(self, wanted: list[str], optional: list[str], unwanted: list[str]) -> None:
        self._wanted = wanted
        # Combined with other terms, optional ones are ignored.
        self._optional = optional if not wanted and not unwanted else []
        self._unwanted = unwanted

    def matches(self, message: str) -> bool:
        if any(term in message for term in self._unwanted):
            return False
        if self._optional:
            return any(term in message for term in self._optional)
        return all(term in message for term in self._wanted)

    def extract(self, message: str) -> dict[str, str] | None:
        return {} if self.matches(message) else None


def _read_terms(text: str) -> _Terms:
    found: dict[str, list[str]] = {"": [], "?": [], "-": []}
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise bad_term(text[at:].lstrip()[:1])
        sign, quoted, word = match.groups()
        found[sign or ""].append(word if quoted is None else unescaped(quoted))
        at = match.end()
    return _Terms(found[""], found["?"], found["-"])


class _Regex:
    """A regular expression anywhere in the message."""

    kind = "text"

    def __init__(self, text: str) -> None:
        self._regex = compile_regex(text)

    def matches(self, message: str) -> bool:
        return self._regex.search(message) is not None

    def extract(self, message: str) -> dict[str, str] | None:
        return {} if self.matches(message) else None

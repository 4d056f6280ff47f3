"""AWS's event pattern language: which events a pattern lets through.

EventBridge rules, SNS filter policies and Lambda's event filters share it. Follows the
EventBridge User Guide, "Creating event patterns" and "Comparison operators"; the words of its
errors are those of the rule engine AWS publishes (event-ruler).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.localaws.services.pattern_compiler import EVENTBRIDGE, Compiler, Conditions, Dialect
from labkit.localaws.services.pattern_tokens import PatternError, Tokens

__all__ = ["Dialect", "Pattern", "PatternError", "compiled"]


@dataclass
class _Field:
    """One leaf of an event, with the elements of arrays it lies in (array number to index)."""

    value: Any
    within: Mapping[int, int]


class Pattern:
    """A pattern ready to be asked about events; raises PatternError for one AWS refuses."""

    def __init__(self, text: str, dialect: Dialect = EVENTBRIDGE) -> None:
        self.text = text
        compiler = Compiler(
            Tokens(text, redact_syntax_errors=dialect.redact_syntax_errors), dialect
        )
        self._combinations = compiler.pattern().combinations

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether every field the pattern names is in *event* with a value it asks for.

        Where fields lie in arrays of objects, one and the same object must have them all.
        """
        fields: dict[str, list[_Field]] = {}
        _flatten(event, "", {}, itertools.count(), fields)
        return any(_satisfied(conditions, fields) for conditions in self._combinations)


@functools.lru_cache(maxsize=512)
def compiled(text: str) -> Pattern:
    """The pattern *text* stands for, compiled once."""
    return Pattern(text)


def _satisfied(conditions: Conditions, fields: Mapping[str, list[_Field]]) -> bool:
    candidates: list[list[_Field]] = []
    for path, matchers in conditions.items():
        present = fields.get(path)
        if present is None:
            if not any(matcher.absent for matcher in matchers):
                return False
            continue
        tests = [matcher.test for matcher in matchers]
        matching = [one for one in present if any(test(one.value) for test in tests)]
        if not matching:
            return False
        candidates.append(matching)
    candidates.sort(key=len)
    return _consistent(candidates, {})


def _consistent(candidates: list[list[_Field]], within: Mapping[int, int]) -> bool:
    """Whether one field of each list can be chosen so that none contradicts another."""
    if not candidates:
        return True
    for one in candidates[0]:
        if all(within.get(array, index) == index for array, index in one.within.items()):
            if _consistent(candidates[1:], {**within, **one.within}):
                return True
    return False


def _flatten(
    value: Any,
    path: str,
    within: Mapping[int, int],
    arrays: Iterator[int],
    fields: dict[str, list[_Field]],
) -> None:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            _flatten(entry, f"{path}.{name}" if path else name, within, arrays, fields)
    elif isinstance(value, list):
        number = next(arrays)
        for index, entry in enumerate(value):
            # Plain values of one array may satisfy one condition only, so they contradict nothing.
            nested = isinstance(entry, (Mapping, list))
            inside = {**within, number: index} if nested else within
            _flatten(entry, path, inside, arrays, fields)
    else:
        fields.setdefault(path, []).append(_Field(value, within))

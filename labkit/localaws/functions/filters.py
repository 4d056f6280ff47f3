"""Filter patterns of event source mappings: what is a well-formed one.

AWS Lambda Developer Guide, "Control which events Lambda sends to your function" and "Filter rule
syntax"; the language is EventBridge's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws.functions.errors import invalid
from labkit.localaws.services.event_patterns import Pattern, PatternError

FILTER_LIMIT = 5
_COMPARISONS = ("<", "<=", "=", ">", ">=")
_TEXT_RULES = ("prefix", "suffix", "equals-ignore-case", "wildcard", "cidr")


def check(criteria: Mapping[str, Any] | None) -> None:
    """Raise ``InvalidParameterValueException`` unless every pattern is one Lambda takes."""
    filters = list((criteria or {}).get("Filters") or [])
    if len(filters) > FILTER_LIMIT:
        raise invalid(f"An event source mapping can have at most {FILTER_LIMIT} filters.")
    for item in filters:
        if not well_formed(item.get("Pattern", "")):
            raise invalid("Invalid filter pattern definition.")


def well_formed(text: str) -> bool:
    """Whether *text* is the JSON of a filter pattern."""
    try:
        pattern = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(pattern, dict) and bool(pattern) and _object(pattern) and _readable(text)


def _readable(text: str) -> bool:
    """Whether the engine that will match records by it takes the pattern, too."""
    try:
        Pattern(text)
    except PatternError:
        return False
    return True


def _object(pattern: Mapping[str, Any]) -> bool:
    for key, value in pattern.items():
        if key == "$or" and isinstance(value, list):
            alternatives = all(isinstance(item, dict) and _object(item) for item in value)
            if len(value) < 2 or not alternatives:
                return False
        elif isinstance(value, dict):
            if not value or not _object(value):
                return False
        elif not (isinstance(value, list) and value and all(_rule(rule) for rule in value)):
            return False
    return True


def _rule(rule: Any) -> bool:
    """Whether *rule* may stand in the list of a field: a value, or one comparison."""
    if rule is None or isinstance(rule, str | int | float):
        return True
    if not isinstance(rule, dict) or len(rule) != 1:
        return False
    [(name, operand)] = rule.items()
    if name == "exists":
        return isinstance(operand, bool)
    if name == "numeric":
        return _numeric(operand)
    if name == "anything-but":
        return _anything_but(operand)
    if name in ("prefix", "suffix") and isinstance(operand, dict):
        return set(operand) == {"equals-ignore-case"} and _texts(operand["equals-ignore-case"])
    return name in _TEXT_RULES and isinstance(operand, str)


def _numeric(operand: Any) -> bool:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        return False
    names, numbers = operand[::2], operand[1::2]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        return False
    if len(names) == 1:
        return names[0] in _COMPARISONS
    # A range goes up: from a lower bound to an upper one.
    return names[0] in (">", ">=") and names[1] in ("<", "<=") and numbers[0] < numbers[1]


def _anything_but(operand: Any) -> bool:
    if isinstance(operand, dict):
        if len(operand) != 1:
            return False
        [(name, inner)] = operand.items()
        return name in _TEXT_RULES and _texts(inner)
    if isinstance(operand, list):
        plain = all(isinstance(item, str | int | float) for item in operand)
        return bool(operand) and plain
    return isinstance(operand, str | int | float) and not isinstance(operand, bool)


def _texts(operand: Any) -> bool:
    if isinstance(operand, Sequence) and not isinstance(operand, str):
        return bool(operand) and all(isinstance(item, str) for item in operand)
    return isinstance(operand, str)

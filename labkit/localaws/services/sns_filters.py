"""Subscription filter policies: what SNS allows in them, and which messages they let through.

Follows the SNS Developer Guide, "Amazon SNS subscription filter policies" and "Filter policy
constraints".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from labkit.localaws.services.event_patterns import Dialect, Pattern
from labkit.localaws.services.pattern_tokens import PatternError, parse_json
from labkit.localaws.services.sns_messages import Message

_DIALECT = Dialect(
    operators=Dialect().operators - {"wildcard", "exactly"},
    negatable=frozenset({"prefix"}),
    affix="prefix match pattern must be a string",
    largest_number=1e9,
    redact_syntax_errors=True,
)
_MOST_KEYS = 5
_MOST_COMBINATIONS = 150


class FilterPolicy:
    """A subscription's filter policy; raises PatternError for one SNS refuses.

    ``body`` tells whether it is about the message's body or, by default, its attributes.
    """

    def __init__(self, text: str, *, body: bool) -> None:
        self._body = body
        policy = parse_json(text)
        if isinstance(policy, dict):
            _check(policy, body)
        self._pattern = Pattern(text, _DIALECT)

    def accepts(self, message: Message) -> bool:
        """Whether the subscription gets *message*."""
        if not self._body:
            return self._pattern.matches(_values(message.attributes))
        try:
            body = json.loads(message.text)
        except ValueError:
            return False
        return isinstance(body, dict) and self._pattern.matches(body)


def _check(policy: Mapping[str, Any], body: bool) -> None:
    leaves: list[tuple[str, int, int]] = []
    _collect(policy, 1, body, leaves)
    keys = {path for path, _, _ in leaves}
    if (len(keys) if body else len(policy)) > _MOST_KEYS:
        raise PatternError("Filter policy can not have more than 5 keys")
    if math.prod(values * depth for _, values, depth in leaves) > _MOST_COMBINATIONS:
        raise PatternError("Filter policy is too complex")


def _collect(
    policy: Mapping[str, Any],
    depth: int,
    body: bool,
    leaves: list[tuple[str, int, int]],
    path: str = "",
) -> None:
    """Note every array with its number of values and its depth: they multiply to complexity."""
    for name, value in policy.items():
        if name == "$or" and isinstance(value, list):
            leaves.append((f"{path}.$or", max(len(value), 1), depth))
            for entry in value:
                if isinstance(entry, dict):
                    _collect(entry, depth + 1, body, leaves, path)
        elif isinstance(value, list):
            leaves.append((f"{path}.{name}", max(len(value), 1), depth))
        elif isinstance(value, dict):
            if not body:
                raise PatternError(
                    "Filter policy scope MessageAttributes does not support nested filter policy",
                    bare=True,
                )
            _collect(value, depth + 1, body, leaves, f"{path}.{name}")


def _values(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Message attributes as the values a policy compares: text, numbers, arrays of both."""
    values: dict[str, Any] = {}
    for name, attribute in attributes.items():
        kind = attribute["DataType"]
        text = attribute.get("StringValue", "")
        if kind.startswith("Binary"):
            # There is no comparing bytes; a policy only sees that they are there.
            values[name] = b""
        elif kind.startswith("Number"):
            values[name] = float(text)
        elif kind == "String.Array":
            try:
                values[name] = json.loads(text)
            except ValueError:
                values[name] = text
        else:
            values[name] = text
    return values

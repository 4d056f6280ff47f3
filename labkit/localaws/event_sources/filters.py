"""Filter criteria of an event source mapping: which records the function gets.

Follows the Lambda Developer Guide, "Control which events Lambda sends to your function" and
"Using event filtering with an Amazon SQS / Kinesis / DynamoDB event source".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from labkit.localaws.services.event_patterns import Pattern, PatternError

# Stands for "this text is no JSON" where JSON may be anything.
_NO_JSON = object()


class Filters:
    """A mapping's filter criteria; a record passes when any one filter matches it."""

    def __init__(self, kind: str, criteria: Mapping[str, Any] | None) -> None:
        self._kind = kind
        # What a filter's pattern is about is named so, by the kind of source.
        self._data = {"sqs": "body", "kinesis": "data"}.get(kind, "dynamodb")
        self._filters = [
            _Filter(item.get("Pattern", ""), self._data)
            for item in (criteria or {}).get("Filters") or []
        ]

    def accept(self, record: Mapping[str, Any]) -> bool:
        """Whether the function gets *record* (a record of an event)."""
        if not self._filters:
            return True
        view, data = self._view(record)
        return any(one.matches(view, data) for one in self._filters)

    def _view(self, record: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
        """The record as patterns see it, and its data: parsed, or _NO_JSON."""
        if self._kind == "sqs":
            data = _parsed(record["body"])
            return {**record, "body": record["body"] if data is _NO_JSON else data}, data
        if self._kind == "kinesis":
            inner = record["kinesis"]
            raw = base64.b64decode(inner["data"])
            data = _parsed(raw.decode(errors="replace"))
            return {**record, **inner, "data": None if data is _NO_JSON else data}, data
        return record, record["dynamodb"]


class _Filter:
    def __init__(self, text: str, data: str) -> None:
        try:
            self._pattern: Pattern | None = Pattern(text)
            about = json.loads(text).get(data)
        except (PatternError, ValueError, AttributeError):
            # The control plane let it through; a pattern that can't be read matches nothing.
            self._pattern, about = None, None
        # A pattern for the data is an object where it expects JSON, and a list for plain text.
        self._wants_json = isinstance(about, dict)
        self._wants_text = isinstance(about, list)

    def matches(self, view: Mapping[str, Any], data: Any) -> bool:
        if self._pattern is None:
            return False
        is_json = data is not _NO_JSON
        if (self._wants_json and not is_json) or (self._wants_text and is_json):
            return False
        return self._pattern.matches(view)


def _parsed(text: str) -> Any:
    """The JSON object or array that *text* is; a bare number or string counts as plain text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON
    return value if isinstance(value, dict | list) else _NO_JSON

"""Metric filters: what a matching log event adds to a metric.

Amazon CloudWatch Logs User Guide, "Configuring metric values for a metric filter" and "Publishing
dimensions with metrics from values in JSON or space-delimited log events".
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws import log_json_patterns
from labkit.localaws.log_patterns import BadPattern, Pattern, compile_pattern
from labkit.localaws.metrics_store import Metric, dimensions_of

MAX_DIMENSIONS = 3
# Minutes whose default value may still be replaced by a match.
_REMEMBERED_MINUTES = 200


@dataclass
class MetricFilter:
    """One metric filter of a log group, as DescribeMetricFilters shows it, ready to work."""

    name: str
    group_name: str
    pattern_text: str
    transformation: Mapping[str, Any]
    created_ms: int
    pattern: Pattern = field(init=False)
    # Minutes that have a match, and minutes that have only the default value so far.
    _matched: dict[int, bool] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.pattern = compile_pattern(self.pattern_text)

    @property
    def unit(self) -> str:
        """The unit of the metric."""
        return self.transformation.get("unit") or "None"

    def described(self) -> dict[str, Any]:
        """The filter as the API answers it."""
        return {
            "filterName": self.name,
            "filterPattern": self.pattern_text,
            "metricTransformations": [dict(self.transformation)],
            "creationTime": self.created_ms,
            "logGroupName": self.group_name,
            "applyOnTransformedLogs": False,
        }

    def sample(self, message: str, at: float) -> tuple[Metric, float, bool] | None:
        """The metric, the value, and whether it replaces the minute's default value.

        None when the event adds nothing: it doesn't match, or what should be its value is no
        number.
        """
        extracted = self.pattern.extract(message)
        if extracted is None:
            return self._default(at)
        value = self._value(message, extracted)
        if value is None:
            return None
        pairs = []
        for name, selector in (self.transformation.get("dimensions") or {}).items():
            part = self._field(selector, message, extracted)
            if part in (None, ""):
                return None
            pairs.append((name, str(part)))
        return self._metric(tuple(pairs)), value, self._first_match(at)

    def _default(self, at: float) -> tuple[Metric, float, bool] | None:
        default = self.transformation.get("defaultValue")
        if default is None:
            return None
        minute = int(at // 60)
        with self._guard:
            # Once a minute, and only while nothing matched in it.
            if minute in self._matched:
                return None
            self._note(minute, False)
        return self._metric(()), float(default), False

    def _first_match(self, at: float) -> bool:
        if self.transformation.get("defaultValue") is None:
            return False
        minute = int(at // 60)
        with self._guard:
            replaces = self._matched.get(minute) is False
            self._note(minute, True)
        return replaces

    def _note(self, minute: int, matched: bool) -> None:
        self._matched[minute] = matched
        if len(self._matched) > _REMEMBERED_MINUTES:
            del self._matched[min(self._matched)]

    def _metric(self, pairs: tuple[tuple[str, str], ...]) -> Metric:
        transformation = self.transformation
        return Metric(
            transformation["metricNamespace"], transformation["metricName"], dimensions_of(pairs)
        )

    def _value(self, message: str, extracted: Mapping[str, str]) -> float | None:
        given = self.transformation["metricValue"]
        if given.startswith("$"):
            given = self._field(given, message, extracted)
        try:
            value = float(given)
        except (TypeError, ValueError):
            return None
        return value if math.isfinite(value) else None

    def _field(self, selector: str, message: str, extracted: Mapping[str, str]) -> Any:
        if self.pattern.kind != "json":
            return extracted.get(selector)
        parsed = log_json_patterns.parse_object(message) or {}
        value = log_json_patterns.select(selector, parsed)
        if isinstance(value, bool):
            return str(value).lower()
        return None if isinstance(value, dict | list) else value


def check_transformation(transformation: Mapping[str, Any], pattern: Pattern) -> None:
    """Raise BadPattern, with the service's words, for a transformation that can't work."""
    dimensions = transformation.get("dimensions") or {}
    value = transformation.get("metricValue", "")
    if not value.startswith("$"):
        try:
            float(value)
        except ValueError as problem:
            raise BadPattern(
                "Invalid metric transformation: metricValue must be a number or a "
                "reference to a field of the filter pattern"
            ) from problem
    if not dimensions:
        return
    if len(dimensions) > MAX_DIMENSIONS:
        raise BadPattern("Invalid metric transformation: at most 3 dimensions can be specified")
    if transformation.get("defaultValue") is not None:
        raise BadPattern(
            "Invalid metric transformation: dimensions and default value are mutually exclusive "
            "properties"
        )
    if pattern.kind == "text":
        raise BadPattern("The specified filter pattern does not support dimensions")

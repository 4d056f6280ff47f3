"""Metrics embedded in log events: JSON with ``_aws.CloudWatchMetrics`` becomes metric data.

Amazon CloudWatch User Guide, "Specification: Embedded metric format". A document that breaks the
specification stays a log event and gives no metric.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.localaws.metric_data import UNITS
from labkit.localaws.metrics_store import Metric, dimensions_of

# Metric, value, unit, epoch seconds, resolution in seconds.
Sample = tuple[Metric, float, str, float, int]

_MAX_METRICS = 100
_MAX_DIMENSIONS = 30
_MAX_VALUES = 100


def may_hold_metrics(message: str) -> bool:
    """Whether it is worth parsing a message: cheap, and right for all but the others."""
    return '"_aws"' in message


def samples(message: str) -> Iterator[Sample]:
    """The samples that a log event holds, none when it isn't in the embedded metric format."""
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    about = document.get("_aws")
    if not isinstance(about, dict):
        return
    stamp, directives = about.get("Timestamp"), about.get("CloudWatchMetrics")
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        return
    if not isinstance(directives, list):
        return
    for directive in directives:
        if isinstance(directive, dict):
            yield from _directive(directive, document, stamp / 1000)


def _directive(
    directive: Mapping[str, Any], document: Mapping[str, Any], at: float
) -> Iterator[Sample]:
    namespace = directive.get("Namespace")
    definitions, dimension_sets = directive.get("Metrics"), directive.get("Dimensions")
    if not isinstance(namespace, str) or not 1 <= len(namespace) <= 1024:
        return
    if not isinstance(definitions, list) or len(definitions) > _MAX_METRICS:
        return
    if dimension_sets is None:
        dimension_sets = [[]]
    if not isinstance(dimension_sets, list):
        return
    resolved = []
    for names in dimension_sets:
        pairs = _dimensions(names, document)
        if pairs is not None:
            resolved.append(pairs)
    for definition in definitions:
        if not isinstance(definition, dict) or not isinstance(definition.get("Name"), str):
            continue
        name = definition["Name"]
        unit = definition.get("Unit") or "None"
        resolution = 1 if definition.get("StorageResolution") == 1 else 60
        if unit not in UNITS:
            continue
        for value in _values(document.get(name)):
            for pairs in resolved:
                yield Metric(namespace, name, dimensions_of(pairs)), value, unit, at, resolution


def _dimensions(names: Any, document: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    if not isinstance(names, list) or len(names) > _MAX_DIMENSIONS:
        return None
    pairs = []
    for name in names:
        value = document.get(name) if isinstance(name, str) else None
        # Every dimension named must be there, as text.
        if not isinstance(value, str) or not value:
            return None
        pairs.append((name, value))
    return pairs


def _values(given: Any) -> list[float]:
    values = given if isinstance(given, list) else [given]
    if len(values) > _MAX_VALUES:
        return []
    return [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]

"""Labels of time series: text with parts filled in from the data.

Amazon CloudWatch User Guide, "Using dynamic labels".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from labkit.localaws.metric_math import Series

_LABEL_PART = re.compile(r"\$\{([A-Z_]+)(?:\('([^']*)'\))?\}")


def dynamic_label(label: str, series: Series, own: str) -> str:
    """*label* with its ``${...}`` parts filled in from the series."""
    values = list(series.points.values())
    numbers: dict[str, Callable[[], float]] = {
        "MAX": lambda: max(values),
        "MIN": lambda: min(values),
        "AVG": lambda: math.fsum(values) / len(values),
        "SUM": lambda: math.fsum(values),
        "LAST": lambda: values[-1],
        "FIRST": lambda: values[0],
    }

    def fill(match: re.Match[str]) -> str:
        name, argument = match.groups()
        if name in numbers:
            return f"{numbers[name]():g}" if values else "--"
        if name == "DATAPOINT_COUNT":
            return str(len(values))
        if name == "LABEL":
            return series.label or own
        if name == "PROP" and series.metric is not None:
            dimension = (argument or "").removeprefix("Dim.")
            properties = {
                "Namespace": series.metric.namespace,
                "MetricName": series.metric.name,
                "Stat": series.stat,
                "Period": str(series.period),
            }
            return properties.get(argument or "") or dict(series.metric.dimensions).get(
                dimension, ""
            )
        return match.group(0)

    return _LABEL_PART.sub(fill, label)

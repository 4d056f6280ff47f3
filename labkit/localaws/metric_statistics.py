"""The statistics CloudWatch offers, computed from a period's aggregated samples.

Amazon CloudWatch User Guide, "CloudWatch statistics definitions": the five plain ones,
percentiles (p99), trimmed and winsorised means, trimmed counts and sums (tm90, TM(10%:90%),
WM, TC, TS), the interquartile mean and percentile ranks (PR(:300)).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable

from labkit.localaws.metrics_store import Bucket

PLAIN = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")

Statistic = Callable[[Bucket], float | None]

_SHORT = re.compile(r"(p|tm|wm|tc|ts)(\d{1,3}(?:\.\d{1,10})?)")
_RANGE = re.compile(
    r"(TM|WM|TC|TS|PR)\((-?\d+(?:\.\d{1,10})?%?)?:(-?\d+(?:\.\d{1,10})?%?)?\)", re.IGNORECASE
)


@functools.cache
def statistic(name: str) -> Statistic | None:
    """What computes the statistic called *name* from a bucket, or None for an unknown name.

    The computation answers None where the samples' own values would be needed and only a
    statistic set came in, or where a sample is negative, as CloudWatch has no percentiles then.
    """
    if name in PLAIN:
        return _plain(name)
    if name == "IQM":
        return functools.partial(_over_range, "TM", (25.0, True), (75.0, True))
    match = _SHORT.fullmatch(name)
    if match is not None:
        kind, percent = match.group(1), float(match.group(2))
        if percent > 100:
            return None
        if kind == "p":
            return functools.partial(_percentile_of, percent)
        return functools.partial(_over_range, kind.upper(), None, (percent, True))
    match = _RANGE.fullmatch(name)
    if match is not None:
        kind = match.group(1).upper()
        low, high = (_bound(text) for text in match.group(2, 3))
        if low is None and high is None:
            return None
        relative = {bound[1] for bound in (low, high) if bound is not None}
        # Percentages and values don't mix, and a percentile rank is asked for values only.
        if len(relative) > 1 or (kind == "PR" and relative == {True}):
            return None
        if low is not None and high is not None and low[0] >= high[0]:
            return None
        return functools.partial(_over_range, kind, low, high)
    return None


Bound = tuple[float, bool]


def _bound(text: str | None) -> Bound | None:
    """A limit and whether it is a percentage."""
    if not text:
        return None
    return float(text.rstrip("%")), text.endswith("%")


def _plain(name: str) -> Statistic:
    if name == "Average":
        return lambda bucket: bucket.total / bucket.count if bucket.count else None
    attribute = {"SampleCount": "count", "Sum": "total", "Minimum": "low", "Maximum": "high"}[name]
    return lambda bucket: getattr(bucket, attribute)


def _samples(bucket: Bucket) -> list[tuple[float, float]] | None:
    """(value, number of samples) in ascending order, or None when they can't be told."""
    spread = bucket.spread()
    if spread is None or bucket.low < 0 or not bucket.count:
        return None
    return sorted(spread.items())


def _percentile_of(percent: float, bucket: Bucket) -> float | None:
    samples = _samples(bucket)
    if samples is None:
        return None
    return _percentile(samples, bucket.count, percent)


def _percentile(samples: list[tuple[float, float]], count: float, percent: float) -> float:
    """The smallest value that *percent* of the samples don't exceed."""
    wanted = percent / 100 * count
    seen = 0.0
    for value, times in samples:
        seen += times
        # Rounding errors of the sum must not push a percentile to the next value.
        if seen >= wanted - 1e-9:
            return value
    return samples[-1][0]


def _over_range(kind: str, low: Bound | None, high: Bound | None, bucket: Bucket) -> float | None:
    samples = _samples(bucket)
    if samples is None:
        return None
    inside = _inside(samples, bucket.count, low, high)
    count = sum(times for _, times in inside)
    if kind == "TC":
        return count
    if kind == "PR":
        return 100.0 * count / bucket.count
    total = math.fsum(value * times for value, times in inside)
    if kind == "TS":
        return total
    if kind == "TM":
        return total / count if count else None
    # Winsorised: what lies outside counts as the limit it passed.
    if not inside:
        return None
    below = above = 0.0
    for value, times in samples:
        if value < inside[0][0]:
            below += times
        elif value > inside[-1][0]:
            above += times
    edges = below * inside[0][0] + above * inside[-1][0]
    return (total + edges) / (count + below + above)


def _inside(
    samples: list[tuple[float, float]], count: float, low: Bound | None, high: Bound | None
) -> list[tuple[float, float]]:
    """The samples between two limits: of rank when they are percentages, of value otherwise."""
    if (low or high or (0.0, False))[1]:
        first = (low[0] if low else 0.0) / 100 * count
        last = (high[0] if high else 100.0) / 100 * count
        inside = []
        seen = 0.0
        for value, times in samples:
            part = min(seen + times, last) - max(seen, first)
            if part > 1e-9:
                inside.append((value, part))
            seen += times
        return inside
    over = low[0] if low else float("-inf")
    upto = high[0] if high else float("inf")
    return [(value, times) for value, times in samples if over < value <= upto]

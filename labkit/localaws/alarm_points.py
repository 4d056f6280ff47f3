"""What an alarm looks at: its metrics, its evaluation range, and the data points in it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.localaws.alarm_evaluation import EXTRA_POINTS, Point, Terms
from labkit.localaws.metric_math import MathError, Series
from labkit.localaws.metric_queries import Queries, metric_of
from labkit.localaws.metric_statistics import statistic
from labkit.localaws.metrics_store import Bucket, Metric

if TYPE_CHECKING:
    from labkit.localaws.telemetry import Telemetry

# Expressions whose data can appear without a metric that is known beforehand.
_BY_ITSELF = re.compile(r"\b(SEARCH|TIME_SERIES|FILL|SELECT)\b", re.IGNORECASE)
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")


def metrics_of(config: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics whose data points concern an alarm."""
    if config.get("MetricName"):
        yield metric_of(config)
    for query in config.get("Metrics") or ():
        if "MetricStat" in query:
            yield metric_of(query["MetricStat"]["Metric"])


def never_silent(config: Mapping[str, Any]) -> bool:
    """Whether an alarm has to be evaluated although none of its metrics has data."""
    return any(
        _BY_ITSELF.search(query.get("Expression") or "") for query in config.get("Metrics") or ()
    )


def period_of(config: Mapping[str, Any]) -> int:
    """The period an alarm looks at, in seconds."""
    if config.get("Period"):
        return int(config["Period"])
    periods = [
        query["MetricStat"]["Period"] if "MetricStat" in query else query.get("Period") or 0
        for query in config.get("Metrics") or ()
    ]
    return max(periods, default=60) or 60


def step_of(config: Mapping[str, Any]) -> int:
    """How often an alarm is evaluated, in seconds."""
    if config.get("EvaluationInterval"):
        return int(config["EvaluationInterval"])
    period = period_of(config)
    if period < 60:
        return 10
    # Every minute; long periods need no more than sixty looks each.
    return max(60, period // 3600 * 60)


def terms_of(config: Mapping[str, Any]) -> Terms:
    """What an alarm's points are measured by."""
    treat = config.get("TreatMissingData") or "missing"
    if config.get("Namespace") == "AWS/DynamoDB":
        # CloudWatch makes this exception whatever the alarm says.
        treat = "ignore"
    return Terms(
        config["ComparisonOperator"],
        None if config.get("ThresholdMetricId") else config.get("Threshold"),
        config["EvaluationPeriods"],
        config.get("DatapointsToAlarm"),
        treat,
        period_of(config),
        config.get("Statistic") or config.get("ExtendedStatistic"),
        config.get("Unit"),
    )


def points_of(
    telemetry: Telemetry,
    scope: tuple[str, str],
    config: Mapping[str, Any],
    terms: Terms,
    end: int,
) -> Sequence[Point]:
    """The points of the evaluation range that ends at epoch seconds *end*, latest first."""
    number = terms.evaluation_periods + EXTRA_POINTS
    starts = [end - (place + 1) * terms.period for place in range(number)]
    if config.get("MetricName"):
        return _metric_points(telemetry, scope, config, terms, starts, end)
    return _query_points(telemetry, scope, config, starts, end)


def _metric_points(
    telemetry: Telemetry,
    scope: tuple[str, str],
    config: Mapping[str, Any],
    terms: Terms,
    starts: Sequence[int],
    end: int,
) -> Sequence[Point]:
    metric = metric_of(config)
    telemetry.gauges.look(metric.namespace, *scope)
    found = telemetry.store.periods(
        scope, metric, starts[-1], end, terms.period, config.get("Unit")
    )
    compute = statistic(terms.statistic or "")
    buckets: dict[int, Bucket] = {}
    for (start, _), bucket in sorted(found.items()):
        buckets.setdefault(start, bucket)
    points = []
    for start in starts:
        bucket = buckets.get(start)
        value = None if bucket is None or compute is None else compute(bucket)
        samples = None if bucket is None else bucket.count
        points.append(Point(start, None if value is None else float(value), samples))
    return points


def _query_points(
    telemetry: Telemetry,
    scope: tuple[str, str],
    config: Mapping[str, Any],
    starts: Sequence[int],
    end: int,
) -> Sequence[Point]:
    queries = config["Metrics"]
    work = Queries(telemetry, scope, queries, starts[-1], end, end)
    band_id = config.get("ThresholdMetricId")
    watched = next(
        query["Id"] for query in queries if query.get("ReturnData", True) and query["Id"] != band_id
    )
    try:
        value = work.value(watched)
        band = work.value(band_id) if band_id else None
    except MathError:
        return [Point(start, None) for start in starts]
    series = value if isinstance(value, Series) else None
    limits: dict[int, tuple[float, float]] = {}
    if isinstance(band, list) and len(band) == 2:
        high, low = band
        limits = {
            start: (low.points[start], limit)
            for start, limit in high.points.items()
            if start in low.points
        }
    points = {} if series is None else series.points
    return [Point(start, points.get(start), band=limits.get(start)) for start in starts]


def too_few_samples(config: Mapping[str, Any], points: Sequence[Point]) -> bool:
    """Whether a percentile has too few samples to mean anything, and the alarm minds."""
    if config.get("EvaluateLowSampleCountPercentile") != "ignore":
        return False
    match = _PERCENTILE.fullmatch(config.get("ExtendedStatistic") or "")
    samples = [point.samples for point in points if point.samples]
    if match is None or not samples:
        return False
    share = float(match.group(1)) / 100
    needed = 10 / (1 - share) if 0.5 <= share < 1 else 10 / share if share else 0
    return samples[0] < needed


def long_date(when: float) -> str:
    """A moment as composite alarms' reasons write it."""
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    return f"{moment:%A} {moment:%d %B, %Y %H:%M:%S} UTC"

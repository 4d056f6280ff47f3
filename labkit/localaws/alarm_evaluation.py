"""What an alarm's data points say: the state they lead to, and the reason given for it.

Amazon CloudWatch User Guide, "Using Amazon CloudWatch alarms": evaluating an alarm, and how alarms
treat missing data. Pure computation: points in, verdict out.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"

# CloudWatch looks at this many points more than it needs, in case some are missing.
EXTRA_POINTS = 2

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (lambda value, limit: value > limit, "greater than"),
    "GreaterThanOrEqualToThreshold": (
        lambda value, limit: value >= limit,
        "greater than or equal to",
    ),
    "LessThanThreshold": (lambda value, limit: value < limit, "less than"),
    "LessThanOrEqualToThreshold": (lambda value, limit: value <= limit, "less than or equal to"),
}
# Against a band: (lower, upper) limit at each point.
BAND_COMPARISONS: dict[str, str] = {
    "LessThanLowerOrGreaterThanUpperThreshold": "less than the lower thresholds or greater than "
    "the upper thresholds",
    "LessThanLowerThreshold": "less than the lower thresholds",
    "GreaterThanUpperThreshold": "greater than the upper thresholds",
}


@dataclass(frozen=True)
class Point:
    """One period of the evaluation range: its start (epoch seconds) and what was seen in it.

    ``value`` is None when data is missing; ``band`` is the lower and upper limit for anomalies.
    """

    start: int
    value: float | None
    samples: float | None = None
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Verdict:
    """What an evaluation found: the state, None for staying as it is, and why."""

    state: str | None
    reason: str
    reason_data: str


@dataclass(frozen=True)
class Terms:
    """What the points are measured by."""

    comparison: str
    threshold: float | None
    evaluation_periods: int
    datapoints_to_alarm: int | None
    treat_missing: str
    period: int
    statistic: str | None
    unit: str | None

    @property
    def needed(self) -> int:
        """How many points have to breach."""
        return self.datapoints_to_alarm or self.evaluation_periods

    def breaches(self, point: Point) -> bool:
        """Whether a point with a value is outside of what is wanted."""
        assert point.value is not None
        if self.comparison in COMPARISONS:
            return COMPARISONS[self.comparison][0](point.value, self.threshold or 0.0)
        if point.band is None:
            return False
        low, high = point.band
        below, above = point.value < low, point.value > high
        if self.comparison == "LessThanLowerThreshold":
            return below
        if self.comparison == "GreaterThanUpperThreshold":
            return above
        return below or above


def judge(terms: Terms, points: Sequence[Point], current: str, now: float) -> Verdict:
    """The verdict on *points*, the most recent first, for an alarm in state *current*."""
    real = [point for point in points if point.value is not None]
    wanted = terms.evaluation_periods
    if len(real) >= wanted:
        used = real[:wanted]
        breaching = [point for point in used if terms.breaches(point)]
        state = ALARM if len(breaching) >= terms.needed else OK
        return _crossed(terms, state, used, breaching, 0, now)
    filled = wanted - len(real)
    breaching = [point for point in real if terms.breaches(point)]
    if terms.treat_missing in ("breaching", "notBreaching"):
        count = len(breaching) + (filled if terms.treat_missing == "breaching" else 0)
        state = ALARM if count >= terms.needed else OK
        return _filled(terms, state, points[:wanted], real, breaching, filled, now)
    if not real:
        if terms.treat_missing == "ignore":
            return Verdict(None, "", "")
        return _unknown(terms, points[:wanted], now)
    if len(breaching) >= terms.needed:
        return _crossed(terms, ALARM, real, breaching, filled, now)
    if len(breaching) < len(real):
        return _crossed(terms, OK, real, breaching, filled, now)
    # All there is breaches, and it isn't enough: only the oldest one's age can tell.
    oldest = points.index(breaching[-1]) + 1
    if terms.treat_missing == "missing" and oldest >= terms.needed:
        return _crossed(terms, ALARM, real, breaching, filled, now)
    return Verdict(None, "", "")


# -- wording -------------------------------------------------------------------------------------


def timestamp(when: float) -> str:
    """Epoch seconds as alarms write them in JSON."""
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def _shown(point: Point) -> str:
    moment = datetime.datetime.fromtimestamp(point.start, datetime.UTC)
    return f"{point.value} ({moment:%d/%m/%y %H:%M:%S})"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _comparison_words(terms: Terms) -> str:
    if terms.comparison in COMPARISONS:
        return f"{COMPARISONS[terms.comparison][1]} the threshold ({terms.threshold})"
    return BAND_COMPARISONS[terms.comparison]


def _crossed(
    terms: Terms,
    state: str,
    used: Sequence[Point],
    breaching: Sequence[Point],
    filled: int,
    now: float,
) -> Verdict:
    """The points themselves decided."""
    # An alarm is explained by the points outside, being well again by those inside.
    telling = (
        list(breaching) if state == ALARM else [point for point in used if point not in breaching]
    )
    listed = ", ".join(_shown(point) for point in telling)
    verb = "was" if len(telling) == 1 else "were"
    negation = "" if state == ALARM else "not "
    words = _comparison_words(terms)
    if terms.datapoints_to_alarm is None:
        reason = (
            f"Threshold Crossed: {_plural(len(telling), 'datapoint')} [{listed}] {verb} "
            f"{negation}{words}."
        )
    else:
        total = terms.evaluation_periods
        needed = terms.needed if state == ALARM else total - terms.needed + 1
        change = "OK -> ALARM" if state == ALARM else "ALARM -> OK"
        reason = (
            f"Threshold Crossed: {len(telling)} out of the last {total} datapoints [{listed}] "
            f"{verb} {negation}{words} (minimum {_plural(needed, 'datapoint')} for {change} "
            "transition)."
        )
    return Verdict(state, reason, _data(terms, used, now))


def _filled(
    terms: Terms,
    state: str,
    points: Sequence[Point],
    real: Sequence[Point],
    breaching: Sequence[Point],
    filled: int,
    now: float,
) -> Verdict:
    """Points that were missing were taken for something."""
    kind = "Breaching" if terms.treat_missing == "breaching" else "NonBreaching"
    got = f"{_plural(len(real), 'datapoint')}" if real else "no datapoints"
    reason = (
        f"Threshold Crossed: {got} {'was' if len(real) == 1 else 'were'} received for "
        f"{_plural(terms.evaluation_periods, 'period')} and "
        f"{_plural(filled, 'missing datapoint')} {'was' if filled == 1 else 'were'} treated as "
        f"[{kind}]."
    )
    return Verdict(state, reason, _data(terms, real or points, now))


def _unknown(terms: Terms, points: Sequence[Point], now: float) -> Verdict:
    number = len(points)
    reason = (
        f"Insufficient Data: {_plural(number, 'datapoint')} "
        f"{'was' if number == 1 else 'were'} unknown."
    )
    return Verdict(INSUFFICIENT, reason, _data(terms, points, now))


def _data(terms: Terms, points: Sequence[Point], now: float) -> str:
    real = [point for point in points if point.value is not None]
    data: dict[str, Any] = {"version": "1.0", "queryDate": timestamp(now)}
    if real:
        data["startDate"] = timestamp(real[-1].start)
    if terms.unit:
        data["unit"] = terms.unit
    if terms.statistic:
        data["statistic"] = terms.statistic
    data["period"] = terms.period
    data["recentDatapoints"] = [point.value for point in reversed(real)]
    if terms.threshold is not None:
        data["threshold"] = terms.threshold
    if any(point.band for point in real):
        data["recentLowerThresholds"] = [
            point.band[0] for point in reversed(real) if point.band is not None
        ]
        data["recentUpperThresholds"] = [
            point.band[1] for point in reversed(real) if point.band is not None
        ]
    data["evaluatedDatapoints"] = [_evaluated(point) for point in points]
    return json.dumps(data, separators=(",", ":"))


def _evaluated(point: Point) -> Mapping[str, Any]:
    entry: dict[str, Any] = {"timestamp": timestamp(point.start)}
    if point.value is not None:
        if point.samples is not None:
            entry["sampleCount"] = point.samples
        entry["value"] = point.value
    return entry

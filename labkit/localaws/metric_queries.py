"""GetMetricData and GetMetricStatistics: from a request to time series.

Amazon CloudWatch API Reference, "GetMetricData", "MetricDataQuery", "GetMetricStatistics". Alarms
on metric math evaluate their queries here too.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws import metric_math
from labkit.localaws.call import AwsError
from labkit.localaws.metric_data import check_dimensions, check_text, check_unit, epoch, missing
from labkit.localaws.metric_labels import dynamic_label
from labkit.localaws.metric_search import matching_metrics
from labkit.localaws.metric_select import is_select, read_statement, select
from labkit.localaws.metric_statistics import statistic
from labkit.localaws.metrics_store import DAY, Bucket, Metric, dimensions_of
from labkit.localaws.telemetry import Telemetry

MAX_QUERIES = 500
MAX_DATAPOINTS = 100_800
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")
_SHORT_PERIODS = (1, 5, 10, 20, 30)


@dataclass
class Result:
    """One query's time series: epoch seconds to value, oldest first."""

    id: str
    label: str
    points: dict[int, float]
    period: int
    returned: bool = True
    messages: list[dict[str, str]] = field(default_factory=list)


def check_period(period: int | None, where: str) -> int:
    """*period*, when CloudWatch takes it: 1, 5, 10, 20, 30 or a multiple of 60 seconds."""
    if period is None:
        raise missing(where)
    if period <= 0:
        raise AwsError("InvalidParameterValue", f"The parameter {where} must be greater than 0.")
    if period not in _SHORT_PERIODS and period % 60:
        raise AwsError("InvalidParameterValue", f"The parameter {where} must be a multiple of 60.")
    return period


def rounded_start(start: float, period: int, now: float) -> int:
    """*start* rounded down as CloudWatch does, by its age and by short periods."""
    if period < 60:
        unit = period
    elif start >= now - 15 * DAY:
        unit = 60
    elif start >= now - 63 * DAY:
        unit = 300
    else:
        unit = 3600
    return int(start // unit * unit)


def metric_of(description: Mapping[str, Any]) -> Metric:
    """The metric that a Namespace, MetricName and Dimensions name."""
    return Metric(
        description.get("Namespace", ""),
        description.get("MetricName", ""),
        dimensions_of(
            (each["Name"], each["Value"]) for each in description.get("Dimensions") or ()
        ),
    )


class Queries:
    """The MetricDataQueries of one request, evaluated over one span of time."""

    def __init__(
        self,
        telemetry: Telemetry,
        scope: tuple[str, str],
        queries: Sequence[Mapping[str, Any]],
        start: float,
        end: float,
        now: float,
    ) -> None:
        self._telemetry = telemetry
        self._scope = scope
        self._queries = {query["Id"]: query for query in queries}
        self.start = start
        self.end = end
        self._now = now
        self._done: dict[str, metric_math.Value] = {}
        self._messages: dict[str, list[dict[str, str]]] = {}
        self._evaluating: list[str] = []

    def run(self) -> list[Result]:
        """The results of all queries that return data, in the order asked."""
        results = []
        for identifier, query in self._queries.items():
            if not query.get("ReturnData", True):
                continue
            value = self.value(identifier)
            several = metric_math.as_series(value, self)
            for series in several:
                label = self._label(query, series, several)
                messages = self._messages.get(identifier, [])
                results.append(
                    Result(identifier, label, series.points, series.period, messages=messages)
                )
        return results

    # -- what expressions ask for ------------------------------------------------------------

    @property
    def span(self) -> tuple[float, float]:
        """Start and end of the request, epoch seconds."""
        return self.start, self.end

    def value(self, identifier: str) -> metric_math.Value:
        """What the query called *identifier* evaluates to."""
        if identifier in self._done:
            return self._done[identifier]
        query = self._queries.get(identifier)
        if query is None:
            raise metric_math.MathError(f"Undefined identifier: {identifier}")
        if identifier in self._evaluating:
            raise metric_math.MathError(f"Circular reference: {identifier}")
        self._evaluating.append(identifier)
        try:
            if "Expression" in query:
                value = self._expression(identifier, query)
            else:
                value = self._metric_stat(identifier, query)
        finally:
            self._evaluating.pop()
        self._done[identifier] = value
        return value

    def metrics(self, containing: str | None = None) -> list[metric_math.Series]:
        """Every metric query's series, or those whose id contains a text: METRICS()."""
        return [
            series
            for identifier, query in self._queries.items()
            if "MetricStat" in query and (containing is None or containing in identifier)
            for series in metric_math.as_series(self.value(identifier), self)
        ]

    def search(self, expression: str, stat: str, period: int | None) -> list[metric_math.Series]:
        """The series of all metrics that a search expression finds."""
        found = matching_metrics(
            expression, (each.metric for each in self._telemetry.store.series(self._scope))
        )
        for namespace in {metric.namespace for metric in found}:
            self._telemetry.gauges.look(namespace, *self._scope)
        series = []
        for metric in found:
            points, unit = self._points(metric, period or 60, stat, None, [])
            label = " ".join([*(value for _, value in metric.dimensions), metric.name])
            series.append(metric_math.Series(points, period or 60, label, metric))
        return series

    # -- parts -------------------------------------------------------------------------------

    def _expression(self, identifier: str, query: Mapping[str, Any]) -> metric_math.Value:
        try:
            if is_select(query["Expression"]):
                return self._select(query["Expression"], query.get("Period") or 60)
            return metric_math.evaluate(query["Expression"], self, query.get("Period"))
        except metric_math.MathError as problem:
            if problem.located:
                raise
            raise metric_math.MathError(
                f"Error in expression '{identifier}': {problem}", located=True
            ) from problem

    def _select(self, statement: str, period: int) -> list[metric_math.Series]:
        start, end = rounded_start(self.start, period, self._now), int(-(-self.end // 1))
        store = self._telemetry.store

        self._telemetry.gauges.look(read_statement(statement).namespace, *self._scope)

        def buckets(metric: Metric) -> dict[int, Bucket]:
            found = store.periods(self._scope, metric, start, end, period)
            return {when: bucket for (when, _), bucket in found.items()}

        known = (each.metric for each in store.series(self._scope))
        return select(statement, known, buckets, period)

    def _metric_stat(self, identifier: str, query: Mapping[str, Any]) -> metric_math.Series:
        stat = query["MetricStat"]
        metric = metric_of(stat["Metric"])
        self._telemetry.gauges.look(metric.namespace, *self._scope)
        messages = self._messages.setdefault(identifier, [])
        points, _ = self._points(metric, stat["Period"], stat["Stat"], stat.get("Unit"), messages)
        return metric_math.Series(points, stat["Period"], metric.name, metric, stat["Stat"])

    def _points(
        self,
        metric: Metric,
        period: int,
        stat: str,
        unit: str | None,
        messages: list[dict[str, str]],
    ) -> tuple[dict[int, float], str | None]:
        start = rounded_start(self.start, period, self._now)
        compute = statistic(stat)
        assert compute is not None
        end = int(-(-self.end // 1))
        found = self._telemetry.store.periods(self._scope, metric, start, end, period, unit)
        units = sorted({of_unit for _, of_unit in found})
        if len(units) > 1:
            # One series has one unit; the first by name is shown and the others are mentioned.
            messages.append(
                {
                    "Code": "MultipleUnits",
                    "Value": f"Multiple units returned: '[{', '.join(units)}]'",
                }
            )
        points = {}
        for (when, of_unit), bucket in sorted(found.items()):
            if of_unit == units[0] and (value := compute(bucket)) is not None:
                points[when] = float(value)
        return points, units[0] if units else None

    def _label(
        self,
        query: Mapping[str, Any],
        series: metric_math.Series,
        several: Sequence[metric_math.Series],
    ) -> str:
        label = query.get("Label")
        if not label:
            if "Expression" in query:
                named = len(several) > 1 or is_select(query["Expression"])
                return (named and series.label) or query["Id"]
            return self._default_label(query["MetricStat"])
        own = series.label if len(several) > 1 else query["Id"]
        return dynamic_label(label, series, own)

    def _default_label(self, stat: Mapping[str, Any]) -> str:
        """The metric's name, with whatever tells the returned metrics of a request apart."""
        others = [
            query["MetricStat"]
            for query in self._queries.values()
            if "MetricStat" in query and query.get("ReturnData", True)
        ]
        metric = metric_of(stat["Metric"])
        parts = []
        if len({each["Metric"].get("Namespace") for each in others}) > 1:
            parts.append(metric.namespace)
        for name, value in metric.dimensions:
            if len({dict(metric_of(each["Metric"]).dimensions).get(name) for each in others}) > 1:
                parts.append(value)
        parts.append(metric.name)
        if len({each["Stat"] for each in others}) > 1 and self._same_name(others):
            parts.append(stat["Stat"])
        if len({each["Period"] for each in others}) > 1:
            parts.append(str(stat["Period"]))
        return " ".join(parts)

    def _same_name(self, stats: Sequence[Mapping[str, Any]]) -> bool:
        return len({each["Metric"].get("MetricName") for each in stats}) == 1


def check_queries(queries: Sequence[Mapping[str, Any]] | None) -> None:
    """Raise ValidationError unless GetMetricData would take these queries."""
    if not queries:
        raise _invalid("The parameter MetricDataQueries is required.")
    if len(queries) > MAX_QUERIES:
        raise _invalid(
            f"The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
        )
    problems = []
    for number, query in enumerate(queries, 1):
        where = f"MetricDataQueries.member.{number}"
        identifier = query.get("Id")
        if not identifier:
            problems.append(f"The parameter {where}.Id is required.")
        elif not _ID.fullmatch(identifier):
            problems.append(
                f"The value {identifier} for parameter {where}.Id is not matching the expected "
                "pattern ^[a-z][a-zA-Z0-9_]*$."
            )
        has_stat, has_expression = "MetricStat" in query, "Expression" in query
        if has_stat and has_expression:
            problems.append(
                f"The parameters {where}.Expression and {where}.MetricStat are mutually "
                "exclusive and you have specified both."
            )
        elif not has_stat and not has_expression:
            problems.append(f"The parameter {where}.MetricStat is required.")
        elif has_stat:
            try:
                _check_stat(query["MetricStat"], f"{where}.MetricStat")
            except AwsError as problem:
                problems.append(problem.message)
    if problems:
        # CloudWatch ends each line of this message.
        raise _invalid("".join(f"{problem}\n" for problem in problems))
    if len({query["Id"] for query in queries}) < len(queries):
        raise _invalid("The values for parameter Id in MetricDataQueries are not unique.")
    if not any(query.get("ReturnData", True) for query in queries):
        raise _invalid(
            "At least one of the elements in MetricDataQueries must have ReturnData set to true."
        )


def _check_stat(stat: Mapping[str, Any], where: str) -> None:
    metric = stat.get("Metric") or {}
    check_text(metric.get("Namespace"), f"{where}.Metric.Namespace", 255)
    check_text(metric.get("MetricName"), f"{where}.Metric.MetricName", 255)
    check_dimensions(metric.get("Dimensions"), f"{where}.Metric.Dimensions")
    check_period(stat.get("Period"), f"{where}.Period")
    name = stat.get("Stat")
    if not name:
        raise missing(f"{where}.Stat")
    if statistic(name) is None:
        raise AwsError(
            "ValidationError", f"The value {name} for parameter {where}.Stat is not supported."
        )
    check_unit(stat.get("Unit"), f"{where}.Unit")


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def moment(when: float) -> datetime.datetime:
    """Epoch seconds as the aware moment that answers carry."""
    return datetime.datetime.fromtimestamp(when, datetime.UTC)


def checked_span(start: Any, end: Any) -> tuple[float, float]:
    """Start and end of a request in epoch seconds; both are required and must be in order."""
    if start is None:
        raise missing("StartTime")
    if end is None:
        raise missing("EndTime")
    return epoch(start), epoch(end)

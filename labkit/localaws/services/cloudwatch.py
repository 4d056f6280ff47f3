"""CloudWatch beyond moto: metrics that are kept, aggregated and computed as AWS does.

Amazon CloudWatch API Reference. Dashboards, Insights rules and tags stay with moto.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws.call import AwsError, Call, Forward
from labkit.localaws.metric_data import (
    MAX_REQUEST_BYTES,
    check_data,
    check_dimensions,
    check_namespace,
    check_text,
    check_unit,
    exclusive,
    invalid,
    take_in,
)
from labkit.localaws.metric_math import MathError
from labkit.localaws.metric_queries import (
    MAX_DATAPOINTS,
    Queries,
    Result,
    check_period,
    check_queries,
    checked_span,
    metric_of,
    moment,
    rounded_start,
)
from labkit.localaws.metric_statistics import PLAIN, statistic
from labkit.localaws.metrics_store import Metric, Series
from labkit.localaws.services.cloudwatch_alarms import AlarmOperations

_LISTED_AT_ONCE = 500
_STATISTICS_LIMIT = 1440
_RECENT_SECONDS = 3 * 3600


class CloudWatchLayer(AlarmOperations):
    """Metrics in, metrics out, and alarms on them."""

    service = "cloudwatch"

    # -- in ----------------------------------------------------------------------------------

    def PutMetricData(self, call: Call, forward: Forward) -> None:
        """Take metric data in; it can be read at once."""
        if len(call.request.get_data()) > MAX_REQUEST_BYTES:
            raise AwsError("RequestEntityTooLarge", "Request size exceeded the limit.", 413)
        namespace = check_namespace(call.params.get("Namespace"))
        data = [*(call.params.get("MetricData") or ())]
        for entity in call.params.get("EntityMetricData") or ():
            data += entity.get("MetricData") or ()
        now = self.aws.clock.now()
        check_data(data, now)
        take_in(self.aws.telemetry.store, (call.account_id, call.region), namespace, data, now)

    # -- out ---------------------------------------------------------------------------------

    def GetMetricData(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The time series of metrics and of expressions over them."""
        params = call.params
        start, end = checked_span(params.get("StartTime"), params.get("EndTime"))
        if start == end:
            raise AwsError(
                "ValidationError", "The parameter StartTime must not equal parameter EndTime."
            )
        if start > end:
            raise AwsError(
                "ValidationError", "The parameter EndTime must be greater than StartTime."
            )
        queries = params.get("MetricDataQueries")
        check_queries(queries)
        scan_by = params.get("ScanBy") or "TimestampDescending"
        if scan_by not in ("TimestampDescending", "TimestampAscending"):
            raise AwsError(
                "ValidationError",
                "The parameter ScanBy must be a value in the set "
                "[ TimestampDescending, TimestampAscending ].",
            )
        most = params.get("MaxDatapoints") or MAX_DATAPOINTS
        scope = (call.account_id, call.region)
        work = Queries(self.aws.telemetry, scope, queries, start, end, self.aws.clock.now())
        try:
            results = work.run()
        except MathError as problem:
            raise AwsError("ValidationError", str(problem)) from problem
        offset = _read_token(params.get("NextToken"))
        return _page(results, offset, min(most, MAX_DATAPOINTS), scan_by == "TimestampDescending")

    def GetMetricStatistics(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The data points of one metric."""
        params = call.params
        check_text(params.get("Namespace"), "Namespace", 255)
        check_text(params.get("MetricName"), "MetricName", 255)
        check_dimensions(params.get("Dimensions"), "Dimensions")
        start, end = checked_span(params.get("StartTime"), params.get("EndTime"))
        period = check_period(params.get("Period"), "Period")
        plain, extended = _asked_statistics(params)
        check_unit(params.get("Unit"), "Unit")
        if start >= end:
            raise invalid("The parameter StartTime must be less than the parameter EndTime.")
        asked = int((end - start) // period)
        if asked > _STATISTICS_LIMIT:
            raise AwsError(
                "InvalidParameterCombination",
                f"You have requested up to {asked} datapoints, which exceeds the limit of "
                f"{_STATISTICS_LIMIT}. You may reduce the datapoints requested by increasing "
                "Period, or decreasing the time range.",
            )
        now = self.aws.clock.now()
        metric = metric_of(params)
        telemetry = self.aws.telemetry
        telemetry.gauges.look(metric.namespace, call.account_id, call.region)
        buckets = telemetry.store.periods(
            (call.account_id, call.region),
            metric,
            rounded_start(start, period, now),
            int(-(-end // 1)),
            period,
            params.get("Unit"),
        )
        points = []
        for (when, unit), bucket in sorted(buckets.items()):
            point: dict[str, Any] = {"Timestamp": moment(when), "Unit": unit}
            for name in plain:
                value = statistic(name)(bucket)  # type: ignore[misc]
                point[name] = None if value is None else float(value)
            if extended:
                values = {name: statistic(name)(bucket) for name in extended}  # type: ignore[misc]
                point["ExtendedStatistics"] = {
                    name: float(value) for name, value in values.items() if value is not None
                }
            points.append(point)
        return {"Label": metric.name, "Datapoints": points}

    def ListMetrics(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The metrics that had data in the past two weeks, or three hours."""
        params = call.params
        namespace, name = params.get("Namespace"), params.get("MetricName")
        filters = params.get("Dimensions") or ()
        check_dimension_filters(filters)
        recently = params.get("RecentlyActive")
        if recently is not None and recently != "PT3H":
            raise AwsError(
                "ValidationError",
                f"1 validation error detected: Value '{recently}' at 'recentlyActive' failed to "
                "satisfy constraint: Member must satisfy enum value set: [PT3H]",
            )
        telemetry = self.aws.telemetry
        telemetry.gauges.look(namespace, call.account_id, call.region)
        horizon = self.aws.clock.now() - _RECENT_SECONDS
        found = sorted(
            (
                series.metric
                for series in telemetry.store.series((call.account_id, call.region))
                if _is_listed(series, namespace, name, filters)
                and (recently is None or series.newest >= horizon)
            ),
            key=lambda metric: (metric.namespace, metric.name, metric.dimensions),
        )
        first = _read_token(params.get("NextToken"))
        answer: dict[str, Any] = {
            "Metrics": [_described(metric) for metric in found[first : first + _LISTED_AT_ONCE]]
        }
        if first + _LISTED_AT_ONCE < len(found):
            answer["NextToken"] = _token(first + _LISTED_AT_ONCE)
        if params.get("IncludeLinkedAccounts"):
            answer["OwningAccounts"] = [call.account_id] * len(answer["Metrics"])
        return answer


def check_dimension_filters(filters: Sequence[Mapping[str, str]]) -> None:
    """Raise unless ListMetrics takes these dimension filters."""
    if len(filters) > 10:
        raise invalid("The collection Dimensions must not have a size greater than 10.")
    for number, each in enumerate(filters, 1):
        check_text(each.get("Name"), f"Dimensions.member.{number}.Name", 255)


def _is_listed(
    series: Series, namespace: str | None, name: str | None, filters: Sequence[Mapping[str, str]]
) -> bool:
    metric = series.metric
    if namespace is not None and metric.namespace != namespace:
        return False
    if name is not None and metric.name != name:
        return False
    if not filters:
        return True
    dimensions = dict(metric.dimensions)
    return all(
        each["Name"] in dimensions and each.get("Value") in (None, dimensions[each["Name"]])
        for each in filters
    )


def _described(metric: Metric) -> dict[str, Any]:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
    }


def _asked_statistics(params: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
    plain = params.get("Statistics") or ()
    extended = params.get("ExtendedStatistics") or ()
    if not plain and not extended:
        raise AwsError(
            "InvalidParameterCombination", "Must specify either Statistics or ExtendedStatistics"
        )
    if plain and extended:
        raise exclusive("Statistics", "ExtendedStatistics")
    for number, name in enumerate(plain, 1):
        if name not in PLAIN:
            raise invalid(
                f"The parameter Statistics.member.{number} must be a value in the set "
                f"[ {', '.join(PLAIN)} ]."
            )
    for name in extended:
        if name in PLAIN or statistic(name) is None:
            raise invalid(f"The value {name} for parameter ExtendedStatistics is not supported.")
    return plain, extended


def _page(results: Sequence[Result], offset: int, most: int, descending: bool) -> dict[str, Any]:
    """One page: as many data points of every series as fit, newest or oldest first."""
    each = max(1, most // max(1, len(results)))
    answers = []
    more = False
    for result in results:
        points = sorted(result.points.items(), reverse=descending)
        left = len(points) > offset + each
        more = more or left
        page = points[offset : offset + each]
        answer: dict[str, Any] = {
            "Id": result.id,
            "Label": result.label,
            "Timestamps": [moment(when) for when, _ in page],
            "Values": [value for _, value in page],
            "StatusCode": "PartialData" if left else "Complete",
        }
        if result.messages:
            answer["Messages"] = result.messages
        answers.append(answer)
    page_of_all: dict[str, Any] = {"MetricDataResults": answers, "Messages": []}
    if more:
        page_of_all["NextToken"] = _token(offset + each)
    return page_of_all


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"from": offset}).encode()).decode()


def _read_token(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["from"])
    except (ValueError, KeyError, TypeError) as problem:
        raise invalid("Request parameter NextToken is invalid") from problem

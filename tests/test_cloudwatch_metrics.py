"""Metrics through the API: what PutMetricData takes, and what comes out again."""

from __future__ import annotations

import datetime

import pytest
from wiring_support import Wiring, refusal, wiring  # noqa: F401

DIMENSION = [{"Name": "Stage", "Value": "test"}]


def moment(when: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(when, datetime.UTC)


class Metrics:
    """One namespace of its own."""

    def __init__(self, lab: Wiring) -> None:
        self.wiring = lab
        self.client = lab.client("cloudwatch")
        self.namespace = lab.name("Shop")

    def put(self, *data: dict) -> None:
        self.client.put_metric_data(Namespace=self.namespace, MetricData=list(data))

    def refused(self, **datum) -> str:
        error = refusal(
            self.client.put_metric_data,
            Namespace=self.namespace,
            MetricData=[{"MetricName": "m", **datum}],
        )
        return error["Message"]

    def span(self, before: float = 600, after: float = 120) -> dict:
        now = self.wiring.now()
        return {"StartTime": moment(now - before), "EndTime": moment(now + after)}

    def points(self, name: str = "m", *, dimensions=(), period=60, before=600.0, **asked) -> list:
        found = self.client.get_metric_statistics(
            Namespace=self.namespace,
            MetricName=name,
            Dimensions=list(dimensions),
            Period=period,
            **self.span(before),
            **asked,
        )["Datapoints"]
        return sorted(found, key=lambda point: point["Timestamp"])

    def data(self, *queries: dict, before=600.0, **asked) -> list:
        return self.client.get_metric_data(
            MetricDataQueries=list(queries), **self.span(before), **asked
        )["MetricDataResults"]

    def query(self, identifier: str = "m1", name: str = "m", **more) -> dict:
        stat = {
            "Metric": {"Namespace": self.namespace, "MetricName": name},
            "Period": more.pop("Period", 60),
            "Stat": more.pop("Stat", "Sum"),
        }
        return {"Id": identifier, "MetricStat": stat, **more}


@pytest.fixture
def metrics(wiring) -> Metrics:  # noqa: F811
    return Metrics(wiring)


def test_statistics_of_single_values(metrics):
    metrics.put(*({"MetricName": "m", "Value": value, "Unit": "Count"} for value in (3, 5, 10)))
    (point,) = metrics.points(
        Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"], period=3600
    )
    assert point["Sum"] == 18 and point["Average"] == 6 and point["SampleCount"] == 3
    assert (point["Minimum"], point["Maximum"], point["Unit"]) == (3, 10, "Count")


def test_values_with_counts_are_counted_that_often(metrics):
    metrics.put({"MetricName": "m", "Values": [1.0, 10.0], "Counts": [4.0, 2.0]})
    (point,) = metrics.points(Statistics=["Sum", "SampleCount"], period=3600)
    assert (point["Sum"], point["SampleCount"]) == (24, 6)


def test_statistic_sets_are_merged_and_have_no_percentiles(metrics):
    statistics = {"SampleCount": 4, "Sum": 20, "Minimum": 1, "Maximum": 9}
    metrics.put({"MetricName": "m", "StatisticValues": statistics})
    metrics.put({"MetricName": "m", "Value": 10})
    (point,) = metrics.points(Statistics=["Sum", "Maximum", "SampleCount"], period=3600)
    assert (point["Sum"], point["Maximum"], point["SampleCount"]) == (30, 10, 5)
    (point,) = metrics.points(ExtendedStatistics=["p50"], period=3600)
    assert "ExtendedStatistics" not in point or point["ExtendedStatistics"] == {}


def test_extended_statistics(metrics):
    metrics.put({"MetricName": "m", "Values": [float(value) for value in range(1, 101)]})
    asked = ["p50", "p99", "tm90", "TM(10%:90%)", "IQM", "PR(:25)", "TC(10:20)", "ts10", "wm90"]
    (point,) = metrics.points(ExtendedStatistics=asked, period=3600)
    values = point["ExtendedStatistics"]
    assert values["p50"] == 50 and values["p99"] == 99
    assert values["tm90"] == 45.5 and values["TM(10%:90%)"] == 50.5 == values["IQM"]
    assert values["PR(:25)"] == 25 and values["TC(10:20)"] == 10 and values["ts10"] == 55
    assert values["wm90"] == pytest.approx((sum(range(1, 91)) + 10 * 90) / 100)


def test_units_are_told_apart(metrics):
    metrics.put({"MetricName": "m", "Value": 60, "Unit": "Seconds"})
    metrics.put({"MetricName": "m", "Value": 60_000, "Unit": "Milliseconds"})
    points = metrics.points(Statistics=["Sum"], period=3600)
    assert {point["Unit"]: point["Sum"] for point in points} == {
        "Seconds": 60,
        "Milliseconds": 60_000,
    }
    assert metrics.points(Statistics=["Sum"], period=3600, Unit="Bytes") == []
    (result,) = metrics.data(metrics.query(Period=3600))
    assert result["Values"] == [60_000]
    message = {
        "Code": "MultipleUnits",
        "Value": "Multiple units returned: '[Milliseconds, Seconds]'",
    }
    assert result["Messages"] == [message]


def test_a_metric_is_its_exact_dimensions(metrics):
    metrics.put({"MetricName": "m", "Value": 1, "Dimensions": DIMENSION})
    assert metrics.points(Statistics=["Sum"]) == []
    assert len(metrics.points(Statistics=["Sum"], dimensions=DIMENSION)) == 1


def test_seconds_are_kept_for_three_hours_and_minutes_longer(metrics):
    metrics.wiring.advance(seconds=60 - metrics.wiring.now() % 60)
    now = int(metrics.wiring.now())
    for second in (0, 1, 2):
        metrics.put(
            {
                "MetricName": "m",
                "Value": 1,
                "StorageResolution": 1,
                "Timestamp": moment(now - 30 + second * 10),
            }
        )
    assert len(metrics.points(Statistics=["Sum"], period=10, before=120)) == 3
    metrics.wiring.advance(hours=4)
    late = {"before": 5 * 3600.0, "Statistics": ["Sum"]}
    assert metrics.points(period=30, **late) == []
    assert [point["Sum"] for point in metrics.points(period=60, **late)] == [3]


def test_minutes_become_five_minutes_after_fifteen_days(metrics):
    metrics.put({"MetricName": "m", "Value": 7})
    metrics.wiring.advance(days=16)
    late = {"before": 17 * 86_400.0, "Statistics": ["Sum"]}
    assert metrics.points(period=3600, **late)[0]["Sum"] == 7
    (result,) = metrics.data(metrics.query(Period=60), before=17 * 86_400)
    assert result["Values"] == []
    (result,) = metrics.data(metrics.query(Period=300), before=17 * 86_400)
    assert result["Values"] == [7]


def test_large_requests_come_compressed(metrics):
    metrics.put(
        *(
            {"MetricName": f"m{number}", "Value": 1, "Dimensions": DIMENSION}
            for number in range(600)
        )
    )
    pages = metrics.client.get_paginator("list_metrics").paginate(Namespace=metrics.namespace)
    assert [len(page["Metrics"]) for page in pages] == [500, 100]


# -- GetMetricData ---------------------------------------------------------------------------


def test_newest_first_unless_asked_otherwise(metrics):
    for _ in range(3):
        metrics.put({"MetricName": "m", "Value": 1})
        metrics.wiring.advance(minutes=1)
    (result,) = metrics.data(metrics.query())
    assert result["Timestamps"] == sorted(result["Timestamps"], reverse=True)
    assert result["StatusCode"] == "Complete" and result["Label"] == "m"
    (result,) = metrics.data(metrics.query(), ScanBy="TimestampAscending")
    assert result["Timestamps"] == sorted(result["Timestamps"])


def test_pages_hold_at_most_so_many_points(metrics):
    for _ in range(5):
        metrics.put({"MetricName": "m", "Value": 1})
        metrics.wiring.advance(minutes=1)
    asked = {"MetricDataQueries": [metrics.query()], "MaxDatapoints": 2, **metrics.span()}
    seen = []
    while True:
        page = metrics.client.get_metric_data(**asked)
        seen += page["MetricDataResults"][0]["Timestamps"]
        if "NextToken" not in page:
            break
        assert page["MetricDataResults"][0]["StatusCode"] == "PartialData"
        asked["NextToken"] = page["NextToken"]
    assert len(seen) == 5 == len(set(seen))


@pytest.mark.parametrize(
    "expression, values",
    [
        ("m1 + m2", [12]),
        ("m1 / PERIOD(m1) * 60", [10]),
        ("100 * m2 / SUM([m1, m2])", [100 * 2 / 12]),
        ("IF(m1 > 5, m1, 0)", [10]),
        ("-m2 ^ 2", [-4]),
        ("MAX(METRICS())", [10]),
        ("m1 > 5 AND m2 > 5", [0]),
        ("AVG(m1) + 0 * m1", [10]),
        ("m1 / (m2 - 2)", []),
        ("LAST([m1, m2])", [2]),
        ("SORT(METRICS(), SUM, DESC, 1)", [10]),
        ("CEIL(m1 / 3)", [4]),
    ],
)
def test_expressions(metrics, expression, values):
    metrics.put({"MetricName": "m", "Value": 10}, {"MetricName": "n", "Value": 2})
    (result,) = metrics.data(
        metrics.query("m1", Period=3600, ReturnData=False),
        metrics.query("m2", "n", Period=3600, ReturnData=False),
        {"Id": "e1", "Expression": expression.replace("* 60", "* 3600"), "Label": "half"},
    )
    assert result["Values"] == values and result["Label"] == "half"


def test_searches_find_metrics_by_their_words(metrics):
    for stage in ("test", "live"):
        dimensions = [{"Name": "Stage", "Value": stage}]
        metrics.put({"MetricName": "OrderCount", "Value": 1, "Dimensions": dimensions})
    search = f"SEARCH('{{{metrics.namespace},Stage}} order', 'Sum', 3600)"
    assert len(metrics.data({"Id": "e1", "Expression": search})) == 2
    total = {"Id": "e1", "Expression": f"SUM({search})"}
    assert metrics.data(total)[0]["Values"] == [2]


def test_select_over_many_metrics(metrics):
    for stage, count in (("test", 1), ("live", 5)):
        dimensions = [{"Name": "Stage", "Value": stage}]
        metrics.put({"MetricName": "m", "Value": count, "Dimensions": dimensions})
    source = f'SCHEMA("{metrics.namespace}", Stage)'

    def select(statement: str) -> list:
        query = {"Id": "q", "Expression": statement.format(source=source), "Period": 3600}
        return [(each["Label"], each["Values"]) for each in metrics.data(query)]

    assert select("SELECT SUM(m) FROM {source}") == [("q", [6])]
    grouped = "SELECT MAX(m) FROM {source} GROUP BY Stage ORDER BY MAX() DESC"
    assert select(grouped) == [("live", [5]), ("test", [1])]
    assert select(grouped + " LIMIT 1") == [("live", [5])]
    assert select("SELECT COUNT(m) FROM {source} WHERE Stage = 'test'") == [("q", [1])]


def test_labels_tell_apart_what_differs(metrics):
    metrics.put({"MetricName": "m", "Value": 10})
    first, second = metrics.data(
        metrics.query("a", Period=300), metrics.query("b", Period=60, Stat="Maximum")
    )
    assert (first["Label"], second["Label"]) == ("m Sum 300", "m Maximum 60")
    (result,) = metrics.data(metrics.query(Label="top ${MAX} of ${PROP('MetricName')}"))
    assert result["Label"] == "top 10 of m"


# -- what is refused -------------------------------------------------------------------------


def test_what_put_metric_data_refuses(metrics):
    where = "MetricData.member.1"
    assert metrics.refused(Value=1, Values=[1.0]) == (
        f"The parameters {where}.Value and {where}.Values are mutually exclusive and you have "
        "specified both."
    )
    assert metrics.refused(Values=[1.0], Counts=[1.0, 2.0]) == (
        f"The parameters {where}.Values and {where}.Counts must be of the same size."
    )
    many = [{"Name": f"d{number}", "Value": "v"} for number in range(31)]
    assert metrics.refused(Value=1, Dimensions=many) == (
        f"The collection {where}.Dimensions must not have a size greater than 30."
    )
    assert metrics.refused(Values=[1.0] * 151) == (
        f"The collection {where}.Values must not have a size greater than 150."
    )
    late = f"The parameter {where}.Timestamp must specify a time within the past two weeks."
    now = metrics.wiring.now()
    assert metrics.refused(Value=1, Timestamp=moment(now - 15 * 86_400)) == late
    assert metrics.refused(Value=1, Timestamp=moment(now + 3 * 3600)) == late
    assert metrics.refused(Value=1, Unit="Parsec").startswith(
        f"The parameter {where}.Unit must be a value in the set [ Seconds, Microseconds,"
    )
    assert "StorageResolution" in metrics.refused(Value=1, StorageResolution=5)
    assert metrics.refused() == "At least one of the parameters must be specified."


def test_the_namespace_of_aws_is_not_ours(metrics):
    error = refusal(
        metrics.client.put_metric_data,
        Namespace="AWS/Mine",
        MetricData=[{"MetricName": "m", "Value": 1}],
    )
    assert error["Code"] == "InvalidParameterValue"
    assert error["Message"] == "The value AWS/ for parameter Namespace is invalid."


def test_what_get_metric_statistics_refuses(metrics):
    now = metrics.wiring.now()
    asked = {"Namespace": "n", "MetricName": "m", "Statistics": ["Sum"], "Period": 60}
    error = refusal(
        metrics.client.get_metric_statistics,
        StartTime=moment(now - 10 * 86_400),
        EndTime=moment(now),
        **asked,
    )
    assert error["Code"] == "InvalidParameterCombination"
    assert error["Message"] == (
        "You have requested up to 14400 datapoints, which exceeds the limit of 1440. You may "
        "reduce the datapoints requested by increasing Period, or decreasing the time range."
    )
    error = refusal(
        metrics.client.get_metric_statistics, StartTime=moment(now), EndTime=moment(now), **asked
    )
    assert error["Message"] == "The parameter StartTime must be less than the parameter EndTime."


def test_what_get_metric_data_refuses(metrics):
    def message(*queries: dict) -> str:
        error = refusal(
            metrics.client.get_metric_data, MetricDataQueries=list(queries), **metrics.span()
        )
        assert error["Code"] == "ValidationError"
        return error["Message"]

    assert message({"Id": "a"}) == (
        "The parameter MetricDataQueries.member.1.MetricStat is required.\n"
    )
    assert "not unique" in message(metrics.query("a"), metrics.query("a"))
    assert message({"Id": "e1", "Expression": "nope + 1"}).startswith("Error in expression 'e1': ")


def test_list_metrics_by_name_and_dimension(metrics):
    metrics.put(
        {"MetricName": "m", "Value": 1, "Dimensions": DIMENSION}, {"MetricName": "n", "Value": 1}
    )
    found = metrics.client.list_metrics(Namespace=metrics.namespace)["Metrics"]
    assert [metric["MetricName"] for metric in found] == ["m", "n"]
    (metric,) = metrics.client.list_metrics(
        Namespace=metrics.namespace, Dimensions=[{"Name": "Stage"}]
    )["Metrics"]
    assert metric["Dimensions"] == DIMENSION
    metrics.wiring.advance(hours=4)
    recent = metrics.client.list_metrics(Namespace=metrics.namespace, RecentlyActive="PT3H")
    assert recent["Metrics"] == []
    metrics.wiring.advance(days=15)
    assert metrics.client.list_metrics(Namespace=metrics.namespace)["Metrics"] == []

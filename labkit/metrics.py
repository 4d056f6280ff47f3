"""CloudWatch metrics as pandas tables.

CloudWatch User Guide, "CloudWatch metrics that are available": each service publishes its own,
with dimensions that say which resource they are about.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from labkit.session import Lab

if TYPE_CHECKING:
    import pandas as pd

Dimensions = dict[str, str]

# A request may ask for at most so many data points of one metric.
_POINTS = 1440


def frame(
    lab: Lab,
    namespace: str,
    names: list[str] | str,
    dimensions: Dimensions,
    *,
    statistic: str = "Sum",
    period: int = 60,
    since: datetime | None = None,
) -> pd.DataFrame:
    """Metrics of one resource over time: a column each, one row a period that has data.

    *since* defaults to three hours ago, *period* is in seconds (kept in ``attrs["period"]``); the
    index is the period's start, in UTC.
    """
    import pandas as pd

    names = [names] if isinstance(names, str) else names
    end = lab.clock.now() + timedelta(seconds=period)
    start = since or end - timedelta(hours=3)
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": _dimensions(dimensions),
                },
                "Period": period,
                "Stat": statistic,
            },
        }
        for number, name in enumerate(names)
    ]
    pages = lab.client("cloudwatch").get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=start, EndTime=end, ScanBy="TimestampAscending"
    )  # fmt: skip
    columns: dict[str, dict[datetime, float]] = {name: {} for name in names}
    for page in pages:
        for result in page["MetricDataResults"]:
            name = names[int(result["Id"][1:])]
            columns[name].update(zip(result["Timestamps"], result["Values"], strict=True))
    table = pd.DataFrame({name: pd.Series(found, dtype=float) for name, found in columns.items()})
    table.index = pd.to_datetime(table.index, utc=True).rename("time")
    table.attrs["period"] = period
    return table.sort_index()


def stream(lab: Lab, since: datetime | None = None, period: int = 60) -> pd.DataFrame:
    """What came into OrdersStream: IncomingRecords and IncomingBytes, sums per period."""
    return frame(
        lab,
        "AWS/Kinesis",
        ["IncomingRecords", "IncomingBytes"],
        {"StreamName": lab.names.stream},
        since=since,
        period=period,
    )


def function(lab: Lab, since: datetime | None = None, period: int = 60) -> pd.DataFrame:
    """How the function was used: Invocations, Errors and Throttles, sums per period."""
    return frame(
        lab,
        "AWS/Lambda",
        ["Invocations", "Errors", "Throttles"],
        {"FunctionName": lab.names.function},
        since=since,
        period=period,
    )


def total(lab: Lab, namespace: str, name: str, dimensions: Dimensions, since: datetime) -> float:
    """The sum of one metric from *since* until now; 0 when nothing was published."""
    end = lab.clock.now() + timedelta(minutes=2)
    minutes = (end - since).total_seconds() / 60
    answer = lab.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=_dimensions(dimensions),
        StartTime=since,
        EndTime=end,
        Period=60 * (1 + int(minutes // _POINTS)),
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


def _dimensions(dimensions: Dimensions) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]

"""PutMetricData: what CloudWatch accepts as metric data, and how it enters the store.

Amazon CloudWatch API Reference, "PutMetricData" and "MetricDatum". Errors name the datum by its
place (``MetricData.member.1...``) in the words CloudWatch uses.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.metrics_store import Bucket, Metric, MetricStore, dimensions_of

UNITS = (
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
)
MAX_DATA = 1000
MAX_DIMENSIONS = 30
MAX_VALUES = 150
MAX_REQUEST_BYTES = 1_048_576
_PAST_SECONDS = 14 * 86_400
_AHEAD_SECONDS = 2 * 3600
_LARGEST = 2.0**360


def epoch(moment: datetime.datetime | float) -> float:
    """Epoch seconds; a naive moment is UTC."""
    if isinstance(moment, int | float):
        return float(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def missing(what: str) -> AwsError:
    """CloudWatch's answer when a parameter is required."""
    return AwsError("MissingParameter", f"The parameter {what} is required.")


def invalid(message: str) -> AwsError:
    """CloudWatch's answer to a value it doesn't take."""
    return AwsError("InvalidParameterValue", message)


def exclusive(one: str, other: str) -> AwsError:
    """CloudWatch's answer to two parameters of which only one may be given."""
    return AwsError(
        "InvalidParameterCombination",
        f"The parameters {one} and {other} are mutually exclusive and you have specified both.",
    )


def check_unit(unit: str | None, where: str) -> None:
    """Raise unless *unit* is one of CloudWatch's."""
    if unit is not None and unit not in UNITS:
        raise invalid(f"The parameter {where} must be a value in the set [ {', '.join(UNITS)} ].")


def check_text(text: str | None, where: str, longest: int) -> str:
    """*text*, when it is there and not too long."""
    if text is None or text == "":
        raise missing(where)
    if len(text) > longest:
        raise invalid(
            f"The parameter {where} must be shorter than or equal to {longest} characters."
        )
    return text


def check_dimensions(dimensions: Sequence[Mapping[str, str]] | None, where: str) -> None:
    """Raise unless these are at most 30 dimensions with names and values, each name once."""
    dimensions = dimensions or ()
    if len(dimensions) > MAX_DIMENSIONS:
        raise invalid(f"The collection {where} must not have a size greater than {MAX_DIMENSIONS}.")
    seen = set()
    for number, dimension in enumerate(dimensions, 1):
        name = check_text(dimension.get("Name"), f"{where}.member.{number}.Name", 255)
        value = check_text(dimension.get("Value"), f"{where}.member.{number}.Value", 1024)
        for part, text in (("Name", name), ("Value", value)):
            if not text.isascii() or not text.isprintable() or not text.strip():
                raise invalid(
                    f"The value {text} for parameter {where}.member.{number}.{part} is invalid."
                )
        if name.startswith(":"):
            raise invalid(
                f"The value {name} for parameter {where}.member.{number}.Name is invalid."
            )
        if name in seen:
            raise invalid("No Metric may specify the same dimension twice.")
        seen.add(name)


def check_namespace(namespace: str | None) -> str:
    """*namespace*, when a customer may put metrics into it."""
    check_text(namespace, "Namespace", 255)
    assert namespace is not None
    if namespace.startswith("AWS/"):
        raise invalid("The value AWS/ for parameter Namespace is invalid.")
    if namespace.startswith(":") or not all(
        letter.isascii() and (letter.isalnum() or letter in ".-_/#: ") for letter in namespace
    ):
        raise invalid(f"The value {namespace} for parameter Namespace is invalid.")
    return namespace


def check_data(data: Sequence[Mapping[str, Any]] | None, now: float) -> None:
    """Raise CloudWatch's error for the first datum that is not acceptable at epoch *now*."""
    if not data:
        raise missing("MetricData")
    if len(data) > MAX_DATA:
        raise invalid(f"The collection MetricData must not have a size greater than {MAX_DATA}.")
    too_old = []
    for number, datum in enumerate(data, 1):
        where = f"MetricData.member.{number}"
        check_text(datum.get("MetricName"), f"{where}.MetricName", 255)
        check_dimensions(datum.get("Dimensions"), f"{where}.Dimensions")
        check_unit(datum.get("Unit"), f"{where}.Unit")
        resolution = datum.get("StorageResolution", 60)
        if resolution not in (1, 60):
            raise invalid(
                f"The parameter {where}.StorageResolution must be a value in the set [ 1, 60 ]."
            )
        stamp = datum.get("Timestamp")
        if stamp is not None:
            age = now - epoch(stamp)
            if age > _PAST_SECONDS or age < -_AHEAD_SECONDS:
                too_old.append(
                    f"The parameter {where}.Timestamp must specify a time within the past two weeks."
                )
        _check_values(datum, where)
    if too_old:
        raise invalid("\n".join(too_old))


def _check_values(datum: Mapping[str, Any], where: str) -> None:
    value, values, counts = (datum.get(name) for name in ("Value", "Values", "Counts"))
    statistics = datum.get("StatisticValues")
    if value is not None and values:
        raise exclusive(f"{where}.Value", f"{where}.Values")
    if value is not None and statistics:
        raise exclusive(f"{where}.Value", f"{where}.StatisticValues")
    if values and statistics:
        raise exclusive(f"{where}.Values", f"{where}.StatisticValues")
    if counts and not values:
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter {where}.Values must appear when {where}.Counts is specified.",
        )
    if value is not None:
        _check_number(value, f"{where}.Value")
    elif values:
        if len(values) > MAX_VALUES:
            raise invalid(
                f"The collection {where}.Values must not have a size greater than {MAX_VALUES}."
            )
        if counts and len(counts) != len(values):
            raise invalid(
                f"The parameters {where}.Values and {where}.Counts must be of the same size."
            )
        for number in values:
            _check_number(number, f"{where}.Values")
        for number in counts or ():
            if not math.isfinite(number) or number < 0:
                raise invalid(f"The value {number} for parameter {where}.Counts is invalid.")
    elif statistics:
        _check_statistics(statistics, f"{where}.StatisticValues")
    else:
        raise AwsError("MissingParameter", "At least one of the parameters must be specified.")


def _check_statistics(statistics: Mapping[str, float], where: str) -> None:
    absent = [
        f"The parameter {where}.{name} is required."
        for name in ("Maximum", "Minimum", "SampleCount", "Sum")
        if statistics.get(name) is None
    ]
    if absent:
        raise AwsError("MissingParameter", "\n".join(absent))
    for name in ("Maximum", "Minimum", "Sum"):
        _check_number(statistics[name], f"{where}.{name}")
    if statistics["Maximum"] < statistics["Minimum"]:
        raise invalid(f"The parameter {where}.Maximum must be greater than {where}.Minimum.")
    if statistics["SampleCount"] <= 0:
        raise invalid(f"The parameter {where}.SampleCount must be greater than 0.")


def _check_number(number: float, where: str) -> None:
    if not math.isfinite(number) or abs(number) > _LARGEST:
        shown = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(number), number)
        raise invalid(f"The value {shown} for parameter {where} is invalid.")


def take_in(
    store: MetricStore,
    scope: tuple[str, str],
    namespace: str,
    data: Sequence[Mapping[str, Any]],
    now: float,
) -> None:
    """Put checked metric data into the store."""
    for datum in data:
        metric = Metric(
            namespace,
            datum["MetricName"],
            dimensions_of((each["Name"], each["Value"]) for each in datum.get("Dimensions") or ()),
        )
        unit = datum.get("Unit") or "None"
        stamp = datum.get("Timestamp")
        at = now if stamp is None else epoch(stamp)
        resolution = datum.get("StorageResolution", 60)
        statistics = datum.get("StatisticValues")
        if statistics:
            bucket = Bucket.of_statistics(
                statistics["Sum"],
                statistics["Minimum"],
                statistics["Maximum"],
                statistics["SampleCount"],
            )
            store.add_bucket(scope, metric, bucket, unit, at, resolution=resolution)
            continue
        values = [datum["Value"]] if datum.get("Value") is not None else datum["Values"]
        counts = datum.get("Counts") or [1.0] * len(values)
        for value, count in zip(values, counts, strict=True):
            if count:
                store.add(scope, metric, float(value), unit, at, count=count, resolution=resolution)

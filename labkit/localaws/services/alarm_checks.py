"""What CloudWatch refuses when an alarm is made, in its words.

Amazon CloudWatch API Reference, "PutMetricAlarm" and "PutCompositeAlarm".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws import constraints
from labkit.localaws.alarm_evaluation import BAND_COMPARISONS
from labkit.localaws.call import AwsError, Call
from labkit.localaws.metric_data import exclusive, missing
from labkit.localaws.metric_queries import check_queries
from labkit.localaws.metric_statistics import PLAIN, statistic
from labkit.localaws.protocol import operation_model

_DAY = 86_400


def invalid(message: str) -> AwsError:
    """The service's answer to parameters that don't go together."""
    return AwsError("ValidationError", message)


def checked(call: Call) -> Mapping[str, Any]:
    """The call's parameters, when they satisfy the model's constraints."""
    model = operation_model(call.service, call.operation)
    assert model is not None
    found = list(constraints.violations(model.input_shape, call.params))
    if found:
        raise invalid(constraints.message(found))
    return call.params


def check_actions(params: Mapping[str, Any]) -> None:
    """Raise unless all actions are ARNs."""
    for name in ("OKActions", "AlarmActions", "InsufficientDataActions"):
        for action in params.get(name) or ():
            if len(action.split(":")) < 6 or not action.startswith("arn:"):
                raise invalid(f"Invalid arn syntax: {action}")


def check_metric_alarm(params: Mapping[str, Any]) -> None:
    """Raise unless this makes an alarm on one metric."""
    for name in ("MetricName", "Namespace"):
        if not params.get(name):
            raise missing(name)
    if params.get("Statistic") and params.get("ExtendedStatistic"):
        raise exclusive("Statistic", "ExtendedStatistic")
    extended = params.get("ExtendedStatistic")
    if not params.get("Statistic") and not extended:
        raise invalid("Must specify either Statistic or ExtendedStatistic")
    if extended and (extended in PLAIN or statistic(extended) is None):
        raise AwsError(
            "InvalidParameterValue",
            f"The value {extended} for parameter ExtendedStatistic is not supported.",
        )
    if not params.get("Period"):
        raise missing("Period")
    _check_period(params["Period"])
    _check_span(params["Period"], params["EvaluationPeriods"])
    if params["ComparisonOperator"] in BAND_COMPARISONS:
        raise invalid("ThresholdMetricId is required for an anomaly detection alarm")
    if params.get("Threshold") is None:
        raise missing("Threshold")


def check_expression_alarm(params: Mapping[str, Any]) -> None:
    """Raise unless this makes an alarm on an expression."""
    for name in ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic",
                 "ExtendedStatistic"):  # fmt: skip
        if params.get(name):
            raise invalid(f"{name} must not be set when Metrics is set")
    queries: Sequence[Mapping[str, Any]] = params["Metrics"]
    try:
        check_queries(queries)
    except AwsError as problem:
        raise invalid(problem.message.replace("MetricDataQueries", "Metrics")) from problem
    band = params.get("ThresholdMetricId")
    returned = [q["Id"] for q in queries if q.get("ReturnData", True) and q["Id"] != band]
    if len(returned) != 1:
        raise invalid("Exactly one element of the metrics list should return data.")
    if band is None and params["ComparisonOperator"] in BAND_COMPARISONS:
        raise invalid("ThresholdMetricId is required for an anomaly detection alarm")
    if band is not None and band not in {query["Id"] for query in queries}:
        raise invalid(f"ThresholdMetricId {band} is not in the metrics list")
    if band is None and params.get("Threshold") is None:
        raise missing("Threshold")
    periods = {q["MetricStat"]["Period"] for q in queries if "MetricStat" in q}
    for period in periods:
        _check_period(period)
    if len(periods) > 1:
        raise invalid("Metrics list must have the same period for all metrics")
    _check_span(max(periods, default=60), params["EvaluationPeriods"])


def _check_period(period: int) -> None:
    if period not in (10, 20, 30) and period % 60:
        raise invalid("Period must be 10, 20, 30 or a multiple of 60")


def _check_span(period: int, periods: int) -> None:
    longest = _DAY if period < 3600 else 7 * _DAY
    if period * periods > longest:
        span = "a day" if longest == _DAY else "seven days"
        raise invalid(
            f"Metrics cannot be checked across more than {span} "
            f"(EvaluationPeriods * Period must be <= {longest})."
        )


def check_common(params: Mapping[str, Any]) -> None:
    """Raise unless what both kinds of metric alarms have is fine."""
    needed = params.get("DatapointsToAlarm")
    if needed is not None and needed > params["EvaluationPeriods"]:
        raise invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods")
    for name, options in (
        ("TreatMissingData", ("breaching", "notBreaching", "ignore", "missing")),
        ("EvaluateLowSampleCountPercentile", ("evaluate", "ignore")),
    ):
        given = params.get(name)
        if given is not None and given not in options:
            listed = f"{', '.join(options[:-1])} and {options[-1]}"
            raise invalid(
                f"Option {given} is not supported. Supported options for parameter {name} are "
                f"{listed}."
            )

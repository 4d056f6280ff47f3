"""CloudWatch's operations on alarms: making, showing, switching and removing them.

Amazon CloudWatch API Reference: PutMetricAlarm, PutCompositeAlarm, DescribeAlarms and others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from moto.backends import get_backend

from labkit.localaws import constraints
from labkit.localaws.alarm_evaluation import BAND_COMPARISONS
from labkit.localaws.alarm_points import metrics_of
from labkit.localaws.alarm_rules import BadRule, name_of, read_rule
from labkit.localaws.alarms import Alarm, Alarms, HistoryItem
from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.metric_data import epoch, exclusive, missing
from labkit.localaws.metric_queries import check_queries, metric_of, moment
from labkit.localaws.metric_statistics import PLAIN, statistic
from labkit.localaws.protocol import operation_model

_DAY = 86_400
_PAGE = 100
# Shown in an alarm's description as they were given.
_COMMON = (
    "AlarmDescription",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
)
_METRIC_MEMBERS = (
    "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit",
    "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator",
    "TreatMissingData", "EvaluateLowSampleCountPercentile", "Metrics", "ThresholdMetricId",
    "EvaluationInterval",
)  # fmt: skip
_COMPOSITE_MEMBERS = (
    "AlarmRule", "ActionsSuppressor", "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
)  # fmt: skip


class AlarmOperations(ServiceLayer):
    """Alarms, as the API sees them."""

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        self.alarms = Alarms(aws)

    # -- making ------------------------------------------------------------------------------

    def PutMetricAlarm(self, call: Call, forward: Forward) -> None:
        """Make or change an alarm on a metric or on an expression."""
        params = _checked(call)
        _check_actions(params)
        if params.get("Metrics"):
            _check_expression_alarm(params)
        else:
            _check_metric_alarm(params)
        _check_common(params)
        self._put(call, params, None)

    def PutCompositeAlarm(self, call: Call, forward: Forward) -> None:
        """Make or change an alarm on the states of other alarms."""
        params = _checked(call)
        _check_actions(params)
        try:
            rule = read_rule(params["AlarmRule"])
        except BadRule as problem:
            raise _invalid(f"Error in AlarmRule: {problem}") from problem
        known = self.alarms.of(call.account_id, call.region)
        absent = [name for name in rule.children if name not in known]
        if absent:
            raise _invalid(
                "Could not save the composite alarm as alarms "
                f"[{', '.join(absent)}] in the alarm rule do not exist"
            )
        if params["AlarmName"] in rule.children:
            raise _invalid("A composite alarm can't depend on itself")
        self._put(call, params, rule)

    def _put(self, call: Call, params: Mapping[str, Any], rule: Any) -> None:
        name = params["AlarmName"]
        known = self.alarms.find(call.account_id, call.region, name)
        if known is not None and (known.rule is None) != (rule is None):
            raise _invalid(f"An alarm of another type exists with the name {name}")
        alarm = self.alarms.put(call.account_id, call.region, params, rule)
        # Tags are taken when an alarm is made; later they are changed with TagResource.
        if params.get("Tags") and known is None:
            state = get_backend("cloudwatch")[call.account_id][call.region]
            state.tagger.tag_resource(alarm.alarm_arn, list(params["Tags"]))

    def DeleteAlarms(self, call: Call, forward: Forward) -> None:
        """Remove alarms; names of none are ignored."""
        params = _checked(call)
        known = self.alarms.of(call.account_id, call.region)
        names = params["AlarmNames"]
        composites = [name for name in names if name in known and known[name].rule is not None]
        if len(composites) > 1:
            raise _invalid("Only one composite alarm can be deleted in one operation.")
        parents = sorted(
            each.name
            for each in known.values()
            if each.rule is not None
            and each.name not in names
            and set(composites) & set(each.rule.children)
        )
        if parents:
            raise _invalid(
                f"Cannot delete {composites[0]} as there are composite alarm(s) depending on it: "
                f"{', '.join(parents)}"
            )
        for name in names:
            self.alarms.delete(call.account_id, call.region, name)

    # -- showing -----------------------------------------------------------------------------

    def DescribeAlarms(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of alarms, of one or both kinds."""
        params = _checked(call)
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix")
        if names and prefix:
            raise _invalid("AlarmNamePrefix and AlarmNames are mutually exclusive.")
        known = self.alarms.of(call.account_id, call.region)
        kinds = set(params.get("AlarmTypes") or ("MetricAlarm",))
        found = sorted(known.values(), key=lambda alarm: alarm.name)
        if params.get("ChildrenOfAlarmName"):
            parent = known.get(name_of(params["ChildrenOfAlarmName"]))
            children = parent.rule.children if parent is not None and parent.rule else ()
            return _briefly([alarm for alarm in found if alarm.name in children])
        if params.get("ParentsOfAlarmName"):
            child = name_of(params["ParentsOfAlarmName"])
            return _briefly([a for a in found if a.rule is not None and child in a.rule.children])
        action = params.get("ActionPrefix")
        found = [
            alarm
            for alarm in found
            if alarm.kind in kinds
            and (not names or alarm.name in names)
            and alarm.name.startswith(prefix or "")
            and params.get("StateValue") in (None, alarm.state)
            and (action is None or _has_action(alarm, action))
        ]
        first = _offset(params.get("NextToken"))
        last = first + (params.get("MaxRecords") or (_PAGE if names else 50))
        page = found[first:last]
        answer: dict[str, Any] = {
            "MetricAlarms": [_described(alarm) for alarm in page if alarm.rule is None],
            "CompositeAlarms": [_described(alarm) for alarm in page if alarm.rule is not None],
            "LogAlarms": [],
        }
        if last < len(found):
            answer["NextToken"] = _token(last)
        return answer

    def DescribeAlarmsForMetric(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The alarms on one metric."""
        params = _checked(call)
        metric = metric_of(params)
        known = self.alarms.of(call.account_id, call.region).values()
        found = [
            alarm
            for alarm in sorted(known, key=lambda alarm: alarm.name)
            if alarm.rule is None
            and metric in metrics_of(alarm.config)
            and all(
                params.get(name) in (None, alarm.config.get(name))
                for name in ("Statistic", "ExtendedStatistic", "Period", "Unit")
            )
        ]
        return {"MetricAlarms": [_described(alarm) for alarm in found]}

    def DescribeAlarmHistory(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of what happened to alarms, latest first unless asked otherwise."""
        params = _checked(call)
        kinds = set(params.get("AlarmTypes") or ("MetricAlarm",))
        start = epoch(params["StartDate"]) if params.get("StartDate") else float("-inf")
        end = epoch(params["EndDate"]) if params.get("EndDate") else float("inf")
        items = [
            item
            for item in self.alarms.history(call.account_id, call.region)
            if params.get("AlarmName") in (None, item.alarm_name)
            and (params.get("AlarmName") or item.alarm_type in kinds)
            and params.get("HistoryItemType") in (None, item.kind)
            and start <= item.when <= end
        ]
        if params.get("ScanBy") != "TimestampAscending":
            items.reverse()
        first = _offset(params.get("NextToken"))
        last = first + (params.get("MaxRecords") or _PAGE)
        answer: dict[str, Any] = {
            "AlarmHistoryItems": [_history_item(item) for item in items[first:last]]
        }
        if last < len(items):
            answer["NextToken"] = _token(last)
        return answer

    # -- switching ---------------------------------------------------------------------------

    def SetAlarmState(self, call: Call, forward: Forward) -> None:
        """Put an alarm into a state until it is evaluated again."""
        params = _checked(call)
        data = params.get("StateReasonData")
        if data:
            try:
                json.loads(data)
            except ValueError as problem:
                raise AwsError("InvalidFormat", "StateReasonData is not valid JSON") from problem
        alarm = self.alarms.find(call.account_id, call.region, params["AlarmName"])
        if alarm is None:
            raise AwsError("ResourceNotFound", "", 404)
        self.alarms.set_state(alarm, params["StateValue"], params["StateReason"], data)

    def EnableAlarmActions(self, call: Call, forward: Forward) -> None:
        """Let alarms act on changes of their state."""
        self._switch(call, True)

    def DisableAlarmActions(self, call: Call, forward: Forward) -> None:
        """Keep alarms from acting."""
        self._switch(call, False)

    def _switch(self, call: Call, enabled: bool) -> None:
        for name in _checked(call)["AlarmNames"]:
            alarm = self.alarms.find(call.account_id, call.region, name)
            if alarm is not None:
                alarm.config["ActionsEnabled"] = enabled
                alarm.updated = self.aws.clock.now()


# -- checking ------------------------------------------------------------------------------------


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _checked(call: Call) -> Mapping[str, Any]:
    model = operation_model(call.service, call.operation)
    assert model is not None
    found = list(constraints.violations(model.input_shape, call.params))
    if found:
        raise _invalid(constraints.message(found))
    return call.params


def _check_actions(params: Mapping[str, Any]) -> None:
    for name in ("OKActions", "AlarmActions", "InsufficientDataActions"):
        for action in params.get(name) or ():
            if len(action.split(":")) < 6 or not action.startswith("arn:"):
                raise _invalid(f"Invalid arn syntax: {action}")


def _check_metric_alarm(params: Mapping[str, Any]) -> None:
    for name in ("MetricName", "Namespace"):
        if not params.get(name):
            raise missing(name)
    if params.get("Statistic") and params.get("ExtendedStatistic"):
        raise exclusive("Statistic", "ExtendedStatistic")
    extended = params.get("ExtendedStatistic")
    if not params.get("Statistic") and not extended:
        raise _invalid("Must specify either Statistic or ExtendedStatistic")
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
        raise _invalid("ThresholdMetricId is required for an anomaly detection alarm")
    if params.get("Threshold") is None:
        raise missing("Threshold")


def _check_expression_alarm(params: Mapping[str, Any]) -> None:
    for name in ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic",
                 "ExtendedStatistic"):  # fmt: skip
        if params.get(name):
            raise _invalid(f"{name} must not be set when Metrics is set")
    queries: Sequence[Mapping[str, Any]] = params["Metrics"]
    try:
        check_queries(queries)
    except AwsError as problem:
        raise _invalid(problem.message.replace("MetricDataQueries", "Metrics")) from problem
    band = params.get("ThresholdMetricId")
    returned = [q["Id"] for q in queries if q.get("ReturnData", True) and q["Id"] != band]
    if len(returned) != 1:
        raise _invalid("Exactly one element of the metrics list should return data.")
    if band is None and params["ComparisonOperator"] in BAND_COMPARISONS:
        raise _invalid("ThresholdMetricId is required for an anomaly detection alarm")
    if band is not None and band not in {query["Id"] for query in queries}:
        raise _invalid(f"ThresholdMetricId {band} is not in the metrics list")
    if band is None and params.get("Threshold") is None:
        raise missing("Threshold")
    periods = {q["MetricStat"]["Period"] for q in queries if "MetricStat" in q}
    for period in periods:
        _check_period(period)
    if len(periods) > 1:
        raise _invalid("Metrics list must have the same period for all metrics")
    _check_span(max(periods, default=60), params["EvaluationPeriods"])


def _check_period(period: int) -> None:
    if period not in (10, 20, 30) and period % 60:
        raise _invalid("Period must be 10, 20, 30 or a multiple of 60")


def _check_span(period: int, periods: int) -> None:
    longest = _DAY if period < 3600 else 7 * _DAY
    if period * periods > longest:
        span = "a day" if longest == _DAY else "seven days"
        raise _invalid(
            f"Metrics cannot be checked across more than {span} "
            f"(EvaluationPeriods * Period must be <= {longest})."
        )


def _check_common(params: Mapping[str, Any]) -> None:
    needed = params.get("DatapointsToAlarm")
    if needed is not None and needed > params["EvaluationPeriods"]:
        raise _invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods")
    for name, options in (
        ("TreatMissingData", ("breaching", "notBreaching", "ignore", "missing")),
        ("EvaluateLowSampleCountPercentile", ("evaluate", "ignore")),
    ):
        given = params.get(name)
        if given is not None and given not in options:
            listed = f"{', '.join(options[:-1])} and {options[-1]}"
            raise _invalid(
                f"Option {given} is not supported. Supported options for parameter {name} are "
                f"{listed}."
            )


# -- wording -------------------------------------------------------------------------------------


def _described(alarm: Alarm) -> dict[str, Any]:
    config = alarm.config
    answer: dict[str, Any] = {
        "AlarmName": alarm.name,
        "AlarmArn": alarm.alarm_arn,
        "AlarmConfigurationUpdatedTimestamp": moment(alarm.updated),
        "ActionsEnabled": alarm.actions_enabled,
        "StateValue": alarm.state,
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": moment(alarm.state_updated),
        "StateTransitionedTimestamp": moment(alarm.state_transitioned),
        "OKActions": [],
        "AlarmActions": [],
        "InsufficientDataActions": [],
    }
    if alarm.reason_data:
        answer["StateReasonData"] = alarm.reason_data
    members = _METRIC_MEMBERS if alarm.rule is None else _COMPOSITE_MEMBERS
    answer |= {name: config[name] for name in (*_COMMON, *members) if config.get(name) is not None}
    if alarm.rule is None and "Metrics" not in answer:
        answer.setdefault("Dimensions", [])
    if alarm.suppressed_by:
        answer["ActionsSuppressedBy"] = alarm.suppressed_by
        answer["ActionsSuppressedReason"] = f"Actions suppressed by {alarm.suppressed_by}"
    return answer


def _briefly(alarms: Sequence[Alarm]) -> dict[str, Any]:
    """What is told of an alarm's relatives."""
    entries = [
        (
            alarm.kind,
            {
                "AlarmName": alarm.name,
                "AlarmArn": alarm.alarm_arn,
                "StateValue": alarm.state,
                "StateUpdatedTimestamp": moment(alarm.state_updated),
            },
        )
        for alarm in alarms
    ]
    return {
        "MetricAlarms": [entry for kind, entry in entries if kind == "MetricAlarm"],
        "CompositeAlarms": [entry for kind, entry in entries if kind == "CompositeAlarm"],
        "LogAlarms": [],
    }


def _history_item(item: HistoryItem) -> dict[str, Any]:
    return {
        "AlarmName": item.alarm_name,
        "AlarmType": item.alarm_type,
        "Timestamp": moment(item.when),
        "HistoryItemType": item.kind,
        "HistorySummary": item.summary,
        "HistoryData": item.data,
    }


def _has_action(alarm: Alarm, prefix: str) -> bool:
    return any(
        action.startswith(prefix)
        for name in ("OKActions", "AlarmActions", "InsufficientDataActions")
        for action in alarm.config.get(name) or ()
    )


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"from": offset}).encode()).decode()


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["from"])
    except (ValueError, KeyError, TypeError) as problem:
        raise AwsError("InvalidNextToken", "The specified nextToken is invalid.") from problem

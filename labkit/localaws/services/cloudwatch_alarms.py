"""CloudWatch's operations on alarms: making, showing, switching and removing them.

Amazon CloudWatch API Reference: PutMetricAlarm, PutCompositeAlarm, DescribeAlarms and others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from moto.backends import get_backend

from labkit.localaws.alarm_points import metrics_of
from labkit.localaws.alarm_rules import BadRule, name_of, read_rule
from labkit.localaws.alarms import Alarm, Alarms, HistoryItem
from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.metric_data import epoch
from labkit.localaws.metric_queries import metric_of, moment
from labkit.localaws.services.alarm_checks import (
    check_actions,
    check_common,
    check_expression_alarm,
    check_metric_alarm,
    checked,
    invalid,
)

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
        params = checked(call)
        check_actions(params)
        if params.get("Metrics"):
            check_expression_alarm(params)
        else:
            check_metric_alarm(params)
        check_common(params)
        self._put(call, params, None)

    def PutCompositeAlarm(self, call: Call, forward: Forward) -> None:
        """Make or change an alarm on the states of other alarms."""
        params = checked(call)
        check_actions(params)
        try:
            rule = read_rule(params["AlarmRule"])
        except BadRule as problem:
            raise invalid(f"Error in AlarmRule: {problem}") from problem
        known = self.alarms.of(call.account_id, call.region)
        absent = [name for name in rule.children if name not in known]
        if absent:
            raise invalid(
                "Could not save the composite alarm as alarms "
                f"[{', '.join(absent)}] in the alarm rule do not exist"
            )
        if params["AlarmName"] in rule.children:
            raise invalid("A composite alarm can't depend on itself")
        self._put(call, params, rule)

    def _put(self, call: Call, params: Mapping[str, Any], rule: Any) -> None:
        name = params["AlarmName"]
        known = self.alarms.find(call.account_id, call.region, name)
        if known is not None and (known.rule is None) != (rule is None):
            raise invalid(f"An alarm of another type exists with the name {name}")
        alarm = self.alarms.put(call.account_id, call.region, params, rule)
        # Tags are taken when an alarm is made; later they are changed with TagResource.
        if params.get("Tags") and known is None:
            state = get_backend("cloudwatch")[call.account_id][call.region]
            state.tagger.tag_resource(alarm.alarm_arn, list(params["Tags"]))

    def DeleteAlarms(self, call: Call, forward: Forward) -> None:
        """Remove alarms; names of none are ignored."""
        params = checked(call)
        known = self.alarms.of(call.account_id, call.region)
        names = params["AlarmNames"]
        composites = [name for name in names if name in known and known[name].rule is not None]
        if len(composites) > 1:
            raise invalid("Only one composite alarm can be deleted in one operation.")
        parents = sorted(
            each.name
            for each in known.values()
            if each.rule is not None
            and each.name not in names
            and set(composites) & set(each.rule.children)
        )
        if parents:
            raise invalid(
                f"Cannot delete {composites[0]} as there are composite alarm(s) depending on it: "
                f"{', '.join(parents)}"
            )
        for name in names:
            self.alarms.delete(call.account_id, call.region, name)

    # -- showing -----------------------------------------------------------------------------

    def DescribeAlarms(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of alarms, of one or both kinds."""
        params = checked(call)
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix")
        if names and prefix:
            raise invalid("AlarmNamePrefix and AlarmNames are mutually exclusive.")
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
        params = checked(call)
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
        params = checked(call)
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
        params = checked(call)
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
        for name in checked(call)["AlarmNames"]:
            alarm = self.alarms.find(call.account_id, call.region, name)
            if alarm is not None:
                alarm.config["ActionsEnabled"] = enabled
                alarm.updated = self.aws.clock.now()


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

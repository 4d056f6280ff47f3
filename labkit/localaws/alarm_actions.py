"""What an alarm does when its state changes: notifications, functions, and an event.

Amazon CloudWatch User Guide, "Notifying users on alarm changes", "Invoke a Lambda function from an
alarm" and "Alarm events and EventBridge".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.alarm_evaluation import ALARM, OK, timestamp
from labkit.localaws.call import AwsError, Principal

if TYPE_CHECKING:
    from labkit.localaws.alarms import Alarm
    from labkit.localaws.server import LocalAws

SERVICE = "cloudwatch.amazonaws.com"
LAMBDA_SERVICE = "lambda.alarms.cloudwatch.amazonaws.com"
_ACTION_LISTS = {
    OK: "OKActions",
    ALARM: "AlarmActions",
    "INSUFFICIENT_DATA": "InsufficientDataActions",
}
_REGION_NAMES = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)",
    "eu-west-1": "EU (Ireland)",
    "eu-west-2": "EU (London)",
    "eu-west-3": "EU (Paris)",
    "eu-central-1": "EU (Frankfurt)",
    "eu-north-1": "EU (Stockholm)",
    "ap-south-1": "Asia Pacific (Mumbai)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-northeast-2": "Asia Pacific (Seoul)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
    "ap-southeast-2": "Asia Pacific (Sydney)",
    "ca-central-1": "Canada (Central)",
    "sa-east-1": "South America (Sao Paulo)",
}
_STATISTICS = {"SampleCount": "SAMPLE_COUNT"}

Record = Callable[["Alarm", str, str, Mapping[str, Any]], None]


class AlarmActions:
    """Carries out what alarms ask for; what fails is in the alarm's history."""

    def __init__(self, aws: LocalAws, record: Record) -> None:
        self._aws = aws
        self._record = record

    def changed(self, alarm: Alarm, before: Mapping[str, Any], suppressed: bool) -> None:
        """Act on a change of state, in the background."""
        alarm.suppressed_by = "Alarm" if suppressed else None
        event = self._event(alarm, before)
        self._aws.layer("events").receive(event)  # type: ignore[attr-defined]
        if not alarm.actions_enabled or suppressed:
            return
        for action in alarm.config.get(_ACTION_LISTS[alarm.state]) or ():
            self._aws.activity.submit(
                self._act, alarm, action, _Snapshot(alarm, before), name="alarm action"
            )

    def _act(self, alarm: Alarm, action: str, change: _Snapshot) -> None:
        service = action.split(":")[2]
        problem = None
        try:
            if service == "sns":
                self._notify(action, change)
            elif service == "lambda":
                self._invoke(action, change)
            else:
                # Scaling policies, instances and incidents have nothing to act on here.
                problem = f"{service} actions are not part of this local AWS"
        except (ClientError, AwsError) as failure:
            problem = _message(failure)
        done = problem is None
        summary = (
            f"Successfully executed action {action}"
            if done
            else f'Failed to execute action {action}. Received error: "{problem}"'
        )
        data: dict[str, Any] = {
            "actionState": "Succeeded" if done else "Failed",
            "notificationResource": action,
            "stateUpdateTimestamp": int(change.when * 1000),
        }
        if problem is not None:
            data["error"] = problem
        self._record(alarm, "Action", summary, data)

    def _notify(self, topic_arn: str, change: _Snapshot) -> None:
        region = topic_arn.split(":")[3]
        principal = Principal.service(
            SERVICE, source_arn=change.arn, source_account=change.account_id
        )
        message = change.notification()
        where = _REGION_NAMES.get(change.region, change.region)
        self._aws.client("sns", principal=principal, region=region).publish(
            TopicArn=topic_arn,
            Subject=f'{change.state}: "{change.name}" in {where}'[:99],
            Message=json.dumps(message, separators=(",", ":")),
        )

    def _invoke(self, function_arn: str, change: _Snapshot) -> None:
        principal = Principal.service(
            LAMBDA_SERVICE, source_arn=change.arn, source_account=change.account_id
        )
        payload = {
            "source": "aws.cloudwatch",
            "alarmArn": change.arn,
            "accountId": change.account_id,
            "time": timestamp(change.when),
            "region": change.region,
            "alarmData": change.detail(),
        }
        region = function_arn.split(":")[3]
        self._aws.client("lambda", principal=principal, region=region).invoke(
            FunctionName=function_arn, InvocationType="Event", Payload=json.dumps(payload).encode()
        )

    def _event(self, alarm: Alarm, before: Mapping[str, Any]) -> dict[str, Any]:
        change = _Snapshot(alarm, before)
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch",
            "account": alarm.account_id,
            "time": timestamp(change.when)[:19] + "Z",
            "region": alarm.region,
            "resources": [alarm.alarm_arn],
            "detail": change.detail(),
        }


class _Snapshot:
    """An alarm as it was when its state changed: it may change again before anyone is told."""

    def __init__(self, alarm: Alarm, before: Mapping[str, Any]) -> None:
        self.name, self.arn = alarm.name, alarm.alarm_arn
        self.account_id, self.region = alarm.account_id, alarm.region
        self.config = dict(alarm.config)
        self.updated = alarm.updated
        self.state, self.reason, self.reason_data = alarm.state, alarm.reason, alarm.reason_data
        self.when = alarm.state_updated
        self.before = before
        self.suppressed_by = alarm.suppressed_by
        self.composite = alarm.rule is not None

    def detail(self) -> dict[str, Any]:
        """The change as events and functions get it."""
        previous = {name: value for name, value in self.before.items() if value is not None}
        state: dict[str, Any] = {"value": self.state, "reason": self.reason}
        if self.reason_data:
            state["reasonData"] = self.reason_data
        state["timestamp"] = timestamp(self.when)
        if self.suppressed_by:
            state["actionsSuppressedBy"] = self.suppressed_by
            state["actionsSuppressedReason"] = f"Actions suppressed by {self.suppressed_by}"
        configuration: dict[str, Any] = {}
        if self.config.get("AlarmDescription"):
            configuration["description"] = self.config["AlarmDescription"]
        if self.composite:
            configuration["alarmRule"] = self.config["AlarmRule"]
            for name in (
                "ActionsSuppressor",
                "ActionsSuppressorWaitPeriod",
                "ActionsSuppressorExtensionPeriod",
            ):
                if name in self.config:
                    configuration[name[0].lower() + name[1:]] = self.config[name]
        else:
            configuration["metrics"] = _metrics(self.config)
        return {
            "alarmName": self.name,
            "state": state,
            "previousState": previous,
            "configuration": configuration,
        }

    def notification(self) -> dict[str, Any]:
        """The change as a topic's subscribers get it."""
        config = self.config
        message: dict[str, Any] = {
            "AlarmName": self.name,
            "AlarmDescription": config.get("AlarmDescription"),
            "AWSAccountId": self.account_id,
        }
        if not self.composite:
            message["AlarmConfigurationUpdatedTimestamp"] = timestamp(self.updated)
        message |= {
            "NewStateValue": self.state,
            "NewStateReason": self.reason,
            "StateChangeTime": timestamp(self.when),
            "Region": _REGION_NAMES.get(self.region, self.region),
            "AlarmArn": self.arn,
            "OldStateValue": self.before["value"],
            "OKActions": config.get("OKActions") or [],
            "AlarmActions": config.get("AlarmActions") or [],
            "InsufficientDataActions": config.get("InsufficientDataActions") or [],
        }
        if self.composite:
            data = json.loads(self.reason_data or "{}")
            message["AlarmRule"] = config["AlarmRule"]
            message["TriggeringChildren"] = [
                {
                    "Arn": each["arn"],
                    "State": {
                        "Value": each["state"]["value"],
                        "Timestamp": each["state"]["timestamp"],
                    },
                }
                for each in data.get("triggeringAlarms", ())
            ]
            return message
        message["Trigger"] = _trigger(config)
        message["ActionExecutedAfterMuteWindow"] = False
        return message


def _trigger(config: Mapping[str, Any]) -> dict[str, Any]:
    trigger: dict[str, Any] = {}
    if config.get("MetricName"):
        trigger["MetricName"] = config["MetricName"]
        trigger["Namespace"] = config["Namespace"]
        if config.get("ExtendedStatistic"):
            trigger["StatisticType"] = "ExtendedStatistic"
            trigger["ExtendedStatistic"] = config["ExtendedStatistic"]
        else:
            name = config["Statistic"]
            trigger["StatisticType"] = "Statistic"
            trigger["Statistic"] = _STATISTICS.get(name, name.upper())
        trigger["Unit"] = config.get("Unit")
        trigger["Dimensions"] = [
            {"value": each["Value"], "name": each["Name"]}
            for each in config.get("Dimensions") or ()
        ]
        trigger["Period"] = config["Period"]
    trigger["EvaluationPeriods"] = config["EvaluationPeriods"]
    if config.get("DatapointsToAlarm"):
        trigger["DatapointsToAlarm"] = config["DatapointsToAlarm"]
    trigger["ComparisonOperator"] = config["ComparisonOperator"]
    if config.get("ThresholdMetricId"):
        trigger["ThresholdMetricId"] = config["ThresholdMetricId"]
    else:
        trigger["Threshold"] = config.get("Threshold")
    trigger["TreatMissingData"] = config.get("TreatMissingData") or ""
    trigger["EvaluateLowSampleCountPercentile"] = (
        config.get("EvaluateLowSampleCountPercentile") or ""
    )
    if config.get("Metrics"):
        trigger["Metrics"] = [_trigger_metric(query) for query in config["Metrics"]]
    return trigger


def _trigger_metric(query: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if query.get("Expression"):
        entry["Expression"] = query["Expression"]
    entry["Id"] = query["Id"]
    if query.get("Label"):
        entry["Label"] = query["Label"]
    if "MetricStat" in query:
        stat = query["MetricStat"]
        metric = stat["Metric"]
        entry["MetricStat"] = {
            "Metric": {
                "Dimensions": [
                    {"value": each["Value"], "name": each["Name"]}
                    for each in metric.get("Dimensions") or ()
                ],
                "MetricName": metric.get("MetricName"),
                "Namespace": metric.get("Namespace"),
            },
            "Period": stat["Period"],
            "Stat": stat["Stat"],
        }
        if stat.get("Unit"):
            entry["MetricStat"]["Unit"] = stat["Unit"]
    entry["ReturnData"] = query.get("ReturnData", True)
    return entry


def _metrics(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an alarm watches, as events show it: always as queries."""
    if not config.get("Metrics"):
        stat: dict[str, Any] = {
            "metric": _metric(config),
            "period": config.get("Period"),
            "stat": config.get("Statistic") or config.get("ExtendedStatistic"),
        }
        if config.get("Unit"):
            stat["unit"] = config["Unit"]
        # The same alarm keeps the same id.
        seed = f"{config.get('AlarmName')}/{config.get('Namespace')}/{config.get('MetricName')}"
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, seed))
        return [{"id": identifier, "metricStat": stat, "returnData": True}]
    metrics = []
    for query in config["Metrics"]:
        entry: dict[str, Any] = {"id": query["Id"]}
        if query.get("Expression"):
            entry["expression"] = query["Expression"]
        if query.get("Label"):
            entry["label"] = query["Label"]
        if "MetricStat" in query:
            stat = query["MetricStat"]
            entry["metricStat"] = {
                "metric": _metric(stat["Metric"]),
                "period": stat["Period"],
                "stat": stat["Stat"],
            }
        entry["returnData"] = query.get("ReturnData", True)
        metrics.append(entry)
    return metrics


def _metric(description: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "namespace": description.get("Namespace"),
        "name": description.get("MetricName"),
        "dimensions": {each["Name"]: each["Value"] for each in description.get("Dimensions") or ()},
    }


def _message(problem: ClientError | AwsError) -> str:
    if isinstance(problem, AwsError):
        return problem.message
    return problem.response.get("Error", {}).get("Message", "")

"""Amazon CloudWatch, CloudWatch Logs and Amazon EventBridge: operations to actions.

Follows the CloudWatch Logs User Guide, "CloudWatch Logs resources and operations": except for
tagging, a log group is asked about as ``log-group:NAME:log-stream:``, which is why policies name
it with a trailing ``:*``. The others follow the Service Authorization Reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.iam import catalog
from labkit.localaws.iam.asks import generic
from labkit.localaws.iam.asks.ask import Ask, Facts, arn, request_tags, strings, tag_keys

_GROUPS = (
    "logGroupName", "logGroupNames", "logGroupIdentifier", "logGroupIdentifiers", "logGroupArn",
    "resourceIdentifier", "logGroupArnList", "logGroupNamePrefix",
)  # fmt: skip


def read_logs(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a CloudWatch Logs call asks for."""
    operation, params = call.operation, call.params
    context = request_tags(params.get("tags")) | tag_keys(
        params.get("tagKeys") or params.get("tags")
    )
    action = f"logs:{operation}"
    if operation in ("TagResource", "UntagResource", "ListTagsForResource"):
        yield Ask(action, str(params.get("resourceArn", "*")).removesuffix(":*"), context)
        return
    known = catalog.action("logs", operation)
    kinds = {kind.name for kind in known.resources} if known else set()
    groups = [text for name in _GROUPS for text in strings(params.get(name))]
    if operation == "DescribeLogGroups":
        yield Ask(action, f"{log_group_arn(call, '')}:log-stream:", context)
        return
    if not kinds & {"log-group", "log-stream"} or not groups:
        for resource in generic.resources(call, "logs", known):
            yield Ask(action, resource, context)
        return
    stream = params.get("logStreamName", "")
    for group in groups:
        yield Ask(action, f"{log_group_arn(call, group)}:log-stream:{stream}", context)


def log_group_arn(call: Call, group: str) -> str:
    """The ARN of a log group given by name or ARN, without a trailing ``:*``."""
    if group.startswith("arn:"):
        return group.removesuffix(":*")
    return arn(call, "logs", f"log-group:{group}")


def read_cloudwatch(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a CloudWatch call asks for."""
    operation, params = call.operation, call.params
    action = f"cloudwatch:{operation}"
    context: dict[str, Any] = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    if params.get("Namespace") and operation == "PutMetricData":
        context["cloudwatch:namespace"] = str(params["Namespace"])
    if operation == "PutMetricAlarm":
        actions = [*strings(params.get("AlarmActions")), *strings(params.get("OKActions"))]
        if actions:
            context["cloudwatch:alarmactions"] = tuple(actions)
    dashboards = strings(params.get("DashboardName")) + strings(params.get("DashboardNames"))
    alarms = strings(params.get("AlarmName")) + strings(params.get("AlarmNames"))
    if params.get("ResourceARN"):
        yield Ask(action, str(params["ResourceARN"]), context)
    elif dashboards:
        for name in dashboards:
            yield Ask(action, arn(call, "cloudwatch", f"dashboard/{name}", region=False), context)
    elif alarms and operation not in ("DescribeAlarms", "DescribeAlarmHistory"):
        for name in alarms:
            yield Ask(action, arn(call, "cloudwatch", f"alarm:{name}"), context)
    elif "Alarm" in operation:
        yield Ask(action, arn(call, "cloudwatch", "alarm:*"), context)
    else:
        for resource in generic.resources(
            call, "cloudwatch", catalog.action("cloudwatch", operation)
        ):
            yield Ask(action, resource, context)


def read_events(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an EventBridge call asks for."""
    operation, params = call.operation, call.params
    action = f"events:{operation}"
    context: dict[str, Any] = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    context["events:eventbusinvocation"] = "false"
    if operation == "PutEvents":
        for entry in params.get("Entries") or ():
            bus = _bus_arn(call, entry.get("EventBusName"))
            keys = {
                "events:source": entry.get("Source"),
                "events:detail-type": entry.get("DetailType"),
            }
            set_keys = {key: str(value) for key, value in keys.items() if value}
            yield Ask(action, bus, context | set_keys)
        return
    if operation in ("PutPermission", "RemovePermission", "DescribeEventBus"):
        name = params.get("EventBusName") or params.get("Name")
        yield Ask(action, _bus_arn(call, name), context)
        return
    rule = params.get("Rule") or (params.get("Name") if operation.endswith("Rule") else None)
    if rule or operation in ("ListRules", "ListRuleNamesByTarget"):
        bus = str(params.get("EventBusName") or "default").rsplit("/", 1)[-1]
        place = "" if bus == "default" else f"{bus}/"
        targets = tuple(str(target.get("Arn")) for target in params.get("Targets") or ())
        if targets:
            context["events:targetarn"] = targets if len(targets) > 1 else targets[0]
        yield Ask(action, arn(call, "events", f"rule/{place}{rule or '*'}"), context)
        return
    for resource in generic.resources(call, "events", catalog.action("events", operation)):
        yield Ask(action, resource, context)


def _bus_arn(call: Call, bus: Any) -> str:
    name = str(bus or "default")
    return name if name.startswith("arn:") else arn(call, "events", f"event-bus/{name}")

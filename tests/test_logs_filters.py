"""Metric filters, subscription filters and embedded metrics, from log event to effect."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from test_logs_events import Group
from wiring_support import Function, Wiring, refusal, wiring  # noqa: F401


@pytest.fixture
def group(wiring) -> Group:  # noqa: F811
    return Group(wiring)


def metric_filter(group: Group, pattern: str, namespace: str, **more) -> None:
    transformation = {
        "metricName": "m",
        "metricNamespace": namespace,
        "metricValue": "1",
        **more,
    }
    group.client.put_metric_filter(
        logGroupName=group.name,
        filterName="f",
        filterPattern=pattern,
        metricTransformations=[transformation],
    )


def statistics(lab: Wiring, namespace: str, name: str = "m", **dimensions: str) -> dict | None:
    now = lab.now()
    points = lab.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - 3600,
        EndTime=now + 120,
        Period=7200,
        Statistics=["Sum", "SampleCount", "Maximum"],
    )["Datapoints"]
    return points[0] if points else None


# -- metric filters --------------------------------------------------------------------------


def test_a_metric_filter_counts_what_comes_after_it(group):
    namespace = group.wiring.name("App")
    group.put("ERROR before")
    metric_filter(group, "ERROR", namespace)
    group.put("ERROR one", "fine", "ERROR two")
    assert statistics(group.wiring, namespace)["Sum"] == 2


def test_a_metric_takes_its_value_and_dimensions_from_the_event(group):
    namespace = group.wiring.name("App")
    more = {"metricValue": "$.ms", "unit": "Milliseconds", "dimensions": {"Level": "$.level"}}
    metric_filter(group, "{ $.ms = * }", namespace, **more)
    group.put(*(json.dumps({"level": "INFO", "ms": ms}) for ms in (10, 30)), '{"ms": "none"}')
    point = statistics(group.wiring, namespace, Level="INFO")
    assert (point["Sum"], point["Maximum"], point["SampleCount"]) == (40, 30, 2)


def test_values_of_fields_separated_by_spaces(group):
    namespace = group.wiring.name("App")
    metric_filter(group, "[ip, status=4*, bytes]", namespace, metricValue="$bytes")
    group.put("1.1.1.1 404 120", "1.1.1.1 200 5", "1.1.1.1 403 30")
    assert statistics(group.wiring, namespace)["Sum"] == 150


def test_a_default_value_stands_for_minutes_without_a_match(group):
    namespace = group.wiring.name("App")
    metric_filter(group, "ERROR", namespace, defaultValue=0.0)
    group.put("fine", "fine")
    assert statistics(group.wiring, namespace)["SampleCount"] == 1
    group.put("ERROR")
    point = statistics(group.wiring, namespace)
    assert (point["Sum"], point["SampleCount"]) == (1, 1)


def test_metric_filters_are_shown_tested_and_removed(group):
    metric_filter(group, "ERROR", "App")
    (shown,) = group.client.describe_metric_filters(logGroupName=group.name)["metricFilters"]
    assert shown["filterPattern"] == "ERROR" and shown["applyOnTransformedLogs"] is False
    (described,) = group.client.describe_log_groups(logGroupNamePrefix=group.name)["logGroups"]
    assert described["metricFilterCount"] == 1
    group.client.delete_metric_filter(logGroupName=group.name, filterName="f")
    assert group.client.describe_metric_filters(logGroupName=group.name)["metricFilters"] == []
    error = refusal(group.client.delete_metric_filter, logGroupName=group.name, filterName="f")
    assert error["Code"] == "ResourceNotFoundException"
    tested = group.client.test_metric_filter(
        filterPattern="[ip, ..., status=4*]", logEventMessages=["1.2.3.4 x 404", "1.1.1.1 y 200"]
    )
    (match,) = tested["matches"]
    assert match["eventNumber"] == 1
    assert match["extractedValues"] == {"$ip": "1.2.3.4", "$2": "x", "$status": "404"}


@pytest.mark.parametrize(
    "pattern, more, message",
    [
        ("a:b", {}, "Invalid character(s) in term ':'"),
        (
            "{ $.a = * }",
            {"dimensions": {"A": "$.a"}, "defaultValue": 0.0},
            "Invalid metric transformation: dimensions and default value are mutually exclusive "
            "properties",
        ),
        (
            "ERROR",
            {"dimensions": {"A": "$.a"}},
            "The specified filter pattern does not support dimensions",
        ),
    ],
)
def test_metric_filters_that_are_refused(group, pattern, more, message):
    with pytest.raises(group.client.exceptions.InvalidParameterException) as caught:
        metric_filter(group, pattern, "App", **more)
    assert caught.value.response["Error"]["Message"] == message


# -- embedded metrics ------------------------------------------------------------------------


def embedded(group: Group, namespace: str, **more) -> str:
    metrics = [{"Name": "Orders", "Unit": "Count"}]
    directive = {"Namespace": namespace, "Dimensions": [["Service"], []], "Metrics": metrics}
    about = {"Timestamp": group.now(), "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": about, "Service": "shop", "Orders": [1, 2, 3], **more})


def test_embedded_metrics_become_metrics(group):
    namespace = group.wiring.name("Embedded")
    group.put(embedded(group, namespace), "something else")
    point = statistics(group.wiring, namespace, "Orders", Service="shop")
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (6, 3, "Count")
    assert statistics(group.wiring, namespace, "Orders")["Sum"] == 6


@pytest.mark.parametrize(
    "broken", [{"Service": 5}, {"Orders": "many"}, {"_aws": {"Timestamp": "now"}}, {"_aws": []}]
)
def test_what_breaks_the_format_stays_a_log_event(group, broken):
    namespace = group.wiring.name("Embedded")
    group.put(embedded(group, namespace, **broken))
    assert statistics(group.wiring, namespace, "Orders", Service="shop") is None
    assert len(group.found()) == 1


# -- subscriptions ---------------------------------------------------------------------------


def unpacked(data: str | bytes) -> dict:
    raw = base64.b64decode(data) if isinstance(data, str) else data
    return json.loads(gzip.decompress(raw))


def subscribe(group: Group, destination: str, name: str = "s", pattern: str = "", **more) -> None:
    group.client.put_subscription_filter(
        logGroupName=group.name,
        filterName=name,
        filterPattern=pattern,
        destinationArn=destination,
        **more,
    )


def test_a_function_gets_the_matching_events(group):
    function = Function(group.wiring)
    source = group.wiring.arn("logs", f"log-group:{group.name}:*")
    message = (
        "Could not execute the lambda function. Make sure you have given CloudWatch Logs "
        "permission to execute your function."
    )
    with pytest.raises(group.client.exceptions.InvalidParameterException, match=message[:40]):
        subscribe(group, function.arn)
    function.allow("logs.amazonaws.com", source)
    subscribe(group, function.arn, pattern="ERROR")
    group.put("ERROR one", "fine", "ERROR two")
    (event,) = function.events()
    document = unpacked(event["awslogs"]["data"])
    assert document["messageType"] == "DATA_MESSAGE"
    assert document["owner"] == group.wiring.account
    assert (document["logGroup"], document["logStream"]) == (group.name, "stream")
    assert document["subscriptionFilters"] == ["s"]
    assert [each["message"] for each in document["logEvents"]] == ["ERROR one", "ERROR two"]


def test_a_stream_gets_a_test_message_and_then_the_events(group):
    lab = group.wiring
    kinesis, name = lab.client("kinesis"), lab.name("stream")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    arn = lab.arn("kinesis", f"stream/{name}")
    put = group.client.put_subscription_filter
    ask = {"logGroupName": group.name, "filterName": "s", "filterPattern": ""}
    error = refusal(put, destinationArn=arn, **ask)
    assert error["Message"] == ("destinationArn for vendor kinesis cannot be used without roleArn")
    powerless = lab.role("logs.amazonaws.com")
    error = refusal(put, destinationArn=arn, roleArn=powerless, **ask)
    assert error["Message"].startswith("Could not deliver test message to specified Kinesis stream")
    stranger = lab.role("lambda.amazonaws.com", "kinesis:PutRecord")
    error = refusal(put, destinationArn=arn, roleArn=stranger, **ask)
    assert error["Code"] == "InvalidParameterException"
    subscribe(group, arn, roleArn=lab.role("logs.amazonaws.com", "kinesis:PutRecord"))
    group.put("one", "two")
    lab.settle()
    iterator = kinesis.get_shard_iterator(
        StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    test, data = (
        unpacked(record["Data"])
        for record in kinesis.get_records(ShardIterator=iterator)["Records"]
    )
    assert test["messageType"] == "CONTROL_MESSAGE"
    assert [each["message"] for each in data["logEvents"]] == ["one", "two"]


def test_a_group_has_two_subscriptions_at_most(group):
    function = Function(group.wiring)
    function.allow("logs.amazonaws.com", group.wiring.arn("logs", f"log-group:{group.name}:*"))
    for name in ("a", "b", "a"):
        subscribe(group, function.arn, name)
    with pytest.raises(group.client.exceptions.LimitExceededException):
        subscribe(group, function.arn, "c")
    shown = group.client.describe_subscription_filters(logGroupName=group.name)
    assert [each["filterName"] for each in shown["subscriptionFilters"]] == ["a", "b"]
    group.client.delete_subscription_filter(logGroupName=group.name, filterName="a")
    group.client.delete_subscription_filter(logGroupName=group.name, filterName="b")
    group.put("nobody listens")
    assert function.events() == []
    error = refusal(
        group.client.delete_subscription_filter, logGroupName=group.name, filterName="a"
    )
    assert error["Message"] == "The specified subscription filter does not exist."


def test_functions_of_other_accounts_need_a_destination(group):
    error = refusal(
        group.client.put_subscription_filter,
        logGroupName=group.name,
        filterName="s",
        filterPattern="",
        destinationArn="arn:aws:lambda:us-east-1:111122223333:function:theirs",
    )
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"].startswith("Cross-account lambda invocation passing is not allowed.")

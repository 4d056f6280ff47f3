"""What the services measure by themselves, seen through CloudWatch."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from wiring_support import Function, Wiring, wiring  # noqa: F401


def values(lab: Wiring, namespace: str, statistic: str = "Sum", **dimensions: str) -> dict:
    """Every metric of a namespace with these dimensions: its name to its statistic."""
    cloudwatch, now = lab.client("cloudwatch"), lab.now()
    wanted = [{"Name": key, "Value": value} for key, value in sorted(dimensions.items())]
    found = {}
    for metric in cloudwatch.list_metrics(Namespace=namespace, Dimensions=wanted)["Metrics"]:
        if metric["Dimensions"] == wanted:
            points = cloudwatch.get_metric_statistics(
                Namespace=namespace,
                MetricName=metric["MetricName"],
                Dimensions=wanted,
                StartTime=now - 3600,
                EndTime=now + 60,
                Period=7200,
                Statistics=[statistic],
            )["Datapoints"]
            found[metric["MetricName"]] = sum(point[statistic] for point in points)
    return found


def test_kinesis(wiring):  # noqa: F811
    kinesis, name = wiring.client("kinesis"), wiring.name("stream")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    for _ in range(3):
        kinesis.put_record(StreamName=name, Data=b"x" * 100, PartitionKey="k")
    records = [{"Data": b"12345", "PartitionKey": "k"}] * 2
    kinesis.put_records(StreamName=name, Records=records)
    iterator = kinesis.get_shard_iterator(
        StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    kinesis.get_records(ShardIterator=iterator)
    found = values(wiring, "AWS/Kinesis", StreamName=name)
    assert found["IncomingRecords"] == 5 and found["IncomingBytes"] == 310
    assert found["PutRecord.Success"] == 3 and found["PutRecord.Bytes"] == 300
    assert found["PutRecords.Success"] == 1 and found["PutRecords.SuccessfulRecords"] == 2
    assert found["PutRecords.TotalRecords"] == 2 and found["PutRecords.FailedRecords"] == 0
    assert found["GetRecords.Records"] == 5 and found["GetRecords.Bytes"] == 310
    assert found["WriteProvisionedThroughputExceeded"] == 0


def test_sqs(wiring):  # noqa: F811
    sqs, queue = wiring.client("sqs"), wiring.queue("metered")
    name = queue.arn.rpartition(":")[2]
    for number in range(4):
        sqs.send_message(QueueUrl=queue.url, MessageBody="x" * (10 + number))
    entries = [{"Id": str(number), "MessageBody": "y"} for number in range(2)]
    sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    taken = sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=2)["Messages"]
    sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=taken[0]["ReceiptHandle"])
    sums = values(wiring, "AWS/SQS", QueueName=name)
    assert sums["NumberOfMessagesSent"] == 6 and sums["SentMessageSize"] == 48
    assert sums["NumberOfMessagesReceived"] == 2 and sums["NumberOfMessagesDeleted"] == 1
    assert "NumberOfEmptyReceives" not in sums
    gauges = values(wiring, "AWS/SQS", "Maximum", QueueName=name)
    assert gauges["ApproximateNumberOfMessagesVisible"] == 4
    assert gauges["ApproximateNumberOfMessagesNotVisible"] == 1


def test_gauges_have_a_value_for_every_minute(wiring):  # noqa: F811
    queue = wiring.queue("waiting")
    wiring.advance(seconds=60 - wiring.now() % 60 + 1)
    wiring.client("sqs").send_message(QueueUrl=queue.url, MessageBody="x")
    wiring.advance(minutes=5)
    now = wiring.now()
    points = wiring.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": queue.arn.rpartition(":")[2]}],
        StartTime=now - 310,
        EndTime=now + 60,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    ages = [point["Maximum"] for point in sorted(points, key=lambda point: point["Timestamp"])]
    assert len(ages) == 6 and ages == sorted(ages) and 290 <= ages[-1] <= 310


def test_dynamodb(wiring):  # noqa: F811
    dynamodb, name = wiring.client("dynamodb"), wiring.name("table")
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name)
    item = {"k": {"S": "1"}}
    dynamodb.put_item(TableName=name, Item=item)
    dynamodb.get_item(TableName=name, Key=item, ConsistentRead=True)
    with pytest.raises(ClientError):
        dynamodb.put_item(TableName=name, Item=item, ConditionExpression="attribute_not_exists(k)")
    found = values(wiring, "AWS/DynamoDB", TableName=name)
    assert found["ConditionalCheckFailedRequests"] == 1
    assert found["ConsumedWriteCapacityUnits"] >= 1
    assert found["ConsumedReadCapacityUnits"] == 1
    by_operation = values(
        wiring, "AWS/DynamoDB", "SampleCount", TableName=name, Operation="PutItem"
    )
    assert by_operation["SuccessfulRequestLatency"] == 1


def test_sns(wiring):  # noqa: F811
    sns, name = wiring.client("sns"), wiring.name("topic")
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.publish(TopicArn=topic, Message="hello")
    found = values(wiring, "AWS/SNS", TopicName=name)
    assert found["NumberOfMessagesPublished"] == 1 and found["PublishSize"] == 5


def test_lambda_and_its_logs(wiring):  # noqa: F811
    function = Function(wiring)
    for payload in (b"{}", b"[1]"):
        function.client.invoke(FunctionName=function.name, Payload=payload)
    found = values(wiring, "AWS/Lambda", FunctionName=function.name)
    assert found["Invocations"] == 2 and found["Errors"] == 0 and found["Duration"] > 0
    same = values(wiring, "AWS/Lambda", FunctionName=function.name, Resource=function.name)
    assert same["Invocations"] == 2
    group = f"/aws/lambda/{function.name}"
    logs = values(wiring, "AWS/Logs", LogGroupName=group)
    lines = wiring.client("logs").filter_log_events(logGroupName=group)["events"]
    assert logs["IncomingLogEvents"] == len(lines) > 6


def test_a_function_logs_only_what_its_role_allows(wiring):  # noqa: F811
    function = Function(wiring)
    role = wiring.role("lambda.amazonaws.com", "logs:CreateLogGroup", "logs:CreateLogStream")
    function.client.update_function_configuration(FunctionName=function.name, Role=role)
    function.client.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    function.client.invoke(FunctionName=function.name, Payload=b"{}")
    wiring.settle()
    logs, group = wiring.client("logs"), f"/aws/lambda/{function.name}"
    assert len(logs.describe_log_streams(logGroupName=group)["logStreams"]) == 1
    assert logs.filter_log_events(logGroupName=group)["events"] == []


def test_functions_metrics_and_metric_filters_work_on_their_own_logs(wiring):  # noqa: F811
    function = Function(wiring)
    logs, group = wiring.client("logs"), f"/aws/lambda/{function.name}"
    logs.create_log_group(logGroupName=group)
    namespace = wiring.name("App")
    logs.put_metric_filter(
        logGroupName=group,
        filterName="f",
        filterPattern="EVENT",
        metricTransformations=[
            {"metricName": "events", "metricNamespace": namespace, "metricValue": "1"}
        ],
    )
    function.client.invoke(FunctionName=function.name, Payload=json.dumps({"a": 1}).encode())
    assert wiring.metric(namespace, "events") == 1


def test_events(wiring):  # noqa: F811
    before = values(wiring, "AWS/Events").get("PutEventsEntriesCount", 0)
    entry = {"Source": "shop", "DetailType": "order", "Detail": "{}"}
    wiring.client("events").put_events(Entries=[entry, entry])
    assert values(wiring, "AWS/Events")["PutEventsEntriesCount"] == before + 2

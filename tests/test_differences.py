"""Each line of the table of known differences, shown true by running it.

When the local AWS comes to behave as AWS does, its line fails here and leaves the table.
"""

from __future__ import annotations

import io
import json
import platform
import time
import uuid
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[1]
TABLE = json.loads((ROOT / "data" / "differences.json").read_text(encoding="utf-8"))
PROBES = {}

HANDLER = """
import os, platform, time

def handler(event, context):
    if event.get("spin"):
        start = time.perf_counter()
        sum(range(2_000_000))
        return time.perf_counter() - start
    return {
        "python": platform.python_version(),
        "runtime": os.environ["AWS_EXECUTION_ENV"],
        "endpoint": os.environ.get("AWS_ENDPOINT_URL"),
        "now": time.time(),
    }
"""


def probe(function):
    PROBES[function.__name__.replace("_", "-")] = function
    return function


def test_every_line_has_a_probe_and_every_probe_a_line():
    assert set(PROBES) == {line["id"] for line in TABLE}
    for line in TABLE:
        assert set(line) == {"id", "service", "aws", "here", "why"}
        assert all(line.values())


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line["id"])
def test_the_difference_is_there(line, lab):
    PROBES[line["id"]](lab)


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def role(lab):
    name = fresh("differs")
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
    made = lab.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    return made["Role"]["Arn"]


def function(lab, **settings):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("main.py", HANDLER)
    name = fresh("differs")
    lab.client("lambda").create_function(
        **{
            "FunctionName": name,
            "Runtime": "python3.9",
            "Role": role(lab),
            "Handler": "main.handler",
            "Code": {"ZipFile": archive.getvalue()},
            "Timeout": 30,
            **settings,
        }
    )
    return name


def invoke(lab, name, event=None):
    answer = lab.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}))
    return json.loads(answer["Payload"].read())


@probe
def learners_python(lab):
    seen = invoke(lab, function(lab, Runtime="python3.9"))
    assert seen["python"] == platform.python_version()
    assert seen["runtime"] == "AWS_Lambda_python3.9"


@probe
def endpoint_url(lab):
    assert invoke(lab, function(lab))["endpoint"] == lab.endpoint


@probe
def function_time(lab):
    name = function(lab)
    lab.clock.advance(hours=3)
    seen = invoke(lab, name)["now"]
    assert abs(seen - time.time()) < 60
    assert lab.clock.now().timestamp() - seen > 3600


@probe
def cpu_by_memory(lab):
    small, large = (function(lab, MemorySize=memory) for memory in (128, 1769))
    best = [min(invoke(lab, name, {"spin": True}) for _ in range(5)) for name in (small, large)]
    # In AWS the small one has a fourteenth of the large one's processor time.
    assert best[0] < 5 * best[1]


@probe
def python_zip_only(lab):
    with pytest.raises(ClientError, match="Python"):
        function(lab, Runtime="nodejs22.x")


@probe
def environments_at_once(lab):
    from labkit.localaws import invocation

    assert invocation._FIRST_PARALLEL == 4
    assert invocation._FIRST_PARALLEL < 1000


@probe
def buffered_streaming(lab):
    answer = lab.client("lambda").invoke_with_response_stream(
        FunctionName=function(lab), Payload=b"{}"
    )
    events = list(answer["EventStream"])
    assert [next(iter(event)) for event in events] == ["PayloadChunk", "InvokeComplete"]


@probe
def at_once(lab):
    # A role and what it may do, used in the next call; in AWS this fails for some seconds.
    name = function(lab)
    invoke(lab, name)
    since = lab.clock.now().timestamp()
    found = lab.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        StartTime=since - 120,
        EndTime=since + 120,
        Period=60,
        Statistics=["Sum"],
    )
    assert found["Datapoints"][0]["Sum"] == 1


@probe
def no_tls(lab):
    assert lab.endpoint.startswith("http://127.0.0.1:")
    iam = lab.client("iam")
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "sqs:ListQueues",
            "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": "true"}},
        },
    }
    user = fresh("user")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(policy))
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    import boto3

    sqs = boto3.client(
        "sqs",
        endpoint_url=lab.endpoint,
        region_name=lab.region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
    )
    assert sqs.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


@probe
def mailbox(lab):
    sns = lab.client("sns")
    topic = sns.create_topic(Name=fresh("topic"))["TopicArn"]
    address = f"{fresh('me')}@example.com"
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
    lab.settle()
    assert len(lab.mailbox.mails(to=address)) == 1


@probe
def web_subscribers(lab):
    sns = lab.client("sns")
    topic = sns.create_topic(Name=fresh("topic"))["TopicArn"]
    answer = sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint="http://192.0.2.1/hook", ReturnSubscriptionArn=True
    )
    lab.settle()
    attributes = sns.get_subscription_attributes(SubscriptionArn=answer["SubscriptionArn"])
    assert attributes["Attributes"]["PendingConfirmation"] == "true"


@probe
def orderly_queues(lab):
    sqs = lab.client("sqs")
    url = sqs.create_queue(QueueName=fresh("queue"))["QueueUrl"]
    for number in range(30):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    seen = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        seen += [int(message["Body"]) for message in batch]
    assert seen == list(range(30))


@probe
def reading_streams(lab):
    kinesis = lab.client("kinesis")
    name = fresh("stream")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    iterator = kinesis.get_shard_iterator(
        StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    for _ in range(12):
        answer = kinesis.get_records(ShardIterator=iterator)
        assert answer["ResponseMetadata"]["RetryAttempts"] == 0
    kinesis.delete_stream(StreamName=name)


@probe
def fresh_indexes(lab):
    dynamodb = lab.client("dynamodb")
    name = fresh("table")
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "gk", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-gk",
                "KeySchema": [{"AttributeName": "gk", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name)
    for number in range(20):
        dynamodb.put_item(TableName=name, Item={"pk": {"S": str(number)}, "gk": {"S": "g"}})
        found = dynamodb.query(
            TableName=name,
            IndexName="by-gk",
            KeyConditionExpression="gk = :g",
            ExpressionAttributeValues={":g": {"S": "g"}},
        )
        assert found["Count"] == number + 1



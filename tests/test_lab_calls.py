"""Every AWS call the lab makes can be seen: what was asked, how it ended, and as a CLI command."""

from __future__ import annotations

import shlex
from decimal import Decimal

import pytest
from botocore.exceptions import ClientError

from labkit.awscli import command
from labkit.calls import Calls, redacted


@pytest.fixture
def client(lab):
    return lab.client("sqs")


def test_a_call_is_kept_with_parameters_status_and_time(lab, client):
    with lab.calls.watch() as seen:
        client.create_queue(QueueName="calls-test", Attributes={"DelaySeconds": "5"})
    client.delete_queue(QueueUrl=client.get_queue_url(QueueName="calls-test")["QueueUrl"])
    assert len(seen) == 1
    call = seen[0]
    assert (call.service, call.operation, call.status, call.error) == (
        "sqs",
        "CreateQueue",
        200,
        None,
    )
    assert call.parameters == {"QueueName": "calls-test", "Attributes": {"DelaySeconds": "5"}}
    assert 0 < call.milliseconds < 10_000
    assert call.cli == (
        'aws sqs create-queue --queue-name calls-test --attributes \'{"DelaySeconds": "5"}\''
    )


def test_an_error_is_kept_with_its_code(lab, client):
    with lab.calls.watch() as seen, pytest.raises(ClientError):
        client.get_queue_url(QueueName="no-such-queue")
    assert (seen[0].status, seen[0].error) == (400, "AWS.SimpleQueueService.NonExistentQueue")


def test_an_aws_that_does_not_answer_is_seen_too(lab):
    with lab.calls.watch() as seen, pytest.raises(Exception, match="Could not connect"):
        lab.client("sts", endpoint_url="http://127.0.0.1:9").get_caller_identity()
    assert (seen[0].operation, seen[0].status) == ("GetCallerIdentity", None)
    assert seen[0].error == "EndpointConnectionError"


def test_calls_of_resources_paginators_and_waiters_are_seen(lab):
    with lab.calls.watch() as seen:
        list(lab.resource("dynamodb").tables.all())
        list(lab.client("s3").get_paginator("list_buckets").paginate())
    assert [call.operation for call in seen] == ["ListTables", "ListBuckets"]


def test_a_mistake_that_never_left_this_machine_is_not_a_call(lab, client):
    with lab.calls.watch() as seen, pytest.raises(Exception, match="Missing required parameter"):
        client.create_queue()
    assert len(seen) == 0


def test_calls_show_as_a_table_and_as_commands(lab, client):
    with lab.calls.watch() as seen:
        client.list_queues(QueueNamePrefix="x")
    assert "sqs.ListQueues" in str(seen) and "QueueNamePrefix='x'" in str(seen)
    assert "aws sqs list-queues --queue-name-prefix x" in str(seen.cli)
    shown = seen._repr_html_()
    assert "<table>" in shown and "aws sqs list-queues" in shown


def test_what_a_parameter_holds_cannot_become_html(lab, client):
    with lab.calls.watch() as seen:
        client.list_queues(QueueNamePrefix="<script>")
    assert "<script>" not in seen._repr_html_()


def test_calls_can_be_chosen(lab, client):
    with lab.calls.watch() as seen:
        client.list_queues()
        lab.client("sts").get_caller_identity()
        client.list_queues()
    assert len(seen.of("sqs")) == 2 and len(seen.of("sqs", "ListQueues")) == 2
    assert [call.service for call in seen.last(2)] == ["sts", "sqs"]
    assert isinstance(seen[:1], Calls) and len(seen[:1]) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"SecretString": "s3cret"},
        {"SecretBinary": b"s3cret"},
        {"Password": "s3cret"},
        {"Plaintext": b"s3cret"},
        {"SSECustomerKey": "s3cret"},
        {"AuthParameters": {"USERNAME": "u", "PASSWORD": "s3cret"}},
        {"Name": "p", "Value": "s3cret", "Type": "SecureString"},
        {"Environment": {"Variables": {"DB_PASSWORD": "s3cret", "API_KEY": "s3cret"}}},
        {"Items": [{"SessionToken": "s3cret"}]},
    ],
)
def test_secrets_are_left_out(params):
    assert "s3cret" not in repr(redacted(params))
    assert "redacted" in repr(redacted(params))


@pytest.mark.parametrize(
    "params",
    [
        {"SecretId": "orders/db"},
        {"SecretArn": "arn:aws:..."},
        {"Value": "plain", "Type": "String"},
        {"Key": "orders/a.json"},
        {"Environment": {"Variables": {"TABLE_NAME": "OrdersTable"}}},
        {"PolicyDocument": "{}"},
    ],
)
def test_what_only_names_a_secret_is_kept(params):
    assert redacted(params) == params


def test_long_and_binary_bodies_are_kept_as_their_size():
    assert repr(redacted({"ZipFile": b"\x00\xff" * 10})) == "{'ZipFile': <20 bytes>}"
    assert repr(redacted({"Body": b"x" * 5000})) == "{'Body': <5,000 bytes>}"
    assert redacted({"Body": b"short"}) == {"Body": b"short"}


@pytest.mark.parametrize(
    ("service", "operation", "params", "expected"),
    [
        ("s3", "CreateBucket", {"Bucket": "b"}, "aws s3api create-bucket --bucket b"),
        (
            "s3",
            "PutObject",
            {"Bucket": "b", "Key": "orders/a b.json", "Body": b"{}"},
            "aws s3api put-object --bucket b --key 'orders/a b.json' --body 'a b.json'",
        ),
        (
            "s3",
            "GetObject",
            {"Bucket": "b", "Key": "orders/a.json"},
            "aws s3api get-object --bucket b --key orders/a.json a.json",
        ),
        (
            "lambda",
            "Invoke",
            {"FunctionName": "F", "Payload": b'{"a": 1}'},
            "aws lambda invoke --function-name F --payload '{\"a\": 1}' "
            "--cli-binary-format raw-in-base64-out response.json",
        ),
        (
            "lambda",
            "CreateFunction",
            {"FunctionName": "F", "Code": {"ZipFile": b"PK"}, "Publish": True},
            "aws lambda create-function --function-name F --zip-file fileb://function.zip --publish",
        ),
        (
            "kinesis",
            "PutRecord",
            {"StreamName": "S", "Data": b"x", "PartitionKey": "k"},
            "aws kinesis put-record --stream-name S --data x --partition-key k "
            "--cli-binary-format raw-in-base64-out",
        ),
        (
            "sqs",
            "ReceiveMessage",
            {"QueueUrl": "u", "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All", "B"]},
            "aws sqs receive-message --queue-url u --max-number-of-messages 10 "
            "--message-attribute-names All B",
        ),
        (
            "dynamodb",
            "GetItem",
            {"TableName": "T", "Key": {"OrderId": {"S": "it's"}}, "ConsistentRead": False},
            "aws dynamodb get-item --table-name T "
            '--key \'{"OrderId": {"S": "it\'"\'"\'s"}}\' --no-consistent-read',
        ),
        ("stepfunctions", "ListStateMachines", {}, "aws stepfunctions list-state-machines"),
    ],
)
def test_a_call_becomes_a_command(service, operation, params, expected):
    made = command(service, operation, params)
    assert made == expected
    assert shlex.split(made)[0] == "aws"


def test_numbers_of_every_kind_can_be_written():
    made = command("x", "Y", {"A": Decimal("1.50"), "B": {"c": Decimal("2")}})
    assert shlex.split(made) == ["aws", "x", "y", "--a", "1.50", "--b", '{"c": "2"}']

"""The order function in process: its code as deployed, moto behind it, and ways to break it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import logging
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote_plus

import boto3
from moto import mock_aws

import labkit

FOLDER = Path(labkit.__file__).parent / "functions" / "process_order"
MODULES = ("handler", "events", "orders", "table")
ACCOUNT = "123456789012"
BUCKET, TABLE, STREAM, QUEUE = (
    "lambda-kinesis-demo-test",
    "OrdersTable",
    "OrdersStream",
    "HighValueQueue",
)
TOPIC_ARN = f"arn:aws:sns:us-east-1:{ACCOUNT}:HighValueOrderTopic"
ENVIRONMENT = {
    "TABLE_NAME": TABLE,
    "STREAM_NAME": STREAM,
    "QUEUE_URL": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{QUEUE}",
    "TOPIC_ARN": TOPIC_ARN,
    "HIGH_VALUE_THRESHOLD": "300",
}
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def environment(values: dict[str, str], without: tuple[str, ...] = ()):
    """The process's environment with these variables and without any other AWS setting."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_") or name in without]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def load(values: dict[str, str] | None = None) -> SimpleNamespace:
    """The function's modules, newly imported from its folder and left out of sys.modules."""
    kept = {name: sys.modules.pop(name, None) for name in MODULES}
    sys.path.insert(0, str(FOLDER))
    try:
        with environment({**AWS_ENVIRONMENT, **(ENVIRONMENT if values is None else values)}):
            return SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


class Killed(BaseException):
    """The process is gone: nothing in the function gets to see this."""


@functools.cache
def clients() -> tuple:
    """The tests' own clients; making them takes longer than most tests."""
    return tuple(boto3.client(name) for name in ("s3", "dynamodb", "kinesis", "sqs", "sns"))


class Account:
    """An account with the pipeline's resources, the function, and what it did there."""

    def __init__(self, function: SimpleNamespace):
        self.function = function
        self.handler = function.handler
        self.s3, self.dynamodb, self.kinesis, self.sqs, self.sns = clients()
        self.s3.create_bucket(Bucket=BUCKET)
        self.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "OrderId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "OrderId", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.kinesis.create_stream(StreamName=STREAM, ShardCount=1)
        self.queue_url = self.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        self.sns.create_topic(Name="HighValueOrderTopic")
        queue_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{QUEUE}"
        self.sns.subscribe(TopicArn=TOPIC_ARN, Protocol="sqs", Endpoint=queue_arn)
        self.log_stream = io.StringIO()
        logging.getLogger("process-order").handlers[0].setStream(self.log_stream)

    def put(self, key: str, body: bytes | str) -> dict:
        """The S3 event for an object that now exists."""
        data = body.encode() if isinstance(body, str) else body
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return s3_event(key)

    def invoke(self, event, request_id: str = "request-1", seconds: float = 30) -> dict:
        return self.handler.lambda_handler(event, context(request_id, seconds))

    @contextlib.contextmanager
    def hooked(self, hook, when: str = "before-call"):
        """Every AWS call of the function announces itself to hook(operation name)."""

        def announce(model, **kwargs):
            hook(model.name)

        clients = [getattr(self.handler, n) for n in ("s3", "dynamodb", "kinesis", "sqs", "sns")]
        for client in clients:
            client.meta.events.register(when, announce, unique_id="test-hook")
        try:
            yield
        finally:
            for client in clients:
                client.meta.events.unregister(when, unique_id="test-hook")

    @contextlib.contextmanager
    def calls(self):
        """The names of the AWS operations the function called."""
        names: list[str] = []
        with self.hooked(names.append):
            yield names

    def killed_after(self, calls: int):
        """The function dies as soon as it has made so many AWS calls."""
        count, lock = [0], threading.Lock()

        def hook(name):
            with lock:
                count[0] += 1
            if count[0] >= calls:
                raise Killed

        return self.hooked(hook, "after-call")

    def log(self) -> list[dict]:
        """The function's log lines so far."""
        return [json.loads(line) for line in self.log_stream.getvalue().splitlines()]

    def items(self) -> dict[str, dict]:
        return {i["OrderId"]["S"]: i for i in self.dynamodb.scan(TableName=TABLE)["Items"]}

    def streamed(self) -> list[str]:
        """What lies in the stream, as the text that was put there."""
        shard = self.kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
        iterator = self.kinesis.get_shard_iterator(
            StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = self.kinesis.get_records(ShardIterator=iterator, Limit=10000)["Records"]
        return [record["Data"].decode() for record in records]

    def messages(self) -> tuple[list[str], list[str]]:
        """(bodies the function queued, bodies the topic sent on), removed from the queue."""
        own, announced = [], []
        while found := self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in found:
                if message.get("MessageAttributes", {}).get("Source", {}).get("StringValue"):
                    own.append(message["Body"])
                else:
                    announced.append(json.loads(message["Body"])["Message"])
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        return own, announced


@contextlib.contextmanager
def account(function: SimpleNamespace):
    """A fresh account behind the function."""
    with environment({**AWS_ENVIRONMENT, **ENVIRONMENT}), mock_aws():
        yield Account(function)


def context(request_id: str = "request-1", seconds: float = 30) -> SimpleNamespace:
    """A Lambda context as far as the function looks at it."""
    return SimpleNamespace(
        function_name="ProcessOrderFunction",
        memory_limit_in_mb="128",
        invoked_function_arn=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:ProcessOrderFunction",
        aws_request_id=request_id,
        get_remaining_time_in_millis=lambda: int(seconds * 1000),
    )


def s3_event(*keys: str, version: str | None = None) -> dict:
    """The notification S3 sends for these keys."""
    versioned = {"versionId": version} if version else {}
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2026-11-22T12:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "bucket": {"name": BUCKET, "arn": f"arn:aws:s3:::{BUCKET}"},
                    "object": {"key": quote_plus(key, safe="/"), "sequencer": "00", **versioned},
                },
            }
            for key in keys
        ]
    }

"""data/events: every sample is JSON of AWS's shape, and what is packed inside can be unpacked."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import traceback
from datetime import UTC, datetime

import pytest
from process_order_support import BUCKET, account, load

from labkit import orders

FOLDER = orders.REJECTED.parent / "events"
ORDER = {
    "OrderId": "ORD-20261120-0042",
    "Amount": 649.9,
    "Currency": "EUR",
    "Customer": "Café Zoë",
}


def event(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def aws():
    with account(load()) as made:
        yield made


def test_the_readme_names_every_file_once():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.iterdir():
        assert readme.count(f"`{path.name}`") == 1, path.name


def test_every_sample_uses_one_account_and_region():
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        for part in text.split("arn:aws:")[1:]:
            service, region, account_id = part.split(":")[:3]
            if service == "s3":
                assert (region, account_id) == ("", "")
            else:
                assert (region or "us-east-1", account_id) == ("us-east-1", "123456789012")


@pytest.mark.parametrize("name", ["s3-put", "s3-put-encoded-key"])
def test_the_function_takes_the_s3_samples(aws, name):
    sample = event(name)
    info = sample["Records"][0]["s3"]
    keys = {
        "s3-put": "orders/ORD-20261120-0042.json",
        "s3-put-encoded-key": "orders/Café Zoë/1+1=2.json",
    }
    body = json.dumps(ORDER).replace("649.9", "649.90")
    assert info["object"]["size"] == len(body)
    assert info["object"]["eTag"] == hashlib.md5(body.encode()).hexdigest()
    info["bucket"]["name"] = BUCKET
    aws.put(keys[name], body)
    assert aws.invoke(sample)["processed"] == 1
    assert aws.items()["ORD-20261120-0042"]["S3Key"]["S"] == keys[name]


@pytest.mark.parametrize("name", ["sns", "sqs", "kinesis", "dynamodb-stream", "eventbridge-s3"])
def test_the_function_refuses_what_other_sources_send(aws, name):
    with pytest.raises(aws.handler.RejectedOrders):
        aws.invoke(event(name))
    assert not aws.items()


@pytest.mark.parametrize(
    ("name", "high"),
    [("low-value", [False]), ("at-the-line", [False]), ("high-value", [True])]
    + [("several", [False, True]), ("rejected", None)],
)
def test_the_function_takes_the_test_events(aws, name, high):
    if high is None:
        with pytest.raises(aws.handler.RejectedOrders, match="Amount must be a number"):
            aws.invoke(event(f"test-{name}"))
    else:
        answer = aws.invoke(event(f"test-{name}"))
        assert [order["highValue"] for order in answer["orders"]] == high


def test_sns_and_sqs_carry_the_order_and_can_be_told_apart():
    (record,) = event("sns")["Records"]
    assert json.loads(record["Sns"]["Message"]) == ORDER
    own, announced = event("sqs")["Records"]
    for message in (own, announced):
        assert message["md5OfBody"] == hashlib.md5(message["body"].encode()).hexdigest()
    assert json.loads(own["body"]) == ORDER
    assert own["messageAttributes"]["Source"]["stringValue"] == "function"
    notification = json.loads(announced["body"])
    assert notification["Type"] == "Notification"
    assert json.loads(notification["Message"]) == ORDER


def test_kinesis_and_logs_can_be_unpacked():
    records = event("kinesis")["Records"]
    for record in records:
        order = json.loads(base64.b64decode(record["kinesis"]["data"]))
        assert order["OrderId"] == record["kinesis"]["partitionKey"]
        assert record["eventID"].endswith(":" + record["kinesis"]["sequenceNumber"])
    packed = base64.b64decode(event("cloudwatch-logs")["awslogs"]["data"])
    logs = json.loads(gzip.decompress(packed))
    assert logs["messageType"] == "DATA_MESSAGE"
    (line,) = logs["logEvents"]
    assert json.loads(line["message"])["reason"] == "Amount is negative"
    assert datetime.fromtimestamp(line["timestamp"] / 1000, UTC).date().isoformat() == "2026-11-20"


def test_the_stream_sample_shows_an_item_as_the_function_writes_it(aws):
    taken, done = (record["dynamodb"]["NewImage"] for record in event("dynamodb-stream")["Records"])
    order = '{"OrderId": "ORD-20261120-0043", "Amount": 88.8, "Currency": "EUR", "Customer": "x"}'
    images = []

    def look(name):
        if name == "PutRecord":
            images.append(aws.items()["ORD-20261120-0043"])

    with aws.hooked(look):
        aws.invoke(aws.put("orders/ORD-20261120-0043.json", order))
    images.append(aws.items()["ORD-20261120-0043"])
    for sample, real in zip((taken, done), images, strict=True):
        assert {k: list(v) for k, v in sample.items()} == {k: list(v) for k, v in real.items()}
        assert sample["Status"] == real["Status"] and sample["Streamed"] == real["Streamed"]


def test_the_failure_record_holds_the_event_and_the_reason(aws):
    record = event("lambda-destination-failure")
    failed = record["requestPayload"]["Records"][0]["s3"]
    failed["bucket"]["name"] = BUCKET
    aws.put(failed["object"]["key"], '{"OrderId": "ORD-20261120-0044", "Amount": -5}')
    with pytest.raises(aws.handler.RejectedOrders) as refused:
        aws.invoke(record["requestPayload"])
    assert str(refused.value) == record["responsePayload"]["errorMessage"]
    frames = traceback.extract_tb(refused.value.__traceback__)
    own = [frame for frame in frames if frame.filename.endswith("handler.py")]
    assert record["responsePayload"]["stackTrace"] == [
        f'  File "/var/task/handler.py", line {frame.lineno}, in {frame.name}\n    {frame.line}\n'
        for frame in own
    ]
    good = event("lambda-destination-success")
    good["requestPayload"]["Records"][0]["s3"]["bucket"]["name"] = BUCKET
    aws.put("orders/ORD-20261120-0042.json", json.dumps(ORDER))
    assert aws.invoke(good["requestPayload"]) == good["responsePayload"]


def test_the_reasons_file_reads_as_a_table():
    with open(orders.REJECTED / "reasons.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["file"] and row["reason"] and row["why"] for row in rows)

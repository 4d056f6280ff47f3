"""Sending orders and waiting for them: done, rejected or unfinished, by looking at the effects."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal

import pytest

from labkit import reading, timeline, traffic
from labkit.orders import RawOrder

pytestmark = pytest.mark.xdist_group("lab")


def order(amount, **fields) -> dict:
    return {"OrderId": f"T-{uuid.uuid4().hex[:8]}", "Amount": amount, **fields}


def record(*orders: object, body: bytes | None = None) -> RawOrder:
    text = "\n".join(json.dumps(one) for one in orders).encode() if body is None else body
    return RawOrder(f"traffic-{uuid.uuid4().hex[:8]}", text, "test")


def test_good_orders_are_done_and_exact(pipeline):
    small, high = order(0.1, note="ß"), order(301)
    outcome = traffic.process(pipeline, [record(small), record(high)])
    assert outcome.done.keys() == {small["OrderId"], high["OrderId"]}
    assert outcome.done[small["OrderId"]]["Amount"] == Decimal("0.1")
    assert not outcome.rejected and not outcome.unfinished
    assert "2 orders done, 0 objects rejected" in repr(outcome)


def test_bad_objects_end_in_the_dead_letter_queue_with_their_reason(pipeline):
    bad = [record(body=b""), record({"OrderId": "x"}), record(order(-1)), record(body=b"\xff")]
    outcome = traffic.process(pipeline, [*bad, record(order(5))])
    assert len(outcome.done) == 1 and not outcome.unfinished
    reasons = {found.keys[0]: found.reason for found in outcome.rejected}
    assert reasons.keys() == {one.key() for one in bad}
    for one, why in zip(bad, ["0 bytes", "Amount", "negative", "UTF-8"], strict=True):
        assert why in reasons[one.key()]
    assert {found.attempts for found in outcome.rejected} == {3}
    assert bad[0].key() in str(outcome.table)


def test_a_batch_with_a_bad_line_is_done_as_far_as_it_is_good(pipeline):
    first, second = order(7), order(8)
    batch = record(first, {"OrderId": "broken"}, second)
    outcome = traffic.process(pipeline, [batch])
    assert outcome.done.keys() == {first["OrderId"], second["OrderId"]}
    assert [found.keys for found in outcome.rejected] == [(batch.key(),)]


def test_sending_the_same_again_is_noticed_and_waits_for_this_time(pipeline):
    good, bad = record(order(350)), record(body=b"nonsense")
    first = traffic.process(pipeline, [good, bad])
    second = traffic.process(pipeline, [good, bad])
    assert not first.repeated and len(second.repeated) == 1
    (before,), (after,) = first.rejected, second.rejected
    assert before.id != after.id and before.keys == after.keys
    found = [m for m in reading.messages(pipeline, pipeline.names.queue)
             if m.order["OrderId"] in first.done]  # fmt: skip
    assert sorted(message.notification is None for message in found) == [False, True]


def test_one_id_with_two_contents_is_one_order_and_one_rejection(pipeline):
    one = order(10)
    other = {**one, "Amount": 20}
    outcome = traffic.process(pipeline, [record(one), record(other)])
    assert outcome.done.keys() == {one["OrderId"]}
    assert len(outcome.rejected) == 1 and "different content" in outcome.rejected[0].reason


def test_what_nobody_picks_up_is_unfinished_at_once(pipeline):
    before = pipeline.clock.now()
    outcome = traffic.process(pipeline, [RawOrder("not/seen", b"{}", "test")])
    assert outcome.rejected
    pipeline.client("s3").put_bucket_notification_configuration(
        Bucket=pipeline.names.bucket, NotificationConfiguration={}
    )
    lost = record(order(1))
    outcome = traffic.process(pipeline, [lost])
    assert outcome.unfinished == [lost.key()] and "NOT FINISHED" in repr(outcome)
    assert (pipeline.clock.now() - before).total_seconds() < 600


def test_a_rejection_that_cannot_be_delivered_is_unfinished_and_not_forgotten(pipeline):
    names = pipeline.names
    pipeline.client("iam").delete_role_policy(
        RoleName=names.role, PolicyName=names.dead_letter_policy
    )
    bad = record(body=b"nonsense")
    outcome = traffic.process(pipeline, [bad, record(order(3))])
    assert outcome.unfinished == [bad.key()] and len(outcome.done) == 1


def test_a_test_event_is_answered(pipeline):
    one = order(42.5)
    answer = traffic.invoke(pipeline, one)
    assert answer.ok and answer.payload["orders"][0]["OrderId"] == one["OrderId"]
    assert "START RequestId" in answer.log and answer.request_id in answer.log
    failed = traffic.invoke(pipeline, {"Amount": 1})
    assert not failed.ok and failed.function_error == "Unhandled"
    assert "OrderId" in failed.payload["errorMessage"]


def test_messages_can_be_looked_at_again_and_again(pipeline):
    sqs = pipeline.client("sqs")
    url = sqs.create_queue(QueueName="looking-test")["QueueUrl"]
    for start in range(0, 25, 5):
        entries = [{"Id": str(n), "MessageBody": str(start + n)} for n in range(5)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    for _ in range(3):
        found = reading.messages(pipeline, "looking-test")
        assert sorted(int(message.body) for message in found) == list(range(25))
    assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 10
    sqs.delete_queue(QueueUrl=url)


def test_the_stream_is_read_shard_by_shard_and_from_a_time(pipeline):
    kinesis = pipeline.client("kinesis")
    mark = pipeline.clock.advance(minutes=1).now
    for number in range(5):
        kinesis.put_record(
            StreamName=pipeline.names.stream, PartitionKey=f"k{number}", Data=b'{"n": 1.10}'
        )
    found = reading.stream_records(pipeline, mark)
    assert [one.partition_key for one in found] == [f"k{number}" for number in range(5)]
    assert found[0].json == {"n": Decimal("1.10")}
    assert len(reading.stream_records(pipeline)) > 5 or found == reading.stream_records(pipeline)


def test_one_order_can_be_followed_through_every_service(pipeline):
    one = order(400)
    traffic.process(pipeline, [record(one)])
    steps = timeline.of_order(pipeline, one["OrderId"])
    assert steps["service"].iloc[0] == "S3" and steps["ms"].iloc[0] == 0
    assert {
        "S3",
        "Lambda",
        "DynamoDB",
        "Kinesis",
        "SQS",
        "SNS",
        "E-mail",
        "CloudWatch Logs",
    } == set(steps["service"])
    assert steps["ms"].is_monotonic_increasing and steps["ms"].max() < 60_000
    with pytest.raises(LookupError, match="no-such-order"):
        timeline.of_order(pipeline, "no-such-order")

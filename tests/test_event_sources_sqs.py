"""A queue as event source: batches, retries by visibility, redrive, partial answers, filters."""

from __future__ import annotations

import json
import threading

import pytest
from polling_support import (
    DIE,
    FAIL,
    answer,
    counts,
    elapsed,
    idle,
    lab_times,
    redrive,
    send,
    wait_until,
    watch,
)
from wiring_support import wiring

__all__ = ["idle", "watch", "wiring"]

PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def failing(*bodies: str):
    """Report the messages with these bodies as failed."""

    def decide(event):
        return answer(
            {
                "batchItemFailures": [
                    {"itemIdentifier": record["messageId"]}
                    for record in event["Records"]
                    if record["body"] in bodies
                ]
            }
        )

    return decide


def test_a_message_arrives_as_lambda_words_it_and_is_deleted(wiring, watch):
    queue, function = wiring.queue(), watch()
    function.map(queue.arn)
    sent = wiring.client("sqs").send_message(
        QueueUrl=queue.url,
        MessageBody="hello",
        MessageAttributes={
            "Title": {"DataType": "String", "StringValue": "The Whistler"},
            "Blob": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    )
    wiring.settle()
    (record,) = function.records()
    assert list(record) == [
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfMessageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    ]
    assert record["messageId"] == sent["MessageId"]
    assert record["md5OfBody"] == sent["MD5OfMessageBody"]
    assert record["md5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert list(record["attributes"]) == [
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    ]
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["Title"] == {
        "stringValue": "The Whistler",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "String",
    }
    assert record["messageAttributes"]["Blob"]["binaryValue"] == "AAE="
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:sqs", queue.arn)
    assert record["awsRegion"] == "us-east-1"
    assert counts(wiring, queue) == (0, 0)


def test_a_checksum_that_is_not_there_is_named_only_with_a_window(wiring, watch):
    plain, windowed, function = wiring.queue(), wiring.queue(), watch()
    function.map(plain.arn)
    function.map(windowed.arn, MaximumBatchingWindowInSeconds=1)
    send(wiring, plain, "p")
    wiring.settle()
    send(wiring, windowed, "w")
    wiring.advance(seconds=2)
    first, second = function.records()
    assert "md5OfMessageAttributes" not in first
    assert second["md5OfMessageAttributes"] is None


def test_messages_that_wait_come_ten_at_a_time(wiring, watch):
    queue, function = wiring.queue(), watch()
    send(wiring, queue, *map(str, range(25)))
    function.map(queue.arn)
    assert sorted(map(len, function.bodies())) == [5, 10, 10]
    assert sorted(int(body) for bodies in function.bodies() for body in bodies) == [*range(25)]
    assert counts(wiring, queue) == (0, 0)


def test_a_batch_is_no_larger_than_asked(wiring, watch):
    queue, function = wiring.queue(), watch()
    send(wiring, queue, *"abcdefg")
    function.map(queue.arn, BatchSize=3)
    assert sorted(map(len, function.bodies())) == [1, 3, 3]


def test_a_window_gathers_from_the_first_message_on(wiring, watch):
    queue, function = wiring.queue(), watch()
    function.map(queue.arn, BatchSize=100, MaximumBatchingWindowInSeconds=100)
    send(wiring, queue, "a")
    wiring.advance(seconds=60)
    send(wiring, queue, "b")
    wiring.settle()
    assert function.events == []
    wiring.advance(seconds=41)
    assert function.bodies() == [["a", "b"]]
    send(wiring, queue, "c")
    wiring.advance(seconds=60)
    assert len(function.events) == 1
    wiring.advance(seconds=41)
    assert function.bodies()[1:] == [["c"]]


def test_a_full_batch_does_not_wait_for_its_window(wiring, watch):
    queue, function = wiring.queue(), watch()
    function.map(queue.arn, BatchSize=20, MaximumBatchingWindowInSeconds=300)
    send(wiring, queue, *map(str, range(45)))
    wiring.settle()
    assert [len(bodies) for bodies in function.bodies()] == [20, 20]
    wiring.advance(seconds=301)
    assert len(function.bodies()[2]) == 5


def test_a_batch_is_cut_at_six_megabytes(wiring, watch):
    queue, function = wiring.queue(), watch()
    bodies = [letter * 1_000_000 for letter in "abcdefgh"]
    function.map(queue.arn, BatchSize=100, MaximumBatchingWindowInSeconds=10)
    for body in bodies:
        wiring.client("sqs").send_message(QueueUrl=queue.url, MessageBody=body)
    wiring.advance(seconds=11)
    assert [len(batch) for batch in function.bodies()] == [6, 2]


def test_a_failed_batch_comes_back_when_its_visibility_timeout_ends(wiring, watch):
    queue, function = wiring.queue(VisibilityTimeout="100"), watch()
    function.decide = lambda event: FAIL if len(function.events) < 3 else None
    send(wiring, queue, "a", "b")
    function.map(queue.arn)
    assert counts(wiring, queue) == (0, 2)
    wiring.advance(seconds=60)
    assert len(function.events) == 1
    wiring.advance(seconds=41)
    assert len(function.events) == 2
    wiring.advance(seconds=101)
    assert [sorted(bodies) for bodies in function.bodies()] == [["a", "b"]] * 3
    # The timeout runs from the receipt, a moment before the function sees the message.
    first, second, third = lab_times(function)
    assert 95 <= second - first < 140 and 95 <= third - second < 140
    received = [record["attributes"]["ApproximateReceiveCount"] for record in function.records()]
    assert received == ["1", "1", "2", "2", "3", "3"]
    assert counts(wiring, queue) == (0, 0)


@pytest.mark.parametrize("fault", [FAIL, DIE], ids=["raises", "dies"])
def test_redrive_takes_what_keeps_failing_after_exactly_that_many_receives(wiring, watch, fault):
    dead = wiring.queue("dead")
    queue = wiring.queue(VisibilityTimeout="10", **redrive(dead, 3))
    function = watch()
    function.map(queue.arn, BatchSize=1)
    function.decide = lambda event: fault if event["Records"][0]["body"] == "poison" else None
    send(wiring, queue, "good", "poison")
    wiring.advance(minutes=5)
    assert [body for bodies in function.bodies() for body in bodies].count("poison") == 3
    (message,) = dead.messages()
    assert message["Body"] == "poison"
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == queue.arn
    assert counts(wiring, queue) == (0, 0)


def test_a_function_that_times_out_leaves_its_messages(wiring, watch):
    queue, function = wiring.queue(VisibilityTimeout="10"), watch(timeout=1)
    function.map(queue.arn)
    over = threading.Event()

    def decide(event):
        if len(function.events) == 1:
            wait_until(over)

    function.decide = decide
    send(wiring, queue, "slow")
    wiring.settle()
    over.set()
    wiring.advance(seconds=11)
    assert function.bodies() == [["slow"], ["slow"]]
    assert counts(wiring, queue) == (0, 0)


def test_only_messages_reported_as_failed_come_back(wiring, watch):
    queue, function = wiring.queue(VisibilityTimeout="30"), watch()
    function.decide = failing("b")
    send(wiring, queue, "a", "b", "c")
    function.map(queue.arn, **PARTIAL)
    assert counts(wiring, queue) == (0, 1)
    function.decide = failing()
    wiring.advance(seconds=31)
    assert function.bodies()[1:] == [["b"]]
    assert counts(wiring, queue) == (0, 0)


def test_an_answer_that_can_not_be_read_fails_the_whole_batch(wiring, watch):
    queue, function = wiring.queue(VisibilityTimeout="30"), watch()
    function.decide = lambda event: answer({"batchItemFailures": [{"foo": "notvalid"}]})
    function.map(queue.arn, **PARTIAL)
    send(wiring, queue, "a")
    wiring.settle()
    assert counts(wiring, queue) == (0, 1)


def test_failures_reported_without_being_asked_for_mean_nothing(wiring, watch):
    queue, function = wiring.queue(), watch()
    function.decide = failing("a")
    function.map(queue.arn)
    send(wiring, queue, "a")
    wiring.settle()
    assert counts(wiring, queue) == (0, 0)


def test_a_throttled_batch_is_tried_again_while_its_messages_are_hidden(wiring, watch):
    queue, function = wiring.queue(VisibilityTimeout="200"), watch()
    lam = wiring.client("lambda")
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    function.map(queue.arn)
    send(wiring, queue, "a")
    wiring.advance(seconds=20)
    assert (function.events, counts(wiring, queue)) == ([], (0, 1))
    lam.delete_function_concurrency(FunctionName=function.name)
    wiring.advance(seconds=40)
    (record,) = function.records()
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert counts(wiring, queue) == (0, 0)


def test_messages_of_a_function_that_stays_throttled_end_in_the_dead_letter_queue(wiring, watch):
    dead = wiring.queue("dead")
    queue = wiring.queue(VisibilityTimeout="100", **redrive(dead, 2))
    function = watch(timeout=4)
    wiring.client("lambda").put_function_concurrency(
        FunctionName=function.name, ReservedConcurrentExecutions=0
    )
    function.map(queue.arn)
    send(wiring, queue, "a")
    wiring.advance(seconds=140)
    assert counts(wiring, queue) == (0, 1)
    wiring.advance(seconds=100)
    assert dead.texts() == ["a"]
    assert function.events == []


def test_a_fifo_queue_keeps_the_order_of_each_group_through_failures(wiring, watch):
    queue = wiring.queue(FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="10")
    function = watch()
    failed = set()

    def decide(event):
        first = event["Records"][0]["body"]
        if first not in failed:
            failed.add(first)
            return FAIL
        return None

    function.decide = decide
    function.map(queue.arn, BatchSize=2)
    for number in range(6):
        send(wiring, queue, f"{number}", MessageGroupId="odd" if number % 2 else "even")
    wiring.advance(minutes=3)
    for group, expected in (("even", ["0", "2", "4"]), ("odd", ["1", "3", "5"])):
        seen = [
            record["body"]
            for record in function.records()
            if record["attributes"]["MessageGroupId"] == group
        ]
        # Whatever was repeated: the first sight of each is in order, and so is the last.
        assert list(dict.fromkeys(seen)) == expected
        assert list(dict.fromkeys(reversed(seen))) == expected[::-1]
    assert counts(wiring, queue) == (0, 0)
    record = function.records()[0]
    assert list(record["attributes"]) == [
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SequenceNumber",
        "MessageGroupId",
        "SenderId",
        "MessageDeduplicationId",
        "ApproximateFirstReceiveTimestamp",
    ]


def test_a_group_waits_for_its_batch_while_other_groups_go_on(wiring, watch):
    queue = wiring.queue(FifoQueue="true", ContentBasedDeduplication="true")
    function = watch()
    held, release = threading.Event(), threading.Event()

    def decide(event):
        if event["Records"][0]["body"] == "a1":
            held.set()
            wait_until(release)

    function.decide = decide
    function.map(queue.arn, BatchSize=1)
    send(wiring, queue, "a1", MessageGroupId="a")
    wait_until(held)
    other = threading.Event()
    function.decide = lambda event: other.set() if event["Records"][0]["body"] == "b1" else None
    send(wiring, queue, "a2", MessageGroupId="a")
    send(wiring, queue, "b1", MessageGroupId="b")
    wait_until(other)
    assert [bodies for bodies in function.bodies() if bodies == ["a2"]] == []
    release.set()
    wiring.settle()
    assert sorted(function.bodies()) == [["a1"], ["a2"], ["b1"]]


def test_no_more_batches_at_once_than_the_maximum_concurrency(wiring, watch):
    most = 2
    queue, function = wiring.queue(), watch()
    full, release = threading.Event(), threading.Event()

    def decide(event):
        if len(function.events) >= most:
            full.set()
        wait_until(release)

    function.decide = decide
    send(wiring, queue, *map(str, range(8)))
    function.map(queue.arn, settle=False, BatchSize=1, ScalingConfig={"MaximumConcurrency": most})
    wait_until(full)
    release.set()
    wiring.settle()
    assert function.most_at_once == most
    assert len(function.events) == 8


def test_what_no_filter_matches_is_deleted_without_the_function(wiring, watch):
    queue, function = wiring.queue(), watch()
    send(wiring, queue, '{"k": "v"}', '{"k": "w"}', "plain")
    pattern = json.dumps({"body": {"k": ["v"]}})
    function.map(queue.arn, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    assert function.bodies() == [['{"k": "v"}']]
    assert counts(wiring, queue) == (0, 0)


def test_several_filters_are_alternatives(wiring, watch):
    queue, function = wiring.queue(), watch()
    patterns = [{"body": {"k": ["v"]}}, {"body": {"n": [1]}}]
    filters = [{"Pattern": json.dumps(pattern)} for pattern in patterns]
    mapping = function.map(queue.arn, FilterCriteria={"Filters": filters})
    send(wiring, queue, '{"k": "v"}', '{"n": 1}', '{"n": 2}')
    wiring.settle()
    assert sorted(sum(function.bodies(), [])) == ['{"k": "v"}', '{"n": 1}']
    function.change(mapping, FilterCriteria={})
    send(wiring, queue, '{"n": 2}')
    wiring.settle()
    assert function.bodies()[-1] == ['{"n": 2}']


def test_a_disabled_mapping_leaves_the_queue_alone_until_it_is_enabled(wiring, watch):
    queue, function = wiring.queue(), watch()
    mapping = function.map(queue.arn, Enabled=False)
    send(wiring, queue, "a")
    wiring.settle()
    assert (function.events, counts(wiring, queue)) == ([], (1, 0))
    function.change(mapping, Enabled=True)
    assert function.bodies() == [["a"]]
    function.change(mapping, Enabled=False)
    send(wiring, queue, "b")
    wiring.settle()
    assert counts(wiring, queue) == (1, 0)


def test_a_deleted_mapping_reads_no_more(wiring, watch):
    queue, function = wiring.queue(), watch()
    mapping = function.map(queue.arn)
    wiring.client("lambda").delete_event_source_mapping(UUID=mapping)
    wiring.settle()
    send(wiring, queue, "a")
    wiring.settle()
    assert (function.events, counts(wiring, queue)) == ([], (1, 0))


def test_a_mapping_goes_on_with_a_queue_made_again_under_its_name(wiring, watch):
    queue, function = wiring.queue(), watch()
    function.map(queue.arn)
    sqs = wiring.client("sqs")
    sqs.delete_queue(QueueUrl=queue.url)
    wiring.advance(seconds=61)
    sqs.create_queue(QueueName=queue.arn.rsplit(":", 1)[1])
    send(wiring, queue, "a")
    wiring.settle()
    assert function.bodies() == [["a"]]


def test_a_role_that_may_not_delete_sees_its_messages_again(wiring, watch):
    allowed = {"Effect": "Allow", "Resource": "*"}
    actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    function = watch(policy=[{**allowed, "Action": actions}])
    queue = wiring.queue(VisibilityTimeout="30")
    function.map(queue.arn)
    actions.remove("sqs:DeleteMessage")
    document = {"Version": "2012-10-17", "Statement": [{**allowed, "Action": actions}]}
    wiring.client("iam").put_role_policy(
        RoleName=function.role_name, PolicyName="more", PolicyDocument=json.dumps(document)
    )
    send(wiring, queue, "a")
    wiring.advance(seconds=31)
    assert function.bodies() == [["a"], ["a"]]


def test_a_role_that_may_not_receive_is_asked_again_now_and_then(wiring, watch):
    allowed = {"Effect": "Allow", "Resource": "*", "Action": "sqs:*"}
    function = watch(policy=[allowed])
    queue = wiring.queue()
    function.map(queue.arn)
    iam = wiring.client("iam")
    iam.delete_role_policy(RoleName=function.role_name, PolicyName="more")
    send(wiring, queue, "a")
    wiring.advance(minutes=10)
    assert (function.events, counts(wiring, queue)) == ([], (1, 0))
    document = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_role_policy(
        RoleName=function.role_name, PolicyName="more", PolicyDocument=json.dumps(document)
    )
    wiring.advance(minutes=10)
    assert function.bodies() == [["a"]]


def test_an_alias_is_invoked_as_such(wiring, watch):
    queue, function = wiring.queue(), watch(timeout=4)
    lam = wiring.client("lambda")
    lam.publish_version(FunctionName=function.name)
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
    function.map(queue.arn, qualifier=":live")
    send(wiring, queue, "a")
    wiring.settle()
    assert function.bodies() == [["a"]]
    resource = f"{function.name}:live"
    assert (
        wiring.metric("AWS/Lambda", "Invocations", FunctionName=function.name, Resource=resource)
        == 1
    )


def test_counts_of_events_are_metered_when_asked_for(wiring, watch):
    queue, function = wiring.queue(VisibilityTimeout="30"), watch()
    pattern = json.dumps({"body": [{"prefix": "a"}]})
    send(wiring, queue, "a1", "a2", "b")
    function.decide = failing("a2")
    mapping = function.map(
        queue.arn,
        MetricsConfig={"Metrics": ["EventCount"]},
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
        **PARTIAL,
    )

    def metered(name):
        return wiring.metric("AWS/Lambda", name, EventSourceMappingUUID=mapping)

    assert metered("PolledEventCount") == 3
    assert metered("FilteredOutEventCount") == 1
    assert metered("InvokedEventCount") == 1
    assert metered("FailedInvokeEventCount") == 1
    assert metered("DeletedEventCount") == 2


def test_an_idle_mapping_costs_the_clock_nothing(wiring, watch):
    queue, function = wiring.queue(), watch()
    function.map(queue.arn)
    send(wiring, queue, "a")
    wiring.advance(minutes=15)
    due = [name for _, name in wiring.running.control("clock")["due"]]
    assert not [name for name in due if queue.arn in name]
    # Whatever other tests left on the clock has had its time now.
    wiring.advance(days=1)
    assert min(elapsed(lambda: wiring.advance(days=1)) for _ in range(3)) < 0.05

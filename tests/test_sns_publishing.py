"""Publishing: what reaches a queue, in which form, and which messages SNS does not take."""

from __future__ import annotations

import base64
import json
import re
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from wiring_support import Wiring, refusal, wiring

__all__ = ["wiring"]

SNS = "sns.amazonaws.com"


class Topic:
    """A topic with one queue that listens."""

    def __init__(self, wiring: Wiring, allowed: bool = True, **attributes: str) -> None:
        self.sns = wiring.client("sns")
        self.arn = self.sns.create_topic(Name=wiring.name("topic"))["TopicArn"]
        self.queue = wiring.queue("heard", *([SNS] if allowed else []))
        self.subscription = self.sns.subscribe(
            TopicArn=self.arn, Protocol="sqs", Endpoint=self.queue.arn, Attributes=attributes
        )["SubscriptionArn"]

    def publish(self, text: str = "hello", **more) -> str:
        """Publish and return the message's id."""
        return self.sns.publish(TopicArn=self.arn, Message=text, **more)["MessageId"]

    def set(self, name: str, value: str) -> None:
        """Set an attribute of the subscription."""
        self.sns.set_subscription_attributes(
            SubscriptionArn=self.subscription, AttributeName=name, AttributeValue=value
        )


def test_the_envelope(wiring):
    topic = Topic(wiring)
    message_id = topic.publish('größe "1"', Subject="news")
    (text,) = topic.queue.texts()
    envelope = json.loads(text)
    assert list(envelope) == [
        "Type",
        "MessageId",
        "TopicArn",
        "Subject",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertURL",
        "UnsubscribeURL",
    ]
    assert text.startswith('{\n  "Type" : "Notification",\n  "MessageId" : ')
    assert envelope["MessageId"] == message_id
    assert envelope["TopicArn"] == topic.arn
    assert envelope["Message"] == 'größe "1"'
    assert envelope["Subject"] == "news"
    assert envelope["SignatureVersion"] == "1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", envelope["Timestamp"])
    assert envelope["UnsubscribeURL"].endswith(
        f"/?Action=Unsubscribe&SubscriptionArn={topic.subscription}"
    )


@pytest.mark.parametrize(("version", "digest"), [("1", hashes.SHA1()), ("2", hashes.SHA256())])
def test_the_signature_is_real(wiring, version, digest):
    topic = Topic(wiring)
    topic.sns.set_topic_attributes(
        TopicArn=topic.arn, AttributeName="SignatureVersion", AttributeValue=version
    )
    topic.publish("signed", Subject="s")
    (envelope,) = topic.queue.bodies()
    with urllib.request.urlopen(envelope["SigningCertURL"]) as answer:
        certificate = x509.load_pem_x509_certificate(answer.read())
    names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names)
    certificate.public_key().verify(
        base64.b64decode(envelope["Signature"]), text.encode(), padding.PKCS1v15(), digest
    )
    assert envelope["SignatureVersion"] == version


def test_attributes_in_the_envelope_and_raw(wiring):
    topic = Topic(wiring)
    attributes = {
        "amount": {"DataType": "Number", "StringValue": "99.12"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x02\x03\x04"},
    }
    topic.publish(MessageAttributes=attributes)
    (envelope,) = topic.queue.bodies()
    assert envelope["MessageAttributes"] == {
        "amount": {"Type": "Number", "Value": "99.12"},
        "blob": {"Type": "Binary", "Value": "AgME"},
    }
    topic.set("RawMessageDelivery", "true")
    topic.publish("plain", MessageAttributes=attributes)
    (message,) = topic.queue.messages()
    assert message["Body"] == "plain"
    assert message["MessageAttributes"] == attributes


def test_one_text_per_protocol(wiring):
    topic = Topic(wiring, RawMessageDelivery="true")
    topic.publish(json.dumps({"default": "d", "sqs": "q", "email": 3}), MessageStructure="json")
    topic.publish(json.dumps({"default": "d", "http": "h"}), MessageStructure="json")
    assert sorted(topic.queue.texts()) == ["d", "q"]


def test_the_queues_policy_decides(wiring):
    topic = Topic(wiring, allowed=False)
    topic.publish("not allowed")
    assert topic.queue.texts() == []
    name = topic.arn.rpartition(":")[2]
    assert wiring.metric("AWS/SNS", "NumberOfNotificationsFailed", TopicName=name) == 1
    topic.queue.allow(SNS, condition={"ArnEquals": {"aws:SourceArn": topic.arn}})
    topic.publish("allowed")
    assert [one["Message"] for one in topic.queue.bodies()] == ["allowed"]
    topic.queue.allow(SNS, condition={"ArnEquals": {"aws:SourceArn": f"{topic.arn}-other"}})
    topic.publish("for another topic")
    assert topic.queue.texts() == []
    assert wiring.metric("AWS/SNS", "NumberOfNotificationsDelivered", TopicName=name) == 1


def test_a_refused_message_goes_to_the_dead_letter_queue_at_once(wiring):
    topic, dead = Topic(wiring, allowed=False), wiring.queue("dead", SNS)
    topic.set("RedrivePolicy", json.dumps({"deadLetterTargetArn": dead.arn}))
    message_id = topic.publish("to nobody")
    (envelope,) = dead.bodies()
    assert (envelope["Message"], envelope["MessageId"]) == ("to nobody", message_id)
    topic.set("RawMessageDelivery", "true")
    topic.publish("raw")
    assert dead.texts() == ["raw"]
    name = topic.arn.rpartition(":")[2]
    assert wiring.metric("AWS/SNS", "NumberOfNotificationsRedrivenToDlq", TopicName=name) == 2


def test_a_batch(wiring):
    topic = Topic(wiring, RawMessageDelivery="true")
    entries = [{"Id": str(number), "Message": f"m{number}"} for number in range(10)]
    answer = topic.sns.publish_batch(TopicArn=topic.arn, PublishBatchRequestEntries=entries)
    assert [one["Id"] for one in answer["Successful"]] == [one["Id"] for one in entries]
    assert sorted(topic.queue.texts()) == [one["Message"] for one in entries]


@pytest.mark.parametrize(
    ("entries", "code", "message"),
    [
        (
            [{"Id": str(number), "Message": "x"} for number in range(11)],
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible.",
        ),
        (
            [{"Id": "1", "Message": "x"}] * 2,
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        ),
        (
            [{"Id": "a.b", "Message": "x"}],
            "InvalidBatchEntryId",
            "The Id of a batch entry in the batch request contains an impermissible character: a.b",
        ),
        (
            [{"Id": str(number), "Message": "x" * 150_000} for number in range(2)],
            "BatchRequestTooLong",
            "The length of all the messages put together is more than the limit.",
        ),
        (
            [{"Id": "1", "Message": '{"sqs":"x"}', "MessageStructure": "json"}],
            "InvalidParameter",
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ),
    ],
)
def test_wrong_batches(wiring, entries, code, message):
    topic = Topic(wiring)
    error = refusal(topic.sns.publish_batch, TopicArn=topic.arn, PublishBatchRequestEntries=entries)
    assert (error["Code"], error["Message"]) == (code, message)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"Message": ""}, "Empty message"),
        ({"Message": "x" * 262_145}, "Message too long"),
        ({"Message": "x", "Subject": ""}, "Subject"),
        ({"Message": "x", "Subject": "two\nlines"}, "Subject"),
        ({"Message": "x", "Subject": "x" * 101}, "Subject"),
        (
            {"Message": "x", "MessageStructure": "json"},
            "Message Structure - JSON message body failed to parse",
        ),
        (
            {"Message": '{"default":{"a":1}}', "MessageStructure": "json"},
            "Message Structure - No default entry in JSON message body",
        ),
        (
            {"Message": "x", "MessageDeduplicationId": "1"},
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter "
            "that is not valid for this topic type",
        ),
    ],
)
def test_messages_that_are_not_taken(wiring, given, reason):
    topic = Topic(wiring)
    error = refusal(topic.sns.publish, TopicArn=topic.arn, **given)
    assert (error["Code"], error["Message"]) == (
        "InvalidParameter",
        f"Invalid parameter: {reason}",
    )


@pytest.mark.parametrize(
    ("name", "attribute", "message"),
    [
        (
            "a",
            {"DataType": "String", "StringValue": ""},
            "The message attribute 'a' must contain non-empty message attribute value for message "
            "attribute type 'String'.",
        ),
        (
            "a",
            {"DataType": "Number", "BinaryValue": b"1"},
            "The message attribute 'a' with type 'Number' must use field 'String'.",
        ),
        (
            "a",
            {"DataType": "Date", "StringValue": "1"},
            "The message attribute 'a' has an invalid message attribute type, the set of supported "
            "type prefixes is Binary, Number, and String.",
        ),
        (
            "a..b",
            {"DataType": "String", "StringValue": "1"},
            "Message attribute name can not have successive '.' character.",
        ),
    ],
)
def test_wrong_attributes(wiring, name, attribute, message):
    topic = Topic(wiring)
    error = refusal(
        topic.sns.publish, TopicArn=topic.arn, Message="x", MessageAttributes={name: attribute}
    )
    assert (error["Code"], error["Message"]) == ("ParameterValueInvalid", message)


def test_a_topic_may_take_larger_messages(wiring):
    topic = Topic(wiring)
    topic.sns.set_topic_attributes(
        TopicArn=topic.arn, AttributeName="MaximumMessageSize", AttributeValue="1024"
    )
    assert refusal(topic.sns.publish, TopicArn=topic.arn, Message="x" * 1025)["Message"] == (
        "Invalid parameter: Message too long"
    )
    topic.publish("x" * 1024)


def test_a_missing_topic(wiring):
    error = refusal(wiring.client("sns").publish, TopicArn=wiring.arn("sns", "gone"), Message="x")
    assert (error["Code"], error["Message"]) == ("NotFound", "Topic does not exist")


class TestFifo:
    """First in, first out, and once."""

    @pytest.fixture
    def topic(self, wiring):
        """A FIFO topic that tells messages apart by their content."""
        attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
        name = wiring.name("topic") + ".fifo"
        return wiring.client("sns").create_topic(Name=name, Attributes=attributes)["TopicArn"]

    def test_order_and_numbers(self, wiring, topic):
        sns, queue = wiring.client("sns"), wiring.queue("line", SNS, FifoQueue="true")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
        answers = [
            sns.publish(TopicArn=topic, Message=str(number), MessageGroupId="g")
            for number in range(30)
        ]
        messages = queue.messages()
        envelopes = [json.loads(message["Body"]) for message in messages]
        assert [one["Message"] for one in envelopes] == [str(number) for number in range(30)]
        assert [one["SequenceNumber"] for one in envelopes] == [
            one["SequenceNumber"] for one in answers
        ]
        assert "Signature" not in envelopes[0]
        assert messages[0]["Attributes"]["MessageGroupId"] == "g"
        assert messages[0]["Attributes"]["MessageDeduplicationId"] == (
            "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"
        )

    def test_the_same_message_within_five_minutes_is_once(self, wiring, topic):
        sns, queue = wiring.client("sns"), wiring.queue("line", SNS, FifoQueue="true")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
        for _ in range(2):
            sns.publish(TopicArn=topic, Message="again", MessageGroupId="g")
        assert len(queue.messages()) == 1
        wiring.advance(minutes=6)
        sns.publish(TopicArn=topic, Message="again", MessageGroupId="g")
        assert len(queue.messages()) == 1

    def test_a_standard_queue_may_listen(self, wiring, topic):
        sns, queue = wiring.client("sns"), wiring.queue("any", SNS)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
        sns.publish(TopicArn=topic, Message="x", MessageGroupId="g")
        (message,) = queue.messages()
        assert "MessageGroupId" not in message["Attributes"]

    def test_what_every_message_needs(self, wiring, topic):
        sns = wiring.client("sns")
        assert refusal(sns.publish, TopicArn=topic, Message="x")["Message"] == (
            "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"
        )
        sns.set_topic_attributes(
            TopicArn=topic, AttributeName="ContentBasedDeduplication", AttributeValue="false"
        )
        error = refusal(sns.publish, TopicArn=topic, Message="x", MessageGroupId="g")
        assert error["Message"] == (
            "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or "
            "MessageDeduplicationId provided explicitly"
        )


def test_deliveries_are_logged_when_the_topic_wants_it(wiring):
    topic, dead = Topic(wiring), wiring.queue("dead", SNS)
    role = wiring.role(SNS, "logs:*")
    for name, value in (
        ("SQSSuccessFeedbackRoleArn", role),
        ("SQSSuccessFeedbackSampleRate", "100"),
        ("SQSFailureFeedbackRoleArn", role),
    ):
        topic.sns.set_topic_attributes(TopicArn=topic.arn, AttributeName=name, AttributeValue=value)
    good = topic.publish("good")
    wiring.settle()
    topic.set("RedrivePolicy", json.dumps({"deadLetterTargetArn": dead.arn}))
    topic.queue.allow()
    bad = topic.publish("bad")
    wiring.settle()

    def logged(suffix: str) -> dict:
        name = topic.arn.rpartition(":")[2]
        group = f"sns/us-east-1/{wiring.account}/{name}{suffix}"
        (event,) = wiring.client("logs").filter_log_events(logGroupName=group)["events"]
        return json.loads(event["message"])

    success, failure = logged(""), logged("/Failure")
    assert success["status"] == "SUCCESS"
    assert success["notification"]["messageId"] == good
    assert success["notification"]["topicArn"] == topic.arn
    assert success["notification"]["messageMD5Sum"] == "755f85c2723bb39381c7379a604160d8"
    assert success["delivery"]["destination"] == topic.queue.arn
    assert success["delivery"]["statusCode"] == 200
    assert "sqsMessageId" in json.loads(success["delivery"]["providerResponse"])
    assert failure["status"] == "FAILURE"
    assert failure["notification"]["messageId"] == bad
    assert failure["delivery"]["statusCode"] == 403

"""Topics and subscriptions: what SNS shows of them, and what it refuses, in its own words."""

from __future__ import annotations

import json

import pytest
from wiring_support import Wiring, refusal, wiring

__all__ = ["wiring"]


@pytest.fixture
def sns(wiring: Wiring):
    """A client of SNS."""
    return wiring.client("sns")


@pytest.fixture
def topic(wiring: Wiring, sns) -> str:
    """The ARN of a topic of its own."""
    return sns.create_topic(Name=wiring.name("topic"))["TopicArn"]


def invalid(reason: str) -> dict[str, str]:
    """SNS's InvalidParameter for a reason."""
    return {"Type": "Sender", "Code": "InvalidParameter", "Message": f"Invalid parameter: {reason}"}


NO_TOPIC = {"Type": "Sender", "Code": "NotFound", "Message": "Topic does not exist"}


def test_a_topics_attributes(wiring, sns, topic):
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    effective = json.loads(shown.pop("EffectiveDeliveryPolicy"))
    policy = json.loads(shown.pop("Policy"))
    assert shown == {
        "TopicArn": topic,
        "Owner": wiring.account,
        "DisplayName": "",
        "SubscriptionsConfirmed": "0",
        "SubscriptionsPending": "0",
        "SubscriptionsDeleted": "0",
    }
    assert effective["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
    assert effective["http"]["defaultRequestPolicy"] == {
        "headerContentType": "text/plain; charset=UTF-8"
    }
    assert policy["Statement"][0]["Condition"] == {
        "StringEquals": {"AWS:SourceOwner": wiring.account}
    }


def test_creating_again_changes_nothing(wiring, sns, topic):
    name = topic.rpartition(":")[2]
    assert sns.create_topic(Name=name)["TopicArn"] == topic
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Orders")
    assert sns.create_topic(Name=name, Attributes={"DisplayName": "Orders"})["TopicArn"] == topic
    assert refusal(sns.create_topic, Name=name, Attributes={"DisplayName": "x"}) == invalid(
        "Attributes Reason: Topic already exists with different attributes"
    )
    tags = [{"Key": "a", "Value": "b"}]
    assert refusal(sns.create_topic, Name=name, Tags=tags) == invalid(
        "Tags Reason: Topic already exists with different tags"
    )


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("", {}),
        ("a" * 257, {}),
        ("with space", {}),
        ("plain.fifo", {}),
        ("plain", {"FifoTopic": "true"}),
    ],
)
def test_wrong_names(sns, name, attributes):
    assert refusal(sns.create_topic, Name=name, Attributes=attributes) == invalid("Topic Name")


def test_wrong_arns(sns, topic):
    assert refusal(sns.get_topic_attributes, TopicArn="orders") == invalid(
        "TopicArn Reason: An ARN must have at least 6 elements, not 1"
    )
    assert refusal(sns.get_topic_attributes, TopicArn=f"{topic}-gone") == NO_TOPIC
    other_region = topic.replace("us-east-1", "eu-west-1")
    assert refusal(sns.get_topic_attributes, TopicArn=other_region) == invalid("TopicArn")
    sns.delete_topic(TopicArn=f"{topic}-gone")


def test_a_deleted_topic_takes_its_subscriptions_along(wiring, sns, topic):
    queue = wiring.queue()
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    sns.delete_topic(TopicArn=topic)
    assert refusal(sns.list_subscriptions_by_topic, TopicArn=topic) == NO_TOPIC
    assert topic not in [one["TopicArn"] for one in sns.list_subscriptions()["Subscriptions"]]


def test_a_subscriptions_attributes(wiring, sns, topic):
    queue = wiring.queue()
    arn = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)["SubscriptionArn"]
    caller = wiring.client("sts").get_caller_identity()["Arn"]
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"] == {
        "ConfirmationWasAuthenticated": "true",
        "Endpoint": queue.arn,
        "Owner": wiring.account,
        "PendingConfirmation": "false",
        "Protocol": "sqs",
        "RawMessageDelivery": "false",
        "SubscriptionArn": arn,
        "SubscriptionPrincipal": caller,
        "TopicArn": topic,
    }
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == [
        {
            "Endpoint": queue.arn,
            "Owner": wiring.account,
            "Protocol": "sqs",
            "SubscriptionArn": arn,
            "TopicArn": topic,
        }
    ]


def test_subscribing_twice_is_once(wiring, sns, topic):
    queue = wiring.queue()
    given = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue.arn}
    first = sns.subscribe(**given, Attributes={"RawMessageDelivery": "true"})["SubscriptionArn"]
    assert sns.subscribe(**given)["SubscriptionArn"] == first
    assert refusal(sns.subscribe, **given, Attributes={"RawMessageDelivery": "false"}) == invalid(
        "Attributes Reason: Subscription already exists with different attributes"
    )


def test_unsubscribing(wiring, sns, topic):
    queue = wiring.queue()
    arn = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)["SubscriptionArn"]
    sns.unsubscribe(SubscriptionArn=arn)
    sns.unsubscribe(SubscriptionArn=arn)
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (shown["SubscriptionsConfirmed"], shown["SubscriptionsDeleted"]) == ("0", "1")
    assert refusal(sns.get_subscription_attributes, SubscriptionArn=arn)["Message"] == (
        "Subscription does not exist"
    )
    assert refusal(sns.unsubscribe, SubscriptionArn=f"{topic}:x") == invalid("SubscriptionId")
    assert refusal(sns.unsubscribe, SubscriptionArn="x") == invalid(
        "SubscriptionArn Reason: An ARN must have at least 6 elements, not 1"
    )


@pytest.mark.parametrize(
    ("protocol", "endpoint", "message"),
    [
        (
            "pigeon",
            "x",
            "Invalid parameter: Amazon SNS does not support this protocol string: pigeon",
        ),
        ("sqs", "http://127.0.0.1/q", "Invalid parameter: SQS endpoint ARN"),
        (
            "sqs",
            "arn:aws:sqs:us-east-1:123456789012:q.fifo",
            "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be "
            "subscribed to standard SNS topics",
        ),
        ("sms", "+15--551234567", "Invalid SMS endpoint: +15--551234567"),
        (
            "http",
            "https://127.0.0.1/",
            "Invalid parameter: Endpoint must match the specified protocol",
        ),
        ("email", "nobody", "Invalid parameter: Email address"),
    ],
)
def test_wrong_endpoints(sns, topic, protocol, endpoint, message):
    error = refusal(sns.subscribe, TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    assert (error["Code"], error["Message"]) == ("InvalidParameter", message)


def test_wrong_subscription_attributes(wiring, sns, topic):
    queue = wiring.queue()
    given = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue.arn}
    assert refusal(sns.subscribe, **given, Attributes={"RawMessageDelivery": "x"}) == invalid(
        "Attributes Reason: RawMessageDelivery: Invalid value [x]. Must be true or false."
    )
    arn = sns.subscribe(**given)["SubscriptionArn"]

    def setting(name: str, value: str) -> dict[str, str]:
        return refusal(
            sns.set_subscription_attributes,
            SubscriptionArn=arn,
            AttributeName=name,
            AttributeValue=value,
        )

    assert setting("Nothing", "x") == invalid("AttributeName")
    assert setting("RawMessageDelivery", "") == invalid(
        "RawMessageDelivery: Invalid value []. Must be true or false."
    )
    assert setting("RedrivePolicy", '{"deadLetterTargetArn":"x"}') == invalid(
        "RedrivePolicy: deadLetterTargetArn is an invalid arn"
    )
    assert setting("FilterPolicyScope", "Elsewhere") == invalid(
        "FilterPolicyScope: Invalid value [Elsewhere]. Please use either MessageBody or "
        "MessageAttributes"
    )
    assert setting("RedrivePolicy", "{invalid") == invalid(
        "RedrivePolicy: failed to parse JSON. Unexpected character ('i' (code 105)): was "
        "expecting double-quote to start field name\n at [Source: REDACTED "
        "(`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 2]"
    )


def test_fifo_topics_and_their_queues(wiring, sns):
    given = {"Name": wiring.name("t") + ".fifo", "Attributes": {"FifoTopic": "true"}}
    topic = sns.create_topic(**given)["TopicArn"]
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (shown["FifoTopic"], shown["ContentBasedDeduplication"]) == ("true", "false")
    fifo, standard = wiring.queue(FifoQueue="true"), wiring.queue()
    subscribed = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fifo.arn)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=standard.arn)
    redrive = json.dumps({"deadLetterTargetArn": standard.arn})
    assert refusal(
        sns.set_subscription_attributes,
        SubscriptionArn=subscribed["SubscriptionArn"],
        AttributeName="RedrivePolicy",
        AttributeValue=redrive,
    ) == invalid(
        "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
    )


def test_a_topics_own_delivery_policy(wiring, sns, topic):
    policy = {"http": {"defaultRequestPolicy": {"headerContentType": "application/json"}}}
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="DeliveryPolicy", AttributeValue=json.dumps(policy)
    )
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert json.loads(shown["DeliveryPolicy"]) == policy
    effective = json.loads(shown["EffectiveDeliveryPolicy"])["http"]
    assert effective["defaultRequestPolicy"] == {"headerContentType": "application/json"}
    assert effective["defaultHealthyRetryPolicy"]["minDelayTarget"] == 20


def test_permissions_are_statements_of_the_policy(wiring, sns, topic):
    given = {"TopicArn": topic, "AWSAccountId": ["111122223333"], "ActionName": ["Publish"]}
    sns.add_permission(**given, Label="theirs")
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert policy["Statement"][1] == {
        "Sid": "theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
        "Action": "SNS:Publish",
        "Resource": topic,
    }
    assert refusal(sns.add_permission, **given, Label="theirs") == invalid(
        "Statement already exists"
    )
    given["ActionName"] = ["CreateTopic"]
    assert refusal(sns.add_permission, **given, Label="other") == invalid(
        "Policy statement action out of service scope!"
    )
    sns.remove_permission(TopicArn=topic, Label="theirs")
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert len(policy["Statement"]) == 1


def test_a_data_protection_policy_is_kept(sns, topic):
    assert "DataProtectionPolicy" not in sns.get_data_protection_policy(ResourceArn=topic)
    sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy='{"Name":"p"}')
    kept = sns.get_data_protection_policy(ResourceArn=topic)["DataProtectionPolicy"]
    assert kept == '{"Name":"p"}'

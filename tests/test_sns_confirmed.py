"""Endpoints that have to confirm: e-mail addresses and web servers on this machine."""

from __future__ import annotations

import json
import urllib.request

import pytest
from wiring_support import Hook, Wiring, hook, refusal, wiring

from labkit.localaws.services import sns_http

__all__ = ["hook", "wiring"]


@pytest.fixture
def topic(wiring: Wiring) -> str:
    """The ARN of a topic of its own."""
    return wiring.client("sns").create_topic(Name=wiring.name("topic"))["TopicArn"]


def visit(url: str) -> str:
    """What a browser would get for a link."""
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


class TestMail:
    """E-mail subscriptions."""

    def test_nothing_comes_before_the_link_is_visited(self, wiring, topic):
        sns, address = wiring.client("sns"), f"{wiring.name('someone')}@example.com"
        answer = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
        assert answer["SubscriptionArn"] == "pending confirmation"
        sns.publish(TopicArn=topic, Message="too early")
        (mail,) = wiring.mails(address)
        assert mail["subject"] == "AWS Notification - Subscription Confirmation"
        assert mail["from"] == "no-reply@sns.amazonaws.com"
        assert topic in mail["body"]
        (shown,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert shown["SubscriptionArn"] == "PendingConfirmation"
        counted = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
        assert counted["SubscriptionsPending"] == "1"

        (link,) = mail["links"]
        assert link in mail["body"]
        assert "<ConfirmSubscriptionResult>" in visit(link)
        sns.publish(TopicArn=topic, Message="an order came in")
        sns.publish(TopicArn=topic, Message="another", Subject="Orders")
        first, second = sorted(wiring.mails(address)[1:], key=lambda one: one["body"])
        assert first["subject"] == "AWS Notification Message"
        assert first["body"].startswith("an order came in\n\n--\n")
        assert second["subject"] == "Orders"

    def test_confirming_through_the_api(self, wiring, topic):
        sns, address = wiring.client("sns"), f"{wiring.name('someone')}@example.com"
        arn = sns.subscribe(
            TopicArn=topic, Protocol="email", Endpoint=address, ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        before = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert before["PendingConfirmation"] == "true"
        token = wiring.mails(address)[0]["links"][0].partition("Token=")[2]
        assert sns.confirm_subscription(TopicArn=topic, Token=token)["SubscriptionArn"] == arn
        after = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert after["PendingConfirmation"] == "false"
        assert after["ConfirmationWasAuthenticated"] == "true"

    def test_wrong_and_old_tokens(self, wiring, topic):
        sns, address = wiring.client("sns"), f"{wiring.name('someone')}@example.com"
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
        token = wiring.mails(address)[0]["links"][0].partition("Token=")[2]
        confirm = sns.confirm_subscription
        assert refusal(confirm, TopicArn=topic, Token="random token")["Message"] == "Invalid token"
        assert refusal(confirm, TopicArn=topic, Token="ab" * 40)["Message"] == (
            "Invalid parameter: Token"
        )
        assert refusal(confirm, TopicArn="x", Token=token)["Message"] == "Invalid parameter: Topic"
        wiring.advance(days=3)
        assert refusal(confirm, TopicArn=topic, Token=token)["Message"] == (
            "Invalid parameter: Token"
        )

    def test_leaving_by_the_link_can_be_undone(self, wiring, topic):
        sns, address = wiring.client("sns"), f"{wiring.name('someone')}@example.com"
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
        visit(wiring.mails(address)[0]["links"][0])
        sns.publish(TopicArn=topic, Message="1")
        visit(wiring.mails(address)[1]["links"][0])
        sns.publish(TopicArn=topic, Message="2")
        mails = wiring.mails(address)
        assert [mail["subject"] for mail in mails][2:] == [
            "AWS Notification - Unsubscribe Confirmation"
        ]
        visit(mails[2]["links"][0])
        sns.publish(TopicArn=topic, Message="3")
        assert wiring.mails(address)[3]["body"].startswith("3\n")

    def test_mail_for_programs_holds_the_envelope(self, wiring, topic):
        sns, address = wiring.client("sns"), f"{wiring.name('someone')}@example.com"
        sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint=address)
        asked = json.loads(wiring.mails(address)[0]["body"])
        assert asked["Type"] == "SubscriptionConfirmation"
        visit(asked["SubscribeURL"])
        sns.publish(TopicArn=topic, Message="hello")
        assert json.loads(wiring.mails(address)[1]["body"])["Message"] == "hello"


class TestWeb:
    """HTTP subscriptions."""

    def subscribe(self, wiring: Wiring, topic: str, hook: Hook, **attributes: str) -> str:
        """Subscribe the hook, confirm, and return the subscription's ARN."""
        sns = wiring.client("sns")
        arn = sns.subscribe(
            TopicArn=topic,
            Protocol="http",
            Endpoint=hook.url,
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        wiring.settle()
        visit(json.loads(hook.requests[0][1])["SubscribeURL"])
        return arn

    def test_confirmation_and_notification(self, wiring, topic, hook):
        sns = wiring.client("sns")
        arn = self.subscribe(wiring, topic, hook)
        headers, body = hook.requests[0]
        asked = json.loads(body)
        assert asked["Type"] == headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
        assert headers["x-amz-sns-topic-arn"] == topic
        assert headers["x-amz-sns-message-id"] == asked["MessageId"]
        assert headers["user-agent"] == "Amazon Simple Notification Service Agent"
        assert headers["content-type"] == "text/plain; charset=UTF-8"
        assert asked["Message"] == (
            f"You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, "
            "visit the SubscribeURL included in this message."
        )
        assert set(asked) == {
            "Type",
            "MessageId",
            "Token",
            "TopicArn",
            "Message",
            "SubscribeURL",
            "Timestamp",
            "SignatureVersion",
            "Signature",
            "SigningCertURL",
        }
        message_id = sns.publish(TopicArn=topic, Message="hello")["MessageId"]
        wiring.settle()
        headers, body = hook.requests[1]
        assert json.loads(body)["Message"] == "hello"
        assert headers["x-amz-sns-message-type"] == "Notification"
        assert headers["x-amz-sns-message-id"] == message_id
        assert headers["x-amz-sns-subscription-arn"] == arn
        visit(json.loads(body)["UnsubscribeURL"])
        wiring.settle()
        assert json.loads(hook.requests[2][1])["Type"] == "UnsubscribeConfirmation"

    def test_raw_with_a_content_type(self, wiring, topic, hook):
        policy = json.dumps({"requestPolicy": {"headerContentType": "text/csv"}})
        self.subscribe(wiring, topic, hook, RawMessageDelivery="true", DeliveryPolicy=policy)
        wiring.client("sns").publish(TopicArn=topic, Message="a,b")
        wiring.settle()
        headers, body = hook.requests[1]
        assert body == "a,b"
        assert headers["x-amz-sns-rawdelivery"] == "true"
        assert headers["content-type"] == "text/csv"

    def test_failures_are_retried_on_the_labs_clock(self, wiring, topic, hook):
        self.subscribe(wiring, topic, hook)
        hook.statuses = [500, 503, 500]
        wiring.client("sns").publish(TopicArn=topic, Message="x")
        wiring.settle()
        assert len(hook.requests) == 2
        wiring.advance(seconds=19)
        assert len(hook.requests) == 2
        wiring.advance(seconds=2)
        assert len(hook.requests) == 3
        wiring.advance(seconds=40)
        assert len(hook.requests) == 5
        wiring.advance(minutes=10)
        assert len(hook.requests) == 5

    def test_after_the_last_retry_the_dead_letter_queue_gets_it(self, wiring, topic, hook):
        dead = wiring.queue("dead", "sns.amazonaws.com")
        policy = {
            "healthyRetryPolicy": {
                "numRetries": 2,
                "minDelayTarget": 1,
                "maxDelayTarget": 1,
                "numNoDelayRetries": 0,
            }
        }
        self.subscribe(
            wiring,
            topic,
            hook,
            DeliveryPolicy=json.dumps(policy),
            RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.arn}),
        )
        hook.statuses = [500] * 3
        wiring.client("sns").publish(TopicArn=topic, Message="nobody home")
        assert dead.texts() == []
        wiring.advance(seconds=5)
        assert [one["Message"] for one in dead.bodies()] == ["nobody home"]
        assert len(hook.requests) == 4

    def test_a_refusal_is_not_retried(self, wiring, topic, hook):
        self.subscribe(wiring, topic, hook)
        hook.statuses = [403]
        wiring.client("sns").publish(TopicArn=topic, Message="x")
        wiring.settle()
        wiring.advance(minutes=5)
        assert len(hook.requests) == 2

    @pytest.mark.parametrize("host", ["203.0.113.7", "example.com", "localhost.example.com"])
    def test_no_connection_is_tried_to_another_machine(self, monkeypatch, host):
        monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connected"))
        with pytest.raises(sns_http.Refused):
            sns_http.post(f"http://{host}/", "x", {})

    def test_nothing_leaves_the_machine(self, wiring, topic):
        sns = wiring.client("sns")
        arn = sns.subscribe(
            TopicArn=topic,
            Protocol="http",
            Endpoint="http://203.0.113.7/hook",
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        wiring.settle()
        shown = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert shown["PendingConfirmation"] == "true"

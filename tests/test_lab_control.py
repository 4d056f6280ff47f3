"""The lab's clock and mailbox: moved and read on the local AWS, waited for and named elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labkit.control import Control, LabClock, Mail, Mailbox
from labkit.errors import LabError

pytestmark = pytest.mark.xdist_group("lab")


def test_the_clock_moves_and_says_so(lab):
    before = lab.clock.now()
    moved = lab.clock.advance(hours=1, minutes=30)
    assert 5400 <= (lab.clock.now() - before).total_seconds() < 5460
    assert moved.seconds == 5400 and moved.now.tzinfo is UTC
    assert repr(moved).startswith("Moved the clock 90 minutes; it is now ")


def test_what_was_due_on_the_way_is_told_in_order(pipeline):
    lab = pipeline
    lab.client("lambda").invoke(
        FunctionName=lab.names.function, InvocationType="Event", Payload=b'{"Amount": 1}'
    )
    lab.settle()
    assert any(lab.names.function in name for _, name in lab.clock.due())
    moved = lab.clock.advance(minutes=5)
    retries = [when for when, name in moved.happened if lab.names.function in name]
    assert len(retries) == 2 and retries == sorted(retries)
    assert 115 <= (retries[1] - retries[0]).total_seconds() <= 125
    assert "on the way" in repr(moved) and lab.names.function in repr(moved)


def test_time_only_moves_forward(lab):
    with pytest.raises(LabError, match="forward"):
        lab.clock.advance(minutes=-1)


def test_where_time_cannot_be_moved_a_long_wait_is_refused_with_a_way_out():
    clock = LabClock(None)
    assert not clock.movable and clock.due() == []
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5
    with pytest.raises(LabError, match="waiting 2 days.*next cell"):
        clock.advance(days=2)


def test_where_time_cannot_be_moved_a_short_wait_is_waited():
    moved = LabClock(None).advance(seconds=0.01)
    assert moved.real and repr(moved).startswith("Waited 0.01 seconds")


def test_the_time_stamp_is_never_later_than_what_follows(lab):
    stamp = lab.clock.stamp()
    url = lab.client("sqs").create_queue(QueueName="stamp-test")["QueueUrl"]
    lab.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    from labkit.reading import messages

    (message,) = messages(lab, "stamp-test")
    lab.client("sqs").delete_queue(QueueUrl=url)
    assert (message.sent - stamp).total_seconds() > -0.001


def test_mails_can_be_read_and_found(pipeline):
    lab = pipeline
    lab.client("sns").publish(
        TopicArn=lab.names.topic_arn, Subject="Hello", Message="a message of this test"
    )
    lab.settle()
    (mail,) = lab.mailbox.containing("a message of this test")
    assert (mail.subject, mail.to) == ("Hello", "orders-team@example.com")
    assert lab.mailbox.mails(to="orders-team@example.com")[-1] == mail
    assert lab.mailbox.mails(to="nobody@example.com") == []
    assert "Subject: Hello" in repr(mail) and "Hello" in repr(lab.mailbox)
    assert "<table>" in lab.mailbox._repr_html_()


def test_a_subscription_is_confirmed_by_its_mail_and_only_for_its_topic(lab):
    sns = lab.client("sns")
    topic = sns.create_topic(Name="confirm-test")["TopicArn"]
    assert lab.mailbox.confirm(sns, topic) is None
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="someone@example.com")
    lab.settle()
    arn = lab.mailbox.confirm(sns, topic)
    assert arn.startswith(f"{topic}:")
    (found,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert found["SubscriptionArn"] == arn
    sns.delete_topic(TopicArn=topic)


def test_a_mail_without_a_link_confirms_nothing():
    now = datetime.now(UTC)
    assert (
        Mail("a", "b", "c", "see https://example.com/?Action=Other&Token=1", now).confirmation
        is None
    )
    link = "https://x/?Action=ConfirmSubscription&amp;TopicArn=arn:t&amp;Token=2"
    assert Mail("a", "b", "c", f"follow {link} now", now).confirmation == ("arn:t", "2")


def test_where_mail_is_real_the_inbox_is_named():
    mailbox = Mailbox(None)
    assert not mailbox.readable and "inbox" in repr(mailbox)
    assert "inbox" in mailbox._repr_html_()
    with pytest.raises(LabError, match="inbox"):
        mailbox.mails()


def test_a_local_aws_that_ended_is_explained():
    with pytest.raises(LabError, match="labkit.open"):
        Control("http://127.0.0.1:9", "secret").ask("status", timeout=2)
    assert Control.behind("http://127.0.0.1:9", "secret") is None


def test_a_wrong_secret_is_refused(lab):
    with pytest.raises(LabError, match="refused"):
        Control(lab.endpoint, "wrong").ask("status")
    assert Control.behind(lab.endpoint, "wrong") is None

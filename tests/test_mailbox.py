"""The mailbox keeps what AWS would have mailed, and shows it."""

from __future__ import annotations

import pytest
from wiring_support import wiring

from labkit.localaws import mailbox
from labkit.localaws.mailbox import Mailbox

__all__ = ["wiring"]


@pytest.fixture
def box() -> Mailbox:
    """A mailbox at nine o'clock."""
    return Mailbox(lambda: 32_400.0)


def test_mails_are_kept_in_order_and_dated(box):
    box.deliver("a@example.com", "first", "text", links=("http://127.0.0.1/",))
    box.deliver("b@example.com", "second", "text")
    first, second = box.mails()
    assert (first.subject, second.subject) == ("first", "second")
    shown = first.as_dict()
    assert shown.pop("id")
    assert shown == {
        "at": 32_400.0,
        "from": "no-reply@sns.amazonaws.com",
        "to": "a@example.com",
        "subject": "first",
        "body": "text",
        "links": ["http://127.0.0.1/"],
    }


def test_by_address_and_cleared(box):
    box.deliver("A@example.com", "s", "b")
    box.deliver("b@example.com", "s", "b")
    assert [mail.to for mail in box.mails("a@EXAMPLE.com")] == ["A@example.com"]
    assert box.clear() == 2
    assert box.mails() == []


def test_old_mails_make_room(box, monkeypatch):
    for number in range(mailbox.MOST_MAILS + 5):
        box.deliver("a@example.com", str(number), "")
    mails = box.mails()
    assert len(mails) == mailbox.MOST_MAILS and mails[0].subject == "5"


def test_mails_sent_with_ses_arrive(wiring):
    ses, sender = wiring.client("ses"), f"{wiring.name('shop')}@example.com"
    receiver = f"{wiring.name('customer')}@example.com"
    ses.verify_email_identity(EmailAddress=sender)
    ses.send_email(
        Source=sender,
        Destination={"ToAddresses": [receiver]},
        Message={"Subject": {"Data": "Thanks"}, "Body": {"Text": {"Data": "for your order"}}},
    )
    (mail,) = wiring.mails(receiver)
    assert (mail["from"], mail["subject"], mail["body"]) == (sender, "Thanks", "for your order")


def test_clearing_through_the_control_path(wiring):
    topic = wiring.client("sns").create_topic(Name=wiring.name("topic"))["TopicArn"]
    wiring.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="x@example.com")
    assert wiring.mails("x@example.com")
    wiring.running.control("mailbox/clear", {})
    assert wiring.mails("x@example.com") == []

"""Messages in a queue as SQS keeps them, without a server."""

from __future__ import annotations

import pytest

from labkit.localaws import queues
from labkit.localaws.queues import Message, MessageQueue

FOREVER = 1_209_600.0


def message(body, at=0.0, *, delay=0.0, group=None, dedup=None):
    return Message(body, {}, "me", at, at + delay, group_id=group, deduplication_id=dedup)


def receive(queue, now, most=10, visibility=30.0, **more):
    return queue.receive(now, most, visibility, retention=more.pop("retention", FOREVER), **more)


def bodies(messages):
    return [m.body for m in messages]


def test_a_received_message_is_hidden_and_comes_back():
    queue = MessageQueue(fifo=False)
    queue.send(message("a"))
    assert bodies(receive(queue, 1)) == ["a"]
    assert receive(queue, 30) == []
    (again,) = receive(queue, 31)
    assert again.receive_count == 2


def test_a_deleted_message_never_comes_back():
    queue = MessageQueue(fifo=False)
    queue.send(message("a"))
    (got,) = receive(queue, 0)
    queue.delete(got.receipt_handle, 1)
    assert receive(queue, 100) == []
    queue.delete(got.receipt_handle, 2)  # Deleting twice is no error.
    with pytest.raises(queues.ReceiptHandleInvalid):
        queue.delete("never issued", 2)


def test_an_outdated_handle_deletes_nothing_on_a_standard_queue():
    queue = MessageQueue(fifo=False)
    queue.send(message("a"))
    first = receive(queue, 0)[0].receipt_handle
    receive(queue, 31)
    queue.delete(first, 32)
    assert bodies(receive(queue, 100)) == ["a"]


def test_a_delayed_message_is_neither_visible_nor_in_flight():
    queue = MessageQueue(fifo=False)
    queue.send(message("a", delay=5))
    assert receive(queue, 4) == []
    assert queue.counts(4, FOREVER) == (0, 0, 1)
    assert bodies(receive(queue, 5)) == ["a"]
    assert queue.counts(5, FOREVER) == (0, 1, 0)


def test_visibility_can_be_changed_while_in_flight_only():
    queue = MessageQueue(fifo=False)
    queue.send(message("a"))
    (got,) = receive(queue, 0)
    queue.change_visibility(got.receipt_handle, 100, 10)
    assert receive(queue, 60) == []
    queue.change_visibility(got.receipt_handle, 0, 61)
    assert bodies(receive(queue, 61)) == ["a"]
    with pytest.raises(queues.MessageNotInFlight):
        queue.change_visibility(got.receipt_handle, 10, 200)


def test_after_max_receive_count_it_is_handed_over():
    queue, moved = MessageQueue(fifo=False), []
    queue.send(message("a"))
    for now in (0, 31):
        assert receive(queue, now, max_receive_count=2, redrive=moved.append)
    assert receive(queue, 62, max_receive_count=2, redrive=moved.append) == []
    assert bodies(moved) == ["a"]
    assert queue.counts(62, FOREVER) == (0, 0, 0)


def test_messages_older_than_the_retention_are_gone():
    queue = MessageQueue(fifo=False)
    queue.send(message("a"))
    queue.send(message("b", at=50))
    assert bodies(receive(queue, 60, retention=60)) == ["b"]


def test_fifo_keeps_order_and_holds_a_group_while_one_of_it_is_in_flight():
    queue = MessageQueue(fifo=True)
    for number in range(3):
        queue.send(message(f"a{number}", group="a", dedup=f"a{number}"))
        queue.send(message(f"b{number}", group="b", dedup=f"b{number}"))
    first = receive(queue, 0, most=1)
    assert bodies(first) == ["a0"]
    others = receive(queue, 0)
    assert bodies(others) == ["b0", "b1", "b2"]
    assert receive(queue, 1) == []
    queue.delete(first[0].receipt_handle, 1)
    assert bodies(receive(queue, 1)) == ["a1", "a2"]


def test_fifo_gives_a_returned_message_its_place_back():
    queue = MessageQueue(fifo=True)
    for number in range(3):
        queue.send(message(str(number), group="g", dedup=str(number)))
    assert bodies(receive(queue, 0)) == ["0", "1", "2"]
    assert bodies(receive(queue, 31, most=2)) == ["0", "1"]
    assert bodies(receive(queue, 62)) == ["0", "1", "2"]


def test_fifo_drops_duplicates_for_five_minutes():
    queue = MessageQueue(fifo=True)
    first = queue.send(message("a", group="g", dedup="x"))
    assert queue.send(message("a", at=299, group="g", dedup="x")) is first
    assert queue.send(message("a", at=300, group="g", dedup="x")) is not first
    assert len(queue.messages()) == 2


def test_fifo_refuses_to_delete_after_the_visibility_timeout():
    queue = MessageQueue(fifo=True)
    queue.send(message("a", group="g", dedup="x"))
    (got,) = receive(queue, 0)
    with pytest.raises(queues.ReceiptHandleExpired):
        queue.delete(got.receipt_handle, 31)


def test_listeners_hear_of_news():
    queue, heard = MessageQueue(fifo=False), []
    stop = queue.listen(lambda: heard.append(1))
    queue.send(message("a"))
    stop()
    queue.send(message("b"))
    assert heard == [1]


def test_the_in_flight_limit_is_refused(monkeypatch):
    monkeypatch.setattr(queues, "IN_FLIGHT_LIMIT", 1)
    queue = MessageQueue(fifo=False)
    queue.send(message("a"))
    queue.send(message("b"))
    receive(queue, 0, most=1)
    with pytest.raises(queues.OverLimit):
        receive(queue, 1)

"""The order function's idempotence: twice, at the same time, after a crash at every place."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter

import pytest
import time_machine
from botocore.exceptions import ClientError, EndpointConnectionError
from process_order_support import Killed, account, load, s3_event

HIGH = '{"OrderId": "A", "Amount": 300.01}'
LOW = '{"OrderId": "A", "Amount": 299.99}'
CALLS = {HIGH: 8, LOW: 4}  # GetObject, the claim, then each effect and its record


@pytest.fixture(scope="module")
def function():
    return load()


@pytest.fixture
def aws(function):
    with account(function) as made:
        yield made


def effects(aws) -> list[int]:
    """How often the order was streamed, queued, announced."""
    own, announced = aws.messages()
    return [len(aws.streamed()), len(own), len(announced)]


@pytest.mark.parametrize("text", [HIGH, LOW])
def test_the_same_event_twice_costs_one_write_and_changes_nothing(aws, text):
    event = aws.put("orders/a.json", text)
    aws.invoke(event)
    before = aws.items()
    with aws.calls() as calls:
        answer = aws.invoke(event, "request-2")
    assert calls == ["GetObject", "PutItem"]
    assert answer["orders"][0]["result"] == "already done"
    assert aws.items() == before
    assert effects(aws) == ([1, 1, 1] if text == HIGH else [1, 0, 0])


@pytest.mark.parametrize("who", ["the same event again", "another event, later"])
@pytest.mark.parametrize(
    ("text", "calls"), [(text, n) for text, most in CALLS.items() for n in range(1, most + 1)]
)
def test_a_retry_after_a_kill_finishes_what_was_left(aws, text, calls, who):
    event = aws.put("orders/a.json", text)
    with aws.killed_after(calls), pytest.raises(Killed):
        aws.invoke(event)
    if who == "the same event again":  # Lambda's retry, with the same request id
        aws.invoke(event)
    else:
        with time_machine.travel(time.time() + 60):  # by then, Lambda has ended the first run
            aws.invoke(event, "request-2")
    item = aws.items()["A"]
    assert item["Status"] == {"S": "DONE"}
    counts = effects(aws)
    wanted = [1, 1, 1] if text == HIGH else [1, 0, 0]
    # Killed right after an effect (the third, fifth, seventh call), its record is missing:
    # this one effect is repeated.
    if calls in (3, 5, 7):
        wanted[(calls - 3) // 2] += 1
    assert counts == wanted


def test_kill_upon_kill_still_ends_well(aws):
    event = aws.put("orders/a.json", HIGH)
    for _ in range(4):  # each run gets one step further: load, see the item, one effect, its record
        with aws.killed_after(4), pytest.raises(Killed):
            aws.invoke(event)
    aws.invoke(event)
    assert aws.items()["A"]["Status"] == {"S": "DONE"}
    assert all(count >= 1 for count in effects(aws))


def refusing(aws, operation, error=None, times=99):
    """The function's calls of this operation fail, the first so many times."""
    no = error or ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
    calls = []

    def refuse(name):
        if name == operation and len(calls) < times:
            calls.append(name)
            raise no

    return aws.hooked(refuse)


@pytest.mark.parametrize("number, operation", enumerate(["PutRecord", "SendMessage", "Publish"]))
def test_a_failed_effect_holds_up_no_other_and_any_run_makes_up_for_it(aws, number, operation):
    event = aws.put("orders/a.json", HIGH)
    with refusing(aws, operation), pytest.raises(ClientError, match="AccessDenied"):
        aws.invoke(event)
    assert aws.items()["A"]["Status"] == {"S": "RECEIVED"}
    done = [1, 1, 1]
    done[number] = 0
    assert effects(aws) == done
    answer = aws.invoke(event, "request-2")  # at once, though another event
    assert answer["orders"][0]["result"] == "done"
    assert aws.items()["A"]["Status"] == {"S": "DONE"}
    assert [len(aws.streamed()), *map(len, aws.messages())] == [1, number == 1, number == 2]


def test_a_network_failure_is_as_any_other(aws):
    event = aws.put("orders/a.json", HIGH)
    error = EndpointConnectionError(endpoint_url="https://kinesis")
    with refusing(aws, "PutRecord", error), pytest.raises(EndpointConnectionError):
        aws.invoke(event)
    aws.invoke(event, "request-2")
    assert effects(aws) == [1, 1, 1]


def test_when_a_record_fails_its_effect_is_repeated_and_no_other(aws):
    event = aws.put("orders/a.json", HIGH)
    puts = []

    def refuse(name):
        puts.append(name)
        if name == "PutItem" and puts.count(name) == 2:  # the record of the stream
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, name)

    with aws.hooked(refuse), pytest.raises(ClientError, match="ThrottlingException"):
        aws.invoke(event)
    aws.invoke(event, "request-2")
    assert aws.items()["A"]["Status"] == {"S": "DONE"}
    assert effects(aws) == [2, 1, 1]


def test_an_order_for_nothing_is_done_like_any_other(aws):
    aws.invoke({"OrderId": "A", "Amount": 0})
    item = aws.items()["A"]
    assert item["Status"] == {"S": "DONE"} and "ClaimedUntil" not in item


def test_while_one_run_works_another_is_turned_away_and_nothing_happens_twice(aws):
    event = aws.put("orders/a.json", HIGH)
    rejected = aws.handler.RejectedOrders

    def meanwhile(name):
        if name == "PutRecord" and not turned_away:
            turned_away.append(name)
            with pytest.raises(rejected, match="order A is in the hands of another invocation"):
                aws.invoke(event, "request-2")

    turned_away = []
    with aws.hooked(meanwhile):
        aws.invoke(event, "request-1")
    assert turned_away
    assert aws.invoke(event, "request-2")["orders"][0]["result"] == "already done"
    assert effects(aws) == [1, 1, 1]


def test_a_run_that_lost_its_claim_stops(aws):
    event = aws.put("orders/a.json", HIGH)

    def late(name):
        if name == "SendMessage" and not taken:
            taken.append(name)
            with time_machine.travel(time.time() + 60):
                aws.invoke(event, "request-2")

    taken = []
    with aws.hooked(late), pytest.raises(aws.handler.RejectedOrders, match="taken by another"):
        aws.invoke(event, "request-1")
    assert aws.items()["A"]["RequestId"] == {"S": "request-2"}
    assert effects(aws) == [1, 2, 1]  # the late run repeated the one effect it was in


def test_copies_at_the_same_time_leave_one_of_everything(aws, monkeypatch):
    event = aws.put("orders/a.json", HIGH)
    start, finished, lock = threading.Barrier(6), threading.Event(), threading.Lock()
    put = aws.function.table.OrderTable._put

    def one_at_a_time(*args):  # as DynamoDB does it; moto's check and write are two steps
        with lock:
            put(*args)

    def run(number):
        start.wait()
        try:
            answer = aws.invoke(event, f"request-{number}")
            finished.set()
        except aws.handler.RejectedOrders:
            finished.wait(20)
            answer = aws.invoke(event, f"request-{number}")  # Lambda's retry, a minute later
        outcomes.append(answer["orders"][0]["result"])

    monkeypatch.setattr(aws.function.table.OrderTable, "_put", one_at_a_time)
    outcomes = []
    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"done": 1, "already done": 5}
    assert list(aws.items()) == ["A"]
    assert effects(aws) == [1, 1, 1]


def test_the_same_id_with_other_content_is_refused_and_the_stored_order_stays(aws):
    aws.invoke(aws.put("orders/a.json", HIGH))
    before = aws.items()
    event = aws.put("orders/b.json", '{"OrderId": "A", "Amount": 999}')
    with pytest.raises(aws.handler.RejectedOrders) as refused:
        aws.invoke(event, "request-2")
    assert str(refused.value) == (
        "1 rejected, 0 processed. orders/b.json: order A is already stored with different content"
    )
    assert aws.items() == before
    assert effects(aws) == [1, 1, 1]


def test_the_same_content_written_differently_is_the_same_order(aws):
    aws.invoke(aws.put("orders/a.json", '{"OrderId": "A", "Amount": 300.10, "N": [1, {"x": 2.0}]}'))
    other = aws.put("orders/b.json", '{"N":[1.0,{"x":2}],"Amount":3.001E2,"OrderId":"\\u0041"}')
    assert aws.invoke(other, "request-2")["orders"][0]["result"] == "already done"
    assert effects(aws) == [1, 1, 1]


def test_an_order_twice_in_one_batch_is_done_once(aws):
    answer = aws.invoke(aws.put("orders/a.json", f"{HIGH}\n{HIGH}\n"))
    assert [order["result"] for order in answer["orders"]] == ["done", "already done"]
    assert effects(aws) == [1, 1, 1]


@pytest.mark.parametrize("calls", range(2, 12, 3))
def test_a_batch_killed_half_way_is_finished_by_the_retry(aws, calls):
    orders = [{"OrderId": f"A-{n}", "Amount": 299 + n} for n in range(4)]
    event = aws.put("orders/day.json", "\n".join(map(json.dumps, orders)))
    with aws.killed_after(calls), pytest.raises(Killed):
        aws.invoke(event)
    aws.invoke(event)
    assert {i["Status"]["S"] for i in aws.items().values()} == {"DONE"}
    streamed = {json.loads(text)["OrderId"] for text in aws.streamed()}
    assert streamed == {"A-0", "A-1", "A-2", "A-3"}
    own, announced = aws.messages()
    for bodies in (own, announced):
        assert {json.loads(body)["OrderId"] for body in bodies} == {"A-2", "A-3"}


def test_a_claim_changed_under_the_eyes_of_the_one_taking_over(aws):
    """Two later runs want the claim of a dead one: the condition lets only one have it."""
    event = aws.put("orders/a.json", HIGH)
    with aws.killed_after(2), pytest.raises(Killed):
        aws.invoke(event)
    puts = []

    def second_comes_first(name):
        if name == "PutItem":
            puts.append(name)
            if len(puts) == 2:  # the first one's take-over, after it saw the item
                aws.invoke(s3_event("orders/a.json"), "request-3")

    with (
        time_machine.travel(time.time() + 60),
        aws.hooked(second_comes_first),
        pytest.raises(aws.handler.RejectedOrders, match="taken by another invocation"),
    ):
        aws.invoke(event, "request-2")
    assert effects(aws) == [1, 1, 1]

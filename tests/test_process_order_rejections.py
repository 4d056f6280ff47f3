"""What the order function refuses: with a reason, before anything is stored, and never silently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from process_order_support import BUCKET, account, load, s3_event

BAD_ORDERS = [
    ("{not json", "not JSON: Expecting property name"),
    ('{"OrderId": "A", "Amount": 5', "not JSON"),
    ('{"OrderId": "A", "Amount": 5} {"OrderId": "B", "Amount": 5}', "not JSON: Extra data"),
    ("OrderId,Amount", "not JSON"),
    ('["A", 5]', "an order is a JSON object, this is a list"),
    ('"A"', "this is a string"),
    ("42", "this is a number"),
    ("null", "this is null"),
    ('{"Amount": 5}', "OrderId is missing"),
    ("{}", "OrderId is missing"),
    ('{"OrderId": "", "Amount": 5}', "OrderId is empty"),
    ('{"OrderId": " \\t", "Amount": 5}', "OrderId is empty"),
    ('{"OrderId": 7, "Amount": 5}', "OrderId must be a string, this is a number"),
    ('{"OrderId": null, "Amount": 5}', "OrderId must be a string, this is null"),
    ('{"OrderId": ["A"], "Amount": 5}', "OrderId must be a string, this is a list"),
    ('{"OrderId": "%s", "Amount": 5}' % ("x" * 257), "OrderId has 257 characters; at most 256"),
    ('{"OrderId": "\\ud800", "Amount": 5}', "lone surrogate"),
    ('{"OrderId": "A"}', "Amount is missing"),
    ('{"OrderId": "A", "amount": 5}', "Amount is missing"),
    ('{"OrderId": "A", "Amount": null}', "Amount must be a number, this is null"),
    ('{"OrderId": "A", "Amount": "5"}', "Amount must be a number, this is a string"),
    ('{"OrderId": "A", "Amount": true}', "Amount must be a number, this is true or false"),
    ('{"OrderId": "A", "Amount": {"EUR": 5}}', "Amount must be a number, this is an object"),
    ('{"OrderId": "A", "Amount": -0.01}', "Amount is negative"),
    ('{"OrderId": "A", "Amount": -0}', "Amount is negative"),
    ('{"OrderId": "A", "Amount": NaN}', "NaN is not a number"),
    ('{"OrderId": "A", "Amount": Infinity}', "Infinity is not a number"),
    ('{"OrderId": "A", "Amount": -Infinity}', "-Infinity is not a number"),
    ('{"OrderId": "A", "Amount": 1000000000.01}', "Amount is absurdly large"),
    ('{"OrderId": "A", "Amount": 1e400}', "Amount is absurdly large"),
    ('{"OrderId": "A", "Amount": 1e999999999999999999999}', "a number is absurdly large"),
    ('{"OrderId": "A", "Amount": %s}' % ("9" * 5000), "Amount is absurdly large"),
    ('{"OrderId": "A", "Amount": 0.%s}' % ("3" * 39), "Amount has more digits than the 38"),
    ('{"OrderId": "A", "Amount": 1e-200}', "Amount has more digits than the 38"),
    ('{"OrderId": "A", "Amount": 5, "Weight": 1e200}', "a number is longer, larger or smaller"),
    ('{"OrderId": "A", "Amount": 5, "Weight": NaN}', "NaN is not a number"),
    ('{"OrderId": "A", "Amount": 5, "Amount": 6}', "the field 'Amount' stands there twice"),
    ('{"OrderId": "A", "Amount": 5, "x": {"y": 1, "y": 1}}', "the field 'y' stands there twice"),
    ('{"OrderId": "A", "Amount": 5, "": 1}', "a field has no name"),
    ('{"OrderId": "A", "Amount": 5, "x": "\\udfff"}', "lone surrogate"),
    ('{"OrderId": "A", "Amount": 5, "x": ' + "[" * 30 + "]" * 30 + "}", "nested deeper than 30"),
    ('{"OrderId": "A", "Amount": 5, "x": ' + "[" * 90_000 + "]" * 90_000 + "}", "nested deeper"),
    ("[" * 200_000, "nested deeper than 30 levels"),
    ('{"OrderId": "A", "Amount": 5, "x": "' + "y" * 250_000 + '"}', "larger than 250000 bytes"),
    (" \r\n\t\n", "the object holds only white space"),
    ("", "the object is empty (0 bytes)"),
    (b"\xff\xfe{\x00}\x00", "not UTF-8 text: byte 0 cannot be decoded"),
    ('{"OrderId": "A", "Amount": 5, "Customer": "Zoë"}'.encode("latin-1"), "not UTF-8 text"),
    (b" " * (1024 * 1024 + 1), "the object has 1048577 bytes; at most 1048576 are read"),
    (b'{"OrderId": "A", "Amount": 5, "x": "' + b"y" * 5_000_000 + b'"}', "has 5000038 bytes"),
    ('{\n  "OrderId": "A",\n  "Amount": 5,\n}\n', "not JSON"),
    ('{\n "OrderId": "A",\n "Amount": NaN\n}', "NaN is not a number"),
]


@pytest.fixture(scope="module")
def function():
    return load()


@pytest.fixture
def aws(function):
    with account(function) as made:
        yield made


def short(value) -> str:
    return repr(value)[:50]


@pytest.mark.parametrize(("body", "reason"), BAD_ORDERS, ids=short)
def test_a_bad_order_fails_with_its_reason_and_leaves_nothing_behind(aws, body, reason):
    with aws.calls() as calls, pytest.raises(aws.handler.RejectedOrders) as refused:
        aws.invoke(aws.put("orders/bad.json", body))
    message = str(refused.value)
    assert message.startswith("1 rejected, 0 processed. orders/bad.json: ")
    assert reason in message
    assert len(message) < 500
    assert calls == ["GetObject"]
    line = aws.log()[-1]
    assert line["level"] == "ERROR" and line["s3_key"] == "orders/bad.json"
    assert line["reason"] == message.split("orders/bad.json: ", 1)[1]


def test_an_object_that_is_too_large_is_not_read(aws, monkeypatch):
    event = aws.put("orders/big.json", b" " * 5_000_000)
    read = []
    monkeypatch.setattr("botocore.response.StreamingBody.read", lambda *a: read.append(a) or b"")
    with pytest.raises(aws.handler.RejectedOrders):
        aws.invoke(event)
    assert not read


def test_an_object_deleted_meanwhile_is_a_rejection(aws):
    with pytest.raises(aws.handler.RejectedOrders, match="gone.json: the object is no longer th"):
        aws.invoke(s3_event("orders/gone.json"))
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    aws.put("orders/a.json", "{}")
    with pytest.raises(aws.handler.RejectedOrders, match="the object is no longer there"):
        aws.invoke(s3_event("orders/a.json", version="00000000-0000-0000-0000-000000000000"))


def test_in_a_batch_every_good_order_is_processed_and_every_bad_one_named(aws):
    lines = [
        '{"OrderId": "A", "Amount": NaN}',
        '{"OrderId": "B", "Amount": 301}',
        "",
        "garbage",
        '{"OrderId": "C", "Amount": -1}\r',
        '{"OrderId": "D", "Amount": 5}',
    ]
    event = aws.put("orders/day.json", "\n".join(lines))
    for _ in range(3):  # the event and Lambda's two retries
        with pytest.raises(aws.handler.RejectedOrders) as refused:
            aws.invoke(event)
    message = str(refused.value)
    assert message.startswith("3 rejected, 2 processed. orders/day.json line 1: NaN is not")
    assert "orders/day.json line 4: not JSON" in message
    assert "orders/day.json line 5: Amount is negative" in message
    assert set(aws.items()) == {"B", "D"}
    assert len(aws.streamed()) == 2
    assert [len(bodies) for bodies in aws.messages()] == [1, 1]


def test_one_bad_object_of_several_does_not_hold_up_the_others(aws):
    aws.put("orders/good.json", '{"OrderId": "A", "Amount": 1}')
    event = s3_event("orders/gone.json", "orders/good.json")
    with pytest.raises(aws.handler.RejectedOrders, match="^1 rejected, 1 processed"):
        aws.invoke(event)
    assert set(aws.items()) == {"A"}


def test_the_message_about_very_many_stays_short_and_says_how_many(aws):
    lines = ['{"OrderId": "A", "Amount": -1}'] * 900
    with pytest.raises(aws.handler.RejectedOrders) as refused:
        aws.invoke(aws.put("orders/" + "k" * 1000 + ".json", "\n".join(lines)))
    message = str(refused.value)
    assert message.startswith("900 rejected, 0 processed. ") and message.endswith("; ...")
    assert "Amount is negative" in message and len(message) < 5000


def test_more_orders_than_one_run_can_finish_are_refused_together(aws):
    lines = ['{"OrderId": "A", "Amount": 1}'] * 1001
    with pytest.raises(aws.handler.RejectedOrders, match="1001 orders in one object; at most 1000"):
        aws.invoke(aws.put("orders/day.json", "\n".join(lines)))
    assert not aws.items()


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, "test event: OrderId is missing"),
        ([], "test event: an order is a JSON object, this is a list"),
        ("text", "this is a string"),
        (None, "this is null"),
        ({"Records": []}, "OrderId is missing"),
        ({"orders": []}, "OrderId is missing"),
        ({"orders": {"OrderId": "A", "Amount": 1}}, "OrderId is missing"),
        ({"orders": [{"OrderId": "A"}]}, "test event, order 1: Amount is missing"),
        ({"OrderId": "A", "Amount": float("nan")}, "NaN is not a number"),
        ({"OrderId": "A", "Amount": float("inf")}, "Infinity is not a number"),
        ({"OrderId": "A", "Amount": 1e300}, "Amount is absurdly large"),
        ({"OrderId": "A", "Amount": 0.1 + 0.2}, "more digits than a test event keeps"),
        ({"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}, "not an S3 event notification"),
        ({"Records": [{"eventSource": "aws:s3", "eventVersion": "3.0"}]}, "of version 2"),
    ],
    ids=short,
)
def test_events_that_bring_no_order_are_refused(aws, event, reason):
    with pytest.raises(aws.handler.RejectedOrders) as refused:
        aws.invoke(event)
    assert reason in str(refused.value)
    assert not aws.items()


def test_what_dynamodb_finds_invalid_is_a_rejection_not_an_endless_retry(aws):
    from botocore.exceptions import ClientError

    def refuse(name):
        if name == "PutItem":
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "odd"}}, name)

    with aws.hooked(refuse), pytest.raises(aws.handler.RejectedOrders, match="DynamoDB refuses"):
        aws.invoke({"OrderId": "A", "Amount": 1})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["OrderId", "Amount", "x", ""]), ANYTHING))
def test_whatever_comes_is_an_order_or_a_rejection(function, value):
    try:
        order = function.orders.read_order(json.dumps(value))
    except function.orders.Rejected as reason:
        assert str(reason)
    else:
        assert isinstance(order["OrderId"], str) and 0 <= order["Amount"] <= 10**9
        assert json.loads(function.orders.to_json(order)) == value


@settings(max_examples=150, deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_whatever_bytes_come_are_read_or_rejected(function, body):
    try:
        for _, text in function.orders.split(body):
            function.orders.read_order(text)
    except function.orders.Rejected as reason:
        assert str(reason)

"""What the order function does with good orders: the table, the stream, the queue, the topic."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from process_order_support import BUCKET, ENVIRONMENT, account, load, s3_event


@pytest.fixture(scope="module")
def function():
    return load()


@pytest.fixture
def aws(function):
    with account(function) as made:
        yield made


def test_a_low_value_order_is_stored_and_streamed_in_three_calls(aws):
    event = aws.put("orders/a.json", '{"OrderId": "A-1", "Amount": 42.50, "Customer": "Zoë"}')
    with aws.calls() as calls:
        answer = aws.invoke(event)
    assert calls == ["GetObject", "PutItem", "PutRecord", "PutItem"]
    assert answer == {
        "processed": 1,
        "orders": [{"OrderId": "A-1", "result": "done", "highValue": False}],
    }
    item = aws.items()["A-1"]
    assert item["Amount"] == {"N": "42.50"}
    assert item["S3Key"] == {"S": "orders/a.json"}
    assert item["Status"] == {"S": "DONE"}
    assert item["Streamed"] == {"BOOL": True}
    assert item["Order"]["M"]["Customer"] == {"S": "Zoë"}
    assert item["RequestId"] == {"S": "request-1"}
    assert not {"Queued", "Announced", "ClaimedUntil"} & set(item)
    stamp = item["Timestamp"]["S"]
    assert stamp.endswith("Z") and datetime.fromisoformat(stamp).tzinfo
    assert [json.loads(text) for text in aws.streamed()] == [
        {"OrderId": "A-1", "Amount": 42.5, "Customer": "Zoë"}
    ]
    assert aws.messages() == ([], [])


def test_a_high_value_order_is_queued_and_announced_too(aws):
    with aws.calls() as calls:
        aws.invoke(aws.put("orders/a.json", '{"OrderId": "A-1", "Amount": 300.01}'))
    assert calls == (
        ["GetObject", "PutItem", "PutRecord", "PutItem", "SendMessage", "PutItem", "Publish"]
        + ["PutItem"]
    )
    body = '{"OrderId": "A-1", "Amount": 300.01}'
    assert aws.messages() == ([body], [body])
    item = aws.items()["A-1"]
    for effect in ("Streamed", "Queued", "Announced"):
        assert item[effect] == {"BOOL": True}
    assert item["Status"] == {"S": "DONE"}


@pytest.mark.parametrize(
    ("amount", "high"),
    [("300", False), ("300.00", False), ("3e2", False), ("300.01", True), ("0", False)]
    + [("300.00000000000000000000000000000000001", True), ("1000000000", True)],
)
def test_high_value_means_more_than_300_exactly(aws, amount, high):
    answer = aws.invoke(aws.put("orders/a.json", f'{{"OrderId": "A", "Amount": {amount}}}'))
    assert answer["orders"][0]["highValue"] is high
    assert [len(bodies) for bodies in aws.messages()] == [int(high), int(high)]


AMOUNTS = st.one_of(
    st.decimals(min_value=0, max_value=10**9, places=2),
    st.integers(1, 10**38 - 1).map(lambda n: Decimal(n).scaleb(-29)),
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(orders=st.lists(st.tuples(AMOUNTS, st.text(max_size=20)), min_size=1, max_size=4))
def test_amounts_and_text_survive_exactly(function, orders):
    sent = [
        {"OrderId": f"A-{n}", "Amount": amount, "Customer": name}
        for n, (amount, name) in enumerate(orders)
    ]
    with account(function) as aws:
        aws.invoke(aws.put("orders/a.json", "\n".join(map(as_json, sent))))
        for order in sent:
            stored = aws.items()[order["OrderId"]]
            assert Decimal(stored["Amount"]["N"]) == order["Amount"]
            assert stored["Status"] == {"S": "DONE"}
            assert stored["Order"]["M"]["Customer"]["S"] == order["Customer"]
        assert [exact(text) for text in aws.streamed()] == sent
        high = [order["OrderId"] for order in sent if order["Amount"] > 300]
        for bodies in aws.messages():
            assert sorted(exact(body)["OrderId"] for body in bodies) == high
            assert all(exact(body) in sent for body in bodies)


def as_json(order: dict) -> str:
    """The order as text, its amount digit by digit."""
    name = json.dumps(order["Customer"])
    return f'{{"OrderId": "{order["OrderId"]}", "Amount": {order["Amount"]}, "Customer": {name}}}'


def exact(text: str) -> dict:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def test_the_fields_an_order_brings_never_meet_the_tables_own(aws):
    order = {"OrderId": "A", "Amount": 1, "Status": "NEW", "Timestamp": 5, "Streamed": "x"}
    aws.invoke(aws.put("orders/a.json", json.dumps(order)))
    item = aws.items()["A"]
    assert item["Status"] == {"S": "DONE"} and item["Streamed"] == {"BOOL": True}
    assert item["Order"]["M"]["Status"] == {"S": "NEW"}
    assert json.loads(aws.streamed()[0]) == order


@pytest.mark.parametrize(
    "key",
    [
        "orders/a b+c.json",
        "orders/Größe/日本 🧾.json",
        "orders/100%25&x=1?.json",
        "orders/a,b;'().json",
    ],
)
def test_keys_of_every_kind_are_found_and_kept(aws, key):
    aws.invoke(aws.put(key, '{"OrderId": "A", "Amount": 1}'))
    assert aws.items()["A"]["S3Key"] == {"S": key}


def test_the_version_named_in_the_event_is_the_one_read(aws):
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = aws.s3.put_object(Bucket=BUCKET, Key="orders/a.json", Body='{"OrderId":"A","Amount":1}')
    aws.s3.put_object(Bucket=BUCKET, Key="orders/a.json", Body='{"OrderId":"B","Amount":2}')
    aws.invoke(s3_event("orders/a.json", version=first["VersionId"]))
    assert list(aws.items()) == ["A"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n \n"])
def test_json_lines_hold_an_order_each(aws, newline):
    lines = [json.dumps({"OrderId": str(n), "Amount": n * 200}) for n in range(4)]
    answer = aws.invoke(aws.put("orders/day.json", newline.join(lines) + newline))
    assert [order["OrderId"] for order in answer["orders"]] == ["0", "1", "2", "3"]
    assert len(aws.items()) == len(aws.streamed()) == 4
    assert [len(bodies) for bodies in aws.messages()] == [2, 2]


def test_one_order_may_be_printed_over_several_lines_and_carry_a_byte_order_mark(aws):
    order = {"OrderId": "A", "Amount": 1, "Items": [{"Sku": "x"}, {}], "Note": "line\u2028sep"}
    text = "\ufeff" + json.dumps(order, indent=0, ensure_ascii=False) + "\n"
    aws.invoke(aws.put("orders/a.json", text))
    assert json.loads(aws.streamed()[0]) == order


def test_an_event_may_name_several_objects(aws):
    for name in "ab":
        aws.put(f"orders/{name}.json", json.dumps({"OrderId": name, "Amount": 1}))
    assert aws.invoke(s3_event("orders/a.json", "orders/b.json"))["processed"] == 2


def test_test_events_hold_an_order_or_several(aws):
    aws.invoke({"OrderId": "A", "Amount": 300.01, "Customer": "Zoë"})
    answer = aws.invoke(
        {"orders": [{"OrderId": "B", "Amount": 5}, {"OrderId": "C", "Amount": 6.1}]}
    )
    assert answer["processed"] == 2
    items = aws.items()
    assert [items[name]["Amount"]["N"] for name in "ABC"] == ["300.01", "5", "6.1"]
    assert "S3Key" not in items["A"]
    own, announced = aws.messages()
    assert own == announced == ['{"OrderId": "A", "Amount": 300.01, "Customer": "Zo\\u00eb"}']


def test_the_log_is_json_and_holds_request_response_and_order(aws):
    event = aws.put("orders/a b.json", '{"OrderId": "A-1", "Amount": 300.01}')
    answer = aws.invoke(event)
    lines = aws.log()
    request, order, response = lines
    assert request["message"] == "request" and request["request"] == event
    assert response["message"] == "response" and response["response"] == answer
    assert order["order_id"] == "A-1" and order["s3_key"] == "orders/a b.json"
    assert order["amount"] == "300.01" and order["high_value"] is True
    assert all(line["function_request_id"] == "request-1" for line in lines)
    assert all(datetime.fromisoformat(line["timestamp"]).tzinfo for line in lines)
    assert "order_id" not in response


def test_what_aws_refuses_is_raised_as_it_is_and_logged_with_the_order(aws):
    aws.kinesis.delete_stream(StreamName="OrdersStream")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        aws.invoke(aws.put("orders/a.json", '{"OrderId": "A-1", "Amount": 1}'))
    last = aws.log()[-1]
    assert last["level"] == "ERROR" and last["order_id"] == "A-1"
    assert "ResourceNotFoundException" in last["exception"]


def test_missing_settings_are_all_named_at_once():
    settings = {"STREAM_NAME": "s", "TABLE_NAME": "", "QUEUE_URL": "q"}
    with pytest.raises(RuntimeError, match="not set: TABLE_NAME, TOPIC_ARN$"):
        load(settings)


def test_the_threshold_is_a_setting():
    with account(load({**ENVIRONMENT, "HIGH_VALUE_THRESHOLD": "9.99"})) as aws:
        aws.invoke({"OrderId": "A", "Amount": 10})
        assert len(aws.messages()[0]) == 1

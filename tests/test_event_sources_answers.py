"""What a function's answer says of its batch, and which records a mapping's filters let through."""

from __future__ import annotations

import base64
import json

import pytest

from labkit.localaws.event_sources.filters import Filters
from labkit.localaws.event_sources.responses import failed_items, window_state

IDS = ["id1", "id2", "id3"]


def reported(*identifiers):
    return {"batchItemFailures": [{"itemIdentifier": one} for one in identifiers]}


@pytest.mark.parametrize(
    "returned", [None, "", [], {}, {"statusCode": 200}, {"batchItemFailures": None}, reported()]
)
def test_an_answer_without_failures_means_that_all_went_well(returned):
    assert failed_items(json.dumps(returned).encode(), IDS) == set()


def test_no_answer_at_all_means_that_all_went_well():
    assert failed_items(b"", IDS) == set()


def test_the_reported_items_failed_and_no_others():
    assert failed_items(json.dumps(reported("id3", "id1")).encode(), IDS) == {"id1", "id3"}


@pytest.mark.parametrize(
    "returned",
    [
        reported(""),
        reported(None),
        reported(123),
        reported("id4"),
        reported("id1", "id4"),
        {"batchItemFailures": [{"foo": "id1"}]},
        {"batchItemFailures": ["id1"]},
        {"batchItemFailures": "id1"},
        "oops",
        ["id1"],
        7,
    ],
)
def test_an_answer_that_can_not_be_read_fails_the_whole_batch(returned):
    assert failed_items(json.dumps(returned).encode(), IDS) is None


def test_what_is_no_json_fails_the_whole_batch():
    assert failed_items(b"{oops", IDS) is None


@pytest.mark.parametrize(
    ("returned", "state"),
    [({"state": {"a": 1}}, {"a": 1}), ({"state": {}}, {}), ({}, None), (None, None), ([], None)],
)
def test_a_windows_state_is_an_object_or_missing(returned, state):
    assert window_state(json.dumps(returned).encode()) == state


def accepted(kind, record, *patterns):
    criteria = {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]}
    return Filters(kind, criteria).accept(record)


def message(body):
    return {"messageId": "1", "body": body, "messageAttributes": {}, "eventSource": "aws:sqs"}


@pytest.mark.parametrize(
    ("pattern", "body", "kept"),
    [
        ({"body": {"k": ["v"]}}, '{"k": "v"}', True),
        ({"body": {"k": ["v"]}}, '{"k": "w"}', False),
        ({"body": {"k": ["v"]}}, '{"k": ["u", "v"]}', True),
        ({"body": {"n": [{"numeric": [">", 100]}]}}, '{"n": 101}', True),
        ({"body": {"n": [{"numeric": [">", 100]}]}}, '{"n": 100}', False),
        ({"body": {"k": [{"exists": False}]}}, '{"l": 1}', True),
        # Plain text where the pattern expects JSON, and the other way round, is dropped.
        ({"body": {"k": [{"exists": False}]}}, "plain", False),
        ({"body": {"k": ["v"]}}, "plain", False),
        ({"body": ["plain"]}, "plain", True),
        ({"body": ["plain"]}, "other", False),
        ({"body": [{"prefix": "pl"}]}, "plain", True),
        ({"body": [{"anything-but": ["plain"]}]}, '{"k": "v"}', False),
        # Without a pattern for the body its form does not matter.
        ({"messageAttributes": {"a": [{"exists": False}]}}, "plain", True),
        ({"messageAttributes": {"a": [{"exists": False}]}}, '{"k": 1}', True),
        ({"eventSource": ["aws:sqs"]}, "plain", True),
    ],
)
def test_messages_are_filtered_by_their_body(pattern, body, kept):
    assert accepted("sqs", message(body), pattern) is kept


def test_filters_are_alternatives_and_none_lets_all_through():
    first, second = {"body": {"a": [1]}}, {"body": {"b": [2]}}
    assert accepted("sqs", message('{"a": 1}'), first, second)
    assert accepted("sqs", message('{"b": 2}'), first, second)
    assert not accepted("sqs", message('{"b": 1}'), first, second)
    assert accepted("sqs", message("anything"))
    assert Filters("sqs", None).accept(message("anything"))


def data_record(data: bytes):
    inner = {"partitionKey": "k1", "data": base64.b64encode(data).decode()}
    return {"kinesis": inner, "eventSource": "aws:kinesis"}


@pytest.mark.parametrize(
    ("pattern", "data", "kept"),
    [
        ({"data": {"type": ["a"]}}, b'{"type": "a"}', True),
        ({"data": {"type": ["a"]}}, b'{"type": "b"}', False),
        ({"data": {"type": ["a"]}}, b"no json", False),
        ({"data": {"type": [{"exists": False}]}}, b"\xff\x00", False),
        ({"partitionKey": ["k1"], "data": {"type": ["a"]}}, b'{"type": "a"}', True),
        ({"partitionKey": ["k2"], "data": {"type": ["a"]}}, b'{"type": "a"}', False),
        ({"partitionKey": ["k1"]}, b"no json", True),
    ],
)
def test_stream_records_are_filtered_by_their_data(pattern, data, kept):
    assert accepted("kinesis", data_record(data), pattern) is kept


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ({"eventName": ["INSERT"]}, True),
        ({"eventName": ["REMOVE"]}, False),
        ({"dynamodb": {"NewImage": {"k": {"S": ["v"]}}}}, True),
        # The type is part of the path.
        ({"dynamodb": {"NewImage": {"k": ["v"]}}}, False),
        ({"dynamodb": {"NewImage": {"n": {"N": ["42"]}}}}, True),
        ({"dynamodb": {"OldImage": {"k": {"S": [{"exists": False}]}}}}, True),
        ({"eventName": ["INSERT"], "eventSource": ["aws:dynamodb"]}, True),
    ],
)
def test_changes_are_filtered_by_what_changed(pattern, kept):
    record = {
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"NewImage": {"k": {"S": "v"}, "n": {"N": "42"}}},
    }
    assert accepted("dynamodb", record, pattern) is kept

"""Reading orders from files and uploading them: every record, its bytes, a key of its own."""

from __future__ import annotations

import json
import threading
from decimal import Decimal

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import orders


def bodies(path) -> list[bytes]:
    return [record.body for record in orders.read(path)]


def test_a_json_lines_file_gives_a_record_per_line_with_its_bytes(tmp_path):
    file = tmp_path / "day.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1.10}\r\n\n  \n\xff garbage\n{"b": "\xe2\x80\xa8"}')
    assert bodies(file) == [b'{"a": 1.10}', b"\xff garbage", b'{"b": "\xe2\x80\xa8"}']
    assert [r.key() for r in orders.read(file)] == [
        "orders/day-0001.json",
        "orders/day-0004.json",
        "orders/day-0005.json",
    ]
    assert orders.read(file)[1].source == "day.jsonl 4"


@pytest.mark.parametrize(
    "data",
    [b'{"OrderId": "A",\n "Amount": 300.10}\n', b"", b"\xff\xfe", b"not json", b"[1, 2", b"[1 2]"]
    + [b"[1] x", b"[1,]", b"[" * 100_000, b'{\n "a": [\n  {"b": 1}\n', b"{}", b"[1]]"],
    ids=lambda data: repr(data)[:20],
)
def test_a_json_file_that_is_no_list_is_one_record_as_it_is(tmp_path, data):
    (tmp_path / "one.json").write_bytes(data)
    (record,) = orders.read(tmp_path / "one.json")
    assert record == orders.RawOrder("one", data, "one.json")


def test_a_list_gives_its_elements_with_the_bytes_they_have(tmp_path):
    file = tmp_path / "list.json"
    file.write_text(' [ {"Amount": 300.10}, {"Amount":NaN} ,\n"é", 12345678901234567890.10] \n')
    assert bodies(file) == [
        b'{"Amount": 300.10}',
        b'{"Amount":NaN}',
        '"é"'.encode(),
        b"12345678901234567890.10",
    ]
    file.write_text("[]")
    assert orders.read(file) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(JSON, max_size=4), indent=st.sampled_from([None, 0, 2]), ascii=st.booleans())
def test_any_list_is_taken_apart_and_nothing_is_lost(values, indent, ascii):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii)
    parts = list(orders._elements(text))
    assert [json.dumps(json.loads(part)) for part in parts] == [json.dumps(v) for v in values]


def test_json_lines_under_the_other_ending_are_recognised(tmp_path):
    (tmp_path / "a.json").write_text('{"OrderId": "A"}\nbad\n{"OrderId": "B"}\n')
    assert bodies(tmp_path / "a.json") == [b'{"OrderId": "A"}', b"bad", b'{"OrderId": "B"}']


def test_a_folder_is_read_in_order_with_unique_safe_and_stable_names(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ["a.json", "a.JSON.json", "A b.json", "A+b.json", "sub/a.json", "Größe.json"]:
        (tmp_path / name).write_text("{}")
    (tmp_path / "日本.json").write_text("{}")
    (tmp_path / "a.jsonl").write_text("{}\n{}\n")
    (tmp_path / "notes.txt").write_text("not an order")
    records = orders.read(tmp_path)
    names = [record.name for record in records]
    assert len(names) == len(set(names)) == 9
    assert {"a", "a-0001", "a-0002", "sub/a", "A-b", "A-b.2", "Gr-e", "order"} <= set(names)
    assert orders.read(tmp_path) == records


def test_what_is_not_there_or_not_orders_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no"):
        orders.read(tmp_path / "missing.json")
    with pytest.raises(ValueError, match="orders come from .json or .jsonl files"):
        orders.read(tmp_path)
    (tmp_path / "orders.csv").write_text("a,b")
    with pytest.raises(ValueError, match="orders come from"):
        orders.read(tmp_path / "orders.csv")


class Bucket:
    """An S3 client as far as uploading looks at it."""

    def __init__(self, refuse: str = ""):
        self.objects, self.refuse = {}, refuse

    def put_object(self, Bucket, Key, Body, ContentType):
        if Key == self.refuse:
            error = {"Error": {"Code": "NoSuchBucket", "Message": "gone"}}
            raise ClientError(error, "PutObject")
        self.objects[Bucket, Key] = Body, ContentType


def test_uploading_puts_each_record_under_its_key_and_reports_progress():
    records = [orders.RawOrder(f"day-{n}", b"%d" % n, "day.jsonl") for n in range(50)]
    s3, seen = Bucket(), []
    keys = orders.upload(s3, "b", records, progress=lambda done, of: seen.append((done, of)))
    assert keys == [f"orders/day-{n}.json" for n in range(50)]
    assert s3.objects["b", "orders/day-7.json"] == (b"7", "application/json")
    assert len(s3.objects) == 50
    assert seen == [(n, 50) for n in range(1, 51)]
    assert orders.upload(s3, "b", []) == []


def test_uploading_stops_at_the_first_refusal():
    records = [orders.RawOrder(f"day-{n}", b"", "day.jsonl") for n in range(50)]
    before = threading.active_count()
    with pytest.raises(ClientError, match="NoSuchBucket"):
        orders.upload(Bucket(refuse="orders/day-3.json"), "b", records)
    assert threading.active_count() == before


def test_judging_follows_the_functions_own_rules():
    good = b'{"OrderId": "A", "Amount": 300.01}'
    assert orders.judge(good) == ([{"OrderId": "A", "Amount": Decimal("300.01")}], [])
    assert orders.judge(good + b'\n{"OrderId": "B"}') == (
        [{"OrderId": "A", "Amount": Decimal("300.01")}],
        ["line 2: Amount is missing"],
    )
    assert orders.judge(b"") == ([], ["the object is empty (0 bytes)"])

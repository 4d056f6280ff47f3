"""data/rejected: each file is refused by the function for the reason that reasons.csv gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from process_order_support import account, load

from labkit import orders

KINDS = orders.rejected()


@pytest.fixture(scope="module")
def aws():
    with account(load()) as made:
        yield made


@pytest.mark.parametrize(("record", "reason"), KINDS, ids=lambda value: getattr(value, "name", ""))
def test_each_is_refused_for_its_reason(aws, record, reason):
    with pytest.raises(aws.handler.RejectedOrders) as refused:
        aws.invoke(aws.put(record.key(), record.body))
    expected = f"1 rejected, 0 processed. {record.key()}: {reason}"
    assert str(refused.value).startswith(expected)
    assert orders.judge(record.body).reasons[0].startswith(reason)
    assert not aws.items() and not aws.streamed()


def test_every_file_is_listed_and_every_reason_differs():
    listed = {record.source for record, _ in KINDS}
    files = {path.name for path in orders.REJECTED.glob("*.json")}
    assert listed == files | {"five-megabytes.json"}
    assert len(KINDS) == len(listed)


def test_the_kinds_include_the_ones_that_matter_most():
    bodies = {Path(record.source).stem: record.body for record, _ in KINDS}
    assert bodies["empty"] == b""
    assert len(bodies["five-megabytes"]) == 5_000_000
    with pytest.raises(UnicodeDecodeError):
        bodies["not-utf-8"].decode()

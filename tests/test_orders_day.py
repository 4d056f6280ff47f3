"""The generated day: the same each time, with the shape its module promises."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from statistics import mean, median

import pytest

from labkit import day, orders


def read_lines(data: bytes) -> list[dict]:
    lines = data.decode().splitlines()
    return [json.loads(line, parse_float=Decimal) for line in lines]


def test_the_file_is_what_the_generator_gives():
    assert day.FILE.read_bytes() == day.to_lines(day.generate())


def test_lines_keep_every_digit():
    made = day.generate()
    assert read_lines(day.to_lines(made)) == made
    assert b'"Amount": 300.00,' in day.to_lines(made)


@pytest.mark.parametrize("seed", [day.SEED, 1, 2, 3])
def test_amounts_have_a_heavy_tail_and_some_lie_at_the_line(seed):
    amounts = [order["Amount"] for order in day.generate(seed=seed)]
    assert 0.14 < mean(amount > 300 for amount in amounts) < 0.26
    count = Counter(amounts)
    assert count[Decimal("300.00")] >= 2 and count[Decimal("300.01")] >= 2
    assert mean(amounts) > Decimal("1.5") * median(amounts)
    assert max(amounts) > 3000 and min(amounts) > 0


@pytest.mark.parametrize("seed", [day.SEED, 1, 2, 3])
def test_the_day_has_a_lunch_peak_and_a_broader_evening_peak(seed):
    hours = Counter(datetime.fromisoformat(o["PlacedAt"]).hour for o in day.generate(seed=seed))
    lunch, evening = hours[12] + hours[13], hours[18] + hours[19] + hours[20]
    afternoon, night = hours[15], sum(hours[hour] for hour in range(6))
    assert evening > lunch > 3 * afternoon
    assert 0 < night < lunch / 2


def test_orders_add_up_and_are_numbered_by_time():
    made = day.generate()
    for number, order in enumerate(made, 1):
        assert order["OrderId"] == f"ORD-20261120-{number:04d}"
        total = sum(item["Quantity"] * item["UnitPrice"] for item in order["Items"])
        assert order["Amount"] == total
    placed = [order["PlacedAt"] for order in made]
    assert placed == sorted(placed)
    assert not "".join(order["Customer"]["Name"] for order in made).isascii()


def test_other_days_seeds_and_counts():
    other = day.generate(count=3, seed=7, day=datetime(2027, 1, 2, tzinfo=UTC))
    assert [order["OrderId"] for order in other] == [f"ORD-20270102-000{n}" for n in (1, 2, 3)]
    assert day.generate(count=0) == []
    assert day.generate(seed=1) != day.generate(seed=2)


def test_the_function_accepts_every_order_as_it_is():
    records = orders.read(day.FILE)
    judged = [orders.judge(record.body) for record in records]
    assert [found.orders for found in judged] == [[order] for order in day.generate()]
    assert len({record.key() for record in records}) == day.COUNT

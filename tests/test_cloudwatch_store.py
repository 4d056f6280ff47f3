"""The metric store by itself: exact while small, bounded when large."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.localaws.metric_statistics import statistic
from labkit.localaws.metrics_store import DAY, Bucket, Handle, Metric, MetricStore

SCOPE = ("123456789012", "us-east-1")
METRIC = Metric("N", "m", ())
numbers = st.lists(st.floats(0, 1e6).map(lambda value: round(value, 2)), min_size=1, max_size=60)


def bucket_of(values: list[float]) -> Bucket:
    bucket = Bucket(values[0])
    for value in values[1:]:
        bucket.add(value)
    return bucket


@given(numbers, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_bucket_knows_its_samples(values, packed):
    bucket = bucket_of(values)
    if packed:
        bucket.pack()
    assert bucket.count == len(values) and math.isclose(bucket.total, sum(values), abs_tol=1e-6)
    assert (bucket.low, bucket.high) == (min(values), max(values))
    ordered = sorted(values)
    assert statistic("p50")(bucket) == ordered[math.ceil(len(values) / 2) - 1]


@given(numbers, numbers)
@settings(max_examples=60, deadline=None)
def test_merging_is_as_if_all_came_into_one(left, right):
    merged, whole = bucket_of(left), bucket_of(left + right)
    merged.pack()
    merged.merge(bucket_of(right))
    for name in ("SampleCount", "Minimum", "Maximum", "p90", "tm75"):
        assert math.isclose(statistic(name)(merged), statistic(name)(whole), rel_tol=1e-9)


def test_many_different_values_keep_three_digits():
    bucket = bucket_of([1000 + number / 10 for number in range(5000)])
    assert bucket.count == 5000
    assert len(bucket.spread()) < 400
    assert abs(statistic("p99")(bucket) - 1495) < 10


def test_details_are_given_up_with_age():
    now = [1_000_000.0 * 60]
    store = MetricStore(lambda: now[0])
    store.add(SCOPE, METRIC, 1.0, "Count", now[0], resolution=1)
    store.add(SCOPE, METRIC, 2.0, "Count", now[0])
    for age, resolution in ((4 * 3600, 60), (16 * DAY, 300), (64 * DAY, 3600)):
        at = 1_000_000 * 60 + age
        now[0] = float(at)
        store.add(SCOPE, Metric("N", f"other{age}", ()), 1.0, "Count", at)
        found = store.periods(SCOPE, METRIC, 0, at, resolution)
        assert [bucket.total for bucket in found.values()] == [3.0]
        finer = {60: 1, 300: 60, 3600: 300}[resolution]
        assert not store.periods(SCOPE, METRIC, at - age - 3600, at, finer)
    now[0] += 500 * DAY
    store.add(SCOPE, Metric("N", "last", ()), 1.0, "Count", now[0])
    assert store.size()[0] == 1


def test_handles_survive_that_their_series_is_dropped():
    now = [1_000_000.0 * 60]
    store = MetricStore(lambda: now[0])
    handle = Handle(SCOPE, METRIC, "Count")
    store.count([(handle, 1.0)], now[0])
    now[0] += 500 * DAY
    store.add(SCOPE, Metric("N", "other", ()), 1.0, "Count", now[0])
    store.count([(handle, 2.0)], now[0])
    (bucket,) = store.periods(SCOPE, METRIC, 0, int(now[0]) + 60, 60).values()
    assert bucket.total == 2.0


def test_watchers_hear_of_samples_until_they_stop():
    store = MetricStore(lambda: 0.0)
    heard: list[int] = []
    store.watch(SCOPE, METRIC, "me", lambda: heard.append(1))
    store.count([(Handle(SCOPE, METRIC, "Count"), 1.0)], 0.0)
    store.add(SCOPE, METRIC, 1.0, "Count", 0.0)
    store.put(SCOPE, METRIC, 1.0, "Count", 0.0)
    store.add(SCOPE, Metric("N", "other", ()), 1.0, "Count", 0.0)
    assert len(heard) == 3
    store.unwatch("me")
    store.add(SCOPE, METRIC, 1.0, "Count", 0.0)
    assert len(heard) == 3


def test_unknown_statistics_are_unknown():
    for name in ("p101", "q99", "TM(10%:20)", "PR(10%:20%)", "TM(:)", "TM(90%:10%)", "sum"):
        assert statistic(name) is None

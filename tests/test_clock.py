"""The lab's clock: timers in order, each at its own time, by waiting or by moving the clock."""

from __future__ import annotations

import threading
import time

import pytest

from labkit.localaws.activity import Activity
from labkit.localaws.clock import Clock

DAY = 86_400.0


@pytest.fixture
def clock():
    clock = Clock(Activity())
    yield clock
    clock.close()


def test_the_real_time_can_be_had_before_and_after_a_move(clock):
    assert clock.real_now() == pytest.approx(clock.now(), abs=1)
    clock.advance(60)
    assert clock.now() - clock.real_now() == pytest.approx(60, abs=1)


def test_advance_moves_every_reading_of_the_wall_clock_and_no_monotonic_one(clock):
    before, monotonic = time.time(), time.monotonic()
    clock.advance(3 * DAY)
    assert time.time() - before == pytest.approx(3 * DAY, abs=5)
    assert time.monotonic() - monotonic < 5
    assert clock.now() - clock.real_now() == pytest.approx(3 * DAY, abs=5)


def test_timers_fire_in_order_each_at_its_own_time(clock):
    start = clock.now()
    seen = []
    for delay in (120.0, 60.0, 3600.0):
        clock.call_later(delay, lambda: seen.append(clock.now() - start))
    fired = clock.advance(200)
    assert [round(moment / 10) * 10 for moment in seen] == [60, 120]
    assert len(fired) == 2
    clock.advance(3600)
    assert len(seen) == 3


def test_what_a_timer_schedules_fires_within_the_same_advance(clock):
    start = clock.now()
    seen = []

    def first():
        seen.append("first")
        clock.call_later(120, lambda: seen.append(round(clock.now() - start, -1)))

    clock.call_later(60, first)
    clock.advance(300)
    assert seen == ["first", 180]


def test_a_cancelled_timer_never_fires(clock):
    seen = []
    clock.call_later(10, seen.append, 1).cancel()
    clock.advance(100)
    assert seen == []
    assert clock.due() == []


def test_a_timer_fires_by_waiting_too(clock):
    fired = threading.Event()
    clock.call_later(0.01, fired.set)
    assert fired.wait(5)


def test_the_clock_only_moves_forward(clock):
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_settle_waits_for_work_and_for_the_work_it_starts():
    activity = Activity()
    release, done = threading.Event(), []

    def outer():
        release.wait(5)
        activity.submit(lambda: done.append("inner"))

    activity.submit(outer, name="outer")
    assert not activity.settle(0.01)
    assert activity.running() == {"outer": 1}
    release.set()
    assert activity.settle(5)
    assert done == ["inner"]


def test_failing_work_is_no_longer_running(caplog):
    activity = Activity()
    activity.submit(lambda: 1 / 0)
    assert activity.settle(5)
    assert "ZeroDivisionError" in caplog.text

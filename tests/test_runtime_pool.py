"""Which environment an invocation gets, and when environments end."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

import pytest
from runtime_support import Lab, function

from labkit.localaws.runtime import EnvironmentsClosed, NoCapacity

WHERE = """
import os
def handler(event, context):
    return os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
"""
TOGETHER = """
import os, threading
def handler(event, context):
    threading.Event().wait(event)
    return os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
"""


@pytest.fixture
def pool_of(tmp_path):
    made = []

    def make(**options):
        lab = Lab(tmp_path / str(len(made)), **options)
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.pool.close()


def until(condition, seconds=5.0):
    """Wait until *condition* holds, looking."""
    end = time.monotonic() + seconds
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        waiting.wait(0.01)


def at_once(lab, version, count, event):
    """Results of *count* invocations at the same time, exceptions included."""
    results = []

    def one():
        try:
            results.append(lab.value(version, event))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_status_counts(pool_of):
    lab = pool_of()
    version = function(WHERE)
    lab.value(version)
    lab.value(version)
    status = lab.pool.status()
    assert (status["environments"], status["idle"], status["busy"]) == (1, 1, 0)
    assert (status["invocations"], status["cold_starts"]) == (2, 1)


def test_versions_and_functions_do_not_share(pool_of):
    lab = pool_of()
    streams = {
        lab.value(function(WHERE, name="one")),
        lab.value(function(WHERE, name="two")),
        lab.value(function(WHERE, name="one", version="1")),
    }
    assert len(streams) == 3
    assert lab.pool.status()["environments"] == 3


def test_a_new_revision_ends_the_old_environments(pool_of):
    lab = pool_of()
    lab.value(function(WHERE))
    lab.value(function(WHERE))
    until(lambda: lab.pool.status()["ended"] == 1)
    assert lab.pool.status()["environments"] == 1


def test_idle_environments_end_by_themselves(pool_of):
    lab = pool_of(idle_seconds=0.1)
    lab.value(function(WHERE))
    until(lambda: lab.pool.status()["environments"] == 0)


def test_an_hour_of_the_labs_time_is_a_cold_start(pool_of):
    lab = pool_of()
    version = function(WHERE)
    first = lab.value(version)
    lab.ahead = 300.0
    assert lab.value(version) == first
    lab.ahead = 300.0 + 3600.0
    assert lab.value(version) != first


@pytest.mark.parametrize("form", ["datetime", "text", "seconds"])
def test_credentials_about_to_expire_make_a_new_environment(pool_of, form):
    lab = pool_of(idle_lab_seconds=1e9)
    version = function("import os\ndef handler(event, context):\n    return dict(os.environ)\n")
    end = lab.now() + 3600
    moment = datetime.fromtimestamp(end, UTC)
    shown = {"datetime": moment, "text": moment.isoformat().replace("+00:00", "Z"), "seconds": end}
    lab.session = {**lab.session, "Expiration": shown[form]}
    assert lab.value(version)["AWS_ACCESS_KEY_ID"] == "ASIAEXAMPLE"
    lab.session = {**lab.session, "AccessKeyId": "ASIANEXT", "Expiration": end + 99_999}
    assert lab.value(version)["AWS_ACCESS_KEY_ID"] == "ASIAEXAMPLE"
    lab.ahead = 3400.0
    assert lab.value(version)["AWS_ACCESS_KEY_ID"] == "ASIANEXT"


def test_a_full_pool_makes_room_by_ending_who_was_idle_longest(pool_of):
    lab = pool_of(max_environments=2)
    one, two, three = (function(WHERE, name=name) for name in ("one", "two", "three"))
    first, second = lab.value(one), lab.value(two)
    lab.value(three)
    assert lab.pool.status()["environments"] == 2
    assert lab.value(two) == second
    assert lab.value(one) != first


def test_a_full_pool_lets_wait(pool_of):
    lab = pool_of(max_environments=2)
    streams = at_once(lab, function(TOGETHER), 6, 0.05)
    assert len(streams) == 6
    assert len(set(streams)) == 2


def test_who_waits_too_long_is_told(pool_of):
    lab = pool_of(max_environments=1, capacity_wait_seconds=0.2)
    results = at_once(lab, function(TOGETHER), 2, 0.8)
    assert sorted(type(result).__name__ for result in results) == ["NoCapacity", "str"]
    assert isinstance(next(r for r in results if not isinstance(r, str)), NoCapacity)


def test_few_start_at_once_and_waiters_take_what_becomes_free(pool_of):
    lab = pool_of(max_starting=1)
    streams = at_once(lab, function(TOGETHER), 12, 0.0)
    assert len(streams) == 12
    assert len(set(streams)) < 12


def test_provisioned_environments_are_warm_and_said_to_be(pool_of):
    lab = pool_of(idle_seconds=0.1)
    version = function(
        """
        import os
        def handler(event, context):
            return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    """,
        version="1",
    )
    assert lab.pool.warm(version, 2) == 2
    assert lab.pool.provisioned(version) == (2, 2)
    result = lab.invoke(version)
    assert json.loads(result.payload) == "provisioned-concurrency"
    assert result.cold is False
    # Its initialisation is reported with the first invocation, but was billed before.
    assert "Init Duration" in lab.messages(result)[-1]
    assert result.billed_ms < result.init_ms
    assert any(line.startswith("INIT_REPORT Init Duration: ") for line in lab.stream(result))
    # They do not end by idleness.
    threading.Event().wait(0.3)
    assert lab.pool.provisioned(version) == (2, 2)
    assert lab.pool.warm(version, 1) == 1
    assert lab.pool.warm(version, 0) == 0
    assert lab.pool.status()["environments"] == 0


def test_more_than_provisioned_spills_over_to_on_demand(pool_of):
    lab = pool_of()
    version = function(
        """
        import os, threading
        def handler(event, context):
            threading.Event().wait(0.3)
            return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    """,
        version="1",
    )
    lab.pool.warm(version, 1)
    assert sorted(at_once(lab, version, 2, None)) == ["on-demand", "provisioned-concurrency"]


def test_retire_ends_idle_ones_at_once_and_busy_ones_afterwards(pool_of):
    lab = pool_of()
    version = function(TOGETHER)
    lab.value(version, 0)
    results = []
    thread = threading.Thread(target=lambda: results.append(lab.value(version, 0.4)))
    thread.start()
    until(lambda: lab.pool.status()["busy"] == 1)
    assert lab.pool.retire(version.arn) == 1
    thread.join()
    assert len(results) == 1
    assert lab.pool.status()["environments"] == 0


def test_close_ends_the_busy_ones_too(pool_of):
    lab = pool_of()
    version = function(TOGETHER, timeout_seconds=60)
    lab.value(version, 0)
    results = []
    thread = threading.Thread(target=lambda: results.append(lab.invoke(version, 60)))
    thread.start()
    until(lambda: lab.pool.status()["busy"] == 1)
    lab.pool.close()
    thread.join(5)
    assert results[0].error_type == "Runtime.ExitError"
    with pytest.raises(EnvironmentsClosed):
        lab.invoke(version, 0)


def test_credentials_that_cannot_be_had_leave_nothing_behind(pool_of):
    lab = pool_of(max_environments=1)
    good = lab.session

    class Refused(Exception):
        pass

    def refuse(version):
        raise Refused

    lab.pool._credentials = refuse
    for _ in range(2):
        with pytest.raises(Refused):
            lab.invoke(function(WHERE))
    lab.pool._credentials = lambda version: good
    assert lab.value(function(WHERE))


def test_a_log_sink_that_fails_does_not_fail_the_function(pool_of, caplog):
    lab = pool_of()

    def broken(*arguments):
        raise OSError("no log today")

    lab.pool._on_log = broken
    assert lab.value(function(WHERE))
    assert "were lost" in caplog.text


def test_environments_killed_at_random_under_load(pool_of):
    lab = pool_of(max_environments=4)
    version = function(TOGETHER, timeout_seconds=20)
    stop = threading.Event()

    def kill():
        while not stop.wait(0.02):
            for environment in list(lab.pool._shelf.all)[:1]:
                environment._process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    results = []

    def many():
        for _ in range(15):
            results.append(lab.invoke(version, 0.01))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    killer.join()
    assert len(results) == 60
    assert {result.error_type for result in results} <= {"", "Runtime.ExitError"}
    assert lab.value(version, 0)


def test_a_warm_invocation_costs_little(pool_of):
    lab = pool_of()
    version = function("def handler(event, context):\n    return event\n")
    lab.value(version)
    taken = []
    for _ in range(60):
        began = time.perf_counter()
        lab.pool.invoke(version, b"{}")
        taken.append(time.perf_counter() - began)
    # Far below the 40 ms that a delayed acknowledgement costs, whatever else the machine does.
    assert sorted(taken)[30] < 0.015

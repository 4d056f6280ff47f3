"""What becomes of failed stream batches, over every history the rules allow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.localaws.event_sources.verdicts import (
    EXHAUSTED,
    TOO_OLD,
    Batch,
    Rules,
    aged,
    delay_after,
    failed,
    refused,
)


@dataclass(frozen=True)
class Item:
    sequence: int
    arrived: float = 0.0


def batch(*sequences: int, **more: int) -> Batch:
    return Batch(tuple(Item(sequence) for sequence in sequences), **more)


def sequences(one: Batch | None) -> list[int]:
    return [item.sequence for item in one.items] if one else []


def test_retries_go_on_without_end_by_default():
    verdict = failed(batch(1, 2, failures=5_000), Rules())
    assert sequences(verdict.retry[0]) == [1, 2]
    assert (verdict.retry[0].failures, verdict.delay) == (5_001, 60.0)


def test_no_retries_means_one_attempt():
    verdict = failed(batch(1, 2), Rules(max_retries=0))
    assert (verdict.retry, sequences(verdict.discarded)) == ((), [1, 2])
    assert verdict.condition == EXHAUSTED


def test_two_retries_mean_three_attempts():
    rules, one, attempts = Rules(max_retries=2), batch(1), 0
    while True:
        attempts += 1
        verdict = failed(one, rules)
        if verdict.discarded:
            break
        [one] = verdict.retry
    assert (attempts, verdict.discarded.failures) == (3, 3)


def test_halves_are_tried_at_once_and_with_fresh_retries():
    verdict = failed(batch(1, 2, 3, failures=1), Rules(bisect=True, max_retries=1))
    assert [sequences(one) for one in verdict.retry] == [[1], [2, 3]]
    assert [one.failures for one in verdict.retry] == [0, 0]
    assert (verdict.delay, verdict.discarded) == (0.0, None)


def test_what_came_before_the_first_failed_record_is_done():
    for bisect in (False, True):
        verdict = failed(batch(1, 2, 3, failures=2), Rules(bisect, max_retries=0), 1)
        assert [sequences(one) for one in verdict.retry] == [[2, 3]]
        assert (verdict.retry[0].failures, verdict.delay) == (0, 0.0)


def test_a_refusal_is_no_retry():
    verdict = refused(batch(1, failures=3, refusals=1))
    assert (verdict.retry[0].failures, verdict.retry[0].refusals) == (3, 2)
    assert verdict.delay == 1.0


def test_delays_double_up_to_a_minute():
    delays = [delay_after(attempts) for attempts in range(1, 10)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    # As often as is seen in AWS within a minute.
    assert sum(delays[:6]) < 60 < sum(delays[:7])


def test_age_takes_the_oldest_and_leaves_the_rest():
    one = Batch((Item(1, 0.0), Item(2, 30.0), Item(3, 90.0)), failures=2)
    old, left = aged(one, Rules(max_age=60), 90.0)
    assert (sequences(old), sequences(left)) == ([1, 2], [3])
    assert (old.failures, left.failures) == (2, 2)
    assert aged(one, Rules(), 1e9) == (None, one)


def test_what_the_stream_forgot_is_nowhere():
    one = Batch((Item(1, 0.0), Item(2, 30.0), Item(3, 90.0)))
    old, left = aged(one, Rules(max_age=60, retention=100), 110.0)
    assert (sequences(old), sequences(left)) == ([2], [3])
    assert aged(one, Rules(retention=10), 500.0) == (None, None)


RULES = st.builds(
    Rules,
    bisect=st.booleans(),
    max_retries=st.integers(0, 3),
    max_age=st.sampled_from([-1, 60, 600]),
)


@st.composite
def histories(draw):
    """A batch, rules, and what the function does with each record each time."""
    size = draw(st.integers(1, 12))
    poison = draw(st.sets(st.integers(0, size - 1)))
    reports = draw(st.booleans())
    flaky = draw(st.lists(st.sampled_from(["ok", "refused", "fails"]), max_size=12))
    return size, poison, reports, flaky


@settings(max_examples=300, deadline=None)
@given(RULES, histories())
def test_every_record_is_handled_or_discarded_once_and_in_order(rules, history):
    size, poison, reports, flaky = history
    waiting = deque([Batch(tuple(Item(n, float(n)) for n in range(size)))])
    now, done, discarded, attempts = float(size), [], [], dict.fromkeys(range(size), 0)
    order = []
    for step in range(10_000):
        if not waiting:
            break
        one = waiting.popleft()
        old, one = aged(one, rules, now)
        discarded += [(n, TOO_OLD) for n in sequences(old)]
        if one is None:
            continue
        mood = flaky[step] if step < len(flaky) else "ok"
        if mood == "refused":
            verdict = refused(one)
        else:
            numbers = sequences(one)
            order.append(numbers)
            for n in numbers:
                attempts[n] += 1
            bad = [index for index, n in enumerate(numbers) if n in poison]
            if mood == "ok" and not bad:
                done += numbers
                continue
            first = bad[0] if reports and bad and mood == "ok" else 0
            verdict = failed(one, rules, first)
            done += numbers[:first]
        discarded += [(n, verdict.condition) for n in sequences(verdict.discarded)]
        waiting.extendleft(reversed(verdict.retry))
        assert verdict.delay <= 60
        now += verdict.delay
    assert not waiting
    # Each record ends in exactly one place, and nothing overtakes.
    assert sorted(done + [n for n, _ in discarded]) == [*range(size)]
    assert done == sorted(done)
    assert [n for n, _ in discarded] == sorted(n for n, _ in discarded)
    firsts = list(dict.fromkeys(n for numbers in order for n in numbers))
    assert firsts == sorted(firsts)
    assert not poison & set(done)
    # A single record is tried no more often than retries, splits and reported progress allow.
    splits = size.bit_length() if rules.bisect else 0
    most = rules.max_retries + 1 + splits + size + flaky.count("fails")
    assert all(count <= most for count in attempts.values())
    if rules.bisect and not set(flaky) & {"fails", "refused"} and rules.max_age == -1:
        # Splitting isolates: only the poison is lost.
        assert {n for n, _ in discarded} == poison

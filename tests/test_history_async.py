"""Asynchronous events through random histories: retried on time, and never in two places."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from history_support import SEEDS, Script, fault
from polling_support import Watched, idle, watch
from wiring_support import Wiring, wiring

__all__ = ["idle", "watch", "wiring"]

# Lambda waits a minute before the first retry and two before the second.
DELAYS = (60, 120)


@dataclass
class History:
    """A function with two destinations, the events it was sent, and what came of them."""

    wiring: Wiring
    function: Watched
    rng: random.Random
    attempts: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)
    disturbed: bool = False

    def __post_init__(self) -> None:
        self.retries = self.rng.randint(0, 2)
        self.script = Script(self.rng, ("fail", "die", "killed"), 4)
        self.good, self.bad = self.wiring.queue("good"), self.wiring.queue("bad")
        self.lam, self.name = self.wiring.client("lambda"), self.function.name
        self.lam.put_function_event_invoke_config(
            FunctionName=self.name,
            MaximumRetryAttempts=self.retries,
            DestinationConfig={
                "OnSuccess": {"Destination": self.good.arn},
                "OnFailure": {"Destination": self.bad.arn},
            },
        )
        self.function.decide_asked = self.decide

    def decide(self, event, request_id):
        name = event["name"]
        self.attempts.setdefault(name, []).append((self.wiring.now(), request_id))
        failure = fault(self.function, self.script.attempt([name]))
        if failure is None:
            self.handled.add(name)
        return failure

    # -- what happens ------------------------------------------------------------------------

    def send(self) -> None:
        for _ in range(self.rng.randint(1, 5)):
            name = f"e{len(self.sent)}"
            self.script.plan(name)
            answered = self.lam.invoke(
                FunctionName=self.name,
                InvocationType="Event",
                Payload=json.dumps({"name": name}),
            )
            assert answered["StatusCode"] == 202
            self.sent[name] = answered["ResponseMetadata"]["RequestId"]

    def advance(self) -> None:
        self.wiring.advance(seconds=self.rng.randint(1, 90))

    def kill(self) -> None:
        killed = self.function.kill(lambda: self.rng.random() < 0.7)
        self.disturbed = self.disturbed or killed > 0

    def block(self) -> None:
        """Without any concurrency, events go to the failure side at once."""
        self.wiring.settle()
        self.lam.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
        before = set(self.sent)
        self.send()
        self.wiring.settle()
        self.blocked |= set(self.sent) - before
        self.lam.delete_function_concurrency(FunctionName=self.name)

    def run(self) -> None:
        steps = [self.send, self.send, self.advance, self.advance]
        steps += [self.kill] if self.rng.random() < 0.4 else []
        steps += [self.block] if self.rng.random() < 0.4 else []
        self.send()
        for _ in range(6):
            self.rng.choice(steps)()
        self.wiring.advance(minutes=10)


@pytest.fixture
def history(wiring, watch) -> Iterator[Callable[[int], History]]:
    """Makes histories; their functions forget their destinations afterwards."""
    made: list[History] = []

    def make(seed: int) -> History:
        made.append(History(wiring, watch(), random.Random(seed)))
        return made[-1]

    yield make
    for one in made:
        one.function.decide_asked = None
        one.lam.delete_function_event_invoke_config(FunctionName=one.name)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_event_ends_in_one_place_after_the_retries_it_is_due(history, seed):
    history = history(seed)
    history.run()
    records = {side: {} for side in ("Success", "Failure")}
    for queue, side in ((history.good, "Success"), (history.bad, "Failure")):
        for record in queue.bodies():
            name = record["requestPayload"]["name"]
            assert name not in records[side], f"{name} is there twice"
            records[side][name] = record
    good, bad = records["Success"], records["Failure"]
    assert set(good) | set(bad) == set(history.sent)
    assert not set(good) & set(bad)
    assert set(good) <= history.handled
    if not history.disturbed:
        assert history.handled == set(good)
    for name, request_id in history.sent.items():
        record = (good | bad)[name]
        attempts = history.attempts.get(name, [])
        assert {asked for _, asked in attempts} <= {request_id}
        context = record["requestContext"]
        assert context["requestId"] == request_id
        tries = context["approximateInvokeCount"]
        assert len(attempts) <= tries <= history.retries + 1
        if not history.disturbed:
            assert len(attempts) == tries
        if name in good:
            assert context["condition"] == "Success"
        elif name not in history.blocked and tries == history.retries + 1:
            assert context["condition"] == "RetriesExhausted"
        else:
            # A retry that fell into the time without concurrency, or an event sent then.
            assert context["condition"] == "EventAgeExceeded"
        check_times(history, [when for when, _ in attempts])


def check_times(history: History, times: list[float]) -> None:
    """Retries come when they are due, and hardly later."""
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    if history.disturbed:
        assert all(gap >= DELAYS[0] * 0.95 for gap in gaps)
        return
    for gap, delay in zip(gaps, DELAYS, strict=False):
        assert delay * 0.95 <= gap < delay + 30

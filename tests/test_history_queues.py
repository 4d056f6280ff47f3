"""Queues through random histories: nothing is lost that AWS would not lose, order is kept."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from history_support import SEEDS, Script, fault
from polling_support import Watched, answer, counts, idle, redrive, send, watch
from wiring_support import Queue, Wiring, wiring

__all__ = ["idle", "watch", "wiring"]


@dataclass
class Attempt:
    """One message in one invocation: when, in which, received how often."""

    when: float
    invocation: int
    received: int


@dataclass
class History:
    """A queue, its function, and everything that happened."""

    wiring: Wiring
    function: Watched
    rng: random.Random
    fifo: bool
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)
    groups: dict[str, list[str]] = field(default_factory=dict)
    invocations: Iterator[int] = field(default_factory=itertools.count)
    disturbed: bool = False
    throttled: bool = False

    def __post_init__(self) -> None:
        rng, wiring = self.rng, self.wiring
        self.visibility = rng.choice((60, 90))
        self.receives = rng.randint(1, 3)
        self.reports = rng.random() < 0.5
        self.window = 0 if self.fifo else rng.choice((0, 0, 20))
        kinds = ("fail", "die", "killed", *(("report",) * 3 if self.reports else ()))
        self.script = Script(rng, kinds, 5)
        special = {"FifoQueue": "true"} if self.fifo else {}
        self.dead = wiring.queue("dead", **special)
        self.queue: Queue = wiring.queue(
            VisibilityTimeout=str(self.visibility), **special, **redrive(self.dead, self.receives)
        )
        self.function.decide = self.decide
        response_types = ["ReportBatchItemFailures"] if self.reports else []
        self.mapping = self.function.map(
            self.queue.arn,
            BatchSize=rng.randint(1, 5),
            MaximumBatchingWindowInSeconds=self.window,
            FunctionResponseTypes=response_types,
        )

    def decide(self, event):
        records = event["Records"]
        when, invocation = self.wiring.now(), next(self.invocations)
        for record in records:
            received = int(record["attributes"]["ApproximateReceiveCount"])
            attempt = Attempt(when, invocation, received)
            self.attempts.setdefault(record["body"], []).append(attempt)
        outcomes = self.script.attempt([record["body"] for record in records])
        failure = fault(self.function, outcomes)
        if failure is not None:
            return failure
        failed = self.to_report(records, outcomes)
        names = {record["messageId"] for record in failed}
        self.handled |= {one["body"] for one in records if one["messageId"] not in names}
        return answer({"batchItemFailures": [{"itemIdentifier": name} for name in names]})

    def to_report(self, records, outcomes):
        """What failed, and on a FIFO queue what comes behind it in its group."""
        failed, blocked = [], set()
        for record, outcome in zip(records, outcomes, strict=True):
            group = record["attributes"].get("MessageGroupId")
            if outcome == "report" or (self.fifo and group in blocked):
                failed.append(record)
                blocked.add(group)
        return failed

    # -- what happens ------------------------------------------------------------------------

    def send(self) -> None:
        for _ in range(self.rng.randint(1, 5)):
            body = f"m{sum(map(len, self.groups.values()))}"
            group = self.rng.choice("abc")
            self.groups.setdefault(group, []).append(body)
            self.script.plan(body)
            more = {"MessageGroupId": group, "MessageDeduplicationId": body} if self.fifo else {}
            send(self.wiring, self.queue, body, **more)

    def advance(self) -> None:
        self.wiring.advance(seconds=self.rng.randint(1, self.visibility))

    def kill(self) -> None:
        killed = self.function.kill(lambda: self.rng.random() < 0.7)
        self.disturbed = self.disturbed or killed > 0

    def pause(self) -> None:
        self.function.change(self.mapping, Enabled=False)
        self.advance()
        self.function.change(self.mapping, Enabled=True)

    def throttle(self) -> None:
        self.throttled = True
        lam, name = self.wiring.client("lambda"), self.function.name
        lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.send()
        self.advance()
        lam.delete_function_concurrency(FunctionName=name)

    def run(self) -> None:
        steps = [self.send, self.send, self.send, self.advance, self.advance]
        # Without these the rules are exact, with them they are bounds.
        steps += [self.kill] if self.rng.random() < 0.4 else []
        steps += [self.pause, self.throttle] if self.rng.random() < 0.3 else []
        self.send()
        for _ in range(6):
            self.rng.choice(steps)()
        # Time for every message to use up its receives, one after the other in its group.
        # A poller that was throttled or killed takes a pause of up to five minutes first.
        longest = 4 + (max(map(len, self.groups.values())) if self.fifo else 2)
        for _ in range(longest + 1):
            self.wiring.advance(seconds=(self.receives + 1) * (self.visibility + self.window))
            if counts(self.wiring, self.queue) == (0, 0):
                break


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_message_is_handled_or_lies_where_aws_puts_it(wiring, watch, seed, fifo):
    history = History(wiring, watch(), random.Random(seed), fifo)
    history.run()
    sent = {body for bodies in history.groups.values() for body in bodies}
    dead = history.dead.texts()
    assert counts(wiring, history.queue) == (0, 0)
    assert len(dead) == len(set(dead))
    assert history.handled | set(dead) == sent
    # The function's answer may be lost with its environment; then both is true.
    if not history.disturbed:
        assert not history.handled & set(dead)
    for body, attempts in history.attempts.items():
        received = [attempt.received for attempt in attempts]
        assert received == sorted(set(received)), f"{body} was received {received}"
        assert received[-1] <= history.receives
        if body in dead and not (history.disturbed or history.throttled):
            assert received == [*range(1, history.receives + 1)]
        for earlier, later in zip(attempts, attempts[1:], strict=False):
            steps = later.received - earlier.received
            passed = later.when - earlier.when
            # A message is received at most a window before the function sees it.
            least = steps * history.visibility - history.window - 15
            assert passed >= (0 if history.throttled else least)
    if fifo:
        check_order(history)


def check_order(history: History) -> None:
    """Nothing of a group is handed out while something before it is not done with."""
    for bodies in history.groups.values():
        seen = [body for body in bodies if body in history.attempts]
        for first, second in zip(seen, seen[1:], strict=False):
            together = {attempt.invocation for attempt in history.attempts[first]}
            alone = [a for a in history.attempts[second] if a.invocation not in together]
            last = history.attempts[first][-1].invocation
            assert all(attempt.invocation > last for attempt in alone), (first, second)

"""Random histories: scripts of what fails when, and the seeds they are made from.

Set HISTORIES to run more of them than an ordinary test run does.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

from polling_support import DIE, FAIL, Watched

SEEDS = range(int(os.environ.get("HISTORIES", "2")))


class Script:
    """For every item, what goes wrong at its first, second, ... attempt; then it goes well.

    Outcomes are ``fail`` (raises), ``die`` (ends its process), ``killed`` (its environment is
    killed while it runs) and ``report`` (says that this item failed).
    """

    def __init__(self, rng: random.Random, kinds: tuple[str, ...], most: int) -> None:
        self._rng = rng
        self._kinds = kinds
        self._most = most
        self._planned: dict[str, list[str]] = {}
        self.attempts: Counter[str] = Counter()

    def plan(self, item: str) -> None:
        """Decide what is to happen to *item*: to most nothing."""
        count = self._rng.choice((0, 0, 0, 1, 2, self._most))
        self._planned[item] = [self._rng.choice(self._kinds) for _ in range(count)]

    def attempt(self, items: list[str]) -> list[str | None]:
        """What happens to each of *items* this time."""
        outcomes: list[str | None] = []
        for item in items:
            planned, number = self._planned[item], self.attempts[item]
            outcomes.append(planned[number] if number < len(planned) else None)
            self.attempts[item] += 1
        return outcomes


def fault(function: Watched, outcomes: list[str | None]) -> dict[str, Any] | None:
    """What fails the whole invocation, if anything of the outcomes does."""
    if "killed" in outcomes:
        function.kill_current()
        return FAIL  # Nobody is left to read it.
    if "die" in outcomes:
        return DIE
    return FAIL if "fail" in outcomes else None

"""Rules with a schedule: their timers on the lab's clock, and the event each time brings.

Follows the EventBridge User Guide, "Creating an Amazon EventBridge rule that runs on a schedule".
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.localaws.clock import Timer
from labkit.localaws.services import schedules
from labkit.localaws.services.event_rules import Snapshot

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# Takes account id, region, bus and name; the rule as it is now, or None.
Find = Callable[[str, str, str, str], Snapshot | None]
# Takes the rule, its event, and when that was due.
Trigger = Callable[[Snapshot, Mapping[str, Any], float], None]


class Timers:
    """One timer for every rule with a schedule."""

    def __init__(self, aws: LocalAws, find: Find, trigger: Trigger) -> None:
        self._aws = aws
        self._find = find
        self._trigger = trigger
        self._timers: dict[tuple[str, str, str, str], Timer] = {}
        self._guard = threading.Lock()

    def reset(self, account_id: str, region: str, bus: str, name: str) -> None:
        """Set the timer of a rule anew, after it was put, deleted, enabled or disabled."""
        key = (account_id, region, bus, name)
        with self._guard:
            timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        rule = self._find(*key)
        if rule is not None and rule.schedule and rule.state != "DISABLED":
            self._set(key, rule, self._aws.clock.now())

    def _set(self, key: tuple[str, str, str, str], rule: Snapshot, after: float) -> None:
        due = schedules.parse(rule.schedule).next_after(after)
        if due is None:
            return
        timer = self._aws.clock.call_at(
            due, self._due, key, rule.schedule, due, name=f"rule {rule.name}"
        )
        with self._guard:
            self._timers[key] = timer

    def _due(self, key: tuple[str, str, str, str], schedule: str, due: float) -> None:
        """A schedule's time has come: set the next timer, and show the rule its event."""
        rule = self._find(*key)
        if rule is None or rule.state == "DISABLED" or rule.schedule != schedule:
            return
        self._set(key, rule, due)
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": rule.account_id,
            "time": datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": rule.region,
            "resources": [rule.arn],
            "detail": {},
        }
        self._trigger(rule, event, due)

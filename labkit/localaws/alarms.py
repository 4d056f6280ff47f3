"""Alarms: what they are, when they are evaluated, and what follows from a change of state.

Amazon CloudWatch User Guide, "Using Amazon CloudWatch alarms". An alarm is evaluated every minute
(every ten seconds with a period below a minute) on the lab's clock, but only while there is
something to see: an alarm whose metric has been silent for all of its evaluation range has reached
the state that silence leads to, and sleeps until a data point or a change wakes it. So alarms cost
nothing while nothing happens, also when the clock is moved by a day.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend

from labkit.localaws import alarm_points
from labkit.localaws.alarm_actions import AlarmActions
from labkit.localaws.alarm_evaluation import ALARM, INSUFFICIENT, OK, judge, timestamp
from labkit.localaws.alarm_rules import Rule, name_of
from labkit.localaws.clock import Timer
from labkit.localaws.metrics_store import DAY

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# "AlarmHistoryItem": kept for 30 days; how many of them is ours.
_HISTORY_SECONDS = 30 * DAY
_HISTORY_ITEMS = 20_000
_FIRST_REASON = "Unchecked: Initial alarm creation"


@dataclass(eq=False)
class Alarm:
    """One alarm: how it was configured (as the API calls it), and the state it is in."""

    name: str
    alarm_arn: str
    account_id: str
    region: str
    config: dict[str, Any]
    updated: float
    rule: Rule | None = None
    state: str = INSUFFICIENT
    reason: str = _FIRST_REASON
    reason_data: str | None = None
    state_updated: float = 0.0
    state_transitioned: float = 0.0
    # Of a composite alarm: what holds its actions back, if anything.
    suppressed_by: str | None = None
    timer: Timer | None = None
    deleted: bool = False
    guard: threading.RLock = field(default_factory=threading.RLock)

    @property
    def kind(self) -> str:
        """``MetricAlarm`` or ``CompositeAlarm``."""
        return "MetricAlarm" if self.rule is None else "CompositeAlarm"

    @property
    def actions_enabled(self) -> bool:
        """Whether changes of state lead to actions."""
        return bool(self.config.get("ActionsEnabled", True))

    @property
    def scope(self) -> tuple[str, str]:
        """Account id and region."""
        return self.account_id, self.region


@dataclass(frozen=True)
class HistoryItem:
    """Something that happened to an alarm."""

    alarm_name: str
    alarm_type: str
    when: float
    kind: str
    summary: str
    data: str


class Alarms:
    """All alarms of the local AWS: kept where moto keeps its own, evaluated here."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._actions = AlarmActions(aws, self._record)
        self._history: dict[tuple[str, str], deque[HistoryItem]] = {}
        self._guard = threading.RLock()

    # -- keeping -----------------------------------------------------------------------------

    def of(self, account_id: str, region: str) -> dict[str, Alarm]:
        """The alarms of an account and region, by name."""
        # moto's dictionary: its tagging operations look there for what can be tagged.
        return get_backend("cloudwatch")[account_id][region].alarms

    def find(self, account_id: str, region: str, name: str) -> Alarm | None:
        """An alarm by name or ARN."""
        return self.of(account_id, region).get(name_of(name))

    def put(
        self,
        account_id: str,
        region: str,
        config: Mapping[str, Any],
        rule: Rule | None = None,
    ) -> Alarm:
        """Make an alarm, or give one another configuration; its state stays."""
        now = self._aws.clock.now()
        name = config["AlarmName"]
        arn = f"arn:aws:cloudwatch:{region}:{account_id}:alarm:{name}"
        with self._guard:
            alarms = self.of(account_id, region)
            known = alarms.get(name)
            alarm = Alarm(name, arn, account_id, region, dict(config), now, rule)
            alarm.state_updated = alarm.state_transitioned = now
            if known is not None:
                self._stop(known)
                alarm.state, alarm.reason = known.state, known.reason
                alarm.reason_data = known.reason_data
                alarm.state_updated = known.state_updated
                alarm.state_transitioned = known.state_transitioned
            alarms[name] = alarm
        self._record(
            alarm,
            "ConfigurationUpdate",
            f'Alarm "{name}" {"updated" if known is not None else "created"}',
            {
                "version": "1.0",
                "type": "Update" if known is not None else "Create",
                ("updatedAlarm" if known is not None else "createdAlarm"): _plain(alarm),
            },
        )
        if rule is not None:
            self._evaluate_composite(alarm, None)
        else:
            for metric in alarm_points.metrics_of(alarm.config):
                self._aws.telemetry.store.watch(
                    alarm.scope, metric, alarm, lambda alarm=alarm: self._wake(alarm)
                )
            self._wake(alarm)
        return alarm

    def delete(self, account_id: str, region: str, name: str) -> None:
        """Remove an alarm; its history stays."""
        with self._guard:
            alarm = self.of(account_id, region).pop(name, None)
            if alarm is None:
                return
            self._stop(alarm)
        state = get_backend("cloudwatch")[account_id][region]
        state.tagger.delete_all_tags_for_resource(alarm.alarm_arn)
        self._record(
            alarm,
            "ConfigurationUpdate",
            f'Alarm "{name}" deleted',
            {"version": "1.0", "type": "Delete", "deletedAlarm": _plain(alarm)},
        )

    def _stop(self, alarm: Alarm) -> None:
        alarm.deleted = True
        self._aws.telemetry.store.unwatch(alarm)
        if alarm.timer is not None:
            alarm.timer.cancel()

    # -- history -----------------------------------------------------------------------------

    def history(self, account_id: str, region: str) -> Iterator[HistoryItem]:
        """What happened to alarms, oldest first."""
        horizon = self._aws.clock.now() - _HISTORY_SECONDS
        with self._guard:
            items = list(self._history.get((account_id, region), ()))
        return (item for item in items if item.when >= horizon)

    def _record(self, alarm: Alarm, kind: str, summary: str, data: Mapping[str, Any]) -> None:
        item = HistoryItem(
            alarm.name,
            alarm.kind,
            self._aws.clock.now(),
            kind,
            summary[:255],
            json.dumps(data, separators=(",", ":"), default=str)[:4095],
        )
        with self._guard:
            items = self._history.setdefault(alarm.scope, deque(maxlen=_HISTORY_ITEMS))
            items.append(item)

    # -- evaluating --------------------------------------------------------------------------

    def _wake(self, alarm: Alarm) -> None:
        """Have an alarm evaluated when its next period ends."""
        with alarm.guard:
            if alarm.deleted or (alarm.timer is not None and not alarm.timer.cancelled):
                return
            step = alarm_points.step_of(alarm.config)
            now = self._aws.clock.now()
            when = (now // step + 1) * step
            alarm.timer = self._aws.clock.call_at(
                when, self._evaluate, alarm, when, name=f"alarm {alarm.name}"
            )

    def _evaluate(self, alarm: Alarm, when: float) -> None:
        with alarm.guard:
            alarm.timer = None
            if alarm.deleted:
                return
            current = alarm.state
        terms = alarm_points.terms_of(alarm.config)
        points = alarm_points.points_of(
            self._aws.telemetry, alarm.scope, alarm.config, terms, int(when)
        )
        verdict = judge(terms, points, current, self._aws.clock.now())
        state = verdict.state
        if state == current or alarm_points.too_few_samples(alarm.config, points):
            state = None
        alive = alarm_points.never_silent(alarm.config) or any(
            point.value is not None for point in points
        )
        if state is not None:
            self.change(alarm, state, verdict.reason, verdict.reason_data)
        if alive:
            self._wake(alarm)

    def change(
        self,
        alarm: Alarm,
        state: str,
        reason: str,
        reason_data: str | None,
        path: tuple[str, ...] = (),
    ) -> None:
        """Put an alarm into a state, with everything that follows.

        *path* names the alarms whose change led here: a cycle of composite alarms ends there.
        """
        now = self._aws.clock.now()
        with alarm.guard:
            before = {
                "value": alarm.state,
                "reason": alarm.reason,
                "reasonData": alarm.reason_data,
                "timestamp": timestamp(alarm.state_updated),
            }
            transition = state != alarm.state
            alarm.state, alarm.reason, alarm.reason_data = state, reason, reason_data
            alarm.state_updated = now
            if transition:
                alarm.state_transitioned = now
        if not transition:
            return
        self._record(
            alarm,
            "StateUpdate",
            f"Alarm updated from {before['value']} to {state}",
            {
                "version": "1.0",
                "oldState": _state_record(before["value"], before["reason"], before["reasonData"]),
                "newState": _state_record(state, reason, reason_data),
            },
        )
        suppressor = self._suppressor(alarm)
        self._actions.changed(alarm, before, suppressor is not None and suppressor.state == ALARM)
        self._tell_parents(alarm, (*path, alarm.name))

    def set_state(self, alarm: Alarm, state: str, reason: str, reason_data: str | None) -> None:
        """Put an alarm into a state by hand: until it is evaluated again."""
        self.change(alarm, state, reason, reason_data)
        if alarm.rule is None:
            self._wake(alarm)

    # -- composite alarms --------------------------------------------------------------------

    def _suppressor(self, alarm: Alarm) -> Alarm | None:
        name = alarm.config.get("ActionsSuppressor")
        return self.find(alarm.account_id, alarm.region, name) if name else None

    def _tell_parents(self, child: Alarm, path: tuple[str, ...]) -> None:
        with self._guard:
            parents = [
                each
                for each in self.of(*child.scope).values()
                if each.rule is not None
                and child.name in each.rule.children
                and each.name not in path
            ]
        for parent in parents:
            self._evaluate_composite(parent, child, path)

    def _evaluate_composite(
        self, alarm: Alarm, trigger: Alarm | None, path: tuple[str, ...] = ()
    ) -> None:
        assert alarm.rule is not None
        alarms = self.of(*alarm.scope)

        def state_of(name: str) -> str | None:
            found = alarms.get(name)
            return None if found is None else found.state

        state = ALARM if alarm.rule.holds(state_of) else OK
        if trigger is None:
            reason = f"{alarm.alarm_arn} was created and its alarm rule evaluates to {state}"
            children = [each for name in alarm.rule.children if (each := alarms.get(name))]
            data = _triggers(children)
        else:
            if state == alarm.state:
                return
            moment = alarm_points.long_date(trigger.state_transitioned)
            reason = f"{trigger.alarm_arn} transitioned to {trigger.state} at {moment}"
            data = _triggers([trigger])
        self.change(alarm, state, reason, data, path)


def _triggers(alarms: list[Alarm]) -> str:
    return json.dumps(
        {
            "triggeringAlarms": [
                {
                    "arn": each.alarm_arn,
                    "state": {
                        "value": each.state,
                        "timestamp": timestamp(each.state_transitioned),
                    },
                }
                for each in alarms
            ]
        },
        separators=(",", ":"),
    )


def _state_record(state: Any, reason: Any, reason_data: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"stateValue": state, "stateReason": reason}
    if reason_data:
        try:
            record["stateReasonData"] = json.loads(reason_data)
        except ValueError:
            record["stateReasonData"] = reason_data
    return record


def _plain(alarm: Alarm) -> dict[str, Any]:
    """An alarm's configuration as its history shows it."""
    config = {
        name[:1].lower() + name[1:]: value for name, value in alarm.config.items() if name != "Tags"
    }
    return {"type": alarm.kind, **config, "alarmArn": alarm.alarm_arn}

"""Gauges: metrics that show a state, such as the messages visible in a queue, once a minute.

AWS samples such a state every minute. Here nobody wakes up for it: a gauge is read when a call may
have changed it and when somebody looks, and the minutes between are filled in. So nothing is due on
the clock on their account, and an idle local AWS stays idle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from labkit.localaws.metrics_store import Metric, MetricStore

# Of a gauge: resource it belongs to, the metric, what it shows, unit.
Reading = tuple[str, Metric, float, str]
# Takes account id, region and a resource, or None for all; answers what they show.
Read = Callable[[str, str, str | None], Iterable[Reading]]

# A resource that nobody touched for six hours is no longer sampled (Amazon SQS Developer Guide,
# "Available CloudWatch metrics for Amazon SQS").
_ACTIVE_MINUTES = 360
# Reading may cost something (counting a long queue): at most a twentieth of the time goes into it.
_REST = 20.0


@dataclass
class _State:
    """What is known of one resource's gauges."""

    minute: int
    shown: list[tuple[Metric, float, str]] = field(default_factory=list)
    touched: int = 0
    # The first minute since whose end nobody has looked although a call came.
    unread: int | None = None
    rest_until: float = 0.0


class Gauges:
    """All registered gauges and what they showed when they were last read."""

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        self._readers: dict[str, list[Read]] = {}
        self._states: dict[tuple[str, str, str, str], _State] = {}
        self._guard = threading.Lock()

    def register(self, namespace: str, read: Read) -> None:
        """Have *read* asked for the gauges of *namespace*, instead of nobody or besides others."""
        self._readers.setdefault(namespace, []).append(read)

    def replace(self, namespace: str, read: Read) -> None:
        """Have *read* asked for the gauges of *namespace* instead of whoever was asked so far."""
        self._readers[namespace] = [read]

    def touched(self, namespace: str, account_id: str, region: str, resource: str) -> None:
        """Note that a call may have changed what *resource*'s gauges show."""
        if namespace not in self._readers:
            return
        minute = int(time.time()) // 60
        key = (namespace, account_id, region, resource)
        with self._guard:
            state = self._states.setdefault(key, _State(minute))
            state.touched = minute
            if state.rest_until > time.monotonic():
                if state.unread is None:
                    state.unread = minute
                return
            # The next one may go ahead only after this reading, whoever does it.
            state.rest_until = float("inf")
        started = time.monotonic()
        try:
            self._read(namespace, account_id, region, resource)
        finally:
            ended = time.monotonic()
            state.rest_until = ended + (ended - started) * _REST

    def look(self, namespace: str | None, account_id: str, region: str) -> None:
        """Read the gauges of *namespace*, or all, because somebody wants to see them."""
        for name in [namespace] if namespace is not None else list(self._readers):
            if name in self._readers:
                self._read(name, account_id, region, None)

    def _read(self, namespace: str, account_id: str, region: str, resource: str | None) -> None:
        shown: dict[str, list[tuple[Metric, float, str]]] = {}
        for read in self._readers[namespace]:
            for of, metric, value, unit in read(account_id, region, resource):
                shown.setdefault(of, []).append((metric, value, unit))
        minute = int(time.time()) // 60
        values: list[tuple[Metric, float, str, int]] = []
        with self._guard:
            for of, readings in shown.items():
                key = (namespace, account_id, region, of)
                state = self._states.get(key)
                if state is None:
                    state = self._states[key] = _State(minute, touched=minute)
                values += _noted(state, readings, minute, resource is not None)
        # Not under the lock: whoever watches a metric is told here, and may come back to look.
        for metric, value, unit, at in values:
            self._store.put((account_id, region), metric, value, unit, at)


def _noted(
    state: _State, readings: list[tuple[Metric, float, str]], minute: int, by_touch: bool
) -> Iterator[tuple[Metric, float, str, int]]:
    """What the minutes up to now showed, as far as nobody has noted it yet."""
    last = min(minute, (minute if by_touch else state.touched) + _ACTIVE_MINUTES)
    # Until the call nobody looked after, what was seen before it holds; without such a call,
    # what changed since then changed by itself, as when a message became visible again.
    known_until = minute if by_touch else state.minute + 1
    if state.unread is not None:
        known_until = state.unread
    for past in range(state.minute + 1, min(known_until, last + 1)):
        yield from _shifted(state.shown, past, state.minute)
    for past in range(max(known_until, state.minute), last + 1):
        yield from _shifted(readings, past, minute)
    state.minute, state.shown, state.unread = minute, readings, None


def _shifted(
    readings: list[tuple[Metric, float, str]], minute: int, read_in: int
) -> Iterator[tuple[Metric, float, str, int]]:
    """Readings as they are for another minute: an age was younger before and is older after."""
    for metric, value, unit in readings:
        if unit == "Seconds" and value:
            value += (minute - read_in) * 60
            if value < 0:
                continue
        yield metric, value, unit, minute * 60

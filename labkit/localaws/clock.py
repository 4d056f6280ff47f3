"""The lab's clock: the one time inside the local AWS, which can be moved forward.

moto and everything else in the process read the wall clock in many ways; all of them are moved
together (time-machine), while ``time.monotonic`` stays real for timeouts of real work. What is
due at some time is registered here and happens in order, each at its own time, whether the time
comes by waiting or by :meth:`Clock.advance`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import time_machine

from labkit.localaws.activity import Activity

# How long one step of advance waits, in real seconds, for the work it started to end.
STEP_SETTLE_SECONDS = 120.0


@dataclass(order=True)
class Timer:
    """Something due at a lab time; ``cancel()`` takes it back."""

    when: float
    order: int
    name: str = field(compare=False)
    work: Callable[[], Any] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Take the timer back; nothing happens when it already fired."""
        self.cancelled = True


class Clock:
    """Lab time in epoch seconds, moved forward on demand, with timers that follow it."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._advancing = threading.Lock()
        self._stepping = False
        self._closed = False
        self._travel: time_machine.travel | None = None
        self._traveller: time_machine.Traveller | None = None
        self.offset = 0.0
        # Real time of each move of the clock, and how far ahead it was from then on.
        self._moves: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Lab time, epoch seconds."""
        return time.time()

    def real_now(self) -> float:
        """The machine's own time, epoch seconds."""
        if self._traveller is None:
            return time.time()
        return time_machine.escape_hatch.time.time()

    def offset_at(self, real: float) -> float:
        """By how many seconds lab time was ahead of real time at *real* (epoch seconds)."""
        return next((ahead for moved, ahead in reversed(self._moves) if moved <= real), 0.0)

    def call_at(self, when: float, work: Callable[..., Any], *args: Any, name: str = "") -> Timer:
        """Have *work* run in the background when lab time reaches *when* (epoch seconds)."""
        label = name or getattr(work, "__qualname__", "timer")
        timer = Timer(when, next(self._order), label, lambda: work(*args))
        with self._changed:
            heapq.heappush(self._timers, timer)
            self._changed.notify_all()
        return timer

    def call_later(self, delay: float, work: Callable[..., Any], *args: Any, name: str = "") -> Timer:
        """Have *work* run in the background *delay* lab seconds from now."""
        return self.call_at(self.now() + delay, work, *args, name=name)

    def due(self) -> list[tuple[float, str]]:
        """What is registered and not yet due: (epoch seconds, name), soonest first."""
        with self._changed:
            return sorted((t.when, t.name) for t in self._timers if not t.cancelled)

    def advance(self, seconds: float) -> list[tuple[float, str]]:
        """Move lab time forward and let everything due on the way happen, in order.

        Returns what fired: (epoch seconds, name). Each step waits until the work it started has
        ended, so that what that work schedules finds its place before the next step.
        """
        if seconds < 0:
            raise ValueError("the lab's clock only moves forward")
        fired: list[tuple[float, str]] = []
        with self._advancing:
            self._activity.settle(STEP_SETTLE_SECONDS)
            target = self.now() + seconds
            with self._changed:
                self._stepping = True
            try:
                while (timer := self._pop_due(target)) is not None:
                    self._move_to(timer.when)
                    fired.append((timer.when, timer.name))
                    self._activity.submit(timer.work, name=timer.name)
                    # Timers of one instant happen together; the rest waits for them.
                    while (twin := self._pop_due(timer.when)) is not None:
                        fired.append((twin.when, twin.name))
                        self._activity.submit(twin.work, name=twin.name)
                    self._activity.settle(STEP_SETTLE_SECONDS)
                self._move_to(target)
            finally:
                with self._changed:
                    self._stepping = False
                    self._changed.notify_all()
        return fired

    def close(self) -> None:
        """Stop the timers and give the process its real time back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._travel is not None:
            self._travel.stop()
            self._travel = self._traveller = None

    def _move_to(self, when: float) -> None:
        shift = when - self.now()
        if shift <= 0:
            return
        if self._traveller is None:
            self._travel = time_machine.travel(when, tick=True)
            self._traveller = self._travel.start()
        else:
            self._traveller.shift(shift)
        self.offset += shift
        self._moves.append((self.real_now(), self.offset))

    def _pop_due(self, until: float) -> Timer | None:
        with self._changed:
            while self._timers and self._timers[0].cancelled:
                heapq.heappop(self._timers)
            if self._timers and self._timers[0].when <= until:
                return heapq.heappop(self._timers)
            return None

    def _run(self) -> None:
        """Fire timers whose time comes by itself."""
        while True:
            with self._changed:
                if self._closed:
                    return
                while self._timers and self._timers[0].cancelled:
                    heapq.heappop(self._timers)
                if self._stepping or not self._timers:
                    self._changed.wait()
                    continue
                wait = self._timers[0].when - self.now()
                if wait > 0:
                    # A day at most: platforms limit how long a lock may be waited for.
                    self._changed.wait(min(wait, 86_400.0))
                    continue
                timer = heapq.heappop(self._timers)
                self._activity.submit(timer.work, name=timer.name)

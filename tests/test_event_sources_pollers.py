"""What all pollers share: woken once for many causes, one look at a time, timers that hold."""

from __future__ import annotations

from types import SimpleNamespace

from labkit.localaws.event_sources.poller import Poller


class Clock:
    """A clock that only keeps what is registered."""

    def __init__(self):
        self.time = 0.0
        self.timers = []

    def now(self):
        return self.time

    def call_at(self, when, work, *args, name=""):
        timer = SimpleNamespace(when=when, fire=lambda: work(*args), cancelled=False)
        timer.cancel = lambda: setattr(timer, "cancelled", True)
        self.timers.append(timer)
        return timer

    def due(self):
        return [timer for timer in self.timers if not timer.cancelled]

    def fire(self):
        """Have the earliest timer happen."""
        timer = min(self.due(), key=lambda timer: timer.when)
        self.timers.remove(timer)
        timer.fire()


class Looker(Poller):
    """Looks again when it is told to."""

    def __init__(self):
        self.clock, self.work = Clock(), []
        aws = SimpleNamespace(
            clock=self.clock,
            activity=SimpleNamespace(submit=lambda work, *args, name="": self.work.append(work)),
        )
        super().__init__(aws, SimpleNamespace(source_arn="arn", config={}))
        self.looks, self.again, self.during = 0, None, lambda: None

    def look(self):
        self.looks += 1
        self.during()
        return self.again

    def run(self):
        """Do the background work there is."""
        while self.work:
            self.work.pop(0)()


def started():
    looker = Looker()
    looker.start()
    looker.run()
    return looker


def test_many_causes_are_one_look():
    looker = started()
    for _ in range(5):
        looker.wake()
    looker.run()
    assert looker.looks == 2


def test_a_cause_during_a_look_is_a_further_look():
    looker = started()

    def during():
        if looker.looks == 2:
            looker.wake()

    looker.during = during
    looker.wake()
    looker.run()
    assert looker.looks == 3


def test_a_timer_that_fires_a_hair_early_is_set_again():
    looker = Looker()
    looker.again = 10.0
    looker.start()
    looker.run()
    looker.clock.time = 9.999999999
    looker.clock.fire()
    looker.run()
    assert [timer.when for timer in looker.clock.due()] == [10.0]


def test_an_earlier_moment_replaces_a_later_one():
    looker = Looker()
    looker.again = 10.0
    looker.start()
    looker.run()
    looker.again = 5.0
    looker.wake()
    looker.run()
    assert [timer.when for timer in looker.clock.due()] == [5.0]


def test_nothing_happens_to_a_stopped_poller():
    looker = Looker()
    looker.again = 10.0
    looker.start()
    looker.run()
    looker.stop()
    assert looker.clock.due() == []
    looker.wake()
    looker.run()
    assert looker.looks == 1


def test_a_look_that_fails_is_tried_again_later_each_time():
    looker = Looker()

    def broken():
        raise RuntimeError("broken")

    looker.during = broken
    looker.start()
    looker.run()
    waits = []
    for _ in range(12):
        [timer] = looker.clock.due()
        waits.append(timer.when - looker.clock.time)
        looker.clock.time = timer.when
        looker.clock.fire()
        looker.run()
    assert waits[:4] == [1, 2, 4, 8] and waits[-1] == 300

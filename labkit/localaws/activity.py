"""Background work of the local AWS, counted, so that anyone can tell when nothing is left to do.

Deliveries, asynchronous invocations and due timers run here. What merely waits for something to
happen (an idle poller) does not count: it would never settle.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

log = logging.getLogger(__name__)

# A worker thread that found nothing to do for this long ends.
_IDLE_SECONDS = 10.0


class Activity:
    """Runs work in the background and knows how much of it is unfinished."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()
        self._queue: SimpleQueue[tuple[str, Callable[..., Any], tuple, dict] | None] = SimpleQueue()
        self._idle_workers = 0
        self._closed = False

    def submit(self, work: Callable[..., Any], *args: Any, name: str = "", **kwargs: Any) -> None:
        """Run *work* soon on a worker thread; counted from now until it returns."""
        label = name or getattr(work, "__qualname__", "work")
        with self._changed:
            if self._closed:
                return
            self._running[label] += 1
            # One thread per piece of work in flight: work may wait for other work.
            need_thread = self._idle_workers == 0
            if not need_thread:
                self._idle_workers -= 1
        self._queue.put((label, work, args, kwargs))
        if need_thread:
            threading.Thread(target=self._work, name="activity", daemon=True).start()

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count the block as unfinished work, on whatever thread it runs."""
        with self._changed:
            self._running[name] += 1
        try:
            yield
        finally:
            self._done(name)

    def running(self) -> dict[str, int]:
        """What is unfinished: label to number of pieces."""
        with self._changed:
            return {label: count for label, count in self._running.items() if count}

    def settle(self, timeout_seconds: float | None = None) -> bool:
        """Wait until nothing is running; False when that did not happen in real time."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._changed:
            while any(self._running.values()):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def close(self) -> None:
        """Take no further work; what runs goes on until it ends or the process does."""
        with self._changed:
            self._closed = True

    def _done(self, label: str) -> None:
        with self._changed:
            self._running[label] -= 1
            if self._running[label] <= 0:
                del self._running[label]
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._changed:
                    # A submit may have counted on this thread between the timeout and here.
                    if self._idle_workers > 0:
                        self._idle_workers -= 1
                        return
                continue
            assert item is not None
            label, work, args, kwargs = item
            try:
                work(*args, **kwargs)
            except Exception:
                log.exception("background work failed: %s", label)
            finally:
                with self._changed:
                    self._idle_workers += 1
                self._done(label)

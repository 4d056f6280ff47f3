"""One environment's log: collects events in order, stamps them, hands them on, keeps the tail."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from labkit.localaws.runtime.output import LEVELS, Line, OutputParser, level_of
from labkit.localaws.runtime.version import FunctionVersion

# X-Amz-Log-Result carries the last 4 KB (Lambda API Reference, Invoke).
TAIL_BYTES = 4096
_FLUSH_EVENTS = 2000

_logger = logging.getLogger(__name__)
LogSink = Callable[[Any, str, list[tuple[int, str]]], None]


class EnvironmentLog:
    """The way from an environment's output to the sink, in order and at once per flush.

    Timestamps are milliseconds of the lab's clock and never go back. The sink gets
    ``(environment, request_id, [(timestamp, message), ...])``; request_id is empty outside
    invocations.
    """

    def __init__(
        self,
        environment: Any,
        version: FunctionVersion,
        sink: LogSink,
        now: Callable[[], float],
        real_now: Callable[[], float],
    ) -> None:
        self._environment = environment
        self._sink = sink
        self._now = now
        self._real_now = real_now
        self._parser = OutputParser()
        self._pending: list[tuple[int, str]] = []
        self._latest = 0
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.request_id = ""
        # Only the JSON format filters by level.
        self._least = 0
        if version.log_format == "JSON":
            self._least = LEVELS.get((version.application_log_level or "INFO").upper(), 3)

    def begin(self, request_id: str) -> None:
        """From now on events belong to *request_id*, and the tail starts anew."""
        self.flush()
        self.request_id = request_id
        self._tail.clear()
        self._tail_size = 0

    def platform(self, messages: Iterable[str], when: float | None = None) -> None:
        """Add messages of the platform, behind all output so far."""
        self._lines(self._parser.finish())
        for message in messages:
            self._add(int((self._now() if when is None else when) * 1000), message)

    def output(self, data: bytes) -> None:
        """Add what the function wrote."""
        self._lines(self._parser.feed(data))

    def _lines(self, lines: list[Line]) -> None:
        if not lines:
            return
        now = self._now()
        # The function's clock is the machine's, the log's is the lab's.
        ahead = now - self._real_now()
        for line in lines:
            if self._least and level_of(line) < self._least:
                continue
            when = now
            if line.timestamp_us is not None:
                when = min(now, line.timestamp_us / 1e6 + ahead)
            self._add(int(when * 1000), line.message)
        if len(self._pending) >= _FLUSH_EVENTS:
            self.flush()

    def _add(self, timestamp: int, message: str) -> None:
        self._latest = max(self._latest, timestamp)
        self._pending.append((self._latest, message))
        data = message.encode("utf-8", "replace")
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) >= TAIL_BYTES:
            self._tail_size -= len(self._tail.popleft())

    def flush(self) -> None:
        """Hand everything on to the sink."""
        if self._pending:
            events, self._pending = self._pending, []
            try:
                self._sink(self._environment, self.request_id, events)
            except Exception:
                # On AWS too a function runs on when its log cannot be written.
                _logger.exception("log events of %s were lost", self.request_id or "an init")

    def tail(self) -> bytes:
        """The last 4 KB since :meth:`begin`."""
        return b"".join(self._tail)[-TAIL_BYTES:]

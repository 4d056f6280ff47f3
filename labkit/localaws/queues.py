"""Messages in a queue as Amazon SQS keeps them: visibility, redrive, order, de-duplication.

Follows the Amazon SQS Developer Guide, "Amazon SQS visibility timeout", "Using dead-letter
queues", "Amazon SQS FIFO queues" and "Short and long polling". No I/O and no clock of its own:
every method takes the lab time it happens at (epoch seconds).
"""

from __future__ import annotations

import heapq
import secrets
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

DEDUPLICATION_SECONDS = 300.0
IN_FLIGHT_LIMIT = 120_000


class OverLimit(Exception):
    """The queue has as many messages in flight as it may."""


class ReceiptHandleInvalid(Exception):
    """The receipt handle was never issued by this queue."""


class ReceiptHandleExpired(Exception):
    """The receipt handle's visibility timeout has passed (FIFO queues refuse it then)."""


class MessageNotInFlight(Exception):
    """The message is visible already, so its visibility can't be changed."""


@dataclass(eq=False)
class Message:
    """One message of a queue. Times are lab time in epoch seconds."""

    body: str
    attributes: dict[str, Any]
    sender_id: str
    sent: float
    visible_at: float
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    system_attributes: dict[str, Any] = field(default_factory=dict)
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    first_received: float | None = None
    receive_count: int = 0
    receipt_handle: str | None = None
    in_flight: bool = False
    deleted: bool = False
    # Set when it was moved by a redrive policy: the ARN of the queue it came from.
    source_arn: str | None = None


class MessageQueue:
    """The messages of one queue. Thread-safe."""

    def __init__(self, *, fifo: bool) -> None:
        self.fifo = fifo
        self._guard = threading.RLock()
        self._order = 0
        # Ready to be received, oldest first; FIFO: one line per message group.
        self._ready: OrderedDict[str | None, deque[Message]] = OrderedDict()
        # In flight or delayed: (when it becomes visible, order, message).
        self._hidden: list[tuple[float, int, Message]] = []
        # Everything that is not deleted, oldest first, for retention.
        self._all: OrderedDict[str, Message] = OrderedDict()
        self._by_handle: dict[str, Message] = {}
        self._locked_groups: dict[str, set[str]] = {}
        self._duplicates: OrderedDict[tuple[str | None, str], tuple[float, Message]] = OrderedDict()
        self._sequence = 18_850_000_000_000_000_000
        self._in_flight = 0
        self._listeners: list[Callable[[], None]] = []

    # -- sending -----------------------------------------------------------------------------

    def send(self, message: Message, *, per_group: bool = False) -> Message:
        """Add *message* and return what is in the queue for it: an earlier one if a duplicate.

        A FIFO queue keeps de-duplication ids for five minutes, per queue or per group.
        """
        with self._guard:
            if self.fifo and message.deduplication_id:
                key = (message.group_id if per_group else None, message.deduplication_id)
                self._forget_duplicates(message.sent)
                if key in self._duplicates:
                    return self._duplicates[key][1]
                self._duplicates[key] = (message.sent, message)
            if self.fifo:
                self._sequence += 256
                message.sequence_number = str(self._sequence)
            self._put(message)
        self._tell()
        return message

    def accept(self, message: Message) -> None:
        """Take a message over from another queue as it is (redrive keeps id and sent time)."""
        with self._guard:
            self._put(message)
        self._tell()

    def _put(self, message: Message) -> None:
        self._all[message.message_id] = message
        if message.visible_at > message.sent or message.in_flight:
            self._hide(message)
        else:
            self._ready.setdefault(message.group_id if self.fifo else None, deque()).append(message)

    # -- receiving ---------------------------------------------------------------------------

    def receive(
        self,
        now: float,
        most: int,
        visibility_timeout: float,
        *,
        retention: float,
        max_receive_count: int | None = None,
        redrive: Callable[[Message], None] | None = None,
    ) -> list[Message]:
        """Up to *most* visible messages, each hidden now for *visibility_timeout* seconds.

        A message that was received *max_receive_count* times already is handed to *redrive*
        instead. Raises OverLimit when too many are in flight.
        """
        moved: list[Message] = []
        taken: list[Message] = []
        with self._guard:
            self._settle(now, retention)
            if self._in_flight >= IN_FLIGHT_LIMIT and any(self._ready.values()):
                raise OverLimit
            for group in list(self._ready):
                if len(taken) >= most:
                    break
                if self.fifo and self._locked_groups.get(group or ""):
                    continue
                line = self._ready[group]
                while line and len(taken) < most:
                    message = line.popleft()
                    if message.deleted:
                        continue
                    if (
                        max_receive_count is not None
                        and redrive is not None
                        and message.receive_count >= max_receive_count
                    ):
                        self._drop(message)
                        moved.append(message)
                        continue
                    self._take(message, now, visibility_timeout)
                    taken.append(message)
                if not line:
                    del self._ready[group]
                elif self.fifo:
                    # Other groups get their turn first next time.
                    self._ready.move_to_end(group)
        for message in moved:
            message.deleted = False
            message.in_flight = False
            assert redrive is not None
            redrive(message)
        return taken

    def _take(self, message: Message, now: float, visibility_timeout: float) -> None:
        message.receive_count += 1
        message.first_received = now if message.first_received is None else message.first_received
        message.receipt_handle = secrets.token_urlsafe(96)
        self._by_handle[message.receipt_handle] = message
        message.in_flight = True
        message.visible_at = now + visibility_timeout
        self._in_flight += 1
        if self.fifo:
            self._locked_groups.setdefault(message.group_id or "", set()).add(message.message_id)
        self._hide(message)

    # -- afterwards --------------------------------------------------------------------------

    def delete(self, receipt_handle: str, now: float) -> None:
        """Delete the message received with this handle; an outdated handle deletes nothing.

        Raises ReceiptHandleInvalid for a handle never issued, ReceiptHandleExpired where a FIFO
        queue's visibility timeout has passed.
        """
        with self._guard:
            message = self._by_handle.get(receipt_handle)
            if message is None:
                raise ReceiptHandleInvalid
            self._surface(now)
            if message.deleted or message.receipt_handle != receipt_handle:
                return
            if self.fifo and not message.in_flight:
                raise ReceiptHandleExpired
            self._drop(message)
        self._tell()

    def change_visibility(self, receipt_handle: str, timeout: float, now: float) -> None:
        """Hide an in-flight message for *timeout* seconds from now; 0 shows it at once.

        Raises ReceiptHandleInvalid or MessageNotInFlight.
        """
        with self._guard:
            message = self._by_handle.get(receipt_handle)
            if message is None or message.deleted:
                raise ReceiptHandleInvalid
            self._surface(now)
            if message.receipt_handle != receipt_handle or not message.in_flight:
                raise MessageNotInFlight
            message.visible_at = now + timeout
            self._hide(message)
            self._surface(now)
        self._tell()

    def remove(self, message: Message) -> None:
        """Delete one message, whatever its state."""
        with self._guard:
            self._drop(message)

    def purge(self) -> None:
        """Delete every message."""
        with self._guard:
            for message in list(self._all.values()):
                self._drop(message)
            self._ready.clear()
            self._hidden.clear()

    # -- looking -----------------------------------------------------------------------------

    def counts(self, now: float, retention: float) -> tuple[int, int, int]:
        """How many messages are (visible, in flight, delayed)."""
        with self._guard:
            self._settle(now, retention)
            hidden = [m for _, _, m in self._live_hidden()]
            in_flight = sum(m.in_flight for m in hidden)
            return len(self._all) - len(hidden), in_flight, len(hidden) - in_flight

    def oldest_sent(self, now: float, retention: float) -> float | None:
        """When the oldest message that is not in flight was sent; None for an empty queue."""
        with self._guard:
            self._settle(now, retention)
            return next((m.sent for m in self._all.values() if not m.in_flight), None)

    def has_ready(self, now: float) -> bool:
        """Whether a receive would find something at this time."""
        with self._guard:
            self._surface(now)
            return any(
                line and not (self.fifo and self._locked_groups.get(group or ""))
                for group, line in self._ready.items()
            )

    def next_visible(self, now: float) -> float | None:
        """When the next hidden message becomes visible; None when none is hidden."""
        with self._guard:
            self._surface(now)
            # Deleted messages and changed visibilities leave entries behind.
            while self._hidden:
                when, _, message = self._hidden[0]
                if not message.deleted and message.visible_at == when:
                    return when
                heapq.heappop(self._hidden)
            return None

    def messages(self) -> list[Message]:
        """Every message that is not deleted, oldest first."""
        with self._guard:
            return list(self._all.values())

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have *listener* called whenever there may be something new; returns how to stop it."""
        with self._guard:
            self._listeners.append(listener)

        def stop() -> None:
            with self._guard:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    # -- inside ------------------------------------------------------------------------------

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _hide(self, message: Message) -> None:
        self._order += 1
        heapq.heappush(self._hidden, (message.visible_at, self._order, message))

    def _live_hidden(self) -> list[tuple[float, int, Message]]:
        # A changed visibility leaves its old entry behind; only the one that matches counts.
        seen: set[str] = set()
        live = []
        for entry in sorted(self._hidden, reverse=True):
            when, _, message = entry
            if not message.deleted and message.visible_at == when:
                if message.message_id not in seen:
                    seen.add(message.message_id)
                    live.append(entry)
        return live

    def _surface(self, now: float) -> None:
        """Make visible what is due."""
        while self._hidden and self._hidden[0][0] <= now:
            when, _, message = heapq.heappop(self._hidden)
            if message.deleted or message.visible_at != when:
                continue
            # Another entry with the same moment must not surface it twice.
            message.visible_at = -when
            if message.in_flight:
                self._unlock(message)
            line = self._ready.setdefault(message.group_id if self.fifo else None, deque())
            if self.fifo and message.receive_count:
                # Back to its place: before everything of its group that came later.
                earlier = [m for m in line if _sequence(m) < _sequence(message)]
                later = [m for m in line if _sequence(m) >= _sequence(message)]
                line.clear()
                line.extend([*earlier, message, *later])
            else:
                line.append(message)

    def _settle(self, now: float, retention: float) -> None:
        self._surface(now)
        while self._all:
            oldest = next(iter(self._all.values()))
            if oldest.sent + retention > now:
                return
            self._drop(oldest)

    def _drop(self, message: Message) -> None:
        message.deleted = True
        self._all.pop(message.message_id, None)
        if message.in_flight:
            self._unlock(message)

    def _unlock(self, message: Message) -> None:
        message.in_flight = False
        self._in_flight -= 1
        if self.fifo:
            group = self._locked_groups.get(message.group_id or "")
            if group is not None:
                group.discard(message.message_id)
                if not group:
                    del self._locked_groups[message.group_id or ""]

    def _forget_duplicates(self, now: float) -> None:
        while self._duplicates:
            key, (sent, _) = next(iter(self._duplicates.items()))
            if now - sent < DEDUPLICATION_SECONDS:
                return
            del self._duplicates[key]


def _sequence(message: Message) -> int:
    return int(message.sequence_number or 0)

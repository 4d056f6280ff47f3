"""Two orders that a verification sends, and what can be seen of them in every service.

Each is sent when something about it is first asked for, and everything is read once. An order
above 300 goes through S3, as real ones do; a small one goes as a test event.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from labkit import logs, metrics, reading, traffic
from labkit.control import Mail
from labkit.logs import LogLine
from labkit.orders import RawOrder
from labkit.reading import Message, StreamRecord
from labkit.session import Lab
from labkit.waiting import looks

Found = TypeVar("Found")


def once(make: Callable[[Any], Found]) -> property:
    """A property that is made when first asked for; what went wrong then is remembered as well."""
    name = make.__name__

    def get(self: Witness) -> Found:
        if name not in self._known:
            try:
                self._known[name] = (make(self), None)
            except Exception as problem:
                self._known[name] = (None, problem)
        found, problem = self._known[name]
        if problem is not None:
            raise problem
        return found

    return property(get, doc=make.__doc__)


HIGH = Decimal("300.01")
# On a real account, what was done shows after a while: messages in seconds, metrics in minutes.
_SECONDS, _MINUTES = 60.0, 300.0


class Witness:
    """The orders that bear witness; made anew for each verification.

    *outcome* is traffic that was just processed: a new order above 300 in it is taken as the
    witness, so that a run needs no extra one.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.name = uuid.uuid4().hex[:8]
        self.outcome: traffic.Outcome | None = None
        self._known: dict[str, tuple[Any, Exception | None]] = {}

    @once
    def started(self) -> datetime:
        """The time before anything was sent (UTC), and with it, what the stream had counted."""
        started = self.lab.clock.stamp()
        self._counted_before = self._incoming(started)
        return started

    # -- sending -----------------------------------------------------------------------------

    @property
    def test_order(self) -> dict[str, Any]:
        """The order sent as a test event; not of high value."""
        return {"OrderId": f"TEST-{self.name}", "Amount": 42.5}

    @once
    def test(self) -> traffic.Invocation:
        """What the function answered to the test event."""
        _ = self.started
        return traffic.invoke(self.lab, self.test_order)

    @once
    def sent(self) -> traffic.Outcome:
        """What became of the order that went through S3, once the pipeline had drained."""
        _ = self.started
        if self.outcome is not None and self._taken(self.outcome) is not None:
            return self.outcome
        order = {"OrderId": f"WITNESS-{self.name}", "Amount": float(HIGH), "Customer": "the lab"}
        record = RawOrder(f"witness-{self.name}", json.dumps(order).encode(), "verification")
        return traffic.process(self.lab, [record])

    @once
    def order(self) -> dict[str, Any]:
        """The order above 300 that went through S3."""
        taken = self._taken(self.sent)
        assert taken is not None
        return taken[1]

    @once
    def key(self) -> str:
        """The S3 key of that order."""
        taken = self._taken(self.sent)
        assert taken is not None
        return taken[0]

    @property
    def order_id(self) -> str:
        """The id of that order."""
        return self.order["OrderId"]

    # -- seeing ------------------------------------------------------------------------------

    @once
    def item(self) -> dict[str, Any] | None:
        """The order's item in the table, or None."""
        order_id = self.order_id
        return self._seen(
            "Waiting for the order in the table",
            lambda: reading.items(self.lab, [order_id]).get(order_id),
        )

    @once
    def messages(self) -> list[Message]:
        """All messages in HighValueQueue, once those of the order can be seen."""
        order_id = self.order_id
        kept: list[Message] = []

        def look() -> bool:
            kept[:] = reading.messages(self.lab, self.lab.names.queue)
            return {True, False} == {m.notification is None for m in _about(kept, order_id)}

        self._seen("Waiting for the messages in the queue", look)
        return kept

    @property
    def own_messages(self) -> list[Message]:
        """The messages that the function itself sent about the order."""
        return [m for m in _about(self.messages, self.order_id) if m.notification is None]

    @property
    def notifications(self) -> list[Message]:
        """The topic's notifications about the order, as the queue got them."""
        return [m for m in _about(self.messages, self.order_id) if m.notification is not None]

    @once
    def mails(self) -> dict[str, Mail]:
        """The mails about orders, by OrderId; read from the lab's mailbox after the order."""
        _ = self.sent
        return reading.mails(self.lab)

    @once
    def records(self) -> list[StreamRecord]:
        """All records that came onto the stream since the start, once the order's is there."""
        order_id = self.order_id
        kept: list[StreamRecord] = []

        def look() -> bool:
            kept[:] = reading.stream_records(self.lab, self.since)
            return any(record.partition_key == order_id for record in kept)

        self._seen("Waiting for the record on the stream", look)
        return kept

    @once
    def log(self) -> list[LogLine]:
        """What the function logged since the start, once the end of its last run is there."""
        key, test = self.key, self.test
        kept: list[LogLine] = []

        def look() -> bool:
            kept[:] = logs.lines(self.lab, self.since)
            ended = {line.request_id for line in kept if line.platform == "REPORT"}
            return test.request_id in ended and any(key in line.text for line in kept)

        self._seen("Waiting for the function's log", look)
        return kept

    @once
    def counted(self) -> tuple[float, float]:
        """How many records CloudWatch had counted on the stream before, and has counted now."""
        started, _ = self.started, self.sent

        def look() -> float:
            now = self._incoming(started)
            return now if now > self._counted_before else 0.0

        now = self._seen("Waiting for the stream's metric", look, _MINUTES)
        return self._counted_before, now or self._counted_before

    @property
    def since(self) -> datetime:
        """The time from which on all of this is looked for."""
        outcome_since = self.outcome.since if self.outcome else self.started
        return min(self.started, outcome_since)

    # ----------------------------------------------------------------------------------------

    def _incoming(self, started: datetime) -> float:
        dimensions = {"StreamName": self.lab.names.stream}
        # From well before: what counts is the difference, and minutes have no halves.
        since = started - timedelta(minutes=10)
        return metrics.total(self.lab, "AWS/Kinesis", "IncomingRecords", dimensions, since)

    @staticmethod
    def _taken(outcome: traffic.Outcome) -> tuple[str, dict[str, Any]] | None:
        """Key and order of a new high-value order in *outcome*, one that was done if possible."""
        found = [
            (sent.key, order)
            for sent in outcome.sent
            for order in sent.orders
            if order["Amount"] > 300 and order["OrderId"] not in outcome.repeated
        ]
        found.sort(key=lambda pair: pair[1]["OrderId"] not in outcome.done)
        return found[0] if found else None

    def _seen(self, title: str, look: Callable[[], Found], timeout: float = _SECONDS) -> Found:
        """What *look* sees: at once on the local AWS, which has drained; elsewhere in a while."""
        if self.lab.control is not None:
            return look()
        return looks(self.lab, title, look, timeout)[0]


def _about(messages: list[Message], order_id: str) -> list[Message]:
    return [m for m in messages if (m.order or {}).get("OrderId") == order_id]

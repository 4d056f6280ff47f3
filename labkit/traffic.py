"""Orders on their way: a test event, uploads, and waiting until the pipeline has drained."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from labkit import orders
from labkit.display import Progress, Table, progress
from labkit.orders import RawOrder
from labkit.reading import Rejection, items, rejections
from labkit.session import Lab

# Retries come after one and after two minutes; a throttled event waits up to five.
_LONGEST_STEP = timedelta(minutes=5)
# What is longer on its way than all of its retries will not come by itself.
_LONGEST_WAY = timedelta(minutes=10)


@dataclass(frozen=True)
class Invocation:
    """What a synchronous invocation answered: status, payload, error kind, log tail, request id."""

    status: int
    payload: Any
    function_error: str | None
    log: str
    request_id: str

    @property
    def ok(self) -> bool:
        """Whether the function ran and did not fail."""
        return self.status == 200 and self.function_error is None


@dataclass(frozen=True)
class Sent:
    """One uploaded object: its key, the good orders in it, and why others in it are bad."""

    key: str
    source: str
    orders: tuple[dict[str, Any], ...]
    reasons: tuple[str, ...]


@dataclass
class Outcome:
    """What became of what was sent; ``unfinished`` are keys that are neither done nor rejected."""

    since: datetime
    sent: list[Sent]
    # Orders that were in the table before, by OrderId: for them nothing happens again.
    repeated: frozenset[str] = frozenset()
    # Messages that lay in the dead-letter queue before, by id: they are about earlier traffic.
    earlier: frozenset[str] = frozenset()
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> dict[str, list[dict[str, Any]]]:
        """The good orders that were sent, by OrderId: one each, or several that share an id."""
        found: dict[str, list[dict[str, Any]]] = {}
        for sent in self.sent:
            for order in sent.orders:
                found.setdefault(order["OrderId"], []).append(order)
        return found

    @property
    def table(self) -> Table:
        """Where every rejected object went, and why."""
        return Table(
            ["rejected", "reason", "attempts"],
            [[found.what, found.reason, found.attempts] for found in self.rejected],
            wide=1,
        )

    def __repr__(self) -> str:
        text = (
            f"{len(self.sent)} objects in {self.seconds:.1f} s: {len(self.done)} orders done, "
            f"{len(self.rejected)} objects rejected"
        )
        if self.unfinished:
            return f"{text}, {len(self.unfinished)} NOT FINISHED: {', '.join(self.unfinished[:5])}"
        return text


def invoke(lab: Lab, event: Any) -> Invocation:
    """Send *event* to the function and wait for its answer: what the console's Test button does."""
    answer = lab.client("lambda").invoke(
        FunctionName=lab.names.function,
        LogType="Tail",
        Payload=json.dumps(event, default=str).encode(),
    )
    text = answer["Payload"].read()
    return Invocation(
        status=answer["StatusCode"],
        payload=json.loads(text) if text else None,
        function_error=answer.get("FunctionError"),
        log=b64decode(answer.get("LogResult", "")).decode(errors="replace"),
        request_id=answer["ResponseMetadata"]["RequestId"],
    )


def send(lab: Lab, records: Sequence[RawOrder]) -> Outcome:
    """Upload *records* to the bucket, each as its own object; returns what there is to wait for."""
    judged = [orders.judge(record.body) for record in records]
    ids = {order["OrderId"] for judgement in judged for order in judgement.orders}
    repeated = frozenset(_stored(lab, ids))
    earlier = frozenset(found.id for found in rejections(lab))
    since = lab.clock.stamp()
    with progress(f"Uploading {len(records)} orders") as shown:
        keys = orders.upload(
            lab.client("s3"),
            lab.names.bucket,
            records,
            prefix=lab.names.prefix,
            progress=lambda done, total: setattr(shown, "text", f"{done} of {total}"),
        )
    sent = [
        Sent(key, record.source, tuple(judgement.orders), tuple(judgement.reasons))
        for key, record, judgement in zip(keys, records, judged, strict=True)
    ]
    return Outcome(since, sent, repeated, earlier)


def drain(lab: Lab, outcome: Outcome, timeout: float = 600.0) -> Outcome:
    """Wait until the pipeline has drained; the same *outcome*, now with what became of each object.

    Seen by the effects: each good order is in the table as DONE, each object that could not be
    processed is named in the dead-letter queue. When the local AWS has nothing running and only a
    retry is due, its clock is moved there; another AWS is watched for up to *timeout* seconds.
    """
    started = time.monotonic()
    pause, wait = threading.Event(), 1.0
    moved, idle = timedelta(), False
    with progress("Waiting until the pipeline has drained") as shown:
        while True:
            if lab.control is not None:
                _settle(lab, shown)
            _look(lab, outcome)
            shown.text = _counted(outcome)
            if not outcome.unfinished or time.monotonic() - started > timeout:
                break
            if lab.control is None:
                pause.wait(wait)
                wait = min(wait * 1.5, 10.0)
                continue
            step = _until_retry(lab)
            if moved > _LONGEST_WAY or (step is None and idle):
                break
            # What was due may have begun while we looked: only a second look can tell.
            idle = step is None
            if step is None:
                continue
            lab.clock.advance(seconds=step.total_seconds())
            moved += step
    outcome.seconds = time.monotonic() - started
    return outcome


def process(lab: Lab, records: Sequence[RawOrder]) -> Outcome:
    """Upload *records* and wait until the pipeline has drained."""
    started = time.monotonic()
    outcome = drain(lab, send(lab, records))
    outcome.seconds = time.monotonic() - started
    return outcome


def _settle(lab: Lab, shown: Progress) -> None:
    """Wait until the local AWS rests; it tells meanwhile how much is still to be done."""
    assert lab.control is not None
    while not (answer := lab.control.settle(timeout=1.0))["settled"]:
        shown.text = f"{sum(answer['unfinished'].values())} pieces of work to go"


def _look(lab: Lab, outcome: Outcome) -> None:
    _look_at_table(lab, outcome)
    waiting = {sent.key for sent in outcome.sent if not _finished(outcome, sent, set())}
    if waiting:
        outcome_keys = {sent.key for sent in outcome.sent}
        outcome.rejected = [
            found
            for found in rejections(lab)
            if found.id not in outcome.earlier and not outcome_keys.isdisjoint(found.keys)
        ]
    rejected = {key for found in outcome.rejected for key in found.keys}
    outcome.unfinished = [
        sent.key for sent in outcome.sent if not _finished(outcome, sent, rejected)
    ]


def _look_at_table(lab: Lab, outcome: Outcome) -> None:
    for order_id, item in _stored(lab, outcome.good.keys() - outcome.done.keys()).items():
        if item.get("Status") == "DONE":
            outcome.done[order_id] = item


def _stored(lab: Lab, order_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The items with these ids; none where there is no table, or one with another key."""
    try:
        return items(lab, order_ids)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFoundException", "ValidationException"):
            return {}
        raise


def _finished(outcome: Outcome, sent: Sent, rejected: set[str]) -> bool:
    """Whether nothing more will happen to one object."""
    if sent.key in rejected:
        return True
    # An order under an id that is already taken by another one is rejected as well.
    return not sent.reasons and all(
        outcome.done.get(order["OrderId"], {}).get("Order") == order for order in sent.orders
    )


def _counted(outcome: Outcome) -> str:
    text = f"{len(outcome.done)} of {len(outcome.good)} orders done"
    return f"{text}, {len(outcome.rejected)} rejected" if outcome.rejected else text


def _until_retry(lab: Lab) -> timedelta | None:
    """How long until the next thing that could still happen to an order, or None: nothing will."""
    now = lab.clock.now()
    for when, name in lab.clock.due():
        if lab.names.function in name or "S3" in name:
            return min(max(when - now, timedelta(seconds=1)), _LONGEST_STEP)
    return None

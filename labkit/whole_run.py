"""What a whole run must show, beyond its witness: that every order of it had every effect."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from labkit.reading import Message, items
from labkit.session import Lab
from labkit.traffic import Outcome
from labkit.witness import Witness

# For each order, its id and whether the effect is there.
Seen = list[tuple[str, bool]]


def stored(lab: Lab, outcome: Outcome | None) -> Seen:
    """For each good order of the traffic, whether it is in the table and exact."""
    if outcome is None:
        return []
    stored = items(lab, outcome.good)
    return [
        (order_id, any(same(stored.get(order_id, {}).get("Order"), one) for one in sent))
        for order_id, sent in outcome.good.items()
    ]


def streamed(witness: Witness) -> Seen:
    there = {record.partition_key for record in witness.records}
    return [(order_id, order_id in there) for order_id in _new(witness.outcome)]


def queued(lab: Lab, witness: Witness) -> Seen:
    return _told(witness, [m for m in witness.messages if m.notification is None])


def announced(lab: Lab, witness: Witness) -> Seen:
    told = _told(witness, [m for m in witness.messages if m.notification is not None])
    if not told or not lab.mailbox.readable:
        return told
    return [(order_id, ok and order_id in witness.mails) for order_id, ok in told]


def _told(witness: Witness, messages: list[Message]) -> Seen:
    there = {(message.order or {}).get("OrderId") for message in messages}
    return [(order_id, order_id in there) for order_id in _new(witness.outcome, above=300)]


def _new(outcome: Outcome | None, above: int | None = None) -> Iterable[str]:
    """The ids of good orders that were not in the table before, perhaps only the large ones."""
    if outcome is None:
        return []
    return [
        order_id
        for order_id, sent in outcome.good.items()
        if order_id not in outcome.repeated
        and (above is None or all(order["Amount"] > above for order in sent))
    ]


def all_of(ok: bool, evidence: str, others: Seen) -> tuple[bool, str]:
    """The witness's evidence together with that of all other orders of the traffic."""
    if not others:
        return ok, evidence
    missing = [order_id for order_id, there in others if not there]
    evidence += f"; {len(others) - len(missing)} of {len(others)} orders of this run"
    if missing:
        evidence += f", NOT {', '.join(missing[:5])}" + (" ..." if len(missing) > 5 else "")
    return ok and not missing, evidence


def exact(amount: Any) -> Decimal:
    return Decimal(str(amount))


def same(one: Any, other: Any) -> bool:
    """Whether two orders are equal, numbers compared as what they say and not how they are kept."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float, Decimal)) and isinstance(other, (int, float, Decimal)):
        return exact(one) == exact(other)
    return one == other


def cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."

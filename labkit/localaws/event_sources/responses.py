"""What a function's answer says about the batch it was given (``ReportBatchItemFailures``).

Follows the Lambda Developer Guide, "Implementing partial batch responses" ("Success and failure
conditions"). No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any


def failed_items(payload: bytes, known: Collection[str]) -> set[str] | None:
    """The identifiers of the items that failed; empty when all succeeded, None when none did.

    *known* are the identifiers of the batch: message ids, or sequence numbers. An answer that
    can't be read, or names an item that is not of the batch, fails the batch as a whole.
    """
    try:
        answer = json.loads(payload) if payload.strip() else None
    except (ValueError, RecursionError):
        return None
    if not answer:
        return set()
    if not isinstance(answer, dict):
        return None
    listed = answer.get("batchItemFailures")
    if not listed:
        return set()
    if not isinstance(listed, list):
        return None
    failed = {_identifier(item) for item in listed}
    return failed if failed <= set(known) else None  # type: ignore[return-value]


def window_state(payload: bytes) -> dict[str, Any] | None:
    """The ``state`` a tumbling window's function answered with, or None when there is none."""
    try:
        answer = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    state = answer.get("state") if isinstance(answer, dict) else None
    return state if isinstance(state, dict) else None


def _identifier(item: Any) -> str | None:
    identifier = item.get("itemIdentifier") if isinstance(item, dict) else None
    return identifier if isinstance(identifier, str) and identifier else None

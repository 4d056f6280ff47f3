"""Marker and MaxItems: lists in pages, as Lambda's List operations give them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labkit.localaws.functions.errors import invalid


def page(
    items: Sequence[Any],
    params: Mapping[str, Any],
    *,
    key: Callable[[Any], str],
    size: int = 50,
) -> tuple[list[Any], str | None]:
    """The page of *items* that ``Marker`` and ``MaxItems`` ask for, and the next marker.

    *items* are in a stable order and *key* names each; a page is at most *size* long. The marker
    names the last item given, so that items that vanish in between cost nothing.
    """
    start = 0
    marker = params.get("Marker")
    if marker:
        last = _decode(marker)
        names = [key(item) for item in items]
        start = names.index(last) + 1 if last in names else _after(names, last)
    # Zero and more than a page both mean a whole page.
    wanted = params.get("MaxItems") or size
    end = start + min(wanted, size)
    chosen = list(items[start:end])
    following = _encode(key(chosen[-1])) if chosen and end < len(items) else None
    return chosen, following


def with_marker(member: str, items: Sequence[Any], marker: str | None) -> dict[str, Any]:
    """An output with *items* as *member*, and ``NextMarker`` when there is a next page."""
    return {member: list(items), **({"NextMarker": marker} if marker else {})}


def _after(names: Sequence[str], last: str) -> int:
    return next((index for index, name in enumerate(names) if name > last), len(names))


def _encode(last: str) -> str:
    return base64.b64encode(json.dumps({"last": last}).encode()).decode()


def _decode(marker: str) -> str:
    try:
        return str(json.loads(base64.b64decode(marker, validate=True))["last"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise invalid("Invalid marker") from None

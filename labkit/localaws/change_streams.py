"""Changes of a table's items as DynamoDB Streams keeps them: for a day, in order, by view type.

Follows the DynamoDB Developer Guide, "Change data capture for DynamoDB Streams" and "Working with
streams". No I/O and no clock of its own: methods take the lab time (epoch seconds) they happen
at. Thread-safe.
"""

from __future__ import annotations

import base64
import math
import threading
import uuid
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

RETENTION_SECONDS = 86_400.0

Image = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """One change of one item: images in DynamoDB's JSON with bytes for binary values.

    ``by_service`` marks what Time to Live deleted.
    """

    keys: Image
    old: Image | None
    new: Image | None
    at: float
    by_service: bool = False

    @property
    def name(self) -> str:
        """INSERT, MODIFY or REMOVE."""
        if self.old is None:
            return "INSERT"
        return "REMOVE" if self.new is None else "MODIFY"


@dataclass(frozen=True)
class ChangeRecord:
    """A change with its place in the stream; ``shown`` is the record as GetRecords answers it."""

    sequence: int
    arrived: float
    partition: str
    shown: Mapping[str, Any]


@dataclass
class ChangeStream:
    """The stream of one table from one enabling to the next disabling: one shard of records."""

    table_arn: str
    key_schema: list[dict[str, str]]
    view_type: str
    created: float
    disabled: float | None = None
    # The newest sequence number that retention has taken; 0 when nothing is lost.
    forgotten: int = 0
    records: list[ChangeRecord] = field(default_factory=list)
    _listeners: list[Callable[[], None]] = field(default_factory=list)
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _last: int = 0

    def __post_init__(self) -> None:
        self._last = self.first_sequence = self._number(self.created)
        tag = zlib.crc32(self.arn.encode())
        self.shard_id = f"shardId-{int(self.created * 1000):020d}-{tag:08x}"

    @property
    def label(self) -> str:
        """The moment it was enabled, as in its ARN."""
        moment = datetime.fromtimestamp(self.created, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"

    @property
    def arn(self) -> str:
        """The stream's ARN."""
        return f"{self.table_arn}/stream/{self.label}"

    @property
    def table_name(self) -> str:
        """The table's name."""
        return self.table_arn.rsplit("/", 1)[1]

    @property
    def last_sequence(self) -> int | None:
        """Where a disabled stream's shard ends; None while it is open."""
        return None if self.disabled is None else self._last

    def append(self, changes: list[Change]) -> None:
        """Add changes that took effect, oldest first, and tell those who listen."""
        with self._guard:
            for change in changes:
                self._last = max(self._number(change.at), self._last + 100)
                self.records.append(self._record(change, self._last))
        self.tell()

    def disable(self, now: float) -> None:
        """Take no more changes; what is there can be read for another day."""
        with self._guard:
            if self.disabled is None:
                self.disabled = now
                self._last += 100
        self.tell()

    def gone(self, now: float) -> bool:
        """Whether it was disabled so long ago that nothing is left of it."""
        return self.disabled is not None and now - self.disabled >= RETENTION_SECONDS

    def trim(self, now: float) -> None:
        """Forget what is older than a day."""
        with self._guard:
            cut = self.since(now - RETENTION_SECONDS)
            if cut:
                self.forgotten = self.records[cut - 1].sequence
                del self.records[:cut]

    def after(self, sequence: int) -> int:
        """The index of the first record after a sequence number."""
        return bisect_right(self.records, sequence, key=lambda record: record.sequence)

    def since(self, moment: float) -> int:
        """The index of the first record written at or after *moment*."""
        return bisect_left(self.records, moment, key=lambda record: record.arrived)

    def read(self, after: int, most: int) -> list[ChangeRecord]:
        """Up to *most* records after a sequence number."""
        with self._guard:
            start = self.after(after)
            return self.records[start : start + most]

    def listen(self, listener: Callable[[], None]) -> None:
        """Have *listener* called whenever there is something new."""
        self._listeners.append(listener)

    def tell(self) -> None:
        """Call the listeners."""
        for listener in list(self._listeners):
            listener()

    def _record(self, change: Change, sequence: int) -> ChangeRecord:
        images: dict[str, Image] = {"Keys": change.keys}
        if change.new is not None and self.view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
            images["NewImage"] = change.new
        if change.old is not None and self.view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            images["OldImage"] = change.old
        shown: dict[str, Any] = {
            "eventID": uuid.uuid4().hex,
            "eventName": change.name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self.table_arn.split(":")[3],
            "dynamodb": {
                "ApproximateCreationDateTime": datetime.fromtimestamp(int(change.at), UTC),
                **images,
                "SequenceNumber": str(sequence),
                "SizeBytes": sum(map(size_of, images.values())),
                "StreamViewType": self.view_type,
            },
        }
        if change.by_service:
            shown["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        hash_key = next(key["AttributeName"] for key in self.key_schema if key["KeyType"] == "HASH")
        return ChangeRecord(sequence, change.at, repr(change.keys.get(hash_key)), shown)

    @staticmethod
    def _number(moment: float) -> int:
        """A sequence number of 22 digits for something that happens at *moment*."""
        return int(moment * 1000) * 10**9


def size_of(image: Image) -> int:
    """An item's size in bytes as DynamoDB counts it: names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in image.items())


def plain(image: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """An image with every binary value as bytes, whether it came as such or in base64."""
    return {name: _plain_value(value) for name, value in image.items()}


def _plain_value(value: Mapping[str, Any]) -> dict[str, Any]:
    [(kind, inner)] = value.items()
    if kind == "B":
        return {kind: _bytes(inner)}
    if kind == "BS":
        return {kind: [_bytes(item) for item in inner]}
    if kind == "L":
        return {kind: [_plain_value(item) for item in inner]}
    if kind == "M":
        return {kind: plain(inner)}
    return {kind: list(inner) if isinstance(inner, list) else inner}


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)


def _value_size(value: Mapping[str, Any]) -> int:
    [(kind, inner)] = value.items()
    if kind == "S":
        return len(inner.encode())
    if kind == "N":
        return _number_size(str(inner))
    if kind == "B":
        return len(inner)
    if kind == "SS":
        return sum(len(item.encode()) for item in inner)
    if kind == "NS":
        return sum(_number_size(str(item)) for item in inner)
    if kind == "BS":
        return sum(map(len, inner))
    # A byte for each nested value, three for the list or map itself.
    if kind == "L":
        return 3 + sum(1 + _value_size(item) for item in inner)
    if kind == "M":
        return 3 + len(inner) + size_of(inner)
    return 1


def _number_size(text: str) -> int:
    """About a byte for two significant digits, and one more; another for a minus."""
    mantissa = text.lower().split("e")[0].lstrip("+-")
    digits = len(mantissa.replace(".", "").lstrip("0").rstrip("0")) or 1
    return math.ceil(digits / 2) + 1 + text.startswith("-")

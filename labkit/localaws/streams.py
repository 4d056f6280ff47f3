"""Records in shards as Kinesis Data Streams keeps them: hash keys, order, resharding, limits.

Follows the Kinesis Data Streams Developer Guide, "Terminology and concepts", "Quotas and limits"
and "Resharding a stream". No I/O and no clock of its own: methods take the lab time (epoch
seconds) they happen at. Thread-safe.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

HASH_KEYS = 2**128
SHARD_RECORDS_PER_SECOND = 1000
SHARD_BYTES_PER_SECOND = 1024 * 1024


class ThroughputExceeded(Exception):
    """The shard has taken what it may in this second."""

    def __init__(self, shard_id: str) -> None:
        super().__init__(shard_id)
        self.shard_id = shard_id


class NotEligible(Exception):
    """The shard can't be split or merged this way; the message says why, as AWS words it."""


@dataclass(frozen=True)
class Record:
    """One data record; ``sequence`` grows within the stream, ``arrived`` is lab time."""

    sequence: int
    partition_key: str
    data: bytes
    arrived: float

    @property
    def size(self) -> int:
        """What counts towards the limits: data and partition key, in bytes."""
        return len(self.data) + len(self.partition_key.encode())


@dataclass
class Shard:
    """One shard: a range of hash keys and its records, oldest first."""

    shard_id: str
    first_hash: int
    last_hash: int
    opened: int
    parent: str | None = None
    adjacent_parent: str | None = None
    closed: int | None = None
    records: list[Record] = field(default_factory=list)
    # What is left of this second's allowance, and when that was so.
    _records_left: float = SHARD_RECORDS_PER_SECOND
    _bytes_left: float = SHARD_BYTES_PER_SECOND
    _measured: float = 0.0

    @property
    def open(self) -> bool:
        """Whether the shard still takes records."""
        return self.closed is None

    def charge(self, size: int, now: float) -> None:
        """Take one record of *size* bytes off the allowance; raises ThroughputExceeded."""
        passed = max(0.0, now - self._measured)
        self._measured = now
        self._records_left = min(
            SHARD_RECORDS_PER_SECOND, self._records_left + passed * SHARD_RECORDS_PER_SECOND
        )
        self._bytes_left = min(
            SHARD_BYTES_PER_SECOND, self._bytes_left + passed * SHARD_BYTES_PER_SECOND
        )
        # A record may be larger than a second's bytes where the stream allows large records:
        # it needs a full second's allowance and leaves a debt.
        if self._records_left < 1 or self._bytes_left < min(size, SHARD_BYTES_PER_SECOND):
            raise ThroughputExceeded(self.shard_id)
        self._records_left -= 1
        self._bytes_left -= size

    def after(self, sequence: int, *, inclusive: bool = False) -> int:
        """The index of the first record after (or at) a sequence number."""
        find = bisect_left if inclusive else bisect_right
        return find(self.records, sequence, key=lambda record: record.sequence)

    def since(self, moment: float) -> int:
        """The index of the first record that arrived at or after *moment*."""
        return bisect_left(self.records, moment, key=lambda record: record.arrived)


class RecordStream:
    """The shards and records of one stream."""

    def __init__(self, shard_count: int, now: float) -> None:
        self._guard = threading.RLock()
        self._count = 0
        self._last_sequence = 0
        self._listeners: list[Callable[[], None]] = []
        self.shards: dict[str, Shard] = {}
        for number in range(shard_count):
            self._add(
                HASH_KEYS * number // shard_count, HASH_KEYS * (number + 1) // shard_count - 1, now
            )

    # -- writing -----------------------------------------------------------------------------

    def put(
        self, partition_key: str, data: bytes, now: float, explicit_hash_key: int | None = None
    ) -> tuple[Shard, Record]:
        """Store one record in the shard its key belongs to; raises ThroughputExceeded."""
        with self._guard:
            shard = self.shard_of(partition_key, explicit_hash_key)
            record = Record(0, partition_key, data, now)
            shard.charge(record.size, now)
            record = Record(self._next(now, shard), partition_key, data, now)
            shard.records.append(record)
        self._tell()
        return shard, record

    def shard_of(self, partition_key: str, explicit_hash_key: int | None = None) -> Shard:
        """The open shard whose range has the key's MD5, or the hash key given instead."""
        key = explicit_hash_key
        if key is None:
            digest = hashlib.md5(partition_key.encode(), usedforsecurity=False)
            key = int.from_bytes(digest.digest(), "big")
        with self._guard:
            for shard in self.shards.values():
                if shard.open and shard.first_hash <= key <= shard.last_hash:
                    return shard
        raise LookupError(f"no open shard for hash key {key}")

    # -- reading -----------------------------------------------------------------------------

    def read(self, shard_id: str, index_after: int, most: int, most_bytes: int) -> list[Record]:
        """Records of a shard from an index on, within both limits."""
        with self._guard:
            records = self.shards[shard_id].records
            taken: list[Record] = []
            size = 0
            for record in records[index_after : index_after + most]:
                size += record.size
                if taken and size > most_bytes:
                    break
                taken.append(record)
            return taken

    def trim(self, now: float, retention_seconds: float) -> None:
        """Forget records older than the retention period, and closed shards without any."""
        with self._guard:
            for shard in list(self.shards.values()):
                cut = shard.since(now - retention_seconds)
                if cut:
                    del shard.records[:cut]

    def children(self, shard_id: str) -> list[Shard]:
        """The shards that took over from this one."""
        with self._guard:
            return [
                shard
                for shard in self.shards.values()
                if shard_id in (shard.parent, shard.adjacent_parent)
            ]

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have *listener* called whenever there is something new; returns how to stop it."""
        with self._guard:
            self._listeners.append(listener)

        def stop() -> None:
            with self._guard:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    # -- resharding --------------------------------------------------------------------------

    def split(self, shard_id: str, new_first_hash: int, now: float) -> list[Shard]:
        """Close a shard and open two in its place; raises NotEligible."""
        with self._guard:
            shard = self._eligible(shard_id)
            if not shard.first_hash + 1 < new_first_hash < shard.last_hash:
                raise NotEligible(
                    f"NewStartingHashKey {new_first_hash} used in SplitShard() on shard {shard_id} "
                    "is not both greater than one plus the shard's StartingHashKey "
                    f"{shard.first_hash} and less than the shard's EndingHashKey {shard.last_hash}."
                )
            shard.closed = self._next(now, shard)
            made = [
                self._add(shard.first_hash, new_first_hash - 1, now, shard_id),
                self._add(new_first_hash, shard.last_hash, now, shard_id),
            ]
        self._tell()
        return made

    def merge(self, shard_id: str, adjacent_id: str, now: float) -> Shard:
        """Close two adjacent shards and open one in their place; raises NotEligible."""
        with self._guard:
            one, other = self._eligible(shard_id), self._eligible(adjacent_id)
            low, high = sorted((one, other), key=lambda shard: shard.first_hash)
            if low.last_hash + 1 != high.first_hash:
                raise NotEligible(
                    f"Shards {shard_id} and {adjacent_id} are not an adjacent pair of shards "
                    "eligible for merging."
                )
            one.closed = self._next(now, one)
            other.closed = self._next(now, other)
            made = self._add(low.first_hash, high.last_hash, now, shard_id, adjacent_id)
        self._tell()
        return made

    def reshard(self, target: int, now: float) -> None:
        """Split or merge evenly until *target* shards are open."""
        with self._guard:
            while len(self.open_shards()) < target:
                widest = max(self.open_shards(), key=lambda s: s.last_hash - s.first_hash)
                middle = (widest.first_hash + widest.last_hash + 1) // 2
                self.split(widest.shard_id, middle, now)
            while len(self.open_shards()) > target:
                shards = sorted(self.open_shards(), key=lambda s: s.first_hash)
                pairs = list(zip(shards, shards[1:], strict=False))
                low, high = min(pairs, key=lambda pair: pair[1].last_hash - pair[0].first_hash)
                self.merge(low.shard_id, high.shard_id, now)

    def open_shards(self) -> list[Shard]:
        """The shards that take records."""
        with self._guard:
            return [shard for shard in self.shards.values() if shard.open]

    # -- inside ------------------------------------------------------------------------------

    def _eligible(self, shard_id: str) -> Shard:
        shard = self.shards[shard_id]
        if not shard.open:
            raise NotEligible(
                f"Shard {shard_id} has already been merged or split, and thus is not eligible for "
                "merging or splitting."
            )
        return shard

    def _add(
        self,
        first_hash: int,
        last_hash: int,
        now: float,
        parent: str | None = None,
        adjacent: str | None = None,
    ) -> Shard:
        shard = Shard(f"shardId-{self._count:012d}", first_hash, last_hash, 0, parent, adjacent)
        self._count += 1
        shard.opened = self._next(now, shard)
        self.shards[shard.shard_id] = shard
        return shard

    def _next(self, now: float, shard: Shard) -> int:
        """A sequence number of 56 digits, larger than every earlier one of the stream."""
        number = int(shard.shard_id.rsplit("-", 1)[1])
        wanted = 4966 * 10**52 + int(now * 1_000_000) * 10**32 + number * 10**10
        self._last_sequence = max(wanted, self._last_sequence + 2)
        return self._last_sequence

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

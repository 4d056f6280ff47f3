"""Records in shards as Kinesis keeps them, without a server."""

from __future__ import annotations

import hashlib

import pytest

from labkit.localaws.streams import HASH_KEYS, NotEligible, RecordStream, ThroughputExceeded


def test_the_md5_of_the_partition_key_chooses_the_shard():
    stream = RecordStream(4, 0.0)
    for key in ("a", "b", "order-17", "ü"):
        hashed = int(hashlib.md5(key.encode()).hexdigest(), 16)
        shard, _ = stream.put(key, b"x", 1.0)
        assert shard.first_hash <= hashed <= shard.last_hash
    shard, _ = stream.put("a", b"x", 1.0, explicit_hash_key=HASH_KEYS - 1)
    assert shard.last_hash == HASH_KEYS - 1


def test_the_shards_cover_every_hash_key_once():
    for count in (1, 2, 3, 7):
        shards = sorted(RecordStream(count, 0.0).shards.values(), key=lambda s: s.first_hash)
        assert shards[0].first_hash == 0 and shards[-1].last_hash == HASH_KEYS - 1
        for low, high in zip(shards, shards[1:], strict=False):
            assert low.last_hash + 1 == high.first_hash


def test_sequence_numbers_grow_within_the_stream_and_have_56_digits():
    stream = RecordStream(2, 1_795_000_000.0)
    numbers = [stream.put(str(i), b"", 1_795_000_000.0 + i / 7)[1].sequence for i in range(50)]
    assert numbers == sorted(set(numbers))
    assert all(len(str(number)) == 56 for number in numbers)


def test_a_shard_takes_a_thousand_records_a_second():
    stream = RecordStream(1, 0.0)
    for _ in range(1000):
        stream.put("k", b"", 10.0)
    with pytest.raises(ThroughputExceeded):
        stream.put("k", b"", 10.0)
    stream.put("k", b"", 10.01)


def test_a_shard_takes_a_mebibyte_a_second():
    stream = RecordStream(1, 0.0)
    stream.put("k", b"x" * (1024 * 1024 - 1), 10.0)
    with pytest.raises(ThroughputExceeded):
        stream.put("k", b"x", 10.0)
    stream.put("k", b"x", 10.5)


def test_splitting_keeps_the_parents_records_and_names_the_parent():
    stream = RecordStream(1, 0.0)
    stream.put("before", b"1", 1.0)
    low, high = stream.split("shardId-000000000000", HASH_KEYS // 2, 2.0)
    parent = stream.shards["shardId-000000000000"]
    assert not parent.open and len(parent.records) == 1
    assert low.parent == high.parent == parent.shard_id
    shard, record = stream.put("after", b"2", 3.0)
    assert shard in (low, high)
    assert record.sequence > parent.closed > parent.records[-1].sequence
    with pytest.raises(NotEligible, match="already been merged or split"):
        stream.split(parent.shard_id, HASH_KEYS // 2, 4.0)


def test_merging_needs_neighbours():
    stream = RecordStream(3, 0.0)
    with pytest.raises(NotEligible, match="adjacent"):
        stream.merge("shardId-000000000000", "shardId-000000000002", 1.0)
    child = stream.merge("shardId-000000000000", "shardId-000000000001", 1.0)
    assert (child.parent, child.adjacent_parent) == ("shardId-000000000000", "shardId-000000000001")
    assert len(stream.open_shards()) == 2


def test_resharding_evenly():
    stream = RecordStream(2, 0.0)
    stream.reshard(4, 1.0)
    assert len({s.last_hash - s.first_hash for s in stream.open_shards()}) == 1
    stream.reshard(2, 2.0)
    assert len(stream.open_shards()) == 2


def test_records_older_than_the_retention_are_trimmed():
    stream = RecordStream(1, 0.0)
    stream.put("k", b"old", 0.0)
    stream.put("k", b"new", 100.0)
    stream.trim(150.0, 60.0)
    (shard,) = stream.shards.values()
    assert [r.data for r in shard.records] == [b"new"]


def test_reading_stops_at_both_limits():
    stream = RecordStream(1, 0.0)
    for _ in range(5):
        stream.put("k", b"x" * 99, 1.0)
    (shard_id,) = stream.shards
    assert len(stream.read(shard_id, 0, 3, 10**6)) == 3
    assert len(stream.read(shard_id, 0, 10, 250)) == 2
    assert len(stream.read(shard_id, 4, 10, 1)) == 1

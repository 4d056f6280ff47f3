"""The gauges of queues and buckets, read from where their state is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend

from labkit.localaws.call import AwsError
from labkit.localaws.gauges import Reading
from labkit.localaws.metrics_store import Metric

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

_DAY = 86_400


def queues(aws: LocalAws, account_id: str, region: str, resource: str | None) -> Iterator[Reading]:
    """Amazon SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS"."""
    # Which queues there are is moto's knowledge; asking through the API would be metered in turn.
    known: Any = get_backend("sqs")[account_id][region].queues
    layer: Any = aws.layer("sqs")
    now = aws.clock.now()
    with aws.lock("sqs", account_id):
        names = list(known) if resource is None else [resource] if resource in known else []
    for name in names:
        try:
            found, messages = layer.queue(f"arn:aws:sqs:{region}:{account_id}:{name}")
        except AwsError:
            # Deleted in between.
            continue
        retention = found.message_retention_period
        visible, not_visible, delayed = messages.counts(now, retention)
        oldest = messages.oldest_sent(now, retention)
        age = 0 if oldest is None else max(0, int(now - oldest))
        for metric, value, unit in (
            ("ApproximateNumberOfMessagesVisible", visible, "Count"),
            ("ApproximateNumberOfMessagesNotVisible", not_visible, "Count"),
            ("ApproximateNumberOfMessagesDelayed", delayed, "Count"),
            ("ApproximateAgeOfOldestMessage", age, "Seconds"),
        ):
            yield name, Metric("AWS/SQS", metric, (("QueueName", name),)), value, unit


def buckets(aws: LocalAws, account_id: str, region: str, resource: str | None) -> Iterator[Reading]:
    """Amazon S3 User Guide, "Metrics and dimensions": storage metrics, reported once a day."""
    # moto's own metrics of S3 aren't asked for any more, so the same numbers come from here.
    buckets: Any = get_backend("s3")[account_id]["aws"].buckets
    store = aws.telemetry.store
    today = aws.clock.now() // _DAY * _DAY
    with aws.lock("s3", account_id):
        sizes = [
            (name, bucket.keys.item_size(), len(bucket.keys))
            for name, bucket in buckets.items()
            if bucket.region_name == region
        ]
    for name, size, number in sizes:
        for metric, kind, value, unit in (
            ("BucketSizeBytes", "StandardStorage", size, "Bytes"),
            ("NumberOfObjects", "AllStorageTypes", number, "Count"),
        ):
            dimensions = (("BucketName", name), ("StorageType", kind))
            store.put(
                (account_id, region), Metric("AWS/S3", metric, dimensions), value, unit, today
            )
    return iter(())

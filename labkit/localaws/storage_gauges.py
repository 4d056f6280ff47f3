"""The gauges of queues and buckets, read from where their state is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend

from labkit.localaws.gauges import Reading
from labkit.localaws.metrics_store import Metric

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

_DAY = 86_400


def queues(aws: LocalAws, account_id: str, region: str, resource: str | None) -> Iterator[Reading]:
    """Amazon SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS"."""
    # The queues are moto's; looking at them through the API would be metered in turn.
    backend: Any = get_backend("sqs")[account_id][region]
    now = aws.clock.now()
    with aws.lock("sqs", account_id):
        names = list(backend.queues) if resource is None else [resource]
        for name in names:
            queue = backend.queues.get(name)
            if queue is None:
                continue
            visible = queue.approximate_number_of_messages
            not_visible = queue.approximate_number_of_messages_not_visible
            delayed = queue.approximate_number_of_messages_delayed
            oldest = min((float(each.sent_timestamp) for each in queue._messages), default=None)
            age = 0.0 if oldest is None else max(0.0, now - oldest / 1000)
            for metric, value, unit in (
                ("ApproximateNumberOfMessagesVisible", visible, "Count"),
                ("ApproximateNumberOfMessagesNotVisible", not_visible, "Count"),
                ("ApproximateNumberOfMessagesDelayed", delayed, "Count"),
                ("ApproximateAgeOfOldestMessage", int(age), "Seconds"),
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

"""Looking at what the pipeline left behind without disturbing it: table, queues, stream.

Everything is read page by page, and nothing is consumed: a second look finds the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_plus

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from labkit.control import Mail
from labkit.session import Lab

_DECODER = json.JSONDecoder(parse_float=Decimal)
# While a message is being looked at nobody else gets it; afterwards it is visible again at once.
_LOOK_SECONDS = 60


@dataclass(frozen=True)
class Message:
    """One SQS message: its text, its attributes, when it was sent (UTC), how often received."""

    id: str
    body: str
    attributes: dict[str, str]
    sent: datetime
    received: int

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is not."""
        return _json(self.body)

    @property
    def notification(self) -> dict[str, Any] | None:
        """SNS's envelope when this came from a topic, else None: the function's own message."""
        body = self.json
        if isinstance(body, dict) and body.get("Type") == "Notification" and "TopicArn" in body:
            return body
        return None

    @property
    def order(self) -> dict[str, Any] | None:
        """The order inside, whichever of the two ways it came, or None."""
        envelope = self.notification
        order = _json(envelope["Message"]) if envelope else self.json
        return order if isinstance(order, dict) and "OrderId" in order else None


@dataclass(frozen=True)
class StreamRecord:
    """One Kinesis record: shard, sequence number, partition key, data, when it arrived (UTC)."""

    shard: str
    sequence_number: str
    partition_key: str
    data: bytes
    arrived: datetime

    @property
    def json(self) -> Any:
        """The data as JSON, or None when it is not."""
        return _json(self.data)


@dataclass(frozen=True)
class Rejection:
    """An event that failed for good, as Lambda reported it to the dead-letter queue."""

    id: str
    keys: tuple[str, ...]
    reason: str
    error_type: str
    attempts: int
    request_id: str
    sent: datetime

    @property
    def what(self) -> str:
        """The object or objects that were rejected, or the request when it was none."""
        return ", ".join(self.keys) or f"request {self.request_id}"


def messages(lab: Lab, queue: str) -> list[Message]:
    """The visible messages of *queue* (a name), oldest first, all of them visible again.

    Receiving is the only way to look into a queue, so each look counts as one receive: a queue
    with a redrive policy moves a message away that was looked at too often.
    """
    sqs = lab.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found: dict[str, Message] = {}
    handles: list[str] = []
    try:
        # A short poll asks only some of AWS's servers; a long one asks all of them.
        wait = 0 if lab.control is not None else 1
        while True:
            batch = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=_LOOK_SECONDS,
                WaitTimeSeconds=wait,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", [])
            if not batch:
                break
            handles += [raw["ReceiptHandle"] for raw in batch]
            found.update((raw["MessageId"], _message(raw)) for raw in batch)
    finally:
        for start in range(0, len(handles), 10):
            sqs.change_message_visibility_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for number, handle in enumerate(handles[start : start + 10])
                ],
            )
    return sorted(found.values(), key=lambda message: message.sent)


def effects(lab: Lab, order_id: str, since: datetime | None = None) -> set[str]:
    """What has happened to one order: stored, streamed, queued, announced, each seen at its place.

    *since* spares reading the stream from its beginning.
    """
    told = [
        one
        for one in messages(lab, lab.names.queue)
        if (one.order or {}).get("OrderId") == order_id
    ]
    records = stream_records(lab, since)
    seen = {
        "stored": bool(items(lab, [order_id])),
        "streamed": any(record.partition_key == order_id for record in records),
        "queued": any(message.notification is None for message in told),
        "announced": any(message.notification is not None for message in told),
    }
    return {name for name, there in seen.items() if there}


def rejections(lab: Lab) -> list[Rejection]:
    """What lies in the dead-letter queue, oldest first; nothing when there is no such queue yet.

    Lambda guide, "Adding a destination": a record with the failed event and the function's error.
    """
    found = []
    try:
        there = messages(lab, lab.names.dead_letter_queue)
    except lab.client("sqs").exceptions.QueueDoesNotExist:
        return []
    for message in there:
        record = message.json
        if not isinstance(record, dict):
            continue
        payload = record.get("responsePayload")
        payload = payload if isinstance(payload, dict) else {}
        context = record.get("requestContext", {})
        found.append(
            Rejection(
                id=message.id,
                keys=tuple(_keys(record.get("requestPayload"))),
                reason=payload.get("errorMessage") or context.get("condition", ""),
                error_type=payload.get("errorType", ""),
                attempts=context.get("approximateInvokeCount", 0),
                request_id=context.get("requestId", ""),
                sent=message.sent,
            )
        )
    return found


def stream_records(lab: Lab, since: datetime | None = None) -> list[StreamRecord]:
    """The records on OrdersStream, shard by shard, perhaps only those that came *since*."""
    kinesis = lab.client("kinesis")
    start: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
    if since is not None:
        start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": since}
    found = []
    pages = kinesis.get_paginator("list_shards").paginate(StreamName=lab.names.stream)
    for shard in [shard["ShardId"] for page in pages for shard in page["Shards"]]:
        where = kinesis.get_shard_iterator(
            StreamName=lab.names.stream, ShardId=shard, **start
        )["ShardIterator"]  # fmt: skip
        while where:
            answer = kinesis.get_records(ShardIterator=where, Limit=1000)
            found += [_record(shard, raw) for raw in answer["Records"]]
            if not answer["Records"] and not answer.get("MillisBehindLatest"):
                break
            where = answer.get("NextShardIterator")
    return found


def mails(lab: Lab) -> dict[str, Mail]:
    """The mails that tell of an order, by OrderId; of several about one order, the first."""
    found: dict[str, Mail] = {}
    for mail in lab.mailbox.mails():
        # The message comes first; below it stands how to unsubscribe.
        try:
            order, _ = _DECODER.raw_decode(mail.body)
        except (ValueError, RecursionError):
            continue
        if isinstance(order, dict) and isinstance(order.get("OrderId"), str):
            found.setdefault(order["OrderId"], mail)
    return found


def items(lab: Lab, order_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The items of OrdersTable with these ids, by id; what is not there is left out."""
    dynamodb = lab.client("dynamodb")
    wanted = sorted(set(order_ids))
    found = {}
    for start in range(0, len(wanted), 100):
        keys = [{"OrderId": {"S": order_id}} for order_id in wanted[start : start + 100]]
        request: dict[str, Any] = {lab.names.table: {"Keys": keys, "ConsistentRead": True}}
        while request:
            answer = dynamodb.batch_get_item(RequestItems=request)
            for raw in answer["Responses"].get(lab.names.table, []):
                item = _item(raw)
                found[item["OrderId"]] = item
            request = answer.get("UnprocessedKeys") or {}
    return found


def all_items(lab: Lab) -> Iterator[dict[str, Any]]:
    """Every item of OrdersTable, in no order."""
    pages = lab.client("dynamodb").get_paginator("scan").paginate(TableName=lab.names.table)
    for page in pages:
        yield from map(_item, page["Items"])


def error_code(error: ClientError) -> str:
    """AWS's error code and message in one line."""
    found = error.response.get("Error", {})
    return f"{found.get('Code', 'Unknown')}: {found.get('Message', '')}"


def _message(raw: dict[str, Any]) -> Message:
    system = raw.get("Attributes", {})
    return Message(
        id=raw["MessageId"],
        body=raw["Body"],
        attributes={
            name: value.get("StringValue", "")
            for name, value in raw.get("MessageAttributes", {}).items()
        },
        sent=datetime.fromtimestamp(int(system.get("SentTimestamp", 0)) / 1000, UTC),
        received=int(system.get("ApproximateReceiveCount", 0)),
    )


def _record(shard: str, raw: dict[str, Any]) -> StreamRecord:
    arrived = raw["ApproximateArrivalTimestamp"].astimezone(UTC)
    return StreamRecord(shard, raw["SequenceNumber"], raw["PartitionKey"], raw["Data"], arrived)


def _item(raw: dict[str, Any]) -> dict[str, Any]:
    read = TypeDeserializer().deserialize
    return {name: read(value) for name, value in raw.items()}


def _keys(event: Any) -> Iterator[str]:
    """The keys of the objects an S3 event is about, as they were before S3 encoded them."""
    if isinstance(event, dict):
        for record in event.get("Records") or []:
            key = record.get("s3", {}).get("object", {}).get("key")
            if key is not None:
                yield unquote_plus(key)


def _json(text: str | bytes) -> Any:
    """*text* as JSON with exact numbers, or None when it is not JSON."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None

"""Event records as functions receive them from polled sources.

Follows the Lambda Developer Guide: "Using Lambda with Amazon SQS", "... with Kinesis Data
Streams" and "... with DynamoDB".
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from labkit.localaws.queues import Message
from labkit.localaws.streams import Record


def sqs_record(message: Message, attributes: dict[str, str], queue_arn: str) -> dict[str, Any]:
    """One message of a queue; *attributes* are its system attributes."""
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {
            name: _message_attribute(value) for name, value in message.attributes.items()
        },
        "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def kinesis_record(
    record: Record, shard_id: str, stream_arn: str, role_arn: str
) -> dict[str, Any]:
    """One record of a data stream, read with the function's role."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": str(record.sequence),
            "data": base64.b64encode(record.data).decode(),
            "approximateArrivalTimestamp": round(record.arrived, 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record.sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": stream_arn.split(":")[3],
        "eventSourceARN": stream_arn,
    }


def _message_attribute(attribute: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    if attribute.get("StringValue") is not None:
        shown["stringValue"] = attribute["StringValue"]
    if attribute.get("BinaryValue") is not None:
        shown["binaryValue"] = base64.b64encode(bytes(attribute["BinaryValue"])).decode()
    return {**shown, "dataType": attribute["DataType"]}

"""Event records as functions receive them from polled sources, from what the sources' APIs answer.

Follows the Lambda Developer Guide: "Using Lambda with Amazon SQS", "... with Kinesis Data
Streams" and "... with DynamoDB".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Lambda's order; the API answers in another.
_SQS_ATTRIBUTES = (
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "DeadLetterQueueSourceArn",
    "ApproximateFirstReceiveTimestamp",
)


def sqs_record(message: Mapping[str, Any], queue_arn: str, *, windowed: bool) -> dict[str, Any]:
    """One message as ReceiveMessage answers it.

    Mappings with a batching window (*windowed*) name the attributes' checksum even when there is
    none.
    """
    attributes = message.get("Attributes", {})
    record: dict[str, Any] = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {name: attributes[name] for name in _SQS_ATTRIBUTES if name in attributes},
        "messageAttributes": {
            name: _message_attribute(value)
            for name, value in message.get("MessageAttributes", {}).items()
        },
    }
    checksum = message.get("MD5OfMessageAttributes")
    if checksum or windowed:
        record["md5OfMessageAttributes"] = checksum
    record["md5OfBody"] = message["MD5OfBody"]
    record["eventSource"] = "aws:sqs"
    record["eventSourceARN"] = queue_arn
    record["awsRegion"] = _region(queue_arn)
    return record


def kinesis_record(
    record: Mapping[str, Any], shard_id: str, stream_arn: str, role_arn: str
) -> dict[str, Any]:
    """One record as GetRecords answers it, read with the function's role."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": base64.b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": round(_epoch(record["ApproximateArrivalTimestamp"]), 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": _region(stream_arn),
        "eventSourceARN": stream_arn,
    }


def dynamodb_record(record: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    """One change as a DynamoDB stream's GetRecords answers it."""
    change = record["dynamodb"]
    shown: dict[str, Any] = {
        "ApproximateCreationDateTime": float(int(_epoch(change["ApproximateCreationDateTime"])))
    }
    for image in ("Keys", "NewImage", "OldImage"):
        if image in change:
            shown[image] = {name: _attribute_value(value) for name, value in change[image].items()}
    for name in ("SequenceNumber", "SizeBytes", "StreamViewType"):
        shown[name] = change[name]
    event: dict[str, Any] = {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record["eventVersion"],
        "eventSource": record["eventSource"],
        "awsRegion": record["awsRegion"],
        "dynamodb": shown,
    }
    if record.get("userIdentity"):
        identity = record["userIdentity"]
        event["userIdentity"] = {
            "type": identity["Type"],
            "principalId": identity["PrincipalId"],
        }
    event["eventSourceARN"] = stream_arn
    return event


def payload_of(event: Mapping[str, Any]) -> bytes:
    """An event as the function's payload."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _message_attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if attribute.get("StringValue") is not None:
        shown["stringValue"] = attribute["StringValue"]
    if attribute.get("BinaryValue") is not None:
        shown["binaryValue"] = base64.b64encode(bytes(attribute["BinaryValue"])).decode()
    return {
        **shown,
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": attribute["DataType"],
    }


def _attribute_value(value: Mapping[str, Any]) -> dict[str, Any]:
    """A DynamoDB value as JSON has it: bytes in base64."""
    [(kind, inner)] = value.items()
    if kind == "B":
        return {kind: base64.b64encode(bytes(inner)).decode()}
    if kind == "BS":
        return {kind: [base64.b64encode(bytes(item)).decode() for item in inner]}
    if kind == "L":
        return {kind: [_attribute_value(item) for item in inner]}
    if kind == "M":
        return {kind: {name: _attribute_value(item) for name, item in inner.items()}}
    return {kind: inner}


def _epoch(moment: Any) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def _region(arn: str) -> str:
    return arn.split(":")[3]

"""What each AWS service measures of the API calls it answers: the meters behind Telemetry.observe.

One function per service, given the telemetry, the call and the answer. Names, units and dimensions
follow each service's own guide: Amazon Kinesis Data Streams ("Monitoring with CloudWatch"), Amazon
SQS ("Available CloudWatch metrics"), Amazon SNS, Amazon
EventBridge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.localaws import table_metrics
from labkit.localaws.call import Call, Reply
from labkit.localaws.metering import THROTTLES, Emit, error_code, milliseconds, output_of

if TYPE_CHECKING:
    from labkit.localaws.telemetry import Telemetry

Meter = Callable[["Telemetry", Call, Reply], None]


def _base64_bytes(data: Any) -> int:
    """The number of bytes behind base64 text, or of bytes."""
    if isinstance(data, bytes):
        return len(data)
    return len(data) * 3 // 4 - data[-2:].count("=") if data else 0


# -- Kinesis -------------------------------------------------------------------------------------


def _kinesis(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    meter = _KINESIS.get(call.operation)
    if meter is None:
        return
    stream = _stream_name(call)
    if stream:
        emit = Emit(telemetry, call, "AWS/Kinesis")
        meter(emit, call, reply, (("StreamName", stream),))
        emit.done()


def _stream_name(call: Call) -> str:
    params = call.params
    name = call.notes.get("stream_name") or params.get("StreamName")
    if name:
        return name
    return params.get("StreamARN", "").rpartition("/")[2]


def _put_record(emit: Emit, call: Call, reply: Reply, stream: tuple) -> None:
    if reply.status < 400:
        size = len(call.params.get("Data") or b"")
        emit("IncomingRecords", 1.0, "Count", stream)
        emit("IncomingBytes", size, "Bytes", stream)
        emit("PutRecord.Bytes", size, "Bytes", stream)
        emit("PutRecord.Success", 1.0, "Count", stream)
        emit("PutRecord.Latency", milliseconds(call), "Milliseconds", stream)
        emit("WriteProvisionedThroughputExceeded", 0.0, "Count", stream)
        return
    code = error_code(call, reply)
    if code == "ResourceNotFoundException":
        return
    emit("PutRecord.Success", 0.0, "Count", stream)
    if code in THROTTLES:
        emit("WriteProvisionedThroughputExceeded", 1.0, "Count", stream)


def _put_records(emit: Emit, call: Call, reply: Reply, stream: tuple) -> None:
    records = call.params.get("Records") or ()
    if reply.status >= 400:
        if error_code(call, reply) != "ResourceNotFoundException":
            emit("PutRecords.Success", 0.0, "Count", stream)
        return
    throttled = failed = taken = size = 0
    for record, result in zip(records, output_of(reply).get("Records", ()), strict=False):
        code = result.get("ErrorCode")
        if not code:
            taken += 1
            size += len(record.get("Data") or b"")
        elif code in THROTTLES:
            throttled += 1
        else:
            failed += 1
    emit("IncomingRecords", taken, "Count", stream)
    emit("IncomingBytes", size, "Bytes", stream)
    emit("PutRecords.Bytes", size, "Bytes", stream)
    # At least one record went through: that is what this one tells.
    emit("PutRecords.Success", float(taken > 0), "Count", stream)
    emit("PutRecords.Records", taken, "Count", stream)
    emit("PutRecords.TotalRecords", len(records), "Count", stream)
    emit("PutRecords.SuccessfulRecords", taken, "Count", stream)
    emit("PutRecords.FailedRecords", failed, "Count", stream)
    emit("PutRecords.ThrottledRecords", throttled, "Count", stream)
    emit("PutRecords.Latency", milliseconds(call), "Milliseconds", stream)
    emit("WriteProvisionedThroughputExceeded", throttled, "Count", stream)


def _get_records(emit: Emit, call: Call, reply: Reply, stream: tuple) -> None:
    if reply.status >= 400:
        code = error_code(call, reply)
        emit("GetRecords.Success", 0.0, "Count", stream)
        if code in THROTTLES:
            emit("ReadProvisionedThroughputExceeded", 1.0, "Count", stream)
        return
    output = output_of(reply)
    records = output.get("Records", ())
    behind = float(output.get("MillisBehindLatest") or 0)
    size = sum(_base64_bytes(record.get("Data")) for record in records)
    emit("GetRecords.Records", len(records), "Count", stream)
    emit("GetRecords.Bytes", size, "Bytes", stream)
    emit("GetRecords.Success", 1.0, "Count", stream)
    emit("GetRecords.Latency", milliseconds(call), "Milliseconds", stream)
    emit("GetRecords.IteratorAgeMilliseconds", behind, "Milliseconds", stream)
    emit("ReadProvisionedThroughputExceeded", 0.0, "Count", stream)


_KINESIS = {"PutRecord": _put_record, "PutRecords": _put_records, "GetRecords": _get_records}


# -- SQS -----------------------------------------------------------------------------------------

_XML_MESSAGES = {
    "ReceiveMessage": b"<Message>",
    "SendMessageBatch": b"<SendMessageBatchResultEntry>",
    "DeleteMessageBatch": b"<DeleteMessageBatchResultEntry>",
}
_JSON_MESSAGES = {
    "ReceiveMessage": "Messages",
    "SendMessageBatch": "Successful",
    "DeleteMessageBatch": "Successful",
}


def _sqs(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    operation = call.operation
    if operation not in _SQS_METERED or reply.status >= 400:
        return
    queue = (("QueueName", call.params.get("QueueUrl", "").rpartition("/")[2]),)
    emit = Emit(telemetry, call, "AWS/SQS")
    if operation == "SendMessage":
        emit("NumberOfMessagesSent", 1.0, "Count", queue)
        emit("SentMessageSize", _message_size(call.params), "Bytes", queue)
    elif operation == "ReceiveMessage":
        number = _listed(operation, reply)
        if number:
            emit("NumberOfMessagesReceived", number, "Count", queue)
        else:
            emit("NumberOfEmptyReceives", 1.0, "Count", queue)
    elif operation == "DeleteMessage":
        emit("NumberOfMessagesDeleted", 1.0, "Count", queue)
    elif operation == "DeleteMessageBatch":
        number = _listed(operation, reply)
        if number:
            emit("NumberOfMessagesDeleted", number, "Count", queue)
    elif operation == "SendMessageBatch":
        _sent_batch(emit, call, reply, queue)
    emit.done()
    telemetry.touched("AWS/SQS", call, queue[0][1])


def _sent_batch(emit: Emit, call: Call, reply: Reply, queue: tuple) -> None:
    entries = call.params.get("Entries") or ()
    taken = _listed("SendMessageBatch", reply)
    if not taken:
        return
    if taken < len(entries):
        accepted = {entry.get("Id") for entry in output_of(reply).get("Successful", ())}
        entries = [entry for entry in entries if entry.get("Id") in accepted]
    emit("NumberOfMessagesSent", taken, "Count", queue)
    for entry in entries:
        emit("SentMessageSize", _message_size(entry), "Bytes", queue)


def _listed(operation: str, reply: Reply) -> int:
    """How many messages the answer lists."""
    if reply.body[:1] == b"{":
        return len(output_of(reply).get(_JSON_MESSAGES[operation]) or ())
    return reply.body.count(_XML_MESSAGES[operation])


def _message_size(message: dict[str, Any]) -> int:
    """The bytes of a message's body and attributes."""
    body = message.get("MessageBody") or message.get("Message") or ""
    size = len(body) if body.isascii() else len(body.encode())
    for name, attribute in (message.get("MessageAttributes") or {}).items():
        text = attribute.get("StringValue") or ""
        size += len(name) + len(attribute.get("DataType") or "") + len(text.encode())
        size += len(attribute.get("BinaryValue") or b"")
    return size


_SQS_METERED = frozenset(
    {
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "PurgeQueue",
        "CreateQueue",
    }
)


# -- SNS -----------------------------------------------------------------------------------------


def _sns(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    if call.operation not in ("Publish", "PublishBatch") or reply.status >= 400:
        return
    params = call.params
    arn = params.get("TopicArn") or params.get("TargetArn")
    if not arn or ":endpoint/" in arn:
        return
    emit = Emit(telemetry, call, "AWS/SNS")
    topic = (("TopicName", arn.rpartition(":")[2]),)
    if call.operation == "Publish":
        emit("NumberOfMessagesPublished", 1.0, "Count", topic)
        emit("PublishSize", _message_size(params), "Bytes", topic)
        emit.done()
        return
    entries = params.get("PublishBatchRequestEntries") or ()
    published = reply.body.count(b"<MessageId>") or len(output_of(reply).get("Successful") or ())
    if published:
        emit("NumberOfMessagesPublished", published, "Count", topic)
        for entry in entries:
            emit("PublishSize", _message_size(entry), "Bytes", topic)
        emit.done()


# -- EventBridge ---------------------------------------------------------------------------------


def _events(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    if call.operation != "PutEvents":
        return
    emit = Emit(telemetry, call, "AWS/Events")
    entries = len(call.params.get("Entries") or ())
    failed = entries if reply.status >= 400 else output_of(reply).get("FailedEntryCount", 0)
    emit("PutEventsApproximateCallCount", 1.0, "Count", ())
    emit("PutEventsApproximateSuccessCount", float(reply.status < 400), "Count", ())
    emit("PutEventsEntriesCount", entries, "Count", ())
    emit("PutEventsFailedEntriesCount", failed, "Count", ())
    emit("PutEventsLatency", milliseconds(call), "Milliseconds", ())
    emit("PutEventsRequestSize", len(call.request.get_data()), "Bytes", ())
    emit.done()


METERS: dict[str, Meter] = {
    "kinesis": _kinesis,
    "sqs": _sqs,
    "sns": _sns,
    "dynamodb": table_metrics.meter,
    "events": _events,
}

"""What each AWS service measures of the API calls it answers: the meters behind Telemetry.observe.

One function per service, given the telemetry, the call and the answer. Names, units and dimensions
follow each service's own guide: Amazon Kinesis Data Streams ("Monitoring with CloudWatch"), Amazon
SQS ("Available CloudWatch metrics"), Amazon SNS, Amazon DynamoDB ("Metrics and dimensions"), Amazon
EventBridge. Metering must never break the call it meters, and it is paid for on every call: nothing
here parses more than it needs.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Call, Reply
from labkit.localaws.metrics_store import Handle

if TYPE_CHECKING:
    from labkit.localaws.telemetry import Telemetry

Meter = Callable[["Telemetry", Call, Reply], None]

_THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
    }
)


class _Emit:
    """Collects one call's samples: same account, region and moment for all of them."""

    __slots__ = ("_scope", "_telemetry", "_namespace", "_samples")

    def __init__(self, telemetry: Telemetry, call: Call, namespace: str) -> None:
        self._telemetry = telemetry
        self._scope = (call.account_id, call.region)
        self._namespace = namespace
        self._samples: list[tuple[Handle, float]] = []

    def __call__(
        self, name: str, value: float, unit: str, pairs: tuple[tuple[str, str], ...]
    ) -> None:
        handle = self._telemetry.handle(self._scope, self._namespace, name, pairs, unit)
        self._samples.append((handle, value))

    def done(self) -> None:
        """Count everything collected."""
        if self._samples:
            self._telemetry.store.count(self._samples, time.time())


def _milliseconds(call: Call) -> float:
    """How long the call took."""
    started = call.notes.get("started")
    return 0.0 if started is None else (time.monotonic() - started) * 1000


def _output(reply: Reply) -> dict[str, Any]:
    """The answer's members in a JSON protocol; empty for anything else."""
    if reply.body[:1] != b"{":
        return {}
    try:
        return json.loads(reply.body)
    except ValueError:
        return {}


def _error_code(call: Call, reply: Reply) -> str:
    error = call.notes.get("error")
    if error is not None:
        return error.code
    code = str(_output(reply).get("__type", "")) or reply.headers.get("x-amzn-errortype", "")
    return code.rpartition("#")[2]


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
        emit = _Emit(telemetry, call, "AWS/Kinesis")
        meter(emit, call, reply, (("StreamName", stream),))
        emit.done()


def _stream_name(call: Call) -> str:
    params = call.params
    name = call.notes.get("stream_name") or params.get("StreamName")
    if name:
        return name
    return params.get("StreamARN", "").rpartition("/")[2]


def _put_record(emit: _Emit, call: Call, reply: Reply, stream: tuple) -> None:
    if reply.status < 400:
        size = len(call.params.get("Data") or b"")
        emit("IncomingRecords", 1.0, "Count", stream)
        emit("IncomingBytes", size, "Bytes", stream)
        emit("PutRecord.Bytes", size, "Bytes", stream)
        emit("PutRecord.Success", 1.0, "Count", stream)
        emit("PutRecord.Latency", _milliseconds(call), "Milliseconds", stream)
        emit("WriteProvisionedThroughputExceeded", 0.0, "Count", stream)
        return
    code = _error_code(call, reply)
    if code == "ResourceNotFoundException":
        return
    emit("PutRecord.Success", 0.0, "Count", stream)
    if code in _THROTTLES:
        emit("WriteProvisionedThroughputExceeded", 1.0, "Count", stream)


def _put_records(emit: _Emit, call: Call, reply: Reply, stream: tuple) -> None:
    records = call.params.get("Records") or ()
    if reply.status >= 400:
        if _error_code(call, reply) != "ResourceNotFoundException":
            emit("PutRecords.Success", 0.0, "Count", stream)
        return
    throttled = failed = taken = size = 0
    for record, result in zip(records, _output(reply).get("Records", ()), strict=False):
        code = result.get("ErrorCode")
        if not code:
            taken += 1
            size += len(record.get("Data") or b"")
        elif code in _THROTTLES:
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
    emit("PutRecords.Latency", _milliseconds(call), "Milliseconds", stream)
    emit("WriteProvisionedThroughputExceeded", throttled, "Count", stream)


def _get_records(emit: _Emit, call: Call, reply: Reply, stream: tuple) -> None:
    if reply.status >= 400:
        code = _error_code(call, reply)
        emit("GetRecords.Success", 0.0, "Count", stream)
        if code in _THROTTLES:
            emit("ReadProvisionedThroughputExceeded", 1.0, "Count", stream)
        return
    output = _output(reply)
    records = output.get("Records", ())
    behind = float(output.get("MillisBehindLatest") or 0)
    size = sum(_base64_bytes(record.get("Data")) for record in records)
    emit("GetRecords.Records", len(records), "Count", stream)
    emit("GetRecords.Bytes", size, "Bytes", stream)
    emit("GetRecords.Success", 1.0, "Count", stream)
    emit("GetRecords.Latency", _milliseconds(call), "Milliseconds", stream)
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
    emit = _Emit(telemetry, call, "AWS/SQS")
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


def _sent_batch(emit: _Emit, call: Call, reply: Reply, queue: tuple) -> None:
    entries = call.params.get("Entries") or ()
    taken = _listed("SendMessageBatch", reply)
    if not taken:
        return
    if taken < len(entries):
        accepted = {entry.get("Id") for entry in _output(reply).get("Successful", ())}
        entries = [entry for entry in entries if entry.get("Id") in accepted]
    emit("NumberOfMessagesSent", taken, "Count", queue)
    for entry in entries:
        emit("SentMessageSize", _message_size(entry), "Bytes", queue)


def _listed(operation: str, reply: Reply) -> int:
    """How many messages the answer lists."""
    if reply.body[:1] == b"{":
        return len(_output(reply).get(_JSON_MESSAGES[operation]) or ())
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
    emit = _Emit(telemetry, call, "AWS/SNS")
    topic = (("TopicName", arn.rpartition(":")[2]),)
    if call.operation == "Publish":
        emit("NumberOfMessagesPublished", 1.0, "Count", topic)
        emit("PublishSize", _message_size(params), "Bytes", topic)
        emit.done()
        return
    entries = params.get("PublishBatchRequestEntries") or ()
    published = reply.body.count(b"<MessageId>") or len(_output(reply).get("Successful") or ())
    if published:
        emit("NumberOfMessagesPublished", published, "Count", topic)
        for entry in entries:
            emit("PublishSize", _message_size(entry), "Bytes", topic)
        emit.done()


# -- DynamoDB ------------------------------------------------------------------------------------

_READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
_TABLE_IN_STATEMENT = re.compile(
    r"\b(?:from|into|update)\s+(?:\"([^\"]+)\"|([A-Za-z0-9_.-]+))", re.IGNORECASE
)


def _dynamodb(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    operation = call.operation
    if operation not in _READS and operation not in _WRITES and operation != "ExecuteStatement":
        return
    emit = _Emit(telemetry, call, "AWS/DynamoDB")
    tables = _tables(call)
    if reply.status >= 400:
        _dynamodb_error(emit, call, reply, tables)
        # A write whose condition did not hold has its price too.
        for consumed in _consumed(call, {}, []):
            _emit_capacity(emit, consumed, operation)
        emit.done()
        return
    # Parts of a batch that found no capacity, though the batch as such succeeded.
    kind = "ReadThrottleEvents" if operation in _READS else "WriteThrottleEvents"
    for table, requests in (call.notes.get("throttled") or {}).items():
        emit(kind, float(requests), "Count", (("TableName", table),))
    milliseconds = _milliseconds(call)
    output = _output(reply)
    for table in tables:
        pairs = (("TableName", table), ("Operation", operation))
        emit("SuccessfulRequestLatency", milliseconds, "Milliseconds", pairs)
        if operation in ("Query", "Scan", "ExecuteStatement"):
            returned = output.get("Count", len(output.get("Items") or ()))
            emit("ReturnedItemCount", returned, "Count", pairs)
    for consumed in _consumed(call, output, tables):
        _emit_capacity(emit, consumed, operation)
    emit.done()


def _emit_capacity(emit: _Emit, consumed: dict[str, Any], operation: str) -> None:
    """Count one table's ConsumedCapacity, in the shape DynamoDB answers it."""
    table = str(consumed.get("TableName", "")).rpartition("/")[2]
    reads = operation in _READS
    indexes = consumed.get("GlobalSecondaryIndexes") or {}
    parts = [((("TableName", table),), consumed.get("Table") or consumed)]
    parts += [
        ((("TableName", table), ("GlobalSecondaryIndexName", index)), capacity)
        for index, capacity in indexes.items()
    ]
    for pairs, capacity in parts:
        units = capacity.get("CapacityUnits") or 0.0
        read = capacity.get("ReadCapacityUnits", units if reads else 0.0)
        write = capacity.get("WriteCapacityUnits", 0.0 if reads else units)
        if read or (reads and not write):
            emit("ConsumedReadCapacityUnits", read, "Count", pairs)
        if write:
            emit("ConsumedWriteCapacityUnits", write, "Count", pairs)


def _dynamodb_error(emit: _Emit, call: Call, reply: Reply, tables: list[str]) -> None:
    code = _error_code(call, reply)
    conditional = code == "ConditionalCheckFailedException"
    if code == "TransactionCanceledException":
        reasons = [reason.get("Code") for reason in _output(reply).get("CancellationReasons") or ()]
        conditional = "ConditionalCheckFailed" in reasons
    for table in tables:
        if conditional:
            emit("ConditionalCheckFailedRequests", 1.0, "Count", (("TableName", table),))
        elif code in ("ProvisionedThroughputExceededException", "ThrottlingException"):
            kind = "ReadThrottleEvents" if call.operation in _READS else "WriteThrottleEvents"
            emit(kind, 1.0, "Count", (("TableName", table),))
            operation = ("Operation", call.operation)
            emit("ThrottledRequests", 1.0, "Count", (("TableName", table), operation))
        elif code in ("TransactionConflictException", "TransactionCanceledException"):
            emit("TransactionConflict", 1.0, "Count", (("TableName", table),))
        elif reply.status >= 500:
            operation = ("Operation", call.operation)
            emit("SystemErrors", 1.0, "Count", (("TableName", table), operation))
    if reply.status < 500 and not conditional and code not in _THROTTLES:
        emit("UserErrors", 1.0, "Count", ())


def _tables(call: Call) -> list[str]:
    """The tables a call names, without the rest of their ARNs."""
    params = call.params
    if "TableName" in params:
        names: Iterable[str] = (params["TableName"],)
    elif "RequestItems" in params:
        names = params["RequestItems"] or ()
    elif "TransactItems" in params:
        names = {
            action.get("TableName", "")
            for item in params["TransactItems"]
            for action in item.values()
            if isinstance(action, dict)
        }
    else:
        match = _TABLE_IN_STATEMENT.search(params.get("Statement", ""))
        names = (match.group(1) or match.group(2),) if match else ()
    return [name.rpartition("/")[2] for name in names if name]


def _consumed(call: Call, output: dict[str, Any], tables: list[str]) -> list[dict[str, Any]]:
    """The call's ConsumedCapacity entries: the layer's own, the answer's, or an estimate."""
    known = call.notes.get("consumed_capacity", output.get("ConsumedCapacity"))
    if known is not None:
        return [known] if isinstance(known, dict) else list(known)
    return [
        {"TableName": table, "CapacityUnits": _estimate(call, output, table)} for table in tables
    ]


def _estimate(call: Call, output: dict[str, Any], table: str) -> float:
    """Capacity units by the size of what was written or came back; JSON is a bit larger."""
    operation, params = call.operation, call.params
    if operation in _READS:
        strong = params.get("ConsistentRead") or operation == "TransactGetItems"
        size = len(json.dumps(output.get("Item") or output.get("Items") or output))
        return max(1, math.ceil(size / 4096)) * (1.0 if strong else 0.5)
    if operation == "BatchWriteItem":
        return float(len((params.get("RequestItems") or {}).get(table, ())))
    if operation == "TransactWriteItems":
        return 2.0 * len(params.get("TransactItems") or ())
    size = len(json.dumps(params.get("Item") or {}, default=str))
    return float(max(1, math.ceil(size / 1024)))


# -- EventBridge ---------------------------------------------------------------------------------


def _events(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    if call.operation != "PutEvents":
        return
    emit = _Emit(telemetry, call, "AWS/Events")
    entries = len(call.params.get("Entries") or ())
    failed = entries if reply.status >= 400 else _output(reply).get("FailedEntryCount", 0)
    emit("PutEventsApproximateCallCount", 1.0, "Count", ())
    emit("PutEventsApproximateSuccessCount", float(reply.status < 400), "Count", ())
    emit("PutEventsEntriesCount", entries, "Count", ())
    emit("PutEventsFailedEntriesCount", failed, "Count", ())
    emit("PutEventsLatency", _milliseconds(call), "Milliseconds", ())
    emit("PutEventsRequestSize", len(call.request.get_data()), "Bytes", ())
    emit.done()


METERS: dict[str, Meter] = {
    "kinesis": _kinesis,
    "sqs": _sqs,
    "sns": _sns,
    "dynamodb": _dynamodb,
    "events": _events,
}

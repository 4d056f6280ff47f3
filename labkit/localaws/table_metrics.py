"""What DynamoDB measures of the calls it answers.

Amazon DynamoDB Developer Guide, "DynamoDB metrics and dimensions".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Call, Reply
from labkit.localaws.metering import THROTTLES, Emit, error_code, milliseconds, output_of

if TYPE_CHECKING:
    from labkit.localaws.telemetry import Telemetry

_READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
_TABLE_IN_STATEMENT = re.compile(
    r"\b(?:from|into|update)\s+(?:\"([^\"]+)\"|([A-Za-z0-9_.-]+))", re.IGNORECASE
)


def meter(telemetry: Telemetry, call: Call, reply: Reply) -> None:
    """Meter one answered call to DynamoDB."""
    operation = call.operation
    if operation not in _READS and operation not in _WRITES and operation != "ExecuteStatement":
        return
    emit = Emit(telemetry, call, "AWS/DynamoDB")
    tables = _tables(call)
    if reply.status >= 400:
        _dynamodb_error(emit, call, reply, tables)
        # A write whose condition did not hold has its price too.
        for consumed in _consumed(call, {}):
            _emit_capacity(emit, consumed, operation)
        emit.done()
        return
    # Parts of a batch that found no capacity, though the batch as such succeeded.
    kind = "ReadThrottleEvents" if operation in _READS else "WriteThrottleEvents"
    for table, requests in (call.notes.get("throttled") or {}).items():
        emit(kind, float(requests), "Count", (("TableName", table),))
    took = milliseconds(call)
    output = output_of(reply)
    for table in tables:
        pairs = (("TableName", table), ("Operation", operation))
        emit("SuccessfulRequestLatency", took, "Milliseconds", pairs)
        if operation in ("Query", "Scan", "ExecuteStatement"):
            returned = output.get("Count", len(output.get("Items") or ()))
            emit("ReturnedItemCount", returned, "Count", pairs)
    for consumed in _consumed(call, output):
        _emit_capacity(emit, consumed, operation)
    emit.done()


def _emit_capacity(emit: Emit, consumed: dict[str, Any], operation: str) -> None:
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


def _dynamodb_error(emit: Emit, call: Call, reply: Reply, tables: list[str]) -> None:
    code = error_code(call, reply)
    conditional = code == "ConditionalCheckFailedException"
    if code == "TransactionCanceledException":
        reasons = [
            reason.get("Code") for reason in output_of(reply).get("CancellationReasons") or ()
        ]
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
    if reply.status < 500 and not conditional and code not in THROTTLES:
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


def _consumed(call: Call, output: dict[str, Any]) -> list[dict[str, Any]]:
    """The call's ConsumedCapacity entries: what the layer noted, or what the answer tells."""
    known = call.notes.get("consumed_capacity", output.get("ConsumedCapacity"))
    if known is None:
        return []
    return [known] if isinstance(known, dict) else list(known)

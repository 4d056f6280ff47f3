"""DynamoDB: tables are moto's; capacity, limits, batches, transactions and TTL are kept here.

Follows the Amazon DynamoDB API Reference. moto answers one unit for everything, never throttles,
takes what AWS refuses, and never deletes what has expired; ``labkit.localaws.tables`` has the parts.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws import moto_hooks
from labkit.localaws.call import AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.constraints import Rules, check
from labkit.localaws.protocol import operation_model
from labkit.localaws.tables import (
    batches,
    definitions,
    reading,
    rules,
    statements,
    store,
    transactions,
)
from labkit.localaws.tables.capacity import Usage, read_units, write_usage
from labkit.localaws.tables.expiry import Expiry
from labkit.localaws.tables.throughput import Throughput
from labkit.localaws.tables.values import item_size

# moto's prefix of a few messages about single-item writes.
_DETECTED = "1 validation error detected: "
_CHOICES = {
    "ReturnValues": ("NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"),
    "ReturnConsumedCapacity": ("INDEXES", "TOTAL", "NONE"),
    "ReturnItemCollectionMetrics": ("SIZE", "NONE"),
    "ReturnValuesOnConditionCheckFailure": ("ALL_OLD", "NONE"),
    "Select": ("ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT"),
}
# What is inside items and expressions is checked here, in other words than the front end's.
_RULES = Rules(skip=frozenset({"PutItemInputAttributeMap", "Key", "ExpressionAttributeValueMap"}))


class DynamoDbLayer(ServiceLayer):
    """The operations on items, and those on tables that concern their capacity and expiry."""

    service = "dynamodb"

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        moto_hooks.align_dynamodb()
        self.throughput = Throughput()
        self.expiry = Expiry(aws)
        self.tokens = transactions.Tokens()

    # -- single items ------------------------------------------------------------------------

    def PutItem(self, call: Call, forward: Forward) -> Reply:
        """The old item where asked for; what it cost."""
        table = self._checked(call, ("ConditionExpression",), prefix=_DETECTED)
        item = call.params.get("Item")
        if table is None or not item:
            return forward()
        rules.check_item(table, item, prefix=_DETECTED)
        return self._write(call, forward, table, rules.key_of(table, item), item)

    def UpdateItem(self, call: Call, forward: Forward) -> Reply:
        """The attributes asked for; what it cost."""
        table = self._checked(call, ("UpdateExpression", "ConditionExpression"), prefix=_DETECTED)
        if table is None:
            return forward()
        rules.check_key(table, call.params.get("Key"))
        return self._write(call, forward, table, rules.key_of(table, call.params["Key"]), None)

    def DeleteItem(self, call: Call, forward: Forward) -> Reply:
        """The old item where asked for; what it cost."""
        table = self._checked(call, ("ConditionExpression",), prefix=_DETECTED)
        if table is None:
            return forward()
        rules.check_key(table, call.params.get("Key"))
        return self._write(call, forward, table, rules.key_of(table, call.params["Key"]), None)

    def GetItem(self, call: Call, forward: Forward) -> Reply:
        """The item; what reading it cost."""
        table = self._checked(call, ("ProjectionExpression",))
        if table is None:
            return forward()
        params = call.params
        rules.check_key(table, params.get("Key"))
        with self.lock(call):
            now = self.aws.clock.now()
            self.throughput.admit(table, "Read", now)
            reply = forward()
            if not reply.ok:
                return reply
            item = store.stored(table, params["Key"])
            size = 0 if item is None else item_size(item.attrs)
            usage = Usage(read_units(size, strong=bool(params.get("ConsistentRead"))))
            self.throughput.charge(table, "Read", usage, now)
        return self._told(call, reply, usage, "Read")

    def _write(
        self, call: Call, forward: Forward, table: Any, key: dict[str, Any], new: Any
    ) -> Reply:
        """moto's answer to a write of one item, once it is admitted, possible and recorded."""
        with self.lock(call):
            now = self.aws.clock.now()
            self.throughput.admit(table, "Write", now)
            before = store.stored(table, key)
            if call.operation == "UpdateItem":
                before = store.copied(before)
            old = store.attributes(before)
            with store.unrecorded(table):
                reply = forward()
                after = store.stored(table, key)
                try:
                    if reply.ok:
                        if call.operation == "UpdateItem":
                            transactions.check_updated(table, after)
                        usage = write_usage(table, old, store.attributes(after))
                        touched = [name for name, units in usage.global_indexes.items() if units]
                        self.throughput.admit(table, "Write", now, touched)
                    else:
                        # moto leaves behind what an update that failed had done by then.
                        store.put_back(table, key, before)
                        usage = write_usage(table, old, old)
                except AwsError:
                    store.put_back(table, key, before)
                    raise
            if not reply.ok:
                if call.operation == "UpdateItem" and b"Type mismatch for key" in reply.body:
                    # The table's own key can't be updated: it is an index's.
                    raise rules.invalid(transactions.INDEX_KEY_TYPE)
                if b"ConditionalCheckFailed" in reply.body:
                    if new is not None and item_size(new) > item_size(old or {}):
                        usage = Usage(write_usage(table, old, new).table)
                    self.throughput.charge(table, "Write", usage, now)
                    call.notes["consumed_capacity"] = usage.metered(table.name, "Write")
                return reply
            self.throughput.charge(table, "Write", usage, now)
            store.record(table, before, after)
            self.expiry.note(table, store.attributes(after))
        return self._told(call, reply, usage, "Write", collection=(table, key))

    # -- queries and scans -------------------------------------------------------------------

    def Query(self, call: Call, forward: Forward) -> Reply:
        """A page of one partition; what reading it cost."""
        params = call.params
        names = ("ProjectionExpression", "FilterExpression", "KeyConditionExpression")
        table = self._checked(call, names)
        if table is None:
            return forward()
        if params.get("KeyConditions") is None and params.get("KeyConditionExpression") is None:
            raise rules.invalid(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in "
                "the request."
            )
        if params.get("KeyConditionExpression") == "":
            raise rules.invalid("Invalid KeyConditionExpression: The expression can not be empty;")
        index = self._index(table, params)
        rules.check_start_key(table, index, params)
        rules.check_filter(params, (table if index is None else index).schema)
        return self._read(call, forward, table, index)

    def Scan(self, call: Call, forward: Forward) -> Reply:
        """A page of the table or index; what reading it cost."""
        table = self._checked(call, ("ProjectionExpression", "FilterExpression"))
        if table is None:
            return forward()
        params = call.params
        segment, segments = params.get("Segment"), params.get("TotalSegments")
        if segment is not None and segments is not None and segment >= segments:
            raise rules.invalid(
                "The Segment parameter is zero-based and must be less than parameter "
                f"TotalSegments: Segment: {segment} is not less than TotalSegments: {segments}"
            )
        index = self._index(table, params)
        rules.check_start_key(table, index, params)
        return self._read(call, forward, table, index)

    def _index(self, table: Any, params: Mapping[str, Any]) -> Any:
        name = params.get("IndexName")
        if not name:
            return None
        index = next((one for one in table.all_indexes() if one.name == name), None)
        if index is None:
            raise rules.invalid(f"The table does not have the specified index: {name}")
        rules.check_projected(table, index, params)
        return index

    def _read(self, call: Call, forward: Forward, table: Any, index: Any) -> Reply:
        params = call.params
        strong = bool(params.get("ConsistentRead"))
        with self.lock(call):
            now = self.aws.clock.now()
            of_global = index is not None and index in table.global_indexes
            if of_global:
                self.throughput.admit_index(table, index.name, "Read", now)
            else:
                self.throughput.admit(table, "Read", now)
            read = reading.READ
            read.reset(params.get("Select") == "ALL_ATTRIBUTES", frozenset(rules.wanted(params)))
            reply = forward()
            if not reply.ok:
                return reply
            units = read_units(read.scanned_bytes, strong=strong)
            if index is None:
                usage = Usage(units)
            elif of_global:
                usage = Usage(0.0, {index.name: units})
            else:
                fetched = sum(read_units(size, strong=strong) for size in read.fetched)
                usage = Usage(fetched, {}, {index.name: units})
            self.throughput.charge(table, "Read", usage, now)
        return self._told(call, reply, usage, "Read")

    # -- batches and transactions ------------------------------------------------------------

    def BatchWriteItem(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What found no capacity, to be sent again; what the rest cost."""
        self.check_choices(call)
        return batches.write(self, call)

    def BatchGetItem(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The items there are, and the keys that found no capacity or no room."""
        self.check_choices(call)
        return batches.read(self, call)

    def TransactWriteItems(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What it cost; a token that was used for the same request makes it a success again."""
        self.check_choices(call)
        return batches.transact_write(self, call)

    def TransactGetItems(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The items as they all were at one moment."""
        self.check_choices(call)
        return batches.transact_read(self, call)

    # -- tables ------------------------------------------------------------------------------

    def CreateTable(self, call: Call, forward: Forward) -> Reply:
        """The table, which is being created and there by the next call."""
        definitions.check_new(call.params)
        return self._described(call, forward(), status="CREATING")

    def UpdateTable(self, call: Call, forward: Forward) -> Reply:
        """The table, which is being updated and ready by the next call."""
        params = call.params
        table = store.find_table(call)
        if table is None:
            raise _no_table(params["TableName"])
        definitions.check_update(table, params)
        with self.lock(call):
            indexes = {index.name for index in table.global_indexes}
            definitions.remember_definitions(table)
            reply = forward()
            if reply.ok:
                definitions.settle_update(table, params)
            made = {index.name for index in table.global_indexes} - indexes
            return self._described(call, reply, status="UPDATING", creating=made)

    def DeleteTable(self, call: Call, forward: Forward) -> Reply:
        """The table, which is being deleted and gone by the next call."""
        table = store.find_table(call)
        if table is None:
            raise _no_table(call.params["TableName"])
        if table.deletion_protection_enabled:
            raise rules.invalid(
                "Resource cannot be deleted as it is currently protected against deletion. Disable "
                "deletion protection first."
            )
        return self._described(call, forward(), status="DELETING")

    def DescribeTable(self, call: Call, forward: Forward) -> Reply:
        """The table."""
        return self._described(call, forward())

    def _described(
        self, call: Call, reply: Reply, *, status: str = "ACTIVE", creating: Any = ()
    ) -> Reply:
        if not reply.ok:
            return reply
        answer = json.loads(reply.body)
        for member in ("Table", "TableDescription"):
            if member in answer:
                table = store.find_table(call, answer[member]["TableName"])
                with self.lock(call):
                    definitions.complete(answer[member], table, status, creating)
        return _rewritten(reply, answer)

    def UpdateTimeToLive(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The specification that holds from now on."""
        wanted = call.params["TimeToLiveSpecification"]
        table = store.find_table(call)
        if table is None:
            raise _no_table(call.params["TableName"])
        with self.lock(call):
            self.expiry.configure(table, bool(wanted["Enabled"]), wanted["AttributeName"])
        return {"TimeToLiveSpecification": wanted}

    def DescribeTimeToLive(self, call: Call, forward: Forward) -> Reply:
        """Whether TTL is on, and for which attribute."""
        if store.find_table(call) is None:
            raise _no_table(call.params["TableName"])
        return forward()

    # -- PartiQL -----------------------------------------------------------------------------

    def ExecuteStatement(self, call: Call, forward: Forward) -> Any:
        """The items a statement reads; what it cost."""
        return statements.execute(self, call)

    def BatchExecuteStatement(self, call: Call, forward: Forward) -> Any:
        """For each statement its item, or why it failed."""
        return statements.execute_batch(self, call)

    def ExecuteTransaction(self, call: Call, forward: Forward) -> Any:
        """The items of all statements, or none carried out."""
        return statements.execute_transaction(self, call)

    # -- inside ------------------------------------------------------------------------------

    def lock(self, call: Call) -> Any:
        """The lock around moto's tables of the caller's account."""
        return self.aws.lock("dynamodb", call.account_id)

    def check_choices(self, call: Call) -> None:
        """Refuse what is no value of an enumeration, all of them in one message."""
        params = call.params
        limit = params.get("Limit")
        if (limit is not None and limit < 1) or any(
            params.get(name, allowed[0]) not in allowed for name, allowed in _CHOICES.items()
        ):
            model = operation_model("dynamodb", call.operation)
            assert model is not None
            check(model.input_shape, params, _RULES)

    def _checked(self, call: Call, expressions: Sequence[str], *, prefix: str = "") -> Any:
        """The call's table, once what it says of itself is sound; None when there is no table."""
        if "unparsed" in call.notes:
            return None
        rules.check_table_name(call.params.get("TableName"))
        self.check_choices(call)
        rules.check_mixture(call.params, expressions)
        rules.check_expressions(call.params, expressions, prefix=prefix)
        return store.find_table(call)

    def _told(
        self,
        call: Call,
        reply: Reply,
        usage: Usage,
        kind: str,
        *,
        collection: tuple[Any, Mapping[str, Any]] | None = None,
    ) -> Reply:
        """*reply* with the capacity consumed, where the caller asked for it."""
        params = call.params
        name = params["TableName"]
        call.notes["consumed_capacity"] = usage.metered(name.rpartition("/")[2], kind)
        detail = params.get("ReturnConsumedCapacity", "NONE")
        sizes = collection is not None and params.get("ReturnItemCollectionMetrics") == "SIZE"
        if detail == "NONE" and not sizes and b'"ConsumedCapacity"' not in reply.body:
            return reply
        answer = json.loads(reply.body)
        answer.pop("ConsumedCapacity", None)
        if detail != "NONE":
            answer["ConsumedCapacity"] = usage.shown(name, detail)
        if sizes and collection is not None and collection[0].indexes:
            answer["ItemCollectionMetrics"] = definitions.collection_metrics(*collection)
        return _rewritten(reply, answer)


def _no_table(name: str) -> AwsError:
    return AwsError(
        "ResourceNotFoundException",
        f"Requested resource not found: Table: {name.rpartition('/')[2]} not found",
    )


def _rewritten(reply: Reply, answer: Mapping[str, Any]) -> Reply:
    """*reply* with another body; SDKs compare its checksum."""
    body = json.dumps(answer).encode()
    return Reply(reply.status, {**reply.headers, "x-amz-crc32": str(zlib.crc32(body))}, body,
                 reply.call)

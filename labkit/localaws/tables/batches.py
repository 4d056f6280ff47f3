"""Requests of many parts: batches, each part for itself, and transactions, all parts or none.

Follows the Amazon DynamoDB API Reference (BatchWriteItem, BatchGetItem, TransactWriteItems,
TransactGetItems). moto takes a batch of any size, never leaves anything of it over, and answers one
unit for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moto.dynamodb.responses import ProjectionExpressionParser, validate_put_has_empty_keys

from labkit.localaws.call import AwsError, Call
from labkit.localaws.tables import reading, rules, store, transactions
from labkit.localaws.tables.capacity import Usage, read_units, write_usage
from labkit.localaws.tables.values import item_size

if TYPE_CHECKING:
    from labkit.localaws.services.dynamodb import DynamoDbLayer

BATCH_READ_BYTES = 16 * 1024 * 1024

# One write of a batch: the request, the key, the item to put or None.
_Write = tuple[Mapping[str, Any], dict[str, Any], Mapping[str, Any] | None]


def write(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to BatchWriteItem."""
    requests = call.params.get("RequestItems")
    rules.check_batch_write(requests)
    tables = {name: store.need_table(call, name) for name in requests}
    writes: list[tuple[str, _Write]] = []
    for name, table in tables.items():
        mine = [_batch_write(table, request) for request in requests[name]]
        rules.check_distinct(table, [key for _, key, _ in mine])
        writes += [(name, one) for one in mine]
    left: dict[str, list[Any]] = {}
    usages = {name: Usage() for name in tables}
    refused = None
    with layer.lock(call):
        now = layer.aws.clock.now()
        for name, (request, key, item) in writes:
            try:
                usages[name].add(_write_one(layer, tables[name], key, item, now))
            except AwsError as problem:
                refused = problem
                left.setdefault(name, []).append(request)
    # What a batch could do nothing of, it answers as a single write would.
    if refused is not None and sum(map(len, left.values())) == len(writes):
        raise refused
    _meter(call, usages, "Write", left)
    output = {"UnprocessedItems": left}
    _show(call, usages, output)
    if call.params.get("ReturnItemCollectionMetrics") == "SIZE":
        output["ItemCollectionMetrics"] = {}
    return output


def read(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to BatchGetItem."""
    requests = call.params.get("RequestItems")
    rules.check_batch_get(requests)
    tables = {}
    for name, request in requests.items():
        rules.check_expressions(request, ("ProjectionExpression",))
        tables[name] = store.need_table(call, name)
        for key in request["Keys"]:
            rules.check_key(tables[name], key)
        rules.check_distinct(tables[name], request["Keys"])
    found: dict[str, list[Any]] = {name: [] for name in tables}
    left: dict[str, list[Any]] = {}
    usages = {name: Usage() for name in tables}
    refused, size, throttled = None, 0, dict.fromkeys(tables, 0)
    with layer.lock(call):
        now = layer.aws.clock.now()
        for name, request in requests.items():
            table, only = tables[name], _projection(request)
            strong = bool(request.get("ConsistentRead"))
            for key in request["Keys"]:
                try:
                    layer.throughput.admit(table, "Read", now)
                except AwsError as problem:
                    refused = problem
                    throttled[name] += 1
                    left.setdefault(name, []).append(key)
                    continue
                item = store.stored(table, key)
                item_bytes = 0 if item is None else item_size(item.attrs)
                if size + item_bytes > BATCH_READ_BYTES:
                    left.setdefault(name, []).append(key)
                    continue
                size += item_bytes
                usage = Usage(read_units(item_bytes, strong=strong))
                layer.throughput.charge(table, "Read", usage, now)
                usages[name].add(usage)
                if item is not None:
                    found[name].append(store.shown(only(item).attrs))
    if refused is not None and not any(usage.total for usage in usages.values()):
        raise refused
    left_over = {name: {**requests[name], "Keys": keys} for name, keys in left.items()}
    _meter(call, usages, "Read", {name: [None] * number for name, number in throttled.items()})
    output: dict[str, Any] = {"Responses": found, "UnprocessedKeys": left_over}
    _show(call, usages, output)
    return output


def transact_write(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to TransactWriteItems."""
    actions = transactions.write_actions(call)
    with layer.lock(call):
        now = layer.aws.clock.now()
        tables = {action.table_name: action.table for action in actions}
        repeated = layer.tokens.repeated(call, now)
        kind = "Read" if repeated else "Write"
        _admit(layer, actions, kind, now)
        usages = {name: Usage() for name in tables}
        if repeated:
            for action in actions:
                usages[action.table_name].add(_transacted_read(action.table, action.key)[1])
        else:
            transactions.apply(call, actions)
            layer.tokens.keep(call, now)
            for action in actions:
                # Once to prepare and once to commit.
                usages[action.table_name].add(action.usage.times(2))
                after = store.stored(action.table, action.key)
                store.record(action.table, action.before, after)
                layer.expiry.note(action.table, store.attributes(after))
        for name, usage in usages.items():
            layer.throughput.charge(tables[name], kind, usage, now)
    _meter(call, usages, kind, {})
    output: dict[str, Any] = {}
    _show(call, usages, output, split=f"{kind}CapacityUnits")
    return output


def transact_read(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to TransactGetItems."""
    items = call.params.get("TransactItems")
    transactions.check_count(items)
    actions, projections = [], []
    for item in items:
        params = item["Get"]
        rules.check_expressions(params, ("ProjectionExpression",))
        projections.append(_projection(params))
        table = store.need_table(call, params["TableName"])
        action = transactions.Action("Get", params, params["TableName"], table, {})
        try:
            rules.check_key(table, params.get("Key"))
            action.key = rules.key_of(table, params["Key"])
        except AwsError as problem:
            action.problem = problem.message
        actions.append(action)
    transactions.check_actions(actions)
    transactions.check_distinct(actions)
    usages: dict[str, Usage] = {}
    responses = []
    with layer.lock(call):
        now = layer.aws.clock.now()
        _admit(layer, actions, "Read", now)
        for action, only in zip(actions, projections, strict=True):
            item, usage = _transacted_read(action.table, action.key)
            usages.setdefault(action.table_name, Usage()).add(usage)
            layer.throughput.charge(action.table, "Read", usage, now)
            shown = {} if item is None else store.shown(only(item).attrs)
            responses.append({"Item": shown} if shown else {})
    _meter(call, usages, "Read", {})
    output: dict[str, Any] = {"Responses": responses}
    _show(call, usages, output, split="ReadCapacityUnits")
    return output


# -- inside ----------------------------------------------------------------------------------


def _write_one(
    layer: DynamoDbLayer, table: Any, key: Any, item: Mapping[str, Any] | None, now: float
) -> Usage:
    layer.throughput.admit(table, "Write", now)
    before = store.stored(table, key)
    with store.unrecorded(table), store.motos_errors():
        if item is None:
            store.put_back(table, key, None)
        else:
            table.put_item(dict(item))
    after = store.stored(table, key)
    usage = write_usage(table, store.attributes(before), store.attributes(after))
    try:
        layer.throughput.admit(table, "Write", now, usage.global_indexes)
    except AwsError:
        store.put_back(table, key, before)
        raise
    layer.throughput.charge(table, "Write", usage, now)
    store.record(table, before, after)
    layer.expiry.note(table, store.attributes(after))
    return usage


def _transacted_read(table: Any, key: Mapping[str, Any]) -> tuple[Any, Usage]:
    item = store.stored(table, key)
    size = 0 if item is None else item_size(item.attrs)
    return item, Usage(read_units(size, transactional=True))


def _admit(
    layer: DynamoDbLayer, actions: Sequence[transactions.Action], kind: str, now: float
) -> None:
    """Cancel a transaction when one of its tables has no capacity left."""
    reasons: list[dict[str, Any]] = []
    for action in actions:
        try:
            layer.throughput.admit(action.table, kind, now)
            reasons.append({})
        except AwsError as problem:
            reasons.append(
                {"Code": "ProvisionedThroughputExceeded", "Message": problem.message}
            )
    if any(reasons):
        raise transactions.cancelled(reasons)


def _batch_write(table: Any, request: Mapping[str, Any]) -> _Write:
    if request.get("PutRequest"):
        item = request["PutRequest"].get("Item") or {}
        rules.check_item(table, item)
        with store.motos_errors():
            validate_put_has_empty_keys(
                {name: value for name, value in item.items() if value == {"S": ""}},
                table,
                custom_error_msg="One or more parameter values are not valid. The AttributeValue "
                "for a key attribute cannot contain an empty string value. Key: {}",
            )
        return request, rules.key_of(table, item), item
    key = request["DeleteRequest"].get("Key")
    rules.check_key(table, key)
    return request, rules.key_of(table, key), None


def _projection(params: Mapping[str, Any]) -> Callable[[Any], Any]:
    """How the items of a read are cut down to what it asks for."""
    if params.get("AttributesToGet"):
        paths = [[name] for name in params["AttributesToGet"]]
    elif params.get("ProjectionExpression") is not None:
        if params["ProjectionExpression"] == "":
            raise rules.invalid("Invalid ProjectionExpression: The expression can not be empty;")
        with store.motos_errors():
            paths = ProjectionExpressionParser(
                params["ProjectionExpression"], params.get("ExpressionAttributeNames")
            ).parse()
    else:
        return lambda item: item
    return lambda item: reading.project(item, paths)


def _meter(
    call: Call,
    usages: Mapping[str, Usage],
    kind: str,
    throttled: Mapping[str, Sequence[Any]],
) -> None:
    call.notes["consumed_capacity"] = [
        usage.metered(name.rpartition("/")[2], kind) for name, usage in usages.items()
    ]
    call.notes["throttled"] = {
        name.rpartition("/")[2]: len(parts) for name, parts in throttled.items() if parts
    }


def _show(
    call: Call, usages: Mapping[str, Usage], output: dict[str, Any], *, split: str | None = None
) -> None:
    detail = call.params.get("ReturnConsumedCapacity")
    if detail in ("TOTAL", "INDEXES"):
        output["ConsumedCapacity"] = [
            usage.shown(name, detail, split=split) for name, usage in usages.items()
        ]

"""PartiQL statements carried out: one, a batch of them, or all in a transaction.

Follows the Amazon DynamoDB API Reference (ExecuteStatement, BatchExecuteStatement,
ExecuteTransaction). They go the ways of DynamoDB's own requests: reads as queries and scans,
writes as the actions of a transaction, which may be the only one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models.dynamo_type import DynamoType

from labkit.localaws.call import AwsError, Call
from labkit.localaws.tables import partiql, reading, rules, store, transactions
from labkit.localaws.tables.capacity import Usage, read_units
from labkit.localaws.tables.partiql import Statement

if TYPE_CHECKING:
    from labkit.localaws.services.dynamodb import DynamoDbLayer

_KINDS = {"INSERT": "Put", "UPDATE": "Update", "DELETE": "Delete"}


def execute(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to ExecuteStatement."""
    params = call.params
    statement = partiql.parse(params["Statement"], params.get("Parameters"))
    with layer.lock(call):
        if statement.verb == "SELECT":
            output, usage = _select(layer, call, statement, params)
            kind = "Read"
        else:
            output, usage = _write_one(layer, call, statement, params)
            kind = "Write"
    _told(call, output, {statement.table: usage}, kind)
    return output


def execute_batch(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to BatchExecuteStatement: each statement for itself."""
    asked = call.params.get("Statements") or []
    _check_count(asked, "statements", 25)
    parsed = [partiql.parse(one["Statement"], one.get("Parameters")) for one in asked]
    if len({statement.verb == "SELECT" for statement in parsed}) > 1:
        raise rules.invalid("Statements in a batch must be all reads or all writes")
    responses: list[dict[str, Any]] = []
    usages: dict[str, Usage] = {}
    with layer.lock(call):
        for one, statement in zip(asked, parsed, strict=True):
            response: dict[str, Any] = {"TableName": statement.table}
            try:
                if statement.verb == "SELECT":
                    table = store.need_table(call, statement.table)
                    if any(name not in statement.where.equal for name in table.table_key_attrs):
                        raise rules.invalid(
                            "Select statements within BatchExecuteStatement must specify the "
                            "primary key in the where clause."
                        )
                    output, usage = _select(layer, call, statement, one)
                else:
                    output, usage = _write_one(layer, call, statement, one)
                if output["Items"]:
                    response["Item"] = output["Items"][0]
                usages.setdefault(statement.table, Usage()).add(usage)
            except AwsError as problem:
                response["Error"] = {
                    "Code": _batch_code(problem.code),
                    "Message": problem.message,
                }
                if "Item" in problem.members:
                    response["Error"]["Item"] = problem.members["Item"]
            responses.append(response)
    answer: dict[str, Any] = {"Responses": responses}
    _told(call, answer, usages, "Read" if parsed[0].verb == "SELECT" else "Write", several=True)
    return answer


def execute_transaction(layer: DynamoDbLayer, call: Call) -> dict[str, Any]:
    """The answer to ExecuteTransaction: all statements or none."""
    asked = call.params.get("TransactStatements") or []
    _check_count(asked, "transactStatements", 100)
    parsed = [partiql.parse(one["Statement"], one.get("Parameters")) for one in asked]
    reads = {statement.verb == "SELECT" for statement in parsed}
    if len(reads) > 1:
        raise rules.invalid("Statements in a transaction must be all reads or all writes")
    usages: dict[str, Usage] = {}
    responses: list[dict[str, Any]] = []
    with layer.lock(call):
        if reads == {True}:
            for one, statement in zip(asked, parsed, strict=True):
                output, usage = _select(layer, call, statement, {**one, "ConsistentRead": True})
                responses.append({"Item": output["Items"][0]} if output["Items"] else {})
                usages.setdefault(statement.table, Usage()).add(usage.times(2))
        else:
            actions = [
                _action(call, statement, one)
                for one, statement in zip(asked, parsed, strict=True)
            ]
            transactions.check_distinct(actions)
            try:
                transactions.apply(call, actions)
            except AwsError as problem:
                raise _duplicates(problem, parsed) from problem
            for action in actions:
                usage = _finish(layer, action)
                usages.setdefault(action.table_name, Usage()).add(usage.times(2))
                responses.append({})
    answer: dict[str, Any] = {"Responses": responses}
    _told(call, answer, usages, "Read" if reads == {True} else "Write", several=True)
    return answer


# -- reads -----------------------------------------------------------------------------------


def _select(
    layer: DynamoDbLayer, call: Call, statement: Statement, params: Mapping[str, Any]
) -> tuple[dict[str, Any], Usage]:
    table = store.need_table(call, statement.table)
    index = None
    if statement.index:
        index = next((one for one in table.all_indexes() if one.name == statement.index), None)
        if index is None:
            raise rules.invalid("The table does not have the specified index")
    strong = bool(params.get("ConsistentRead"))
    now = layer.aws.clock.now()
    of_global = index is not None and index in table.global_indexes
    if of_global:
        layer.throughput.admit_index(table, index.name, "Read", now)
    else:
        layer.throughput.admit(table, "Read", now)
    keys = table.table_key_attrs if index is None else index.schema_key_attrs
    equal = statement.where.equal
    start = _position(params.get("NextToken"))
    with store.motos_errors():
        condition = None
        if statement.where.text:
            condition = get_filter_expression(statement.where.text, statement.names, statement.values)
        reading.READ.reset()
        name = None if index is None else index.name
        paths = statement.paths
        if keys[0] in equal:
            conditions = [(keys[0], DynamoType(equal[keys[0]]))]
            ranges = [(key, "=", [DynamoType(equal[key])]) for key in keys[1:] if key in equal]
            items, _, end = table.query(
                conditions[0][1], None, [], params.get("Limit"), start, not statement.descending,
                None, name, strong, condition, conditions, ranges,
            )  # fmt: skip
        else:
            items, _, end = table.scan(
                {}, params.get("Limit"), start, condition, name, strong, None
            )
    units = read_units(reading.READ.scanned_bytes, strong=strong)
    if of_global:
        usage = Usage(0.0, {index.name: units})
    else:
        usage = Usage(units) if index is None else Usage(0.0, {}, {index.name: units})
    layer.throughput.charge(table, "Read", usage, now)
    shown = [store.shown(item.attrs) for item in items]
    if paths is not None:
        shown = [_chosen(one, paths) for one in shown]
    output: dict[str, Any] = {"Items": shown}
    if end is not None:
        output["LastEvaluatedKey"] = store.shown(end)
        output["NextToken"] = _token(output["LastEvaluatedKey"])
    return output, usage


def _chosen(item: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What the select list names of an item, each under the last name of its path."""
    chosen: dict[str, Any] = {}
    for path in paths:
        value: Any = {"M": item}
        name = ""
        for element in path:
            name, *numbers = element.replace("]", "").split("[")
            value = (value or {}).get("M", {}).get(name)
            for number in numbers:
                held = (value or {}).get("L", [])
                value = held[int(number)] if int(number) < len(held) else None
        if value is not None:
            chosen[name] = value
    return chosen


def _token(key: Mapping[str, Any]) -> str:
    text = json.dumps(key, default=lambda data: {"base64": base64.b64encode(data).decode()})
    return base64.b64encode(text.encode()).decode()


def _position(token: str | None) -> dict[str, Any] | None:
    if not token:
        return None
    try:
        key = json.loads(base64.b64decode(token))
    except ValueError:
        raise rules.invalid("Invalid NextToken") from None
    return {
        name: {"B": base64.b64decode(value["B"]["base64"])} if "B" in value else value
        for name, value in key.items()
    }


# -- writes ----------------------------------------------------------------------------------


def _action(
    call: Call, statement: Statement, params: Mapping[str, Any]
) -> transactions.Action:
    """The one action a writing statement is, without what its item was before."""
    table = store.need_table(call, statement.table)
    given: dict[str, Any] = {
        "TableName": statement.table,
        "ReturnValuesOnConditionCheckFailure": params.get("ReturnValuesOnConditionCheckFailure"),
    }
    first = table.hash_key_attr
    if statement.verb == "INSERT":
        rules.check_item(table, statement.item)
        given |= {
            "Item": statement.item,
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": first},
        }
        key = rules.key_of(table, statement.item)
        return transactions.Action("Put", given, statement.table, table, key)
    where = statement.where
    if any(name not in where.equal for name in table.table_key_attrs):
        raise rules.invalid(
            "Where clause does not contain a mandatory equality on all key attributes"
        )
    found = {name: where.equal[name] for name in table.table_key_attrs}
    rules.check_key(table, found)
    key = rules.key_of(table, found)
    before = store.stored(table, key)
    given["ExpressionAttributeNames"] = statement.names
    given["ExpressionAttributeValues"] = statement.values
    if statement.verb == "UPDATE":
        given["UpdateExpression"] = statement.update
        given["ConditionExpression"] = where.text
    elif before is not None:
        # Deleting what is not there succeeds, whatever else is asked of it.
        given["ConditionExpression"] = where.text
    return transactions.Action(_KINDS[statement.verb], given, statement.table, table, key)


def _write_one(
    layer: DynamoDbLayer, call: Call, statement: Statement, params: Mapping[str, Any]
) -> tuple[dict[str, Any], Usage]:
    action = _action(call, statement, params)
    layer.throughput.admit(action.table, "Write", layer.aws.clock.now())
    try:
        transactions.apply(call, [action])
    except AwsError as problem:
        raise _single(problem, statement) from problem
    usage = _finish(layer, action)
    return {"Items": _returned(statement, action)}, usage


def _finish(layer: DynamoDbLayer, action: transactions.Action) -> Usage:
    """Record a change that was made; what it cost."""
    after = store.stored(action.table, action.key)
    store.record(action.table, action.before, after)
    layer.expiry.note(action.table, store.attributes(after))
    layer.throughput.charge(action.table, "Write", action.usage, layer.aws.clock.now())
    return action.usage


def _returned(statement: Statement, action: transactions.Action) -> list[dict[str, Any]]:
    if not statement.returning:
        return []
    which, age = statement.returning.split()
    before = store.attributes(action.before) or {}
    after = store.attributes(store.stored(action.table, action.key)) or {}
    found = before if age == "OLD" else after
    if which == "MODIFIED":
        found = {n: v for n, v in found.items() if before.get(n) != after.get(n)}
    return [store.shown(found)] if found else []


def _single(problem: AwsError, statement: Statement) -> AwsError:
    """What a transaction of one action failed for, as the error of a single statement."""
    if problem.code != "TransactionCanceledException":
        return problem
    [reason] = problem.members["CancellationReasons"]
    if reason["Code"] != "ConditionalCheckFailed":
        return rules.invalid(reason["Message"])
    if statement.verb == "INSERT":
        return AwsError("DuplicateItemException", "Duplicate primary key exists in table")
    members = {"Item": reason["Item"]} if "Item" in reason else {}
    return AwsError("ConditionalCheckFailedException", reason["Message"], **members)


def _duplicates(problem: AwsError, parsed: Sequence[Statement]) -> AwsError:
    """A cancelled transaction, with INSERTs of what exists called by their name."""
    if problem.code != "TransactionCanceledException":
        return problem
    reasons = problem.members["CancellationReasons"]
    for reason, statement in zip(reasons, parsed, strict=True):
        if reason["Code"] == "ConditionalCheckFailed" and statement.verb == "INSERT":
            reason["Code"] = "DuplicateItem"
            reason["Message"] = "Duplicate primary key exists in table"
    return transactions.cancelled(reasons)


# -- both ------------------------------------------------------------------------------------


def _told(
    call: Call,
    output: dict[str, Any],
    usages: Mapping[str, Usage],
    kind: str,
    *,
    several: bool = False,
) -> None:
    call.notes["consumed_capacity"] = [
        usage.metered(name, kind) for name, usage in usages.items()
    ]
    detail = call.params.get("ReturnConsumedCapacity")
    if detail in ("TOTAL", "INDEXES"):
        shown = [usage.shown(name, detail) for name, usage in usages.items()]
        output["ConsumedCapacity"] = shown if several else shown[0]


def _batch_code(code: str) -> str:
    """An error's code as BatchExecuteStatement lists it."""
    return {
        "ValidationException": "ValidationError",
        "ResourceNotFoundException": "ResourceNotFound",
        "ConditionalCheckFailedException": "ConditionalCheckFailed",
        "DuplicateItemException": "DuplicateItem",
        "ProvisionedThroughputExceededException": "ProvisionedThroughputExceeded",
    }.get(code, code)


def _check_count(asked: Sequence[Any], where: str, most: int) -> None:
    if 1 <= len(asked) <= most:
        return
    relation, bound = ("greater", 1) if not asked else ("less", most)
    shown = "[]" if not asked else f"[{', '.join(one['Statement'] for one in asked)}]"
    raise rules.invalid(
        f"1 validation error detected: Value '{shown}' at '{where}' failed to satisfy constraint: "
        f"Member must have length {relation} than or equal to {bound}"
    )

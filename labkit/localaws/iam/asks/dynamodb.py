"""Amazon DynamoDB and its streams: operations to actions on tables, indexes and streams.

Follows the Amazon DynamoDB Developer Guide, "DynamoDB API permissions: Actions, resources, and
conditions reference", "Using IAM policy conditions for fine-grained access control" and "IAM
security policies with PartiQL".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.iam.asks.ask import Ask, Facts, arn, request_tags, tag_keys

_WRITE_ACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_TABLE_LISTS = ("ListTables", "ListBackups", "ListGlobalTables", "ListExports", "ListImports")
_NO_RESOURCE = ("DescribeLimits", "DescribeEndpoints", "DescribeReservedCapacity")
_ARN_PARAMETERS = (
    "ResourceArn", "TableArn", "StreamArn", "BackupArn", "ExportArn", "ImportArn",
    "SourceTableArn", "TargetTableName",
)  # fmt: skip
_STATEMENT = re.compile(
    r"""^\s*(?:(?P<reads>select|exists)\b.*?\bfrom|(?P<insert>insert)\s+into|(?P<update>update)
        |(?P<delete>delete)\s+from)\s+
        "?(?P<table>[A-Za-z0-9_.:/-]+)"?(?:\s*\.\s*"?(?P<index>[A-Za-z0-9_.-]+)"?)?""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_PARTIQL = {
    "reads": "PartiQLSelect",
    "insert": "PartiQLInsert",
    "update": "PartiQLUpdate",
    "delete": "PartiQLDelete",
}
_WORDS = re.compile(r"[#:]?[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset(
    "set remove add delete and or not between in attribute_exists attribute_not_exists "
    "attribute_type begins_with contains size if_not_exists list_append".split()
)


def read(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a DynamoDB or DynamoDB Streams call asks for."""
    operation, params = call.operation, call.params
    if operation in ("BatchGetItem", "BatchWriteItem"):
        yield from _batch(call, facts)
    elif operation in ("TransactWriteItems", "TransactGetItems"):
        yield from _transaction(call, facts)
    elif operation in ("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"):
        yield from _partiql(call, facts)
    elif call.service == "dynamodbstreams":
        yield Ask(f"dynamodb:{operation}", _stream_arn(call, facts))
    elif operation in _TABLE_LISTS:
        yield Ask(f"dynamodb:{operation}", arn(call, "dynamodb", "table/*"))
    elif operation in _NO_RESOURCE:
        yield Ask(f"dynamodb:{operation}", "*")
    else:
        resource = _resource(call)
        context = _item_context(call, facts, params, operation)
        context |= request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
        yield Ask(f"dynamodb:{operation}", resource, context, policy_of=_table_of(resource))
        if operation == "CreateTable" and params.get("Tags"):
            yield Ask("dynamodb:TagResource", resource, context)
        if operation == "CreateTable" and params.get("ResourcePolicy"):
            yield Ask("dynamodb:PutResourcePolicy", resource)


def table_arn(call: Call, table: Any) -> str:
    """The ARN of a table given by name or ARN."""
    text = str(table or "*")
    return text if text.startswith("arn:") else arn(call, "dynamodb", f"table/{text}")


def _table_of(resource: str) -> str:
    return re.sub(r"(:table/[^/]+)/index/.*", r"\1", resource)


def _resource(call: Call) -> str:
    params = call.params
    if params.get("TableName"):
        table = table_arn(call, params["TableName"])
        index = params.get("IndexName")
        return f"{table}/index/{index}" if index else table
    for name in _ARN_PARAMETERS:
        if params.get(name):
            return table_arn(call, params[name])
    if params.get("GlobalTableName"):
        account = call.account_id
        return f"arn:aws:dynamodb::{account}:global-table/{params['GlobalTableName']}"
    creation = params.get("TableCreationParameters") or {}
    return table_arn(call, creation.get("TableName"))


def _stream_arn(call: Call, facts: Facts) -> str:
    params = call.params
    if params.get("StreamArn"):
        return str(params["StreamArn"])
    if params.get("ShardIterator"):
        found = facts.stream_arn_of(str(params["ShardIterator"]))
        return found or arn(call, "dynamodb", "table/*/stream/*")
    return arn(call, "dynamodb", f"table/{params.get('TableName', '*')}/stream/*")


def _batch(call: Call, facts: Facts) -> Iterator[Ask]:
    for table, request in (call.params.get("RequestItems") or {}).items():
        keys: list[Mapping[str, Any]] = []
        attributes: set[str] = set()
        context: dict[str, Any] = {}
        if call.operation == "BatchGetItem":
            keys = list(request.get("Keys") or ())
            context, attributes = _read_context(call, request)
            if attributes:
                attributes |= {name for key in keys for name in key}
        else:
            for entry in request:
                item = (entry.get("PutRequest") or {}).get("Item")
                key = (entry.get("DeleteRequest") or {}).get("Key")
                keys.append(item or key or {})
                attributes |= set(item or key or ())
        context |= _leading_keys(call, facts, str(table), None, keys)
        context |= _several("dynamodb:attributes", attributes)
        context |= _returns(call.params)
        yield Ask(f"dynamodb:{call.operation}", table_arn(call, table), context)


def _transaction(call: Call, facts: Facts) -> Iterator[Ask]:
    for entry in call.params.get("TransactItems") or ():
        for kind, part in entry.items():
            name = "GetItem" if kind == "Get" else _WRITE_ACTIONS.get(kind, kind)
            context = _item_context(call, facts, part, name)
            context["dynamodb:enclosingoperation"] = call.operation
            context |= _returns(call.params)
            yield Ask(f"dynamodb:{name}", table_arn(call, part.get("TableName")), context)


def _partiql(call: Call, facts: Facts) -> Iterator[Ask]:
    params = call.params
    statements = [params] if "Statement" in params else []
    statements += params.get("Statements") or params.get("TransactStatements") or []
    for entry in statements:
        parsed = _STATEMENT.search(str(entry.get("Statement", "")))
        if parsed is None:
            yield Ask("dynamodb:PartiQLSelect", table_arn(call, "*"))
            continue
        verb = next(name for name in _PARTIQL if parsed[name])
        resource = table_arn(call, parsed["table"])
        if parsed["index"]:
            resource = f"{resource}/index/{parsed['index']}"
        context: dict[str, Any] = {}
        if call.operation != "ExecuteStatement":
            context["dynamodb:enclosingoperation"] = call.operation
        if verb == "reads":
            where = re.search(r"\bwhere\b(.*)", entry["Statement"], re.IGNORECASE | re.DOTALL)
            keys = facts.table_keys(call, parsed["table"], parsed["index"])
            named = where is not None and bool(keys) and keys[0] in where[1]
            context["dynamodb:fulltablescan"] = "false" if named else "true"
        yield Ask(f"dynamodb:{_PARTIQL[verb]}", resource, context, policy_of=_table_of(resource))


def _item_context(
    call: Call, facts: Facts, part: Mapping[str, Any], operation: str
) -> dict[str, Any]:
    """The keys that fine-grained access control reads off one item operation."""
    context: dict[str, Any] = _returns(part)
    table, index = part.get("TableName"), part.get("IndexName")
    if not isinstance(table, str):
        return context
    keys: list[Mapping[str, Any]] = []
    attributes: set[str] = set()
    if operation in ("GetItem", "Query", "Scan"):
        read_context, attributes = _read_context(call, part)
        context |= read_context
    if operation == "Query":
        value, named = _query_key(call, facts, part)
        if value is not None:
            context["dynamodb:leadingkeys"] = (value,)
        if attributes:
            attributes |= named
    for name in ("Item", "Key"):
        if isinstance(part.get(name), Mapping):
            keys.append(part[name])
            if operation != "GetItem" or attributes:
                attributes |= set(part[name])
    if operation == "UpdateItem":
        attributes |= set(part.get("AttributeUpdates") or ())
    for name in ("UpdateExpression", "ConditionExpression", "FilterExpression"):
        if part.get(name) and (operation not in ("Query", "Scan") or attributes):
            attributes |= _names(part[name], part)
    if keys:
        context |= _leading_keys(call, facts, table, index, keys)
    context |= _several("dynamodb:attributes", attributes)
    return context


def _returns(part: Mapping[str, Any]) -> dict[str, Any]:
    context = {}
    for name in ("ReturnValues", "ReturnConsumedCapacity"):
        if part.get(name):
            context[f"dynamodb:{name.lower()}"] = str(part[name])
    return context


def _read_context(call: Call, part: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """``dynamodb:Select`` and the attributes a read names (none when it takes them all)."""
    attributes = set(part.get("AttributesToGet") or ())
    if part.get("ProjectionExpression"):
        attributes |= _names(part["ProjectionExpression"], part)
    select = part.get("Select")
    if not select:
        everything = "ALL_PROJECTED_ATTRIBUTES" if part.get("IndexName") else "ALL_ATTRIBUTES"
        select = "SPECIFIC_ATTRIBUTES" if attributes else everything
    return {"dynamodb:select": str(select)}, attributes


def _names(expression: str, part: Mapping[str, Any]) -> set[str]:
    """The top-level attributes an expression names."""
    aliases = part.get("ExpressionAttributeNames") or {}
    found = set()
    # What follows a dot or a bracket is inside an attribute already named.
    for path in re.split(r"[\s,()=<>+]+", str(expression)):
        word = re.split(r"[.\[]", path, maxsplit=1)[0]
        if _WORDS.fullmatch(word) and not word.startswith(":") and word.lower() not in _KEYWORDS:
            found.add(str(aliases.get(word, word)))
    return found


def _query_key(call: Call, facts: Facts, part: Mapping[str, Any]) -> tuple[str | None, set[str]]:
    """The partition key's value a Query asks for, and the attributes of its key condition."""
    names = facts.table_keys(call, str(part.get("TableName")), part.get("IndexName"))
    legacy = part.get("KeyConditions")
    if isinstance(legacy, Mapping):
        for name in names[:1]:
            values = (legacy.get(name) or {}).get("AttributeValueList") or ()
            return (_text(values[0]) if values else None), set(legacy)
        return None, set(legacy)
    expression = str(part.get("KeyConditionExpression") or "")
    aliases = part.get("ExpressionAttributeNames") or {}
    values = part.get("ExpressionAttributeValues") or {}
    for left, right in re.findall(r"([#\w.-]+)\s*=\s*(:\w+)", expression):
        if names and str(aliases.get(left, left)) == names[0] and right in values:
            return _text(values[right]), _names(expression, part)
    return None, _names(expression, part)


def _leading_keys(
    call: Call, facts: Facts, table: str, index: str | None, items: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    names = facts.table_keys(call, table, index)
    if not names:
        return {}
    values = {_text(item[names[0]]) for item in items if names[0] in item}
    return _several("dynamodb:leadingkeys", {value for value in values if value is not None})


def _several(key: str, values: set[str]) -> dict[str, Any]:
    return {key: tuple(sorted(values))} if values else {}


def _text(value: Any) -> str | None:
    """A DynamoDB value as policies compare it: strings and numbers as text, binary as base64."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((kind, content),) = value.items()
    if kind == "B":
        return base64.b64encode(content).decode() if isinstance(content, bytes) else str(content)
    return str(content) if kind in ("S", "N") else None

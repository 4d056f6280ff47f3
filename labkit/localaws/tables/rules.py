"""What DynamoDB refuses and moto takes: keys, items, expressions, batches, in its own words.

Follows the Amazon DynamoDB API Reference and the Developer Guide, "Service, account, and table
quotas". Every function raises ValidationException, or returns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.constraints import violation
from labkit.localaws.tables.capacity import projected
from labkit.localaws.tables.values import (
    ITEM_BYTES,
    as_kept,
    item_size,
    kind_of,
    value_problem,
    values_problem,
)

_TOKEN = re.compile(r"[:#][A-Za-z0-9_]+")
# The first element of a document path: what stands before a dot or an index.
_PATH = re.compile(r"(?<![\w.#:])(#?[A-Za-z_]\w*+)(?!\s*\()")
_WORDS = frozenset("AND OR NOT IN BETWEEN SET REMOVE ADD DELETE".split())
# Single-item writes and newer front ends put this before a few messages, as moto does.
_DETECTED = "1 validation error detected: "
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_LEGACY = (
    "AttributesToGet",
    "AttributeUpdates",
    "Expected",
    "QueryFilter",
    "ScanFilter",
    "ConditionalOperator",
    "KeyConditions",
)
HASH_KEY_BYTES, RANGE_KEY_BYTES = 2048, 1024


def invalid(message: str) -> AwsError:
    """The ValidationException with this message."""
    return AwsError("ValidationException", message)


# -- items and keys --------------------------------------------------------------------------


def check_values(values: Iterable[Any], *, prefix: str = "") -> None:
    """Refuse empty and doubled sets, impossible numbers, values nested too deep."""
    problem = values_problem(values)
    if problem:
        raise invalid(_told(problem, prefix))


def _told(problem: str, prefix: str) -> str:
    # Recorded with the front end's prefix: what is wrong with sets.
    return prefix + problem if " set" in problem or "duplicates" in problem else problem


def check_key(table: Any, key: Mapping[str, Any] | None) -> None:
    """Refuse anything but exactly the table's key, with the declared types."""
    declared = {table.hash_key_attr: table.hash_key_type}
    if table.range_key_attr:
        declared[table.range_key_attr] = table.range_key_type
    if key is None or set(key) != set(declared):
        raise invalid("The provided key element does not match the schema")
    for name, kind in declared.items():
        problem = value_problem(key[name])
        if problem:
            raise invalid(problem)
        if kind_of(key[name])[0] != kind:
            raise invalid("The provided key element does not match the schema")
        if kind in ("S", "B") and not kind_of(key[name])[1]:
            raise invalid(
                "One or more parameter values are not valid. The AttributeValue for a key "
                f"attribute cannot contain an empty {'string' if kind == 'S' else 'binary'} value. "
                f"Key: {name}"
            )
    check_key_sizes(table, key)


def check_key_sizes(table: Any, item: Mapping[str, Any]) -> None:
    """Refuse keys of the table that are too long."""
    if item_size({"": item[table.hash_key_attr]}) > HASH_KEY_BYTES:
        raise invalid(
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum "
            f"size limit of{HASH_KEY_BYTES} bytes"
        )
    name = table.range_key_attr
    if name and item_size({"": item[name]}) > RANGE_KEY_BYTES:
        raise invalid(
            "One or more parameter values were invalid: Aggregated size of all range keys has "
            f"exceeded the size limit of {RANGE_KEY_BYTES} bytes"
        )


def check_item(table: Any, item: Mapping[str, Any], *, prefix: str = "") -> None:
    """Refuse an item that can't be put: its values, its key, its size, its index keys."""
    check_values(item.values(), prefix=prefix)
    for name, kind in (
        (table.hash_key_attr, table.hash_key_type),
        (table.range_key_attr, table.range_key_type),
    ):
        if name is None:
            continue
        if name not in item:
            raise invalid(
                f"One or more parameter values were invalid: Missing the key {name} in the item"
            )
        actual, held = kind_of(item[name])
        if actual != kind:
            raise invalid(
                f"One or more parameter values were invalid: Type mismatch for key {name} "
                f"expected: {kind} actual: {actual}"
            )
        if kind == "B" and not held:
            raise invalid(
                "One or more parameter values are not valid. The AttributeValue for a key "
                f"attribute cannot contain an empty binary value. Key: {name}"
            )
    check_key_sizes(table, item)
    if item_size(item) > ITEM_BYTES:
        raise invalid("Item size has exceeded the maximum allowed size")
    found = index_key_mismatch(table, item)
    if found:
        name, kind, actual, index = found
        raise invalid(
            f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
            f"Expected: {kind} Actual: {actual} IndexName: {index}"
        )


def index_key_mismatch(
    table: Any, item: Mapping[str, Any]
) -> tuple[str, str, str, str] | None:
    """The first attribute an index can't take for its type: name, expected, actual, index."""
    if not table.indexes and not table.global_indexes:
        return None
    kinds = {one["AttributeName"]: one["AttributeType"] for one in table.attr}
    for index in table.all_indexes():
        for name in index.schema_key_attrs:
            if name in item and kind_of(item[name])[0] != kinds[name]:
                return name, kinds[name], kind_of(item[name])[0], index.name
    return None


def key_of(table: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The key among *attributes*, as moto keeps values."""
    return {name: as_kept(attributes[name]) for name in table.table_key_attrs}


# -- expressions -----------------------------------------------------------------------------


def check_expressions(
    params: Mapping[str, Any], expressions: Sequence[str], *, prefix: str = ""
) -> None:
    """Refuse names and values that no expression uses, or that come without an expression."""
    names = params.get("ExpressionAttributeNames")
    values = params.get("ExpressionAttributeValues")
    _check_defined(params, expressions)
    if names is None and values is None:
        return
    texts = [params[name] for name in expressions if params.get(name) is not None]
    if names is not None and not texts:
        raise invalid("ExpressionAttributeNames can only be specified when using expressions")
    with_values = [name for name in expressions if name != "ProjectionExpression"]
    if values is not None and not any(params.get(name) is not None for name in with_values):
        verb = "are" if len(with_values) > 1 else "is"
        raise invalid(
            "ExpressionAttributeValues can only be specified when using expressions: "
            f"{' and '.join(with_values)} {verb} null"
        )
    for what, given in (("Names", names), ("Values", values)):
        if given is not None and not given:
            raise invalid(f"ExpressionAttribute{what} must not be empty")
        sign = "#" if what == "Names" else ":"
        for key in given or ():
            if not re.fullmatch(sign + r"\w+", key, re.ASCII):
                raise invalid(
                    f'ExpressionAttribute{what} contains invalid key: Syntax error; key: "{key}"'
                )
    for key, value in (values or {}).items():
        problem = value_problem(value)
        if problem:
            raise invalid(
                f"ExpressionAttributeValues contains invalid value: {problem} for key {key}"
            )
    used = {token for text in texts for token in _TOKEN.findall(text)}
    for what, given in (("Names", names), ("Values", values)):
        unused = [key for key in given or () if key not in used]
        if unused:
            raise invalid(
                f"{prefix}Value provided in ExpressionAttribute{what} unused in expressions: "
                f"keys: {{{', '.join(unused)}}}"
            )


def _check_defined(params: Mapping[str, Any], expressions: Sequence[str]) -> None:
    """Refuse placeholders that stand for nothing, and what is no projection."""
    names = params.get("ExpressionAttributeNames") or {}
    values = params.get("ExpressionAttributeValues") or {}
    for expression in expressions:
        text = params.get(expression)
        if not text:
            continue
        if expression == "ProjectionExpression":
            _check_projection(text)
        # moto's own parser of updates tells what else is wrong with them first.
        for token in _TOKEN.findall(text) if expression != "UpdateExpression" else ():
            if token[0] == "#" and token not in names:
                raise invalid(
                    f"Invalid {expression}: An expression attribute name used in the document path "
                    f"is not defined; attribute name: {token}"
                )
            if token[0] == ":" and token not in values:
                raise invalid(
                    f"Invalid {expression}: An expression attribute value used in expression is "
                    f"not defined; attribute value: {token}"
                )


def _check_projection(text: str) -> None:
    tokens = re.findall(r"[#\w]+|\S", text, re.ASCII)
    for place, token in enumerate(tokens):
        if not re.fullmatch(r"#?\w+|[.,\[\]]", token, re.ASCII):
            near = "".join(tokens[max(place - 1, 0) : place + 2])
            raise invalid(
                f'Invalid ProjectionExpression: Syntax error; token: "{token}", near: "{near}"'
            )


def check_mixture(params: Mapping[str, Any], expressions: Sequence[str]) -> None:
    """Refuse expressions besides the parameters that expressions have replaced."""
    used = [name for name in expressions if params.get(name) is not None]
    legacy = [name for name in _LEGACY if params.get(name)]
    if used and legacy:
        raise invalid(
            "Can not use both expression and non-expression parameters in the same request: "
            f"Non-expression parameters: {{{', '.join(legacy)}}} "
            f"Expression parameters: {{{', '.join(used)}}}"
        )


def check_table_name(name: str | None) -> None:
    """Refuse what is no table's name; ARNs are left to who looks for the table."""
    wording = None
    if name is None:
        wording = "Member must not be null"
    elif not name:
        wording = "Member must have length greater than or equal to 1"
    elif name.startswith("arn:"):
        return
    elif len(name) > 255:
        wording = "Member must have length less than or equal to 255"
    elif not _NAME.fullmatch(name):
        wording = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    if wording:
        raise invalid(_DETECTED + violation(name, "tableName", wording))


def attributes_in(expression: str | None, names: Mapping[str, str] | None) -> list[str]:
    """The top-level attributes an expression speaks of, in its order."""
    found = []
    for token in _PATH.findall(expression or ""):
        if token.upper() in _WORDS:
            continue
        found.append((names or {}).get(token, token) if token.startswith("#") else token)
    return found


def check_filter(params: Mapping[str, Any], schema: Sequence[Mapping[str, str]]) -> None:
    """Refuse a query's filter on the keys of what is queried."""
    names = params.get("ExpressionAttributeNames")
    filtered = attributes_in(params.get("FilterExpression"), names)
    for key in (element["AttributeName"] for element in schema):
        if key in filtered:
            raise invalid(
                "Filter Expression can only contain non-primary key attributes: "
                f"Primary key attribute: {key}"
            )
        if key in (params.get("QueryFilter") or ()):
            raise invalid(
                "QueryFilter can only contain non-primary key attributes: "
                f"Primary key attribute: {key}"
            )


def check_projected(table: Any, index: Any, params: Mapping[str, Any]) -> None:
    """Refuse what a global index does not hold: it can't fetch it from its table."""
    held = projected(index)
    if held is None or index not in table.global_indexes:
        return
    asked = wanted(params)
    asked += attributes_in(
        params.get("FilterExpression"), params.get("ExpressionAttributeNames")
    )
    missing = [name for name in dict.fromkeys(asked) if name not in held]
    if missing:
        raise invalid(
            f"One or more parameter values were invalid: Global secondary index {index.name} "
            f"does not project [{', '.join(missing)}]"
        )


def wanted(params: Mapping[str, Any]) -> list[str]:
    """The top-level attributes a read asks for by name."""
    return list(params.get("AttributesToGet") or ()) + attributes_in(
        params.get("ProjectionExpression"), params.get("ExpressionAttributeNames")
    )


def check_start_key(table: Any, index: Any, params: Mapping[str, Any]) -> None:
    """Refuse an ExclusiveStartKey that is none of the table or index."""
    start = params.get("ExclusiveStartKey")
    if start is None:
        return
    needed = set(table.table_key_attrs)
    if index is not None:
        needed |= set(index.schema_key_attrs)
    problem = values_problem(start.values())
    if problem:
        raise invalid(f"The provided starting key is invalid: {problem}")
    if set(start) != needed:
        raise invalid("The provided starting key is invalid")
    kinds = {one["AttributeName"]: one["AttributeType"] for one in table.attr}
    if any(kind_of(start[name])[0] != kinds[name] for name in needed):
        raise invalid(
            "The provided starting key is invalid: The provided key element does not match the "
            "schema"
        )


# -- batches ---------------------------------------------------------------------------------


def check_batch_write(requests: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> None:
    """Refuse an empty batch, one of more than 25 writes, a request that is none."""
    if not requests:
        raise invalid("The requestItems parameter is required for BatchWriteItem")
    if any(not 1 <= len(writes) <= 25 for writes in requests.values()):
        shown = ", ".join(
            f"{name}=[{', '.join(_write_shown(write) for write in writes)}]"
            for name, writes in requests.items()
        )
        raise invalid(
            f"{_DETECTED}Value '{{{shown}}}' at 'requestItems' failed to satisfy constraint: "
            "Map value must satisfy constraint: [Member must have length less than or equal to "
            "25, Member must have length greater than or equal to 1]"
        )
    if sum(map(len, requests.values())) > 25:
        raise invalid("Too many items requested for the BatchWriteItem call")
    for writes in requests.values():
        for write in writes:
            if len([one for one in ("PutRequest", "DeleteRequest") if write.get(one)]) != 1:
                raise invalid(
                    "Supplied AttributeValue has more than one datatypes set, must contain exactly "
                    "one of the supported datatypes"
                )


def _write_shown(write: Mapping[str, Any]) -> str:
    kind = "PutRequest" if "PutRequest" in write else "DeleteRequest"
    other = "DeleteRequest" if kind == "PutRequest" else "PutRequest"
    inner = write.get(kind) or {}
    member, content = ("item", inner.get("Item")) if kind == "PutRequest" else (
        "key",
        inner.get("Key"),
    )
    shown = ", ".join(
        f"{name}=AttributeValue({kind_of(value)[0]}={kind_of(value)[1]})"
        for name, value in (content or {}).items()
    )
    return f"WriteRequest({kind}={kind}({member}={{{shown}}}), {other}=null)"


def check_batch_get(requests: Mapping[str, Mapping[str, Any]] | None) -> None:
    """Refuse an empty batch of reads, or one of more than 100."""
    if not requests:
        raise invalid("The requestItems parameter is required for BatchGetItem")
    for name, request in requests.items():
        if len(request["Keys"]) > 100:
            raise invalid(
                f"{_DETECTED}Value at 'RequestItems.{name}.member.Keys' failed to satisfy "
                "constraint: Member must have length less than or equal to 100"
            )
    if sum(len(request["Keys"]) for request in requests.values()) > 100:
        raise invalid("Too many items requested for the BatchGetItem call")


def check_distinct(table: Any, keys: Iterable[Mapping[str, Any]]) -> None:
    """Refuse the same key twice in one batch."""
    seen = set()
    for key in keys:
        mark = tuple(str(kind_of(as_kept(key[name]))) for name in table.table_key_attrs)
        if mark in seen:
            raise invalid("Provided list of item keys contains duplicates")
        seen.add(mark)

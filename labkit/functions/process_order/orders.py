"""Reading orders: bytes in, checked orders out, or `Rejected` with a reason a person can act on.

Nothing here calls AWS. Numbers are `Decimal` from the first moment to the last: a float cannot
hold 300.01, and money must not change on its way.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

from boto3.dynamodb.types import DYNAMODB_CONTEXT

MAX_OBJECT_BYTES = 1024 * 1024  # a larger object is refused without being read
MAX_ORDERS_PER_OBJECT = 1000  # more would not be finished before the function's timeout
MAX_ORDER_BYTES = 250_000  # as JSON: SNS takes 256 KiB with attributes, a DynamoDB item 400 KB
MAX_AMOUNT = Decimal(1_000_000_000)
MAX_ORDER_ID = 256  # characters: the limit of a Kinesis partition key
MAX_DEPTH = 30  # DynamoDB keeps documents of up to 32 levels
EXACT_FLOAT_DIGITS = 15  # as many digits as every float keeps


class Rejected(Exception):
    """An order, or a whole object, that cannot be processed; the message says why."""


def split(body: bytes) -> list[tuple[str, str]]:
    """The orders in an object as (where, JSON text): one order, or one per line (JSON lines)."""
    if not body:
        raise Rejected("the object is empty (0 bytes)")
    try:
        text = body.decode("utf-8-sig")  # -sig: some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        raise Rejected(f"not UTF-8 text: byte {error.start} cannot be decoded") from None
    # Not splitlines(): it also cuts at U+2028, which may stand inside a JSON string.
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise Rejected("the object holds only white space")
    if len(lines) == 1 or not _is_json_lines(text):
        return [("", text)]
    if len(lines) > MAX_ORDERS_PER_OBJECT:
        raise Rejected(f"{len(lines)} orders in one object; at most {MAX_ORDERS_PER_OBJECT}")
    return [(f" line {n}", line) for n, line in lines]


def _is_json_lines(text: str) -> bool:
    """True when lines stand for themselves, false for one order printed over several lines."""
    try:
        json.loads(text, parse_int=Decimal)
        return False
    except (ValueError, RecursionError, ArithmeticError):
        return any(line[:1] == "{" and line.rstrip()[-1:] == "}" for line in text.split("\n"))


def read_order(text: str, parse_float=Decimal) -> dict:
    """The checked order in a JSON text, its numbers as Decimal; `Rejected` if there is none."""
    order = _parse(text, parse_float)
    if not isinstance(order, dict):
        raise Rejected(f"an order is a JSON object, this is {_kind(order)}")
    _check_order_id(order)
    _check_amount(order)
    _check_value(order, depth=1)
    if len(to_json(order)) > MAX_ORDER_BYTES:
        raise Rejected(f"the order is larger than {MAX_ORDER_BYTES} bytes")
    return order


def read_test_order(value: object) -> dict:
    """The checked order in a test event, which Lambda has parsed, fractions as floats, already."""
    return read_order(json.dumps(value), parse_float=_decimal_of_float)


def to_json(value: object) -> str:
    """JSON text with each Decimal as the number it is (the json module would go through float).

    Non-ASCII text is escaped: SQS and SNS refuse a few characters that JSON allows.
    """
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(to_json(v) for v in value) + "]"
    return json.dumps(value)


def _parse(text: str, parse_float) -> object:
    try:
        return json.loads(
            text,
            parse_int=Decimal,
            parse_float=parse_float,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
    except json.JSONDecodeError as error:
        raise Rejected(f"not JSON: {error}") from None
    except RecursionError:
        raise Rejected(f"nested deeper than {MAX_DEPTH} levels") from None
    except ArithmeticError:
        raise Rejected("a number is absurdly large") from None


def _no_constant(name: str):
    raise Rejected(f"{name} is not a number (JSON has no such value)")


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Rejected(f"the field {twice[:60]!r} stands there twice")
    return fields


def _decimal_of_float(text: str) -> Decimal:
    value = Decimal(text)
    if len(value.as_tuple().digits) > EXACT_FLOAT_DIGITS:
        raise Rejected(f"{text} has more digits than a test event keeps: send it through S3")
    return value


def _check_order_id(order: dict) -> None:
    if "OrderId" not in order:
        raise Rejected("OrderId is missing")
    order_id = order["OrderId"]
    if not isinstance(order_id, str):
        raise Rejected(f"OrderId must be a string, this is {_kind(order_id)}")
    if not order_id.strip():
        raise Rejected("OrderId is empty")
    if len(order_id) > MAX_ORDER_ID:
        raise Rejected(f"OrderId has {len(order_id)} characters; at most {MAX_ORDER_ID}")


def _check_amount(order: dict) -> None:
    if "Amount" not in order:
        raise Rejected("Amount is missing")
    amount = order["Amount"]
    if not isinstance(amount, Decimal):
        raise Rejected(f"Amount must be a number, this is {_kind(amount)}")
    if amount.is_signed():  # -0 too: DynamoDB would not keep its sign
        raise Rejected("Amount is negative")
    if amount > MAX_AMOUNT:
        raise Rejected(f"Amount is absurdly large: more than {MAX_AMOUNT}")
    if not _storable(amount):
        raise Rejected("Amount has more digits than the 38 that DynamoDB keeps")


def _check_value(value: object, depth: int) -> None:
    """Refuse what DynamoDB could not keep exactly, before anything has been stored or sent."""
    if depth > MAX_DEPTH:
        raise Rejected(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Decimal) and not _storable(value):
        raise Rejected("a number is longer, larger or smaller than DynamoDB can keep")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Rejected("a text holds half a character (a lone surrogate)") from None
    elif isinstance(value, dict):
        for name, field in value.items():
            if not name:
                raise Rejected("a field has no name")
            _check_value(name, depth)
            _check_value(field, depth + 1)
    elif isinstance(value, list):
        for element in value:
            _check_value(element, depth + 1)


def _storable(number: Decimal) -> bool:
    try:
        DYNAMODB_CONTEXT.create_decimal(number)
        return True
    except ArithmeticError:  # it would have to be rounded
        return False


def _kind(value: object) -> str:
    kinds = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), "a number")

"""DynamoDB's values: how large they count, how numbers are kept, and what makes one invalid.

Follows the Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "Supported data
types and naming rules". A value is ``{"S": "text"}``, with bytes for binary ones, or moto's object of
the same.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any

ITEM_BYTES = 400 * 1024
MAX_DEPTH = 32
_PREFIX = "One or more parameter values were invalid: "
# More digits than a number may have, so that nothing is rounded before it is judged.
_EXACT = Context(prec=1000, Emax=999_999, Emin=-999_999)


def kind_of(value: Any) -> tuple[str, Any]:
    """A value's type (``S``, ``N``, ``M`` ...) and what it holds."""
    if isinstance(value, Mapping):
        return next(iter(value.items()))
    return value.type, value.value


# -- sizes -----------------------------------------------------------------------------------


def item_size(item: Mapping[str, Any]) -> int:
    """The bytes an item counts: the names of its attributes and their values."""
    return sum(_text_size(name) + value_size(value) for name, value in item.items())


def value_size(value: Any) -> int:
    """The bytes one value counts."""
    kind, held = kind_of(value)
    if kind == "S":
        return _text_size(held)
    if kind == "N":
        return number_size(held)
    if kind == "B":
        return len(held)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "M":
        return 3 + sum(1 + _text_size(name) + value_size(inner) for name, inner in held.items())
    if kind == "L":
        return 3 + sum(1 + value_size(inner) for inner in held)
    measure = {"SS": _text_size, "NS": number_size, "BS": len}[kind]
    return sum(measure(inner) for inner in held)


@functools.lru_cache(4096)
def number_size(text: str) -> int:
    """The bytes of a number: one for two digits, and one more; two for a negative one."""
    number = _decimal(text)
    if number is None or not number.is_finite():
        return len(str(text))
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if not digits:
        return 1
    # Digits are packed in pairs counted from the decimal point.
    across = int(len(digits) % 2 == 0 and number.adjusted() % 2 == 0)
    return 1 + (len(digits) + 1) // 2 + across + int(number.is_signed())


def _text_size(text: Any) -> int:
    if not isinstance(text, str):
        return len(str(text))
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


# -- order -----------------------------------------------------------------------------------


def comparable(value: Any) -> Any:
    """What a key's value is sorted and compared by: numbers by worth, the rest by bytes."""
    kind, held = kind_of(value)
    if kind == "N":
        return _decimal(held) or Decimal(0)
    # Strings sort by their UTF-8, and so do Python's.
    return bytes(held) if kind == "B" else held


def as_kept(value: Any) -> Any:
    """A key's value as it is kept: one notation for each number."""
    kind, held = kind_of(value)
    return {kind: canonical(held)} if kind == "N" else value


# -- numbers ---------------------------------------------------------------------------------


def canonical(text: Any) -> Any:
    """A number as DynamoDB gives it back: plain notation, no zeros that mean nothing."""
    if not isinstance(text, str) or (text.isdigit() and (text[0] != "0" or len(text) == 1)):
        return text
    number = _decimal(text)
    if number is None or not number.is_finite() or abs(number.adjusted()) > 200:
        return text
    if not number:
        return "0"
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def number_problem(text: Any) -> str | None:
    """Why *text* is no number for DynamoDB, in its words, or None."""
    if not text:
        return "The parameter cannot be converted to a numeric value"
    number = _decimal(text)
    if number is None or not number.is_finite():
        return f"The parameter cannot be converted to a numeric value: {text}"
    if not number:
        return None
    if number.adjusted() > 125:
        return (
            "Number overflow. Attempting to store a number with magnitude larger than supported "
            "range"
        )
    if number.adjusted() < -130:
        return (
            "Number underflow. Attempting to store a number with magnitude smaller than supported "
            "range"
        )
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > 38:
        return "Attempting to store more than 38 significant digits in a Number"
    return None


def _decimal(text: Any) -> Decimal | None:
    if not isinstance(text, str) or text != text.strip() or "_" in text:
        return None
    try:
        return _EXACT.create_decimal(text)
    except InvalidOperation:
        return None


# -- validity --------------------------------------------------------------------------------


def values_problem(values: Iterable[Any]) -> str | None:
    """What is wrong with the first invalid one of *values*, in DynamoDB's words, or None."""
    for value in values:
        problem = value_problem(value, 1)
        if problem:
            return problem
    return None


def value_problem(value: Any, depth: int = 1) -> str | None:
    """What is wrong with one value, in DynamoDB's words, or None."""
    if not value:
        return (
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
        )
    if len(value) > 1:
        return (
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of "
            "the supported datatypes"
        )
    kind, held = next(iter(value.items()))
    if kind == "S":
        return None
    if kind == "N":
        return number_problem(held)
    if kind == "NULL" and not held:
        return f"{_PREFIX}Null attribute value types must have the value of true"
    if kind in ("SS", "NS", "BS"):
        return _set_problem(kind, held)
    if kind in ("M", "L"):
        if depth > MAX_DEPTH:
            return (
                "Nesting Levels have exceeded supported limits: Attributes in the item have nested "
                "levels beyond supported limit"
            )
        for inner in held.values() if kind == "M" else held:
            problem = value_problem(inner, depth + 1)
            if problem:
                return problem
    return None


def _set_problem(kind: str, held: Any) -> str | None:
    if not held:
        if kind == "BS":
            return f"{_PREFIX}Binary sets should not be empty"
        return f"{_PREFIX}An {'string' if kind == 'SS' else 'number'} set  may not be empty"
    if kind == "NS":
        for number in held:
            problem = number_problem(number)
            if problem:
                return problem
        if len({_decimal(number) for number in held}) < len(held):
            return "Input collection contains duplicates"
        return None
    if len(set(held)) == len(held):
        return None
    if kind == "SS":
        return f"{_PREFIX}Input collection [{', '.join(held)}] contains duplicates."
    texts = (base64.b64encode(data).decode() for data in held)
    return f"{_PREFIX}Input collection [{', '.join(texts)}]of type BS contains duplicates."

"""What an AWS front end checks of a request before the service sees it, by botocore's shapes.

Required members, lengths, ranges, patterns and enumerations of the model become AWS's
``ValidationException`` with every violation of the request in one message. The wording, the
order and the Java flavour of the values are those that AWS's front ends answer with (seen in
recorded answers of Lambda, EventBridge, KMS, Step Functions and others).
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.call import AwsError

# One violated constraint's wording, given the member's value.
Special = Callable[[Any], str | None]


@dataclass(frozen=True)
class Rules:
    """Where a service checks otherwise than its model says.

    ``limits`` replaces members of a shape's metadata (``{"Timeout": {"max": 900}}``), ``skip``
    names shapes that the service checks itself, ``special`` maps a shape's name to a function
    that returns the wording of the violated constraint or None, ``plain_lists`` names list
    shapes whose elements may be null (their wording lacks "Member must not be null").
    """

    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    special: Mapping[str, Special] = field(default_factory=dict)
    plain_lists: frozenset[str] = frozenset()


NO_RULES = Rules()


def check(shape: Any, params: Mapping[str, Any], rules: Rules = NO_RULES) -> None:
    """Raise ``ValidationException`` (400) when *params* violate the input *shape*."""
    if shape is None:
        return
    found = list(violations(shape, params, rules))
    if found:
        raise AwsError("ValidationException", message(found))


def message(found: Sequence[str]) -> str:
    """The one message that names all *found* violations."""
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


def violations(shape: Any, params: Mapping[str, Any], rules: Rules = NO_RULES) -> Iterator[str]:
    """The wording of each violation of *shape* by *params*, in AWS's order."""
    yield from _structure(shape, params, "", rules)


def violation(value: Any, path: str, constraint: str, *, sensitive: bool = False) -> str:
    """One violation in AWS's words: which *value*, where, and what it fails to satisfy."""
    shown = "" if sensitive else (" null" if value is None else f" '{java(value)}'")
    return f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}"


def _structure(
    shape: Any, value: Mapping[str, Any], path: str, rules: Rules
) -> Iterator[str]:
    required = set(shape.required_members)
    for name in _in_order(shape):
        where = f"{path}.{lower_first(name)}" if path else lower_first(name)
        member = value.get(name)
        if member is not None:
            yield from _value(shape.members[name], member, where, rules)
        elif name in required and shape.members[name].name not in rules.skip:
            yield violation(None, where, "Member must not be null")


def _value(shape: Any, value: Any, path: str, rules: Rules) -> Iterator[str]:
    if shape.name in rules.skip:
        return
    hidden = bool(shape.metadata.get("sensitive"))
    if shape.name in rules.special:
        wording = rules.special[shape.name](value)
        if wording is not None:
            yield violation(value, path, wording, sensitive=hidden)
        return
    for wording in _broken(shape, value, rules):
        yield violation(value, path, wording, sensitive=hidden)
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        yield from _structure(shape, value, path, rules)
    elif kind == "list" and isinstance(value, list | tuple):
        yield from _list(shape, value, path, rules)
    elif kind == "map" and isinstance(value, Mapping):
        yield from _map(shape, value, path, rules)


def _list(shape: Any, value: Sequence[Any], path: str, rules: Rules) -> Iterator[str]:
    element = shape.member
    if element.type_name in ("structure", "list", "map"):
        for index, item in enumerate(value, 1):
            yield from _value(element, item, f"{path}.{index}.member", rules)
        return
    if any(item is None or any(_broken(element, item, rules)) for item in value):
        all_of = _wordings(element, rules)
        if shape.name not in rules.plain_lists:
            all_of.append("Member must not be null")
        inner = ", ".join(all_of)
        yield violation(value, path, f"Member must satisfy constraint: [{inner}]")


def _map(shape: Any, value: Mapping[str, Any], path: str, rules: Rules) -> Iterator[str]:
    hidden = bool(shape.key.metadata.get("sensitive") or shape.value.metadata.get("sensitive"))
    if any(any(_broken(shape.key, key, rules)) for key in value):
        inner = ", ".join(_wordings(shape.key, rules))
        wording = f"Map keys must satisfy constraint: [{inner}]"
        yield violation(value, path, wording, sensitive=hidden)
    if shape.value.type_name in ("structure", "list", "map"):
        for key, item in value.items():
            yield from _value(shape.value, item, f"{path}.{key}.member", rules)
    elif any(item is None or any(_broken(shape.value, item, rules)) for item in value.values()):
        inner = ", ".join([*_wordings(shape.value, rules), "Member must not be null"])
        wording = f"Map value must satisfy constraint: [{inner}]"
        yield violation(value, path, wording, sensitive=hidden)


# -- one value -------------------------------------------------------------------------------


def _metadata(shape: Any, rules: Rules) -> Mapping[str, Any]:
    return {**shape.metadata, **rules.limits.get(shape.name, {})}


def _wordings(shape: Any, rules: Rules) -> list[str]:
    """Every constraint of *shape* in AWS's words and order."""
    metadata = _metadata(shape, rules)
    measure = "length" if _has_length(shape) else "value"
    words = []
    if metadata.get("max") is not None:
        limit = _number(shape, metadata["max"])
        words.append(f"Member must have {measure} less than or equal to {limit}")
    if metadata.get("min") is not None:
        limit = _number(shape, metadata["min"])
        words.append(f"Member must have {measure} greater than or equal to {limit}")
    if metadata.get("pattern"):
        words.append(f"Member must satisfy regular expression pattern: {metadata['pattern']}")
    if metadata.get("enum"):
        words.append(f"Member must satisfy enum value set: {enum_set(metadata['enum'])}")
    return words


def _broken(shape: Any, value: Any, rules: Rules) -> Iterator[str]:
    """The constraints of *shape* itself that *value* violates, in AWS's words."""
    metadata = _metadata(shape, rules)
    if not any(metadata.get(name) is not None for name in ("min", "max", "pattern", "enum")):
        return
    size = _size(shape, value)
    measure = "length" if _has_length(shape) else "value"
    if size is not None:
        high, low = metadata.get("max"), metadata.get("min")
        if high is not None and size > high:
            yield f"Member must have {measure} less than or equal to {_number(shape, high)}"
        if low is not None and size < low:
            yield f"Member must have {measure} greater than or equal to {_number(shape, low)}"
    if isinstance(value, str):
        pattern = metadata.get("pattern")
        if pattern and not matches(pattern, value):
            yield f"Member must satisfy regular expression pattern: {pattern}"
        enum = metadata.get("enum")
        if enum and value not in enum:
            yield f"Member must satisfy enum value set: {enum_set(enum)}"


def _has_length(shape: Any) -> bool:
    return shape.type_name in ("string", "blob", "list", "map")


def _size(shape: Any, value: Any) -> float | None:
    if isinstance(value, str):
        # Java counts UTF-16 units.
        return len(value.encode("utf-16-le", "surrogatepass")) // 2
    if isinstance(value, bytes | bytearray | list | tuple | Mapping):
        return len(value) if _has_length(shape) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _number(shape: Any, limit: float) -> str:
    if shape.type_name in ("float", "double"):
        return str(float(limit))
    return str(int(limit))


# -- as Java shows it ------------------------------------------------------------------------


def lower_first(name: str) -> str:
    """A member's name as Java beans write it: ``FunctionName`` becomes ``functionName``."""
    return name[:1].lower() + name[1:]


def java(value: Any) -> str:
    """*value* as Java prints it: lists in brackets, maps as ``{k=v}``, ``true`` and ``null``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(java(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{java(k)}={java(v)}' for k, v in value.items())}}}"
    if isinstance(value, bytes | bytearray):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
    return str(value)


def enum_set(values: Sequence[str]) -> str:
    """The values of an enumeration in the order AWS lists them.

    The front ends keep them in a hash table of 32 buckets and newest first within a bucket: that
    reproduces every recorded list, of two values as of fifty.
    """
    buckets: list[list[str]] = [[] for _ in range(32)]
    for value in values:
        buckets[_java_hash(value) & 31].insert(0, value)
    return f"[{', '.join(value for bucket in buckets for value in bucket)}]"


def _in_order(shape: Any) -> list[str]:
    """The members of a structure in the order the front ends look at them.

    It is that of a Java hash map of their names, with the labels of the path bound last: so the
    recorded messages about several members have it.
    """
    buckets = 16
    while len(shape.members) > buckets * 0.75:
        buckets *= 2

    def place(name: str) -> tuple[bool, int]:
        label = shape.members[name].serialization.get("location") == "uri"
        code = _java_hash(lower_first(name))
        return label, (code ^ (code >> 16)) & (buckets - 1)

    return sorted(shape.members, key=place)


def _java_hash(text: str) -> int:
    total = 0
    for unit in text:
        total = (31 * total + ord(unit)) & 0xFFFFFFFF
    return total


# -- patterns --------------------------------------------------------------------------------


def matches(pattern: str, value: str) -> bool:
    """Whether the whole *value* matches a Java *pattern*; True when Python can't read it."""
    compiled = _compile(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


# Python has no Unicode properties: close supersets, for use inside a character class.
_PROPERTIES = {
    "L": r"\w",
    "N": r"\w",
    "M": r"\u0300-\u036f",
    "Z": r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    "S": r"$+<=>^`|~\u00a2-\u00a9\u00ac\u00ae-\u00b1\u20a0-\u20cf\u2100-\u23ff",
    "P": r"!-#%-*,-/:;?@\[-\]_{}\u00a1\u00a7\u00b6\u00b7\u00bf\u2010-\u2027\u2030-\u205e",
    "Graph": r"!-~",
    "Print": r" -~",
    "Alnum": r"a-zA-Z0-9",
    "Alpha": r"a-zA-Z",
    "Digit": r"0-9",
    "Lower": r"a-z",
    "Upper": r"A-Z",
    "Punct": r"!-/:-@\[-`{-~",
    "Space": r"\s",
    "ASCII": r"\x00-\x7f",
    "IsLetter": r"\w",
}
_PROPERTY = re.compile(r"\\p\{(\w+)\}")
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_IN_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")


@functools.cache
def _compile(pattern: str) -> re.Pattern[str] | None:
    unicode_wanted = "\\p{" in pattern
    text = _SURROGATES.sub(lambda pair: _code_point(pair.group(1), pair.group(2)), pattern)
    # Java takes the hyphen of [\w-_] literally.
    text = re.sub(r"(\\[wWdDsS])-(?!\])", r"\1\\-", text)
    if unicode_wanted:
        classes = [match.span() for match in _IN_CLASS.finditer(text)]

        def replace(found: re.Match[str]) -> str:
            chars = _PROPERTIES.get(found.group(1), r"\w\W")
            inside = any(start < found.start() < end for start, end in classes)
            return chars if inside else f"[{chars}]"

        text = _PROPERTY.sub(replace, text)
    try:
        # Java's \d, \w and \s know ASCII only.
        return re.compile(text, re.UNICODE if unicode_wanted else re.ASCII)
    except re.error:
        return None


def _code_point(high: str, low: str) -> str:
    point = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
    return f"\\U{point:08x}"

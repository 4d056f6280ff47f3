"""Condition blocks: every operator of the policy language, compiled for one key and its values.

Follows the IAM User Guide, "IAM JSON policy elements: Condition operators", "Conditions with
multiple context keys or values" and "Single-valued vs. multivalued context keys".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from labkit.localaws.iam.matching import ArnLike, Glob, Pattern, Resolve

# The request's condition keys: lower-case key -> its value, or a tuple for a multivalued key.
Context = Mapping[str, "str | tuple[str, ...]"]

# Whether one value of the request fits one value of the policy.
Test = Callable[[str, Resolve], bool]

FOR_ALL = "forallvalues"
FOR_ANY = "foranyvalue"


class ConditionSyntax(ValueError):
    """A condition block that is not policy language: unknown operator, wrong kind of value."""


class Condition:
    """One operator with one key: ``holds(context)`` says whether the request meets it.

    ``key`` is lower case; ``operator`` is as written. Negated operators are met by a missing
    key, positive ones are not; ``IfExists`` is met by a missing key either way;
    ``ForAllValues:`` is met by a missing key or no values, ``ForAnyValue:`` is not.
    """

    __slots__ = ("operator", "key", "written_key", "values", "tests", "negated", "quantifier",
                 "if_exists", "asks_presence", "wants_null", "variables")  # fmt: skip

    def __init__(
        self, operator: str, key: str, values: Sequence[str], *, variables: bool = True
    ) -> None:
        base, self.quantifier, self.if_exists = split_operator(operator)
        self.operator, self.written_key, self.key = operator, key, key.lower()
        self.values = tuple(values)
        self.asks_presence = base == "null"
        self.wants_null: bool | None = None
        self.tests: tuple[Test, ...] = ()
        self.variables: tuple[str, ...] = ()
        self.negated = False
        if self.asks_presence:
            wanted = {value.lower() for value in values}
            if self.quantifier or self.if_exists or not wanted <= {"true", "false"}:
                raise ConditionSyntax(operator)
            self.wants_null = wanted == {"true"} if len(wanted) == 1 else None
            return
        try:
            build, self.negated = OPERATORS[base]
        except KeyError:
            raise ConditionSyntax(operator) from None
        tests, names = [], []
        for value in values:
            test, named = build(value, variables)
            tests.append(test)
            names.extend(named)
        self.tests, self.variables = tuple(tests), tuple(names)

    def holds(self, context: Context) -> bool:
        """Whether the request of *context* meets this condition."""
        if self.asks_presence:
            present = context.get(self.key) not in (None, ())
            return self.wants_null is None or present != self.wants_null
        found = context.get(self.key)
        if found is None or found == ():
            if self.if_exists or self.quantifier == FOR_ALL:
                return True
            return self.negated and self.quantifier is None

        def resolve(name: str) -> str | None:
            value = context.get(name)
            return value if isinstance(value, str) else None

        given = (found,) if isinstance(found, str) else found
        if self.quantifier == FOR_ALL:
            return all(self._fits(value, resolve) != self.negated for value in given)
        if self.quantifier == FOR_ANY:
            return any(self._fits(value, resolve) != self.negated for value in given)
        return any(self._fits(value, resolve) for value in given) != self.negated

    def _fits(self, value: str, resolve: Resolve) -> bool:
        return any(test(value, resolve) for test in self.tests)


def split_operator(operator: str) -> tuple[str, str | None, bool]:
    """*operator* in lower case without set qualifier and ``IfExists``, and those two."""
    name = operator.lower()
    quantifier = None
    if ":" in name:
        quantifier, name = name.split(":", 1)
        if quantifier not in (FOR_ALL, FOR_ANY):
            raise ConditionSyntax(operator)
    if name.endswith("ifexists"):
        return name[: -len("ifexists")], quantifier, True
    return name, quantifier, False


def _equals(value: str, variables: bool) -> tuple[Test, list[str]]:
    if variables and "${" in value:
        pattern = Pattern(value, Glob, wildcards=False)
        return pattern.matches, pattern.variables
    return (lambda given, resolve: given == value), []


def _equals_ignoring_case(value: str, variables: bool) -> tuple[Test, list[str]]:
    if variables and "${" in value:
        pattern = Pattern(value, Glob, wildcards=False)

        def test(given: str, resolve: Resolve) -> bool:
            lowered = Pattern(value.lower(), Glob, wildcards=False)
            return lowered.matches(given.lower(), lambda key: _lower(resolve(key)))

        return test, pattern.variables
    wanted = value.lower()
    return (lambda given, resolve: given.lower() == wanted), []


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _like(value: str, variables: bool) -> tuple[Test, list[str]]:
    pattern = Pattern(value, Glob, variables=variables)
    return pattern.matches, pattern.variables


def _arn_like(value: str, variables: bool) -> tuple[Test, list[str]]:
    pattern = Pattern(value, ArnLike, variables=variables)
    return pattern.matches, pattern.variables


def _compared(
    read: Callable[[str], object], compare: Callable[[object, object], bool]
) -> Callable[[str, bool], tuple[Test, list[str]]]:
    def build(value: str, variables: bool) -> tuple[Test, list[str]]:
        wanted = read(value)

        def test(given: str, resolve: Resolve) -> bool:
            try:
                return compare(read(given), wanted)
            except ConditionSyntax:
                return False

        return test, []

    return build


def read_number(text: str) -> Decimal:
    """*text* as an exact number; raises :class:`ConditionSyntax`."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ConditionSyntax(f"not a number: {text[:80]}") from None
    if not number.is_finite():
        raise ConditionSyntax(f"not a number: {text[:80]}")
    return number


_W3C_DATE = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[Tt](\d{2}):(\d{2})(?::(\d{2})(\.\d+)?)?"
    r"([Zz]|[+-]\d{2}:?\d{2})?)?)?)?"
)


def read_date(text: str) -> Decimal:
    """*text*, an ISO 8601 date in a W3C form or seconds since 1970, as seconds since 1970."""
    text = text.strip()
    found = _W3C_DATE.fullmatch(text)
    # Four digits alone are a year; any longer number is a count of seconds.
    if found is None:
        if re.fullmatch(r"-?\d{1,18}(\.\d+)?", text):
            return Decimal(text)
        raise ConditionSyntax(f"not a date: {text[:80]}")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1),
            int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        raise ConditionSyntax(f"not a date: {text[:80]}") from None
    seconds = Decimal(int(moment.timestamp())) + Decimal(fraction or 0)
    if zone and zone not in "Zz":
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        seconds -= minutes * 60 if zone[0] == "+" else -minutes * 60
    return seconds


def read_flag(text: str) -> bool:
    """*text* as true or false, in any case; raises :class:`ConditionSyntax`."""
    lowered = text.strip().lower()
    if lowered not in ("true", "false"):
        raise ConditionSyntax(f"not a boolean: {text[:80]}")
    return lowered == "true"


def _flag(value: str, variables: bool) -> tuple[Test, list[str]]:
    # The guide allows a policy variable with Bool: its value is read when it is known.
    pattern = Pattern(value.strip().lower(), Glob, variables=variables, wildcards=False)
    if pattern.matcher is not None:
        wanted = value.strip().lower()
        return (lambda given, resolve: given.strip().lower() == wanted), []
    return (lambda given, resolve: pattern.matches(given.strip().lower(), resolve)), (
        pattern.variables
    )


def _binary(value: str, variables: bool) -> tuple[Test, list[str]]:
    wanted = _read_base64(value)
    return (lambda given, resolve: _base64_or_none(given) == wanted), []


def _read_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConditionSyntax(f"not base64: {text[:80]}") from None


def _base64_or_none(text: str) -> bytes | None:
    try:
        return _read_base64(text)
    except ConditionSyntax:
        return None


def _ip_range(value: str, variables: bool) -> tuple[Test, list[str]]:
    try:
        network = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        raise ConditionSyntax(f"not an IP range: {value[:80]}") from None

    def test(given: str, resolve: Resolve) -> bool:
        try:
            return ipaddress.ip_address(given) in network
        except ValueError:
            return False

    return test, []


def _same(left: object, right: object) -> bool:
    return left == right


def _less(left: object, right: object) -> bool:
    return left < right  # type: ignore[operator]


def _less_or_same(left: object, right: object) -> bool:
    return left <= right  # type: ignore[operator]


def _more(left: object, right: object) -> bool:
    return left > right  # type: ignore[operator]


def _more_or_same(left: object, right: object) -> bool:
    return left >= right  # type: ignore[operator]


# Operator (lower case) -> how to compile one value of the policy, and whether it is negated.
OPERATORS: dict[str, tuple[Callable[[str, bool], tuple[Test, list[str]]], bool]] = {
    "stringequals": (_equals, False),
    "stringnotequals": (_equals, True),
    "stringequalsignorecase": (_equals_ignoring_case, False),
    "stringnotequalsignorecase": (_equals_ignoring_case, True),
    "stringlike": (_like, False),
    "stringnotlike": (_like, True),
    "arnequals": (_arn_like, False),
    "arnlike": (_arn_like, False),
    "arnnotequals": (_arn_like, True),
    "arnnotlike": (_arn_like, True),
    "bool": (_flag, False),
    "binaryequals": (_binary, False),
    "ipaddress": (_ip_range, False),
    "notipaddress": (_ip_range, True),
}
for _name, _read in (("numeric", read_number), ("date", read_date)):
    OPERATORS |= {
        f"{_name}equals": (_compared(_read, _same), False),
        f"{_name}notequals": (_compared(_read, _same), True),
        f"{_name}lessthan": (_compared(_read, _less), False),
        f"{_name}lessthanequals": (_compared(_read, _less_or_same), False),
        f"{_name}greaterthan": (_compared(_read, _more), False),
        f"{_name}greaterthanequals": (_compared(_read, _more_or_same), False),
    }

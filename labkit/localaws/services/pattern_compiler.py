"""Compiles event patterns: reads one token by token, and refuses it where AWS's rule engine does."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.services import pattern_values
from labkit.localaws.services.pattern_tokens import PatternError, Tokens

# More ways than this of splitting a text at a pattern's wildcards is too many for AWS.
_MOST_ALIKE_WILDCARDS = 4

_Test = Callable[[Any], bool]
_ANYTHING_BUT = "Value of anything-but must be an array or single string/number value."


@dataclass(frozen=True)
class Dialect:
    """What one service understands of the language."""

    operators: frozenset[str] = frozenset(
        {
            "anything-but",
            "cidr",
            "equals-ignore-case",
            "exactly",
            "exists",
            "numeric",
            "prefix",
            "suffix",
            "wildcard",
        }
    )
    # What may stand inside {"anything-but": {...}}.
    negatable: frozenset[str] = frozenset({"prefix", "suffix", "equals-ignore-case", "wildcard"})
    affix: str = "prefix/suffix match pattern must be a string"
    largest_number: float = 5e9
    redact_syntax_errors: bool = False


EVENTBRIDGE = Dialect()


@dataclass
class Matcher:
    """One value or expression in a pattern's array; absent matches a field that is not there."""

    test: _Test
    absent: bool = False


# Dotted path to the alternatives for the value there.
Conditions = dict[str, list[Matcher]]


@dataclass
class Compiled:
    """An object of a pattern: conditions that all hold, in one of several combinations."""

    combinations: list[Conditions] = field(default_factory=lambda: [{}])

    def require(self, path: str, matchers: list[Matcher]) -> None:
        for conditions in self.combinations:
            conditions[path] = matchers

    def require_one_of(self, alternatives: list[Compiled]) -> None:
        self.combinations = [
            {**mine, **theirs}
            for mine in self.combinations
            for alternative in alternatives
            for theirs in alternative.combinations
        ]

    def require_all(self, other: Compiled) -> None:
        self.require_one_of([other])


class Compiler:
    """Reads a pattern token by token, so that it notices what AWS notices, where AWS does."""

    def __init__(self, tokens: Tokens, dialect: Dialect) -> None:
        self._tokens = tokens
        self._dialect = dialect

    def pattern(self) -> Compiled:
        if self._tokens.next().kind != "{":
            raise self._tokens.refuse("Filter is not an object")
        result = self._object("")
        # The rest must be read, for it may be no JSON.
        while self._tokens.next().kind != "end":
            pass
        return result

    def _object(self, path: str) -> Compiled:
        tokens, result, empty = self._tokens, Compiled(), True
        while tokens.next().kind != "}":
            empty = False
            name = tokens.text()
            inner = f"{path}.{name}" if path else name
            kind = tokens.next().kind
            if kind == "{":
                result.require_all(self._object(inner))
            elif kind == "[" and name == "$or":
                result.require_one_of(self._alternatives(path))
            elif kind == "[":
                result.require(inner, self._values())
            else:
                raise tokens.refuse(f'"{name}" must be an object or an array')
        if empty:
            raise tokens.refuse("Empty objects are not allowed")
        return result

    def _alternatives(self, path: str) -> list[Compiled]:
        tokens, result = self._tokens, []
        while tokens.next().kind != "]":
            if tokens.current.kind != "{":
                raise tokens.refuse("Only objects are allowed in array of $or relationship")
            result.append(self._object(path))
        if len(result) < 2:
            raise tokens.refuse("There must have at least 2 Objects in $or relationship.")
        return result

    def _values(self) -> list[Matcher]:
        tokens, result = self._tokens, []
        while (token := tokens.next()).kind != "]":
            if token.kind == "{":
                result.append(self._expression())
            elif token.kind == "[":
                raise tokens.refuse("Match value must be String, number, true, false, or null")
            else:
                result.append(Matcher(functools.partial(pattern_values.equal, token.value)))
        if not result:
            raise tokens.refuse("Empty arrays are not allowed")
        return result

    def _expression(self) -> Matcher:
        tokens = self._tokens
        if tokens.next().kind != "field":
            raise tokens.refuse("Match expression name not found")
        name = tokens.text()
        if name not in self._dialect.operators:
            raise tokens.refuse(f"Unrecognized match type {name}")
        read = getattr(self, f"_{name.replace('-', '_')}")
        matcher = read()
        if tokens.next().kind != "}":
            raise tokens.refuse("Only one key allowed in match expression")
        return matcher

    def _prefix(self) -> Matcher:
        return self._affix("prefix", str.startswith)

    def _suffix(self) -> Matcher:
        return self._affix("suffix", str.endswith)

    def _affix(self, name: str, compare: Callable[[str, str], bool]) -> Matcher:
        if self._tokens.next().kind == "{":
            self._tokens.next()
            if self._tokens.text() != "equals-ignore-case":
                raise self._tokens.refuse(f"Unsupported {name} pattern: {self._tokens.text()}")
            wanted = self._string("equals-ignore-case").casefold()
            if self._tokens.next().kind != "}":
                raise self._tokens.refuse("Only one key allowed in match expression")
            return Matcher(
                lambda value: isinstance(value, str) and compare(value.casefold(), wanted)
            )
        wanted = self._string(name, already_read=True)
        return Matcher(lambda value: isinstance(value, str) and compare(value, wanted))

    def _exactly(self) -> Matcher:
        return Matcher(functools.partial(pattern_values.equal, self._string("exactly")))

    def _equals_ignore_case(self) -> Matcher:
        wanted = self._string("equals-ignore-case").casefold()
        return Matcher(lambda value: isinstance(value, str) and value.casefold() == wanted)

    def _wildcard(self) -> Matcher:
        expression = self._wildcards(self._string("wildcard"))
        return Matcher(
            lambda value: isinstance(value, str) and expression.fullmatch(value) is not None
        )

    def _exists(self) -> Matcher:
        token = self._tokens.next()
        if token.kind != "word" or token.value is None:
            raise self._tokens.refuse("exists match pattern must be either true or false.")
        wanted = token.value
        return Matcher(lambda value: wanted, absent=not wanted)

    def _cidr(self) -> Matcher:
        # The engine's own slip: it says prefix here.
        network = pattern_values.network(self._string("prefix"))
        return Matcher(
            lambda value: isinstance(value, str) and pattern_values.inside(value, network)
        )

    def _numeric(self) -> Matcher:
        tokens = self._tokens
        if tokens.next().kind != "[":
            raise tokens.refuse("Value of numeric must be an array.")
        if tokens.next().kind != "string":
            raise tokens.refuse(f"Invalid member in numeric match: {tokens.raw()}")
        operator = tokens.text()
        tokens.next()
        if operator == "=":
            wanted = self._number("equals")
            if tokens.next().kind != "]":
                raise tokens.refuse("Too many elements in numeric expression")
            return Matcher(functools.partial(pattern_values.equal, wanted))
        if operator not in ("<", "<=", ">", ">="):
            raise tokens.refuse(f"Unrecognized numeric range operator: {operator}")
        first = self._number(operator)
        if tokens.next().kind == "]":
            return Matcher(pattern_values.between({operator: first}))
        if operator in ("<", "<="):
            raise tokens.refuse("Too many elements in numeric expression")
        if tokens.current.kind != "string":
            raise tokens.refuse(f"Bad value in numeric range: {tokens.raw()}")
        upper = tokens.text()
        if upper not in ("<", "<="):
            raise tokens.refuse(f"Bad numeric range operator: {upper}")
        tokens.next()
        second = self._number(upper)
        if tokens.next().kind != "]":
            raise tokens.refuse("Too many terms in numeric range expression")
        if first >= second:
            raise tokens.refuse("Bottom must be less than top")
        return Matcher(pattern_values.between({operator: first, upper: second}))

    def _anything_but(self) -> Matcher:
        tokens = self._tokens
        kind = tokens.next().kind
        if kind == "{":
            return self._anything_but_expression()
        if kind == "[":
            unwanted = self._anything_but_list()
        elif kind in ("string", "number"):
            unwanted = [tokens.current.value]
            tokens.current.read = True
        else:
            raise tokens.refuse(_ANYTHING_BUT)
        return Matcher(lambda value: not any(pattern_values.equal(one, value) for one in unwanted))

    def _anything_but_list(self) -> list[Any]:
        tokens, result = self._tokens, []
        while (token := tokens.next()).kind != "]":
            if token.kind not in ("string", "number"):
                raise tokens.refuse(
                    "Inside anything but list, start|null|boolean is not supported.", times=2
                )
            if result and isinstance(result[0], str) != isinstance(token.value, str):
                raise tokens.refuse(
                    "Inside anything but list, either all values are number or string, "
                    "mixed type is not supported",
                    times=2,
                )
            token.read = True
            result.append(token.value)
        if not result:
            raise tokens.refuse("Empty arrays are not allowed")
        return result

    def _anything_but_expression(self) -> Matcher:
        tokens = self._tokens
        if tokens.next().kind != "field":
            raise tokens.refuse(_ANYTHING_BUT)
        name = tokens.text()
        if name not in self._dialect.negatable:
            raise tokens.refuse(f"Unsupported anything-but pattern: {name}")
        kind = tokens.next().kind
        if kind == "{":
            raise tokens.refuse(_ANYTHING_BUT)
        unwanted: list[_Test] = []
        if kind == "[":
            while tokens.next().kind != "]":
                unwanted.append(self._negated(name, times=2))
        else:
            unwanted.append(self._negated(name, times=1))
        if not unwanted:
            raise tokens.refuse("Empty arrays are not allowed")
        if tokens.next().kind != "}":
            raise tokens.refuse("Only one key allowed in match expression")
        return Matcher(
            lambda value: not (isinstance(value, str) and any(test(value) for test in unwanted))
        )

    def _negated(self, name: str, times: int) -> _Test:
        tokens = self._tokens
        if tokens.current.kind != "string":
            reasons = {
                "wildcard": "wildcard match pattern must be a string",
                "equals-ignore-case": "Inside anything-but/equals-ignore-case list, "
                "number|start|null|boolean is not supported.",
            }
            raise tokens.refuse(reasons.get(name, self._dialect.affix), times=times)
        text = tokens.text()
        if name == "wildcard":
            expression = self._wildcards(text)
            return lambda value: expression.fullmatch(value) is not None
        if name == "equals-ignore-case":
            folded = text.casefold()
            return lambda value: value.casefold() == folded
        if not text:
            raise tokens.refuse("Null prefix/suffix not allowed", times=times)
        compare = str.startswith if name == "prefix" else str.endswith
        return lambda value: compare(value, text)

    def _string(self, name: str, *, already_read: bool = False) -> str:
        token = self._tokens.current if already_read else self._tokens.next()
        if token.kind != "string":
            raise self._tokens.refuse(f"{name} match pattern must be a string")
        return self._tokens.text()

    def _number(self, operator: str) -> float:
        token = self._tokens.current
        if token.kind != "number":
            raise self._tokens.refuse(f"Value of {operator} must be numeric")
        largest = self._dialect.largest_number
        if not -largest <= token.value <= largest:
            raise self._tokens.refuse(f"Value must be between {-largest} and {largest}, inclusive")
        return token.value

    def _wildcards(self, text: str) -> re.Pattern[str]:
        """The regular expression for a text with asterisks; a backslash escapes."""
        parts: list[str] = [""]
        position = 0
        while position < len(text):
            letter = text[position]
            if letter == "\\":
                escaped = text[position + 1 : position + 2]
                if escaped not in ("*", "\\"):
                    raise self._tokens.refuse(f"Invalid escape character at pos {position}")
                parts[-1] += escaped
                position += 1
            elif letter == "*":
                if text[position + 1 : position + 2] == "*":
                    raise self._tokens.refuse(
                        f"Consecutive wildcard characters at pos {position + 1}"
                    )
                parts.append("")
            else:
                parts[-1] += letter
            position += 1
        inner = parts[1:-1]
        if inner and max(inner.count(part) for part in inner) >= _MOST_ALIKE_WILDCARDS:
            raise PatternError(
                "Rule is too complex - try using fewer wildcard characters or fewer repeating "
                "character sequences after a wildcard character"
            )
        return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)

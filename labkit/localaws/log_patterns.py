"""Filter patterns of CloudWatch Logs: which log events a pattern matches, and what it extracts.

Amazon CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters,
filter log events, and Live Tail". There are four kinds: terms (all, any with ``?``, none with
``-``), a regular expression between percent signs, fields separated by spaces in ``[...]``, and
conditions on a JSON object in ``{...}``.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

# A test of one value (text, number or truth value), and of one parsed object or list of fields.
ValueTest = Callable[[Any], bool]
Condition = Callable[[Any], bool]


class BadPattern(Exception):
    """A pattern CloudWatch Logs would refuse; the message is its own."""


class Pattern(Protocol):
    """A compiled filter pattern."""

    # What kind of pattern it is: "text", "json" or "fields".
    kind: str

    def matches(self, message: str) -> bool:
        """Whether a log event's message matches."""

    def extract(self, message: str) -> dict[str, str] | None:
        """The values the pattern names, None when the message doesn't match."""


@functools.lru_cache(maxsize=500)
def compile_pattern(text: str) -> Pattern:
    """The compiled pattern; raises BadPattern."""
    stripped = text.strip()
    if not stripped:
        return _Terms([], [], [])
    for opening, closing in ("{}", "[]"):
        if stripped.startswith(opening) and not stripped.endswith(closing):
            raise BadPattern(
                f"If a filter pattern starts with '{opening}' it must end with '{closing}'"
            )
    if stripped.startswith("{"):
        return _Json(stripped[1:-1])
    if stripped.startswith("["):
        return _Fields(stripped[1:-1])
    if stripped.startswith("%") and stripped.endswith("%") and len(stripped) > 2:
        return _Regex(stripped[1:-1])
    return _read_terms(stripped)


def _bad_term(characters: str) -> BadPattern:
    return BadPattern(f"Invalid character(s) in term '{characters}'")


# -- terms ---------------------------------------------------------------------------------------

_TERM = re.compile(r"\s*([?-])?\s*(?:\"((?:[^\"\\]|\\.)*)\"|(\w+))")


class _Terms:
    """Words and phrases that must, may or must not be in the message; they match inside words."""

    kind = "text"

    def __init__(self, wanted: list[str], optional: list[str], unwanted: list[str]) -> None:
        self._wanted = wanted
        # Combined with other terms, optional ones are ignored.
        self._optional = optional if not wanted and not unwanted else []
        self._unwanted = unwanted

    def matches(self, message: str) -> bool:
        if any(term in message for term in self._unwanted):
            return False
        if self._optional:
            return any(term in message for term in self._optional)
        return all(term in message for term in self._wanted)

    def extract(self, message: str) -> dict[str, str] | None:
        return {} if self.matches(message) else None


def _read_terms(text: str) -> _Terms:
    found: dict[str, list[str]] = {"": [], "?": [], "-": []}
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise _bad_term(text[at:].lstrip()[:1])
        sign, quoted, word = match.groups()
        found[sign or ""].append(word if quoted is None else _unescaped(quoted))
        at = match.end()
    return _Terms(found[""], found["?"], found["-"])


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


class _Regex:
    """A regular expression anywhere in the message."""

    kind = "text"

    def __init__(self, text: str) -> None:
        self._regex = _regex(text)

    def matches(self, message: str) -> bool:
        return self._regex.search(message) is not None

    def extract(self, message: str) -> dict[str, str] | None:
        return {} if self.matches(message) else None


_REGEX_CHARACTERS = re.compile(r"(?:[A-Za-z0-9:_#=@/;,^$?\[\]{}|*+.\s-]|\\.)*")


def _regex(text: str) -> re.Pattern[str]:
    match = _REGEX_CHARACTERS.match(text)
    assert match is not None
    if match.end() < len(text):
        raise _bad_term(text[match.end()])
    try:
        return re.compile(text)
    except re.error as problem:
        raise BadPattern("Invalid regular expression in filter pattern") from problem


# -- values: what both JSON and field conditions compare with ------------------------------------

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_OPERATORS = ("!=", ">=", "<=", "=", ">", "<")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if _NUMBER.fullmatch(value) else None


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _value_test(operator: str, wanted: str, quoted: bool) -> ValueTest:
    """The test of a value against what a pattern says; a leading or trailing * is any text."""
    if wanted.startswith("%") and wanted.endswith("%") and len(wanted) > 2 and not quoted:
        regex = _regex(wanted[1:-1])
        found = operator == "="
        return lambda value: (regex.search(_text(value)) is not None) is found
    number = None if quoted else _number(wanted)
    if operator in (">", ">=", "<", "<="):
        if number is None:
            raise _bad_term(f'"{wanted}"' if quoted else wanted)
        return _ordered(operator, number)
    same: ValueTest
    if number is not None:
        # What is no number isn't equal to one.
        same = functools.partial(_same_number, number)
    else:
        same = _same_text(wanted)
    return same if operator == "=" else lambda value: not same(value)


def _same_number(number: float, value: Any) -> bool:
    return _number(value) == number


def _ordered(operator: str, limit: float) -> ValueTest:
    compare: dict[str, Callable[[float], bool]] = {
        ">": lambda number: number > limit,
        ">=": lambda number: number >= limit,
        "<": lambda number: number < limit,
        "<=": lambda number: number <= limit,
    }
    test = compare[operator]

    def ordered(value: Any) -> bool:
        number = _number(value)
        return number is not None and test(number)

    return ordered


def _same_text(wanted: str) -> ValueTest:
    if wanted == "*":
        return lambda value: True
    start, end = wanted.startswith("*"), wanted.endswith("*")
    core = wanted[1 if start else 0 : -1 if end else None]
    if start and end:
        return lambda value: core in _text(value)
    if start:
        return lambda value: _text(value).endswith(core)
    if end:
        return lambda value: _text(value).startswith(core)
    return lambda value: _text(value) == core


class _Reader:
    """Walks over a pattern's inside."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self, token: str) -> bool:
        """Whether *token* comes next, over spaces."""
        self.skip()
        return self.text.startswith(token, self.at)

    def take(self, token: str) -> bool:
        """Step over *token* when it comes next."""
        if self.peek(token):
            self.at += len(token)
            return True
        return False

    def skip(self) -> None:
        """Step over spaces."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What *pattern* finds here, stepped over."""
        self.skip()
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def rest(self) -> str:
        """What is left."""
        return self.text[self.at :].strip()

    def operator(self) -> str | None:
        """A comparison, when one comes next."""
        return next((sign for sign in _OPERATORS if self.take(sign)), None)

    def value(self, unquoted: re.Pattern[str]) -> tuple[str, bool]:
        """A value and whether it was quoted."""
        quoted = self.match(_QUOTED)
        if quoted is not None:
            return _unescaped(quoted.group(1)), True
        percent = self.match(_PERCENT)
        if percent is not None:
            return percent.group(0), False
        bare = self.match(unquoted)
        if bare is None or not bare.group(0):
            raise _bad_term(self.rest()[:1])
        return bare.group(0), False


_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_PERCENT = re.compile(r"%[^%]+%")


# -- JSON ----------------------------------------------------------------------------------------

_SELECTOR = re.compile(r"\$(?:\.[\w-]+|\[(?:\d+|\*)\]|\.?\['[^']+'\])+")
_SELECTOR_PART = re.compile(r"\.([\w-]+)|\[(\d+|\*)\]|\.?\['([^']+)'\]")
_JSON_WORD = re.compile(r"[\w.*+:/-]+")
_MISSING = object()


class _Json:
    """Conditions on the JSON object that the whole message is."""

    kind = "json"

    def __init__(self, text: str) -> None:
        self._selectors: dict[str, Path] = {}
        reader = _Reader(text)
        self._condition = self._either(reader)
        if reader.rest():
            raise _bad_term(reader.rest()[:1])

    def matches(self, message: str) -> bool:
        parsed = parse_object(message)
        return parsed is not None and self._condition(parsed)

    def extract(self, message: str) -> dict[str, str] | None:
        parsed = parse_object(message)
        if parsed is None or not self._condition(parsed):
            return None
        values = {name: _first(path, parsed) for name, path in self._selectors.items()}
        return {
            name: _text(value)
            for name, value in values.items()
            if value is not _MISSING and not isinstance(value, dict | list)
        }

    def _either(self, reader: _Reader) -> Condition:
        parts = [self._both(reader)]
        while reader.take("||"):
            parts.append(self._both(reader))
        return parts[0] if len(parts) == 1 else lambda each: any(part(each) for part in parts)

    def _both(self, reader: _Reader) -> Condition:
        parts = [self._one(reader)]
        while reader.take("&&"):
            parts.append(self._one(reader))
        return parts[0] if len(parts) == 1 else lambda each: all(part(each) for part in parts)

    def _one(self, reader: _Reader) -> Condition:
        if reader.take("("):
            inner = self._either(reader)
            if not reader.take(")"):
                raise BadPattern("Invalid filter pattern: unbalanced parentheses")
            return inner
        selector = reader.match(_SELECTOR)
        if selector is None:
            start = re.match(r"\$\.?.?|.?", reader.rest())
            raise _bad_term(start.group(0) if start else "")
        path = path_of(selector.group(0))
        self._selectors[selector.group(0)] = path
        if (word := reader.match(_KEYWORDS)) is not None:
            return _state(path, re.sub(r"\s+", " ", word.group(0).upper()))
        operator = reader.operator()
        if operator is None:
            raise _bad_term(selector.group(0) + reader.rest()[:1])
        test = _value_test(operator, *reader.value(_JSON_WORD))
        return functools.partial(_holds, path, test)


_KEYWORDS = re.compile(
    r"(?:IS\s+(?:NOT\s+)?NULL|IS\s+TRUE|IS\s+FALSE|NOT\s+EXISTS|EXISTS)\b", re.IGNORECASE
)

Path = tuple[str | int, ...]


def path_of(selector: str) -> Path:
    """A selector's steps: names, indexes, and ``*`` for every element."""
    steps: list[str | int] = []
    for match in _SELECTOR_PART.finditer(selector):
        name, index, bracketed = match.groups()
        if index is not None:
            steps.append("[*]" if index == "*" else int(index))
        else:
            steps.append(name if name is not None else bracketed)
    return tuple(steps)


def parse_object(message: str) -> dict[str, Any] | None:
    """The JSON object a message is, or None."""
    text = message.strip()
    if not text.startswith("{"):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _found(path: Path, value: Any) -> list[Any]:
    values = [value]
    for step in path:
        following: list[Any] = []
        for each in values:
            if step == "[*]":
                if isinstance(each, list):
                    following += each
            elif isinstance(step, int):
                if isinstance(each, list) and step < len(each):
                    following.append(each[step])
            elif isinstance(each, dict) and step in each:
                following.append(each[step])
        values = following
    return values


def _first(path: Path, value: Any) -> Any:
    found = _found(path, value)
    return found[0] if found else _MISSING


def select(selector: str, parsed: Mapping[str, Any]) -> Any:
    """What ``$.name`` selects from a JSON object, None when there is nothing."""
    value = _first(path_of(selector), parsed)
    return None if value is _MISSING else value


def _holds(path: Path, test: ValueTest, parsed: Any) -> bool:
    # Objects, arrays and null can't be compared: neither = nor != matches them.
    return any(
        not isinstance(value, dict | list) and value is not None and test(value)
        for value in _found(path, parsed)
    )


def _state(path: Path, words: str) -> Condition:
    if words == "NOT EXISTS":
        return lambda parsed: not _found(path, parsed)
    if words == "EXISTS":
        return lambda parsed: bool(_found(path, parsed))
    if words == "IS NOT NULL":
        return lambda parsed: any(value is not None for value in _found(path, parsed))
    wanted = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False}[words]
    return lambda parsed: any(value is wanted for value in _found(path, parsed))


# -- fields separated by spaces ------------------------------------------------------------------

_FIELD = re.compile(r"\[([^\]]*)\]|\"((?:[^\"\\]|\\.)*)\"|(\S+)")
_FIELD_NAME = re.compile(r"[A-Za-z_][\w-]*")
_FIELD_WORD = re.compile(r"[^\s,&|\"=<>!()]+")


class _Fields:
    """Conditions on the fields of a line; brackets and quotes hold one field together."""

    kind = "fields"

    def __init__(self, text: str) -> None:
        self._names: list[str] = []
        self._tests: list[ValueTest | None] = []
        # Where "..." stands, that many fields may be.
        self._gap: int | None = None
        for number, part in enumerate(_split(text)):
            if part.strip() == "...":
                if self._gap is not None:
                    raise BadPattern("Invalid filter pattern: only one '...' is allowed")
                self._gap = number
                continue
            name, test = _read_field(part)
            self._names.append(name)
            self._tests.append(test)

    def matches(self, message: str) -> bool:
        return self._fields(message) is not None

    def extract(self, message: str) -> dict[str, str] | None:
        placed = self._fields(message)
        if placed is None:
            return None
        return {f"${name}": value for name, value in placed}

    def _fields(self, message: str) -> list[tuple[str, str]] | None:
        fields = [
            next(group for group in match.groups() if group is not None)
            for match in _FIELD.finditer(message)
        ]
        missing = len(fields) - len(self._names)
        if missing < 0 or (self._gap is None and missing):
            return None
        placed = []
        for number, (name, test) in enumerate(zip(self._names, self._tests, strict=True)):
            at = number + missing if self._gap is not None and number >= self._gap else number
            if test is not None and not test(fields[at]):
                return None
            placed.append((name or str(at + 1), fields[at]))
        if self._gap is not None:
            skipped = range(self._gap, self._gap + missing)
            placed += [(str(at + 1), fields[at]) for at in skipped]
        return placed


def _split(text: str) -> list[str]:
    """The parts between commas outside of quotes and percent signs."""
    parts, at, start, quote = [], 0, 0, ""
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in '"%':
            quote = letter
        elif letter == ",":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    if quote == '"':
        raise _bad_term('"')
    return [*parts, text[start:]]


def _read_field(text: str) -> tuple[str, ValueTest | None]:
    """A field's name (may be empty) and its test, None when anything will do."""
    reader = _Reader(text)
    if not reader.rest():
        return "", None
    names: set[str] = set()

    def either() -> ValueTest | None:
        parts = [both()]
        while reader.take("||"):
            parts.append(both())
        tests = [part for part in parts if part is not None]
        return None if len(tests) < len(parts) else lambda value: any(t(value) for t in tests)

    def both() -> ValueTest | None:
        parts = [one()]
        while reader.take("&&"):
            parts.append(one())
        tests = [part for part in parts if part is not None]
        return (lambda value: all(t(value) for t in tests)) if tests else None

    def one() -> ValueTest | None:
        if reader.take("("):
            inner = either()
            if not reader.take(")"):
                raise BadPattern("Invalid filter pattern: unbalanced parentheses")
            return inner
        name = reader.match(_FIELD_NAME)
        if name is None:
            raise _bad_term(reader.rest()[:1])
        names.add(name.group(0))
        operator = reader.operator()
        if operator is None:
            return None
        return _value_test(operator, *reader.value(_FIELD_WORD))

    test = either()
    if reader.rest():
        raise _bad_term(reader.rest()[:1])
    if len(names) > 1:
        raise BadPattern("Invalid filter pattern: a field can't have more than one name")
    return names.pop(), test

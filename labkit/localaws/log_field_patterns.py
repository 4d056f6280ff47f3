"""Filter patterns on lines of fields: ``[ip, ..., status=4*, bytes]``."""

from __future__ import annotations

import re

from labkit.localaws.log_pattern_parts import BadPattern, Reader, ValueTest, bad_term, value_test

_FIELD = re.compile(r"\[([^\]]*)\]|\"((?:[^\"\\]|\\.)*)\"|(\S+)")
_FIELD_NAME = re.compile(r"[A-Za-z_][\w-]*")
_FIELD_WORD = re.compile(r"[^\s,&|\"=<>!()]+")


class FieldsPattern:
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
        raise bad_term('"')
    return [*parts, text[start:]]


def _read_field(text: str) -> tuple[str, ValueTest | None]:
    """A field's name (may be empty) and its test, None when anything will do."""
    reader = Reader(text)
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
            raise bad_term(reader.rest()[:1])
        names.add(name.group(0))
        operator = reader.operator()
        if operator is None:
            return None
        return value_test(operator, *reader.value(_FIELD_WORD))

    test = either()
    if reader.rest():
        raise bad_term(reader.rest()[:1])
    if len(names) > 1:
        raise BadPattern("Invalid filter pattern: a field can't have more than one name")
    return names.pop(), test

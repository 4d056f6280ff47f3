"""JSON text as a row of tokens that know where they stand.

Event patterns and filter policies are refused with the line and column at which AWS's parser
stood when it noticed; ``json`` doesn't tell that, so this module reads JSON by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[\w$]+")
_WORDS = {"true": True, "false": False, "null": None}

# How much of the text an error quotes.
_QUOTED = 500


class PatternError(Exception):
    """A pattern AWS would refuse, with AWS's words for why.

    ``bare`` is set for the few reasons that stand alone in SNS's messages.
    """

    def __init__(self, reason: str, *, bare: bool = False) -> None:
        super().__init__(reason)
        self.bare = bare


@dataclass
class Token:
    """One token: ``kind`` is one of ``{ } [ ]``, field, string, number, word or end."""

    kind: str
    start: int
    end: int
    value: Any = None
    # A string's end is only noticed when its text is asked for.
    read: bool = False


class Tokens:
    """The tokens of *text*, one after the other; ``current`` is the one just read."""

    def __init__(self, text: str, *, redact_syntax_errors: bool = False) -> None:
        self._text = text
        self._redact = redact_syntax_errors
        self._source = _scan(text, self)
        self._ahead: Token | None = None
        self.current = Token("end", 0, 0)

    def next(self) -> Token:
        """Read the next token."""
        self.current = self._ahead or next(self._source)
        self._ahead = None
        if self.current.kind == "field":
            # The parser has looked at what follows a name before it hands the name out.
            self._ahead = next(self._source)
        return self.current

    def text(self) -> str:
        """The current string's text."""
        self.current.read = True
        return str(self.current.value)

    def raw(self) -> str:
        """The current token as written (without a string's quotes)."""
        token = self.current
        return self.text() if token.kind == "string" else self._text[token.start : token.end]

    def refuse(self, reason: str, times: int = 1) -> PatternError:
        """The error for *reason*, with the place the parser has come to."""
        return PatternError(reason + self._place(self._offset()) * times)

    def syntax_error(self, reason: str, offset: int) -> PatternError:
        """The error for text that is not JSON."""
        if not self._redact:
            return PatternError(reason + self._place(offset))
        source = "REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"
        return PatternError(f"failed to parse JSON. {reason}{self._place(offset, source)}")

    def _offset(self) -> int:
        token = self._ahead or self.current
        return token.start + 1 if token.kind == "string" and not token.read else token.end

    def _place(self, offset: int, source: str | None = None) -> str:
        before = self._text[:offset]
        line, column = before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
        if source is None:
            quoted = self._text[:_QUOTED]
            left = len(self._text) - len(quoted)
            source = f'(String)"{quoted}"' + (f"[truncated {left} chars]" if left else "")
        return f"\n at [Source: {source}; line: {line}, column: {column}]"


def parse_json(text: str) -> Any:
    """*text* as JSON; raises PatternError in the words of AWS's parser."""
    tokens = Tokens(text, redact_syntax_errors=True)
    while tokens.next().kind != "end":
        pass
    return json.loads(text)


def _scan(text: str, tokens: Tokens) -> Iterator[Token]:
    """Yield the tokens of *text*, then ``end`` for ever; raise where it stops being JSON."""
    position = 0
    open_brackets: list[str] = []
    # What may come next: a value, a name, a closing bracket, a comma.
    expect = "value"
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if position >= len(text):
            if open_brackets:
                what = "Object" if open_brackets[-1] == "{" else "Array"
                raise tokens.syntax_error(
                    f"Unexpected end-of-input: expected close marker for {what}", position
                )
            while True:
                yield Token("end", position, position)
        letter = text[position]
        if not open_brackets and expect == "after":
            raise tokens.syntax_error(
                f"Unexpected character ({_shown(letter)}): extra data", position
            )
        if expect == "after" and letter == ",":
            position += 1
            expect = "name" if open_brackets[-1] == "{" else "value"
            continue
        closes = letter in "}]" and open_brackets and open_brackets[-1] == "{["["}]".index(letter)]
        if closes and expect in ("after", "first name", "first value"):
            open_brackets.pop()
            expect = "after"
            yield Token(letter, position, position + 1)
            position += 1
            continue
        if expect == "after":
            raise tokens.syntax_error(
                f"Unexpected character ({_shown(letter)}): was expecting comma to separate "
                f"{'Object' if open_brackets[-1] == '{' else 'Array'} entries",
                position,
            )
        if "name" in expect:
            token = _string(text, position, tokens)
            if token is None:
                raise tokens.syntax_error(
                    f"Unexpected character ({_shown(letter)}): was expecting double-quote to "
                    "start field name",
                    position,
                )
            position = _SPACE.match(text, token.end).end()  # type: ignore[union-attr]
            if text[position : position + 1] != ":":
                raise tokens.syntax_error(
                    f"Unexpected character ({_shown(text[position : position + 1])}): was "
                    "expecting a colon to separate field name and value",
                    position,
                )
            yield Token("field", token.start, token.end, token.value, read=True)
            position += 1
            expect = "value"
            continue
        token = _value(text, position, tokens)
        position = token.end
        if token.kind in "{[":
            open_brackets.append(token.kind)
            expect = "first name" if token.kind == "{" else "first value"
        else:
            expect = "after"
        yield token


def _value(text: str, position: int, tokens: Tokens) -> Token:
    letter = text[position]
    if letter in "{[":
        return Token(letter, position, position + 1)
    if (token := _string(text, position, tokens)) is not None:
        return token
    if number := _NUMBER.match(text, position):
        return Token("number", position, number.end(), json.loads(number.group()))
    if word := _WORD.match(text, position):
        if word.group() in _WORDS:
            return Token("word", position, word.end(), _WORDS[word.group()])
        raise tokens.syntax_error(
            f"Unrecognized token '{word.group()}': was expecting (JSON String, Number, Array, "
            "Object or token 'null', 'true' or 'false')",
            word.end(),
        )
    raise tokens.syntax_error(
        f"Unexpected character ({_shown(letter)}): expected a valid value (JSON String, Number, "
        "Array, Object or token 'null', 'true' or 'false')",
        position,
    )


def _string(text: str, position: int, tokens: Tokens) -> Token | None:
    if text[position] != '"':
        return None
    match = _STRING.match(text, position)
    if match is None:
        raise tokens.syntax_error(
            "Unexpected end-of-input: was expecting closing quote for a string value", len(text)
        )
    return Token("string", position, match.end(), json.loads(match.group()))


def _shown(letter: str) -> str:
    return f"'{letter}' (code {ord(letter)})" if letter else "end-of-input"

"""Wildcard patterns as IAM matches them: actions, ARNs, and strings with policy variables.

A pattern is compiled once and matched from left to right without ever going back, so that
``*****`` costs what ``*`` costs and no pattern can be made to hang.

Follows the IAM User Guide: "IAM JSON policy elements: Resource" (wildcards within the segments
of an ARN; a star that ends a segment may reach over the colon), "IAM JSON policy elements:
Condition operators" (ARN operators compare the six components one by one) and "IAM policy
elements: Variables and tags".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

# What a policy variable resolves with: a context key in lower case -> its one value, or None.
Resolve = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Variable:
    """A policy variable ``${key}`` or ``${key, 'default'}``; ``key`` is lower case."""

    key: str
    default: str | None = None


@dataclass(frozen=True)
class Wildcard:
    """A wildcard of a pattern: ``*`` or ``?``."""

    sign: str


STAR = Wildcard("*")
ONE = Wildcard("?")

Token = str | Variable | Wildcard

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_WITH_DEFAULT = re.compile(r"\s*([^,\s]+)\s*,\s*'(.*)'\s*", re.DOTALL)
_WILDCARDS = re.compile(r"\*+|\?")


def tokenize(pattern: str, *, variables: bool, wildcards: bool = True) -> list[Token]:
    """The tokens of *pattern*: literal strings, :data:`STAR`, :data:`ONE`, :class:`Variable`.

    ``${*}``, ``${?}`` and ``${$}`` stand for the characters themselves. Without ``variables``
    (policy version 2008-10-17) a ``${...}`` is plain text.
    """
    tokens: list[Token] = []
    position = 0
    if variables and "${" in pattern:
        for found in _VARIABLE.finditer(pattern):
            _add_text(tokens, pattern[position : found.start()], wildcards)
            inner = found.group(1)
            with_default = _WITH_DEFAULT.fullmatch(inner)
            if inner in ("*", "?", "$"):
                tokens.append(inner)
            elif with_default:
                tokens.append(Variable(with_default.group(1).lower(), with_default.group(2)))
            else:
                tokens.append(Variable(inner.strip().lower()))
            position = found.end()
    _add_text(tokens, pattern[position:], wildcards)
    return tokens


def _add_text(tokens: list[Token], text: str, wildcards: bool) -> None:
    position = 0
    for found in _WILDCARDS.finditer(text) if wildcards else ():
        if found.start() > position:
            tokens.append(text[position : found.start()])
        tokens.append(ONE if found.group() == "?" else STAR)
        position = found.end()
    if position < len(text):
        tokens.append(text[position:])


def substitute(tokens: Sequence[Token], resolve: Resolve) -> list[Token] | None:
    """*tokens* with every variable replaced by its value (taken literally), or None.

    None when a variable has neither a value nor a default: such a pattern matches nothing.
    """
    result: list[Token] = []
    for token in tokens:
        if isinstance(token, Variable):
            value = resolve(token.key)
            if value is None:
                value = token.default
            if value is None:
                return None
            result.append(value)
        else:
            result.append(token)
    return result


class Matcher(Protocol):
    """Something that says whether a whole text fits."""

    def matches(self, text: str) -> bool:
        """Whether the whole of *text* fits."""


class Glob:
    """Tokens without variables as a matcher whose star stands for any text at all.

    The text between two stars is a piece of fixed length. The first piece must begin the text,
    the last must end it, the others are found leftmost one after another.
    """

    __slots__ = ("pieces", "least")

    def __init__(self, tokens: Sequence[Token]) -> None:
        runs: list[list[Token]] = [[]]
        for token in tokens:
            if token is STAR:
                runs.append([])
            else:
                runs[-1].append(token)
        self.pieces = [_Piece(run) for run in runs]
        self.least = sum(piece.length for piece in self.pieces)

    def matches(self, text: str) -> bool:
        pieces, size = self.pieces, len(text)
        first, last = pieces[0], pieces[-1]
        if len(pieces) == 1:
            return size == first.length and first.at(text, 0)
        if size < self.least or not first.at(text, 0):
            return False
        end = size - last.length
        if not last.at(text, end):
            return False
        start = first.length
        for piece in pieces[1:-1]:
            found = piece.find(text, start, end)
            if found < 0:
                return False
            start = found + piece.length
        return start <= end


class _Piece:
    """Literal text and ``?`` in a row: always the same number of characters."""

    __slots__ = ("length", "text", "regex")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.length = sum(1 if token is ONE else len(token) for token in tokens)
        if ONE in tokens:
            self.text = ""
            source = "".join("." if token is ONE else re.escape(token) for token in tokens)
            self.regex = re.compile(source, re.DOTALL)
        else:
            self.text = "".join(tokens)
            self.regex = None

    def at(self, text: str, position: int) -> bool:
        if self.regex is None:
            return text.startswith(self.text, position)
        return self.regex.match(text, position) is not None

    def find(self, text: str, start: int, end: int) -> int:
        if self.regex is None:
            return text.find(self.text, start, end)
        found = self.regex.search(text, start, end)
        return found.start() if found else -1


class ResourceGlob:
    """An ARN pattern of a Resource element as a matcher.

    In the five segments before the resource part a ``?`` or a star inside a segment stays
    within it; a star that ends its segment, and every star of the resource part, matches
    anything.
    """

    __slots__ = ("matcher",)

    def __init__(self, tokens: Sequence[Token]) -> None:
        segments = split_tokens(tokens, 5)
        confined = any(
            token is ONE or (token is STAR and at < len(segment) - 1)
            for segment in segments[:5]
            for at, token in enumerate(segment)
        )
        self.matcher: Matcher = _Confined(segments) if confined else Glob(tokens)

    def matches(self, text: str) -> bool:
        return self.matcher.matches(text)


class _Confined:
    """A matcher for the rare ARN patterns with wildcards that must not cross a colon.

    Runs all ways through the pattern at once, one bit for each place in it, so that the time
    is the length of the text times the (machine) words the pattern's places need.
    """

    __slots__ = ("literal", "anything", "no_colon", "stars", "confined_stars", "accept")

    def __init__(self, segments: Sequence[Sequence[Token]]) -> None:
        self.literal: dict[str, int] = {}
        self.anything = self.no_colon = self.stars = self.confined_stars = 0
        place = 0
        for number, segment in enumerate(segments):
            if number:
                self.literal[":"] = self.literal.get(":", 0) | 1 << place
                place += 1
            for at, token in enumerate(segment):
                confined = number < 5 and (token is ONE or at < len(segment) - 1)
                if token is STAR:
                    if confined:
                        self.confined_stars |= 1 << place
                    else:
                        self.stars |= 1 << place
                elif token is ONE:
                    if confined:
                        self.no_colon |= 1 << place
                    else:
                        self.anything |= 1 << place
                    place += 1
                else:
                    for character in token:
                        self.literal[character] = self.literal.get(character, 0) | 1 << place
                        place += 1
        self.accept = 1 << place

    def matches(self, text: str) -> bool:
        places = 1
        for character in text:
            step = places & (self.literal.get(character, 0) | self.anything)
            stay = places & self.stars
            if character != ":":
                step |= places & self.no_colon
                stay |= places & self.confined_stars
            places = step << 1 | stay
            if not places:
                return False
        return bool(places & self.accept)


class ArnLike:
    """A pattern of the ARN condition operators: six components, each matched by itself."""

    __slots__ = ("components", "everything")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.everything = list(tokens) == [STAR]
        self.components = [Glob(part) for part in split_tokens(tokens, 5)]

    def matches(self, text: str) -> bool:
        if self.everything:
            return True
        parts = text.split(":", 5)
        if len(parts) != 6 or len(self.components) != 6:
            return False
        return all(glob.matches(part) for glob, part in zip(self.components, parts, strict=True))


def split_tokens(tokens: Sequence[Token], most: int) -> list[list[Token]]:
    """*tokens* cut at the colons of their literal text, at most *most* times."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if isinstance(token, str):
            pieces = token.split(":", most - len(parts) + 1) if len(parts) <= most else [token]
            for at, piece in enumerate(pieces):
                if at:
                    parts.append([])
                if piece:
                    parts[-1].append(piece)
        else:
            parts[-1].append(token)
    return parts


class Pattern:
    """A policy's pattern, compiled: ``matches(text, resolve)``.

    ``build`` makes the matcher of tokens without variables (:class:`Glob`,
    :class:`ResourceGlob`, :class:`ArnLike`). Without variables it runs once; with variables,
    at each match, since their values differ from request to request.
    """

    __slots__ = ("source", "tokens", "build", "matcher")

    def __init__(
        self,
        source: str,
        build: Callable[[Sequence[Token]], Matcher] = Glob,
        *,
        variables: bool = True,
        wildcards: bool = True,
    ) -> None:
        self.source = source
        self.tokens = tokenize(source, variables=variables, wildcards=wildcards)
        self.build = build
        varying = any(isinstance(token, Variable) for token in self.tokens)
        self.matcher = None if varying else build(self.tokens)

    def matches(self, text: str, resolve: Resolve) -> bool:
        """Whether *text* fits, with the pattern's variables as *resolve* gives them."""
        if self.matcher is not None:
            return self.matcher.matches(text)
        tokens = substitute(self.tokens, resolve)
        return tokens is not None and self.build(tokens).matches(text)

    @property
    def variables(self) -> list[str]:
        """The context keys (lower case) that the pattern's variables name."""
        return [token.key for token in self.tokens if isinstance(token, Variable)]


def resource_pattern(source: str, *, variables: bool) -> Pattern:
    """The pattern of one entry of a Resource or NotResource element.

    A variable counts in the resource part alone (after the fifth colon); before it, the
    pattern matches nothing, as the guide's "Variables and tags" page says.
    """
    if source == "*":
        return Pattern(source, Glob, variables=False)
    pattern = Pattern(source, ResourceGlob, variables=variables)
    if pattern.matcher is None:
        head = split_tokens(pattern.tokens, 5)[:5]
        if any(isinstance(token, Variable) for part in head for token in part):
            pattern.matcher = _Never()
    return pattern


class _Never:
    def matches(self, text: str) -> bool:
        return False

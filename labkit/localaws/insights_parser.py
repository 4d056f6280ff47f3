"""The query language of Logs Insights: from text to commands that can be run.

Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax". What can't be
read raises :class:`BadQuery` with the place, as MalformedQueryException tells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from labkit.localaws.insights_functions import (
    AGGREGATES,
    SCALARS,
    Aggregate,
    duration_ms,
    floor_time,
)
from labkit.localaws.insights_values import Record, number, sort_key, text

Expression = Callable[[Record], Any]

_SPACE = re.compile(r"(?:\s+|#[^\n]*)+")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]+)?")
_FIELD = re.compile(r"@?`[^`]+`|@?[A-Za-z_$][\w.$@]*")
_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_REGEX = re.compile(r"/((?:[^/\\]|\\.)*)/")
_WORD = re.compile(r"[A-Za-z_]+")
_SYMBOL = re.compile(r"\S")
_RESERVED = frozenset({"and", "or", "not", "like", "in", "as", "by", "asc", "desc"})


class BadQuery(Exception):
    """A query that can't be read, and where: character offsets in the query."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.start, self.end = start, end


@dataclass
class Named:
    """An expression and the name its value goes by."""

    name: str
    value: Expression


@dataclass
class Command:
    """One command of a query, with what it needs."""

    kind: str
    columns: list[Named] = field(default_factory=list)
    by: list[Named] = field(default_factory=list)
    aggregates: list[tuple[type[Aggregate], tuple[Any, ...], Expression | None]] = field(
        default_factory=list
    )
    test: Expression | None = None
    orders: list[tuple[Expression, bool]] = field(default_factory=list)
    number: int = 0
    source: Expression | None = None
    pattern: re.Pattern[str] | None = None
    names: list[str] = field(default_factory=list)


def read_query(query: str) -> list[Command]:
    """The commands of *query*; raises BadQuery."""
    return _Parser(query).commands()


class _Parser:
    def __init__(self, query: str) -> None:
        self._text = query
        self._at = 0
        # Inside stats, functions over groups are collected here.
        self._aggregates: list[tuple[type[Aggregate], tuple[Any, ...], Expression | None]] | None
        self._aggregates = None

    # -- scanning ----------------------------------------------------------------------------

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _take(self, symbol: str) -> bool:
        self._skip()
        if self._text.startswith(symbol, self._at):
            self._at += len(symbol)
            return True
        return False

    def _word(self, *words: str) -> str | None:
        """One of *words*, stepped over, when it comes next."""
        self._skip()
        match = _WORD.match(self._text, self._at)
        if match is None or match.group(0).lower() not in words:
            return None
        self._at = match.end()
        return match.group(0).lower()

    def _fail(self) -> NoReturn:
        self._skip()
        start = self._at
        if start >= len(self._text):
            raise BadQuery("unexpected end of query", start, start)
        match = (
            _STRING.match(self._text, start)
            or _FIELD.match(self._text, start)
            or _NUMBER.match(self._text, start)
            or _SYMBOL.match(self._text, start)
        )
        assert match is not None
        line = self._text.count("\n", 0, start) + 1
        place = start - (self._text.rfind("\n", 0, start) + 1)
        raise BadQuery(
            f"unexpected symbol found {match.group(0)} at line {line} and position {place}",
            start,
            match.end(),
        )

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            self._fail()

    # -- commands ----------------------------------------------------------------------------

    def commands(self) -> list[Command]:
        """All commands between the bars."""
        commands: list[Command] = []
        self._skip()
        while self._at < len(self._text):
            if self._take("|"):
                self._skip()
                continue
            commands.append(self._command())
            self._skip()
            if self._at < len(self._text) and not self._text.startswith("|", self._at):
                self._fail()
        return commands

    def _command(self) -> Command:
        readers: dict[str, Callable[[str], Command]] = {
            "fields": self._columns,
            "display": self._columns,
            "unmask": self._columns,
            "filter": self._filter,
            "filterindex": self._filter,
            "where": self._filter,
            "stats": self._stats,
            "sort": self._sort,
            "limit": self._limit,
            "head": self._limit,
            "tail": self._limit,
            "parse": self._parse,
            "dedup": self._dedup,
            "pattern": self._pattern,
            "unnest": self._unnest,
        }
        word = self._word(*readers)
        if word is None:
            self._fail()
        return readers[word](word)

    def _columns(self, word: str) -> Command:
        return Command("display" if word == "display" else "fields", columns=self._named_list())

    def _named_list(self) -> list[Named]:
        named = [self._named()]
        while self._take(","):
            named.append(self._named())
        return named

    def _named(self) -> Named:
        self._skip()
        start = self._at
        value = self._either()
        name = self._text[start : self._at].strip().replace("`", "")
        if self._word("as"):
            name = self._name()
        return Named(name, value)

    def _name(self) -> str:
        match = self._match(_FIELD)
        if match is None:
            self._fail()
        return match.group(0).replace("`", "")

    def _filter(self, word: str) -> Command:
        return Command("filter", test=self._either())

    def _stats(self, word: str) -> Command:
        self._aggregates = []
        columns = self._named_list()
        aggregates, self._aggregates = self._aggregates, None
        by = self._named_list() if self._word("by") else []
        return Command("stats", columns=columns, by=by, aggregates=aggregates)

    def _sort(self, word: str) -> Command:
        self._word("by")
        orders = []
        while True:
            value = self._either()
            orders.append((value, self._word("asc", "desc") == "desc"))
            if not self._take(","):
                return Command("sort", orders=orders)

    def _limit(self, word: str) -> Command:
        match = self._match(_NUMBER)
        if match is None or match.group(2) or "." in match.group(1):
            self._fail()
        return Command("limit", number=int(match.group(1)))

    def _parse(self, word: str) -> Command:
        source: Expression | None = None
        if self._text[self._at :].lstrip()[:1] not in "\"'/":
            source = self._primary()
        regex = self._match(_REGEX)
        if regex is not None:
            pattern = self._compiled(regex)
            names = list(pattern.groupindex)
            if self._word("as"):
                names = self._name_list()
            if not names:
                self._fail()
            return Command("parse", source=source, pattern=pattern, names=names)
        glob = self._match(_STRING)
        if glob is None:
            self._fail()
        parts = _unquoted(glob).split("*")
        pattern = re.compile("(.*?)".join(re.escape(part) for part in parts), re.DOTALL)
        if len(parts) > 1 and parts[-1] == "":
            # The last asterisk takes the rest.
            pattern = re.compile(pattern.pattern[: -len("(.*?)")] + "(.*)", re.DOTALL)
        if not self._word("as"):
            self._fail()
        start = self._at
        names = self._name_list()
        if len(names) != len(parts) - 1:
            raise BadQuery(
                "the number of fields does not match the number of asterisks", start, self._at
            )
        return Command("parse", source=source, pattern=pattern, names=names)

    def _name_list(self) -> list[str]:
        names = [self._name()]
        while self._take(","):
            names.append(self._name())
        return names

    def _compiled(self, match: re.Match[str]) -> re.Pattern[str]:
        # Java writes named groups without the P.
        source = re.sub(r"\(\?<(?![=!])", "(?P<", match.group(1).replace("\\/", "/"))
        try:
            return re.compile(source)
        except re.error as problem:
            raise BadQuery(
                f"invalid regular expression: {problem}", match.start(), match.end()
            ) from problem

    def _dedup(self, word: str) -> Command:
        return Command("dedup", columns=self._named_list())

    def _pattern(self, word: str) -> Command:
        return Command("pattern", source=self._primary())

    def _unnest(self, word: str) -> Command:
        source = self._primary()
        if not self._word("into"):
            self._fail()
        return Command("unnest", source=source, names=[self._name()])

    # -- expressions -------------------------------------------------------------------------

    def _either(self) -> Expression:
        left = self._both()
        while self._word("or") or self._take("||"):
            left = _or(left, self._both())
        return left

    def _both(self) -> Expression:
        left = self._negated()
        while self._word("and") or self._take("&&"):
            left = _and(left, self._negated())
        return left

    def _negated(self) -> Expression:
        if self._word("not"):
            inner = self._negated()
            return lambda record: not inner(record)
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._sum()
        negative = False
        self._skip()
        start = self._at
        if self._word("not"):
            negative = True
        if self._word("like") or self._take("=~"):
            found = _like(left, self._likeness())
            return _not(found) if negative else found
        if self._word("in"):
            self._expect("[")
            values = [self._sum()]
            while self._take(","):
                values.append(self._sum())
            self._expect("]")
            found = _among(left, values)
            return _not(found) if negative else found
        if negative:
            self._at = start
            return left
        for sign in ("!=", "<=", ">=", "==", "=", "<", ">"):
            if self._take(sign):
                return _compared(sign, left, self._sum())
        return left

    def _likeness(self) -> Callable[[str], bool]:
        regex = self._match(_REGEX)
        if regex is not None:
            pattern = self._compiled(regex)
            return lambda value: pattern.search(value) is not None
        quoted = self._match(_STRING)
        if quoted is None:
            self._fail()
        part = _unquoted(quoted)
        return lambda value: part in value

    def _sum(self) -> Expression:
        left = self._product()
        while True:
            if self._take("+"):
                left = _arithmetic("+", left, self._product())
            elif self._take("-"):
                left = _arithmetic("-", left, self._product())
            else:
                return left

    def _product(self) -> Expression:
        left = self._power()
        while True:
            sign = next((each for each in "*/%" if self._take(each)), None)
            if sign is None:
                return left
            left = _arithmetic(sign, left, self._power())

    def _power(self) -> Expression:
        base = self._unary()
        return _arithmetic("^", base, self._power()) if self._take("^") else base

    def _unary(self) -> Expression:
        if self._take("-"):
            inner = self._unary()
            return _arithmetic("-", lambda record: 0, inner)
        return self._primary()

    def _primary(self) -> Expression:
        if self._take("("):
            inner = self._either()
            self._expect(")")
            return inner
        quoted = self._match(_STRING)
        if quoted is not None:
            constant: Any = _unquoted(quoted)
            return lambda record: constant
        digits = self._match(_NUMBER)
        if digits is not None:
            return self._constant(digits)
        start = self._at
        match = self._match(_FIELD)
        if match is None or match.group(0).lower() in _RESERVED:
            self._at = start
            self._fail()
        name = match.group(0)
        if self._text.startswith("(", self._at):
            return self._call(name, match.start())
        if name.lower() in ("true", "false"):
            truth = name.lower() == "true"
            return lambda record: truth
        plain = name.replace("`", "")
        if plain.lower() == "null":
            return lambda record: None
        return lambda record: record.get(plain)

    def _constant(self, match: re.Match[str]) -> Expression:
        amount, unit = match.groups()
        if unit:
            period = duration_ms(amount, unit)
            if period is None:
                self._at = match.start()
                self._fail()
            return lambda record: period
        value = float(amount) if "." in amount else int(amount)
        return lambda record: value

    def _call(self, name: str, start: int) -> Expression:
        low = name.lower()
        self._expect("(")
        if low in AGGREGATES:
            if self._aggregates is not None:
                return self._aggregate(low)
            return self._computed(start)
        arguments: list[Expression] = []
        if not self._take(")"):
            arguments.append(self._either())
            while self._take(","):
                arguments.append(self._either())
            self._expect(")")
        if low == "bin":
            if not 1 <= len(arguments) <= 2:
                self._at = start
                self._fail()
            period = arguments[-1]
            moment = arguments[0] if len(arguments) == 2 else _timestamp
            return _or_column(
                self._text[start : self._at],
                lambda record: floor_time(moment(record), period(record)),
            )
        known = SCALARS.get(low)
        if known is None or not known[0] <= len(arguments) <= known[1]:
            self._at = start
            self._fail()
        function = known[2]
        return _or_column(
            self._text[start : self._at],
            lambda record: function(*(argument(record) for argument in arguments)),
        )

    def _computed(self, start: int) -> Expression:
        """A function over groups outside of stats: the column that stats made of it."""
        depth = 1
        while depth and self._at < len(self._text):
            depth += {"(": 1, ")": -1}.get(self._text[self._at], 0)
            self._at += 1
        if depth:
            self._fail()
        name = self._text[start : self._at]
        return lambda record: record.values.get(name)

    def _aggregate(self, name: str) -> Expression:
        assert self._aggregates is not None
        outer, self._aggregates = self._aggregates, None
        value: Expression | None = None
        parameters: list[Any] = []
        if self._take("*"):
            self._expect(")")
        elif not self._take(")"):
            value = self._either()
            while self._take(","):
                parameters.append(self._either()(Record(None)))
            self._expect(")")
        elif name != "count":
            self._at -= 1
            self._fail()
        self._aggregates = outer
        place = len(outer)
        outer.append((AGGREGATES[name], tuple(parameters), value))
        # The row of a group holds its results under their place.
        return lambda record: record.values[f"#{place}"]


def _or_column(name: str, compute: Expression) -> Expression:
    """What an earlier command computed under this very text, or else the computation."""
    return lambda record: record.values[name] if name in record.values else compute(record)


def _timestamp(record: Record) -> Any:
    return record.get("@timestamp")


def _unquoted(match: re.Match[str]) -> str:
    inside = match.group(1) if match.group(1) is not None else match.group(2)
    return re.sub(r"\\([\"'\\/])", r"\1", inside)


def _or(left: Expression, right: Expression) -> Expression:
    return lambda record: bool(left(record)) or bool(right(record))


def _and(left: Expression, right: Expression) -> Expression:
    return lambda record: bool(left(record)) and bool(right(record))


def _not(inner: Expression) -> Expression:
    return lambda record: not inner(record)


def _like(value: Expression, matches: Callable[[str], bool]) -> Expression:
    def test(record: Record) -> bool:
        found = value(record)
        return found is not None and matches(text(found))

    return test


def _among(value: Expression, options: list[Expression]) -> Expression:
    tests = [_compared("=", value, option) for option in options]
    return lambda record: any(test(record) for test in tests)


def _compared(sign: str, left: Expression, right: Expression) -> Expression:
    def test(record: Record) -> bool:
        one, other = left(record), right(record)
        if sign in ("=", "=="):
            return _same(one, other)
        if sign == "!=":
            return not _same(one, other)
        if one is None or other is None:
            return False
        first, second = sort_key(one), sort_key(other)
        if first[0] != second[0]:
            return False
        return {
            "<": first < second,
            "<=": first <= second,
            ">": first > second,
            ">=": first >= second,
        }[sign]

    return test


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    first, second = number(one), number(other)
    if first is not None and second is not None:
        return first == second
    return text(one) == text(other)


def _arithmetic(sign: str, left: Expression, right: Expression) -> Expression:
    def compute(record: Record) -> float | None:
        one, other = number(left(record)), number(right(record))
        if one is None or other is None:
            return None
        try:
            if sign == "+":
                return one + other
            if sign == "-":
                return one - other
            if sign == "*":
                return one * other
            if sign == "/":
                return one / other
            if sign == "%":
                return one % other
            result = one**other
            return None if isinstance(result, complex) else result
        except (ZeroDivisionError, OverflowError):
            return None

    return compute

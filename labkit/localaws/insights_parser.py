"""The query language of Logs Insights: from text to commands that can be run.

Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from labkit.localaws.insights_expressions import (
    FIELD,
    NUMBER,
    REGEX,
    STRING,
    Aggregation,
    BadQuery,
    Expression,
    ExpressionReader,
    unquoted,
)

__all__ = ["BadQuery", "Command", "Named", "read_query"]


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
    aggregates: list[Aggregation] = field(default_factory=list)
    test: Expression | None = None
    orders: list[tuple[Expression, bool]] = field(default_factory=list)
    number: int = 0
    source: Expression | None = None
    pattern: re.Pattern[str] | None = None
    names: list[str] = field(default_factory=list)


def read_query(query: str) -> list[Command]:
    """The commands of *query*; raises BadQuery."""
    try:
        return _Parser(query).commands()
    except RecursionError as problem:
        raise BadQuery("the query is nested too deeply", 0, len(query)) from problem


class _Parser(ExpressionReader):
    # -- commands ----------------------------------------------------------------------------

    def commands(self) -> list[Command]:
        """All commands between the bars."""
        commands: list[Command] = []
        self.skip()
        while self.at < len(self.text):
            if self.take("|"):
                self.skip()
                continue
            commands.append(self._command())
            self.skip()
            if self.at < len(self.text) and not self.text.startswith("|", self.at):
                self.fail()
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
        word = self.word(*readers)
        if word is None:
            self.fail()
        return readers[word](word)

    def _columns(self, word: str) -> Command:
        return Command("display" if word == "display" else "fields", columns=self._named_list())

    def _named_list(self) -> list[Named]:
        named = [self._named()]
        while self.take(","):
            named.append(self._named())
        return named

    def _named(self) -> Named:
        self.skip()
        start = self.at
        value = self.expression()
        name = self.text[start : self.at].strip().replace("`", "")
        if self.word("as"):
            name = self._name()
        return Named(name, value)

    def _name(self) -> str:
        match = self.match(FIELD)
        if match is None:
            self.fail()
        return match.group(0).replace("`", "")

    def _filter(self, word: str) -> Command:
        return Command("filter", test=self.expression())

    def _stats(self, word: str) -> Command:
        self.aggregates = []
        columns = self._named_list()
        aggregates, self.aggregates = self.aggregates, None
        by = self._named_list() if self.word("by") else []
        return Command("stats", columns=columns, by=by, aggregates=aggregates)

    def _sort(self, word: str) -> Command:
        self.word("by")
        orders = []
        while True:
            value = self.expression()
            orders.append((value, self.word("asc", "desc") == "desc"))
            if not self.take(","):
                return Command("sort", orders=orders)

    def _limit(self, word: str) -> Command:
        match = self.match(NUMBER)
        if match is None or match.group(2) or "." in match.group(1):
            self.fail()
        return Command("limit", number=int(match.group(1)))

    def _parse(self, word: str) -> Command:
        source: Expression | None = None
        if self.text[self.at :].lstrip()[:1] not in "\"'/":
            source = self.primary()
        regex = self.match(REGEX)
        if regex is not None:
            pattern = self.compiled(regex)
            names = list(pattern.groupindex)
            if self.word("as"):
                names = self._name_list()
            if not names:
                self.fail()
            return Command("parse", source=source, pattern=pattern, names=names)
        glob = self.match(STRING)
        if glob is None:
            self.fail()
        parts = unquoted(glob).split("*")
        pattern = re.compile("(.*?)".join(re.escape(part) for part in parts), re.DOTALL)
        if len(parts) > 1 and parts[-1] == "":
            # The last asterisk takes the rest.
            pattern = re.compile(pattern.pattern[: -len("(.*?)")] + "(.*)", re.DOTALL)
        if not self.word("as"):
            self.fail()
        start = self.at
        names = self._name_list()
        if len(names) != len(parts) - 1:
            raise BadQuery(
                "the number of fields does not match the number of asterisks", start, self.at
            )
        return Command("parse", source=source, pattern=pattern, names=names)

    def _name_list(self) -> list[str]:
        names = [self._name()]
        while self.take(","):
            names.append(self._name())
        return names

    def _dedup(self, word: str) -> Command:
        return Command("dedup", columns=self._named_list())

    def _pattern(self, word: str) -> Command:
        return Command("pattern", source=self.primary())

    def _unnest(self, word: str) -> Command:
        source = self.primary()
        if not self.word("into"):
            self.fail()
        return Command("unnest", source=source, names=[self._name()])

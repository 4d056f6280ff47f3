"""Metrics Insights: SELECT statements over many metrics at once.

Amazon CloudWatch User Guide, "CloudWatch Metrics Insights query components and syntax":
``SELECT SUM(Invocations) FROM SCHEMA("AWS/Lambda", FunctionName) WHERE ... GROUP BY ...``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from labkit.localaws.metric_buckets import Bucket
from labkit.localaws.metric_math import MathError, Series
from labkit.localaws.metrics_store import Metric

_FUNCTIONS: dict[str, Callable[[Bucket], float]] = {
    "AVG": lambda bucket: bucket.total / bucket.count,
    "COUNT": lambda bucket: bucket.count,
    "MAX": lambda bucket: bucket.high,
    "MIN": lambda bucket: bucket.low,
    "SUM": lambda bucket: bucket.total,
}
_NAME = r"(?:\"([^\"]+)\"|([A-Za-z_][\w.:-]*))"
_STATEMENT = re.compile(
    rf"\s*SELECT\s+(?P<function>AVG|COUNT|MAX|MIN|SUM)\s*\(\s*(?P<metric>{_NAME})\s*\)"
    r"\s+FROM\s+(?:SCHEMA\s*\((?P<schema>[^)]*)\)|(?P<namespace>\"[^\"]+\"|[\w./#:-]+))"
    r"(?:\s+WHERE\s+(?P<where>.+?))?"
    r"(?:\s+GROUP\s+BY\s+(?P<group>.+?))?"
    r"(?:\s+ORDER\s+BY\s+(?P<order>AVG|COUNT|MAX|MIN|SUM)\s*\(\s*\)(?:\s+(?P<direction>ASC|DESC))?)?"
    r"(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(rf"\s*{_NAME}\s*(=|!=)\s*'((?:[^']|'')*)'\s*")
_MAX_SERIES = 500

# Takes a metric; answers its samples: period start to bucket.
Buckets = Callable[[Metric], dict[int, Bucket]]


@dataclass(frozen=True)
class Statement:
    """A SELECT that was read."""

    function: str
    metric: str
    namespace: str
    schema: frozenset[str] | None
    conditions: tuple[tuple[str, bool, str], ...]
    group: tuple[str, ...]
    order: str | None
    descending: bool
    limit: int

    def concerns(self, metric: Metric) -> bool:
        """Whether a metric is one of those selected."""
        if (metric.namespace, metric.name) != (self.namespace, self.metric):
            return False
        dimensions = dict(metric.dimensions)
        if self.schema is not None and dimensions.keys() != self.schema:
            return False
        if any(name not in dimensions for name in self.group):
            return False
        return all(
            (dimensions.get(name) == value) is wanted for name, wanted, value in self.conditions
        )


def is_select(expression: str) -> bool:
    """Whether an expression is a SELECT."""
    return expression.lstrip()[:7].upper().startswith("SELECT ")


def read_statement(text: str) -> Statement:
    """The statement that *text* is; raises MathError."""
    match = _STATEMENT.fullmatch(text)
    if match is None:
        raise MathError("Invalid syntax in the Metrics Insights query")
    schema: frozenset[str] | None = None
    namespace = match.group("namespace")
    if match.group("schema") is not None:
        namespace, *names = (part.strip() for part in match.group("schema").split(","))
        schema = frozenset(_plain(name) for name in names)
    return Statement(
        match.group("function").upper(),
        _plain(match.group("metric")),
        _plain(namespace),
        schema,
        _conditions(match.group("where")),
        tuple(_plain(name.strip()) for name in (match.group("group") or "").split(",") if name),
        (match.group("order") or "").upper() or None,
        (match.group("direction") or "ASC").upper() == "DESC",
        int(match.group("limit") or _MAX_SERIES),
    )


def _plain(name: str) -> str:
    return name.strip().strip('"')


def _conditions(text: str | None) -> tuple[tuple[str, bool, str], ...]:
    conditions = []
    for part in re.split(r"\s+AND\s+", text or "", flags=re.IGNORECASE):
        if not part.strip():
            continue
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise MathError("Invalid condition in the Metrics Insights query")
        quoted, plain, sign, value = match.groups()
        conditions.append((quoted or plain, sign == "=", value.replace("''", "'")))
    return tuple(conditions)


def select(text: str, metrics: Iterable[Metric], buckets: Buckets, period: int) -> list[Series]:
    """The time series a SELECT returns, one for each group, in the order asked for."""
    statement = read_statement(text)
    groups: dict[tuple[str, ...], dict[int, Bucket]] = {}
    for metric in metrics:
        if not statement.concerns(metric):
            continue
        dimensions = dict(metric.dimensions)
        merged = groups.setdefault(tuple(dimensions[name] for name in statement.group), {})
        for start, bucket in buckets(metric).items():
            if start in merged:
                merged[start].merge(bucket)
            else:
                merged[start] = bucket
    compute = _FUNCTIONS[statement.function]
    found = []
    for key, merged in groups.items():
        points = {start: compute(merged[start]) for start in sorted(merged)}
        found.append((Series(points, period, " ".join(key)), merged))
    if statement.order is not None:
        rank = _FUNCTIONS[statement.order]

        def whole(entry: tuple[Series, dict[int, Bucket]]) -> float:
            total: Bucket | None = None
            for bucket in entry[1].values():
                if total is None:
                    total = bucket.copy()
                else:
                    total.merge(bucket)
            return rank(total) if total is not None else float("-inf")

        found.sort(key=whole, reverse=statement.descending)
    return [series for series, _ in found[: statement.limit]]

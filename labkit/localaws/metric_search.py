"""Search expressions: which metrics the words of a SEARCH find.

Amazon CloudWatch User Guide, "CloudWatch search expression syntax". Words are compared as tokens:
``Order`` finds ``OrderCount``, and quotes ask for the whole name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence

from labkit.localaws.metrics_store import Metric

_SCHEMA = re.compile(r"\s*\{([^}]*)\}")
_TERM = re.compile(
    r"\s*(?:(?P<property>(?::?[A-Za-z][\w./ -]*?)|:?\"[^\"]+\")\s*=\s*)?"
    r"(?P<word>\"[^\"]*\"|[^\s()=]+)|\s*(?P<paren>[()])"
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\sA-Za-z0-9]+")


def matching_metrics(expression: str, metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics a SEARCH expression's first argument finds, at most 500."""
    schema: tuple[str, frozenset[str]] | None = None
    match = _SCHEMA.match(expression)
    if match is not None:
        names = [part.strip().strip('"') for part in match.group(1).split(",")]
        schema = names[0], frozenset(names[1:])
        expression = expression[match.end() :]
    wanted = _search_condition(expression)
    found = []
    for metric in metrics:
        if schema is not None and (
            metric.namespace != schema[0] or {name for name, _ in metric.dimensions} != schema[1]
        ):
            continue
        if wanted(metric):
            found.append(metric)
        if len(found) >= 500:
            break
    return sorted(found, key=lambda each: (each.namespace, each.name, each.dimensions))


def _search_condition(text: str) -> Callable[[Metric], bool]:
    tokens = [
        (each.group("paren") or "", each.group("property") or "", each.group("word") or "")
        for each in _TERM.finditer(text)
    ]
    at = 0

    def peek() -> tuple[str, str, str]:
        return tokens[at] if at < len(tokens) else (")", "", "")

    def either() -> Callable[[Metric], bool]:
        nonlocal at
        parts = [both()]
        while peek()[2] == "OR" and not peek()[1]:
            at += 1
            parts.append(both())
        return lambda metric: any(part(metric) for part in parts)

    def both() -> Callable[[Metric], bool]:
        nonlocal at
        parts: list[Callable[[Metric], bool]] = []
        while peek()[0] != ")" and not (peek()[2] == "OR" and not peek()[1]):
            if peek()[2] == "AND" and not peek()[1]:
                at += 1
                continue
            parts.append(one())
        return lambda metric: all(part(metric) for part in parts)

    def one() -> Callable[[Metric], bool]:
        nonlocal at
        paren, name, word = peek()
        at += 1
        if paren == "(":
            inner = either()
            at += 1
            return inner
        if word == "NOT" and not name:
            inner = one()
            return lambda metric: not inner(metric)
        return functools.partial(_term_matches, name.strip().strip('":'), word)

    return either()


def _term_matches(name: str, word: str, metric: Metric) -> bool:
    dimensions = dict(metric.dimensions)
    if name == "MetricName":
        texts: Sequence[str] = (metric.name,)
    elif name == "Namespace":
        texts = (metric.namespace,)
    elif name:
        texts = (dimensions[name],) if name in dimensions else ()
    else:
        texts = (metric.namespace, metric.name, *dimensions, *dimensions.values())
    if word.startswith('"'):
        return any(text == word.strip('"') for text in texts)
    tokens = _words(word)
    return any(_contains(_words(text), tokens) for text in texts)


def _words(text: str) -> list[str]:
    """The tokens a search compares: words, also within camel case, in lower case."""
    return [word.lower() for word in _WORDS.findall(text) if word.strip("-_./:")]


def _contains(words: list[str], wanted: list[str]) -> bool:
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))

"""Policy documents: parsing, the checks IAM makes when one is put, and where statements lie.

:func:`parse` compiles a document for :mod:`labkit.localaws.iam.evaluation` and is lenient;
:func:`check` is what a service asks before it stores one, and answers with the sentence of AWS's
``MalformedPolicyDocument``. Follows the IAM User Guide, "Grammar of the IAM JSON policy language".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from labkit.localaws.iam.conditions import Condition, Context
from labkit.localaws.iam.matching import Glob, Pattern, Resolve, resource_pattern

LATEST = "2012-10-17"
OLD = "2008-10-17"

_ACCOUNT = re.compile(r"\d{12}")
_ROOT = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):root")


@dataclass(frozen=True)
class Principals:
    """A Principal or NotPrincipal element: who it names, by kind.

    ``accounts`` are twelve-digit ids (written so, or as the ``:root`` ARN), ``arns`` the other
    AWS principals letter by letter, ``everyone`` a star.
    """

    everyone: bool = False
    accounts: frozenset[str] = frozenset()
    arns: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    federated: frozenset[str] = frozenset()
    canonical: frozenset[str] = frozenset()

    @classmethod
    def read(cls, element: Any) -> Principals:
        """The principals of an element of a document; unknown kinds name nobody."""
        if element == "*":
            return cls(everyone=True)
        if not isinstance(element, Mapping):
            return cls()
        aws = _strings(element.get("AWS"))
        accounts, arns = set(), set()
        for name in aws:
            root = _ROOT.fullmatch(name)
            if root or _ACCOUNT.fullmatch(name):
                accounts.add(root.group(1) if root else name)
            elif name != "*":
                arns.add(name)
        return cls(
            everyone="*" in aws,
            accounts=frozenset(accounts),
            arns=frozenset(arns),
            services=frozenset(name.lower() for name in _strings(element.get("Service"))),
            federated=frozenset(_strings(element.get("Federated"))),
            canonical=frozenset(_strings(element.get("CanonicalUser"))),
        )


@dataclass(eq=False)
class Statement:
    """One compiled statement; ``index`` is its place in the document, from 0."""

    index: int
    sid: str
    allow: bool
    actions: tuple[Pattern, ...] | None = None
    not_actions: tuple[Pattern, ...] | None = None
    resources: tuple[Pattern, ...] | None = None
    not_resources: tuple[Pattern, ...] | None = None
    principals: Principals | None = None
    not_principals: Principals | None = None
    conditions: tuple[Condition, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def covers_action(self, action: str) -> bool:
        """Whether the statement is about *action* (``service:Name``, lower case)."""
        if self.actions is not None:
            return any(pattern.matches(action, _nothing) for pattern in self.actions)
        if self.not_actions is not None:
            return not any(pattern.matches(action, _nothing) for pattern in self.not_actions)
        return False

    def covers_resource(self, resource: str, resolve: Resolve) -> bool:
        """Whether the statement is about *resource*; one without the element is about its own."""
        if self.resources is not None:
            return any(pattern.matches(resource, resolve) for pattern in self.resources)
        if self.not_resources is not None:
            return not any(pattern.matches(resource, resolve) for pattern in self.not_resources)
        return True

    def conditions_hold(self, context: Context) -> bool:
        """Whether every condition of the statement is met."""
        for condition in self.conditions:
            if not condition.holds(context):
                return False
        return True

    @property
    def context_keys(self) -> set[str]:
        """The condition keys (lower case) it reads, in conditions and in policy variables."""
        keys = {condition.key for condition in self.conditions}
        for condition in self.conditions:
            keys.update(condition.variables)
        for pattern in (*(self.resources or ()), *(self.not_resources or ())):
            keys.update(pattern.variables)
        return keys


def _nothing(key: str) -> None:
    return None


@dataclass(eq=False)
class Policy:
    """A compiled document; ``version`` decides whether policy variables count."""

    version: str
    statements: tuple[Statement, ...]
    text: str


@lru_cache(maxsize=4096)
def parse(text: str) -> Policy:
    """The compiled policy of a JSON document.

    What is not policy language grants nothing: a document that is not one has no statements, and
    a statement with a broken condition is dropped when it allows and, so that nothing is let in
    by a slip, applies without that condition when it denies.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Policy(LATEST, (), text)
    if not isinstance(document, Mapping):
        return Policy(LATEST, (), text)
    version = document.get("Version", OLD)
    statements = []
    for index, source in enumerate(statement_list(document)):
        if isinstance(source, Mapping):
            statement = _compile(index, source, variables=version == LATEST)
            if statement is not None:
                statements.append(statement)
    return Policy(str(version), tuple(statements), text)


def parse_document(document: str | Mapping[str, Any]) -> Policy:
    """:func:`parse` for a document that may be a mapping."""
    return parse(document if isinstance(document, str) else json.dumps(document))


def statement_list(document: Mapping[str, Any]) -> list[Any]:
    """The statements of *document*: one alone counts as a list of one."""
    statements = document.get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def _compile(index: int, source: Mapping[str, Any], *, variables: bool) -> Statement | None:
    effect = source.get("Effect")
    if effect not in ("Allow", "Deny"):
        return None
    conditions = []
    for operator, key, values in condition_entries(source):
        try:
            conditions.append(Condition(operator, key, values, variables=variables))
        except ValueError:
            if effect == "Allow":
                return None

    def patterns(name: str) -> tuple[Pattern, ...] | None:
        if name not in source:
            return None
        texts = _strings(source[name])
        if name.endswith("Action"):
            return tuple(Pattern(text.lower(), Glob, variables=False) for text in texts)
        return tuple(resource_pattern(text, variables=variables) for text in texts)

    sid = source.get("Sid")
    return Statement(
        index=index,
        sid=sid if isinstance(sid, str) else "",
        allow=effect == "Allow",
        actions=patterns("Action"),
        not_actions=patterns("NotAction"),
        resources=patterns("Resource"),
        not_resources=patterns("NotResource"),
        principals=Principals.read(source["Principal"]) if "Principal" in source else None,
        not_principals=(
            Principals.read(source["NotPrincipal"]) if "NotPrincipal" in source else None
        ),
        conditions=tuple(conditions),
        source=source,
    )


def condition_entries(source: Mapping[str, Any]) -> Iterable[tuple[str, str, list[str]]]:
    """The condition block of a statement as (operator, key, values), booleans as words."""
    block = source.get("Condition")
    if not isinstance(block, Mapping):
        return
    for operator, keys in block.items():
        if isinstance(keys, Mapping):
            for key, values in keys.items():
                yield operator, key, _scalars(values)


def _scalars(values: Any) -> list[str]:
    found = []
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, bool):
            found.append("true" if value else "false")
        elif isinstance(value, str | int | float):
            found.append(str(value))
    return found


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [entry for entry in value if isinstance(entry, str)]
    return []

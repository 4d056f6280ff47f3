"""Numbers to remember: limits, defaults and error names, each in one place with its source.

Questions, flash cards and notebooks quote a number by a placeholder, so that no two of them can
disagree: ``{n:sqs.visibility.default}`` becomes ``30 seconds``, ``{n:...:value}`` the bare
``30``, ``{n:...:old}`` what older courses still teach.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.teaching.exam_data import EXAM_FOLDER, ExamDataError, Problems, read_json

KINDS = ("limit", "default", "error", "fact")
SOURCE = re.compile(r"https://docs\.aws\.amazon\.com/\S+")
PLACEHOLDER = re.compile(r"\{n:([a-z0-9_.]+)(?::(value|old))?\}")

_REQUIRED = {
    "id": str,
    "service": str,
    "kind": str,
    "what": str,
    "value": (int, float, str),
    "source": str,
    "checked": str,
}
_OPTIONAL = {
    "unit": str,
    "shown": str,
    "old_value": (int, float, str),
    "old_unit": str,
    "note": str,
    "enforced_by": list,
    "model": dict,
}


@dataclass(frozen=True)
class Number:
    """One limit, default, error name or fact; ``str()`` is how prose writes it.

    ``old_value`` is what courses and exam banks may still say. ``enforced_by`` names the proofs
    (``sqs:default_visibility``) that see it in force. ``model`` says where AWS's own API model
    carries it: ``{"service", "shape", "bound"}``, ``{"service", "doc", "says"}`` or
    ``{"service", "error"}``.
    """

    id: str
    service: str
    kind: str
    what: str
    value: int | float | str
    unit: str
    source: str
    checked: date
    shown: str = ""
    old_value: int | float | str | None = None
    old_unit: str = ""
    note: str = ""
    enforced_by: tuple[str, ...] = ()
    model: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.shown or _in_words(self.value, self.unit)

    @property
    def old(self) -> str:
        """What older courses say, empty if the number never changed."""
        if self.old_value is None:
            return ""
        return _in_words(self.old_value, self.old_unit or self.unit)


def _in_words(value: int | float | str, unit: str) -> str:
    text = value if isinstance(value, str) else f"{value:,}"
    if value == 1 and unit.endswith("s"):
        unit = unit[:-1]
    return f"{text}{'' if unit == '%' else ' '}{unit}".strip()


@dataclass(frozen=True)
class Numbers(Mapping[str, Number]):
    """All numbers by id."""

    entries: tuple[Number, ...]

    @cached_property
    def _by_id(self) -> dict[str, Number]:
        return {number.id: number for number in self.entries}

    def __getitem__(self, number_id: str) -> Number:
        return self._by_id[number_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self.entries)

    def of(self, service: str) -> tuple[Number, ...]:
        """The numbers of one service."""
        return tuple(number for number in self.entries if number.service == service)

    def changed(self) -> tuple[Number, ...]:
        """The numbers of which older courses teach another value."""
        return tuple(number for number in self.entries if number.old_value is not None)

    def fill(self, text: str) -> str:
        """*text* with its placeholders replaced; ExamDataError for an unknown one."""

        def replacement(match: re.Match[str]) -> str:
            number = self._by_id.get(match[1])
            if number is None:
                raise ExamDataError([f"{match[0]}: there is no such number"])
            if match[2] == "value":
                return f"{number.value:,}" if isinstance(number.value, int) else str(number.value)
            if match[2] == "old":
                if not number.old:
                    raise ExamDataError([f"{match[0]}: this number has no old value"])
                return number.old
            return str(number)

        filled = PLACEHOLDER.sub(replacement, text)
        if "{n:" in filled:
            raise ExamDataError([f"a placeholder is misspelt in: {text}"])
        return filled


def mentioned(text: str) -> tuple[str, ...]:
    """The ids of the numbers that *text* quotes, in order, each once."""
    return tuple(dict.fromkeys(match[1] for match in PLACEHOLDER.finditer(text)))


def load_numbers(folder: Path = EXAM_FOLDER) -> Numbers:
    """The numbers in ``folder/numbers.json``; ExamDataError names everything that is wrong."""
    problems = Problems()
    records = read_json(folder / "numbers.json")["numbers"]
    problems.unique((record.get("id", "?") for record in records), "numbers.json")
    entries = []
    for record in records:
        where = f"number {record.get('id')}"
        if not problems.keys(record, where, required=_REQUIRED, optional=_OPTIONAL):
            continue
        problems.expect(
            PLACEHOLDER.fullmatch("{n:" + record["id"] + "}"), where, "its id cannot be quoted"
        )
        problems.expect(
            record["id"].startswith(record["service"] + "."), where, "its id has another service"
        )
        problems.expect(record["kind"] in KINDS, where, f"kind is none of {KINDS}")
        problems.expect(SOURCE.fullmatch(record["source"]), where, "source is no AWS page")
        entries.append(
            Number(
                **{
                    **record,
                    "unit": record.get("unit", ""),
                    "checked": date.fromisoformat(record["checked"]),
                    "enforced_by": tuple(record.get("enforced_by", ())),
                }
            )
        )
    problems.raise_if_any()
    return Numbers(tuple(entries))

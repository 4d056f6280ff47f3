"""Where the exam's data lies, and how its JSON files are read with errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAM_FOLDER = Path(__file__).resolve().parents[2] / "data" / "exam"


class ExamDataError(ValueError):
    """Exam data that is wrong: every problem found, one a line, each with its place."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass
class Problems:
    """A list of what is wrong, collected so that one run tells everything."""

    found: list[str] = field(default_factory=list)

    def expect(self, holds: object, where: str, what: str) -> bool:
        """Whether *holds* is true; if not, *what* is noted as wrong at *where*."""
        if not holds:
            self.found.append(f"{where}: {what}")
        return bool(holds)

    def keys(
        self,
        record: Mapping[str, Any],
        where: str,
        *,
        required: Mapping[str, type | tuple[type, ...]],
        optional: Mapping[str, type | tuple[type, ...]] | None = None,
    ) -> bool:
        """Whether *record* has the required keys, no unknown ones, and values of these types."""
        optional = optional or {}
        before = len(self.found)
        for name in sorted(required.keys() - record.keys()):
            self.found.append(f"{where}: {name!r} is missing")
        for name in sorted(record.keys() - required.keys() - optional.keys()):
            self.found.append(f"{where}: {name!r} is not a known field")
        for name, kind in {**optional, **required}.items():
            if name in record and not isinstance(record[name], kind):
                self.found.append(f"{where}: {name!r} is {record[name]!r}, not {kind}")
        return len(self.found) == before

    def unique(self, values: Iterable[str], where: str) -> None:
        """Notes every value that comes twice."""
        seen: set[str] = set()
        for value in values:
            if value in seen:
                self.found.append(f"{where}: {value!r} comes twice")
            seen.add(value)

    def raise_if_any(self) -> None:
        """Nothing, or an :class:`ExamDataError` with all that was found."""
        if self.found:
            raise ExamDataError(self.found)


def read_json(path: Path) -> Any:
    """The value in the JSON file *path*; a key given twice is an error, not the last one's win."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ExamDataError([f"{path.name}: key given twice: {', '.join(twice)}"])
        return dict(items)

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=pairs)
    except json.JSONDecodeError as wrong:
        raise ExamDataError([f"{path.name}: line {wrong.lineno}: {wrong.msg}"]) from wrong

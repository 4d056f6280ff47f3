"""Writes the exercises into their notebooks: ``python -m labkit.teaching.write [05 ...]``.

The exercise modules are the source; a notebook's section "Exercises" is made from them, and a
test proves that the two are equal. Everything else in a notebook stays as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labkit.teaching.exam_map import NOTEBOOKS
from labkit.teaching.exercises import Exercise, all_exercises

BEGIN = "## Exercises"
END = "## What the exam asks"
INTRODUCTION = (
    f"{BEGIN}\n\n"
    "Each exercise has a cell that you finish. `check` looks at what you made and says PASS, or "
    'what is missing. When you are stuck, `hint("{first}")` in a cell of its own gives one hint '
    "after another; the solution is folded below each exercise."
)
IMPORT = "from labkit.teaching import check, hint"


def section(exercises: Sequence[Exercise]) -> list[dict[str, Any]]:
    """The cells of the section "Exercises"; their ids come from the exercises' ids."""
    notebook = exercises[0].notebook
    introduction = INTRODUCTION.format(first=exercises[0].id)
    cells = [
        _markdown(f"exercises-{notebook}", introduction),
        _code(f"exercises-{notebook}-import", IMPORT),
    ]
    for exercise in exercises:
        name = f"exercise-{exercise.id.replace('.', '-')}"
        cells += [
            _markdown(f"{name}-task", _task(exercise)),
            _code(f"{name}-start", exercise.start, ["stub"]),
            _markdown(f"{name}-help", _help(exercise)),
        ]
    return cells


def with_exercises(
    cells: Sequence[dict[str, Any]], exercises: Sequence[Exercise]
) -> list[dict[str, Any]]:
    """*cells* with the section replaced; ValueError where there is none."""
    first, kept_above = _split(cells, BEGIN, above=True)
    last, kept_below = _split(cells, END, above=False)
    return [*cells[:first], *kept_above, *section(exercises), *kept_below, *cells[last + 1 :]]


def path_of(notebook: str, folder: Path = NOTEBOOKS) -> Path:
    """The notebook with this number."""
    (path,) = folder.glob(f"{notebook}-*.ipynb")
    return path


def write(numbers: Iterable[str] = ()) -> list[Path]:
    """Write the section of these notebooks, or of all that have exercises; what was changed."""
    changed = []
    for number in sorted(set(numbers) or {exercise.notebook for exercise in all_exercises()}):
        path = path_of(number)
        before = path.read_text(encoding="utf-8")
        content = json.loads(before)
        mine = [exercise for exercise in all_exercises() if exercise.notebook == number]
        content["cells"] = with_exercises(content["cells"], mine)
        after = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _split(
    cells: Sequence[dict[str, Any]], heading: str, *, above: bool
) -> tuple[int, list[dict[str, Any]]]:
    """Which cell holds *heading*, and that cell with only what stands above it, or from it on."""
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        lines = "".join(cell["source"]).split("\n")
        if heading in lines:
            at = lines.index(heading)
            text = "\n".join(lines[:at] if above else lines[at:]).strip("\n")
            return number, [{**cell, "source": _lines(text)}] if text else []
    raise ValueError(f"no cell has the heading {heading!r}")


def _task(exercise: Exercise) -> str:
    return (
        f"**{exercise.id} {exercise.title}** (difficulty {exercise.difficulty} of 3, "
        f"{exercise.minutes} minutes). {exercise.task}"
    )


def _help(exercise: Exercise) -> str:
    several = len(exercise.hints) > 1
    folded = [
        _folded(f"Hint {number}" if several else "Hint", text)
        for number, text in enumerate(exercise.hints, 1)
    ]
    solution = f"```python\n{exercise.solution}\n```"
    folded.append(_folded("Solution", "\n\n".join(filter(None, [solution, exercise.remark]))))
    return "\n".join(folded)


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _markdown(identifier: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": identifier, "metadata": {}, "source": _lines(text)}


def _code(identifier: str, text: str, tags: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": identifier,
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": [],
        "source": _lines(text),
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    for written in write(sys.argv[1:]):
        print(written.name)

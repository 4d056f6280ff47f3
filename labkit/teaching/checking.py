"""``check("05.1")`` tells whether an exercise is done, ``hint("05.1")`` gives one hint more."""

from __future__ import annotations

import html
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from labkit import session
from labkit.errors import LabError
from labkit.reading import error_code
from labkit.session import Lab
from labkit.teaching import records
from labkit.teaching.exercises import Exercise, NotYet, all_exercises, find

_PACKAGES = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Verdict:
    """What a check says about one exercise: PASS or NOT YET, and why, in one line."""

    exercise: str
    ok: bool
    text: str
    note: str = ""

    @property
    def word(self) -> str:
        """PASS or NOT YET."""
        return "PASS" if self.ok else "NOT YET"

    def __repr__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"[{'x' if self.ok else ' '}] {self.word}  {self.exercise}: {self.text}{note}"

    def _repr_html_(self) -> str:
        symbol = "&#10003;" if self.ok else "&#9675;"
        note = f"<br><em>{html.escape(self.note)}</em>" if self.note else ""
        return (
            f"<p><span aria-hidden='true'>{symbol}</span> <strong>{self.word}</strong> "
            f"{html.escape(self.exercise)}: {html.escape(self.text)}{note}</p>"
        )


@dataclass(frozen=True)
class Hint:
    """One layer of an exercise's hints."""

    exercise: str
    number: int
    of: int
    text: str

    def __repr__(self) -> str:
        return f"Hint {self.number} of {self.of} for {self.exercise}: {self.text}"

    def _repr_markdown_(self) -> str:
        return f"**Hint {self.number} of {self.of} for {self.exercise}:** {self.text}"


def check(exercise_id: str, *given: Any, lab: Lab | None = None) -> Verdict:
    """Whether the exercise is done, looking at the AWS account, or trying what was *given*.

    Never raises: whatever is unfinished or goes wrong is told as NOT YET. The result is kept for
    :func:`labkit.teaching.progress`. *lab* is the one opened last unless another is named.
    """
    exercise = find(str(exercise_id))
    if exercise is None:
        return Verdict(str(exercise_id), False, _unknown())
    ok, text = _judge(exercise, given, lab)
    # One line, whatever values it shows.
    text = textwrap.shorten(text, 600, placeholder=" ...")
    title = f"{exercise.id} {exercise.title}"
    return Verdict(title, ok, text, records.note_try(exercise.id, ok))


def hint(exercise_id: str, number: int | None = None) -> Hint:
    """The next hint for the exercise, the first one again after the last; or hint *number*."""
    exercise = find(str(exercise_id))
    if exercise is None:
        return Hint(str(exercise_id), 0, 0, _unknown())
    layers = exercise.hints
    if number is None:
        number = records.note_hint(exercise.id) % len(layers) + 1
    number = min(max(number, 1), len(layers))
    text = layers[number - 1]
    if number == len(layers):
        text += " (The last one. The solution is folded below the exercise.)"
    return Hint(exercise.id, number, len(layers), text)


def _judge(exercise: Exercise, given: Sequence[Any], lab: Lab | None) -> tuple[bool, str]:
    """Whether it is done, and the words for it."""
    if len(given) != len(exercise.wants):
        return False, f"call it as {exercise.call}."
    for name, value in zip(exercise.wants, given, strict=True):
        if value is None or value is ...:
            return False, f"{name} is still {value!r}: put your answer there."
    try:
        return True, exercise.look(lab or session.current() or session.open(quiet=True), *given)
    except NotYet as told:
        return False, str(told)
    except ClientError as error:
        where = getattr(error, "operation_name", "AWS")
        return False, f"{where} answered {error_code(error)}{_line_of(error)}"
    except LabError as problem:
        return False, str(problem)
    except Exception as problem:
        return False, f"your code raised {type(problem).__name__}: {problem}{_line_of(problem)}"


def _line_of(error: Exception) -> str:
    """Where in the learner's own code it happened, if it was there."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" in path.parts:
            continue
        if path.is_relative_to(_PACKAGES):
            return ""
        return f" (line {frame.lineno} of your cell, in {frame.name})"
    return ""


def _unknown() -> str:
    exercises = all_exercises()
    known = f"{exercises[0].id} to {exercises[-1].id}" if exercises else "none yet"
    return f'there is no such exercise; the lab has {known}, for example check("{known[:4]}").'

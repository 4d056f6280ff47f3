"""The exercises, a module per notebook: task, hints, starting cell, solution and check of each."""

from __future__ import annotations

import functools
from importlib import import_module
from pathlib import Path

from labkit.teaching.exercises.model import Exercise, NotYet, Wrong, expect

__all__ = ["Exercise", "NotYet", "Wrong", "all_exercises", "expect", "find", "skills_checked"]


@functools.cache
def all_exercises() -> tuple[Exercise, ...]:
    """Every exercise of the lab, in the order of the notebooks."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("nb[0-9][0-9].py"))
    return tuple(
        exercise for name in modules for exercise in import_module(f"{__name__}.{name}").EXERCISES
    )


def find(exercise_id: str) -> Exercise | None:
    """The exercise with this id, such as ``05.1``, or None."""
    return {exercise.id: exercise for exercise in all_exercises()}.get(exercise_id)


def skills_checked() -> dict[str, tuple[str, ...]]:
    """The exam skills each exercise checks, by its id: what the exam map wants to know."""
    return {exercise.id: exercise.skills for exercise in all_exercises()}

"""What an exercise is: everything about it in one place, its check included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class NotYet(Exception):
    """Raised by an exercise's check: what was expected, what was found, where to look."""

    def __init__(self, expected: str, found: str, look: str) -> None:
        super().__init__(f"expected {expected}; found {found}. Look at {look}.")
        self.expected = expected
        self.found = found
        self.look = look


def expect(so: object, expected: str, found: object, look: str) -> None:
    """Raise :class:`NotYet` unless *so*; *look* ends the sentence "Look at ..."."""
    if not so:
        raise NotYet(expected, str(found), look)


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong solution, and words that the answer to it must contain.

    With ``after_solution`` the code runs after the right solution and breaks what it did.
    """

    code: str
    told: str
    after_solution: bool = False


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook.

    ``start``, ``solution`` and each wrong one are whole cells that end with the call of ``check``.
    ``look`` takes the lab and whatever was given to ``check``; it returns what it found right, or
    raises :class:`NotYet`. ``scene`` returns the names that the notebook has defined by then, and
    makes the account as the notebook leaves it there. ``wants`` says what to give to ``check``.
    """

    id: str
    title: str
    task: str
    difficulty: int
    minutes: int
    skills: tuple[str, ...]
    hints: tuple[str, ...]
    start: str
    solution: str
    look: Callable[..., str]
    scene: Callable[[Any], dict[str, Any]]
    wrong: tuple[Wrong, ...]
    wants: tuple[str, ...] = ()
    remark: str = ""

    @property
    def notebook(self) -> str:
        """The number of its notebook, as ``05``."""
        return self.id.split(".")[0]

    @property
    def call(self) -> str:
        """How its check is called."""
        return f"check({', '.join([f'{self.id!r}', *self.wants])})".replace("'", '"')

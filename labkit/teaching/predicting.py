"""A prediction before a cell, compared after it: ``guess = predict("How many?", 4)``."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What somebody expects before running a cell; ``was`` compares."""

    question: str
    guess: Any

    @property
    def made(self) -> bool:
        """Whether there is a guess at all."""
        return self.guess is not None and self.guess is not ...

    def was(self, actual: Any) -> Comparison:
        """The guess beside what really happened."""
        return Comparison(self, actual)

    def __repr__(self) -> str:
        if not self.made:
            return f"{self.question} Write your guess in place of {self.guess!r}."
        return f"{self.question} You say: {self.guess}"


@dataclass(frozen=True)
class Comparison:
    """A prediction and what it turned out to be, in one line."""

    prediction: Prediction
    actual: Any

    @property
    def right(self) -> bool:
        """Whether they are the same; words may differ in case and in spaces around them."""
        if not self.prediction.made:
            return False
        try:
            return bool(_plain(self.prediction.guess) == _plain(self.actual))
        except Exception:
            # Things that cannot be compared, such as two tables, are not the same.
            return False

    def __repr__(self) -> str:
        if not self.prediction.made:
            return f"It was {self.actual}. Next time guess first: it helps to remember."
        if self.right:
            return f"[x] RIGHT: {self.actual}, as you said."
        return f"[ ] SURPRISE: you said {self.prediction.guess}, it was {self.actual}. Why?"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


def predict(question: str, guess: Any = ...) -> Prediction:
    """Keep *guess* about *question* until ``.was(actual)`` compares it with what happened."""
    return Prediction(question, guess)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().casefold()
    return list(value) if isinstance(value, tuple) else value

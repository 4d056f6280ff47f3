"""What a proof has seen: steps that can fail, each in support of an answer or against one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError


class ProofFailed(AssertionError):
    """A step of a proof was not as AWS documents it."""


@dataclass(frozen=True)
class Observation:
    """One step: what was done, what was seen, and which answers it supports or refutes.

    ``supports`` and ``refutes`` are names of options of the question.
    """

    label: str
    seen: Any
    supports: tuple[str, ...] = ()
    refutes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.label}: {self.seen}"]
        if self.supports:
            parts.append(f"supports {', '.join(self.supports)}")
        if self.refutes:
            parts.append(f"refutes {', '.join(self.refutes)}")
        return "; ".join(parts)


class Observations(list[Observation]):
    """The observations of one proof, in order; call it to add one."""

    def __call__(
        self, label: str, seen: Any, want: Any, *, supports: str = "", refutes: str = ""
    ) -> Any:
        """*seen*, noted under *label*; ProofFailed if it is not *want*.

        *want* is the value expected or a function that tells whether *seen* will do. *supports*
        and *refutes* name options, several apart by blanks.
        """
        holds = want(seen) if isinstance(want, Callable) else seen == want
        if not holds:
            expected = "it is otherwise" if callable(want) else f"expected {want!r}"
            raise ProofFailed(f"{label}: saw {seen!r}, {expected}")
        self.append(Observation(label, seen, tuple(supports.split()), tuple(refutes.split())))
        return seen


def error_of(call: Callable[..., Any], **params: Any) -> str:
    """The error code with which *call* fails, or ``no error``.

    Parameters that boto3 refuses before it sends anything count as ``ParamValidationError``.
    """
    return error_and_message(call, **params)[0]


def error_and_message(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """Code and message of the error with which *call* fails, or ``no error`` and nothing."""
    try:
        call(**params)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    except ParamValidationError as error:
        return "ParamValidationError", str(error)
    return "no error", ""

"""What a check found, and the report of all of them."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from labkit.display import Table
from labkit.errors import LabError
from labkit.reading import error_code
from labkit.session import Lab
from labkit.traffic import Outcome
from labkit.witness import Witness


class Finding(dict):
    """``{"name", "ok", "evidence"}``, shown as one line."""

    def __init__(self, name: str, ok: bool, evidence: str) -> None:
        super().__init__(name=name, ok=ok, evidence=evidence)

    @property
    def verdict(self) -> str:
        """PASS or FAIL."""
        return "PASS" if self["ok"] else "FAIL"

    def __repr__(self) -> str:
        return f"{self.verdict}  {self['name']}: {self['evidence']}"

    def _repr_html_(self) -> str:
        return (
            f"<p><strong>{self.verdict}</strong> {html.escape(self['name'])}: "
            f"{html.escape(self['evidence'])}</p>"
        )


Look = Callable[[Lab, Witness], tuple[bool, str]]
Check = Callable[..., Finding]


def check(name: str, among: list[Check]) -> Callable[[Look], Check]:
    """Turn a look, which returns (ok, evidence) or raises, into a check that never raises."""

    def make(look: Look) -> Check:
        @functools.wraps(look)
        def checked(lab: Lab, witness: Witness | None = None) -> Finding:
            try:
                ok, evidence = look(lab, witness or Witness(lab))
            except ClientError as error:
                where = getattr(error, "operation_name", "")
                return Finding(name, False, f"{where} answered {error_code(error)}")
            except LabError as problem:
                return Finding(name, False, str(problem))
            except Exception as problem:
                return Finding(name, False, f"{type(problem).__name__}: {problem}")
            return Finding(name, bool(ok), evidence)

        among.append(checked)
        return checked

    return make


@dataclass
class Report:
    """What a verification found; ``ok`` when every step and confirmation holds.

    With traffic, every object of it must also have been processed or rejected.
    """

    steps: list[Finding] = field(default_factory=list)
    confirmations: list[Finding] = field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        finished = self.outcome is None or not self.outcome.unfinished
        return finished and all(found["ok"] for found in [*self.steps, *self.confirmations])

    def as_dict(self) -> dict[str, Any]:
        """The findings as plain lists, ready for JSON."""
        return {
            "ok": self.ok,
            "steps": [dict(found) for found in self.steps],
            "confirmations": [dict(found) for found in self.confirmations],
        }

    def tables(self) -> list[Table]:
        """A table of the steps and one of the confirmations."""
        return [
            Table(
                ["#", "verdict", what, "evidence"],
                [
                    [number, found.verdict, found["name"], found["evidence"]]
                    for number, found in enumerate(findings, 1)
                ],
            )
            for what, findings in (("step", self.steps), ("confirmed", self.confirmations))
        ]

    def __repr__(self) -> str:
        passed = sum(found["ok"] for found in [*self.steps, *self.confirmations])
        total = len(self.steps) + len(self.confirmations)
        summary = f"{passed} of {total} hold"
        if self.outcome is not None:
            summary += f"; {self.outcome}"
        return "\n\n".join([*map(str, self.tables()), summary])

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())

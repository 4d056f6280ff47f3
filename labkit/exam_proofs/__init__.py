"""Proofs of the question bank: plain boto3 that shows an answer right, and a tempting one wrong.

One module for each service (Lambda has several), one function for each question. A proof takes a
:class:`~labkit.exam_proofs.bench.Bench` and returns what it observed; it fails when the AWS it
runs against behaves otherwise. :func:`run` runs one by the reference that its question carries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.exam_proofs.observations import Observation, Observations, ProofFailed

if TYPE_CHECKING:
    from labkit.exam_proofs.bench import Bench
    from labkit.session import Lab

__all__ = ["Observation", "Observations", "ProofFailed", "find", "run"]


def find(reference: str) -> Callable[[Bench], list[Observation]]:
    """The proof called ``module:function``; LookupError if there is none."""
    module, _, name = reference.partition(":")
    try:
        proof = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except (ImportError, AttributeError) as missing:
        raise LookupError(f"there is no proof {reference}") from missing
    return proof


def run(reference: str, lab: Lab) -> list[Observation]:
    """What the proof called *reference* observes in *lab*'s AWS; it cleans up after itself.

    Raises :class:`~labkit.exam_proofs.observations.ProofFailed` at the first step that was not
    as expected.
    """
    from labkit.exam_proofs.bench import Bench

    proof = find(reference)
    with Bench(lab) as bench:
        return list(proof(bench))

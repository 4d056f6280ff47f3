"""The lab for AWS Certified Developer - Associate: the few names that every notebook needs.

``lab = labkit.open()`` opens it; what comes back is a :class:`labkit.session.Lab`, and every
helper takes it first: ``labkit.build(lab, through="05")``. The rooms are modules: ``pipeline``,
``orders``, ``evidence``, ``logs``, ``metrics``, ``charts``, ``cleanup``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.errors import LabError
    from labkit.pipeline import build
    from labkit.session import Lab, open

# Where each name comes from; fetched on first use, so that importing the package costs nothing.
_FROM = {
    "Lab": "labkit.session",
    "LabError": "labkit.errors",
    "build": "labkit.pipeline",
    "open": "labkit.session",
}

__all__ = ["Lab", "LabError", "build", "open"]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

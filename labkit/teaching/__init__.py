"""What makes the lab a teacher: exam map, numbers, questions, checks, practice, progress.

``from labkit.teaching import check, hint`` is what notebooks need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.teaching.checking import check, hint
    from labkit.teaching.predicting import predict
    from labkit.teaching.records import export_progress, progress, reset_progress

# Where each name comes from; fetched on first use, so that importing the package costs nothing.
_FROM = {
    "check": "labkit.teaching.checking",
    "export_progress": "labkit.teaching.records",
    "hint": "labkit.teaching.checking",
    "predict": "labkit.teaching.predicting",
    "progress": "labkit.teaching.records",
    "reset_progress": "labkit.teaching.records",
}

__all__ = ["check", "export_progress", "hint", "predict", "progress", "reset_progress"]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module 'labkit.teaching' has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

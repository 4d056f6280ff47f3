"""Waiting by looking: until something is so, as fast as this AWS can tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from labkit.display import progress
from labkit.errors import LabError

if TYPE_CHECKING:
    from labkit.session import Lab

Found = TypeVar("Found")


def until(lab: Lab, title: str, look: Callable[[], Found | None], timeout: float = 120.0) -> Found:
    """What *look* finds, as soon as it finds anything; LabError after *timeout* seconds.

    Between two looks the local AWS is asked to finish what it is doing; any other AWS is given a
    little time, longer each time.
    """
    for found in looks(lab, title, look, timeout):
        if found:
            return found
    raise LabError(f"{title}: still not so after {timeout:.0f} seconds")


def looks(lab: Lab, title: str, look: Callable[[], Found], timeout: float) -> list[Found]:
    """Like :func:`until`, but returns the last thing seen (in a list) when time is up."""
    pause = threading.Event()
    started = time.monotonic()
    # A local AWS says itself when it is done; this pause is for what it does not count as work.
    wait, longest = (0.02, 0.25) if lab.control is not None else (1.0, 5.0)
    with progress(title):
        while True:
            found = look()
            if found or time.monotonic() - started > timeout:
                return [found]
            lab.settle()
            pause.wait(wait)
            wait = min(wait * 1.5, longest)


def despite(lab: Lab, title: str, codes: set[str], act: Callable[[], Found]) -> Found:
    """The result of *act*, tried again for a while as long as AWS answers one of *codes*.

    For what AWS makes known everywhere only after seconds, such as a new role. The local AWS
    knows at once, so an error there is an error.
    """

    def attempt() -> tuple[Found] | None:
        try:
            return (act(),)
        except ClientError as error:
            if lab.control is not None or error.response["Error"]["Code"] not in codes:
                raise
            return None

    return until(lab, title, attempt)[0]

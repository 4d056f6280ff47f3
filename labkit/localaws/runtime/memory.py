"""How much memory an environment's processes hold: resident megabytes, now and at the peak.

Linux is read from /proc, which costs microseconds; elsewhere psutil is asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def descendants(pid: int) -> list[int]:
    """All processes below *pid*, itself not included."""
    if sys.platform != "linux":
        return _psutil_descendants(pid)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def children(pid: int) -> list[int]:
    """The direct children of a process, oldest first (Linux; elsewhere none)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(text) for text in file.read().split()]
    except OSError:
        return []


def _psutil_descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def resident_bytes(pids: Iterable[int]) -> int:
    """Bytes resident in *pids* together; pages that several share are counted once.

    A process that is gone counts nothing.
    """
    pids = list(pids)
    if sys.platform != "linux":
        return sum(_psutil_rss(pid) for pid in pids)
    if len(pids) == 1:
        return _statm(pids[0])
    return sum(_proportional(pid) for pid in pids)


def _statm(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """The process's share of resident memory: forks share most of theirs with the parent."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _statm(pid)


def peak_bytes(pid: int) -> int:
    """The most that one process ever had resident; 0 where the system does not say."""
    if sys.platform != "linux":
        return _psutil_rss(pid)
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _psutil_rss(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0

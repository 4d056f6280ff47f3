"""What a learner has done, kept in one file of the lab's folder, and drawn on the exam map."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.display import Table
from labkit.errors import LabError
from labkit.home import home

VERSION = 1
_WITHIN_PROCESS = threading.RLock()


class Store:
    """The file ``progress.json``: a version and, by section, what happened to each thing.

    Written whole and put in place at once; several kernels take turns at it. What a newer lab
    wrote is never overwritten; what cannot be read is set aside, with a name that says so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """All of it; an empty one when there is none yet. Raises LabError with what to do."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _empty()
        except UnicodeDecodeError:
            text = ""
        try:
            content = json.loads(text)
            sound = isinstance(content["version"], int) and isinstance(content["exercises"], dict)
            sound = sound and all(isinstance(one, dict) for one in content["exercises"].values())
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            aside = self._set_aside()
            raise LabError(
                f"The record of your progress could not be read. It was kept as {aside}, and a "
                "new one begins now."
            )
        return content

    def change(self, act: Callable[[dict[str, Any]], Any]) -> Any:
        """Let *act* change the content, and keep it; returns what *act* returns."""
        with self._alone():
            content = self.read()
            if content["version"] > VERSION:
                raise LabError(
                    "Not recorded: a newer version of the lab keeps your progress; update this one."
                )
            result = act(content)
            self._write(content)
            return result

    def reset(self) -> Path | None:
        """Begin anew; the old file is kept beside it and named, if there was one."""
        with self._alone():
            return self._set_aside("before-reset") if self.path.exists() else None

    def _write(self, content: dict[str, Any]) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".progress-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _set_aside(self, why: str = "unreadable") -> Path:
        stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        aside = self.path.with_name(f"{self.path.stem}-{why}-{stamp}{self.path.suffix}")
        os.replace(self.path, aside)
        return aside

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile: no other thread, no other kernel."""
        with _WITHIN_PROCESS, open(self.path.with_suffix(".lock"), "a+b") as file:
            _lock(file)
            try:
                yield
            finally:
                _unlock(file)


def store() -> Store:
    """The learner's own record."""
    return Store(home() / "progress.json")


def note_try(exercise_id: str, ok: bool) -> str:
    """Keep that the exercise was checked; returns a note for the learner, empty when all is well.

    What was passed once stays passed.
    """

    def act(content: dict[str, Any]) -> None:
        known = content["exercises"].setdefault(exercise_id, {})
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        known["tries"] = known.get("tries", 0) + 1
        known["last"] = now
        if ok:
            known.setdefault("passed", now)

    try:
        store().change(act)
    except LabError as problem:
        return str(problem)
    except OSError as problem:
        return f"Not recorded: {problem}"
    return ""


def note_hint(exercise_id: str) -> int:
    """How many hints were taken before this one; keeps that it was taken."""

    def act(content: dict[str, Any]) -> int:
        known = content["exercises"].setdefault(exercise_id, {})
        known["hints"] = known.get("hints", 0) + 1
        return known["hints"] - 1

    try:
        return store().change(act)
    except (LabError, OSError):
        return 0


def export_progress(path: str | Path) -> Path:
    """Write a copy of everything recorded to *path*; returns where it is."""
    path = Path(path).expanduser()
    path.write_text(json.dumps(store().read(), indent=1, sort_keys=True), encoding="utf-8")
    return path


def reset_progress() -> str:
    """Forget everything recorded; says where the old record was kept."""
    kept = store().reset()
    return f"Your progress begins anew; the old record is {kept}." if kept else "Nothing to forget."


@dataclass(frozen=True)
class Standing:
    """How far one skill of the exam map is practised: its exercises, and those passed."""

    domain: int
    skill: str
    title: str
    exercises: tuple[str, ...]
    passed: tuple[str, ...]

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""
        return len(self.passed) / len(self.exercises)

    @property
    def open(self) -> tuple[str, ...]:
        """What is left to do."""
        return tuple(one for one in self.exercises if one not in self.passed)


class Standings:
    """Where the learner stands on the exam map, weakest skill first; shows itself as tables."""

    def __init__(self, skills: list[Standing], domains: list[tuple[str, int, int]]) -> None:
        self.skills = skills
        self.domains = domains

    @property
    def next(self) -> str | None:
        """The exercise to do next: the first open one of the weakest skill."""
        return next((one for skill in self.skills for one in skill.open), None)

    @property
    def summary(self) -> str:
        """One line: how much is done, and what to do next."""
        done = {one for skill in self.skills for one in skill.passed}
        known = {one for skill in self.skills for one in skill.exercises}
        ahead = f"next: {self.next}" if self.next else "nothing is left to do"
        return f"{len(done)} of {len(known)} exercises passed; {ahead}"

    def tables(self) -> list[Table]:
        """A table of the domains and one of the skills."""
        domains = [[name, f"{done} of {known}"] for name, done, known in self.domains]
        skills = [
            [one.domain, f"{one.skill} {one.title}", f"{len(one.passed)} of {len(one.exercises)}",
             " ".join(one.open) or "all done"]
            for one in self.skills
        ]  # fmt: skip
        return [
            Table(["domain", "exercises passed"], domains),
            Table(["domain", "skill, weakest first", "passed", "still to do"], skills, wide=1),
        ]

    def __repr__(self) -> str:
        return "\n\n".join([*map(str, self.tables()), self.summary])

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables()) + f"<p>{self.summary}</p>"


def progress() -> Standings:
    """Where you stand: exercises passed by exam domain and by skill, weakest first."""
    from labkit.teaching.exam_map import load_map
    from labkit.teaching.exercises import skills_checked

    known = store().read()["exercises"]
    passed = {name for name, what in known.items() if what.get("passed")}
    exam_map = load_map(exercises=skills_checked())
    skills = [
        Standing(
            skill.domain(),
            skill.id,
            skill.title,
            skill.exercises,
            tuple(one for one in skill.exercises if one in passed),
        )
        for skill in exam_map.skills
        if skill.exercises
    ]
    domains = []
    for domain in exam_map.exam().domains:
        here = {one for skill in skills if skill.domain == domain.number for one in skill.exercises}
        name = f"{domain.number} {domain.name} ({domain.weight} %)"
        domains.append((name, len(here & passed), len(here)))
    return Standings(sorted(skills, key=lambda one: one.share), domains)


def _empty() -> dict[str, Any]:
    return {"version": VERSION, "exercises": {}}


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX)


def _unlock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_UN)

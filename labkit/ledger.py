"""What was created through the lab, written down at once so that any process can clean it up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.calls import AwsCall
from labkit.connection import LOCAL
from labkit.home import home
from labkit.kinds import created

_LOCAL_KEPT_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Entry:
    """One resource: its kind (a name in ``labkit.kinds``), what it is called, and since when."""

    kind: str
    id: str
    created: datetime


class Ledger:
    """A file of JSON lines, one per resource created or removed, for one account and endpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, kind: str, account_id: str, endpoint: str | None) -> Ledger:
        """The ledger of one AWS."""
        folder = home() / "ledger"
        folder.mkdir(exist_ok=True)
        which = hashlib.sha256((endpoint or "aws").encode()).hexdigest()[:8]
        if kind == LOCAL:
            _forget_ended(folder)
        return cls(folder / f"{kind}-{account_id}-{which}.jsonl")

    def note(self, call: AwsCall, params: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write down what *call* created, if it created anything that has to be cleaned up."""
        found = created(call.service, call.operation, params, answer)
        if found is not None:
            kind, identifier = found
            self._write({"kind": kind.name, "id": identifier, "at": time.time()})

    def gone(self, kind: str, identifier: str) -> None:
        """Write down that a resource no longer exists."""
        self._write({"kind": kind, "id": identifier, "gone": True})

    def entries(self) -> list[Entry]:
        """What was created and not yet noted as gone, oldest first."""
        entries: dict[tuple[str, str], Entry] = {}
        for line in self._lines():
            key = (line["kind"], line["id"])
            if line.get("gone"):
                entries.pop(key, None)
            elif key not in entries:
                entries[key] = Entry(*key, datetime.fromtimestamp(line["at"], UTC))
        return list(entries.values())

    def _write(self, line: dict[str, Any]) -> None:
        # One short line in one write: other processes append to the same file.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            # A line cut off by a crash must not hide the others.
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found


def _forget_ended(folder: Path) -> None:
    """Delete old ledgers of local AWSs: their resources ended with their process."""
    for path in folder.glob(f"{LOCAL}-*.jsonl"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LOCAL_KEPT_SECONDS:
                path.unlink()

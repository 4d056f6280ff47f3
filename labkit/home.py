"""Where the lab remembers things between sessions: one folder of the user's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """The lab's folder, made when missing; ``LABKIT_HOME`` names another one.

    The usual place of each system: ~/.local/share, ~/Library/Application Support, %LOCALAPPDATA%.
    """
    named = os.environ.get("LABKIT_HOME")
    if named:
        folder = Path(named)
    elif sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        folder = Path(base) / "dva-c02-lab"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support" / "dva-c02-lab"
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        folder = Path(base) / "dva-c02-lab"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder

"""The whole tree is clean by the linter, notebooks included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_linter_finds_nothing():
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    found = subprocess.run([*command, "."], cwd=root, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout

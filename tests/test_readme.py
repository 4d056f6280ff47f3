"""README.md says what is so: generated tables, commands that exist, links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from generated import ROOT, rendered

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_generated_parts_are_up_to_date():
    assert rendered(README) == README, "run: python -m tests.generated"


def test_the_two_commands_stand_on_the_first_screen():
    first = "\n".join(README.splitlines()[:30])
    assert "-m labkit lab" in first
    assert "-m pytest" in first
    assert "<!-- test-command -->" in first


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"python -m labkit (\w+)", README)) | {"lab", "status"})
)
def test_every_command_named_is_there_and_has_help(command):
    shown = subprocess.run(
        [sys.executable, "-m", "labkit", command, "--help"], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "usage" in shown.stdout


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#\s]+)\)", README):
        if not target.startswith("http"):
            assert Path(ROOT, target).exists(), target

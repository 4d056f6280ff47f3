"""The contract every notebook keeps: its parts, its budgets, its links, and what it never has."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAME = re.compile(r"\d\d-[a-z0-9]+(-[a-z0-9]+)*")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Notebook:
    """One notebook's cells, read once."""

    def __init__(self, path: Path) -> None:
        self.raw = json.loads(path.read_text(encoding="utf-8"))
        self.cells = self.raw["cells"]
        self.code = [cell for cell in self.cells if cell["cell_type"] == "code"]
        self.prose = "\n\n".join(
            source(cell) for cell in self.cells if cell["cell_type"] == "markdown"
        )


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell.get("metadata", {}).get("tags", [])


@pytest.fixture
def notebook(path):
    return Notebook(path)


def test_its_name_is_a_number_and_words(path, notebook):
    assert NAME.fullmatch(path.stem)
    first = source(notebook.cells[0])
    assert first.startswith(f"# {path.stem[:2]}. "), "the first line is its number and title"


def test_it_opens_with_what_it_is_for(path, notebook):
    head = "\n".join(source(cell) for cell in notebook.cells[:3])
    for part in ("You will be able to", "Time", "Exam skills", "Needs", "Cost in real AWS"):
        assert part in head, f"the opening does not say: {part}"
    opening = source(notebook.code[0])
    assert "import labkit" in opening and "labkit.open()" in opening


def test_it_has_a_picture_a_planned_error_exercises_and_an_ending(path, notebook):
    assert "```mermaid" in notebook.prose
    if path.stem[:2] not in ("00", "99", "90", "91"):
        assert any("raises-exception" in tags(cell) for cell in notebook.code), (
            "no planned AWS error"
        )
    assert re.search(r"^## .*Exercises", notebook.prose, re.M)
    assert re.search(r"^## What the exam asks", notebook.prose, re.M)


def test_its_cells_are_short(path, notebook):
    lengths = [
        len(source(cell).strip().splitlines()) for cell in notebook.code if "stub" not in tags(cell)
    ]
    # boto3 calls stand in full, a parameter a line: that is where a median above three comes from.
    assert 20 <= len(notebook.cells) <= 80
    assert statistics.median(lengths) <= 5
    assert sorted(lengths)[int(len(lengths) * 0.9) - 1] <= 12
    for cell in notebook.code:
        lines = source(cell).splitlines()
        assert len(lines) <= 15, f"a cell of {len(lines)} lines: {lines[0]}"
        assert all(len(line) <= 88 for line in lines), f"a long line in: {lines[0]}"


def test_prose_comes_before_code(path, notebook):
    after_prose = sum(
        before["cell_type"] == "markdown"
        for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False)
        if cell["cell_type"] == "code"
    )
    assert after_prose >= 0.85 * len(notebook.code)


def test_it_is_committed_clean(path, notebook):
    ids = [cell.get("id") for cell in notebook.cells]
    assert all(ids) and len(set(ids)) == len(ids)
    assert notebook.raw["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook.code:
        assert not cell["outputs"] or "keep_output" in tags(cell)
        assert cell["execution_count"] is None
        assert source(cell).strip(), "an empty cell"


def test_it_never_has_what_breaks_elsewhere(path, notebook):
    for cell in notebook.code:
        text = source(cell)
        for bad in (
            "import *", "pip install", "%store", "os.chdir", "time.sleep", "%run", "sys.path",
            "us-east-1", "123456789012", "AKIA", "aws_secret_access_key",
        ):
            assert bad not in text, f"{bad!r} in: {text}"
    for url in re.findall(r"https?://([^/\s)\"'>]+)", "\n".join(map(source, notebook.cells))):
        host = url.split(":")[0]
        assert host in ("docs.aws.amazon.com", "aws.amazon.com", "127.0.0.1", "json.org"), url


def test_its_links_lead_somewhere(path, notebook):
    for target in re.findall(r"\]\(([^)#\s]+)", notebook.prose):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target

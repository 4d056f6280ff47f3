"""The parts of README.md that are made from other files: ``python -m tests.generated`` rewrites them."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOMAINS = {"1": "Development", "2": "Security", "3": "Deployment", "4": "Troubleshooting"}


def notebooks_table() -> str:
    """A row for each notebook: number and title with a link, minutes, exam domains and skills."""
    rows = ["| notebook | minutes | exam domains (skills) |", "|---|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        head = "\n".join("".join(cell["source"]) for cell in cells[:3])
        title = re.search(r"^# (\d\d\. .+)$", head, re.M)
        minutes = re.search(r"(\d+) minutes", head)
        # The ids in the line of skills, not those of DVA-C03 tasks, which have two parts.
        line = next((one for one in head.splitlines() if "Exam skills" in one), "")
        skills = sorted(set(re.findall(r"\b[1-4]\.\d\.\d+\b", line)))
        domains = sorted({skill[0] for skill in skills})
        shown = ", ".join(DOMAINS[domain] for domain in domains)
        assert title and minutes, path
        rows.append(
            f"| [{title[1]}](notebooks/{path.name}) | {minutes[1]} | "
            f"{shown} ({', '.join(skills)}) |"
            if skills
            else f"| [{title[1]}](notebooks/{path.name}) | {minutes[1]} | |"
        )
    return "\n".join(rows)


def differences_table() -> str:
    """A row for each known difference from AWS."""
    rows = ["| service | in AWS | here | why |", "|---|---|---|---|"]
    for line in json.loads((ROOT / "data" / "differences.json").read_text(encoding="utf-8")):
        rows.append(f"| {line['service']} | {line['aws']} | {line['here']} | {line['why']} |")
    return "\n".join(rows)


def _literal(text: str) -> str:
    """*text* so that re.sub takes it as it is."""
    return text.replace("\\", r"\\")


PARTS = {"notebooks": notebooks_table, "differences": differences_table}


def rendered(text: str) -> str:
    """*text* with every generated part made anew."""
    for name, make in PARTS.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        assert re.search(pattern, text, re.S), f"README.md has no place for {name}"
        made = make()
        text = re.sub(pattern, rf"\g<1>{_literal(made)}\n\g<2>", text, flags=re.S)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rendered(readme.read_text(encoding="utf-8")), encoding="utf-8")

"""Pictures that a notebook draws from text: mermaid diagrams with a sentence that says the same.

JupyterLab and GitHub draw mermaid themselves; wherever nobody does, the sentence is shown.
"""

from __future__ import annotations

import html
from typing import Any


class Diagram:
    """A mermaid diagram: ``source`` is its text, ``text`` what a reader who sees none is told."""

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/vnd.mermaid": self.source, "text/plain": self.text}


def label(text: str) -> str:
    """*text* as the quoted label of a node; line ends become line breaks."""
    # Mermaid takes HTML's entities with a hash sign in front of their name.
    safe = html.escape(text, quote=False).replace('"', "#quot;")
    return '"' + safe.replace("\n", "<br/>") + '"'

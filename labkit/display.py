"""What the lab shows: tables that read well in a terminal and in a notebook, and progress.

Verdicts are words, never colours alone; HTML takes its colours from JupyterLab's theme.
"""

from __future__ import annotations

import html
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Work that takes longer than this says that it is still going on.
SILENT_SECONDS = 2.0


class Table:
    """Rows under headings; prints as aligned text and shows as HTML in a notebook.

    ``wide`` is the index of the column that is wrapped when a terminal is too narrow.
    """

    def __init__(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        caption: str = "",
        wide: int = -1,
    ) -> None:
        self.headings = list(headings)
        self.rows = [[_text(value) for value in row] for row in rows]
        self.caption = caption
        self._wide = wide % len(self.headings)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [
            max(len(part) for row in lines for part in row[column].splitlines() or [""])
            for column in range(len(self.headings))
        ]
        total = shutil.get_terminal_size((110, 24)).columns - 1
        spare = total - sum(widths) - 2 * (len(widths) - 1) + widths[self._wide]
        widths[self._wide] = max(min(widths[self._wide], spare), 24)
        shown = [self.caption] if self.caption else []
        shown += self._line(self.headings, widths)
        shown.append("  ".join("-" * width for width in widths))
        for row in self.rows:
            shown += self._line(row, widths)
        return "\n".join(shown)

    __repr__ = __str__

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        cells = []
        for column, (text, width) in enumerate(zip(row, widths, strict=True)):
            parts = text.splitlines() or [""]
            if column == self._wide:
                parts = [
                    piece
                    for part in parts
                    for piece in textwrap.wrap(part, width, break_on_hyphens=False) or [""]
                ]
            cells.append(parts)
        height = max(len(parts) for parts in cells)
        return [
            "  ".join(
                (parts[line] if line < len(parts) else "").ljust(width)
                for parts, width in zip(cells, widths, strict=True)
            ).rstrip()
            for line in range(height)
        ]

    def _repr_html_(self) -> str:
        caption = f"<caption style='text-align:left'>{html.escape(self.caption)}</caption>"
        head = "".join(f"<th scope='col' style='text-align:left'>{html.escape(h)}</th>"
                       for h in self.headings)  # fmt: skip
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{_html(value)}</td>" for value in row)
            + "</tr>"
            for row in self.rows
        )
        return (
            f"<table>{caption if self.caption else ''}<thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )


class Progress:
    """One line that says what is going on; set ``text`` whenever there is more to say."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.text = ""

    def line(self, seconds: float) -> str:
        """The line as shown after *seconds*."""
        detail = f": {self.text}" if self.text else ""
        return f"{self.title}{detail} ({seconds:.0f} s)"


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show *title* and how it goes, from the second second on; quick work stays silent."""
    shown = Progress(title)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(shown, ended), daemon=True)
    watcher.start()
    try:
        yield shown
    finally:
        ended.set()
        watcher.join()


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def say(text: str) -> None:
    """Print one line, with signs that the console does not know replaced."""
    try:
        print(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding))


def _watch(shown: Progress, ended: threading.Event) -> None:
    started = time.monotonic()
    if ended.wait(SILENT_SECONDS):
        return
    write = _notebook_line() if in_notebook() else _terminal_line()
    while True:
        write(shown.line(time.monotonic() - started), False)
        if ended.wait(1.0):
            break
    write(shown.line(time.monotonic() - started), True)


def _notebook_line() -> Any:
    from IPython.display import Pretty, display

    handle = display(Pretty(""), display_id=True)

    def write(line: str, last: bool) -> None:
        handle.update(Pretty(line))

    return write


def _terminal_line() -> Any:
    stream = sys.stderr
    live = stream.isatty()
    before = [""]

    def write(line: str, last: bool) -> None:
        if live:
            stream.write("\r" + line.ljust(len(before[0])) + ("\n" if last else ""))
        elif last or not before[0]:
            # A log file gets the first and the last line, not one a second.
            stream.write(line + "\n")
        before[0] = line
        stream.flush()

    return write


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")

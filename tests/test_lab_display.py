"""What the lab prints: tables that fit, and progress only when there is something to wait for."""

from __future__ import annotations

import threading

from labkit import display
from labkit.display import Table, progress


def test_a_table_fits_the_terminal_and_loses_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = "one " * 40 + "x" * 70
    table = Table(["#", "what", "evidence"], [[1, "a step", text], [2, None, ""]])
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join(text.split()) in "".join(str(table).split()).replace("1astep", "")
    assert lines[0].split() == ["#", "what", "evidence"]


def test_html_shows_text_and_only_text():
    shown = Table(["<b>"], [["a < b & c\nd"]], caption="<i>")._repr_html_()
    assert "&lt;b&gt;" in shown and "a &lt; b &amp; c<br>d" in shown and "<i>" not in shown
    assert "scope='col'" in shown


def test_quick_work_shows_no_progress(capsys):
    with progress("Something quick"):
        pass
    assert capsys.readouterr() == ("", "")


def test_long_work_says_what_it_does_and_for_how_long(capsys, monkeypatch):
    monkeypatch.setattr(display, "SILENT_SECONDS", 0.0)
    shown = threading.Event()

    def line(self, seconds):
        shown.set()
        return f"{self.title}: {self.text} ({seconds:.0f} s)"

    monkeypatch.setattr(display.Progress, "line", line)
    with progress("Waiting for the table") as now:
        now.text = "1 of 2"
        assert shown.wait(10)
    out, err = capsys.readouterr()
    assert out == "" and "Waiting for the table: 1 of 2 (0 s)" in err


def test_progress_ends_with_an_error_too(monkeypatch):
    before = threading.active_count()
    try:
        with progress("Failing"):
            raise ValueError
    except ValueError:
        pass
    assert threading.active_count() == before

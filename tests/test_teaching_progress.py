"""What check, hint, predict and the record of progress do when things are unusual."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from labkit import teaching
from labkit.errors import LabError
from labkit.teaching import checking, records
from labkit.teaching.exercises import all_exercises
from labkit.teaching.exercises.model import Exercise, NotYet


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    return tmp_path


def exercise(look, wants=()):
    return Exercise("05.1", "Title", "", 1, 1, (), ("one", "two"), "", "", look, dict, (), wants)


def judged(monkeypatch, look, *given, wants=()):
    monkeypatch.setattr(checking, "find", lambda _: exercise(look, wants))
    return checking.check("05.1", *given, lab=object())


def test_an_unknown_exercise_is_told_with_an_example():
    verdict = teaching.check("99.9")
    assert not verdict.ok and all_exercises()[0].id in verdict.text
    assert "no such exercise" in repr(teaching.hint("99.9"))


def test_a_right_and_a_wrong_answer_in_one_line(monkeypatch):
    assert repr(judged(monkeypatch, lambda lab: "it is so.")) == "[x] PASS  05.1 Title: it is so."

    def look(lab):
        raise NotYet("4 queues", "3", "sqs.list_queues")

    verdict = judged(monkeypatch, look)
    assert repr(verdict) == (
        "[ ] NOT YET  05.1 Title: expected 4 queues; found 3. Look at sqs.list_queues."
    )
    assert "<strong>NOT YET</strong>" in verdict._repr_html_()


@pytest.mark.parametrize("given", [None, ...])
def test_an_answer_not_given_yet(monkeypatch, given):
    verdict = judged(monkeypatch, lambda lab, total: "", given, wants=("total",))
    assert not verdict.ok and "total is still" in verdict.text
    assert 'check("05.1", total)' in judged(monkeypatch, lambda lab, x: "", wants=("total",)).text


def test_an_error_in_the_learners_function_is_told_with_its_line(monkeypatch):
    names = {}
    exec(compile("def mine(x):\n    return x / 0", "<cell>", "exec"), names)
    verdict = judged(monkeypatch, lambda lab, f: f(1), names["mine"], wants=("f",))
    assert not verdict.ok
    assert "your code raised ZeroDivisionError" in verdict.text
    assert "(line 2 of your cell, in mine)" in verdict.text


def test_markup_in_an_answer_stays_text(monkeypatch):
    def look(lab):
        raise NotYet("<b>", "<script>", "&")

    assert "<script>" not in judged(monkeypatch, look)._repr_html_()


def test_a_long_value_is_shown_in_one_line(monkeypatch):
    def look(lab):
        raise NotYet("one", "a\nb " * 500, "it")

    shown = repr(judged(monkeypatch, look))
    assert "\n" not in shown and len(shown) < 700


def test_hints_come_one_after_another_and_begin_anew():
    exercise = next(one for one in all_exercises() if len(one.hints) > 1)
    seen = [teaching.hint(exercise.id).number for _ in range(len(exercise.hints) + 1)]
    assert seen == [*range(1, len(exercise.hints) + 1), 1]
    last = repr(teaching.hint(exercise.id, len(exercise.hints)))
    assert "The last one" in last


def test_what_was_passed_once_stays_passed(own_home):
    assert records.note_try("05.1", True) == ""
    assert records.note_try("05.1", False) == ""
    known = json.loads((own_home / "progress.json").read_text())["exercises"]["05.1"]
    assert known["tries"] == 2 and known["passed"]
    assert not list(own_home.glob(".progress-*"))


def test_a_file_that_cannot_be_read_is_kept_aside_and_said_so(own_home):
    for broken in ("", "{", "[]", '{"version": 1, "exercises": []}', '{"exercises": {}}'):
        (own_home / "progress.json").write_text(broken)
        note = records.note_try("05.1", True)
        (aside,) = own_home.glob("progress-unreadable-*")
        assert aside.name in note and aside.read_text() == broken
        aside.unlink()
        assert records.note_try("05.1", True) == ""


def test_the_record_of_a_newer_lab_is_left_alone(own_home):
    text = '{"version": 99, "exercises": {}, "stars": 3}'
    (own_home / "progress.json").write_text(text)
    assert "newer" in records.note_try("05.1", True)
    assert (own_home / "progress.json").read_text() == text


def test_what_an_older_record_also_holds_is_kept(own_home):
    (own_home / "progress.json").write_text('{"version": 1, "exercises": {}, "drills": {"a": 1}}')
    records.note_try("05.1", True)
    assert json.loads((own_home / "progress.json").read_text())["drills"] == {"a": 1}


def test_threads_and_processes_take_turns(own_home):
    program = (
        "from labkit.teaching import records\n"
        "for _ in range(15): assert records.note_try('05.1', False) == ''"
    )
    others = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda: [records.note_try("05.1", False) for _ in range(15)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0]
    assert records.store().read()["exercises"]["05.1"]["tries"] == 75


def test_a_folder_that_cannot_be_written_is_a_note_and_no_error(monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(records.Store, "_write", refuse)
    verdict = judged(monkeypatch, lambda lab: "so.")
    assert verdict.ok and "Not recorded: read-only" in repr(verdict)


def test_progress_names_the_weakest_skill_first_and_what_is_next():
    first = all_exercises()[0]
    before = teaching.progress()
    assert not any(skill.passed for skill in before.skills) and before.next
    records.note_try(first.id, True)
    after = teaching.progress()
    assert [skill.share for skill in after.skills] == sorted(skill.share for skill in after.skills)
    touched = [skill for skill in after.skills if first.id in skill.passed]
    assert {skill.skill for skill in touched} == set(first.skills)
    assert after.summary.startswith(f"1 of {len(all_exercises())} exercises passed; next: ")
    assert "<table>" in after._repr_html_() and first.skills[0] in repr(after)
    for exercise in all_exercises():
        records.note_try(exercise.id, True)
    assert teaching.progress().next is None


def test_progress_can_be_exported_and_reset(tmp_path):
    records.note_try("05.1", True)
    copy = teaching.export_progress(tmp_path / "copy.json")
    assert json.loads(copy.read_text())["exercises"]["05.1"]["passed"]
    said = teaching.reset_progress()
    (kept,) = tmp_path.glob("progress-before-reset-*")
    assert kept.name in said
    assert records.store().read()["exercises"] == {}
    assert teaching.reset_progress() == "Nothing to forget."


def test_an_unreadable_record_stops_progress_with_a_sentence(own_home):
    (own_home / "progress.json").write_text("?")
    with pytest.raises(LabError, match="kept as"):
        teaching.progress()
    assert teaching.progress().next


def test_predict_compares_in_one_line():
    guess = teaching.predict("How many calls?", 16)
    assert repr(guess) == "How many calls? You say: 16"
    assert repr(guess.was(16)) == "[x] RIGHT: 16, as you said."
    assert repr(guess.was(17)) == "[ ] SURPRISE: you said 16, it was 17. Why?"
    assert teaching.predict("Where?", " Lost ").was("lost").right
    assert teaching.predict("Which?", (1, 2)).was([1, 2]).right
    empty = teaching.predict("How many?")
    assert "Write your guess" in repr(empty) and "guess first" in repr(empty.was(3))


def test_what_cannot_be_compared_is_not_the_same():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1, 2]})
    assert not teaching.predict("Which?", table).was(table).right

"""The exam map: complete, consistent, and honest about what it does not cover."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass

import pytest

from labkit.teaching.exam_data import EXAM_FOLDER, ExamDataError, Problems, read_json
from labkit.teaching.exam_map import (
    NOTEBOOKS,
    load_map,
    load_whole_map,
    skills_of_notebooks,
)

# How many skills version 2.1 of the guide lists under each task.
SKILLS_PER_TASK = dict(
    zip(
        "1.1 1.2 1.3 2.1 2.2 2.3 3.1 3.2 3.3 3.4 4.1 4.2 4.3".split(),
        (13, 7, 9, 8, 7, 6, 5, 5, 6, 11, 7, 8, 9),
        strict=True,
    )
)
NEW_IN_2_1 = (
    "1.1.11 1.1.12 1.1.13 1.2.7 1.3.9 2.1.7 2.1.8 2.3.5 2.3.6 3.1.5 3.2.5 3.3.6 3.4.11 "
    "4.1.7 4.2.7 4.2.8 4.3.6 4.3.7 4.3.8 4.3.9"
).split()


@dataclass(frozen=True)
class Asking:
    id: str
    skills: tuple[str, ...]


@pytest.fixture(scope="module")
def bare_map():
    return load_map()


def test_all_101_skills_stand_under_their_tasks_in_order(bare_map):
    numbers = [skill.id for skill in bare_map.skills]
    expected = [f"{t}.{n}" for t, count in SKILLS_PER_TASK.items() for n in range(1, count + 1)]
    assert numbers == expected
    assert len(numbers) == 101


def test_the_skills_new_in_2_1_are_marked(bare_map):
    assert [skill.id for skill in bare_map.skills if skill.new_in_2_1] == NEW_IN_2_1


@pytest.mark.parametrize(
    ("code", "weights"), [("DVA-C02", [32, 26, 24, 18]), ("DVA-C03", [30, 26, 22, 22])]
)
def test_each_exam_has_its_weights_and_format(bare_map, code, weights):
    exam = bare_map.exam(code)
    assert [domain.weight for domain in exam.domains] == weights
    assert (exam.questions, exam.scored, exam.minutes, exam.pass_score) == (65, 50, 130, 720)


def test_one_exam_ends_the_day_before_the_other_begins(bare_map):
    old, new = bare_map.exam("DVA-C02"), bare_map.exam("DVA-C03")
    assert (new.first_day - old.last_day).days == 1


@pytest.mark.parametrize(
    ("skill", "task", "change"),
    [
        ("1.1.7", "3.2", "moved"),
        ("1.2.6", "4.3", "moved"),
        ("1.3.5", "1.1", "moved"),
        ("3.4.2", "3.1", "moved"),
        ("1.3.3", "1.3", "merged"),
        ("2.3.4", "2.2", "merged"),
        ("3.3.1", "3.2", "merged"),
        ("3.4.5", "3.3", "renumbered"),
        ("2.1.5", "2.1", "same"),
    ],
)
def test_skills_know_their_place_in_the_next_exam(bare_map, skill, task, change):
    found = bare_map.skill(skill)
    assert (found.c03_task, found.c03_change) == (task, change)


def test_what_the_next_exam_adds_is_listed_with_its_new_task(bare_map):
    added = [addition for addition in bare_map.additions if addition.task == "2.3"]
    assert len(added) == 5
    assert bare_map.task("2.3", "DVA-C03").title != bare_map.task("2.3").title


def test_every_skill_is_taught_or_says_why_not():
    for skill in load_whole_map().skills:
        assert not (skill.notebooks and skill.not_taught), f"{skill.id} is taught after all"
        assert all(re.fullmatch(r"\d\d", number) for number in skill.notebooks), skill.id


def test_notebooks_say_which_skills_they_teach(tmp_path):
    box = "**Time** 5 minutes · **Exam skills** 1.3.1 keys (or so), 4.1.10 x (DVA-C03: task 1.3) · 2.1.1"
    cells = [{"cell_type": "markdown", "source": ["# Title\n", box]}]
    (tmp_path / "07-x.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert skills_of_notebooks(tmp_path) == {"07": ("1.3.1", "4.1.10")}


def test_every_notebook_of_the_lab_says_so():
    numbers = {path.name[:2] for path in NOTEBOOKS.glob("[0-8][0-9]-*.ipynb")}
    assert numbers <= set(skills_of_notebooks())


def test_titles_are_short_and_each_different(bare_map):
    titles = [skill.title for skill in bare_map.skills]
    assert len(set(titles)) == len(titles)
    assert max(map(len, titles)) <= 100


def test_questions_and_exercises_are_hung_on_their_skills():
    filled = load_map(
        questions=[Asking("q-1", ("1.1.1", "2.1.5")), Asking("q-2", ("2.1.5",))],
        exercises={"04.2": ["1.1.6"]},
        notebooks={"05": ["2.1.5"]},
    )
    assert filled.skill("2.1.5").questions == ("q-1", "q-2")
    assert filled.skill("1.1.6").exercises == ("04.2",)
    assert filled.skill("2.1.5").notebooks == ("05",)
    assert filled.skill("1.1.6").covered
    assert not load_map().skill("1.1.6").covered


def test_a_reference_to_no_skill_is_an_error_that_names_it():
    with pytest.raises(ExamDataError) as wrong:
        load_map(
            questions=[Asking("q-9", ("9.9.9",))],
            exercises={"01.1": ["1.1.99"]},
            notebooks={"01": ["8.8.8"]},
        )
    assert "notebook 01: there is no skill 8.8.8" in wrong.value.problems
    assert "question q-9: there is no skill 9.9.9" in wrong.value.problems
    assert "exercise 01.1: there is no skill 1.1.99" in wrong.value.problems


def test_coverage_adds_up_in_both_exams(bare_map):
    for code in ("DVA-C02", "DVA-C03"):
        coverage = bare_map.coverage(code)
        assert sum(part.skills for part in coverage) == 101
        for part in coverage:
            assert part.covered + len(part.gaps) == part.skills
            assert part.asked == part.checked == part.questions == 0


def test_broken_maps_are_refused(tmp_path):
    shutil.copy(EXAM_FOLDER / "map.json", tmp_path)
    raw = read_json(tmp_path / "map.json")
    raw["skills"][0]["c03_task"] = "7.7"
    del raw["skills"][1]["title"]
    raw["skills"][2]["colour"] = "green"
    raw["exams"][0]["domains"][0]["weight"] = 33
    (tmp_path / "map.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ExamDataError) as wrong:
        load_map(tmp_path)
    text = str(wrong.value)
    assert "skill 1.1.1: no such DVA-C03 task" in text
    assert "skill 1.1.2: 'title' is missing" in text
    assert "skill 1.1.3: 'colour' is not a known field" in text
    assert "exam DVA-C02: weights do not add up to 100" in text


def test_a_key_given_twice_is_an_error(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1, "a": 2}', encoding="utf-8")
    with pytest.raises(ExamDataError, match="key given twice: a"):
        read_json(tmp_path / "x.json")


def test_problems_collects_everything():
    problems = Problems()
    assert not problems.keys({"a": 1}, "here", required={"a": str, "b": int})
    problems.unique(["x", "x"], "there")
    with pytest.raises(ExamDataError) as wrong:
        problems.raise_if_any()
    assert len(wrong.value.problems) == 3

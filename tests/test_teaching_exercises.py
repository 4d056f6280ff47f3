"""Every exercise as shipped, with its solution, with wrong solutions, and broken afterwards."""

from __future__ import annotations

import ast
import functools
import json

import pytest

from labkit.teaching import checking
from labkit.teaching.exercises import all_exercises, skills_checked
from labkit.teaching.write import path_of, with_exercises

EXERCISES = all_exercises()
NOTEBOOKS = sorted({exercise.notebook for exercise in EXERCISES})

pytestmark = pytest.mark.xdist_group("lab")


class Desk:
    """A learner's notebook at an exercise: runs cells, tells what the last line showed."""

    def __init__(self, lab, exercise):
        check = functools.partial(checking.check, lab=lab)
        self.names = {**exercise.scene(lab), "check": check, "hint": checking.hint}

    def run(self, cell):
        """Run *cell* as a notebook does; the value of its last line."""
        tree = ast.parse(cell)
        last = tree.body.pop()
        assert isinstance(last, ast.Expr), "the last line shows what check says"
        exec(compile(tree, "<cell>", "exec"), self.names)
        return eval(compile(ast.Expression(last.value), "<cell>", "eval"), self.names)


@pytest.fixture(scope="module")
def built(lab):
    import labkit
    from labkit.cleanup import clean

    labkit.build(lab)
    yield lab
    # What the exercises made is no part of the pipeline that other tests count on.
    clean(lab)


by_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.id)
by_mistake = pytest.mark.parametrize(
    ("exercise", "wrong"),
    [
        pytest.param(exercise, wrong, id=f"{exercise.id}-{number}")
        for exercise in EXERCISES
        for number, wrong in enumerate(exercise.wrong)
    ],
)


@by_exercise
def test_as_shipped_it_is_not_done_yet(built, exercise):
    verdict = Desk(built, exercise).run(exercise.start)
    assert not verdict.ok and "NOT YET" in repr(verdict)
    assert "raised" not in verdict.text, "an unfinished cell is no fault"
    assert "\n" not in repr(verdict)


@by_exercise
def test_its_solution_passes_twice(built, exercise):
    desk = Desk(built, exercise)
    for _ in range(2):
        verdict = desk.run(exercise.solution)
        assert verdict.ok, verdict
        assert "\n" not in repr(verdict)


@by_mistake
def test_a_wrong_solution_fails_for_its_reason(built, exercise, wrong):
    desk = Desk(built, exercise)
    if wrong.after_solution:
        assert desk.run(exercise.solution).ok
    verdict = desk.run(wrong.code)
    assert not verdict.ok
    assert wrong.told in repr(verdict), verdict


@by_exercise
def test_it_says_everything_about_itself(exercise):
    assert exercise.difficulty in (1, 2, 3) and 1 <= exercise.minutes <= 30
    assert exercise.skills and exercise.hints and exercise.title and exercise.wrong
    cells = [exercise.start, exercise.solution, *(wrong.code for wrong in exercise.wrong)]
    assert all(cell.splitlines()[-1].endswith(exercise.call) for cell in cells), exercise.call
    for cell in (exercise.start, exercise.solution):
        assert all(len(line) <= 88 for line in cell.splitlines())
        assert "time.sleep" not in cell


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_its_notebook_shows_just_this(notebook):
    cells = json.loads(path_of(notebook).read_text(encoding="utf-8"))["cells"]
    mine = [exercise for exercise in EXERCISES if exercise.notebook == notebook]
    assert 3 <= len(mine) <= 6
    assert with_exercises(cells, mine) == cells, "run python -m labkit.teaching.write"


def test_ids_are_unique_and_skills_exist():
    from labkit.teaching.exam_map import load_map

    assert len(skills_checked()) == len(EXERCISES)
    load_map(exercises=skills_checked())


def test_s3_itself_says_which_rules_overlap(built):
    from botocore.exceptions import ClientError

    from labkit.teaching.exercises.nb04 import PAIRS

    def rule(number, prefix, suffix):
        rules = [{"Name": "prefix", "Value": prefix}, {"Name": "suffix", "Value": suffix}]
        return {
            "Id": str(number),
            "LambdaFunctionArn": built.names.function_arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": rules}},
        }

    s3, bucket = built.client("s3"), built.names.bucket
    before = s3.get_bucket_notification_configuration(Bucket=bucket)
    before.pop("ResponseMetadata")
    for *pair, refused in PAIRS:
        both = {"LambdaFunctionConfigurations": [rule(n, *one) for n, one in enumerate(pair)]}
        put = {"Bucket": bucket, "NotificationConfiguration": both}
        if refused:
            with pytest.raises(ClientError, match="overlapping|ambiguous"):
                s3.put_bucket_notification_configuration(**put)
        else:
            s3.put_bucket_notification_configuration(**put)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=before)

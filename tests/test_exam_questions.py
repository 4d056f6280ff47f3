"""The question bank: complete, well-formed, spread over the exam, and without giveaways."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from statistics import mean

import pytest

from labkit.teaching.exam_data import EXAM_FOLDER, ExamDataError, read_json
from labkit.teaching.exam_map import load_map, load_whole_map
from labkit.teaching.questions import load_questions

BANK = load_questions()
SERVICES = "lambda s3 dynamodb sns sqs kinesis iam sts cloudwatch logs".split()


def test_there_are_enough_of_them_on_every_service():
    assert len(BANK) >= 100
    assert {question.service for question in BANK} == set(SERVICES)
    assert all(len(BANK.of_service(service)) >= 6 for service in SERVICES)


def test_most_have_a_proof_and_the_others_say_why_not():
    assert sum(bool(question.proof) for question in BANK) >= 80
    for question in BANK:
        assert question.proof or len(question.no_proof) > 30, question.id


def test_they_follow_the_exams_weights_as_far_as_the_services_reach():
    weights = {domain.number: domain.weight for domain in load_map().exam("DVA-C02").domains}
    for number, weight in weights.items():
        share = 100 * len(BANK.of_domain(number)) / len(BANK)
        assert abs(share - weight) <= 9, f"domain {number}: {share:.0f} % of the questions"


def test_every_skill_they_ask_is_in_the_map():
    whole = load_whole_map()
    asked = {skill for question in BANK for skill in question.skills}
    assert asked == {skill.id for skill in whole.skills if skill.questions}
    for part in whole.coverage():
        print(part)
    print("not covered:", " ".join(skill.id for skill in whole.gaps()))


def test_right_options_are_not_told_by_their_length():
    right = mean(len(option.text) for question in BANK for option in question.right)
    wrong = mean(len(option.text) for question in BANK for option in question.wrong)
    assert right <= wrong * 1.05
    longest = sum(
        max(len(o.text) for o in q.right) > max(len(o.text) for o in q.wrong) for q in BANK
    )
    assert longest <= 0.35 * len(BANK)
    assert not [
        q.id
        for q in BANK
        if max(len(o.text) for o in q.right) > 30 + 1.3 * max(len(o.text) for o in q.wrong)
    ]


def test_explanations_of_wrong_options_are_not_poorer():
    right = mean(len(option.why) for question in BANK for option in question.right)
    wrong = mean(len(option.why) for question in BANK for option in question.wrong)
    assert wrong > 0.35 * right


def test_right_answers_are_spread_over_the_positions():
    letters = Counter(q.right[0].letter for q in BANK if q.choose == 1)
    expected = sum(letters.values()) / 4
    assert set(letters) == set("ABCD")
    assert all(0.8 * expected <= count <= 1.2 * expected for count in letters.values()), letters


def test_explanations_do_not_speak_of_letters():
    for question in BANK:
        for option in question.options:
            told = f"{option.text} {option.why}"
            assert not re.search(r"\b(option|answer) [A-F]\b", told, re.IGNORECASE), question.id


@pytest.mark.parametrize("question", BANK, ids=lambda question: question.id)
def test_a_question_reads_well(question):
    texts = [*question.stem, *(part for o in question.options for part in (o.text, o.why))]
    for text in texts:
        assert "{n:" not in text
        assert text == text.strip() and "  " not in text
    for option in question.options:
        assert option.why.endswith((".", ")", "?")), option.name
        assert len(option.why) >= 20, option.name
    assert len(" ".join(question.stem)) <= 900
    assert question.difficulty in (1, 2, 3)


def test_no_two_questions_share_a_stem():
    stems = Counter(question.stem[0] for question in BANK)
    assert max(stems.values()) == 1


def test_every_number_that_was_changed_and_is_quoted_says_so():
    lagging = [question for question in BANK if question.exam_lag]
    assert len(lagging) >= 5
    assert all(len(question.exam_lag) > 20 for question in lagging)


def test_answers_are_right_only_as_a_whole():
    several = next(question for question in BANK if question.choose == 2)
    names = [option.name for option in several.right]
    letters = [option.letter for option in several.right]
    assert several.is_right(names) and several.is_right(letters)
    assert several.is_right([letter.lower() for letter in letters])
    assert not several.is_right(names[:1])
    assert not several.is_right([*names, several.wrong[0].name])
    assert several.prompt.endswith("(Choose two.)")
    assert not next(q for q in BANK if q.choose == 1).prompt.endswith(")")


def test_the_bank_can_be_asked():
    first = BANK[0]
    assert BANK.question(first.id) is first
    assert first in BANK.of_skill(first.skills[0])
    assert set(BANK.of_skill("1.1")) >= set(BANK.of_skill("1.1.1"))
    assert not set(BANK.of_skill("1.1.1")) & {q for q in BANK if "1.1.1" not in q.skills}
    assert first.option(first.right[0].letter) == first.option(first.right[0].name)


@pytest.fixture
def folder(tmp_path):
    shutil.copy(EXAM_FOLDER / "map.json", tmp_path)
    shutil.copy(EXAM_FOLDER / "numbers.json", tmp_path)
    (tmp_path / "questions").mkdir()
    raw = read_json(EXAM_FOLDER / "questions" / "sns.json")
    return tmp_path, raw


def write(folder, raw):
    (folder / "questions" / "sns.json").write_text(json.dumps(raw), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda q: q.update(proof=""), "needs either a proof or the reason"),
        (lambda q: q.update(no_proof="for no reason"), "needs either a proof or the reason"),
        (lambda q: q.update(proof="sns.fan_out"), "its proof is not module:function"),
        (lambda q: q["options"].pop(), "is not a format of the exam"),
        (lambda q: q.update(difficulty=4), "difficulty is not 1, 2 or 3"),
        (lambda q: q.update(stem=["No question."]), "asks nothing"),
        (lambda q: q.update(sources=["https://example.com/"]), "is no AWS page"),
        (lambda q: q.update(id="sqs-01"), "its id is not service-NN"),
        (lambda q: q.update(colour="green"), "'colour' is not a known field"),
        (lambda q: q["options"][0].pop("why"), "'why' is missing"),
        (lambda q: q["options"][0].update(text="All of the above"), "speaks of the other options"),
        (lambda q: q["options"][0].update(why="{n:sns.nothing}"), "there are no numbers"),
        (lambda q: q["options"][0].update(name=q["options"][1]["name"]), "comes twice"),
    ],
)
def test_broken_questions_are_refused(folder, change, complaint):
    path, raw = folder
    change(raw["questions"][0])
    write(path, raw)
    with pytest.raises(ExamDataError, match=complaint):
        load_questions(path)


def test_an_id_given_twice_is_refused(folder):
    path, raw = folder
    raw["questions"].append(raw["questions"][0])
    write(path, raw)
    with pytest.raises(ExamDataError, match="'sns-01' comes twice"):
        load_questions(path)

"""The question bank: scenario questions in the exam's style, each option explained, most provable.

A question's prose quotes numbers by placeholder (see :mod:`labkit.teaching.numbers`); loading
fills them in. ``proof`` names code in :mod:`labkit.exam_proofs` that runs against an AWS endpoint
and shows the right answer right and a tempting one wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.teaching.exam_data import EXAM_FOLDER, Problems, read_json
from labkit.teaching.numbers import SOURCE, Numbers, load_numbers, mentioned

LETTERS = "ABCDEF"
COUNT_WORDS = {2: "two", 3: "three"}

_QUESTION = {
    "id": str,
    "skills": list,
    "difficulty": int,
    "stem": list,
    "options": list,
    "sources": list,
}
_QUESTION_OPTIONAL = {"proof": str, "no_proof": str, "exam_lag": str}
_OPTION = {"name": str, "text": str, "right": bool, "why": str}


@dataclass(frozen=True)
class Option:
    """One answer; ``name`` is what proofs call it, ``why`` says why it is right or wrong."""

    letter: str
    name: str
    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """A question as the learner sees it: placeholders filled, options in the bank's order.

    ``skills`` starts with the one the question is chiefly about; ``numbers`` are the ids its
    prose quotes; ``exam_lag`` says where an exam bank may still hold an older fact. Exactly one
    of ``proof`` (``module:function``) and ``no_proof`` (the reason) is filled.
    """

    id: str
    service: str
    skills: tuple[str, ...]
    difficulty: int
    stem: tuple[str, ...]
    options: tuple[Option, ...]
    sources: tuple[str, ...]
    numbers: tuple[str, ...]
    proof: str = ""
    no_proof: str = ""
    exam_lag: str = ""

    @property
    def right(self) -> tuple[Option, ...]:
        """The options that belong to the right answer."""
        return tuple(option for option in self.options if option.right)

    @property
    def wrong(self) -> tuple[Option, ...]:
        """The options that do not."""
        return tuple(option for option in self.options if not option.right)

    @property
    def choose(self) -> int:
        """How many options to choose."""
        return len(self.right)

    @property
    def prompt(self) -> str:
        """The scenario and the question, with the exam's hint where several must be chosen."""
        text = "\n\n".join(self.stem)
        return text if self.choose == 1 else f"{text} (Choose {COUNT_WORDS[self.choose]}.)"

    def domain(self) -> int:
        """The DVA-C02 domain of the skill it is chiefly about."""
        return int(self.skills[0].split(".")[0])

    def is_right(self, chosen: Sequence[str]) -> bool:
        """Whether *chosen* (letters or names) is exactly the right answer: no part marks."""
        by_letter = {option.letter: option.name for option in self.options}
        names = {by_letter.get(choice.upper(), choice) for choice in chosen}
        return names == {option.name for option in self.right}

    def option(self, name: str) -> Option:
        """The option with this name or letter; KeyError if there is none."""
        found = {key: option for option in self.options for key in (option.name, option.letter)}
        return found[name]


@dataclass(frozen=True)
class Bank(Sequence[Question]):
    """All questions, in order; look them up by position or with :meth:`question`."""

    questions: tuple[Question, ...]

    def __getitem__(self, position: Any) -> Any:
        return self.questions[position]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    @cached_property
    def _by_id(self) -> dict[str, Question]:
        return {question.id: question for question in self.questions}

    def question(self, question_id: str) -> Question:
        """The question with this id; KeyError if there is none."""
        return self._by_id[question_id]

    def of_domain(self, number: int) -> tuple[Question, ...]:
        """The questions chiefly about a skill of DVA-C02 domain *number*."""
        return tuple(q for q in self.questions if q.domain() == number)

    def of_skill(self, skill: str) -> tuple[Question, ...]:
        """The questions that ask this skill, or any skill of a task such as ``1.2``."""
        return tuple(
            q for q in self.questions if any(f"{s}.".startswith(f"{skill}.") for s in q.skills)
        )

    def of_service(self, service: str) -> tuple[Question, ...]:
        """The questions filed under *service*."""
        return tuple(q for q in self.questions if q.service == service)


def load_questions(folder: Path = EXAM_FOLDER, *, numbers: Numbers | None = None) -> Bank:
    """The bank in ``folder/questions/*.json``, placeholders filled from *numbers*.

    Raises :class:`~labkit.teaching.exam_data.ExamDataError` naming everything that is wrong.
    """
    numbers = numbers or load_numbers(folder)
    problems = Problems()
    found: list[Question] = []
    for path in sorted((folder / "questions").glob("*.json")):
        raw = read_json(path)
        problems.expect(raw.get("service") == path.stem, path.name, "names another service")
        for record in raw["questions"]:
            question = _question(record, path.stem, numbers, problems)
            if question is not None:
                found.append(question)
    problems.unique((question.id for question in found), "questions")
    problems.raise_if_any()
    return Bank(tuple(found))


def _question(
    record: Mapping[str, Any], service: str, numbers: Numbers, problems: Problems
) -> Question | None:
    where = f"question {record.get('id')}"
    if not problems.keys(record, where, required=_QUESTION, optional=_QUESTION_OPTIONAL):
        return None
    for number, option in enumerate(record["options"]):
        if not problems.keys(option, f"{where} option {number}", required=_OPTION):
            return None
    prose = [
        *record["stem"],
        *(part for option in record["options"] for part in (option["text"], option["why"])),
        record.get("exam_lag", ""),
    ]
    unknown = [name for text in prose for name in mentioned(text) if name not in numbers]
    if not problems.expect(not unknown, where, f"there are no numbers {', '.join(unknown)}"):
        return None
    question = Question(
        id=record["id"],
        service=service,
        skills=tuple(record["skills"]),
        difficulty=record["difficulty"],
        stem=tuple(numbers.fill(text) for text in record["stem"]),
        options=tuple(
            Option(
                letter=LETTERS[position],
                name=option["name"],
                text=numbers.fill(option["text"]),
                right=option["right"],
                why=numbers.fill(option["why"]),
            )
            for position, option in enumerate(record["options"][: len(LETTERS)])
        ),
        sources=tuple(record["sources"]),
        numbers=tuple(dict.fromkeys(name for text in prose for name in mentioned(text))),
        proof=record.get("proof", ""),
        no_proof=record.get("no_proof", ""),
        exam_lag=numbers.fill(record.get("exam_lag", "")),
    )
    _check(question, len(record["options"]), where, problems)
    return question


def _check(question: Question, options: int, where: str, problems: Problems) -> None:
    names = [option.name for option in question.options]
    texts = [option.text for option in question.options]
    problems.expect(
        re.fullmatch(rf"{question.service}-\d\d", question.id), where, "its id is not service-NN"
    )
    problems.expect(question.skills, where, "it has no skill")
    problems.unique(question.skills, f"{where} skills")
    problems.expect(question.difficulty in (1, 2, 3), where, "difficulty is not 1, 2 or 3")
    problems.expect(question.stem and question.stem[-1].endswith("?"), where, "asks nothing")
    problems.expect(
        (question.choose == 1 and options == 4)
        or (question.choose in COUNT_WORDS and options in (5, 6)),
        where,
        f"{question.choose} right of {options} is not a format of the exam",
    )
    problems.unique(names, f"{where} option names")
    problems.unique(texts, f"{where} option texts")
    for option in question.options:
        place = f"{where} option {option.name}"
        problems.expect(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", option.name), place, "bad name")
        problems.expect(len(option.name) > 1, place, "its name would be taken for a letter")
        problems.expect(option.text and option.why, place, "text or explanation is missing")
        problems.expect(
            not re.search(r"\b(all|none|both) of the above\b", option.text, re.IGNORECASE),
            place,
            "speaks of the other options",
        )
    problems.expect(question.sources, where, "it has no source")
    for source in question.sources:
        problems.expect(SOURCE.fullmatch(source), where, f"{source} is no AWS page")
    problems.expect(
        bool(question.proof) != bool(question.no_proof),
        where,
        "needs either a proof or the reason why none can run",
    )
    problems.expect(
        not question.proof or re.fullmatch(r"[a-z0-9_]+:[a-z0-9_]+", question.proof),
        where,
        "its proof is not module:function",
    )

"""The exam map: domains, tasks and skills, and where the lab teaches, checks and asks each.

Skills carry the numbers of the exam guide (version 2.1 of DVA-C02) and titles in words of ours.
Which notebooks teach a skill, which exercises check it and which questions ask it is read from
the notebooks, exercises and questions themselves: the map keeps no second copy to disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from labkit.teaching.exam_data import EXAM_FOLDER, Problems, read_json

CHANGES = ("same", "moved", "merged", "renumbered")
NOTEBOOKS = EXAM_FOLDER.parents[1] / "notebooks"


class Asks(Protocol):
    """Anything with an id that asks about skills, such as a question."""

    @property
    def id(self) -> str: ...

    @property
    def skills(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Domain:
    """A domain of one exam and its weight in percent of the scored questions."""

    number: int
    name: str
    weight: int


@dataclass(frozen=True)
class Exam:
    """One version of the exam: its dates, its format and its domains."""

    code: str
    guide_version: str | None
    first_day: date | None
    last_day: date | None
    questions: int
    scored: int
    minutes: int
    scale_min: int
    scale_max: int
    pass_score: int
    domains: tuple[Domain, ...]


@dataclass(frozen=True)
class Task:
    """A task statement of one exam, in our words; ``id`` is ``domain.task``, as ``2.1``."""

    exam: str
    id: str
    title: str

    @property
    def domain(self) -> int:
        """The number of the domain this task belongs to."""
        return int(self.id.split(".")[0])


@dataclass(frozen=True)
class Skill:
    """A skill by the guide's number, its DVA-C03 task, and where this lab deals with it.

    ``c03_change`` is ``same``, ``moved`` (to another task), ``merged`` (with others into fewer
    skills) or ``renumbered`` (the task kept its content under another number). ``not_taught``
    says why no notebook is going to teach it.
    """

    id: str
    title: str
    new_in_2_1: bool
    c03_task: str
    c03_change: str
    notebooks: tuple[str, ...] = ()
    exercises: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    not_taught: str = ""

    @property
    def task(self) -> str:
        """The id of its DVA-C02 task, as ``2.1``."""
        return self.id.rpartition(".")[0]

    def domain(self, exam: str = "DVA-C02") -> int:
        """The number of its domain in *exam*."""
        return int((self.id if exam == "DVA-C02" else self.c03_task).split(".")[0])

    @property
    def covered(self) -> bool:
        """Whether the lab deals with it at all: a notebook, an exercise or a question."""
        return bool(self.notebooks or self.exercises or self.questions)


@dataclass(frozen=True)
class Addition:
    """Something DVA-C03 asks that DVA-C02 does not; ``not_asked`` says why no question asks it."""

    id: str
    task: str
    title: str
    questions: tuple[str, ...]
    not_asked: str = ""


@dataclass(frozen=True)
class Coverage:
    """How many skills of one domain the lab teaches, checks and asks; ``gaps`` are the rest."""

    exam: str
    domain: Domain
    skills: int
    taught: int
    checked: int
    asked: int
    covered: int
    questions: int
    gaps: tuple[Skill, ...]

    @property
    def percent(self) -> int:
        """Covered skills in percent, rounded down so that 100 means all."""
        return self.covered * 100 // self.skills

    def __str__(self) -> str:
        return (
            f"{self.exam} domain {self.domain.number} {self.domain.name} "
            f"({self.domain.weight} %): {self.covered} of {self.skills} skills covered, "
            f"{self.taught} taught, {self.checked} checked, {self.asked} asked "
            f"by {self.questions} questions"
        )


@dataclass(frozen=True)
class ExamMap:
    """All of the map; look things up with the methods."""

    checked: date
    exam_page: str
    guide_pages: Mapping[str, str]
    exams: tuple[Exam, ...]
    tasks: tuple[Task, ...]
    skills: tuple[Skill, ...]
    additions: tuple[Addition, ...]

    def exam(self, code: str = "DVA-C02") -> Exam:
        """The exam called *code*; KeyError if there is none."""
        return {exam.code: exam for exam in self.exams}[code]

    def skill(self, skill_id: str) -> Skill:
        """The skill with this number; KeyError if there is none."""
        return {skill.id: skill for skill in self.skills}[skill_id]

    def task(self, task_id: str, exam: str = "DVA-C02") -> Task:
        """The task of *exam* with this number; KeyError if there is none."""
        return {(task.exam, task.id): task for task in self.tasks}[exam, task_id]

    def skills_of_domain(self, number: int, exam: str = "DVA-C02") -> tuple[Skill, ...]:
        """The skills that *exam* counts in domain *number*."""
        return tuple(skill for skill in self.skills if skill.domain(exam) == number)

    def page(self, skill: Skill) -> str:
        """The official guide's page on the skill's domain."""
        return self.guide_pages[str(skill.domain())]

    def coverage(self, exam: str = "DVA-C02") -> tuple[Coverage, ...]:
        """What the lab covers, domain by domain of *exam*."""
        return tuple(self._coverage(exam, domain) for domain in self.exam(exam).domains)

    def _coverage(self, exam: str, domain: Domain) -> Coverage:
        skills = self.skills_of_domain(domain.number, exam)
        return Coverage(
            exam=exam,
            domain=domain,
            skills=len(skills),
            taught=sum(bool(skill.notebooks) for skill in skills),
            checked=sum(bool(skill.exercises) for skill in skills),
            asked=sum(bool(skill.questions) for skill in skills),
            covered=sum(skill.covered for skill in skills),
            questions=len({question for skill in skills for question in skill.questions}),
            gaps=tuple(skill for skill in skills if not skill.covered),
        )

    def gaps(self) -> tuple[Skill, ...]:
        """The skills that no notebook, exercise or question deals with."""
        return tuple(skill for skill in self.skills if not skill.covered)


def load_map(
    folder: Path = EXAM_FOLDER,
    *,
    notebooks: Mapping[str, Iterable[str]] | None = None,
    exercises: Mapping[str, Iterable[str]] | None = None,
    questions: Iterable[Asks] = (),
) -> ExamMap:
    """The map in ``folder/map.json``, with what teaches, checks and asks hung on its skills.

    *notebooks* maps a notebook's number (``01``) to the skills it teaches, *exercises* an
    exercise's id (``04.2``) to those it checks. Raises
    :class:`~labkit.teaching.exam_data.ExamDataError` naming everything that is wrong, references
    to skills that do not exist included.
    """
    problems = Problems()
    loaded = _build(read_json(folder / "map.json"), problems)
    problems.raise_if_any()
    taught = _by_skill((notebooks or {}).items(), "notebook", loaded, problems)
    checked = _by_skill((exercises or {}).items(), "exercise", loaded, problems)
    asked = _by_skill(((q.id, q.skills) for q in questions), "question", loaded, problems)
    problems.raise_if_any()
    skills = tuple(
        replace(
            skill,
            notebooks=tuple(taught.get(skill.id, ())),
            exercises=tuple(checked.get(skill.id, ())),
            questions=tuple(asked.get(skill.id, ())),
        )
        for skill in loaded.skills
    )
    return replace(loaded, skills=skills)


def load_whole_map(exercises: Mapping[str, Iterable[str]] | None = None) -> ExamMap:
    """The map with the lab's own notebooks and questions on it, and *exercises* if given."""
    from labkit.teaching.questions import load_questions

    bank = load_questions()
    whole = load_map(notebooks=skills_of_notebooks(), exercises=exercises, questions=bank)
    known, problems = {question.id for question in bank}, Problems()
    for addition in whole.additions:
        for question in addition.questions:
            problems.expect(question in known, addition.id, f"there is no question {question}")
    problems.raise_if_any()
    return whole


def skills_of_notebooks(folder: Path = NOTEBOOKS) -> dict[str, tuple[str, ...]]:
    """The skills each notebook says it teaches, by its number.

    A notebook says so in its box: ``**Exam skills** 1.3.1 partition keys, ... (DVA-C03: ...)``.
    """
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("[0-9][0-9]-*.ipynb")):
        for cell in read_json(path)["cells"]:
            claim = re.search(
                r"\*\*Exam skills\*\*(.*?)(?:\(DVA-C03|·|$)", "".join(cell["source"]), re.M
            )
            if cell["cell_type"] == "markdown" and claim:
                found[path.name[:2]] = tuple(re.findall(r"\b\d\.\d\.\d+\b", claim[1]))
                break
    return found


def _by_skill(
    asking: Iterable[tuple[str, Iterable[str]]], kind: str, loaded: ExamMap, problems: Problems
) -> dict[str, list[str]]:
    known = {skill.id for skill in loaded.skills}
    by_skill: dict[str, list[str]] = {}
    for name, skills in asking:
        for skill in skills:
            if problems.expect(skill in known, f"{kind} {name}", f"there is no skill {skill}"):
                by_skill.setdefault(skill, []).append(name)
    return by_skill


def _build(raw: Mapping[str, Any], problems: Problems) -> ExamMap:
    return ExamMap(
        checked=date.fromisoformat(raw["checked"]),
        exam_page=raw["exam_page"],
        guide_pages=raw["guide_pages"],
        exams=tuple(_exam(record, problems) for record in raw["exams"]),
        tasks=tuple(Task(**record) for record in raw["tasks"]),
        skills=_skills(raw, problems),
        additions=_additions(raw, problems),
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _exam(record: Mapping[str, Any], problems: Problems) -> Exam:
    domains = tuple(Domain(**domain) for domain in record["domains"])
    where = f"exam {record['code']}"
    problems.expect(sum(d.weight for d in domains) == 100, where, "weights do not add up to 100")
    problems.expect([d.number for d in domains] == [1, 2, 3, 4], where, "domains are not 1 to 4")
    return Exam(
        code=record["code"],
        guide_version=record["guide_version"],
        first_day=_day(record["from"]),
        last_day=_day(record["until"]),
        questions=record["questions"],
        scored=record["scored"],
        minutes=record["minutes"],
        scale_min=record["scale_min"],
        scale_max=record["scale_max"],
        pass_score=record["pass"],
        domains=domains,
    )


def _skills(raw: Mapping[str, Any], problems: Problems) -> tuple[Skill, ...]:
    tasks = {(task["exam"], task["id"]) for task in raw["tasks"]}
    problems.unique((record["id"] for record in raw["skills"]), "map.json skills")
    skills = []
    for record in raw["skills"]:
        where = f"skill {record.get('id')}"
        if not problems.keys(
            record,
            where,
            required={
                "id": str,
                "title": str,
                "new_in_2_1": bool,
                "c03_task": str,
                "c03_change": str,
            },
            optional={"not_taught": str},
        ):
            continue
        skill = Skill(**record)
        problems.expect(("DVA-C02", skill.task) in tasks, where, "its task is not in the map")
        problems.expect(("DVA-C03", skill.c03_task) in tasks, where, "no such DVA-C03 task")
        problems.expect(skill.c03_change in CHANGES, where, f"c03_change is none of {CHANGES}")
        skills.append(skill)
    return tuple(skills)


def _additions(raw: Mapping[str, Any], problems: Problems) -> tuple[Addition, ...]:
    tasks = {task["id"] for task in raw["tasks"] if task["exam"] == "DVA-C03"}
    additions = tuple(
        Addition(**{**record, "questions": tuple(record["questions"])})
        for record in raw["c03_additions"]
    )
    for addition in additions:
        problems.expect(addition.task in tasks, f"addition {addition.id}", "no such task")
    return additions

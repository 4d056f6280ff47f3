"""The exam map: domains, tasks and skills, and where the lab teaches, checks and asks each.

Skills carry the numbers of the exam guide (version 2.1 of DVA-C02) and titles in words of ours.
Which questions ask a skill, and which exercises check it, is read from the questions and the
exercises themselves: the map keeps no second copy that could disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from labkit.teaching.exam_data import EXAM_FOLDER, Problems, read_json

CHANGES = ("same", "moved", "merged", "renumbered")


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
    says why no notebook teaches it, and is empty where one does.
    """

    id: str
    title: str
    new_in_2_1: bool
    c03_task: str
    c03_change: str
    notebooks: tuple[str, ...]
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
    """Something DVA-C03 asks that DVA-C02 does not."""

    id: str
    task: str
    title: str
    notebooks: tuple[str, ...]
    not_taught: str = ""


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
    questions: Iterable[Asks] = (),
    exercises: Mapping[str, Iterable[str]] | None = None,
) -> ExamMap:
    """The map in ``folder/map.json``, with *questions* and *exercises* hung on their skills.

    *exercises* maps an exercise's id (``04.2``) to the skills it checks. Raises
    :class:`~labkit.teaching.exam_data.ExamDataError` naming everything that is wrong, references
    to skills that do not exist included.
    """
    raw = read_json(folder / "map.json")
    problems = Problems()
    loaded = _build(raw, problems)
    problems.raise_if_any()
    asked = _by_skill(((q.id, q.skills) for q in questions), "question", loaded, problems)
    checked = _by_skill((exercises or {}).items(), "exercise", loaded, problems)
    problems.raise_if_any()
    skills = tuple(
        replace(
            skill,
            questions=tuple(asked.get(skill.id, ())),
            exercises=tuple(checked.get(skill.id, ())),
        )
        for skill in loaded.skills
    )
    return replace(loaded, skills=skills)


def load_whole_map(exercises: Mapping[str, Iterable[str]] | None = None) -> ExamMap:
    """The map with the lab's own questions on it, and *exercises* if given."""
    from labkit.teaching.questions import load_questions

    return load_map(questions=load_questions(), exercises=exercises)


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
                "notebooks": list,
            },
            optional={"not_taught": str},
        ):
            continue
        skill = Skill(**{**record, "notebooks": tuple(record["notebooks"])})
        problems.expect(("DVA-C02", skill.task) in tasks, where, "its task is not in the map")
        problems.expect(("DVA-C03", skill.c03_task) in tasks, where, "no such DVA-C03 task")
        problems.expect(skill.c03_change in CHANGES, where, f"c03_change is none of {CHANGES}")
        problems.expect(
            bool(skill.notebooks) != bool(skill.not_taught),
            where,
            "needs either notebooks or the reason why none teaches it",
        )
        skills.append(skill)
    return tuple(skills)


def _additions(raw: Mapping[str, Any], problems: Problems) -> tuple[Addition, ...]:
    tasks = {task["id"] for task in raw["tasks"] if task["exam"] == "DVA-C03"}
    additions = tuple(
        Addition(**{**record, "notebooks": tuple(record["notebooks"])})
        for record in raw["c03_additions"]
    )
    for addition in additions:
        problems.expect(addition.task in tasks, f"addition {addition.id}", "no such task")
    return additions

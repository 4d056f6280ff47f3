"""Schedule expressions: which are accepted, and when they are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from wiring_support import Wiring, refusal, wiring

from labkit.localaws.services import schedules

__all__ = ["wiring"]

# A Wednesday.
START = datetime(2026, 4, 1, 10, 7, 30, tzinfo=UTC)


def due(expression: str, times: int = 1, start: datetime = START) -> list[str]:
    """The next times an expression is due."""
    schedule, when, found = schedules.parse(expression), start.timestamp(), []
    for _ in range(times):
        moment = schedule.next_after(when)
        if moment is None:
            break
        when = moment
        found.append(datetime.fromtimestamp(when, UTC).strftime("%a %Y-%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    "expression",
    [
        "rate(10 seconds)",
        "rate(1 minutes)",
        "rate(1 hours)",
        "rate(10 day)",
        "rate()",
        "rate(10)",
        "rate(0 minutes)",
        "rate(-10 minutes)",
        "rate(10 MINUTES)",
        "rate( 10 minutes )",
        " rate(10 minutes)",
        "cron(0 1 * * * *)",
        "cron(0 1 ? * ? *)",
        "cron(7 20 * * NOT *)",
        "cron(INVALID)",
        "cron(0 dummy ? * MON-FRI *)",
        "cron(71 8 1 * ? *)",
        "cron(0 12 * * ?)",
        "every day",
    ],
)
def test_what_is_no_schedule(wiring: Wiring, expression):
    error = refusal(
        wiring.client("events").put_rule,
        Name=wiring.name("rule"),
        ScheduleExpression=expression,
    )
    assert error["Code"] == "ValidationException"
    assert error["Message"] == "Parameter ScheduleExpression is not valid."


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(5 minutes)", ["Wed 2026-04-01 10:12", "Wed 2026-04-01 10:17"]),
        ("rate(1 day)", ["Thu 2026-04-02 10:07", "Fri 2026-04-03 10:07"]),
        ("cron(0 12 * * ? *)", ["Wed 2026-04-01 12:00", "Thu 2026-04-02 12:00"]),
        ("cron(0/15 * * * ? *)", ["Wed 2026-04-01 10:15", "Wed 2026-04-01 10:30"]),
        ("cron(5,35 10 * * ? *)", ["Wed 2026-04-01 10:35", "Thu 2026-04-02 10:05"]),
        ("cron(0 18 ? * MON-FRI *)", ["Wed 2026-04-01 18:00", "Thu 2026-04-02 18:00"]),
        ("cron(0 2 ? * SAT *)", ["Sat 2026-04-04 02:00", "Sat 2026-04-11 02:00"]),
        ("cron(0 2 ? * 1 *)", ["Sun 2026-04-05 02:00", "Sun 2026-04-12 02:00"]),
        ("cron(0 2 ? * SAT#3 *)", ["Sat 2026-04-18 02:00", "Sat 2026-05-16 02:00"]),
        ("cron(15 10 ? * 6L *)", ["Fri 2026-04-24 10:15", "Fri 2026-05-29 10:15"]),
        ("cron(0 8 L * ? *)", ["Thu 2026-04-30 08:00", "Sun 2026-05-31 08:00"]),
        ("cron(0 8 4W * ? *)", ["Fri 2026-04-03 08:00", "Mon 2026-05-04 08:00"]),
        ("cron(0 8 31 * ? *)", ["Sun 2026-05-31 08:00", "Fri 2026-07-31 08:00"]),
        ("cron(0 9 1 JAN,FEB ? *)", ["Fri 2027-01-01 09:00", "Mon 2027-02-01 09:00"]),
        ("cron(0 0 ? * FRI-MON *)", ["Fri 2026-04-03 00:00", "Sat 2026-04-04 00:00"]),
        ("cron(0 0 1 1 ? 2027)", ["Fri 2027-01-01 00:00"]),
        ("cron(15 10 ? * 6L 2002-2005)", []),
    ],
)
def test_when_it_is_due(expression, expected):
    assert due(expression, 2) == expected


def test_a_leap_day():
    assert due("cron(0 0 29 2 ? *)", 2) == ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]

"""The exercises of notebook 07: the slowest runs, all about one order, errors by the minute."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from labkit import logs, traffic
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, Wrong, expect
from labkit.waiting import looks, until

_ONE_MINUTE = re.compile(r"bin\(\s*(1\s*m(in(ute)?)?|60\s*s\w*)\s*\)")


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 07, and some runs of the function."""
    since = lab.clock.now()
    for number in range(4):
        order = {"OrderId": f"NB07-{uuid.uuid4().hex}", "Amount": 100 * number}
        traffic.invoke(lab, order)
    lab.settle()
    return {"lab": lab, "names": lab.names, "client": lab.client("logs"), "logs": logs,
            "traffic": traffic, "since": since}  # fmt: skip


def three_slowest(lab: Lab, slowest: Any, since: Any) -> str:
    """Whether *slowest* are the request ids of the three longest runs, longest first."""
    usable = isinstance(slowest, list | tuple) and all(isinstance(one, str) for one in slowest)
    expect(usable, "a list of request ids", repr(slowest)[:80], 'list(...["request_id"])')
    expect(len(slowest) == 3, "three request ids", f"{len(slowest)}", "head(3)")
    reports = logs.reports(lab, since)
    longest = sorted(reports["duration_ms"], reverse=True)[:3]
    for place, (identifier, duration) in enumerate(zip(slowest, longest, strict=True), 1):
        own = reports[reports["request_id"] == identifier]["duration_ms"].to_list()
        # A retry has the same request id: any of its runs may be the one that is meant.
        expect(
            duration in own,
            f"a run of {duration} ms in place {place}",
            f"one of {max(own)} ms" if own else f"no run with the request id {identifier}",
            "the order of the rows before you take the first three: by duration_ms",
        )
    return f"the longest took {longest[0]} ms, of {len(reports)} runs."


def all_about_one(lab: Lab, about: Callable[[str], Any]) -> str:
    """Whether the pattern that ``about(order_id)`` returns finds an order's lines and no others."""
    expect(
        callable(about),
        "the function about",
        f"a {type(about).__name__}",
        "the call of check: hand over about itself, without parentheses",
    )
    began = lab.clock.stamp()
    mine = f"CHECK-{uuid.uuid4().hex}"
    other = f"{mine}-2"
    for identifier in (mine, other):
        traffic.invoke(lab, {"OrderId": identifier, "Amount": 400})

    def written() -> list[str]:
        found = [line for line in logs.lines(lab, began) if line.fields]
        by_order = Counter(line.fields.get("order_id") for line in found)
        both = by_order[mine] and by_order[other]
        return [line.text for line in found if line.fields.get("order_id") == mine] if both else []

    lab.settle()
    expected = until(lab, "Waiting for the log", written)
    pattern = about(mine)
    expect(isinstance(pattern, str), "a filter pattern, as text", repr(pattern), "what you return")
    pages = (
        lab.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=lab.names.log_group,
            filterPattern=pattern,
            startTime=int(began.timestamp() * 1000),
        )
    )
    found = [event["message"] for page in pages for event in page["events"]]
    where = f"the pattern {pattern}"
    missing, extra = set(expected) - set(found), set(found) - set(expected)
    expect(not missing, f"all {len(expected)} lines about {mine}",
           f"{len(set(expected) & set(found))} of them", where)  # fmt: skip
    expect(not extra, f"only the {len(expected)} lines whose order_id is {mine}",
           f"{len(extra)} more, such as {min(extra)[:60]!r}" if extra else "", where)  # fmt: skip
    return f"{len(expected)} lines about one order, none about its neighbour."


def errors_by_minute(lab: Lab, query: Any) -> str:
    """Whether the Insights *query* counts error lines in bins of one minute."""
    expect(isinstance(query, str), "a query, as text", repr(query), "query")
    expect(_ONE_MINUTE.search(query), "bins of one minute", query, "bin(...) in the query")
    traffic.invoke(lab, {"OrderId": f"CHECK-{uuid.uuid4().hex}"})
    lab.settle()
    client, group, now = lab.client("logs"), lab.names.log_group, lab.clock.now()
    start, end = int((now - timedelta(minutes=30)).timestamp()), int(now.timestamp()) + 60
    since = datetime.fromtimestamp(start, UTC)

    def counted() -> bool:
        wanted = Counter(
            f"{line.time:%Y-%m-%d %H:%M}"
            for line in logs.lines(lab, since)
            if line.level == "ERROR"
        )
        outcome["wanted"] = wanted
        query_id = client.start_query(
            logGroupName=group, startTime=start, endTime=end, queryString=query
        )["queryId"]
        rows = until(lab, "Waiting for the query", lambda: _results(client, query_id))
        outcome["found"] = Counter(dict(_minute(row) for row in rows))
        return bool(wanted) and outcome["found"] == wanted

    outcome: dict[str, Counter] = {"wanted": Counter(), "found": Counter()}
    looks(lab, "Waiting for the log", counted, 0.3 if lab.control else 30.0)
    wanted, found = outcome["wanted"], outcome["found"]
    expect(
        found == wanted,
        f"{sum(wanted.values())} error lines in the last half hour, by minute",
        f"{sum(found.values())} lines counted",
        "the filter before stats, and what it lets through",
    )
    return f"{sum(wanted.values())} error lines in {len(wanted)} minute(s)."


def _results(client: Any, query_id: str) -> list[Any] | None:
    found = client.get_query_results(queryId=query_id)
    return [*found["results"]] or [[]] if found["status"] == "Complete" else None


def _minute(row: list[dict[str, str]]) -> tuple[str, int]:
    """A row's minute and its number."""
    values = [field["value"] for field in row]
    minute = next((value[:16] for value in values if re.match(r"\d{4}-\d\d-\d\d ", value)), "none")
    numbers = [value for value in values if re.fullmatch(r"\d+(\.0+)?", value)]
    return minute, int(float(numbers[0])) if numbers else 0


_SLOW = """\
reports = logs.reports(lab, since)
chosen = %s
slowest = list(chosen["request_id"])
check("07.1", slowest, since)"""

_ABOUT = """\
def about(order_id):
    return %s


check("07.2", about)"""

_QUERY = """\
query = '%s'
check("07.3", query)"""

EXERCISES = (
    Exercise(
        id="07.1",
        title="Who was slow?",
        task="Users complain that some orders take long. Find the request ids of the three longest "
        "runs since this notebook began, longest first.",
        difficulty=1,
        minutes=5,
        skills=("4.1.1", "4.3.9"),
        hints=(
            "A table can be sorted by a column; the first rows now are merely the oldest.",
            '`sort_values("duration_ms", ascending=False)`.',
        ),
        start=_SLOW % "reports.head(1)",
        solution=_SLOW % 'reports.sort_values("duration_ms", ascending=False).head(3)',
        wants=("slowest", "since"),
        look=three_slowest,
        scene=scene,
        wrong=(
            Wrong(_SLOW % 'reports.sort_values("duration_ms").head(3)', "in place 1"),
            Wrong(_SLOW % 'reports.nlargest(2, "duration_ms")', "expected three request ids"),
            Wrong(
                'slowest = slowest[::-1]\ncheck("07.1", slowest, since)',
                "in place 1",
                after_solution=True,
            ),
            Wrong('slowest = 3\ncheck("07.1", slowest, since)', "a list of request ids"),
        ),
    ),
    Exercise(
        id="07.2",
        title="Everything about one order",
        task="Support asks what became of an order. Finish `about`: it takes an order's id and "
        "returns the filter pattern that finds all lines about this order, and no others. `check` "
        "sends two orders with similar ids.",
        difficulty=2,
        minutes=10,
        skills=("4.1.3", "4.2.7"),
        hints=(
            "Every line about an order carries its id in the field `order_id`.",
            'A pattern that looks into JSON has braces: `{ $.field = "value" }`.',
            "In an f-string, a brace that should stay is written twice: `{{`.",
        ),
        start=_ABOUT % """'{ $.level = "INFO" }'""",
        solution=_ABOUT % """f'{{ $.order_id = "{order_id}" }}'""",
        remark="Several conditions are joined by `&&`.",
        wants=("about",),
        look=all_about_one,
        scene=scene,
        wrong=(
            Wrong(_ABOUT % """f'{{ $.order_id = "{order_id}*" }}'""", "only the"),
            Wrong(_ABOUT % """f'{{ $.OrderId = "{order_id}" }}'""", "found 0 of them"),
            Wrong(
                _ABOUT % """f'{{ $.order_id = "{order_id}" && $.level = "ERROR" }}'""",
                "found 0 of them",
            ),
            Wrong(_ABOUT % "'{ $.order_id = }'", "InvalidParameterException"),
        ),
    ),
    Exercise(
        id="07.3",
        title="Errors per minute",
        task="Was it one bad minute, or a bad hour? Write the query with which Logs Insights "
        "counts error lines in bins of one minute. `check` makes an error first, and runs it.",
        difficulty=2,
        minutes=10,
        skills=("4.1.3",),
        hints=(
            "First `filter`, then `stats ... by bin(...)`, with a bar `|` between them.",
            'The function\'s level is a field: `level = "ERROR"`.',
        ),
        start=_QUERY % "stats count(*) by bin(5m)",
        solution=_QUERY % 'filter level = "ERROR" | stats count(*) as errors by bin(1m)',
        wants=("query",),
        look=errors_by_minute,
        scene=scene,
        wrong=(
            Wrong(_QUERY % 'filter level = "ERROR" | stats count(*) by bin(5m)', "bins of one"),
            Wrong(_QUERY % "stats count(*) as errors by bin(1m)", "the filter before stats"),
            Wrong(
                _QUERY % 'filter level = "INFO" | stats count(*) by bin(1m)',
                "the filter before stats",
            ),
            Wrong(
                _QUERY % 'filter level is "ERROR" | stats count(*) by bin(1m)',
                "MalformedQueryException",
            ),
        ),
    ),
)

"""Logs Insights: the query language by itself, and queries through the API."""

from __future__ import annotations

import json

import pytest
from test_logs_events import Group
from wiring_support import wiring  # noqa: F401

from labkit.localaws.insights import run
from labkit.localaws.insights_parser import BadQuery
from labkit.localaws.insights_values import Record
from labkit.localaws.log_groups import LogLine

START = 1_795_380_000_000  # 2026-11-22 20:40:00 UTC
REQUEST = "7800efe0-3bf8-475b-8424-14fbddc2248d"
REPORT = (
    f"REPORT RequestId: {REQUEST}\tDuration: 12.34 ms\tBilled Duration: 13 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 67 MB\tInit Duration: 150.5 ms\t\n"
)
TEXTS = [
    *(
        json.dumps(
            {
                "level": ("INFO", "ERROR", "WARN")[number % 3],
                "ms": number * 10,
                "order": {"id": f"A{number}", "items": [{"sku": f"S{number}"}]},
                "paid": number % 2 == 0,
            }
        )
        for number in range(12)
    ),
    f"START RequestId: {REQUEST} Version: $LATEST\n",
    REPORT,
    f"[INFO]\t2026-11-22T20:00:00.000Z\t{REQUEST}\tuser=bob action=login took 15ms",
]


def rows(query: str, limit: int | None = None) -> list[dict[str, str]]:
    records = [
        Record(LogLine(START + place * 60_000, message, START), "stream", "123456789012:/group")
        for place, message in enumerate(TEXTS)
    ]
    outcome = run(query, list(reversed(records)), limit)
    return [{name: value for name, value in row if name != "@ptr"} for row in outcome.rows]


@pytest.mark.parametrize(
    "query, expected",
    [
        (
            "fields @timestamp, level | filter ms = 110",
            [{"@timestamp": "2026-11-22 20:51:00.000", "level": "WARN"}],
        ),
        (
            "stats count(*) as n, avg(ms), max(ms) / 2 as half by level | filter level = 'INFO'",
            [{"level": "INFO", "n": "4", "avg(ms)": "45", "half": "45"}],
        ),
        (
            "filter level = 'ERROR' | stats count() by bin(5m) | sort `bin(5m)` asc",
            [
                {"bin(5m)": "2026-11-22 20:40:00.000", "count()": "2"},
                {"bin(5m)": "2026-11-22 20:45:00.000", "count()": "1"},
                {"bin(5m)": "2026-11-22 20:50:00.000", "count()": "1"},
            ],
        ),
        (
            "filter @type = 'REPORT' | stats max(@memorySize / 1000 / 1000) as size, "
            "max(@maxMemoryUsed / 1000 / 1000) as used, avg(@duration), max(@initDuration)",
            [
                {
                    "size": "128",
                    "used": "67",
                    "avg(@duration)": "12.34",
                    "max(@initDuration)": "150.5",
                }
            ],
        ),
        (f"filter @requestId = '{REQUEST}' | stats count(*) as n", [{"n": "3"}]),
        (
            "parse @message 'user=* action=* took *ms' as user, action, took "
            "| filter ispresent(user) | display user, action, took",
            [{"user": "bob", "action": "login", "took": "15"}],
        ),
        (
            r"parse @message /user=(?<user>\w+).*took (?<took>\d+)ms/ "
            "| filter took > 10 | stats sum(took) by user",
            [{"user": "bob", "sum(took)": "15"}],
        ),
        (
            "filter ispresent(level) | fields order.id as id, order.items.0.sku as sku, paid "
            "| sort ms asc | limit 1 | display id, sku, paid",
            [{"id": "A0", "sku": "S0", "paid": "true"}],
        ),
        (
            "filter @message like /(?i)error/ and ms not in [10, 40] | fields ms | sort ms",
            [{"ms": "70"}, {"ms": "100"}],
        ),
        ("filter level like 'ARN' | dedup level | fields ms", [{"ms": "110"}]),
        (
            "stats pct(ms, 50) as p50, pct(ms, 99) as p99, count_distinct(level) as levels, "
            "min(@timestamp) as first",
            [{"p50": "50", "p99": "110", "levels": "3", "first": str(START)}],
        ),
        (
            "filter ms = 30 | fields if(ms > 20, 'slow', 'fast') as pace, "
            "concat(level, '-', ms) as both, coalesce(nothing, 'x') as rest, "
            "strlen(level) as size, ms * 2 + 1 as more | display pace, both, rest, size, more",
            [{"pace": "slow", "both": "INFO-30", "rest": "x", "size": "4", "more": "61"}],
        ),
        (
            "stats count(*) as n by bin(1h) | stats max(n) as peak",
            [{"peak": "15"}],
        ),
        ("stats earliest(ms) as e, latest(ms) as l", [{"e": "0", "l": "110"}]),
        ("filter nothing = 'here' | stats count(*) as n", [{"n": "0"}]),
        ("filter ms >= 110 # the slowest\n| fields ms", [{"ms": "110"}]),
        (
            "filter not (level = 'INFO' or level = 'WARN') and ispresent(level) "
            "| stats count(*) as n",
            [{"n": "4"}],
        ),
    ],
)
def test_queries(query, expected):
    assert rows(query) == expected


def test_without_fields_time_and_message_are_shown_newest_first():
    found = rows("limit 2")
    assert [set(row) for row in found] == [{"@timestamp", "@message"}] * 2
    assert found[1]["@message"] == REPORT


def test_groups_without_a_value_are_a_group():
    found = rows("stats count(*) as n by level | sort n desc, level")
    assert found[-1] == {"n": "3"} and [row["level"] for row in found[:3]] == [
        "ERROR",
        "INFO",
        "WARN",
    ]


def test_the_limit_of_the_request_counts_when_the_query_has_none():
    assert len(rows("fields ms", limit=5)) == 5
    assert len(rows("fields ms | limit 3", limit=5)) == 3


@pytest.mark.parametrize(
    "query, message, start",
    [
        ("bogus @message", "unexpected symbol found bogus at line 1 and position 0", 0),
        (
            "fields @timestamp limit 3",
            "unexpected symbol found limit at line 1 and position 18",
            18,
        ),
        ("fields a\n| filter ]", "unexpected symbol found ] at line 2 and position 9", 18),
        ("fields nosuch(ms)", "unexpected symbol found nosuch at line 1 and position 7", 7),
        ("stats sum(ms) by", "unexpected end of query", 16),
        ("filter @message like /(/", "invalid regular expression", 21),
    ],
)
def test_queries_that_cannot_be_read(query, message, start):
    with pytest.raises(BadQuery) as caught:
        rows(query)
    assert str(caught.value).startswith(message) and caught.value.start == start


# -- through the API -------------------------------------------------------------------------


@pytest.fixture
def group(wiring) -> Group:  # noqa: F811
    return Group(wiring)


def ask(group: Group, query: str, **more) -> dict:
    now = int(group.wiring.now())
    started = group.client.start_query(
        logGroupName=group.name,
        startTime=now - 3600,
        endTime=now + 60,
        queryString=query,
        **more,
    )
    group.wiring.settle()
    return group.client.get_query_results(queryId=started["queryId"])


def test_a_query_runs_to_its_results(group):
    group.put(*TEXTS[:12])
    answer = ask(group, "filter level = 'ERROR' | stats count(*) as n")
    assert answer["status"] == "Complete"
    assert answer["results"] == [[{"field": "n", "value": "4"}]]
    assert answer["statistics"]["recordsMatched"] == 4
    assert answer["statistics"]["recordsScanned"] == 12


def test_a_pointer_leads_to_the_whole_event(group):
    group.put(TEXTS[1])
    ((_, pointer),) = ask(group, "fields level")["results"]
    assert pointer["field"] == "@ptr"
    record = group.client.get_log_record(logRecordPointer=pointer["value"])["logRecord"]
    assert record["order.items.0.sku"] == "S1" and record["@message"] == TEXTS[1]


def test_errors_tell_what_and_where(group):
    with pytest.raises(group.client.exceptions.MalformedQueryException) as caught:
        ask(group, "bogus")
    assert caught.value.response["queryCompileError"] == {
        "location": {"startCharOffset": 0, "endCharOffset": 5},
        "message": "unexpected symbol found bogus at line 1 and position 0",
    }
    with pytest.raises(group.client.exceptions.ResourceNotFoundException, match="Log group '/no'"):
        group.client.start_query(
            logGroupName="/no", startTime=1, endTime=2, queryString="fields @message"
        )


def test_queries_are_listed(group):
    ask(group, "fields @message")
    (query,) = group.client.describe_queries(logGroupName=group.name)["queries"]
    assert query["queryString"].startswith(f'SOURCE "{group.name}" START=')
    assert query["queryString"].endswith(" | fields @message") and query["status"] == "Complete"


def test_queries_are_saved(group):
    name = group.wiring.name("query")
    saved = group.client.put_query_definition(name=name, queryString="fields @message")
    (found,) = group.client.describe_query_definitions(queryDefinitionNamePrefix=name)[
        "queryDefinitions"
    ]
    assert found["queryDefinitionId"] == saved["queryDefinitionId"]
    assert group.client.delete_query_definition(queryDefinitionId=saved["queryDefinitionId"])[
        "success"
    ]

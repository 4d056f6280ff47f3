"""Logs Insights queries: started, run in the background, asked for their results."""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws import insights, log_groups
from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.insights_parser import BadQuery, read_query
from labkit.localaws.insights_values import Record, read_pointer, text
from labkit.localaws.services.logs_requests import check, group_of, invalid, read_token, token

# How many queries are remembered; CloudWatch Logs forgets them after a week.
_REMEMBERED = 500
_SEVEN_DAYS = 7 * 86_400
# GetLogGroupFields looks at so many events.
_SAMPLE = 1_000
_SOURCE = re.compile(r"\s*SOURCE\b[^|]*\|", re.IGNORECASE)


@dataclass
class Query:
    """One query, from its start to its results."""

    query_id: str
    text: str
    groups: Sequence[Any]
    start_ms: int
    end_ms: int
    limit: int | None
    created: float
    status: str = "Scheduled"
    outcome: insights.Outcome = field(default_factory=insights.Outcome)

    def described(self) -> dict[str, Any]:
        """The query as DescribeQueries lists it."""
        names = " ".join(f'"{group.name}"' for group in self.groups)
        return {
            "queryLanguage": "CWLI",
            "queryId": self.query_id,
            "queryString": f"SOURCE {names} START={self.start_ms} END={self.end_ms} | {self.text}",
            "status": self.status,
            "createTime": int(self.created * 1000),
            "logGroupName": self.groups[0].name,
        }


class QueryOperations(ServiceLayer):
    """Queries over log events, and saved queries."""

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        self._queries: dict[str, Query] = {}
        self._definitions: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self._guard = threading.Lock()

    def StartQuery(self, call: Call, forward: Forward) -> dict[str, str]:
        """Start a query; it runs by itself, GetQueryResults tells how far it is."""
        params = check(call)
        groups = self._groups(call, params)
        query_text = _SOURCE.sub("", params["queryString"])
        if params.get("queryLanguage") not in (None, "CWLI"):
            raise invalid(f"Query language {params['queryLanguage']} is not part of this local AWS")
        try:
            read_query(query_text)
        except BadQuery as problem:
            raise _malformed(problem) from problem
        start_ms, end_ms = _milliseconds(params["startTime"]), _milliseconds(params["endTime"], 999)
        if start_ms > end_ms:
            raise invalid("Query's start date and time must be before its end date and time")
        self._check_span(groups, end_ms)
        query = Query(
            str(uuid.uuid4()),
            query_text,
            groups,
            start_ms,
            end_ms,
            params.get("limit"),
            self.aws.clock.now(),
        )
        with self._guard:
            while len(self._queries) >= _REMEMBERED:
                self._queries.pop(next(iter(self._queries)))
            self._queries[query.query_id] = query
        self.aws.activity.submit(self._run, query, call.account_id, name="logs query")
        return {"queryId": query.query_id}

    def _groups(self, call: Call, params: Mapping[str, Any]) -> list[Any]:
        given = [
            name
            for name in ("logGroupName", "logGroupNames", "logGroupIdentifiers")
            if params.get(name)
        ]
        if len(given) > 1:
            raise invalid(
                "Exactly one of logGroupName, logGroupNames or logGroupIdentifiers must be given."
            )
        if not given:
            raise invalid("At least one log group must be specified.")
        names = params[given[0]]
        known = log_groups.backend(call.account_id, call.region).groups
        groups = []
        for name in [names] if isinstance(names, str) else names:
            group = known.get(log_groups.name_of(name))
            if group is None:
                raise AwsError(
                    "ResourceNotFoundException",
                    f"Log group '{name}' does not exist for account ID '{call.account_id}' "
                    "(Service: AWSLogs; Status Code: 400; Error Code: ResourceNotFoundException; "
                    f"Request ID: {call.request_id}; Proxy: null)",
                )
            groups.append(group)
        return groups

    def _check_span(self, groups: Sequence[Any], end_ms: int) -> None:
        now_ms = int(self.aws.clock.now() * 1000)
        for group in groups:
            days = int(group.retention_in_days or 0)
            oldest = now_ms - days * 86_400_000 if days else None
            if oldest is not None and end_ms < oldest:
                message = (
                    "Query's end date and time is either before the log groups creation time or "
                    "exceeds the log groups log retention settings"
                )
                raise AwsError("MalformedQueryException", message)

    def _run(self, query: Query, account_id: str) -> None:
        with self._guard:
            if query.status == "Cancelled":
                return
            query.status = "Running"
        try:
            outcome = insights.run(query.text, self._records(query, account_id), query.limit)
        except Exception:
            query.status = "Failed"
            raise
        with self._guard:
            if query.status == "Running":
                query.outcome, query.status = outcome, "Complete"

    def _records(self, query: Query, account_id: str) -> Iterator[Record]:
        """The events of the query's groups and span, newest first."""
        found: list[Record] = []
        with self.aws.lock("logs", account_id):
            for group in query.groups:
                log_groups.expire(group, int(self.aws.clock.now() * 1000))
                log = f"{account_id}:{group.name}"
                for name, stream in group.streams.items():
                    lines = log_groups.lines_between(stream, query.start_ms, query.end_ms + 1)
                    found += [Record(line, name, log) for line in lines]
        found.sort(key=lambda record: (record.line.timestamp, record.line.number), reverse=True)  # type: ignore[union-attr]
        return iter(found)

    def GetQueryResults(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A query's state, and its results as soon as it has some."""
        query = self._query(check(call)["queryId"])
        params = call.params
        outcome = query.outcome
        first = int(read_token(params.get("nextToken")).get("first", 0))
        most = params.get("maxItems") or insights.MAX_LIMIT
        rows = outcome.rows[first : first + most]
        answer: dict[str, Any] = {
            "queryLanguage": "CWLI",
            "results": [[{"field": name, "value": value} for name, value in row] for row in rows],
            "statistics": {
                "recordsMatched": float(outcome.matched),
                "recordsScanned": float(outcome.scanned),
                "estimatedRecordsSkipped": 0.0,
                "bytesScanned": float(outcome.scanned_bytes),
                "estimatedBytesSkipped": 0.0,
                "logGroupsScanned": float(len(query.groups)),
            },
            "status": query.status,
        }
        if first + most < len(outcome.rows):
            answer["nextToken"] = token(first=first + most)
        return answer

    def StopQuery(self, call: Call, forward: Forward) -> dict[str, bool]:
        """End a query that is still running."""
        query = self._query(check(call)["queryId"])
        with self._guard:
            if query.status not in ("Scheduled", "Running"):
                raise invalid(f"Query with ID {query.query_id} is not running or has already ended")
            query.status = "Cancelled"
        return {"success": True}

    def DescribeQueries(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of the latest queries, newest first."""
        params = check(call)
        horizon = self.aws.clock.now() - _SEVEN_DAYS
        with self._guard:
            queries = [each for each in self._queries.values() if each.created >= horizon]
        wanted = params.get("logGroupName")
        found = [
            query.described()
            for query in reversed(queries)
            if params.get("status") in (None, query.status)
            and (wanted is None or any(group.name == wanted for group in query.groups))
            and query.groups[0].account_id == call.account_id
        ]
        first = int(read_token(params.get("nextToken")).get("first", 0))
        last = first + (params.get("maxResults") or 1000)
        answer: dict[str, Any] = {"queries": found[first:last]}
        if last < len(found):
            answer["nextToken"] = token(first=last)
        return answer

    def _query(self, query_id: str) -> Query:
        with self._guard:
            query = self._queries.get(query_id)
        if query is None:
            raise AwsError("ResourceNotFoundException", f"Query with ID {query_id} does not exist")
        return query

    # -- single events -----------------------------------------------------------------------

    def GetLogRecord(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Every field of the event that a result's @ptr points to."""
        params = check(call)
        try:
            log, stream_name, timestamp, number = read_pointer(params["logRecordPointer"])
        except (ValueError, TypeError) as problem:
            raise invalid("The specified log record pointer is invalid.") from problem
        group = log_groups.find_group(call.account_id, call.region, log.partition(":")[2])
        stream = log_groups.find_stream(group, stream_name)
        with self.aws.lock("logs", call.account_id):
            lines = list(log_groups.lines_between(stream, timestamp, timestamp + 1))
        for line in lines:
            if line.number == number:
                record = Record(line, stream_name, log)
                fields = record.fields() | {
                    "@timestamp": line.timestamp,
                    "@ingestionTime": line.ingestion_time,
                }
                return {"logRecord": {name: text(value) for name, value in fields.items()}}
        raise AwsError("ResourceNotFoundException", "The specified log record does not exist.")

    def GetLogGroupFields(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Which fields the group's events have, and how many percent of them."""
        params = check(call)
        group = group_of(call)
        center = _milliseconds(params["time"]) if params.get("time") else None
        now_ms = int(self.aws.clock.now() * 1000)
        start = now_ms - 900_000 if center is None else center - 480_000
        end = now_ms + 1 if center is None else center + 480_000
        counts: Counter[str] = Counter()
        seen = 0
        with self.aws.lock("logs", call.account_id):
            lines = [
                (name, line)
                for name, stream in group.streams.items()
                for line in log_groups.lines_between(stream, start, end)
            ]
        for name, line in lines[-_SAMPLE:]:
            counts.update(Record(line, name, f"{call.account_id}:{group.name}").fields().keys())
            seen += 1
        counts.pop("@ptr", None)
        return {
            "logGroupFields": [
                {"name": name, "percent": round(100 * count / seen)}
                for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
            ]
        }

    # -- saved queries -----------------------------------------------------------------------

    def PutQueryDefinition(self, call: Call, forward: Forward) -> dict[str, str]:
        """Save a query under a name, or change a saved one."""
        params = check(call)
        saved = self._definitions.setdefault((call.account_id, call.region), {})
        identifier = params.get("queryDefinitionId")
        if identifier is not None and identifier not in saved:
            raise AwsError(
                "ResourceNotFoundException", "The specified query definition does not exist."
            )
        identifier = identifier or str(uuid.uuid4())
        saved[identifier] = {
            "queryLanguage": params.get("queryLanguage") or "CWLI",
            "queryDefinitionId": identifier,
            "name": params["name"],
            "queryString": params["queryString"],
            "lastModified": int(self.aws.clock.now() * 1000),
            "logGroupNames": list(params.get("logGroupNames") or ()),
        }
        return {"queryDefinitionId": identifier}

    def DescribeQueryDefinitions(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of saved queries, by name."""
        params = check(call)
        prefix = params.get("queryDefinitionNamePrefix") or ""
        saved = self._definitions.get((call.account_id, call.region), {})
        found = sorted(
            (each for each in saved.values() if each["name"].startswith(prefix)),
            key=lambda each: each["name"],
        )
        first = int(read_token(params.get("nextToken")).get("first", 0))
        last = first + (params.get("maxResults") or 1000)
        answer: dict[str, Any] = {"queryDefinitions": found[first:last]}
        if last < len(found):
            answer["nextToken"] = token(first=last)
        return answer

    def DeleteQueryDefinition(self, call: Call, forward: Forward) -> dict[str, bool]:
        """Forget a saved query."""
        params = check(call)
        saved = self._definitions.get((call.account_id, call.region), {})
        if saved.pop(params["queryDefinitionId"], None) is None:
            raise AwsError(
                "ResourceNotFoundException", "The specified query definition does not exist."
            )
        return {"success": True}


def _milliseconds(given: int, within: int = 0) -> int:
    """Epoch milliseconds of a time given in seconds, or in milliseconds already."""
    return given if given > 100_000_000_000 else given * 1000 + within


def _malformed(problem: BadQuery) -> AwsError:
    return AwsError(
        "MalformedQueryException",
        str(problem),
        queryCompileError={
            "location": {"startCharOffset": problem.start, "endCharOffset": problem.end},
            "message": str(problem),
        },
    )

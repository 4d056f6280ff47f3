"""Log events in and out: limits, pages, order, retention on the lab's clock."""

from __future__ import annotations

import pytest
from wiring_support import Wiring, refusal, wiring  # noqa: F401

DAY = 86_400_000


class Group:
    """A log group of its own, with a stream."""

    def __init__(self, lab: Wiring) -> None:
        self.wiring = lab
        self.client = lab.client("logs")
        self.name = "/test/" + lab.name("group")
        self.client.create_log_group(logGroupName=self.name)
        self.stream = {"logGroupName": self.name, "logStreamName": "stream"}
        self.client.create_log_stream(**self.stream)

    def now(self) -> int:
        return int(self.wiring.now() * 1000)

    def put(self, *messages: str, at: int | None = None, stream: str = "stream") -> dict:
        start = self.now() if at is None else at
        events = [
            {"timestamp": start + place, "message": message}
            for place, message in enumerate(messages)
        ]
        return self.client.put_log_events(
            logGroupName=self.name, logStreamName=stream, logEvents=events
        )

    def found(self, **asked) -> list[str]:
        answer = self.client.filter_log_events(logGroupName=self.name, **asked)
        return [event["message"] for event in answer["events"]]

    def refused(self, *events: tuple[int, str]) -> str:
        error = refusal(
            self.client.put_log_events,
            logEvents=[{"timestamp": at, "message": message} for at, message in events],
            **self.stream,
        )
        assert error["Code"] == "InvalidParameterException"
        return error["Message"]


@pytest.fixture
def group(wiring) -> Group:  # noqa: F811
    return Group(wiring)


def test_events_come_back_in_order_with_their_ids(group):
    group.put("one", "two")
    answer = group.client.filter_log_events(logGroupName=group.name)
    first, second = answer["events"]
    assert (first["message"], second["message"]) == ("one", "two")
    assert len(first["eventId"]) == 56 and first["eventId"] < second["eventId"]
    assert first["logStreamName"] == "stream" and answer["searchedLogStreams"] == []


def test_streams_are_interleaved_by_time(group):
    group.client.create_log_stream(logGroupName=group.name, logStreamName="other")
    now = group.now()
    group.put("first", at=now)
    group.put("third", at=now + 20)
    group.put("second", at=now + 10, stream="other")
    assert group.found() == ["first", "second", "third"]
    assert group.found(logStreamNames=["other"]) == ["second"]
    assert group.found(logStreamNamePrefix="str") == ["first", "third"]


def test_the_end_belongs_to_the_span_of_one_operation_only(group):
    now = group.now()
    group.put("a", "b", at=now)
    assert group.found(startTime=now, endTime=now + 1) == ["a", "b"]
    events = group.client.get_log_events(startTime=now, endTime=now + 1, **group.stream)["events"]
    assert [event["message"] for event in events] == ["a"]


def test_tokens_walk_both_ways_and_stop_where_nothing_more_is(group):
    group.put(*map(str, range(10)))
    ask = {"limit": 4, **group.stream}
    page = group.client.get_log_events(startFromHead=True, **ask)
    seen = [event["message"] for event in page["events"]]
    while True:
        following = group.client.get_log_events(nextToken=page["nextForwardToken"], **ask)
        if following["nextForwardToken"] == page["nextForwardToken"]:
            break
        seen += [event["message"] for event in following["events"]]
        page = following
    assert seen == list(map(str, range(10))) and following["events"] == []
    latest = group.client.get_log_events(**ask)
    assert [event["message"] for event in latest["events"]] == ["6", "7", "8", "9"]
    before = group.client.get_log_events(nextToken=latest["nextBackwardToken"], **ask)
    assert [event["message"] for event in before["events"]] == ["2", "3", "4", "5"]
    group.put("10")
    after = group.client.get_log_events(nextToken=latest["nextForwardToken"], **ask)
    assert [event["message"] for event in after["events"]] == ["10"]


def test_searches_come_in_pages(group):
    group.put(*(f"{'ERROR' if number % 2 else 'INFO'} {number}" for number in range(10)))
    pages = group.client.get_paginator("filter_log_events").paginate(
        logGroupName=group.name, filterPattern="ERROR", PaginationConfig={"PageSize": 2}
    )
    found = [[event["message"] for event in page["events"]] for page in pages]
    assert found == [["ERROR 1", "ERROR 3"], ["ERROR 5", "ERROR 7"], ["ERROR 9"]]
    error = refusal(group.client.filter_log_events, logGroupName=group.name, nextToken="nobody's")
    assert error["Message"] == "The specified nextToken is invalid."


def test_too_old_and_too_new_events_are_left_out(group):
    now = group.now()
    answer = group.put("old", at=now - 15 * DAY)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    events = [(now, "fine"), (now + 3 * 3_600_000, "new"), (now + 4 * 3_600_000, "newer")]
    answer = group.client.put_log_events(
        logEvents=[{"timestamp": at, "message": message} for at, message in events], **group.stream
    )
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert group.found() == ["fine"]


def test_what_a_batch_must_not_be(group):
    now = group.now()
    assert group.refused((now, "b"), (now - 1, "a")) == (
        "Log events in a single PutLogEvents request must be in chronological order."
    )
    assert group.refused((now - DAY - 1, "a"), (now, "b")) == (
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
    )
    assert group.refused((now, "x" * 600_000), (now, "x" * 600_000)) == (
        "Upload too large: 1200052 bytes exceeds limit of 1048576"
    )
    assert "Log event too large" in group.refused((now, "x" * 1_048_576))
    assert "greater than or equal to 1" in group.refused()


def test_what_is_not_there(group):
    events = [{"timestamp": group.now(), "message": "m"}]
    put = group.client.put_log_events
    error = refusal(put, logGroupName="/no", logStreamName="s", logEvents=events)
    assert error == {
        "Code": "ResourceNotFoundException",
        "Message": "The specified log group does not exist.",
    }
    error = refusal(put, logGroupName=group.name, logStreamName="s", logEvents=events)
    assert error["Message"] == "The specified log stream does not exist."
    error = refusal(group.client.create_log_stream, **group.stream)
    assert error["Message"] == "The specified log stream already exists"
    error = refusal(group.client.get_log_events, limit=10_001, **group.stream)
    assert error["Message"] == (
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 10000"
    )
    error = refusal(group.client.create_log_group, logGroupName="x" * 513)
    assert error["Message"] == (
        "Invalid LogGroup or LogStream, both must have length less than or equal to 512."
    )


def test_retention_is_one_of_a_list_and_follows_the_clock(group):
    error = refusal(group.client.put_retention_policy, logGroupName=group.name, retentionInDays=2)
    assert error["Code"] == "InvalidParameterException" and "[1, 3, 5, 7," in error["Message"]
    group.client.put_retention_policy(logGroupName=group.name, retentionInDays=3)
    group.put("old")
    group.wiring.advance(days=2)
    group.put("young")
    assert group.found() == ["old", "young"]
    group.wiring.advance(days=1, minutes=1)
    assert group.found() == ["young"]
    answer = group.put("late", at=group.now() - 4 * DAY)
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}


def test_streams_by_name_and_by_latest_event(group):
    for name in ("b", "a"):
        group.client.create_log_stream(logGroupName=group.name, logStreamName=name)
        group.put("m", stream=name)
        group.wiring.advance(seconds=1)

    def names(**asked) -> list[str]:
        pages = group.client.get_paginator("describe_log_streams").paginate(
            logGroupName=group.name, PaginationConfig={"PageSize": 2}, **asked
        )
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    assert names() == ["a", "b", "stream"]
    assert names(orderBy="LastEventTime", descending=True) == ["a", "b", "stream"]
    assert names(orderBy="LastEventTime") == ["stream", "b", "a"]
    error = refusal(
        group.client.describe_log_streams,
        logGroupName=group.name,
        orderBy="LastEventTime",
        logStreamNamePrefix="a",
    )
    assert error["Message"] == "Cannot order by LastEventTime with a logStreamNamePrefix."


def test_a_group_shows_what_it_is(group):
    group.put("12345")
    (described,) = group.client.describe_log_groups(logGroupNamePrefix=group.name)["logGroups"]
    assert described["arn"] == described["logGroupArn"] + ":*"
    assert described["storedBytes"] == 5 + 26 and described["metricFilterCount"] == 0
    assert described["logGroupClass"] == "STANDARD"
    assert "retentionInDays" not in described
    part = group.name[8:]
    found = group.client.describe_log_groups(logGroupNamePattern=part)["logGroups"]
    assert group.name in [each["logGroupName"] for each in found]

"""Schedules, archives and replays on the lab's clock."""

from __future__ import annotations

import json

import pytest
from wiring_support import Queue, Wiring, refusal, wiring

__all__ = ["wiring"]


@pytest.fixture
def heard(wiring: Wiring) -> Queue:
    """A queue that EventBridge may send to."""
    return wiring.queue("heard", "events.amazonaws.com")


class TestSchedules:
    """Rules that come up by themselves."""

    @pytest.fixture
    def rule(self, wiring, heard):
        """A rule for every five minutes, removed afterwards."""
        events, name = wiring.client("events"), wiring.name("rule")
        arn = events.put_rule(Name=name, ScheduleExpression="rate(5 minutes)")["RuleArn"]
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": heard.arn}])
        yield name, arn
        events.remove_targets(Rule=name, Ids=["1"])
        events.delete_rule(Name=name)

    def test_the_event_at_its_own_time(self, wiring, heard, rule):
        start = wiring.now()
        wiring.advance(minutes=4, seconds=50)
        assert heard.texts() == []
        wiring.advance(minutes=11)
        first, second, third = sorted(heard.bodies(), key=lambda one: one["time"])
        assert first["detail-type"] == "Scheduled Event" and first["source"] == "aws.events"
        assert first["resources"] == [rule[1]] and first["detail"] == {}
        assert [one["time"][14:16] for one in (first, second, third)] == [
            f"{int((start + 300 * number) // 60 % 60):02}" for number in (1, 2, 3)
        ]

    def test_disabling_and_enabling(self, wiring, heard, rule):
        events = wiring.client("events")
        events.disable_rule(Name=rule[0])
        wiring.advance(minutes=11)
        assert heard.texts() == []
        events.enable_rule(Name=rule[0])
        wiring.advance(minutes=6)
        assert len(heard.texts()) == 1

    def test_a_new_expression_replaces_the_old(self, wiring, heard, rule):
        events = wiring.client("events")
        events.put_rule(Name=rule[0], ScheduleExpression="rate(1 hour)")
        wiring.advance(minutes=59)
        assert heard.texts() == []
        wiring.advance(minutes=2)
        assert len(heard.texts()) == 1

    def test_a_constant_every_noon(self, wiring, heard):
        events, name = wiring.client("events"), wiring.name("rule")
        events.put_rule(Name=name, ScheduleExpression="cron(0 12 * * ? *)")
        events.put_targets(
            Rule=name, Targets=[{"Id": "1", "Arn": heard.arn, "Input": '{"noon":true}'}]
        )
        wiring.advance(days=2)
        assert heard.texts() == ['{"noon":true}'] * 2
        events.remove_targets(Rule=name, Ids=["1"])
        events.delete_rule(Name=name)
        wiring.advance(days=1)
        assert heard.texts() == []


class TestArchives:
    """What was archived can be replayed."""

    @pytest.fixture
    def bus(self, wiring):
        """The ARN of a bus of its own."""
        return wiring.client("events").create_event_bus(Name=wiring.name("bus"))["EventBusArn"]

    def put(self, wiring: Wiring, bus: str, number: int, source: str = "orders") -> None:
        """Put one event on the bus."""
        entry = {"Source": source, "DetailType": "t", "Detail": json.dumps({"n": number})}
        wiring.client("events").put_events(Entries=[{**entry, "EventBusName": bus}])
        wiring.settle()

    def test_keeping_and_replaying(self, wiring, heard, bus):
        events, name = wiring.client("events"), wiring.name("archive")
        created = events.create_archive(
            ArchiveName=name, EventSourceArn=bus, EventPattern='{"source":["orders"]}'
        )
        assert created["State"] == "ENABLED"
        self.put(wiring, bus, 0)
        wiring.advance(minutes=10)
        start = wiring.now()
        self.put(wiring, bus, 1)
        self.put(wiring, bus, 2, source="other")
        self.put(wiring, bus, 3)
        wiring.advance(minutes=10)
        assert events.describe_archive(ArchiveName=name)["EventCount"] == 3
        rule = wiring.name("rule")
        where = {"EventBusName": bus.rpartition("/")[2]}
        events.put_rule(Name=rule, EventPattern='{"detail":{"n":[{"exists":true}]}}', **where)
        events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": heard.arn}], **where)
        replay = {
            "ReplayName": wiring.name("replay"),
            "EventSourceArn": created["ArchiveArn"],
            "EventStartTime": start - 1,
            "EventEndTime": wiring.now(),
            "Destination": {"Arn": bus},
        }
        assert events.start_replay(**replay)["State"] == "STARTING"
        bodies = heard.bodies()
        assert sorted(body["detail"]["n"] for body in bodies) == [1, 3]
        assert {body["replay-name"] for body in bodies} == {replay["ReplayName"]}
        shown = events.describe_replay(ReplayName=replay["ReplayName"])
        assert shown["State"] == "COMPLETED" and shown["Destination"] == {"Arn": bus}
        # What is replayed is not archived again.
        assert events.describe_archive(ArchiveName=name)["EventCount"] == 3
        assert refusal(events.start_replay, **replay)["Message"] == (
            f"Replay {replay['ReplayName']} already exists."
        )

    def test_events_expire(self, wiring, bus):
        events, name = wiring.client("events"), wiring.name("archive")
        events.create_archive(ArchiveName=name, EventSourceArn=bus, RetentionDays=1)
        self.put(wiring, bus, 1)
        wiring.advance(hours=23)
        assert events.describe_archive(ArchiveName=name)["EventCount"] == 1
        wiring.advance(hours=2)
        assert events.describe_archive(ArchiveName=name)["EventCount"] == 0

    def test_refusals(self, wiring, bus):
        events, name = wiring.client("events"), wiring.name("archive")
        arn = events.create_archive(ArchiveName=name, EventSourceArn=bus)["ArchiveArn"]
        again = refusal(events.create_archive, ArchiveName=name, EventSourceArn=bus)
        assert again["Message"] == f"Archive {name} already exists."
        assert refusal(events.describe_archive, ArchiveName="gone")["Message"] == (
            "Archive gone does not exist."
        )
        assert refusal(events.update_archive, ArchiveName=name)["Message"] == (
            "At least one of EventPattern, RetentionDays or Description must be provided."
        )
        missing = refusal(
            events.create_archive, ArchiveName="x", EventSourceArn=bus.rpartition("/")[0] + "/gone"
        )
        assert missing["Message"] == "Event bus gone does not exist."
        now = wiring.now()
        replay = {
            "ReplayName": wiring.name("replay"),
            "EventSourceArn": arn,
            "EventStartTime": now,
            "EventEndTime": now - 1,
            "Destination": {"Arn": bus},
        }
        assert refusal(events.start_replay, **replay)["Message"] == (
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before "
            "EventEndTime."
        )
        default = bus.rpartition("/")[0] + "/default"
        replay["Destination"] = {"Arn": default}
        assert refusal(events.start_replay, **replay)["Message"] == (
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not "
            "permitted."
        )

"""EventBridge from PutEvents to the target: what is refused, delivered, transformed, retried."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wiring_support import Queue, Wiring, refusal, wiring

__all__ = ["wiring"]

EVENTS = "events.amazonaws.com"


class Rule:
    """A rule for events of one source, with targets."""

    def __init__(self, wiring: Wiring, *targets: dict[str, Any], bus: str | None = None, **detail):
        self.events, self.name = wiring.client("events"), wiring.name("rule")
        self.source, self.bus = wiring.name("source"), bus
        self._where = {"EventBusName": bus} if bus else {}
        pattern: dict[str, Any] = {"source": [self.source]}
        if detail:
            pattern["detail"] = detail
        self.arn = self.events.put_rule(
            Name=self.name, EventPattern=json.dumps(pattern), **self._where
        )["RuleArn"]
        for number, target in enumerate(targets):
            self.put_target(**{"Id": str(number), **target})

    def put_target(self, **target: Any) -> None:
        """Add one target."""
        self.events.put_targets(Rule=self.name, Targets=[target], **self._where)

    def send(self, detail: Any = None, **more: Any) -> dict[str, Any]:
        """Put one event and return its result."""
        entry = {"Source": self.source, "DetailType": "test", "Detail": json.dumps(detail or {})}
        if self.bus:
            entry["EventBusName"] = self.bus
        return self.events.put_events(Entries=[{**entry, **more}])["Entries"][0]


@pytest.fixture
def heard(wiring: Wiring) -> Queue:
    """A queue that EventBridge may send to."""
    return wiring.queue("heard", EVENTS)


def test_an_event_reaches_its_rules_targets(wiring, heard):
    rule = Rule(wiring, {"Arn": heard.arn}, command=["go"])
    rule.send({"command": "stay"})
    event_id = rule.send({"command": "go", "größe": 1}, Resources=["a"], Time=1_700_000_000)[
        "EventId"
    ]
    (text,) = heard.texts()
    event = json.loads(text)
    assert list(event) == [
        "version",
        "id",
        "detail-type",
        "source",
        "account",
        "time",
        "region",
        "resources",
        "detail",
    ]
    assert text.startswith('{"version":"0","id":"')
    assert event == {
        "version": "0",
        "id": event_id,
        "detail-type": "test",
        "source": rule.source,
        "account": wiring.account,
        "time": "2023-11-14T22:13:20Z",
        "region": "us-east-1",
        "resources": ["a"],
        "detail": {"command": "go", "größe": 1},
    }
    for metric in ("MatchedEvents", "TriggeredRules", "Invocations"):
        assert wiring.metric("AWS/Events", metric, RuleName=rule.name) == 1


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"Source": ""},
            "InvalidArgument",
            "Parameter Source is not valid. Reason: Source is a required argument.",
        ),
        (
            {"DetailType": None},
            "InvalidArgument",
            "Parameter DetailType is not valid. Reason: DetailType is a required argument.",
        ),
        (
            {"Detail": None},
            "InvalidArgument",
            "Parameter Detail is not valid. Reason: Detail is a required argument.",
        ),
        ({"Detail": "text"}, "MalformedDetail", "Detail is malformed."),
        ({"Detail": "[1]"}, "MalformedDetail", "Detail is malformed."),
        ({"Source": "aws.s3"}, "NotAuthorizedForSourceException", "Not authorized for the source."),
    ],
)
def test_wrong_entries_are_told_of_one_by_one(wiring, heard, change, code, message):
    rule = Rule(wiring, {"Arn": heard.arn})
    good = {"Source": rule.source, "DetailType": "t", "Detail": "{}"}
    bad = {key: value for key, value in {**good, **change}.items() if value is not None}
    answer = rule.events.put_events(Entries=[good, bad])
    assert answer["FailedEntryCount"] == 1
    assert set(answer["Entries"][0]) == {"EventId"}
    assert answer["Entries"][1] == {"ErrorCode": code, "ErrorMessage": message}
    assert len(heard.texts()) == 1


def test_too_many_and_too_large_entries(wiring):
    events = wiring.client("events")
    entry = {"Source": "s", "DetailType": "t", "Detail": "{}"}
    error = refusal(events.put_events, Entries=[entry] * 11)
    assert error["Code"] == "ValidationException"
    assert "PutEventsRequestEntry(" in error["Message"]
    assert error["Message"].endswith(
        "at 'entries' failed to satisfy constraint: Member must have length less than or equal "
        "to 10"
    )
    large = {**entry, "Detail": json.dumps({"x": "y" * 600_000})}
    assert refusal(events.put_events, Entries=[large] * 2)["Message"] == (
        "Total size of the entries in the request is over the limit."
    )


def test_a_missing_bus_loses_the_event_and_tells_nobody(wiring):
    entry = {"Source": "s", "DetailType": "t", "Detail": "{}", "EventBusName": "gone"}
    assert wiring.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_a_disabled_rule_matches_nothing(wiring, heard):
    rule = Rule(wiring, {"Arn": heard.arn})
    rule.events.disable_rule(Name=rule.name)
    rule.send()
    rule.events.enable_rule(Name=rule.name)
    rule.send({"n": 2})
    assert [one["detail"] for one in heard.bodies()] == [{"n": 2}]


def test_test_event_pattern(wiring):
    ask = wiring.client("events").test_event_pattern
    event = json.dumps({"id": "1", "source": "s", "detail": {"n": 5}})
    pattern = {"source": ["s"], "detail": {"n": [{"numeric": [">", 4]}]}}
    assert ask(EventPattern=json.dumps(pattern), Event=event)["Result"] is True
    assert ask(EventPattern='{"source":["t"]}', Event=event)["Result"] is False
    assert refusal(ask, EventPattern='{"source":["t"]}', Event="[]")["Message"] == (
        "Parameter Event is not valid."
    )
    error = refusal(ask, EventPattern='{"source":"t"}', Event=event)
    assert error["Code"] == "InvalidEventPatternException"
    assert error["Message"].startswith(
        'Event pattern is not valid. Reason: "source" must be an object or an array\n'
    )


class TestRules:
    """What rules and targets AWS refuses."""

    def test_rules(self, wiring):
        put = wiring.client("events").put_rule
        name = wiring.name("rule")
        assert refusal(put, Name=name)["Message"] == (
            "Parameter(s) EventPattern or ScheduleExpression must be specified."
        )
        assert refusal(put, Name="a b", EventPattern='{"a":[1]}')["Message"] == (
            "1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+"
        )
        assert refusal(put, Name=name, EventPattern="{}")["Code"] == "InvalidEventPatternException"
        assert refusal(put, Name=name, EventBusName="gone", EventPattern='{"a":[1]}') == {
            "Code": "ResourceNotFoundException",
            "Message": "Event bus gone does not exist.",
        }
        bus = wiring.name("bus")
        wiring.client("events").create_event_bus(Name=bus)
        error = refusal(put, Name=name, EventBusName=bus, ScheduleExpression="rate(1 hour)")
        assert error["Message"] == "ScheduleExpression is supported only on the default event bus."

    def test_missing_rules(self, wiring):
        events = wiring.client("events")
        message = "Rule gone does not exist on EventBus default."
        for call in (events.describe_rule, events.enable_rule, events.disable_rule):
            assert refusal(call, Name="gone")["Message"] == message
        assert refusal(events.list_targets_by_rule, Rule="gone")["Message"] == message
        target = {"Id": "1", "Arn": wiring.arn("sqs", "q")}
        assert refusal(events.put_targets, Rule="gone", Targets=[target])["Message"] == message
        events.delete_rule(Name="gone")

    def test_a_rule_with_targets_stays(self, wiring, heard):
        rule = Rule(wiring, {"Arn": heard.arn})
        assert refusal(rule.events.delete_rule, Name=rule.name)["Message"] == (
            "Rule can't be deleted since it has targets."
        )
        rule.events.remove_targets(Rule=rule.name, Ids=["0"])
        rule.events.delete_rule(Name=rule.name)

    def test_targets_come_in_pages(self, wiring, heard):
        rule = Rule(wiring, *[{"Arn": heard.arn}] * 5)
        first = rule.events.list_targets_by_rule(Rule=rule.name, Limit=3)
        rest = rule.events.list_targets_by_rule(
            Rule=rule.name, Limit=3, NextToken=first["NextToken"]
        )
        ids = [one["Id"] for one in first["Targets"] + rest["Targets"]]
        assert ids == ["0", "1", "2", "3", "4"] and "NextToken" not in rest

    def test_five_targets_at_most(self, wiring, heard):
        rule = Rule(wiring, *[{"Arn": heard.arn}] * 5)
        rule.put_target(Id="4", Arn=heard.arn)
        error = refusal(
            rule.events.put_targets, Rule=rule.name, Targets=[{"Id": "5", "Arn": heard.arn}]
        )
        assert error == {
            "Code": "LimitExceededException",
            "Message": "The requested resource exceeds the maximum number allowed.",
        }

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (
                {"InputPath": "$.detail", "Input": "{}"},
                "Only one of Input, InputPath, or InputTransformer must be provided for target t.",
            ),
            (
                {"InputTransformer": {"InputPathsMap": {"a": "$.a"}, "InputTemplate": '"<b>"'}},
                "InputTemplate for target t contains invalid placeholder b.",
            ),
            (
                {"Arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s"},
                "RoleArn is required for target arn:aws:kinesis:us-east-1:123456789012:stream/s.",
            ),
            (
                {"Arn": "arn:aws:sqs:us-east-1:123456789012:q.fifo"},
                "Parameter(s) SqsParameters must be specified for target: t.",
            ),
        ],
    )
    def test_targets(self, wiring, heard, target, message):
        rule = Rule(wiring)
        error = refusal(
            rule.events.put_targets,
            Rule=rule.name,
            Targets=[{"Id": "t", "Arn": heard.arn, **target}],
        )
        assert (error["Code"], error["Message"]) == ("ValidationException", message)


def test_buses(wiring):
    events, name = wiring.client("events"), wiring.name("bus")
    arn = wiring.arn("events", f"event-bus/{name}")
    created = events.create_event_bus(Name=name, Description="a bus")
    assert (created["EventBusArn"], created["Description"]) == (arn, "a bus")
    assert refusal(events.create_event_bus, Name=name)["Message"] == (
        f"Event bus {name} already exists."
    )
    (shown,) = events.list_event_buses(NamePrefix=name)["EventBuses"]
    assert {"CreationTime", "LastModifiedTime"} <= set(shown)
    assert (shown["Name"], shown["Arn"], shown["Description"]) == (name, arn, "a bus")
    events.delete_event_bus(Name=name)
    assert refusal(events.delete_event_bus, Name=name)["Message"] == (
        f"Event bus {name} does not exist."
    )
    assert refusal(events.delete_event_bus, Name="default")["Message"] == (
        "Cannot delete event bus default."
    )


class TestInput:
    """What of an event a target gets."""

    DETAIL = {
        "id": "42",
        "n": 7,
        "flag": True,
        "inner": {"a": "b", "c": "d"},
        "one": ["HIGH"],
        "two": ["X", "Y"],
    }

    def sent(self, wiring: Wiring, heard: Queue, **target: Any) -> str | None:
        """The text one target receives for the detail above, or None for nothing."""
        rule = Rule(wiring, {"Arn": heard.arn, **target})
        rule.send(self.DETAIL)
        return next(iter(heard.texts()), None)

    def test_a_constant(self, wiring, heard):
        assert self.sent(wiring, heard, Input='{"fixed": true}') == '{"fixed": true}'

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("$.detail.inner", '{"a":"b","c":"d"}'),
            ("$.detail.id", '"42"'),
            ("$.detail.two[1]", '"Y"'),
            ("$.detail['n']", "7"),
        ],
    )
    def test_a_path(self, wiring, heard, path, expected):
        assert self.sent(wiring, heard, InputPath=path) == expected

    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ('"id <id> of <inner>"', '"id 42 of {a:b,c:d}"'),
            ('"<one> and <two>, <flag> <none>!"', '"[HIGH] and [X,Y], true !"'),
            ('{"id": <id>, "in": <inner>}', '{"id":"42","in":{"a":"b","c":"d"}}'),
            ('{"path": "users/<id>/<id>"}', '{"path":"users/42/42"}'),
            ('{"list": [<id>, "fixed"], "n": <n>}', '{"list":["42","fixed"],"n":7}'),
            ('{"none": <none>}', '{"none":""}'),
            ('"<id> is one"\n"<n> is another"', '"42 is one"\n"7 is another"'),
            ('"{[/odd start <id>"', '"{[/odd start 42"'),
            # Neither of these comes out as JSON, so nothing is sent.
            ("<two> words", None),
            ('{"quoted": "<two>"}', None),
        ],
    )
    def test_templates(self, wiring, heard, template, expected):
        names = ("id", "n", "flag", "inner", "one", "two", "none")
        transformer = {
            "InputPathsMap": {name: f"$.detail.{name}" for name in names},
            "InputTemplate": template,
        }
        assert self.sent(wiring, heard, InputTransformer=transformer) == expected

    def test_variables_that_are_always_there(self, wiring, heard):
        rule = Rule(wiring)
        template = '{"r": "<aws.events.rule-name> <aws.events.rule-arn>", "e": <aws.events.event>, "j": <aws.events.event.json>, "t": <aws.events.event.ingestion-time>}'
        rule.put_target(Id="1", Arn=heard.arn, InputTransformer={"InputTemplate": template})
        rule.send({"a": 1})
        (body,) = heard.bodies()
        assert body["r"] == f"{rule.name} {rule.arn}"
        assert body["j"]["detail"] == {"a": 1}
        assert "detail" not in body["e"] and body["e"]["detailType"] == "test"
        assert body["t"] == body["j"]["time"]


class TestFailures:
    """What happens to an event that can't be delivered."""

    def test_no_permission_goes_to_the_dead_letter_queue_at_once(self, wiring):
        closed, dead = wiring.queue("closed"), wiring.queue("dead", EVENTS)
        rule = Rule(wiring, {"Arn": closed.arn, "DeadLetterConfig": {"Arn": dead.arn}})
        event_id = rule.send({"n": 1})["EventId"]
        (message,) = dead.messages()
        assert json.loads(message["Body"])["id"] == event_id
        told = {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}
        assert "not authorized" in told.pop("ERROR_MESSAGE")
        assert told == {
            "RULE_ARN": rule.arn,
            "TARGET_ARN": closed.arn,
            "ERROR_CODE": "NO_PERMISSIONS",
            "RETRY_ATTEMPTS": "0",
        }
        assert wiring.metric("AWS/Events", "FailedInvocations", RuleName=rule.name) == 1
        assert wiring.metric("AWS/Events", "InvocationsSentToDlq", RuleName=rule.name) == 1

    def test_the_queues_policy_may_name_the_rule(self, wiring):
        queue = wiring.queue("closed")
        one, other = Rule(wiring, {"Arn": queue.arn}), Rule(wiring, {"Arn": queue.arn})
        queue.allow(EVENTS, condition={"ArnEquals": {"aws:SourceArn": one.arn}})
        one.send({"from": "one"})
        other.send({"from": "other"})
        assert [body["detail"]["from"] for body in queue.bodies()] == ["one"]

    def test_throttling_is_retried_on_the_labs_clock(self, wiring):
        """A stream of one shard takes a thousand records a second; more have to wait."""
        stream, dead = wiring.name("stream"), wiring.queue("dead", EVENTS)
        kinesis = wiring.client("kinesis")
        kinesis.create_stream(StreamName=stream, ShardCount=1)
        wiring.advance(minutes=1)
        rule = Rule(
            wiring,
            {
                "Arn": wiring.arn("kinesis", f"stream/{stream}"),
                "RoleArn": wiring.role(EVENTS, "kinesis:PutRecord"),
                "DeadLetterConfig": {"Arn": dead.arn},
            },
        )
        large = {"x": "y" * 900_000}
        for _ in range(3):
            rule.send(large)
        wiring.settle()
        for _ in range(4):
            wiring.advance(seconds=5)
        assert dead.texts() == []
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        assert len(kinesis.get_records(ShardIterator=iterator)["Records"]) == 3
        assert wiring.metric("AWS/Events", "RetryInvocationAttempts", RuleName=rule.name) >= 1

    def test_a_role_that_can_not_be_assumed(self, wiring):
        dead = wiring.queue("dead", EVENTS)
        rule = Rule(
            wiring,
            {
                "Arn": wiring.arn("kinesis", "stream/any"),
                "RoleArn": wiring.role("lambda.amazonaws.com", "kinesis:PutRecord"),
                "DeadLetterConfig": {"Arn": dead.arn},
            },
        )
        rule.send()
        (message,) = dead.messages()
        assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "FAILED_TO_ASSUME_ROLE"


class TestTargets:
    """Targets other than queues."""

    def test_a_topic(self, wiring, heard):
        sns = wiring.client("sns")
        topic = sns.create_topic(Name=wiring.name("topic"))["TopicArn"]
        rule = Rule(wiring, {"Arn": topic})
        heard.allow("sns.amazonaws.com")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=heard.arn)
        rule.send({"n": 1})
        assert heard.texts() == []
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": EVENTS},
            "Action": "sns:Publish",
            "Resource": topic,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        rule.send({"n": 2})
        (envelope,) = heard.bodies()
        assert json.loads(envelope["Message"])["detail"] == {"n": 2}

    def test_a_stream_with_a_key_from_the_event(self, wiring):
        stream, kinesis = wiring.name("stream"), wiring.client("kinesis")
        kinesis.create_stream(StreamName=stream, ShardCount=1)
        wiring.advance(minutes=1)
        rule = Rule(
            wiring,
            {
                "Arn": wiring.arn("kinesis", f"stream/{stream}"),
                "RoleArn": wiring.role(EVENTS, "kinesis:PutRecord"),
                "KinesisParameters": {"PartitionKeyPath": "$.detail.id"},
            },
        )
        rule.send({"id": "key"})
        wiring.settle()
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        (record,) = kinesis.get_records(ShardIterator=iterator)["Records"]
        assert record["PartitionKey"] == "key"
        assert json.loads(record["Data"])["detail"] == {"id": "key"}

    def test_another_bus(self, wiring, heard):
        bus = wiring.name("bus")
        arn = wiring.client("events").create_event_bus(Name=bus)["EventBusArn"]
        there = Rule(wiring, {"Arn": heard.arn}, bus=bus)
        here = Rule(wiring, {"Arn": arn})
        there.send({"n": 1})
        here.send({"n": 2}, Source=there.source)
        assert [body["detail"]["n"] for body in heard.bodies()] == [1]
        pattern = json.dumps({"source": [there.source]})
        here.events.put_rule(Name=here.name, EventPattern=pattern)
        here.send({"n": 3}, Source=there.source)
        assert [body["detail"]["n"] for body in heard.bodies()] == [3]

    def test_a_log_group_that_lets_eventbridge_write(self, wiring):
        logs, name = wiring.client("logs"), f"/aws/events/{wiring.name('rule')}"
        logs.create_log_group(logGroupName=name)
        rule = Rule(wiring, {"Arn": wiring.arn("logs", f"log-group:{name}")})
        rule.send({"n": 1})
        wiring.settle()
        assert logs.filter_log_events(logGroupName=name)["events"] == []
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": [EVENTS, "delivery.logs.amazonaws.com"]},
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": wiring.arn("logs", f"log-group:{name}:*"),
        }
        logs.put_resource_policy(
            policyName=wiring.name("events"),
            policyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        rule.send({"n": 2})
        wiring.settle()
        (line,) = logs.filter_log_events(logGroupName=name)["events"]
        assert json.loads(line["message"])["detail"] == {"n": 2}

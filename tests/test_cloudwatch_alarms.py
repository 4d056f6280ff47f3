"""Alarms on the lab's clock: when they change, why they say so, and whom they tell."""

from __future__ import annotations

import json

import pytest
from wiring_support import Function, Wiring, refusal, wiring  # noqa: F401

from labkit.localaws.alarm_evaluation import Point, Terms, judge
from labkit.localaws.alarm_rules import BadRule, read_rule

# -- how points are judged: the tables of the user guide -------------------------------------

OK, ALARM, UNKNOWN, SAME = "OK", "ALARM", "INSUFFICIENT_DATA", None
TABLES = [
    # points (latest last), needed, then with missing: missing, ignore, breaching, notBreaching
    ("0-X-X", 3, OK, OK, OK, OK),
    ("0----", 3, OK, OK, OK, OK),
    ("-----", 3, UNKNOWN, SAME, ALARM, OK),
    ("0XX-X", 3, ALARM, ALARM, ALARM, ALARM),
    ("--X--", 3, ALARM, SAME, ALARM, OK),
    ("0-X-X", 2, ALARM, ALARM, ALARM, ALARM),
    ("00X0X", 2, ALARM, ALARM, ALARM, ALARM),
    ("0-X--", 2, OK, OK, ALARM, OK),
    ("----0", 2, OK, OK, ALARM, OK),
    ("---X-", 2, ALARM, SAME, ALARM, OK),
    ("----X", 3, SAME, SAME, ALARM, OK),
    ("---X-", 3, SAME, SAME, ALARM, OK),
]
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


@pytest.mark.parametrize("drawn, needed, results", [(r[0], r[1], r[2:]) for r in TABLES])
def test_missing_data_as_in_the_guide(drawn, needed, results):
    points = [
        Point(300 - 60 * place, {"0": 0.0, "X": 9.0, "-": None}[mark], 1.0)
        for place, mark in enumerate(reversed(drawn))
    ]
    for treatment, expected in zip(TREATMENTS, results, strict=True):
        terms = Terms("GreaterThanThreshold", 5.0, 3, needed, treatment, 60, "Sum", None)
        assert judge(terms, points, "OK", 400.0).state == expected, treatment


@pytest.mark.parametrize(
    "operator, value, breaches",
    [
        ("GreaterThanThreshold", 5.0, False),
        ("GreaterThanOrEqualToThreshold", 5.0, True),
        ("LessThanThreshold", 5.0, False),
        ("LessThanOrEqualToThreshold", 5.0, True),
        ("LessThanThreshold", 4.9, True),
        ("GreaterThanThreshold", 5.1, True),
    ],
)
def test_comparisons(operator, value, breaches):
    terms = Terms(operator, 5.0, 1, None, "missing", 60, "Sum", None)
    assert (judge(terms, [Point(0, value, 1.0)], "OK", 60.0).state == ALARM) is breaches


def test_reasons_are_worded_as_cloudwatch_does():
    terms = Terms("GreaterThanThreshold", 21.0, 1, None, "missing", 10, "Average", "Seconds")
    verdict = judge(terms, [Point(1_600_000_000, 21.5, 2.0)], "OK", 1_600_000_010.5)
    assert verdict.reason == (
        "Threshold Crossed: 1 datapoint [21.5 (13/09/20 12:26:40)] was greater than the "
        "threshold (21.0)."
    )
    assert json.loads(verdict.reason_data) == {
        "version": "1.0",
        "queryDate": "2020-09-13T12:26:50.500+0000",
        "startDate": "2020-09-13T12:26:40.000+0000",
        "unit": "Seconds",
        "statistic": "Average",
        "period": 10,
        "recentDatapoints": [21.5],
        "threshold": 21.0,
        "evaluatedDatapoints": [
            {"timestamp": "2020-09-13T12:26:40.000+0000", "sampleCount": 2.0, "value": 21.5}
        ],
    }
    terms = Terms("GreaterThanThreshold", 2.0, 2, None, "breaching", 10, "Average", None)
    verdict = judge(terms, [Point(10, None), Point(0, None)], "OK", 20.0)
    assert verdict.reason == (
        "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints "
        "were treated as [Breaching]."
    )


# -- rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, holds",
    [
        ("ALARM(hot) AND NOT ALARM(cold)", True),
        ('ALARM("cold") OR OK(cold)', True),
        ("ALARM(hot) AND (ALARM(cold) OR INSUFFICIENT_DATA(new))", True),
        ("NOT (ALARM(hot) OR TRUE)", False),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:hot)", True),
        ("FALSE", False),
    ],
)
def test_rules_of_composite_alarms(rule, holds):
    states = {"hot": "ALARM", "cold": "OK", "new": "INSUFFICIENT_DATA"}
    assert read_rule(rule).holds(states.get) is holds


@pytest.mark.parametrize("rule", ["", "ALARM(a) AND", "ALARM a", "(ALARM(a)", "ALARM(a) OK(b)"])
def test_rules_that_cannot_be_read(rule):
    with pytest.raises(BadRule):
        read_rule(rule)


# -- running ---------------------------------------------------------------------------------


class Alarm:
    """One alarm on a metric of its own."""

    def __init__(self, lab: Wiring) -> None:
        self.wiring = lab
        self.client = lab.client("cloudwatch")
        self.name = lab.name("alarm")
        self.namespace = lab.name("Namespace")
        # Periods are whole minutes: begin with one.
        lab.advance(seconds=60 - lab.now() % 60 + 1)

    def config(self, **more) -> dict:
        config = {
            "AlarmName": self.name,
            "Namespace": self.namespace,
            "MetricName": "m",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 5.0,
            "ComparisonOperator": "GreaterThanThreshold",
            **more,
        }
        return {name: value for name, value in config.items() if value is not None}

    def put(self, **more) -> Alarm:
        self.client.put_metric_alarm(**self.config(**more))
        return self

    def sample(self, value: float) -> None:
        self.client.put_metric_data(
            Namespace=self.namespace, MetricData=[{"MetricName": "m", "Value": value}]
        )

    def described(self) -> dict:
        kinds = ["MetricAlarm", "CompositeAlarm"]
        answer = self.client.describe_alarms(AlarmNames=[self.name], AlarmTypes=kinds)
        return (answer["MetricAlarms"] + answer["CompositeAlarms"])[0]

    @property
    def state(self) -> str:
        return self.described()["StateValue"]

    def due(self) -> list:
        due = self.wiring.running.control("clock")["due"]
        return [name for _, name in due if name == f"alarm {self.name}"]


@pytest.fixture
def alarm(wiring) -> Alarm:  # noqa: F811
    return Alarm(wiring)


def test_a_new_alarm_knows_nothing(alarm):
    described = alarm.put().described()
    assert described["StateValue"] == "INSUFFICIENT_DATA"
    assert described["StateReason"] == "Unchecked: Initial alarm creation"
    assert described["ActionsEnabled"] is True and described["Dimensions"] == []


def test_an_alarm_follows_its_metric(alarm):
    alarm.put()
    alarm.sample(9)
    assert alarm.state == "INSUFFICIENT_DATA"
    alarm.wiring.advance(minutes=1)
    assert alarm.state == "ALARM"
    alarm.sample(1)
    alarm.wiring.advance(minutes=1)
    assert alarm.state == "OK"
    alarm.wiring.advance(minutes=10)
    assert alarm.state == "INSUFFICIENT_DATA"


def test_m_out_of_n(alarm):
    alarm.put(EvaluationPeriods=3, DatapointsToAlarm=2)
    for value, state in ((9, None), (1, None), (9, "ALARM"), (1, "OK")):
        alarm.sample(value)
        alarm.wiring.advance(minutes=1)
        if state:
            assert alarm.state == state
    assert "(minimum 2 datapoints for ALARM -> OK transition)" in alarm.described()["StateReason"]


def test_a_high_resolution_alarm_looks_every_ten_seconds(alarm):
    alarm.put(Period=10)
    now = alarm.wiring.now()
    alarm.client.put_metric_data(
        Namespace=alarm.namespace,
        MetricData=[{"MetricName": "m", "Value": 9, "StorageResolution": 1}],
    )
    alarm.wiring.advance(seconds=10)
    assert alarm.state == "ALARM" and alarm.wiring.now() - now < 15


def test_a_silent_alarm_has_nothing_due(alarm):
    alarm.put()
    alarm.wiring.advance(minutes=2)
    assert alarm.due() == []
    alarm.sample(1)
    assert alarm.due() != []
    alarm.wiring.advance(hours=1)
    assert alarm.due() == []


def test_an_alarm_on_an_expression(alarm):
    stat = {
        "Metric": {"Namespace": alarm.namespace, "MetricName": "m"},
        "Period": 60,
        "Stat": "Sum",
    }
    alarm.put(
        Namespace=None,
        MetricName=None,
        Statistic=None,
        Period=None,
        TreatMissingData="notBreaching",
        Metrics=[
            {"Id": "e1", "Expression": "m1 / 2", "Label": "half"},
            {"Id": "m1", "MetricStat": stat, "ReturnData": False},
        ],
    )
    alarm.sample(12)
    alarm.wiring.advance(minutes=1)
    assert alarm.state == "ALARM"
    assert "[6.0 (" in alarm.described()["StateReason"]
    alarm.wiring.advance(minutes=10)
    assert alarm.described()["StateReason"] == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was "
        "treated as [NonBreaching]."
    )


def test_an_alarm_on_a_queue_that_only_waits(alarm):
    queue = alarm.wiring.queue("backlog")
    name = queue.arn.rpartition(":")[2]
    alarm.put(
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        Statistic="Maximum",
        EvaluationPeriods=3,
        Threshold=1.0,
    )
    for _ in range(2):
        alarm.wiring.client("sqs").send_message(QueueUrl=queue.url, MessageBody="x")
    alarm.wiring.advance(minutes=4)
    assert alarm.state == "ALARM"


def test_topics_functions_and_event_buses_are_told(alarm):
    wiring = alarm.wiring  # noqa: F811
    topic = wiring.client("sns").create_topic(Name=wiring.name("topic"))["TopicArn"]
    queue = wiring.queue("told", "sns.amazonaws.com", "events.amazonaws.com")
    wiring.client("sns").subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=queue.arn,
        Attributes={"RawMessageDelivery": "true"},
    )
    function = Function(wiring)
    alarm_arn = wiring.arn("cloudwatch", f"alarm:{alarm.name}")
    function.allow("lambda.alarms.cloudwatch.amazonaws.com", alarm_arn)
    rule = wiring.name("rule")
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [alarm.name]}}
    wiring.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    wiring.client("events").put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": queue.arn}])
    alarm.put(AlarmActions=[topic, function.arn], OKActions=[topic], AlarmDescription="too many")
    alarm.sample(9)
    wiring.advance(minutes=1)
    bodies = queue.bodies()
    (mail,) = [body for body in bodies if "AlarmName" in body]
    assert (mail["NewStateValue"], mail["OldStateValue"]) == ("ALARM", "INSUFFICIENT_DATA")
    assert mail["Region"] == "US East (N. Virginia)" and mail["AlarmArn"] == alarm_arn
    assert mail["Trigger"] == {
        "MetricName": "m",
        "Namespace": alarm.namespace,
        "StatisticType": "Statistic",
        "Statistic": "SUM",
        "Unit": None,
        "Dimensions": [],
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 5.0,
        "TreatMissingData": "",
        "EvaluateLowSampleCountPercentile": "",
    }
    (event,) = [body for body in bodies if "detail-type" in body]
    assert event["detail-type"] == "CloudWatch Alarm State Change"
    assert event["detail"]["state"]["value"] == "ALARM"
    assert event["detail"]["previousState"]["value"] == "INSUFFICIENT_DATA"
    (call,) = function.events()
    assert call["source"] == "aws.cloudwatch" and call["alarmArn"] == alarm_arn
    assert call["alarmData"]["configuration"]["description"] == "too many"
    history = alarm.client.describe_alarm_history(AlarmName=alarm.name)["AlarmHistoryItems"]
    summaries = [item["HistorySummary"] for item in history]
    assert f"Successfully executed action {topic}" in summaries
    assert f"Successfully executed action {function.arn}" in summaries
    assert "Alarm updated from INSUFFICIENT_DATA to ALARM" in summaries
    assert summaries[-1] == f'Alarm "{alarm.name}" created'


def test_a_function_that_does_not_allow_alarms_is_not_invoked(alarm):
    function = Function(alarm.wiring)
    alarm.put(AlarmActions=[function.arn])
    alarm.client.set_alarm_state(AlarmName=alarm.name, StateValue="ALARM", StateReason="try")
    assert function.events() == []
    history = alarm.client.describe_alarm_history(AlarmName=alarm.name, HistoryItemType="Action")
    (item,) = history["AlarmHistoryItems"]
    assert item["HistorySummary"].startswith(f"Failed to execute action {function.arn}")


def test_switched_off_actions_stay_undone(alarm):
    wiring = alarm.wiring  # noqa: F811
    queue = wiring.queue("quiet", "sns.amazonaws.com")
    topic = wiring.client("sns").create_topic(Name=wiring.name("topic"))["TopicArn"]
    wiring.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    alarm.put(AlarmActions=[topic])
    alarm.client.disable_alarm_actions(AlarmNames=[alarm.name])
    state = {"AlarmName": alarm.name, "StateReason": "by hand"}
    alarm.client.set_alarm_state(StateValue="ALARM", **state)
    assert queue.messages() == []
    alarm.client.enable_alarm_actions(AlarmNames=[alarm.name])
    alarm.client.set_alarm_state(StateValue="OK", **state)
    alarm.client.set_alarm_state(StateValue="ALARM", **state)
    assert len(queue.messages()) == 1


def test_a_state_set_by_hand_lasts_until_the_next_evaluation(alarm):
    alarm.put()
    alarm.client.set_alarm_state(AlarmName=alarm.name, StateValue="ALARM", StateReason="by hand")
    assert alarm.described()["StateReason"] == "by hand"
    alarm.wiring.advance(minutes=2)
    assert alarm.state == "INSUFFICIENT_DATA"


def test_a_composite_alarm_follows_its_children(alarm):
    alarm.put()
    composite = Alarm(alarm.wiring)
    composite.client.put_composite_alarm(AlarmName=composite.name, AlarmRule=f"ALARM({alarm.name})")
    assert composite.state == "OK"
    alarm.sample(9)
    alarm.wiring.advance(minutes=1)
    described = composite.described()
    assert described["StateValue"] == "ALARM"
    arn = alarm.described()["AlarmArn"]
    assert described["StateReason"].startswith(f"{arn} transitioned to ALARM at ")
    (trigger,) = json.loads(described["StateReasonData"])["triggeringAlarms"]
    assert trigger["arn"] == arn and trigger["state"]["value"] == "ALARM"
    error = refusal(
        composite.client.put_composite_alarm, AlarmName="c", AlarmRule="ALARM(not-there)"
    )
    assert error["Code"] == "ValidationError"


def test_tags_go_with_the_alarm(alarm):
    arn = alarm.put(Tags=[{"Key": "team", "Value": "shop"}]).described()["AlarmArn"]
    tags = alarm.client.list_tags_for_resource(ResourceARN=arn)["Tags"]
    assert tags == [{"Key": "team", "Value": "shop"}]
    alarm.client.tag_resource(ResourceARN=arn, Tags=[{"Key": "stage", "Value": "test"}])
    assert len(alarm.client.list_tags_for_resource(ResourceARN=arn)["Tags"]) == 2
    alarm.client.delete_alarms(AlarmNames=[alarm.name])
    assert alarm.client.list_tags_for_resource(ResourceARN=arn)["Tags"] == []


def test_a_deleted_alarm_is_gone(alarm):
    alarm.put()
    alarm.sample(9)
    alarm.client.delete_alarms(AlarmNames=[alarm.name, "never-was"])
    alarm.wiring.advance(minutes=1)
    assert alarm.client.describe_alarms(AlarmNames=[alarm.name])["MetricAlarms"] == []
    assert alarm.due() == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"Period": 45}, "Period must be 10, 20, 30 or a multiple of 60"),
        (
            {"EvaluationPeriods": 1441},
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be "
            "<= 86400).",
        ),
        (
            {"TreatMissingData": "guess"},
            "Option guess is not supported. Supported options for parameter TreatMissingData are "
            "breaching, notBreaching, ignore and missing.",
        ),
        ({"AlarmActions": ["topic"]}, "Invalid arn syntax: topic"),
    ],
)
def test_what_put_metric_alarm_refuses(alarm, change, message):
    error = refusal(alarm.client.put_metric_alarm, **alarm.config(**change))
    assert (error["Code"], error["Message"]) == ("ValidationError", message)


def test_set_alarm_state_of_nothing_and_to_nonsense(alarm):
    call = alarm.client.set_alarm_state
    error = refusal(call, AlarmName="never-was", StateValue="OK", StateReason="r")
    assert (error["Code"], error["Message"]) == ("ResourceNotFound", "")
    error = refusal(call, AlarmName="x", StateValue="INVALID", StateReason="r")
    assert error["Code"] == "ValidationError"
    assert error["Message"] == (
        "1 validation error detected: Value 'INVALID' at 'stateValue' failed to satisfy "
        "constraint: Member must satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]"
    )


def test_alarms_of_one_metric(alarm):
    alarm.put()
    found = alarm.client.describe_alarms_for_metric(Namespace=alarm.namespace, MetricName="m")
    assert [each["AlarmName"] for each in found["MetricAlarms"]] == [alarm.name]
    other = alarm.client.describe_alarms_for_metric(Namespace=alarm.namespace, MetricName="n")
    assert other["MetricAlarms"] == []

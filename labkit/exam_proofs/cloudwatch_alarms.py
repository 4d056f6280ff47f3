"""Proofs on CloudWatch's alarms: missing data, M out of N, and how to test one."""

from __future__ import annotations

import json

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations


def _alarm(aws: Bench, stem: str, **config) -> str:
    """The name of a new alarm on a metric above 0; *config* as in PutMetricAlarm."""
    cloudwatch = aws.client("cloudwatch")
    name = aws.name(stem)
    defaults = {
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "Period": 60,
        "EvaluationPeriods": 1,
        "Statistic": "Sum",
    }
    cloudwatch.put_metric_alarm(AlarmName=name, **(defaults | config))
    aws.defer(cloudwatch.delete_alarms, AlarmNames=[name])
    return name


def _state(aws: Bench, alarm: str) -> str:
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=[alarm])
    return found["MetricAlarms"][0]["StateValue"]


def missing_data(aws: Bench) -> Observations:
    """cloudwatch-03: how an alarm treats missing data decides its state between invocations."""
    cloudwatch, see = aws.client("cloudwatch"), Observations()
    space = aws.name("rare")
    metric = {"Namespace": space, "MetricName": "Errors"}
    alarms = {
        treat: _alarm(aws, treat, **metric, TreatMissingData=treat)
        for treat in ("missing", "notBreaching", "breaching", "ignore")
    }
    aws.clock.advance(minutes=5)
    states = {treat: _state(aws, alarm) for treat, alarm in alarms.items()}
    see("missing, the default, with no data", states["missing"], "INSUFFICIENT_DATA")
    see("notBreaching, with no data", states["notBreaching"], "OK", supports="not-breaching")
    see("breaching, with no data", states["breaching"], "ALARM", refutes="breaching")
    cloudwatch.put_metric_data(
        Namespace=space,
        MetricData=[{"MetricName": "Errors", "Value": 1, "Timestamp": aws.clock.now()}],
    )
    aws.clock.advance(minutes=2)
    see(
        "notBreaching, after an error",
        _state(aws, alarms["notBreaching"]),
        "ALARM",
        supports="not-breaching",
    )
    aws.clock.advance(hours=2)
    later = {treat: _state(aws, alarm) for treat, alarm in alarms.items()}
    see("notBreaching, two hours later", later["notBreaching"], "OK", supports="not-breaching")
    see("ignore, two hours later", later["ignore"], "ALARM", refutes="ignore")
    short = _alarm(aws, "short", **metric, Period=60)
    aws.clock.advance(minutes=5)
    see(
        "A period of one minute, with no data",
        _state(aws, short),
        "INSUFFICIENT_DATA",
        refutes="longer-period",
    )
    return see


def m_out_of_n(aws: Bench) -> Observations:
    """cloudwatch-04: M out of N counts bad periods that need not be in a row."""
    cloudwatch, see = aws.client("cloudwatch"), Observations()
    space = aws.name("latency")
    metric = {"Namespace": space, "MetricName": "Latency", "Threshold": 100}
    alarms = {
        "3 of 5": _alarm(
            aws, "3-of-5", **metric, EvaluationPeriods=5, DatapointsToAlarm=3, Statistic="Average"
        ),
        "3 of 3": _alarm(
            aws, "3-of-3", **metric, EvaluationPeriods=3, DatapointsToAlarm=3, Statistic="Average"
        ),
        "5 minutes": _alarm(
            aws, "5-min", **(metric | {"Threshold": 200}), Period=300, Statistic="Average"
        ),
        "maximum": _alarm(aws, "maximum", **metric, Statistic="Maximum"),
    }

    def alarmed_during(*minutes: float) -> set[str]:
        """Which alarms were in ALARM at some time while these values came, one a minute."""
        seen: set[str] = set()
        for value in minutes:
            cloudwatch.put_metric_data(
                Namespace=space,
                MetricData=[
                    {"MetricName": "Latency", "Value": value, "Timestamp": aws.clock.now()}
                ],
            )
            aws.clock.advance(seconds=60)
            seen |= {name for name, alarm in alarms.items() if _state(aws, alarm) == "ALARM"}
        for _ in range(3):
            aws.clock.advance(seconds=20)
            seen |= {name for name, alarm in alarms.items() if _state(aws, alarm) == "ALARM"}
        return seen

    alarmed_during(*[50] * 11)
    one_bad = alarmed_during(50, 5000, 50, 50, 50, 50, 50, 50, 50, 50, 50)
    see(
        "One very slow minute: 3 of 5 goes off",
        "3 of 5" in one_bad,
        False,
        supports="three-of-five",
    )
    see(
        "One very slow minute: these go off",
        sorted(one_bad),
        ["5 minutes", "maximum"],
        refutes="five-minutes maximum",
    )
    scattered = alarmed_during(150, 50, 150, 50, 150, 50)
    see(
        "Three slow minutes of five, not in a row: 3 of 5 goes off",
        "3 of 5" in scattered,
        True,
        supports="three-of-five",
    )
    see("and 3 of 3", "3 of 3" in scattered, False, refutes="three")
    return see


def test_an_alarm(aws: Bench) -> Observations:
    """cloudwatch-08: SetAlarmState runs the alarm's actions as in earnest."""
    cloudwatch, see = aws.client("cloudwatch"), Observations()
    topic, repair = aws.topic("alarms"), aws.queue("repair")
    aws.subscribe(topic, repair)
    alarm = _alarm(
        aws,
        "fault",
        Namespace=aws.name("app"),
        MetricName="Faults",
        AlarmActions=[topic],
        TreatMissingData="notBreaching",
    )
    aws.clock.advance(minutes=3)
    aws.messages(repair)
    cloudwatch.disable_alarm_actions(AlarmNames=[alarm])
    cloudwatch.enable_alarm_actions(AlarmNames=[alarm])
    see("Actions disabled and enabled: messages", aws.messages(repair), [], refutes="disable")
    shown = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["AlarmActions"]
    see(
        "DescribeAlarms shows the action; messages",
        (shown, aws.messages(repair)),
        ([topic], []),
        refutes="describe",
    )
    aws.client("sns").publish(TopicArn=topic, Message="by hand")
    body = json.loads(aws.messages(repair, at_least=1)[0]["Body"])
    see("Published by hand: the alarm's part in it", body["Message"], "by hand", refutes="publish")
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    body = json.loads(aws.messages(repair, at_least=1, seconds=20)[0]["Body"])
    told = json.loads(body["Message"])
    see(
        "After SetAlarmState the subscriber hears",
        (told["AlarmName"], told["NewStateValue"]),
        (alarm, "ALARM"),
        supports="set-state",
    )
    aws.clock.advance(minutes=3)
    see("Minutes later the alarm is again", _state(aws, alarm), "OK", supports="set-state")
    return see

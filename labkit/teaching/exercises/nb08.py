"""The exercises of notebook 08: a size and a rate from metrics, and an alarm that is needed."""

from __future__ import annotations

import uuid
from numbers import Real
from typing import Any

from labkit import metrics, traffic
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, Wrong, expect
from labkit.waiting import until

ALARM = "rejected-orders"


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 08, some good orders and a bad one measured, and no alarm."""
    cloudwatch, since = lab.client("cloudwatch"), lab.clock.now()
    cloudwatch.delete_alarms(AlarmNames=[ALARM])
    for number in range(3):
        traffic.invoke(lab, {"OrderId": f"NB08-{uuid.uuid4().hex}", "Amount": 20 + number})
    traffic.invoke(lab, {"OrderId": f"NB08-{uuid.uuid4().hex}"})
    lab.settle()
    incoming = until(lab, "Waiting for metrics", lambda: _some(metrics.stream(lab, since)))[0]
    return {"lab": lab, "names": lab.names, "cloudwatch": cloudwatch, "metrics": metrics,
            "traffic": traffic, "since": since, "incoming": incoming}  # fmt: skip


def bytes_a_record(lab: Lab, size: Any, since: Any) -> str:
    """Whether *size* is the average size of a record on the stream since then."""
    found = metrics.stream(lab, since).sum()
    records, total = found["IncomingRecords"], found["IncomingBytes"]
    expect(records, "records on the stream since this notebook began", "none", "the first cells")
    _near(
        size,
        total / records,
        "bytes a record",
        f"bytes divided by records: {total:.0f} and {records:.0f}",
    )
    return f"{float(size):.0f} bytes a record, over {records:.0f} records."


def percent_failed(lab: Lab, percent: Any, since: Any) -> str:
    """Whether *percent* is the share of the function's invocations that failed since then."""
    found = metrics.function(lab, since)
    errors, runs = found["Errors"].sum(), found["Invocations"].sum()
    expect(runs, "invocations since this notebook began", "none", "the first cells")
    _near(
        percent,
        100 * errors / runs,
        "percent",
        f"the sums of both columns, {errors:.0f} errors of {runs:.0f} runs, in percent",
    )
    return f"{errors:.0f} of {runs:.0f} runs failed."


def tells_of_rejected(lab: Lab) -> str:
    """Whether an alarm goes off as soon as one message lies in the dead-letter queue."""
    alarms = lab.client("cloudwatch").describe_alarms(AlarmNames=[ALARM])["MetricAlarms"]
    expect(alarms, f"an alarm called {ALARM}", "none", "cloudwatch.put_metric_alarm")
    alarm = alarms[0]
    where = f"the alarm {ALARM}"
    dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])}
    for part, wanted, found in (
        ("Namespace", "AWS/SQS", alarm.get("Namespace")),
        ("MetricName", "ApproximateNumberOfMessagesVisible", alarm.get("MetricName")),
        ("Dimensions", {"QueueName": lab.names.dead_letter_queue}, dimensions),
        ("Statistic", "Maximum", alarm.get("Statistic")),
    ):
        expect(found == wanted, f"{part} {wanted}", found, where)
    operator, threshold = alarm["ComparisonOperator"], alarm["Threshold"]
    expect(
        _breaches(operator, threshold, 1),
        "an alarm at one message",
        f"{operator} {threshold:g}, which one message does not reach",
        f"Threshold and ComparisonOperator of {where}",
    )
    expect(
        not _breaches(operator, threshold, 0),
        "quiet when the queue is empty",
        f"{operator} {threshold:g}, which 0 fulfils",
        f"Threshold and ComparisonOperator of {where}",
    )
    seconds = alarm["Period"] * alarm["EvaluationPeriods"]
    expect(
        seconds <= 900,
        "to be told within a quarter of an hour",
        f"{seconds} seconds",
        f"Period times EvaluationPeriods of {where}",
    )
    return f"one rejected order, and the alarm goes off within {seconds} seconds."


def _breaches(operator: str, threshold: float, value: float) -> bool:
    return {
        "GreaterThanThreshold": value > threshold,
        "GreaterThanOrEqualToThreshold": value >= threshold,
        "LessThanThreshold": value < threshold,
        "LessThanOrEqualToThreshold": value <= threshold,
    }.get(operator, False)


def _near(found: Any, right: float, unit: str, look: str) -> None:
    """Orders may have come in between two looks: two in a hundred are no mistake."""
    expect(isinstance(found, Real), "a number", f"{type(found).__name__} {found!r}"[:80], look)
    near = abs(float(found) - right) <= 0.02 * abs(right) + 1e-9
    expect(near, f"about {right:.4g} {unit}", f"{float(found):.4g}", look)


def _some(frame: Any) -> list[Any]:
    """The table in a list, which is empty while the table has nothing in it."""
    return [frame] if len(frame) and frame["IncomingRecords"].sum() else []


_SIZE = """\
totals = incoming.sum()
size = %s
check("08.1", size, since)"""

_RATE = """\
used = metrics.function(lab, since)
percent = %s
check("08.2", percent, since)"""

_ALARM = """\
cloudwatch.put_metric_alarm(
    AlarmName="rejected-orders",
    Namespace="AWS/SQS",
    MetricName="ApproximateNumberOfMessagesVisible",
    Dimensions=[{"Name": "QueueName", "Value": names.dead_letter_queue}],
    Statistic="Maximum",
    Period=60,
    EvaluationPeriods=1,
    Threshold=0,
    ComparisonOperator="GreaterThanThreshold",
)
check("08.3")"""

EXERCISES = (
    Exercise(
        id="08.1",
        title="How many bytes an order?",
        task="The stream's bill depends on how large a record is. From the stream's two metrics, "
        "compute the average size of a record in bytes.",
        difficulty=1,
        minutes=5,
        skills=("4.1.2",),
        hints=(
            "`totals` has one sum for each of the two metrics.",
            'Bytes divided by records: `totals["IncomingBytes"]` and the other one.',
        ),
        start=_SIZE % "None",
        solution=_SIZE % 'totals["IncomingBytes"] / totals["IncomingRecords"]',
        wants=("size", "since"),
        look=bytes_a_record,
        scene=scene,
        wrong=(
            Wrong(_SIZE % 'totals["IncomingBytes"]', "bytes divided by records"),
            Wrong(
                _SIZE % 'totals["IncomingRecords"] / totals["IncomingBytes"]',
                "bytes divided by records",
            ),
            Wrong(_SIZE % "totals", "expected a number"),
            Wrong('size = 2 * size\ncheck("08.1", size, since)', "bytes divided by records", True),
        ),
    ),
    Exercise(
        id="08.2",
        title="Error rate",
        task="Your team promises that fewer than one invocation in a hundred fails. Compute the "
        "share of invocations that failed since this notebook began, in percent.",
        difficulty=2,
        minutes=10,
        skills=("4.1.2",),
        hints=(
            "Both numbers are columns of `used`, a row a minute.",
            "Sum both columns first, then divide: an average of the minutes' rates would count a "
            "quiet minute as much as a busy one.",
        ),
        start=_RATE % 'used["Errors"]',
        solution=_RATE % '100 * used["Errors"].sum() / used["Invocations"].sum()',
        remark="As metric math: `100 * errors / invocations`.",
        wants=("percent", "since"),
        look=percent_failed,
        scene=scene,
        wrong=(
            Wrong(_RATE % 'used["Errors"].sum() / used["Invocations"].sum()', "in percent"),
            Wrong(
                _RATE % '100 - 100 * used["Errors"].sum() / used["Invocations"].sum()',
                "the sums of both columns",
            ),
            Wrong(_RATE % '100 * used["Errors"] / used["Invocations"]', "expected a number"),
            Wrong('percent += 5\ncheck("08.2", percent, since)', "the sums of both columns", True),
        ),
    ),
    Exercise(
        id="08.3",
        title="An alarm on the dead-letter queue",
        task="Rejected orders lie in `RejectedOrdersQueue`, and nobody looks into it. Make an "
        "alarm called `rejected-orders` that goes off as soon as one message lies there.",
        difficulty=3,
        minutes=15,
        skills=("4.2.5", "1.2.3"),
        hints=(
            "Take the alarm above as a model; another namespace, metric and dimension.",
            "SQS's gauge of what lies in a queue is `ApproximateNumberOfMessagesVisible`, in "
            "`AWS/SQS`, by `QueueName`.",
            "Of a gauge take the `Maximum`: adding up what lies there minute by minute means "
            "nothing. Above 0.",
        ),
        start="""\
watched = {"Name": "QueueName", "Value": names.dead_letter_queue}
check("08.3")""",
        solution=_ALARM,
        remark="Every dead-letter queue needs this alarm. To be told by mail, name a topic in "
        "`AlarmActions`.",
        look=tells_of_rejected,
        scene=scene,
        wrong=(
            Wrong(_ALARM.replace("Threshold=0", "Threshold=1"), "which one message does not reach"),
            Wrong(_ALARM.replace("GreaterThan", "GreaterThanOrEqualTo"), "which 0 fulfils"),
            Wrong(_ALARM.replace("names.dead_letter_queue", "names.queue"), "RejectedOrdersQueue"),
            Wrong(
                _ALARM.replace("ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent"),
                "expected MetricName ApproximateNumberOfMessagesVisible",
            ),
            Wrong(_ALARM.replace('"Maximum"', '"Sum"'), "expected Statistic Maximum"),
            Wrong(
                'cloudwatch.delete_alarms(AlarmNames=["rejected-orders"])\ncheck("08.3")',
                "an alarm called rejected-orders",
                after_solution=True,
            ),
        ),
    ),
)

"""The exercises of notebook 09: exact money, two ways into a queue, a prediction that is tested."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import labkit
from labkit import evidence, orders, reading, traffic
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, Wrong, expect

_DAY = Path(__file__).resolve().parents[3] / "data" / "orders" / "day.jsonl"


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 09, and the pipeline in order."""
    labkit.build(lab)
    day = orders.read(_DAY)
    judged = [orders.judge(record.body) for record in day]
    amounts = [order["Amount"] for one in judged for order in one.orders]
    return {"lab": lab, "labkit": labkit, "names": lab.names, "day": day, "judged": judged,
            "amounts": amounts, "evidence": evidence, "reading": reading}  # fmt: skip


def exact_total(lab: Lab, total: Any) -> str:
    """Whether *total* is the exact sum of the day's amounts."""
    judged = [orders.judge(record.body) for record in orders.read(_DAY)]
    found = [order["Amount"] for one in judged for order in one.orders]
    right = sum(found, Decimal(0))
    expect(
        isinstance(total, Decimal),
        "a Decimal, which is exact",
        f"{type(total).__name__} {total!r}"[:80],
        "what you add up: the amounts are Decimal already",
    )
    expect(total == right, f"{len(found)} amounts, {right} together", total, "amounts")
    return f"{right}, to the last digit, over {len(found)} orders."


def tells_sources_apart(lab: Lab, sources: Callable[[list[Any]], Any]) -> str:
    """Whether ``sources(messages)`` counts own messages and the topic's, by what a queue holds."""
    expect(
        callable(sources),
        "the function sources",
        f"a {type(sources).__name__}",
        "the call of check: hand over sources itself, without parentheses",
    )
    order = {"OrderId": f"CHECK-{uuid.uuid4().hex}", "Amount": 301}
    traffic.invoke(lab, order)
    lab.settle()
    there = [
        message
        for message in reading.messages(lab, lab.names.queue)
        if (message.order or {}).get("OrderId") == order["OrderId"]
    ]
    by_way = {message.notification is not None: message for message in there}
    expect(
        by_way.keys() == {True, False},
        "one message of the function and one of the topic about an order of the check's own",
        f"{len(there)} messages",
        "labkit.build(lab), which puts the pipeline in order",
    )
    for own, topics in ((1, 1), (1, 0), (0, 1), (3, 2)):
        found = sources([by_way[False]] * own + [by_way[True]] * topics)
        counted = tuple(found) if isinstance(found, list | tuple) else found
        expect(
            counted == (own, topics),
            f"({own}, {topics}) for {own} of the function and {topics} of the topic",
            repr(found),
            "message.notification, which is None for the function's own",
        )
    return "you can tell what the function sent from what the topic sent."


def breakage_predicted(lab: Lab, prediction: Any, repair: Callable[[], Any]) -> str:
    """Whether *prediction* names the steps that fail without the subscription, and repair works."""
    usable = isinstance(prediction, set | list | tuple) and all(
        isinstance(one, int) for one in prediction
    )
    expect(usable, "numbers of steps, such as {1, 2}", repr(prediction)[:80], "prediction")
    expect(callable(repair), "the function repair", repr(repair)[:80], "repair, without ()")
    _unsubscribe(lab)
    try:
        report = evidence.verify(lab)
        failed = {number for number, one in enumerate(report.steps, 1) if not one["ok"]}
        shown = ", ".join(map(str, sorted(failed)))
        expect(
            set(prediction) == failed,
            f"the failing steps {{{shown}}} when HighValueQueue is no longer subscribed",
            f"{sorted(prediction)}",
            "what each step of the report looks at",
        )
        repair()
        after = evidence.verify(lab)
        wrong = [one["name"] for one in [*after.steps, *after.confirmations] if not one["ok"]]
    finally:
        labkit.build(lab)
    expect(
        not wrong,
        "all seventeen to hold after your repair",
        f"{len(wrong)} that do not: {', '.join(wrong)}",
        "what the first cell of each notebook calls",
    )
    return f"step {shown} failed, as you said, and your repair holds."


def _unsubscribe(lab: Lab) -> None:
    sns = lab.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=lab.names.topic_arn)
    for one in [one for page in pages for one in page["Subscriptions"]]:
        if one["Endpoint"] == lab.names.queue_arn:
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


_TOTAL = """\
total = %s
check("09.1", total)"""

_SOURCES = """\
def sources(messages):
    %s


check("09.2", sources)"""

_BREAK = """\
prediction = {%s}


def repair():
    %s


check("09.3", prediction, repair)"""

EXERCISES = (
    Exercise(
        id="09.1",
        title="Count the money",
        task="The accountant asks what the day's orders are worth together, to the last cent.",
        difficulty=1,
        minutes=5,
        skills=("1.3.5",),
        hints=("The amounts are `Decimal`; their sum is exact, and a float never is.",),
        start=_TOTAL % "None",
        solution=_TOTAL % "sum(amounts)",
        wants=("total",),
        look=exact_total,
        scene=scene,
        wrong=(
            Wrong(_TOTAL % "sum(float(amount) for amount in amounts)", "found float"),
            Wrong(_TOTAL % "sum(set(amounts))", "400 amounts"),
            Wrong(_TOTAL % "sum(one for one in amounts if one > 300)", "400 amounts"),
            Wrong('total += 1\ncheck("09.1", total)', "400 amounts", True),
        ),
    ),
    Exercise(
        id="09.2",
        title="Whose message is it?",
        task="A worker must not ship an order twice. Write `sources`: it takes messages of "
        "`HighValueQueue`, as `reading.messages(lab, names.queue)` returns them, and returns how "
        "many the function sent and how many the topic, as a pair.",
        difficulty=2,
        minutes=10,
        skills=("1.1.8", "4.1.7"),
        hints=(
            "What comes through the topic lies in an envelope, and the function's own does not.",
            "`message.notification` is `None` for the function's own.",
        ),
        start=_SOURCES % "return len(messages), 0",
        solution=_SOURCES % "own = sum(message.notification is None for message in messages)\n"
        "    return own, len(messages) - own",
        wants=("sources",),
        look=tells_sources_apart,
        scene=scene,
        wrong=(
            Wrong(
                _SOURCES % "own = sum(message.notification is None for message in messages)\n"
                "    return len(messages) - own, own",
                "(1, 0) for 1 of the function",
            ),
            Wrong(
                _SOURCES % "return len(messages) // 2, len(messages) // 2", "(1, 0) for 1 of the"
            ),
            Wrong(
                _SOURCES % 'return sum("OrderId" in m.body for m in messages), 0',
                "message.notification",
            ),
        ),
    ),
    Exercise(
        id="09.3",
        title="Break it your way",
        task="Somebody unsubscribes `HighValueQueue` from the topic. Predict which of the ten "
        "steps of the report fail, by number, and write `repair`, which puts the pipeline right "
        "again. `check` breaks it, verifies, calls `repair`, and verifies once more.",
        difficulty=3,
        minutes=15,
        skills=("3.2.5", "4.1.7"),
        hints=(
            "The function still sends its own message to the queue. Who else sends there?",
            "Read in the report above what each step looks at: one of them needs the envelope.",
            "The repair is one call, and you know it from the first cell.",
        ),
        start=_BREAK % ("1", "pass"),
        solution=_BREAK % ("7", "labkit.build(lab)"),
        remark="`labkit.build(lab)` puts right whatever differs, and nothing else.",
        wants=("prediction", "repair"),
        look=breakage_predicted,
        scene=scene,
        wrong=(
            Wrong(_BREAK % ("7, 9", "labkit.build(lab)"), "the failing steps {7}"),
            Wrong(_BREAK % ("9", "labkit.build(lab)"), "the failing steps {7}"),
            Wrong(_BREAK % ("7", "pass"), "all seventeen to hold after your repair"),
            Wrong(_BREAK % ("7", 'labkit.build(lab, through="05")'), "all seventeen to hold"),
        ),
    ),
)

"""The exercises of notebook 05: how long a message hides, where poison goes, who hears what."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from labkit import policies
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, Wrong, expect
from labkit.waiting import looks

QUEUE = "ExerciseQueue"
POISON = "PoisonQueue"
TOPIC = "ExerciseTopic"
EUROS = "EuroQueue"


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 05, and none of the exercises' own resources."""
    sqs, sns = lab.client("sqs"), lab.client("sns")
    for name in (QUEUE, POISON, EUROS):
        if (url := _url(lab, name)) is not None:
            sqs.delete_queue(QueueUrl=url)
    sns.delete_topic(TopicArn=replace(lab.names, topic=TOPIC).topic_arn)
    return {"lab": lab, "names": lab.names, "sns": sns, "sqs": sqs, "json": json,
            "policies": policies}  # fmt: skip


def hidden_for_half_an_hour(lab: Lab) -> str:
    """Whether messages of ExerciseQueue stay hidden for 30 minutes."""
    hidden = int(_attributes(lab, QUEUE)["VisibilityTimeout"])
    expect(
        hidden == 1800,
        "a visibility timeout of 1800 seconds (30 minutes)",
        f"{hidden} seconds",
        f"the attribute VisibilityTimeout of {QUEUE}: it counts in seconds",
    )
    return f"a message of {QUEUE} stays hidden for {hidden} seconds after it was received."


def poison_moves_away(lab: Lab) -> str:
    """Whether a message that was received twice moves to another queue, that exists."""
    attributes = _attributes(lab, QUEUE)
    where = f"the attribute RedrivePolicy of {QUEUE}"
    expect("RedrivePolicy" in attributes, "a redrive policy", "none", where)
    redrive = json.loads(attributes["RedrivePolicy"])
    count = int(redrive["maxReceiveCount"])
    expect(
        count == 2,
        "maxReceiveCount 2: received twice, moved away the third time",
        f"maxReceiveCount {count}",
        where,
    )
    target = redrive["deadLetterTargetArn"]
    own = attributes["QueueArn"]
    expect(target != own, "another queue as the target", f"{QUEUE} itself", where)
    name = target.rpartition(":")[2]
    exists = _url(lab, name)
    expect(exists, f"a queue {name}, which the policy names", "none", "sqs.create_queue")
    return f"after two receives a message moves from {QUEUE} to {name}."


def only_euros(lab: Lab) -> str:
    """Whether EuroQueue gets messages about euros, and no others, by the message's body."""
    names = replace(lab.names, topic=TOPIC, queue=EUROS)
    mark = uuid.uuid4().hex
    filters = _filter_of(lab, names.topic_arn, names.queue_arn)
    sent = {currency: f"{currency}-{mark}" for currency in ("EUR", "USD")}
    for currency, identifier in sent.items():
        body = json.dumps({"OrderId": identifier, "Currency": currency, "Amount": 5})
        lab.client("sns").publish(TopicArn=names.topic_arn, Message=body)
    arrived = _arrived(lab, EUROS, sent["EUR"], seconds=1.0 if lab.control else 20.0)
    where = f"the attributes of the subscription of {EUROS}: {filters}"
    expect(
        sent["EUR"] in arrived,
        'a message with "Currency": "EUR" in its body to arrive',
        "nothing",
        where,
    )
    expect(
        sent["USD"] not in arrived,
        'a message with "Currency": "USD" to be held back',
        "that it arrived",
        where,
    )
    return f"{EUROS} got the order in EUR and not the one in USD."


def _filter_of(lab: Lab, topic_arn: str, queue_arn: str) -> str:
    """The filter of the queue's subscription, in words."""
    sns = lab.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
    mine = [one for page in pages for one in page["Subscriptions"] if one["Endpoint"] == queue_arn]
    expect(mine, f"a subscription of {EUROS} to {TOPIC}", "none", "sns.subscribe")
    arn = mine[0]["SubscriptionArn"]
    found = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    scope = found.get("FilterPolicyScope", "MessageAttributes")
    return f"FilterPolicy {found.get('FilterPolicy', 'none')}, FilterPolicyScope {scope}"


def _arrived(lab: Lab, queue: str, awaited: str, seconds: float) -> str:
    """All that lies in the queue, taken out of it, once *awaited* came or time is up."""
    sqs, url = lab.client("sqs"), _url(lab, queue)
    expect(url, f"a queue {queue}", "none", "the first lines of the exercise's cell")
    bodies: list[str] = []

    def look() -> bool:
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return any(awaited in body for body in bodies)

    lab.settle()
    looks(lab, "Waiting for the message", look, seconds)
    # What has to be held back might come later than what was awaited.
    lab.settle()
    look()
    return "\n".join(bodies)


def _attributes(lab: Lab, queue: str) -> dict[str, str]:
    url = _url(lab, queue)
    expect(url, f"a queue {queue}", "none", "the first line of the exercise's cell")
    sqs = lab.client("sqs")
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def _url(lab: Lab, queue: str) -> str | None:
    sqs = lab.client("sqs")
    try:
        return sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        return None


_HALF_AN_HOUR = """\
exercise_url = sqs.create_queue(QueueName="ExerciseQueue")["QueueUrl"]
attributes = {"VisibilityTimeout": "%s"}
sqs.set_queue_attributes(QueueUrl=exercise_url, Attributes=attributes)
check("05.1")"""

_REDRIVE = """\
exercise_url = sqs.create_queue(QueueName="ExerciseQueue")["QueueUrl"]
poison_url = sqs.create_queue(QueueName="PoisonQueue")["QueueUrl"]
wanted = ["QueueArn"]
poison = sqs.get_queue_attributes(QueueUrl=poison_url, AttributeNames=wanted)
poison_arn = poison["Attributes"]["QueueArn"]
redrive = {%s}
sqs.set_queue_attributes(
    QueueUrl=exercise_url, Attributes={"RedrivePolicy": json.dumps(redrive)}
)
check("05.2")"""

_EUROS = """\
from dataclasses import replace

mine = replace(names, topic="ExerciseTopic", queue="EuroQueue")
topic = sns.create_topic(Name=mine.topic)["TopicArn"]
allowed = {"Policy": json.dumps(policies.queue_takes_from_topic(mine))}
sqs.create_queue(QueueName=mine.queue, Attributes=allowed)
euros = sns.subscribe(
    TopicArn=topic, Protocol="sqs", Endpoint=mine.queue_arn, ReturnSubscriptionArn=True
)["SubscriptionArn"]
%scheck("05.3")"""

_SET = """\
settings = {%s}
for name, value in settings.items():
    sns.set_subscription_attributes(
        SubscriptionArn=euros, AttributeName=name, AttributeValue=value
    )
"""


def _filtered(settings: str) -> str:
    return _EUROS % (_SET % settings)


EXERCISES = (
    Exercise(
        id="05.1",
        title="Ask for half an hour",
        task="A worker needs up to 30 minutes for a message. Give `ExerciseQueue` the visibility "
        "timeout that it needs, so that nobody else gets the message meanwhile.",
        difficulty=1,
        minutes=5,
        skills=("1.1.8",),
        hints=(
            "The attribute is there already; only its value is the default one.",
            'It counts in seconds and wants text: "60" would be one minute. At most "43200".',
        ),
        start=_HALF_AN_HOUR % "30",
        solution=_HALF_AN_HOUR % "1800",
        remark="One message alone can get longer with `change_message_visibility`.",
        look=hidden_for_half_an_hour,
        scene=scene,
        wrong=(
            Wrong(_HALF_AN_HOUR.replace('"%s"', '"300"'), "found 300 seconds"),
            Wrong(
                """\
exercise_url = sqs.create_queue(QueueName="ExerciseQueue")["QueueUrl"]
sqs.set_queue_attributes(
    QueueUrl=exercise_url, Attributes={"ReceiveMessageWaitTimeSeconds": "18"}
)
check("05.1")""",
                "found 30 seconds",
            ),
            Wrong(
                """\
sqs.set_queue_attributes(QueueUrl=exercise_url, Attributes={"VisibilityTimeout": "30"})
check("05.1")""",
                "found 30 seconds",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="05.2",
        title="Keep poison out of the way",
        task="One broken message makes the worker crash, comes back, and makes it crash again. "
        "Have `ExerciseQueue` move a message to `PoisonQueue` when it was received twice without "
        "being deleted.",
        difficulty=2,
        minutes=10,
        skills=("1.1.8", "1.1.5"),
        hints=(
            "The policy stands on the queue that loses the message and names the one that gets it.",
            "`RedrivePolicy` is JSON text with `deadLetterTargetArn` and `maxReceiveCount`.",
        ),
        start="""\
exercise_url = sqs.create_queue(QueueName="ExerciseQueue")["QueueUrl"]
poison_url = sqs.create_queue(QueueName="PoisonQueue")["QueueUrl"]
redrive = {"maxReceiveCount": 2}
check("05.2")""",
        solution=_REDRIVE % '"deadLetterTargetArn": poison_arn, "maxReceiveCount": 2',
        remark="A queue with poison in it wants an alarm: notebook 08 sets one.",
        look=poison_moves_away,
        scene=scene,
        wrong=(
            Wrong(
                _REDRIVE % '"deadLetterTargetArn": poison_arn, "maxReceiveCount": 3',
                "found maxReceiveCount 3",
            ),
            Wrong(
                (_REDRIVE % '"deadLetterTargetArn": poison_arn, "maxReceiveCount": 2').replace(
                    "QueueUrl=exercise_url", "QueueUrl=poison_url"
                ),
                "expected a redrive policy; found none",
            ),
            Wrong(
                'sqs.delete_queue(QueueUrl=poison_url)\ncheck("05.2")',
                "expected a queue PoisonQueue",
                after_solution=True,
            ),
            Wrong(
                """\
sqs.set_queue_attributes(QueueUrl=exercise_url, Attributes={"RedrivePolicy": ""})
check("05.2")""",
                "expected a redrive policy; found none",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="05.3",
        title="Filter by the body",
        task="The team in Frankfurt wants orders in euros only. The publisher sets no attributes: "
        'the currency stands in the message\'s JSON body, as `"Currency": "EUR"`. Have the '
        "subscription `euros` deliver nothing else.",
        difficulty=3,
        minutes=10,
        skills=("4.3.4", "1.1.1"),
        hints=(
            "`check` publishes an order in EUR and one in USD; see what it says has arrived.",
            "A filter looks at message attributes unless its scope says otherwise.",
            "Two attributes of the subscription: `FilterPolicyScope` and `FilterPolicy`.",
        ),
        start=_EUROS % "",
        solution=_filtered(
            """"FilterPolicyScope": "MessageBody", "FilterPolicy": '{"Currency": ["EUR"]}'"""
        ),
        look=only_euros,
        scene=scene,
        wrong=(
            Wrong(
                _filtered(""""FilterPolicy": '{"Currency": ["EUR"]}'"""),
                "FilterPolicyScope MessageAttributes",
            ),
            Wrong(
                _filtered(
                    '"FilterPolicyScope": "MessageBody", '
                    """"FilterPolicy": '{"Currency": [{"anything-but": ["GBP"]}]}'"""
                ),
                '"Currency": "USD" to be held back',
            ),
            Wrong(
                'sns.unsubscribe(SubscriptionArn=euros)\ncheck("05.3")',
                "expected a subscription of EuroQueue",
                after_solution=True,
            ),
            Wrong(
                """\
scope = {"AttributeName": "FilterPolicyScope", "AttributeValue": "MessageAttributes"}
sns.set_subscription_attributes(SubscriptionArn=euros, **scope)
check("05.3")""",
                "FilterPolicyScope MessageAttributes",
                after_solution=True,
            ),
        ),
    ),
)

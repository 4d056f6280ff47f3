"""Filter policies: which messages a subscription gets, and which policies SNS refuses."""

from __future__ import annotations

import json
import math

import pytest
from wiring_support import Wiring, refusal, wiring

from labkit.localaws.services.pattern_tokens import PatternError
from labkit.localaws.services.sns_filters import FilterPolicy
from labkit.localaws.services.sns_messages import Message

__all__ = ["wiring"]


def accepts(policy: dict, *, body: object = None, **attributes: object) -> bool:
    """Whether *policy* lets a message with this body or these attributes through."""
    shaped = {}
    for name, value in attributes.items():
        if isinstance(value, (int, float)):
            shaped[name] = {"DataType": "Number", "StringValue": str(value)}
        elif isinstance(value, list):
            shaped[name] = {"DataType": "String.Array", "StringValue": json.dumps(value)}
        else:
            shaped[name] = {"DataType": "String", "StringValue": value}
    text = "x" if body is None else json.dumps(body)
    message = Message("arn:aws:sns:us-east-1:123456789012:t", text, 0.0, attributes=shaped)
    return FilterPolicy(json.dumps(policy), body=body is not None).accepts(message)


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("sports", "sports", True),
        ("sports", "Sports", False),
        ({"anything-but": ["a", "b"]}, "c", True),
        ({"anything-but": ["a", "b"]}, "a", False),
        ({"anything-but": {"prefix": "bas"}}, "rugby", True),
        ({"anything-but": {"prefix": "bas"}}, "baseball", False),
        ({"prefix": "bas"}, "baseball", True),
        ({"suffix": "ball"}, "baseball", True),
        ({"suffix": "ball"}, "rugby", False),
        ({"equals-ignore-case": "TENNIS"}, "tennis", True),
        ({"cidr": "10.0.0.0/24"}, "10.0.0.9", True),
        ({"cidr": "10.0.0.0/24"}, "10.0.1.9", False),
        ({"exists": True}, "anything", True),
        ({"exists": False}, "anything", False),
        (301.5, 301.5, True),
        ({"numeric": ["=", 301.5]}, 301.5, True),
        ({"numeric": [">", 300]}, 300, False),
        ({"numeric": [">=", 300]}, 300, True),
        ({"numeric": [">", 0, "<=", 150]}, 100, True),
        ({"numeric": [">", 0, "<=", 150]}, 151, False),
        ({"numeric": [">", 300]}, "400", False),
        ({"anything-but": [100]}, 101, True),
        ("rugby", ["soccer", "rugby"], True),
        ({"anything-but": ["rugby"]}, ["rugby"], False),
        ({"anything-but": ["rugby"]}, ["rugby", "soccer"], True),
    ],
)
def test_operators_on_attributes(condition, value, expected):
    assert accepts({"key": [condition]}, key=value) is expected


def test_all_keys_must_match_and_one_value_each():
    policy = {"store": ["a", "b"], "amount": [{"numeric": [">", 3]}]}
    assert accepts(policy, store="b", amount=4)
    assert not accepts(policy, store="b", amount=3)
    assert not accepts(policy, store="b")
    assert accepts({"store": [{"exists": False}]}, amount=1)
    assert accepts({"$or": [{"a": ["1"]}, {"b": ["2"]}]}, b="2")


def test_on_the_body():
    assert accepts(
        {"order": {"amount": [{"numeric": [">", 300]}]}}, body={"order": {"amount": 301}}
    )
    assert not accepts({"order": {"amount": [{"exists": True}]}}, body={"order": {}})
    assert not accepts({"a": ["1"]}, body=["a", "1"])
    both = {"items": {"name": ["x"], "price": [2]}}
    assert accepts(both, body={"items": [{"name": "x", "price": 2}]})
    assert not accepts(both, body={"items": [{"name": "x", "price": 1}, {"name": "y", "price": 2}]})


def problem(policy: object, body: bool = False) -> str:
    """Why SNS refuses a policy."""
    text = policy if isinstance(policy, str) else json.dumps(policy, separators=(",", ":"))
    with pytest.raises(PatternError) as caught:
        FilterPolicy(text, body=body)
    return str(caught.value)


# (condition, reason, column), as AWS answered them.
REFUSED = [
    (["value"], "Match value must be String, number, true, false, or null", 10),
    ({"wrong-operator": True}, "Unrecognized match type wrong-operator", 31),
    ({"suffix": "value", "prefix": "v"}, "Only one key allowed in match expression", 37),
    ({"suffix": 100}, "suffix match pattern must be a string", 22),
    ({"suffix": None}, "suffix match pattern must be a string", 23),
    ({"cidr": ["bad"]}, "prefix match pattern must be a string", 18),
    ({"numeric": []}, "Invalid member in numeric match: ]", 22),
    ({"numeric": ["operator"]}, "Unrecognized numeric range operator: operator", 32),
    ({"numeric": [1, "<="]}, "Invalid member in numeric match: 1", 22),
    ({"numeric": ["=", "000"]}, "Value of equals must be numeric", 26),
    ({"numeric": [">="]}, "Value of >= must be numeric", 26),
    ({"numeric": ["<", 100, ">", 10]}, "Too many elements in numeric expression", 30),
    ({"numeric": [">=", 1, ">", 2]}, "Bad numeric range operator: >", 31),
    ({"numeric": [">", 3, "<", 1]}, "Bottom must be less than top", 33),
    ({"numeric": [">", 20, 30]}, "Bad value in numeric range: 30", 30),
    ({"numeric": [">", 20, "<", 30, "<", 50]}, "Too many terms in numeric range expression", 36),
    ({"exists": "no"}, "exists match pattern must be either true or false.", 20),
    ({"anything-but": {"suffix": "x"}}, "Unsupported anything-but pattern: suffix", 36),
    ({"anything-but": {"prefix": False}}, "prefix match pattern must be a string", 40),
]


@pytest.mark.parametrize(("condition", "reason", "column"), REFUSED)
def test_refused_conditions(condition, reason, column):
    policy = json.dumps({"key": [condition]}, separators=(",", ":"))
    where = f'\n at [Source: (String)"{policy}"; line: 1, column: {column}]'
    assert problem({"key": [condition]}) == reason + where


def test_other_refusals():
    assert problem({"key": []}).startswith("Empty arrays are not allowed\n")
    assert problem({"key": {"a": ["b"]}}) == (
        "Filter policy scope MessageAttributes does not support nested filter policy"
    )
    assert problem({"key": [{"cidr": "x/8"}]}) == "Nonstandard IP address: x"
    assert problem({str(number): ["x"] for number in range(6)}) == (
        "Filter policy can not have more than 5 keys"
    )
    many = [str(number) for number in range(math.isqrt(150) + 1)]
    assert problem({"a": many, "b": many}) == "Filter policy is too complex"
    assert problem("invalid").startswith(
        "failed to parse JSON. Unrecognized token 'invalid': was expecting (JSON String, Number"
    )


def test_a_filtered_subscription(wiring: Wiring):
    sns, queue = wiring.client("sns"), wiring.queue("heard", "sns.amazonaws.com")
    name = wiring.name("topic")
    topic = sns.create_topic(Name=name)["TopicArn"]
    policy = {"amount": [{"numeric": [">", 300]}]}
    arn = sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=queue.arn,
        Attributes={"FilterPolicy": json.dumps(policy), "RawMessageDelivery": "true"},
    )["SubscriptionArn"]
    for amount in (300, 301):
        sns.publish(
            TopicArn=topic,
            Message=f"{amount}",
            MessageAttributes={"amount": {"DataType": "Number", "StringValue": str(amount)}},
        )
    sns.publish(TopicArn=topic, Message='{"amount":302}')
    assert queue.texts() == ["301"]
    metric = "NumberOfNotificationsFilteredOut"
    assert wiring.metric("AWS/SNS", metric, TopicName=name) == 2
    assert wiring.metric("AWS/SNS", f"{metric}-NoMessageAttributes", TopicName=name) == 1
    shown = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert shown["FilterPolicyScope"] == "MessageAttributes"
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="FilterPolicyScope", AttributeValue="MessageBody"
    )
    sns.publish(TopicArn=topic, Message='{"amount":303}')
    assert queue.texts() == ['{"amount":303}']
    error = refusal(
        sns.subscribe,
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=queue.arn + "-other",
        Attributes={"FilterPolicy": '{"a":[]}'},
    )
    assert error["Message"].startswith(
        "Invalid parameter: Attributes Reason: FilterPolicy: Empty arrays are not allowed\n at "
    )

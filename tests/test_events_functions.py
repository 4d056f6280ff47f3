"""S3, SNS and EventBridge invoke functions that let them in, asynchronously, and no others."""

from __future__ import annotations

import json

import pytest
from wiring_support import Function, Wiring, wiring

__all__ = ["wiring"]


@pytest.fixture(scope="module")
def function(wiring: Wiring) -> Function:
    """One function for all tests here."""
    return Function(wiring)


def test_s3_invokes_a_function(wiring, function):
    s3, bucket = wiring.client("s3"), wiring.name("bucket")
    s3.create_bucket(Bucket=bucket)
    configuration = {
        "LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": function.arn, "Events": ["s3:ObjectCreated:*"]}
        ]
    }

    def configure() -> None:
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration=configuration
        )

    with pytest.raises(Exception, match="Unable to validate the following destination"):
        configure()
    function.allow("s3.amazonaws.com", f"arn:aws:s3:::{bucket}")
    configure()
    s3.put_object(Bucket=bucket, Key="orders/a b.json", Body=b"{}")
    told = [
        event["Records"][0]["s3"]["object"]["key"]
        for event in function.events()
        if "s3" in event.get("Records", [{}])[0]
    ]
    # A function gets no test event.
    assert told == ["orders/a+b.json"]


def test_sns_invokes_a_function(wiring, function):
    sns = wiring.client("sns")
    topic = sns.create_topic(Name=wiring.name("topic"))["TopicArn"]
    arn = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)["SubscriptionArn"]
    sns.publish(TopicArn=topic, Message="nobody hears")
    wiring.settle()
    function.allow("sns.amazonaws.com", topic)
    sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
    attributes = {"kind": {"DataType": "String", "StringValue": "x"}}
    message_id = sns.publish(TopicArn=topic, Message="hello", MessageAttributes=attributes)[
        "MessageId"
    ]
    (record,) = [
        event["Records"][0]
        for event in function.events()
        if event.get("Records", [{}])[0].get("EventSource") == "aws:sns"
    ]
    assert record["EventVersion"] == "1.0"
    assert record["EventSubscriptionArn"] == arn
    assert record["Sns"]["MessageAttributes"] == {"kind": {"Type": "String", "Value": "x"}}
    assert list(record["Sns"]) == [
        "Type",
        "MessageId",
        "TopicArn",
        "Subject",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertUrl",
        "UnsubscribeUrl",
        "MessageAttributes",
    ]
    assert record["Sns"]["MessageId"] == message_id
    assert record["Sns"]["SignatureVersion"] == "1"
    assert record["Sns"]["Subject"] is None and record["Sns"]["Message"] == "hello"


def test_a_rule_invokes_a_function(wiring, function):
    events, name = wiring.client("events"), wiring.name("rule")
    source = wiring.name("source")
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function.arn}])
    entry = {"Source": source, "DetailType": "t", "Detail": '{"n":1}'}
    events.put_events(Entries=[entry])
    wiring.settle()
    function.allow("events.amazonaws.com", rule)
    events.put_events(Entries=[{**entry, "Detail": '{"n":2}'}])
    heard = [event["detail"] for event in function.events() if event.get("source") == source]
    assert heard == [{"n": 2}]


def test_a_state_machine_is_started(wiring):
    states = wiring.client("stepfunctions")
    definition = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}
    machine = states.create_state_machine(
        name=wiring.name("machine"),
        definition=json.dumps(definition),
        roleArn=wiring.role("states.amazonaws.com"),
    )["stateMachineArn"]
    events, name, source = wiring.client("events"), wiring.name("rule"), wiring.name("source")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
    role = wiring.role("events.amazonaws.com", "states:StartExecution")
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": machine, "RoleArn": role}])
    events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": '{"n":1}'}])
    wiring.settle()
    (execution,) = states.list_executions(stateMachineArn=machine)["executions"]
    told = states.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(told["input"])["detail"] == {"n": 1}

"""Each verification step fails when what it verifies is broken, and holds when it is not.

Every test breaks one thing in the account and looks at the whole report: exactly the steps and
confirmations that depend on it fail, all others hold.
"""

from __future__ import annotations

import json

import pytest

import labkit
from labkit import evidence, policies, traffic
from labkit import pipeline as steps
from labkit.orders import RawOrder
from labkit.reading import messages
from labkit.witness import Witness

pytestmark = pytest.mark.xdist_group("lab")

# What needs the function to run at all, what needs its logs, what needs an order to come out of it.
LOGS = {"logs_inspected", "triggered_by_s3", "logs_structured"}
MAIL = {"notification_sent", "may_publish"}
QUEUE = {"message_delivered", "may_send"}
STREAM = {"record_streamed", "may_put"}
TABLE = {"record_stored", "may_write", "json_saved"}
EFFECTS = {*MAIL, *QUEUE, *STREAM, *TABLE}
# The test event needs no S3, and counts on the stream as well.
S3_EFFECTS = EFFECTS - {"may_put"}
# The function reports a refused call as its own failure, so nothing answers a test event.
ANSWER = {"test_event_sent", "logs_structured"}


def failing(report) -> set[str]:
    """The functions of labkit.evidence that found something wrong."""
    pairs = [
        *zip(evidence.STEPS, report.steps, strict=True),
        *zip(evidence.CONFIRMATIONS, report.confirmations, strict=True),
    ]
    return {check.__name__ for check, found in pairs if not found["ok"]}


def test_a_sound_pipeline_passes_all_with_evidence(pipeline):
    report = evidence.verify(pipeline)
    assert failing(report) == set() and report.ok
    assert len(report.steps) == 10 and len(report.confirmations) == 7
    for found in [*report.steps, *report.confirmations]:
        assert set(found) == {"name", "ok", "evidence"} and len(found["evidence"]) > 20
    seen = {found["name"]: found["evidence"] for found in report.steps}
    assert "WITNESS-" in seen["Verify DynamoDB record creation"]
    assert "300.01" in seen["Verify Kinesis stream record"]
    assert "REPORT RequestId" in seen["Inspect Lambda execution logs"]
    assert "17 of 17 hold" in str(report) and "PASS" in report._repr_html_()
    json.dumps(report.as_dict())


def test_looking_uses_nothing_up(pipeline):
    queue = pipeline.names.queue
    evidence.verify(pipeline)
    before = {message.id for message in messages(pipeline, queue)}
    again = evidence.verify(pipeline)
    assert again.ok
    assert before < {message.id for message in messages(pipeline, queue)}


def _delete_table(lab):
    lab.client("dynamodb").delete_table(TableName=lab.names.table)


def _other_key(lab):
    _delete_table(lab)
    lab.client("dynamodb").create_table(
        TableName=lab.names.table,
        KeySchema=[
            {"AttributeName": "Number", "KeyType": "HASH"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "Number", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def _delete_function(lab):
    lab.client("lambda").delete_function(FunctionName=lab.names.function)


def _detach_logs(lab):
    lab.client("iam").detach_role_policy(
        RoleName=lab.names.role, PolicyArn=policies.BASIC_EXECUTION
    )


def _forget_variable(lab):
    variables = steps.environment(lab)
    del variables["TOPIC_ARN"]
    lab.client("lambda").update_function_configuration(
        FunctionName=lab.names.function, Environment={"Variables": variables}
    )


def _other_queue(lab):
    url = lab.client("sqs").get_queue_url(QueueName=lab.names.dead_letter_queue)["QueueUrl"]
    lab.client("lambda").update_function_configuration(
        FunctionName=lab.names.function,
        Environment={"Variables": {**steps.environment(lab), "QUEUE_URL": url}},
    )


def _threshold_too_low(lab):
    variables = {**steps.environment(lab), "HIGH_VALUE_THRESHOLD": "10"}
    lab.client("lambda").update_function_configuration(
        FunctionName=lab.names.function, Environment={"Variables": variables}
    )


def _silence(lab):
    variables = {**steps.environment(lab), "POWERTOOLS_LOG_LEVEL": "CRITICAL"}
    lab.client("lambda").update_function_configuration(
        FunctionName=lab.names.function, Environment={"Variables": variables}
    )


def _no_concurrency(lab):
    lab.client("lambda").put_function_concurrency(
        FunctionName=lab.names.function, ReservedConcurrentExecutions=0
    )


def _unsubscribe(protocol):
    def unsubscribe(lab):
        sns = lab.client("sns")
        found = sns.list_subscriptions_by_topic(TopicArn=lab.names.topic_arn)["Subscriptions"]
        for one in found:
            if one["Protocol"] == protocol:
                sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])

    return unsubscribe


def _delete_topic(lab):
    lab.client("sns").delete_topic(TopicArn=lab.names.topic_arn)


def _queue_refuses_topic(lab):
    url = lab.client("sqs").get_queue_url(QueueName=lab.names.queue)["QueueUrl"]
    lab.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})


def _delete_queue(lab):
    url = lab.client("sqs").get_queue_url(QueueName=lab.names.queue)["QueueUrl"]
    lab.client("sqs").delete_queue(QueueUrl=url)


def _delete_stream(lab):
    lab.client("kinesis").delete_stream(StreamName=lab.names.stream)


def _no_notification(lab):
    lab.client("s3").put_bucket_notification_configuration(
        Bucket=lab.names.bucket, NotificationConfiguration={}
    )


def _s3_may_not_invoke(lab):
    lab.client("lambda").remove_permission(
        FunctionName=lab.names.function, StatementId=steps.S3_MAY_INVOKE
    )


def _drop(*actions):
    def drop(lab):
        document = policies.without(policies.process_orders(lab.names), *actions)
        lab.client("iam").put_role_policy(
            RoleName=lab.names.role,
            PolicyName=lab.names.policy,
            PolicyDocument=json.dumps(document),
        )

    return drop


def _deny_everything(lab):
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}],
    }
    lab.client("iam").put_role_policy(
        RoleName=lab.names.role, PolicyName=lab.names.policy, PolicyDocument=json.dumps(document)
    )


BREAKS = {
    # The ten steps.
    "the table is deleted": (_delete_table, {"table_created", *ANSWER, *EFFECTS}),
    "the table has another key": (_other_key, {"table_created", *ANSWER, *EFFECTS}),
    "the function is deleted": (
        _delete_function,
        {"function_created", "role_attached", "environment_set", *ANSWER, *LOGS, *EFFECTS},
    ),
    "the logging policy is detached": (_detach_logs, {"role_attached", *LOGS}),
    "a variable is missing": (
        _forget_variable,
        {"environment_set", *ANSWER, *LOGS, *EFFECTS},
    ),
    "a variable names another queue": (_other_queue, {"environment_set", *QUEUE}),
    "the function may not run": (_no_concurrency, {*ANSWER, *LOGS, *EFFECTS}),
    "nobody is subscribed by e-mail": (_unsubscribe("email"), MAIL),
    "the queue is not subscribed": (_unsubscribe("sqs"), {"notification_sent"}),
    "the topic is deleted": (_delete_topic, MAIL),
    "the queue refuses the topic": (_queue_refuses_topic, {"notification_sent"}),
    "small orders are announced": (_threshold_too_low, {"notification_sent"}),
    "the queue is deleted": (_delete_queue, {*QUEUE, "notification_sent"}),
    "the stream is deleted": (_delete_stream, {*ANSWER, *STREAM}),
    # The seven confirmations.
    "the bucket tells nobody": (_no_notification, {"triggered_by_s3", *S3_EFFECTS}),
    "S3 may not invoke": (_s3_may_not_invoke, {"triggered_by_s3", *S3_EFFECTS}),
    "the function logs nothing structured": (
        _silence,
        {"logs_inspected", "triggered_by_s3", "logs_structured"},
    ),
    "dynamodb:PutItem is missing": (
        _drop("dynamodb:PutItem"),
        {"role_attached", *ANSWER, *EFFECTS},
    ),
    "sns:Publish is missing": (_drop("sns:Publish"), {"role_attached", *MAIL}),
    "sqs:SendMessage is missing": (_drop("sqs:SendMessage"), {"role_attached", *QUEUE}),
    "kinesis:PutRecord is missing": (
        _drop("kinesis:PutRecord"),
        {"role_attached", *ANSWER, *STREAM},
    ),
    "kinesis:PutRecords is missing": (_drop("kinesis:PutRecords"), {"role_attached"}),
    "s3:GetObject is missing": (_drop("s3:GetObject"), {"role_attached", *S3_EFFECTS}),
    "DynamoDB is denied": (_deny_everything, {"role_attached", *ANSWER, *EFFECTS}),
}


@pytest.fixture
def broken(pipeline, request):
    """The lab with one thing broken; afterwards all is put right again."""
    lab = pipeline
    try:
        request.param(lab)
        yield lab
    finally:
        client = lab.client("lambda")
        try:
            client.delete_function_concurrency(FunctionName=lab.names.function)
        except client.exceptions.ResourceNotFoundException:
            pass
        if request.param is _other_key:
            _delete_table(lab)
        labkit.build(lab)


@pytest.mark.parametrize(
    ("broken", "expected"), BREAKS.values(), ids=list(BREAKS), indirect=["broken"]
)
def test_exactly_what_depends_on_it_fails(broken, expected):
    report = evidence.verify(broken)
    assert failing(report) == expected, str(report)
    assert not report.ok
    for found in [*report.steps, *report.confirmations]:
        assert found["evidence"]


def test_every_step_and_confirmation_is_seen_to_fail():
    seen = set().union(*(expected for _, expected in BREAKS.values()))
    assert seen == {check.__name__ for check in [*evidence.STEPS, *evidence.CONFIRMATIONS]}


@pytest.mark.parametrize("broken", [_drop("kinesis:PutRecord")], indirect=True)
def test_a_denial_is_quoted_from_the_log(broken):
    found = evidence.confirmation(broken, 5)
    assert "not authorized to perform: kinesis:PutRecord" in found["evidence"]
    assert broken.names.stream_arn in found["evidence"]


def test_single_steps_can_be_asked_for(pipeline):
    assert evidence.step(pipeline, 1)["ok"]
    witness = Witness(pipeline)
    assert all(evidence.step(pipeline, number, witness)["ok"] for number in range(1, 11))
    assert "PASS" in repr(evidence.confirmation(pipeline, 7, witness))
    with pytest.raises(labkit.LabError, match="no step 11"):
        evidence.step(pipeline, 11)


def test_a_run_bears_witness_for_all_its_orders(pipeline):
    lab = pipeline
    records = [
        RawOrder(f"run-{n}", json.dumps({"OrderId": f"RUN-{n}", "Amount": amount}).encode(), "here")
        for n, amount in enumerate([10, 300, 300.01, 999.5])
    ]
    witness = Witness(lab)
    _ = witness.started
    witness.outcome = traffic.process(lab, [*records, RawOrder("run-bad", b"{", "here")])
    report = evidence.verify(lab, witness)
    assert report.ok, str(report)
    assert witness.order_id in ("RUN-2", "RUN-3")
    seen = {found["name"]: found["evidence"] for found in report.steps}
    assert "4 of 4 orders of this run" in seen["Verify DynamoDB record creation"]
    assert "2 of 2 orders of this run" in seen["Verify SNS notification (Amount > 300)"]
    assert "4 of 4 orders of this run" in seen["Verify Kinesis stream record"]
    # One order that is lost is seen, however many others are well.
    lab.client("dynamodb").delete_item(TableName=lab.names.table, Key={"OrderId": {"S": "RUN-0"}})
    again = Witness(lab)
    again.outcome = witness.outcome
    found = evidence.record_stored(lab, again)
    assert not found["ok"] and "NOT RUN-0" in found["evidence"]

"""The seed's policy is enough, and each of its actions is needed for exactly one thing.

An order above 300 goes through S3 while one action is missing. What it shows: the effects that
are missing, what the log says, which verification step notices; and that Lambda's own retry makes
up for all of it once the action is back. What each verification step says in full is tested with
the verification itself.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

import labkit
from labkit import evidence, logs, metrics, policies, reading, traffic
from labkit import pipeline as steps
from labkit.decisions import decisions
from labkit.explain import explain
from labkit.orders import RawOrder
from labkit.waiting import until
from labkit.witness import Witness

pytestmark = pytest.mark.xdist_group("lab")

EFFECTS = {"stored", "streamed", "queued", "announced", "mailed"}


def seed_policy(names):
    """The policy as the assignment writes it, with this account's ARNs."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "dynamodb:PutItem",
                    "sns:Publish",
                    "sqs:SendMessage",
                    "kinesis:PutRecord",
                    "kinesis:PutRecords",
                    "s3:GetObject",
                ],
                "Resource": [
                    names.table_arn,
                    names.topic_arn,
                    names.queue_arn,
                    names.stream_arn,
                    f"{names.bucket_arn}/*",
                ],
            }
        ],
    }


def give(lab, document):
    lab.client("iam").put_role_policy(
        RoleName=lab.names.role, PolicyName=lab.names.policy, PolicyDocument=json.dumps(document)
    )


@dataclass
class Sent:
    """One order above 300, on its way through S3 since a moment of the lab's clock."""

    lab: object
    id: str = field(default_factory=lambda: f"LEAST-{uuid.uuid4().hex[:8]}")

    def __post_init__(self):
        self.since = self.lab.clock.stamp()
        body = json.dumps({"OrderId": self.id, "Amount": 300.01}).encode()
        self.outcome = traffic.send(self.lab, [RawOrder(self.id.lower(), body, "test")])
        self.lab.settle()

    @property
    def key(self):
        return self.outcome.sent[0].key

    @property
    def effects(self):
        """Each effect the order has had, as often as it had it."""
        lab = self.lab
        told = [
            message
            for message in reading.messages(lab, lab.names.queue)
            if (message.order or {}).get("OrderId") == self.id
        ]
        mailed = [mail for mail in lab.mailbox.mails() if self.id in mail.body]
        records = reading.stream_records(lab, self.since)
        found = sorted(
            ["stored"] * len(reading.items(lab, [self.id]))
            + ["streamed"] * sum(record.partition_key == self.id for record in records)
            + ["queued"] * sum(message.notification is None for message in told)
            + ["announced"] * sum(message.notification is not None for message in told)
            + ["mailed"] * len(mailed)
        )
        assert set(found) - {"mailed"} == reading.effects(lab, self.id, self.since)
        return found

    @property
    def refusals(self):
        """What the log says since then about calls that were refused."""
        return logs.refusals(self.lab, self.since)


def test_the_seeds_policy_is_the_pipelines(lab):
    assert policies.process_orders(lab.names) == seed_policy(lab.names)


def test_with_it_every_effect_happens_once_and_nothing_is_refused(pipeline):
    give(pipeline, seed_policy(pipeline.names))
    sent = Sent(pipeline)
    assert sent.effects == sorted(EFFECTS) and sent.refusals == []
    assert not decisions(pipeline, sent.since, denied=True).rows
    assert evidence.verify(pipeline).ok


def on(lab):
    """Each action with the resource that the order needs it on."""
    return dict(policies.needed(lab.names))


# What is missing without each action, how the log writes it, which step of the ten notices.
MISSING = {
    "dynamodb:PutItem": (EFFECTS, "dynamodb:PutItem", evidence.record_stored),
    "sns:Publish": ({"announced", "mailed"}, "SNS:Publish", evidence.notification_sent),
    "sqs:SendMessage": ({"queued"}, "sqs:sendmessage", evidence.message_delivered),
    "kinesis:PutRecord": ({"streamed"}, "kinesis:PutRecord", evidence.record_streamed),
    "s3:GetObject": (EFFECTS, "s3:GetObject", evidence.record_stored),
}


@pytest.mark.parametrize("action", MISSING)
def test_without_an_action_exactly_its_effect_is_missing(pipeline, action):
    lab = pipeline
    missing, written, notices = MISSING[action]
    try:
        give(lab, policies.without(seed_policy(lab.names), action))
        sent = Sent(lab)
        assert sent.effects == sorted(EFFECTS - missing)
        # The log names the action and the resource, and nothing else was refused.
        resource = f"{lab.names.bucket_arn}/{sent.key}" if "s3" in action else on(lab)[action]
        assert sent.refusals
        for line in sent.refusals:
            assert line.endswith(f"not authorized to perform: {written} on resource: {resource}")
            assert f"assumed-role/{lab.names.role}/" in line
        denied = decisions(lab, sent.since, denied=True)
        assert {row[2] for row in denied.rows} == {action}
        # The line is enough to find out what to add, and that is what was taken away.
        why = explain(lab, sent.refusals[0])
        assert why.statement == {"Effect": "Allow", "Action": action, "Resource": resource}
        # Two steps notice: the role lacks something, and the effect is not there.
        attached = evidence.role_attached(lab)
        assert not attached["ok"] and f"lacks {action} on " in attached["evidence"]
        witness = Witness(lab)
        witness.outcome = sent.outcome
        assert not notices(lab, witness)["ok"]
        # With the action back, the retry does what is missing, and nothing a second time.
        give(lab, seed_policy(lab.names))
        traffic.drain(lab, sent.outcome)
        assert not sent.outcome.unfinished
        assert sent.effects == sorted(EFFECTS)
    finally:
        labkit.build(lab)


def test_without_putrecords_nothing_is_missing(pipeline):
    """The function puts one record at a time: kinesis:PutRecords is never asked for."""
    lab = pipeline
    give(lab, policies.without(seed_policy(lab.names), "kinesis:PutRecords"))
    sent = Sent(lab)
    assert sent.effects == sorted(EFFECTS) and sent.refusals == []
    attached = evidence.role_attached(lab)
    assert not attached["ok"] and "lacks kinesis:PutRecords on " in attached["evidence"]
    labkit.build(lab)


def test_an_action_on_the_wrong_resource_is_as_good_as_none(pipeline):
    """The bucket's own ARN is not that of its objects."""
    lab = pipeline
    document = seed_policy(lab.names)
    document["Statement"][0]["Resource"][-1] = lab.names.bucket_arn
    try:
        give(lab, document)
        sent = Sent(lab)
        assert sent.effects == []
        why = explain(lab, sent.refusals[0])
        assert why.statement["Resource"] == f"{lab.names.bucket_arn}/{sent.key}"
        told = [row[4] for row in why.policies.rows if row[2] == lab.names.policy]
        assert told[0].startswith("is about other resources") and lab.names.bucket in told[0]
        give(lab, seed_policy(lab.names))
        traffic.drain(lab, sent.outcome)
        assert sent.effects == sorted(EFFECTS)
    finally:
        labkit.build(lab)


def test_the_seeds_policy_alone_leaves_no_logs(pipeline):
    """The log is written with the function's role; without permission it is lost in silence."""
    lab, iam = pipeline, pipeline.client("iam")
    lab.client("logs").delete_log_group(logGroupName=lab.names.log_group)
    iam.detach_role_policy(RoleName=lab.names.role, PolicyArn=policies.BASIC_EXECUTION)
    start_anew(lab, "without logs")
    try:
        since = lab.clock.stamp()
        answer = traffic.invoke(lab, {"OrderId": f"MUTE-{uuid.uuid4().hex[:8]}", "Amount": 301})
        lab.settle()
        assert answer.ok
        with pytest.raises(lab.client("logs").exceptions.ResourceNotFoundException):
            logs.lines(lab)
        # What the caller asks to see of the log comes with the answer, all the same.
        assert "REPORT" in answer.log
        refused = decisions(lab, since, denied=True, principal=lab.names.role)
        assert {row[2] for row in refused.rows} == {"logs:CreateLogGroup"}
        assert lab.names.log_group in explain(lab, principal=lab.names.role).resource
        assert not evidence.logs_inspected(lab)["ok"]
    finally:
        labkit.build(lab)
        start_anew(lab, "stores, streams, queues and announces orders")

    def logged():
        ran = traffic.invoke(lab, {"OrderId": f"LOUD-{uuid.uuid4().hex[:8]}", "Amount": 1})
        lab.settle()
        return any(line.request_id == ran.request_id for line in logs.lines(lab))

    until(lab, "Waiting for the log", logged, timeout=20)


def start_anew(lab, reason):
    client = lab.client("lambda")
    client.update_function_configuration(FunctionName=lab.names.function, Description=reason)
    client.get_waiter("function_updated_v2").wait(FunctionName=lab.names.function)


# -- AWS services are callers, too -----------------------------------------------------------------


def failed_notifications(lab, since):
    dimensions = {"TopicName": lab.names.topic}
    return metrics.total(lab, "AWS/SNS", "NumberOfNotificationsFailed", dimensions, since)


@pytest.mark.parametrize("condition", ["no policy at all", "the policy of another topic"])
def test_a_queue_that_does_not_allow_the_topic_gets_nothing_and_nobody_is_told(pipeline, condition):
    lab, sqs = pipeline, pipeline.client("sqs")
    url = sqs.get_queue_url(QueueName=lab.names.queue)["QueueUrl"]
    policy = policies.queue_takes_from_topic(lab.names)
    policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] += "-other"
    text = "" if condition == "no policy at all" else json.dumps(policy)
    try:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
        hour_ago = lab.clock.now() - timedelta(hours=1)
        before = failed_notifications(lab, hour_ago)
        sent = Sent(lab)
        # The publisher sees success, and the other subscriber gets its mail.
        assert sent.effects == sorted(EFFECTS - {"announced"}) and sent.refusals == []
        assert failed_notifications(lab, hour_ago) == before + 1
        why = explain(lab)
        assert (why.principal, why.by) == ("sns.amazonaws.com", "resource-based policy")
        if text:
            assert any("aws:SourceArn is" in row[4] for row in why.policies.rows)
    finally:
        labkit.build(lab)


def test_s3_may_not_invoke_without_the_functions_permission(pipeline):
    lab, client = pipeline, pipeline.client("lambda")
    try:
        client.remove_permission(FunctionName=lab.names.function, StatementId=steps.S3_MAY_INVOKE)
        sent = Sent(lab)
        assert sent.effects == [] and sent.refusals == []
        # S3 does not even take a notification that it could not deliver.
        with pytest.raises(ClientError) as refused:
            lab.client("s3").put_bucket_notification_configuration(
                Bucket=lab.names.bucket, NotificationConfiguration=steps.notification(lab)
            )
        error = refused.value.response["Error"]
        assert error["Code"] == "InvalidArgument"
        assert "Unable to validate the following destination configurations" in error["Message"]
        # A permission for somebody else's bucket is none.
        client.add_permission(
            FunctionName=lab.names.function,
            StatementId=steps.S3_MAY_INVOKE,
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn=lab.names.bucket_arn + "-other",
        )
        assert Sent(lab).effects == []
        why = explain(lab)
        assert (why.principal, why.action) == ("s3.amazonaws.com", "lambda:InvokeFunction")
        assert why.context["aws:SourceArn"] == lab.names.bucket_arn
        client.remove_permission(FunctionName=lab.names.function, StatementId=steps.S3_MAY_INVOKE)
    finally:
        labkit.build(lab)
    assert Sent(lab).effects == sorted(EFFECTS)

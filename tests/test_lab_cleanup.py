"""Cleaning up: everything the lab made goes, errors do not stop it, and what is left is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

import labkit
from labkit import cleanup
from labkit.kinds import BY_NAME, KINDS, Kind
from labkit.ledger import Ledger
from labkit.prices import Prices

pytestmark = pytest.mark.xdist_group("lab")

PIPELINE = [
    "DynamoDB table",
    "IAM role",
    "Kinesis stream",
    "Lambda function",
    "S3 bucket",
    "SNS topic",
    "SQS queue",
    "SQS queue",
    "log group",
]


def kinds(found) -> list[str]:
    return sorted(one.kind.name for one in found)


def test_the_whole_pipeline_goes_and_a_second_look_finds_nothing(pipeline):
    lab = pipeline
    s3 = lab.client("s3")
    bucket = lab.names.bucket
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="kept/versioned", Body=body)
    s3.delete_object(Bucket=bucket, Key="kept/versioned")
    s3.create_multipart_upload(Bucket=bucket, Key="kept/unfinished")
    cleaned = cleanup.clean(lab)
    assert cleaned.ok and not cleaned.left, cleaned
    assert kinds(cleaned.removed) == PIPELINE
    assert "Found 9, removed 9, left 0." in repr(cleaned)
    assert cleanup.existing(lab) == []
    again = cleanup.clean(lab)
    assert again.ok and again.removed == [] and repr(again) == "Found 0, removed 0, left 0."
    assert not [b for b in s3.list_buckets()["Buckets"] if b["Name"] == bucket]
    assert lab.ledger.entries() == []


def test_more_objects_than_one_call_deletes_go_too(lab, monkeypatch):
    monkeypatch.setattr("labkit.emptying._AT_ONCE", 10)
    s3 = lab.client("s3")
    s3.create_bucket(Bucket="cleanup-many")
    for number in range(25):
        s3.put_object(Bucket="cleanup-many", Key=f"{number:04d}", Body=b"")
    with lab.calls.watch() as seen:
        cleaned = cleanup.clean(lab)
    assert len(seen.of("s3", "DeleteObjects")) == 3
    assert cleaned.ok and "cleanup-many" in [found.id for found in cleaned.removed]


def test_what_another_process_created_is_cleaned_as_well(lab):
    code = (
        "import labkit; lab = labkit.open(quiet=True)\n"
        "lab.client('sqs').create_queue(QueueName='made-elsewhere')\n"
        "lab.client('iam').create_user(UserName='made-elsewhere')\n"
        "lab.client('iam').create_access_key(UserName='made-elsewhere')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    assert {"SQS queue", "IAM user"} <= set(kinds(cleanup.existing(lab)))
    assert cleanup.clean(lab).ok
    assert cleanup.existing(lab) == []


def test_what_the_lab_did_not_create_is_left_alone(lab):
    """A table made by some other program, which is not in the ledger and has no name of ours."""
    from labkit.connection import isolated_session

    keys = lab.client("s3")._request_signer._credentials
    other = isolated_session(keys.access_key, keys.secret_key).client(
        "sqs", endpoint_url=lab.endpoint
    )
    url = other.create_queue(QueueName="somebody-elses")["QueueUrl"]
    assert cleanup.clean(lab).ok
    assert other.get_queue_url(QueueName="somebody-elses")["QueueUrl"] == url
    other.delete_queue(QueueUrl=url)


def test_the_pipeline_is_found_by_its_names_without_a_ledger(pipeline):
    lab = pipeline
    lab.ledger.path.unlink()
    assert kinds(cleanup.existing(lab)) == PIPELINE
    assert cleanup.clean(lab).ok


def test_an_error_does_not_stop_it_and_is_told(pipeline, monkeypatch):
    lab = pipeline
    real = Kind.remove

    def remove(self, lab, identifier):
        if self.name == "SNS topic":
            answer = {"Error": {"Code": "InternalError", "Message": "not today"}}
            raise ClientError(answer, "DeleteTopic")
        real(self, lab, identifier)

    monkeypatch.setattr(Kind, "remove", remove)
    cleaned = cleanup.clean(lab)
    assert not cleaned.ok
    assert kinds(cleaned.left) == ["SNS topic"]
    assert kinds(cleaned.removed) == [kind for kind in PIPELINE if kind != "SNS topic"]
    assert "LEFT" in repr(cleaned) and "InternalError: not today" in repr(cleaned)
    monkeypatch.undo()
    assert cleanup.clean(lab).ok


def test_what_hangs_on_something_else_goes_in_the_end(lab):
    """A managed policy that is attached, a role with policies of both kinds."""
    iam = lab.client("iam")
    document = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", '
        '"Resource": "*"}]}'
    )
    trust = document.replace('"Action": "s3:GetObject", "Resource": "*"', "").replace(
        '"Effect": "Allow", ',
        '"Effect": "Allow", "Action": "sts:AssumeRole", '
        '"Principal": {"Service": "lambda.amazonaws.com"}',
    )
    iam.create_role(RoleName="hanging", AssumeRolePolicyDocument=trust)
    policy = iam.create_policy(PolicyName="hanging", PolicyDocument=document)["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=document, SetAsDefault=True)
    iam.attach_role_policy(RoleName="hanging", PolicyArn=policy)
    iam.put_role_policy(RoleName="hanging", PolicyName="inline", PolicyDocument=document)
    cleaned = cleanup.clean(lab)
    assert cleaned.ok, cleaned
    assert {"IAM role", "IAM policy"} <= set(kinds(cleaned.removed))


SERVICES = {
    "event rule": lambda lab: lab.client("events").put_rule(
        Name="clean-rule", ScheduleExpression="rate(1 day)"
    ),
    "CloudWatch alarm": lambda lab: lab.client("cloudwatch").put_metric_alarm(
        AlarmName="clean-alarm",
        Namespace="AWS/SQS",
        MetricName="NumberOfMessagesSent",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Sum",
        Threshold=1,
    ),
    "CloudWatch dashboard": lambda lab: lab.client("cloudwatch").put_dashboard(
        DashboardName="clean-dashboard", DashboardBody='{"widgets": []}'
    ),
    "secret": lambda lab: lab.client("secretsmanager").create_secret(
        Name="clean-secret", SecretString="x"
    ),
    "parameter": lambda lab: lab.client("ssm").put_parameter(
        Name="/clean/parameter", Value="x", Type="String"
    ),
    "KMS key": lambda lab: lab.client("kms").create_alias(
        AliasName="alias/clean", TargetKeyId=lab.client("kms").create_key()["KeyMetadata"]["KeyId"]
    ),
    "log group": lambda lab: lab.client("logs").create_log_group(logGroupName="/clean/group"),
}


@pytest.mark.parametrize("create", SERVICES.values(), ids=list(SERVICES))
def test_each_kind_is_noticed_found_and_removed(lab, create, request):
    create(lab)
    kind = request.node.callspec.id
    assert kind in kinds(cleanup.existing(lab))
    cleaned = cleanup.clean(lab)
    assert cleaned.ok and kind in kinds(cleaned.removed), cleaned
    assert cleanup.existing(lab) == []


def test_every_kind_names_operations_that_exist(lab):
    for kind in KINDS:
        client = lab.client(kind.service)
        operations = client.meta.service_model.operation_names
        assert set(kind.created_by) <= set(operations), kind.name
        assert hasattr(client, kind.look[0])
        assert callable(kind.delete) or hasattr(client, kind.delete[0])
    assert len(BY_NAME) == len(KINDS)


def test_a_ledger_survives_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"kind": "SQS queue", "id": "a", "at": 1}\n{"kind": "SQS q')
    assert [entry.id for entry in Ledger(path).entries()] == ["a"]


def test_the_cost_is_told_for_now_and_for_a_month(pipeline):
    before = cleanup.cost(pipeline)
    prices = Prices.load()
    assert before.month == pytest.approx(prices.hourly("kinesis stream") * 730)
    assert "10.95 USD" in before.sentence and prices.date in before.sentence
    assert "OrdersStream" in repr(before) and "by use" in repr(before)
    pipeline.clock.advance(days=1)
    after = cleanup.cost(pipeline)
    assert after.so_far - before.so_far == pytest.approx(0.015 * 24, rel=0.05)
    assert not before.real and "on real AWS" in before.sentence


def test_requests_are_priced():
    prices = Prices.load()

    class Call:
        service, operation = "s3", "PutObject"

    assert prices.requests([Call] * 1000) == pytest.approx(0.005)
    assert prices.request("iam", "CreateRole") == 0


def test_in_a_real_account_a_name_alone_is_no_proof(pipeline, monkeypatch):
    """Somebody's own OrdersTable must survive: without ledger or tag nothing is taken for ours."""
    lab = labkit.open(quiet=True)
    lab.kind = "account"
    lab._ledger = Ledger(lab.ledger.path.with_name("empty.jsonl"))

    class Tagging:
        def get_paginator(self, _):
            return self

        def paginate(self, **_):
            return [{"ResourceTagMappingList": [{"ResourceARN": lab.names.stream_arn}]}]

    real = lab.client
    monkeypatch.setattr(
        lab, "client", lambda s, **o: Tagging() if s == "resourcegroupstaggingapi" else real(s, **o)
    )
    assert kinds(cleanup.existing(lab)) == ["Kinesis stream"]

"""The builders: everything as the design says, any number of times, and put right when changed."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

import labkit
from labkit import pipeline as steps
from labkit import policies
from labkit.bundle import function_zip
from labkit.cleanup import clean
from labkit.errors import LabError
from labkit.names import Names, suffix_for

pytestmark = pytest.mark.xdist_group("lab")

NAMES = Names("123456789012", "us-east-1", "abc")


def test_the_role_policy_is_the_one_of_the_project():
    assert policies.process_orders(NAMES) == {
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
                    "arn:aws:dynamodb:us-east-1:123456789012:table/OrdersTable",
                    "arn:aws:sns:us-east-1:123456789012:HighValueOrderTopic",
                    "arn:aws:sqs:us-east-1:123456789012:HighValueQueue",
                    "arn:aws:kinesis:us-east-1:123456789012:stream/OrdersStream",
                    "arn:aws:s3:::lambda-kinesis-demo-abc/*",
                ],
            }
        ],
    }


def test_one_action_can_be_left_out():
    policy = policies.process_orders(NAMES)
    less = policies.without(policy, "sns:Publish")
    assert "sns:Publish" in policy["Statement"][0]["Action"]
    assert "sns:Publish" not in less["Statement"][0]["Action"]
    assert policies.without(policy, *policies.FUNCTION_ACTIONS)["Statement"] == []


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, True),
        ({"Effect": "Allow", "Action": ["S3:getobject"], "Resource": ["arn:b/*"]}, True),
        ({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:c/*"}, False),
        ({"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}, False),
        ({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"x": {}}}, False),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, False),
    ],
)
def test_policies_are_read_as_iam_reads_them(statement, allowed):
    found = policies.allows([{"Statement": [statement]}], "s3:GetObject", "arn:b/k")
    assert found is allowed


def test_a_deny_wins_wherever_it_stands():
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "s3:Get*", "Resource": "arn:b/?"}
    documents = [{"Statement": [allow]}, {"Statement": deny}]
    assert not policies.allows(documents, "s3:GetObject", "arn:b/k")
    assert policies.allows(documents, "s3:GetObject", "arn:b/kk")


def test_the_suffix_is_always_the_same_for_an_account_and_fits_a_bucket_name():
    assert suffix_for("1", "us-east-1") == suffix_for("1", "us-east-1") != suffix_for("2", "x")
    assert len(NAMES.bucket) < 63


def test_the_zip_is_the_same_for_the_same_source_and_holds_just_that():
    first, second = (function_zip("process_order", with_packages=False) for _ in range(2))
    assert first == second
    inside = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert "handler.py" in inside and not any("aws_lambda_powertools" in name for name in inside)
    assert not any("__pycache__" in name for name in inside)


def test_for_real_aws_the_zip_brings_what_the_function_imports():
    inside = zipfile.ZipFile(
        io.BytesIO(function_zip("process_order", with_packages=True))
    ).namelist()
    wanted = {"handler.py", "aws_lambda_powertools/__init__.py", "jmespath/__init__.py"}
    assert wanted | {"typing_extensions.py"} <= set(inside)
    assert not any(name.endswith((".pyc", ".so")) for name in inside)


def test_building_twice_changes_nothing(pipeline):
    configuration = pipeline.client("lambda").get_function_configuration
    before = configuration(FunctionName=pipeline.names.function)
    with pipeline.calls.watch() as seen:
        labkit.build(pipeline)
    after = configuration(FunctionName=pipeline.names.function)
    assert before["RevisionId"] == after["RevisionId"]
    assert not seen.of("lambda", "UpdateFunctionCode")
    subscriptions = pipeline.client("sns").list_subscriptions_by_topic(
        TopicArn=pipeline.names.topic_arn
    )["Subscriptions"]
    assert sorted(one["Protocol"] for one in subscriptions) == ["email", "sqs"]
    assert all(one["SubscriptionArn"].startswith("arn:") for one in subscriptions)


def test_what_was_changed_is_put_right(pipeline):
    lab, names = pipeline, pipeline.names
    client = lab.client("lambda")
    client.update_function_configuration(
        FunctionName=names.function, Timeout=3, Environment={"Variables": {"TABLE_NAME": "other"}}
    )
    client.update_function_code(
        FunctionName=names.function, ZipFile=function_zip("process_order", with_packages=True)
    )
    lab.client("iam").delete_role_policy(RoleName=names.role, PolicyName=names.policy)
    lab.client("s3").put_bucket_notification_configuration(
        Bucket=names.bucket, NotificationConfiguration={}
    )
    labkit.build(lab)
    found = client.get_function_configuration(FunctionName=names.function)
    assert found["Timeout"] == 30
    assert found["Environment"]["Variables"] == steps.environment(lab)
    policy = lab.client("iam").get_role_policy(RoleName=names.role, PolicyName=names.policy)
    assert policy["PolicyDocument"] == policies.process_orders(names)
    notification = lab.client("s3").get_bucket_notification_configuration(Bucket=names.bucket)
    assert len(notification["LambdaFunctionConfigurations"]) == 2


def test_each_notebook_finds_what_those_before_it_built(lab):
    clean(lab)
    assert labkit.build(lab, through="00") == labkit.build(lab, through="01") == []
    assert labkit.build(lab, through="02") == ["table"]
    assert not lab.client("lambda").list_functions()["Functions"]
    assert labkit.build(lab, "3")[-1] == "function"
    assert not lab.client("iam").list_role_policies(RoleName=lab.names.role)["PolicyNames"]
    assert labkit.build(lab, through="04")[-1] == "permissions"
    assert labkit.build(lab, through="05")[-1] == "bucket"
    assert labkit.build(lab, through="06")[-1] == "subscribers"
    assert labkit.build(lab, through="07")[-1] == "subscribers"
    assert labkit.build(lab, through="08") == labkit.build(lab, through="99")


@pytest.mark.parametrize("through", ["", "x", "100", "-1"])
def test_a_notebook_that_cannot_be_is_refused(lab, through):
    with pytest.raises(LabError, match="notebook"):
        labkit.build(lab, through=through)


def test_s3_may_invoke_only_for_our_bucket_and_account(pipeline):
    policy = json.loads(
        pipeline.client("lambda").get_policy(FunctionName=pipeline.names.function)["Policy"]
    )
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    condition = json.dumps(statement["Condition"])
    assert pipeline.names.bucket_arn in condition and pipeline.account_id in condition


def test_an_e_mail_subscriber_confirms_through_the_mailbox(pipeline):
    asked = [mail for mail in pipeline.mailbox.mails() if mail.confirmation]
    topic, token = asked[-1].confirmation
    assert topic == pipeline.names.topic_arn and token

"""Resource policies: of functions, versions, aliases and layers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from functions_support import ACCOUNT, ARN, Bench, bench, create, refusal, zipped

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404)
STALE = (
    "PreconditionFailedException",
    412,
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id",
)
BUCKET = "arn:aws:s3:::orders"
S3 = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


@pytest.fixture
def client(bench: Bench):
    """A client with a function ``f``, its version 1 and the alias ``live``."""
    client = bench.client()
    create(client, Publish=True)
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    return client


def test_the_statement_is_written_as_aws_writes_it(bench: Bench, client) -> None:
    answer = client.add_permission(FunctionName="f", SourceArn=BUCKET, **S3)
    statement = (
        '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
        f'"Action":"lambda:InvokeFunction","Resource":"{ARN}:function:f",'
        f'"Condition":{{"ArnLike":{{"AWS:SourceArn":"{BUCKET}"}}}}}}'
    )
    assert answer["Statement"] == statement
    policy = client.get_policy(FunctionName="f")["Policy"]
    assert policy == f'{{"Version":"2012-10-17","Id":"default","Statement":[{statement}]}}'
    assert bench.functions.resource_policy(ACCOUNT, "us-east-1", "f") == json.loads(policy)
    assert bench.functions.resource_policy(ACCOUNT, "us-east-1", "f", "$LATEST") is not None
    assert bench.functions.resource_policy(ACCOUNT, "us-east-1", "f", "live") is None


@pytest.mark.parametrize(
    ("given", "principal", "condition"),
    [
        (
            {"Principal": "*", "SourceAccount": ACCOUNT},
            "*",
            {"StringEquals": {"AWS:SourceAccount": ACCOUNT}},
        ),
        ({"Principal": ACCOUNT}, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, None),
        (
            {"Principal": f"arn:aws:iam::{ACCOUNT}:user/ada"},
            {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ada"},
            None,
        ),
        (
            {"Principal": "*", "EventSourceToken": "amzn1.ask.skill.x-y"},
            "*",
            {"StringEquals": {"lambda:EventSourceToken": "amzn1.ask.skill.x-y"}},
        ),
        (
            {
                "Principal": "*",
                "Action": "lambda:InvokeFunctionUrl",
                "SourceArn": BUCKET,
                "SourceAccount": ACCOUNT,
                "FunctionUrlAuthType": "NONE",
                "PrincipalOrgID": "o-1234567890",
            },
            "*",
            {
                "StringEquals": {
                    "AWS:SourceAccount": ACCOUNT,
                    "lambda:FunctionUrlAuthType": "NONE",
                    "aws:PrincipalOrgID": "o-1234567890",
                },
                "ArnLike": {"AWS:SourceArn": BUCKET},
            },
        ),
    ],
)
def test_principals_and_conditions(
    client, given: dict[str, Any], principal: Any, condition: Any
) -> None:
    wanted = {"Action": "lambda:InvokeFunction", "StatementId": "s", **given}
    written = json.loads(client.add_permission(FunctionName="f", **wanted)["Statement"])
    assert written["Principal"] == principal
    assert written.get("Condition") == condition


def test_each_qualifier_has_its_own_policy(client) -> None:
    client.add_permission(FunctionName="f", **S3)
    client.add_permission(FunctionName="f:1", Qualifier="1", **S3)
    client.add_permission(FunctionName="f", Qualifier="live", **S3)
    for qualifier, resource in ((None, "f"), ("1", "f:1"), ("live", "f:live")):
        named = {"Qualifier": qualifier} if qualifier else {}
        policy = json.loads(client.get_policy(FunctionName="f", **named)["Policy"])
        assert [s["Resource"] for s in policy["Statement"]] == [f"{ARN}:function:{resource}"]
    client.remove_permission(FunctionName="f", StatementId="s3")
    assert refusal(client.get_policy, FunctionName="f") == (
        *NOT_FOUND,
        "The resource you requested does not exist.",
    )
    client.get_policy(FunctionName="f", Qualifier="live")


def test_refusals_of_add_permission(client) -> None:
    client.add_permission(FunctionName="f", **S3)
    missing = f"Function not found: {ARN}:function"
    cases: list[tuple[dict[str, Any], tuple[str, int, str]]] = [
        (
            {},
            (
                "ResourceConflictException",
                409,
                "The statement id (s3) provided already exists. Please provide a new statement "
                "id, or remove the existing statement.",
            ),
        ),
        (
            {"FunctionName": "f:$LATEST"},
            (*INVALID, "We currently do not support adding policies for $LATEST."),
        ),
        (
            {"Principal": "invalid.nonaws.com"},
            (
                *INVALID,
                "The provided principal was invalid. Please check the principal and try again.",
            ),
        ),
        ({"FunctionName": "nope"}, (*NOT_FOUND, f"{missing}:nope")),
        ({"Qualifier": "42"}, (*NOT_FOUND, f"{missing}:f:42")),
        ({"Qualifier": "with-$"}, (*NOT_FOUND, f"{missing}:f:with-$")),
        (
            {"Qualifier": "nope"},
            (*NOT_FOUND, f"Cannot find alias arn: {ARN}:function:f:nope"),
        ),
        ({"RevisionId": "wrong"}, STALE),
        (
            {"StatementId": "example.com"},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value 'example.com' at 'statementId' failed to "
                "satisfy constraint: Member must satisfy regular expression pattern: "
                "([a-zA-Z0-9-_]+)",
            ),
        ),
    ]
    for changed, expected in cases:
        assert refusal(client.add_permission, **{"FunctionName": "f", **S3, **changed}) == expected


def test_refusals_of_remove_permission(client) -> None:
    remove = client.remove_permission
    assert refusal(remove, FunctionName="nope", StatementId="s3") == (
        *NOT_FOUND,
        f"No policy found for: {ARN}:function:nope",
    )
    assert refusal(remove, FunctionName="f", StatementId="s3") == (
        *NOT_FOUND,
        "No policy is associated with the given resource.",
    )
    client.add_permission(FunctionName="f", **S3)
    assert refusal(remove, FunctionName="f", StatementId="other") == (
        *NOT_FOUND,
        "Statement other is not found in resource policy.",
    )
    assert refusal(remove, FunctionName="f", StatementId="s3", RevisionId="wrong") == STALE
    assert refusal(remove, FunctionName="f", StatementId="s3", Qualifier="nope")[:2] == NOT_FOUND


def test_revisions_guard_a_policy(client) -> None:
    revision = client.get_alias(FunctionName="f", Name="live")["RevisionId"]
    client.add_permission(FunctionName="f:live", RevisionId=revision, **S3)
    policy = client.get_policy(FunctionName="f:live")
    again = {**S3, "StatementId": "two"}
    client.add_permission(FunctionName="f:live", RevisionId=policy["RevisionId"], **again)
    assert client.get_policy(FunctionName="f:live")["RevisionId"] != policy["RevisionId"]
    third = {**S3, "StatementId": "three"}
    stale = {"RevisionId": policy["RevisionId"]}
    assert refusal(client.add_permission, FunctionName="f:live", **stale, **third) == STALE


def test_a_policy_has_a_limit(client) -> None:
    source = "arn:aws:s3:::" + "x" * 9000
    client.add_permission(FunctionName="f", SourceArn=source, **S3)
    second = {**S3, "StatementId": "two"}
    client.add_permission(FunctionName="f", SourceArn=source, **second)
    third = {**S3, "StatementId": "three"}
    code, status, message = refusal(
        client.add_permission, FunctionName="f", SourceArn=source, **third
    )
    assert (code, status) == ("PolicyLengthExceededException", 400)
    assert str(message).endswith("is bigger than the limit (20480).")


def test_whole_policies(bench: Bench, client) -> None:
    arn = f"{ARN}:function:f"
    statement = {
        "Sid": "all",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    put = client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(document))
    assert json.loads(client.get_policy(FunctionName="f")["Policy"])["Statement"] == [statement]
    assert client.get_resource_policy(ResourceArn=arn)["RevisionId"] == put["RevisionId"]
    for bad in ("{", "{}", '{"Statement": [{"Effect": "Allow"}]}'):
        assert refusal(client.put_resource_policy, ResourceArn=arn, Policy=bad)[:2] == INVALID
    client.delete_resource_policy(ResourceArn=arn, RevisionId=put["RevisionId"])
    assert refusal(client.get_resource_policy, ResourceArn=arn)[:2] == NOT_FOUND


def test_layer_permissions(bench: Bench) -> None:
    client = bench.client()
    client.publish_layer_version(LayerName="l", Content={"ZipFile": zipped()})
    layer = {"LayerName": "l", "VersionNumber": 1}
    grant = {"StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    assert refusal(client.get_layer_version_policy, **layer) == (
        *NOT_FOUND,
        "No policy is associated with the given resource.",
    )
    added = client.add_layer_version_permission(**layer, **grant)
    assert json.loads(added["Statement"]) == {
        "Sid": "s1",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:GetLayerVersion",
        "Resource": f"{ARN}:layer:l:1",
    }
    assert client.get_layer_version_policy(**layer)["RevisionId"] == added["RevisionId"]
    assert bench.functions.layer_policy(f"{ARN}:layer:l:1") is not None
    assert refusal(client.add_layer_version_permission, **layer, **grant)[:2] == (
        "ResourceConflictException",
        409,
    )
    other = {**grant, "StatementId": "s2"}
    stale = (
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetLayerPolicy API to retrieve the latest Revision Id",
    )
    assert refusal(client.add_layer_version_permission, RevisionId="x", **layer, **other) == stale
    wrong = {**other, "Action": "*"}
    assert refusal(client.add_layer_version_permission, **layer, **wrong)[2] == (
        "1 validation error detected: Value '*' at 'action' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: lambda:GetLayerVersion"
    )
    for params, arn in (
        ({**layer, "LayerName": "nope"}, "nope:1"),
        ({**layer, "VersionNumber": 2}, "l:2"),
    ):
        told = (*NOT_FOUND, f"Layer version {ARN}:layer:{arn} does not exist.")
        assert refusal(client.get_layer_version_policy, **params) == told
        assert refusal(client.add_layer_version_permission, **params, **other) == told
        assert refusal(client.remove_layer_version_permission, StatementId="x", **params) == told
    assert refusal(client.remove_layer_version_permission, StatementId="nope", **layer) == (
        *NOT_FOUND,
        "Statement nope is not found in resource policy.",
    )
    client.remove_layer_version_permission(StatementId="s1", **layer)
    assert refusal(client.get_layer_version_policy, **layer)[:2] == NOT_FOUND

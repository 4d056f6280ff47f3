"""Bucket policies as S3 takes and refuses them, and Block Public Access."""

from __future__ import annotations

import json

import pytest
from iam_support import allow, deny, document, refusal
from iam_support import door as door
from test_iam_door import fetch

from labkit.localaws.iam.bucket_policies import problem
from labkit.localaws.iam.policy import parse_document
from labkit.localaws.iam.public_access import is_public

B = "arn:aws:s3:::bucket"
GOOD = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{B}/*"}


def changed(**elements):
    made = {key: value for key, value in {**GOOD, **elements}.items() if value is not None}
    return document(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(GOOD), None),
        (changed(Principal={"AWS": ["123456789012", "arn:aws:iam::123456789012:role/r"]}), None),
        (changed(Principal={"Service": "cloudtrail.amazonaws.com"}), None),
        ("nope", "Policies must be valid JSON and the first byte must be '{'"),
        ("[" * 100_000, "Policies must be valid JSON and the first byte must be '{'"),
        (changed(Principal=None), "Missing required field Principal"),
        (changed(Principal={"AWS": "arn:aws:iam::123456789012:user/*"}), "Invalid principal in policy"),
        (changed(Action=None), "Missing required field Action"),
        (changed(Action="sqs:SendMessage"), "Policy has invalid action"),
        (changed(Resource=None), "Missing required field Resource"),
        (changed(Resource="arn:aws:s3:::another/*"), "Policy has invalid resource"),
        (changed(Effect=None), "Missing required field Effect"),
        (changed(Effect="allow"), "Invalid effect: allow"),
        (changed(Extra="x"), "Unknown field Extra"),
        (json.dumps({"Version": "2012-10-17", "Statement": []}), "Could not parse the policy: Statement is empty!"),
    ],
)  # fmt: skip
def test_bucket_policies_when_they_are_put(text, message):
    assert problem(text, "bucket") == message


@pytest.mark.parametrize(
    ("elements", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": "123456789012"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:PrincipalOrgID": "*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:Referer": "x"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}, True),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:1:t"}}}, False),
    ],
)
def test_the_meaning_of_public(elements, public):
    assert is_public(parse_document(json.loads(changed(**elements)))) is public


def test_new_buckets_block_public_access(door):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    settings = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(settings.values()) == {True} and len(settings) == 4
    public = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal="*"))
    code, status, message = refusal(s3.put_bucket_policy, Bucket=bucket, Policy=public)
    assert (code, status) == ("AccessDenied", 403)
    assert message.endswith(
        "because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public "
        "Access."
    )
    *_, message = refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    assert "public ACLs are prevented by the BlockPublicAcls setting" in message
    url = f"{door.aws.endpoint}/{bucket}/k"
    s3.put_object(Bucket=bucket, Key="k", Body=b"open")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=public)
    assert fetch(url) == (200, b"open")
    # The setting also closes what a policy already opened.
    s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True}
    )
    assert fetch(url)[0] == 403
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"open"
    # Making the bucket once more, as its owner may, leaves what was set.
    s3.create_bucket(Bucket=bucket)
    settings = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert settings["BlockPublicPolicy"] is False


def test_malformed_bucket_policies_are_refused(door):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    bad = document(deny("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    assert refusal(s3.put_bucket_policy, Bucket=bucket, Policy=bad) == (
        "MalformedPolicy", 400, "Missing required field Principal")  # fmt: skip

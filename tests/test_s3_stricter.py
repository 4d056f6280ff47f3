"""Where S3 is stricter or more generous than moto: encryption by default, whose policy decides."""

from __future__ import annotations

import json

import pytest
from wiring_support import Wiring, refusal, wiring

__all__ = ["wiring"]


@pytest.fixture
def bucket(wiring: Wiring) -> str:
    """A bucket of its own."""
    name = wiring.name("bucket")
    wiring.client("s3").create_bucket(Bucket=name)
    return name


def test_every_object_is_encrypted(wiring, bucket):
    s3, where = wiring.client("s3"), {"Bucket": bucket, "Key": "a"}
    assert s3.put_object(**where, Body=b"x")["ServerSideEncryption"] == "AES256"
    assert s3.head_object(**where)["ServerSideEncryption"] == "AES256"
    assert s3.get_object(**where)["ServerSideEncryption"] == "AES256"
    copy = s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    assert copy["ServerSideEncryption"] == "AES256"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")
    assert upload["ServerSideEncryption"] == "AES256"


def test_a_bucket_has_default_encryption(wiring, bucket):
    s3 = wiring.client("s3")
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules == [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BucketKeyEnabled": False,
        }
    ]


def test_requests_have_two_ids_even_when_refused(wiring, bucket):
    s3 = wiring.client("s3")
    good = s3.list_objects_v2(Bucket=bucket)["ResponseMetadata"]
    assert len(good["RequestId"]) == 16 and len(good["HostId"]) == 76
    with pytest.raises(s3.exceptions.NoSuchKey) as caught:
        s3.get_object(Bucket=bucket, Key="nothing")
    bad = caught.value.response["ResponseMetadata"]
    assert len(bad["RequestId"]) == 16 and len(bad["HostId"]) == 76


def test_a_deny_in_the_bucket_policy_is_access_denied(wiring, bucket):
    s3 = wiring.client("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    assert refusal(s3.get_object, Bucket=bucket, Key="a")["Code"] == "AccessDenied"
    s3.put_object(Bucket=bucket, Key="b", Body=b"x")

"""Lifecycle rules: what S3 refuses, and what happens at midnight by the lab's clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from wiring_support import Wiring, refusal, wiring

from labkit.localaws.services import s3_lifecycle_rules

__all__ = ["wiring"]


@pytest.fixture
def s3(wiring: Wiring):
    """A client of S3."""
    return wiring.client("s3")


@pytest.fixture
def bucket(wiring: Wiring, s3) -> str:
    """A bucket of its own."""
    name = wiring.name("bucket")
    s3.create_bucket(Bucket=name)
    return name


def rule(**actions) -> dict:
    """An enabled rule for all objects."""
    return {"ID": "rule", "Status": "Enabled", "Filter": {"Prefix": ""}, **actions}


def put(s3, bucket: str, *rules: dict) -> None:
    """Give the bucket rules."""
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}
    )


def keys(s3, bucket: str) -> list[str]:
    """The current objects."""
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


IA = "STANDARD_IA"
MALFORMED = (
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
)


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (
            rule(Transitions=[{"Days": 10, "StorageClass": IA}]),
            "InvalidArgument",
            "'Days' in Transition action must be greater than or equal to 30 for storageClass "
            "'STANDARD_IA'",
        ),
        (
            rule(
                Transitions=[
                    {"Days": 30, "StorageClass": IA},
                    {"Days": 45, "StorageClass": "GLACIER"},
                ]
            ),
            "InvalidArgument",
            "'Days' in the 'GLACIER' Transition action for filter '(prefix=)' must be 30 days more "
            "than 'Days' in the 'STANDARD_IA' Transition action",
        ),
        (
            rule(Transitions=[{"Days": 30, "StorageClass": IA}], Expiration={"Days": 30}),
            "InvalidArgument",
            "'Days' in the Expiration action for filter '(prefix=)' must be greater than 'Days' in "
            "the Transition action",
        ),
        (
            rule(Expiration={"Days": 0}),
            "InvalidArgument",
            "'Days' for Expiration action must be a positive integer",
        ),
        (
            rule(Expiration={"Date": datetime(2030, 1, 1, 3, tzinfo=UTC)}),
            "InvalidArgument",
            "'Date' must be at midnight GMT",
        ),
        (rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True}), *MALFORMED),
        ({"ID": "x", "Status": "Enabled", "Expiration": {"Days": 1}}, *MALFORMED),
        (rule(NoncurrentVersionExpiration={}), *MALFORMED),
        (
            {**rule(Expiration={"Days": 1}), "Filter": {"And": {"Prefix": "only"}}},
            *MALFORMED,
        ),
        (rule(), "InvalidRequest", "At least one action needs to be specified in a rule"),
        (
            {
                **rule(Expiration={"Days": 1}),
                "Filter": {"And": {"Tags": [{"Key": "a", "Value": str(n)} for n in (1, 2)]}},
            },
            "InvalidRequest",
            "Duplicate Tag Keys are not allowed.",
        ),
    ],
)
def test_refused_rules(s3, bucket, given, code, message):
    error = refusal(
        s3.put_bucket_lifecycle_configuration,
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [given]},
    )
    assert (error["Code"], error["Message"]) == (code, message)


def test_rules_come_back_as_they_were_put(s3, bucket):
    error = refusal(s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    assert error["Code"] == "NoSuchLifecycleConfiguration"
    rules = [
        {
            "ID": "a",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "k", "Value": "v"}]}},
            "Transitions": [{"Days": 30, "StorageClass": IA}],
            "Expiration": {"Days": 365},
        },
        {
            "ID": "b",
            "Status": "Disabled",
            "Filter": {"ObjectSizeGreaterThan": 20},
            "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        },
    ]
    put(s3, bucket, *rules)
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert kept["Rules"] == rules
    assert kept["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    s3.delete_bucket_lifecycle(Bucket=bucket)
    error = refusal(s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    assert error["Code"] == "NoSuchLifecycleConfiguration"


def test_expiry_is_rounded_up_to_midnight():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
    due = s3_lifecycle_rules.due_at({"Days": 3}, noon)
    assert datetime.fromtimestamp(due, UTC) == datetime(2026, 1, 5, tzinfo=UTC)


def test_objects_expire_and_it_is_told(wiring, s3, bucket):
    heard = wiring.queue("heard", "s3.amazonaws.com")
    configuration = {"QueueArn": heard.arn, "Events": ["s3:LifecycleExpiration:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )
    heard.messages()
    put(s3, bucket, {**rule(Expiration={"Days": 2}), "Filter": {"Prefix": "old/"}})
    answer = s3.put_object(Bucket=bucket, Key="old/a", Body=b"x")
    s3.put_object(Bucket=bucket, Key="new/a", Body=b"x")
    assert re.fullmatch(
        r'expiry-date="\w{3}, \d\d \w{3} \d{4} 00:00:00 GMT", rule-id="rule"', answer["Expiration"]
    )
    assert s3.head_object(Bucket=bucket, Key="old/a")["Expiration"] == answer["Expiration"]
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="new/a")
    wiring.advance(days=2)
    assert keys(s3, bucket) == ["new/a", "old/a"]
    wiring.advance(days=1)
    assert keys(s3, bucket) == ["new/a"]
    (record,) = heard.bodies()[0]["Records"]
    assert record["eventName"] == "LifecycleExpiration:Delete"
    assert record["eventVersion"] == "2.3"
    assert record["userIdentity"] == {"principalId": "s3.amazonaws.com"}
    assert record["s3"]["object"]["key"] == "old/a"


def test_versions_expire_behind_a_marker(wiring, s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(
        s3,
        bucket,
        rule(Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 3}),
    )
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    wiring.advance(days=2)
    assert keys(s3, bucket) == []
    versions = s3.list_object_versions(Bucket=bucket)
    assert (len(versions["Versions"]), len(versions["DeleteMarkers"])) == (1, 1)
    wiring.advance(days=4)
    versions = s3.list_object_versions(Bucket=bucket)
    assert "Versions" not in versions and len(versions["DeleteMarkers"]) == 1
    put(s3, bucket, rule(Expiration={"ExpiredObjectDeleteMarker": True}))
    wiring.advance(days=1)
    assert "DeleteMarkers" not in s3.list_object_versions(Bucket=bucket)


def test_objects_change_class_unless_they_are_small(wiring, s3, bucket):
    put(s3, bucket, rule(Transitions=[{"Days": 30, "StorageClass": IA}]))
    s3.put_object(Bucket=bucket, Key="large", Body=b"x" * 131_072)
    s3.put_object(Bucket=bucket, Key="small", Body=b"x")
    wiring.advance(days=29)
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="large")
    wiring.advance(days=2)
    assert s3.head_object(Bucket=bucket, Key="large")["StorageClass"] == IA
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="small")


def test_unfinished_uploads_are_given_up(wiring, s3, bucket):
    put(s3, bucket, rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    s3.create_multipart_upload(Bucket=bucket, Key="a")
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    wiring.advance(days=2)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)

"""S3 tells of every change of an object: what it says, to whom, and whom it refuses."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import unquote_plus

import pytest
from wiring_support import Queue, Wiring, refusal, wiring

__all__ = ["wiring"]

S3 = "s3.amazonaws.com"


class Bucket:
    """A bucket whose changes arrive at a queue."""

    def __init__(self, wiring: Wiring, *events: str, versioned: bool = False, **filters: str):
        self.s3 = wiring.client("s3")
        self.name = wiring.name("bucket")
        self.s3.create_bucket(Bucket=self.name)
        if versioned:
            self.s3.put_bucket_versioning(
                Bucket=self.name, VersioningConfiguration={"Status": "Enabled"}
            )
        self.queue: Queue = wiring.queue("changes", S3)
        self.configure({**rule(self.queue.arn, *events, **filters), "Id": "changes"})
        (self.test_event,) = self.queue.bodies()

    def configure(self, *queues: dict, **more) -> None:
        """Replace the bucket's notification configuration."""
        self.s3.put_bucket_notification_configuration(
            Bucket=self.name,
            NotificationConfiguration={"QueueConfigurations": list(queues)},
            **more,
        )

    def records(self) -> list[dict]:
        """What was told since, in the order S3 says it happened."""
        records = [body["Records"][0] for body in self.queue.bodies()]
        return sorted(records, key=lambda one: one["s3"]["object"].get("sequencer", "Z"))


def rule(arn: str, *events: str, kind: str = "Queue", **filters: str) -> dict:
    """One queue's part of a configuration."""
    configuration = {f"{kind}Arn": arn, "Events": list(events or ("s3:ObjectCreated:*",))}
    if filters:
        rules = [{"Name": name, "Value": value} for name, value in filters.items()]
        configuration["Filter"] = {"Key": {"FilterRules": rules}}
    return configuration


def test_the_record_of_a_put_is_complete(wiring):
    bucket = Bucket(wiring)
    answer = bucket.s3.put_object(Bucket=bucket.name, Key="orders/1.json", Body=b"hello")
    (record,) = bucket.records()
    assert list(record) == [
        "eventVersion",
        "eventSource",
        "awsRegion",
        "eventTime",
        "eventName",
        "userIdentity",
        "requestParameters",
        "responseElements",
        "s3",
    ]
    assert record["eventVersion"] == "2.1"
    assert record["eventSource"] == "aws:s3"
    assert record["awsRegion"] == "us-east-1"
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["eventTime"][-5] == "." and record["eventTime"].endswith("Z")
    caller = wiring.client("sts").get_caller_identity()["UserId"]
    assert record["userIdentity"] == {"principalId": f"AWS:{caller}"}
    assert record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert record["responseElements"] == {
        "x-amz-request-id": headers["x-amz-request-id"],
        "x-amz-id-2": headers["x-amz-id-2"],
    }
    assert answer["ResponseMetadata"]["RequestId"] == headers["x-amz-request-id"]
    s3 = record["s3"]
    assert s3["s3SchemaVersion"] == "1.0" and s3["configurationId"] == "changes"
    assert s3["bucket"]["name"] == bucket.name
    assert s3["bucket"]["arn"] == f"arn:aws:s3:::{bucket.name}"
    assert s3["bucket"]["ownerIdentity"]["principalId"]
    sequencer = s3["object"].pop("sequencer")
    assert int(sequencer, 16) > 0 and len(sequencer) == 18
    assert s3["object"] == {
        "key": "orders/1.json",
        "size": 5,
        "eTag": answer["ETag"].strip('"'),
    }


def test_a_new_destination_gets_a_test_event(wiring):
    event = Bucket(wiring).test_event
    assert set(event) == {"Service", "Event", "Time", "Bucket", "RequestId", "HostId"}
    assert event["Service"] == "Amazon S3" and event["Event"] == "s3:TestEvent"


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("red flower.jpg", "red+flower.jpg"),
        ("a/b/c+d.json", "a/b/c%2Bd.json"),
        ("größe/ü.txt", "gr%C3%B6%C3%9Fe/%C3%BC.txt"),
        ("a@b", "a%40b"),
        ("year=2026/x:y(1)&z", "year%3D2026/x%3Ay%281%29%26z"),
    ],
)
def test_keys_are_encoded_like_form_fields(wiring, key, encoded):
    bucket = Bucket(wiring)
    bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=b"")
    (record,) = bucket.records()
    assert record["s3"]["object"]["key"] == encoded
    assert unquote_plus(encoded) == key


def test_every_kind_of_change_is_told_of(wiring):
    bucket = Bucket(wiring, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")
    s3, name = bucket.s3, bucket.name
    s3.put_object(Bucket=name, Key="a", Body=b"1")
    s3.copy_object(Bucket=name, Key="b", CopySource=f"{name}/a")
    upload = s3.create_multipart_upload(Bucket=name, Key="c")["UploadId"]
    part = s3.upload_part(Bucket=name, Key="c", UploadId=upload, PartNumber=1, Body=b"22")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=name, Key="c", UploadId=upload, MultipartUpload=parts)
    s3.delete_object(Bucket=name, Key="a")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "b"}, {"Key": "never"}]})
    records = bucket.records()
    told = [(one["eventName"], one["s3"]["object"]["key"]) for one in records]
    assert told == [
        ("ObjectCreated:Put", "a"),
        ("ObjectCreated:Copy", "b"),
        ("ObjectCreated:CompleteMultipartUpload", "c"),
        ("ObjectRemoved:Delete", "a"),
        ("ObjectRemoved:Delete", "b"),
    ]
    assert records[2]["s3"]["object"]["size"] == 2
    assert set(records[3]["s3"]["object"]) == {"key", "sequencer"}


def test_tags_and_access_lists_are_told_of_in_a_later_version(wiring):
    bucket = Bucket(wiring, "s3:ObjectTagging:*", "s3:ObjectAcl:Put")
    s3, where = bucket.s3, {"Bucket": bucket.name, "Key": "a"}
    s3.put_object(**where, Body=b"1")
    s3.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object_tagging(**where)
    s3.put_object_acl(**where, ACL="private")
    records = bucket.records()
    assert {one["eventName"] for one in records} == {
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
        "ObjectAcl:Put",
    }
    for record in records:
        assert record["eventVersion"] == "2.3"
        assert set(record["s3"]["object"]) == {"key", "eTag"}


def test_versions_and_delete_markers(wiring):
    bucket = Bucket(wiring, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", versioned=True)
    s3, where = bucket.s3, {"Bucket": bucket.name, "Key": "a"}
    first = s3.put_object(**where, Body=b"1")["VersionId"]
    marker = s3.delete_object(**where)["VersionId"]
    s3.delete_object(**where, VersionId=first)
    records = bucket.records()
    objects = [one["s3"]["object"] for one in records]
    assert [one["eventName"] for one in records] == [
        "ObjectCreated:Put",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRemoved:Delete",
    ]
    assert [one["versionId"] for one in objects] == [first, marker, first]
    assert objects[1]["eTag"] == "d41d8cd98f00b204e9800998ecf8427e" and "size" not in objects[1]
    assert "eTag" not in objects[2]


def test_later_changes_of_a_key_have_greater_sequencers(wiring):
    bucket = Bucket(wiring)
    etags = [
        bucket.s3.put_object(Bucket=bucket.name, Key="a", Body=str(number).encode())["ETag"]
        for number in range(5)
    ]
    told = [one["s3"]["object"]["eTag"] for one in bucket.records()]
    assert told == [etag.strip('"') for etag in etags]


def test_prefix_and_suffix_choose_keys(wiring):
    bucket = Bucket(wiring, "s3:ObjectCreated:Put", prefix="orders/", SUFFIX=".json")
    for key in ("orders/1.json", "orders/1.txt", "other/1.json", "orders/x/2.json"):
        bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=b"")
    keys = [one["s3"]["object"]["key"] for one in bucket.records()]
    assert keys == ["orders/1.json", "orders/x/2.json"]
    kept = bucket.s3.get_bucket_notification_configuration(Bucket=bucket.name)
    rules = kept["QueueConfigurations"][0]["Filter"]["Key"]["FilterRules"]
    assert [one["Name"] for one in rules] == ["Prefix", "Suffix"]


def test_filters_see_the_encoded_key(wiring):
    bucket = Bucket(wiring, prefix="my+orders/")
    bucket.s3.put_object(Bucket=bucket.name, Key="my orders/1", Body=b"")
    bucket.s3.put_object(Bucket=bucket.name, Key="my+orders/1", Body=b"")
    assert [one["s3"]["object"]["key"] for one in bucket.records()] == ["my+orders/1"]


def test_a_configuration_replaces_the_one_before(wiring):
    bucket = Bucket(wiring)
    bucket.s3.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={}
    )
    bucket.s3.put_object(Bucket=bucket.name, Key="a", Body=b"")
    assert bucket.records() == []
    kept = bucket.s3.get_bucket_notification_configuration(Bucket=bucket.name)
    assert "QueueConfigurations" not in kept


def test_a_bucket_of_the_same_name_starts_without_configuration(wiring):
    bucket = Bucket(wiring)
    bucket.s3.delete_bucket(Bucket=bucket.name)
    bucket.s3.create_bucket(Bucket=bucket.name)
    kept = bucket.s3.get_bucket_notification_configuration(Bucket=bucket.name)
    assert "QueueConfigurations" not in kept


def test_ids_are_made_up_and_must_differ(wiring):
    bucket = Bucket(wiring)
    bucket.configure(rule(bucket.queue.arn, prefix="a"))
    kept = bucket.s3.get_bucket_notification_configuration(Bucket=bucket.name)
    assert len(kept["QueueConfigurations"][0]["Id"]) == 48
    twice = [{**rule(bucket.queue.arn, prefix=one), "Id": "same"} for one in ("a", "b")]
    with pytest.raises(Exception, match="IDs must be unique"):
        bucket.configure(*twice)


def test_overlapping_rules_are_refused(wiring):
    bucket = Bucket(wiring)
    other = wiring.queue("other", S3)
    with pytest.raises(Exception, match="cannot share a common event type"):
        bucket.configure(rule(bucket.queue.arn), rule(other.arn, "s3:ObjectCreated:Put"))
    with pytest.raises(Exception, match="Configuration is ambiguously defined"):
        bucket.configure(rule(bucket.queue.arn, prefix="a"), rule(other.arn, prefix="ab"))
    bucket.configure(
        rule(bucket.queue.arn, suffix=".json", prefix="a"), rule(other.arn, suffix=".txt")
    )
    bucket.configure(rule(bucket.queue.arn), rule(other.arn, "s3:ObjectRemoved:*"))


def put_refusal(bucket: Bucket, *queues: dict, kind: str = "Queue", **more) -> dict:
    """The error that a configuration is refused with."""
    return refusal(
        bucket.s3.put_bucket_notification_configuration,
        Bucket=bucket.name,
        NotificationConfiguration={f"{kind}Configurations": list(queues)},
        **more,
    )


def test_a_missing_destination_is_refused_unless_told_not_to_look(wiring):
    bucket = Bucket(wiring)
    gone = [wiring.arn("sqs", f"gone-{number}") for number in (1, 2)]
    queues = rule(gone[0]), rule(gone[1], "s3:ObjectRemoved:*")
    assert put_refusal(bucket, *queues) == {
        "Code": "InvalidArgument",
        "Message": "Unable to validate the following destination configurations",
        "ArgumentName1": gone[0],
        "ArgumentValue1": "The destination queue does not exist",
        "ArgumentName2": gone[1],
        "ArgumentValue2": "The destination queue does not exist",
    }
    bucket.configure(*queues, SkipDestinationValidation=True)
    topic = {"TopicArn": wiring.arn("sns", "gone"), "Events": ["s3:ObjectCreated:*"]}
    error = put_refusal(bucket, topic, kind="Topic")
    assert error["ArgumentValue1"] == "The destination topic does not exist"


def test_a_destination_must_let_s3_in_for_this_bucket(wiring):
    bucket = Bucket(wiring)
    closed = wiring.queue("closed")
    reason = (
        "Permissions on the destination queue do not allow S3 to publish notifications from "
        "this bucket"
    )
    assert put_refusal(bucket, rule(closed.arn))["ArgumentValue1"] == reason
    closed.allow(S3, condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::somebody-elses"}})
    assert put_refusal(bucket, rule(closed.arn))["ArgumentValue1"] == reason
    closed.allow(
        S3,
        condition={
            "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket.name}"},
            "StringEquals": {"aws:SourceAccount": wiring.account},
        },
    )
    bucket.configure(rule(closed.arn))
    assert [one["Event"] for one in closed.bodies()] == ["s3:TestEvent"]


def test_a_function_must_let_s3_in(wiring):
    bucket = Bucket(wiring)
    arn = wiring.arn("lambda", "function:nobody")
    function = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
    error = put_refusal(bucket, function, kind="LambdaFunction")
    assert error["ArgumentName1"] == f"{arn}, null"
    assert error["ArgumentValue1"] == f"Not authorized to invoke function [{arn}]"


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("nothing", "The ARN could not be parsed"),
        ("arn:aws:sqs:us-east-1:123456789012:q.fifo", "FIFO SQS queues are not supported."),
        (
            "arn:aws:sqs:eu-west-1:123456789012:q",
            "The notification destination service region is not valid for the bucket location "
            "constraint",
        ),
    ],
)
def test_what_is_no_destination_is_refused_at_once(wiring, arn, message):
    bucket = Bucket(wiring)
    error = put_refusal(bucket, rule(arn), SkipDestinationValidation=True)
    assert error == {
        "Code": "InvalidArgument",
        "Message": message,
        "ArgumentName": "Queue",
        "ArgumentValue": arn,
    }


def test_wrong_events_and_filters_are_refused(wiring):
    bucket = Bucket(wiring)
    arn = bucket.queue.arn
    assert "is not supported" in put_refusal(bucket, rule(arn, "s3:Nothing"))["Message"]
    assert put_refusal(bucket, rule(arn, middle="x"))["Message"] == (
        "filter rule name must be either prefix or suffix"
    )
    assert put_refusal(bucket, rule(arn, prefix="x", PREFIX="y"))["Message"] == (
        "Cannot specify more than one prefix rule in a filter."
    )


def test_a_missing_bucket(wiring):
    error = refusal(
        wiring.client("s3").put_bucket_notification_configuration,
        Bucket="there-is-no-such-bucket",
        NotificationConfiguration={},
    )
    assert error["Code"] == "NoSuchBucket"


def test_a_topic_gets_the_record_with_a_subject(wiring):
    bucket = Bucket(wiring)
    sns = wiring.client("sns")
    topic = sns.create_topic(Name=wiring.name("changes"))["TopicArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": S3},
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket.name}"}},
    }
    configuration = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
    error = put_refusal(bucket, *configuration["TopicConfigurations"], kind="Topic")
    assert error["ArgumentValue1"].startswith("Permissions on the destination topic do not allow")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    heard = wiring.queue("heard", "sns.amazonaws.com")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=heard.arn)
    bucket.s3.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration=configuration
    )
    (test,) = heard.bodies()
    assert json.loads(test["Message"])["Event"] == "s3:TestEvent"
    bucket.s3.put_object(Bucket=bucket.name, Key="a", Body=b"")
    (put,) = heard.bodies()
    assert json.loads(put["Message"])["Records"][0]["eventName"] == "ObjectCreated:Put"
    assert put["Subject"] == "Amazon S3 Notification"


def test_a_destination_that_refuses_loses_the_event(wiring):
    bucket = Bucket(wiring)
    bucket.queue.allow()
    bucket.s3.put_object(Bucket=bucket.name, Key="lost", Body=b"")
    wiring.settle()
    bucket.queue.allow(S3)
    bucket.s3.put_object(Bucket=bucket.name, Key="found", Body=b"")
    assert [one["s3"]["object"]["key"] for one in bucket.records()] == ["found"]


def test_eventbridge_hears_of_everything_in_its_own_shape(wiring):
    bucket = Bucket(wiring)
    events, heard = wiring.client("events"), wiring.queue("heard", "events.amazonaws.com")
    name = wiring.name("rule")
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket.name]}}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": heard.arn}])
    bucket.s3.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    answer = bucket.s3.put_object(Bucket=bucket.name, Key="a b+c", Body=b"123")
    bucket.s3.delete_object(Bucket=bucket.name, Key="a b+c")
    told = {one["detail-type"]: one for one in heard.bodies()}
    created, deleted = told["Object Created"], told["Object Deleted"]
    assert created["source"] == "aws.s3"
    assert created["resources"] == [f"arn:aws:s3:::{bucket.name}"]
    assert created["detail"].pop("object")["key"] == "a b+c"
    assert created["detail"] == {
        "version": "0",
        "bucket": {"name": bucket.name},
        "request-id": answer["ResponseMetadata"]["RequestId"],
        "requester": wiring.account,
        "source-ip-address": "127.0.0.1",
        "reason": "PutObject",
    }
    assert deleted["detail"]["reason"] == "DeleteObject"
    assert deleted["detail"]["deletion-type"] == "Permanently Deleted"
    assert set(deleted["detail"]["object"]) == {"key", "sequencer"}
    kept = bucket.s3.get_bucket_notification_configuration(Bucket=bucket.name)
    assert kept["EventBridgeConfiguration"] == {}


def test_a_trace_header_goes_along(wiring):
    bucket = Bucket(wiring)
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"

    def trace_it(request, **_):
        request.headers["X-Amzn-Trace-Id"] = trace

    bucket.s3.meta.events.register_first("before-sign.s3.PutObject", trace_it)
    try:
        bucket.s3.put_object(Bucket=bucket.name, Key="a", Body=b"")
    finally:
        bucket.s3.meta.events.unregister("before-sign.s3.PutObject", trace_it)
    (message,) = bucket.queue.messages()
    assert message["Attributes"]["AWSTraceHeader"] == trace


def test_a_browsers_upload_is_told_of(wiring):
    bucket = Bucket(wiring)
    # It expires by the lab's clock, which other tests have moved.
    form = bucket.s3.generate_presigned_post(
        bucket.name, "form/${filename}", ExpiresIn=1_000_000_000
    )
    line = "--edge\r\nContent-Disposition: form-data; name="
    fields = "".join(f'{line}"{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items())
    file = f'{line}"file"; filename="a b.txt"\r\n\r\nhello\r\n--edge--\r\n'
    request = urllib.request.Request(
        form["url"],
        data=(fields + file).encode(),
        headers={"Content-Type": "multipart/form-data; boundary=edge"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
    (record,) = bucket.records()
    assert record["eventName"] == "ObjectCreated:Post"
    assert record["s3"]["object"]["key"] == "form/a+b.txt"


def test_a_restored_object_is_told_of_twice(wiring):
    bucket = Bucket(wiring, "s3:ObjectRestore:*")
    where = {"Bucket": bucket.name, "Key": "a"}
    bucket.s3.put_object(**where, Body=b"12", StorageClass="GLACIER")
    bucket.s3.restore_object(**where, RestoreRequest={"Days": 1})
    begun, done = bucket.records()
    assert [one["eventName"] for one in (begun, done)] == [
        "ObjectRestore:Post",
        "ObjectRestore:Completed",
    ]
    assert begun["s3"]["object"]["size"] == 2
    assert done["userIdentity"]["principalId"].startswith("AmazonCustomer:A")
    restored = done["glacierEventData"]["restoreEventData"]
    assert restored["lifecycleRestoreStorageClass"] == "GLACIER"
    assert restored["lifecycleRestorationExpiryTime"].endswith("Z")

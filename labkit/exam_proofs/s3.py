"""Proofs on S3's objects: conditions, consistency, lists, versions, parts, encryption, events."""

from __future__ import annotations

import json
from urllib.parse import quote, unquote_plus

from botocore.exceptions import ClientError

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_and_message, error_of
from labkit.exam_proofs.policies import allow, policy


def _keys(s3, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def _text(s3, bucket: str, key: str) -> str:
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def _notify_queue(aws: Bench, bucket: str, queue: str, **more) -> None:
    """Has *bucket* send its events to *queue*; S3's own test message is taken out."""
    statement = allow(
        "sqs:SendMessage",
        aws.queue_arn(queue),
        Principal={"Service": "s3.amazonaws.com"},
        Condition={"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    )
    aws.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy(statement)})
    configuration = {"QueueArn": aws.queue_arn(queue), "Events": ["s3:ObjectCreated:*"], **more}
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )
    aws.messages(queue)


def _event_keys(messages: list[dict]) -> list[str]:
    records = [r for m in messages for r in json.loads(m["Body"]).get("Records", [])]
    return [record["s3"]["object"]["key"] for record in records]


def url_encoded_key(aws: Bench) -> Observations:
    """s3-03: keys in events are URL-encoded and have to be decoded before use."""
    s3, see = aws.client("s3"), Observations()
    bucket, queue, key = aws.bucket(), aws.queue("events"), "Invoice May 2026.pdf"
    _notify_queue(aws, bucket, queue)
    s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    told = _event_keys(aws.messages(queue, at_least=1))[0]
    see("The key in the event", told, "Invoice+May+2026.pdf")
    get = {"Bucket": bucket}
    see("GetObject with it", error_of(s3.get_object, Key=told, **get), "NoSuchKey")
    see("Once more", error_of(s3.get_object, Key=told, **get), "NoSuchKey", refutes="retry")
    decoded = unquote_plus(told)
    see(
        "Decoded with unquote_plus",
        error_of(s3.get_object, Key=decoded, **get),
        "no error",
        supports="unquote",
    )
    again = quote(told)
    see(
        "Encoded once more", error_of(s3.get_object, Key=again, **get), "NoSuchKey", refutes="quote"
    )
    return see


def conditional_put(aws: Bench) -> Observations:
    """s3-04: IfNoneMatch writes only if the key does not exist yet."""
    s3, see = aws.client("s3"), Observations()
    bucket, key = aws.bucket(), "reports/2026-11.csv"
    report = {"Bucket": bucket, "Key": key}
    see("The first", error_of(s3.put_object, **report, Body=b"first", IfNoneMatch="*"), "no error")
    try:
        s3.put_object(**report, Body=b"second", IfNoneMatch="*")
        status = 200
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    see("HTTP status of the second", status, 412, supports="if-none-match")
    see("Stored", _text(s3, bucket, key), "first", supports="if-none-match")

    other = {"Bucket": bucket, "Key": "reports/2026-12.csv"}
    looks = [error_of(s3.head_object, **other) for _ in range(2)]
    see("Two workers look first", looks, ["404", "404"])
    for worker in (b"first", b"second"):
        s3.put_object(**other, Body=worker)
    see(
        "Stored after both have written",
        _text(s3, bucket, other["Key"]),
        "second",
        refutes="head-first",
    )
    locks = [error_of(s3.put_object, Bucket=bucket, Key="x.lock", Body=b"") for _ in range(2)]
    see("Two workers write a lock", locks, ["no error", "no error"], refutes="lock-file")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    see(
        "With versioning, a third",
        error_of(s3.put_object, **other, Body=b"third"),
        "no error",
        refutes="versioning",
    )
    return see


def strong_consistency(aws: Bench) -> Observations:
    """s3-05: reads and lists right after a write show it."""
    s3, see = aws.client("s3"), Observations()
    bucket, wrong = aws.bucket(), []
    for number in range(15):
        s3.put_object(Bucket=bucket, Key="settings", Body=str(number).encode())
        if _text(s3, bucket, "settings") != str(number):
            wrong.append(f"read {number}")
        s3.put_object(Bucket=bucket, Key=f"new-{number}", Body=b"")
        if f"new-{number}" not in _keys(s3, bucket):
            wrong.append(f"list {number}")
        s3.delete_object(Bucket=bucket, Key=f"new-{number}")
        if f"new-{number}" in _keys(s3, bucket):
            wrong.append(f"list after delete {number}")
    see(
        "Stale answers in 15 overwrites, 15 new and 15 deleted objects",
        wrong,
        [],
        supports="no-pause",
        refutes="overwrite-pause list-pause",
    )
    see(
        "ConsistentRead in GetObject",
        error_of(s3.get_object, Bucket=bucket, Key="settings", ConsistentRead=True),
        "ParamValidationError",
        refutes="flag",
    )
    return see


def list_pages(aws: Bench) -> Observations:
    """s3-06: a list comes in pages of at most 1,000 keys, whatever is asked for."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    for number in range(7):
        s3.put_object(Bucket=bucket, Key=f"folder-{number % 2}/{number}", Body=b"")
    asked = s3.list_objects_v2(Bucket=bucket, MaxKeys=100_000)["MaxKeys"]
    see("Page size when 100,000 are asked for", asked, 1000, refutes="max-keys")
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=3)
    see("A page of three: keys, IsTruncated", (page["KeyCount"], page["IsTruncated"]), (3, True))
    found, pages = [entry["Key"] for entry in page["Contents"]], 1
    while page["IsTruncated"]:
        page = s3.list_objects_v2(
            Bucket=bucket, MaxKeys=3, ContinuationToken=page["NextContinuationToken"]
        )
        found += [entry["Key"] for entry in page["Contents"]]
        pages += 1
    see("Keys found by going on, pages", (len(found), pages), (7, 3), supports="paginator")
    again = s3.list_objects_v2(Bucket=bucket, MaxKeys=3)
    see("Without a delimiter, folders included", again["IsTruncated"], True, refutes="delimiter")
    return see


def delete_marker(aws: Bench) -> Observations:
    """s3-07: a delete without a version puts a marker on top; without it the object is back."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    contract = {"Bucket": bucket, "Key": "contract.pdf"}
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(**contract, Body=b"signed")
    s3.delete_object(**contract)
    see("GetObject after the delete", error_of(s3.get_object, **contract), "NoSuchKey")
    listed = s3.list_object_versions(Bucket=bucket)
    see("Versions still there", len(listed["Versions"]), 1, refutes="too-late")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    see(
        "With versioning suspended",
        error_of(s3.get_object, **contract),
        "NoSuchKey",
        refutes="suspend",
    )
    see(
        "RestoreObject of the version",
        error_of(
            s3.restore_object,
            **contract,
            VersionId=listed["Versions"][0]["VersionId"],
            RestoreRequest={"Days": 1},
        ),
        lambda code: code != "no error",
        refutes="support",
    )
    s3.delete_object(**contract, VersionId=listed["DeleteMarkers"][0]["VersionId"])
    see(
        "After deleting the marker",
        _text(s3, bucket, "contract.pdf"),
        "signed",
        supports="remove-marker",
    )
    return see


def default_encryption(aws: Bench) -> Observations:
    """s3-09: new objects are encrypted with SSE-S3 unless something else is chosen."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="plain", Body=b"text")
    head = s3.head_object(Bucket=bucket, Key="plain")
    see(
        "Encryption of the object",
        head.get("ServerSideEncryption"),
        "AES256",
        supports="sse-s3",
        refutes="nothing sse-kms",
    )
    see("Read with plain boto3", _text(s3, bucket, "plain"), "text", refutes="by-client")
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    default = rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    see("The bucket's own default", default, "AES256", supports="sse-s3")
    return see


def kms_encryption(aws: Bench) -> Observations:
    """s3-10: with SSE-KMS, reading takes a permission on the key as well."""
    s3, kms, see = aws.client("s3"), aws.client("kms"), Observations()
    bucket = aws.bucket()
    key = kms.create_key()["KeyMetadata"]
    aws.defer(kms.schedule_key_deletion, KeyId=key["KeyId"], PendingWindowInDays=7)
    s3.put_object(Bucket=bucket, Key="sse-s3", Body=b"text")
    s3.put_object(
        Bucket=bucket,
        Key="sse-kms",
        Body=b"text",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=key["Arn"],
    )
    head = s3.head_object(Bucket=bucket, Key="sse-kms")
    see("The object names its key", head["SSEKMSKeyId"], key["Arn"], supports="sse-kms")
    objects = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    reader = aws.client("s3", aws.user("reader", objects))
    see(
        "A reader without kms:Decrypt, SSE-KMS",
        error_of(reader.get_object, Bucket=bucket, Key="sse-kms"),
        "AccessDenied",
        supports="sse-kms",
    )
    see(
        "The same reader, SSE-S3",
        error_of(reader.get_object, Bucket=bucket, Key="sse-s3"),
        "no error",
        refutes="sse-s3",
    )
    both = aws.client("s3", aws.user("both", objects, allow("kms:Decrypt", key["Arn"])))
    see(
        "A reader with kms:Decrypt, SSE-KMS",
        error_of(both.get_object, Bucket=bucket, Key="sse-kms"),
        "no error",
        supports="sse-kms",
    )
    return see


def notification_needs_permission(aws: Bench) -> Observations:
    """s3-13: S3 saves a notification only if it may invoke the function."""
    s3, awslambda, see = aws.client("s3"), aws.client("lambda"), Observations()
    bucket = aws.bucket()
    function = aws.function("thumbs", "def handler(e, c): pass", allow("s3:GetObject"))
    arn = aws.arn("lambda", f"function:{function}")
    target = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}

    def save() -> tuple[str, str]:
        return error_and_message(
            s3.put_bucket_notification_configuration,
            Bucket=bucket,
            NotificationConfiguration={"LambdaFunctionConfigurations": [target]},
        )

    code, message = save()
    see("Code, with s3:GetObject in the role", code, "InvalidArgument", refutes="execution-role")
    see("Message", message, lambda text: "Unable to validate" in text)
    reading = allow(
        "s3:GetObject",
        f"arn:aws:s3:::{bucket}/*",
        Principal={"Service": "lambda.amazonaws.com"},
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(reading))
    see("With a bucket policy", save()[0], "InvalidArgument", refutes="bucket-policy")
    awslambda.add_permission(
        FunctionName=function,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
    )
    see(
        "With add_permission",
        save()[0],
        "no error",
        supports="resource-policy",
        refutes="user-permission",
    )
    return see


def prefix_filter(aws: Bench) -> Observations:
    """s3-14: what a function writes outside of the notification's prefix starts nothing."""
    s3, see = aws.client("s3"), Observations()
    bucket, queue = aws.bucket(), aws.queue("invocations")

    def starts(event: str, prefix: str = "") -> list[str]:
        rules = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}} if prefix else {}
        more = {"Filter": rules} if rules else {}
        _notify_queue(aws, bucket, queue, **more, Events=[event])
        s3.put_object(Bucket=bucket, Key="images/1.png", Body=b"")
        s3.put_object(Bucket=bucket, Key="thumbs/1.png", Body=b"")
        return sorted(_event_keys(aws.messages(queue, at_least=1)))

    both = ["images/1.png", "thumbs/1.png"]
    see("All creations", starts("s3:ObjectCreated:*"), both)
    see("Only ObjectCreated:Put", starts("s3:ObjectCreated:Put"), both, refutes="event-type")
    see(
        "Only the prefix images/",
        starts("s3:ObjectCreated:*", "images/"),
        ["images/1.png"],
        supports="prefix",
    )
    return see


def multipart_parts(aws: Bench) -> Observations:
    """s3-15: every part but the last needs 5 MiB, which is checked at the end."""
    s3, see = aws.client("s3"), Observations()
    bucket, mib = aws.bucket(), 1024 * 1024

    def upload(*sizes: int) -> str:
        target = {"Bucket": bucket, "Key": "large"}
        target["UploadId"] = s3.create_multipart_upload(**target)["UploadId"]
        parts = []
        for number, size in enumerate(sizes, 1):
            answer = s3.upload_part(**target, PartNumber=number, Body=b"x" * size)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        return error_of(s3.complete_multipart_upload, **target, MultipartUpload={"Parts": parts})

    see("Parts of 1, 1 and 1 MiB", upload(mib, mib, mib), "EntityTooSmall", refutes="same-size")
    see("Ten parts of 1 KiB", upload(*[1024] * 10), "EntityTooSmall", refutes="ten-parts")
    see(
        "Parts of 5 and 1 MiB",
        upload(5 * mib, mib),
        "no error",
        supports="five-mib",
        refutes="content-length",
    )
    return see


def code_is_copied(aws: Bench) -> Observations:
    """s3-16: Lambda copies a package when the code is set, and does not watch the object."""
    s3, awslambda, see = aws.client("s3"), aws.client("lambda"), Observations()
    bucket = aws.bucket()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    package = {"S3Bucket": bucket, "S3Key": "builds/app.zip"}

    def upload(week: str) -> str:
        code = aws.zip(f"def handler(event, context): return {week!r}")
        return s3.put_object(Bucket=bucket, Key=package["S3Key"], Body=code)["VersionId"]

    old = upload("last week")
    function = aws.function("app", "def handler(event, context): return None")
    awslambda.update_function_code(FunctionName=function, **package)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    see("Deployed", aws.invoke(function), "last week")
    upload("this week")
    see("After an upload", aws.invoke(function), "last week")
    s3.delete_object(Bucket=bucket, Key=package["S3Key"], VersionId=old)
    see(
        "After deleting the old version",
        aws.invoke(function),
        "last week",
        refutes="delete-version",
    )
    awslambda.create_alias(FunctionName=function, Name="live", FunctionVersion="$LATEST")
    awslambda.update_alias(FunctionName=function, Name="live", FunctionVersion="$LATEST")
    see(
        "After UpdateAlias",
        aws.invoke(function, Qualifier="live"),
        "last week",
        refutes="redeploy-alias",
    )
    awslambda.update_function_code(FunctionName=function, **package)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    see("After UpdateFunctionCode", aws.invoke(function), "this week", supports="update-code")
    return see

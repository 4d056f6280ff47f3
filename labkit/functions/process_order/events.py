"""What an event brings: the orders in the S3 objects it names, or in the test event itself.

An S3 event names the object only; its content is fetched here. "Event message structure" in the
Amazon S3 User Guide describes the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError
from orders import MAX_OBJECT_BYTES, Rejected, read_order, read_test_order, split

# Where an order was found, the S3 key if it has one, and the order or why there is none.
Found = tuple[str, str | None, dict | Rejected]


def orders_in(event, s3) -> Iterator[Found]:
    """Every order of an event."""
    if isinstance(event, dict) and event.get("Records"):
        for record in event["Records"]:
            yield from orders_in_object(record, s3)
    elif isinstance(event, dict) and isinstance(event.get("orders"), list) and event["orders"]:
        for number, value in enumerate(event["orders"], 1):
            yield f"test event, order {number}", None, attempt(read_test_order, value)
    else:
        yield "test event", None, attempt(read_test_order, event)


def orders_in_object(record: dict, s3) -> Iterator[Found]:
    """The orders in the object that one record of an S3 event notification is about."""
    if record.get("eventSource") != "aws:s3" or not record["eventVersion"].startswith("2."):
        yield "event", None, Rejected("not an S3 event notification of version 2")
        return
    key = unquote_plus(record["s3"]["object"]["key"])  # in events, keys are URL-encoded
    texts = attempt(lambda: split(fetch(s3, record["s3"], key)))
    if isinstance(texts, Rejected):
        yield key, key, texts
        return
    for place, text in texts:
        yield key + place, key, attempt(read_order, text)


def fetch(s3, s3_info: dict, key: str) -> bytes:
    """The object's bytes; one too large to be an order is refused without being read."""
    # In a bucket with versions, reading one takes the permission s3:GetObjectVersion as well.
    version = s3_info["object"].get("versionId")
    try:
        found = s3.get_object(
            Bucket=s3_info["bucket"]["name"], Key=key, **({"VersionId": version} if version else {})
        )
    except ClientError as error:
        # Without s3:ListBucket, S3 says AccessDenied for a missing key too: then it is raised.
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion"):
            raise Rejected("the object is no longer there") from None
        raise
    with found["Body"] as body:
        if found["ContentLength"] > MAX_OBJECT_BYTES:
            size = found["ContentLength"]
            raise Rejected(f"the object has {size} bytes; at most {MAX_OBJECT_BYTES} are read")
        return body.read()


def attempt(read, *args):
    """What read returns, or the `Rejected` it raised."""
    try:
        return read(*args)
    except Rejected as reason:
        return reason

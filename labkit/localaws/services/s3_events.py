"""What S3 tells about a change of an object: the notification record and the EventBridge event.

Follows the S3 User Guide, "Event message structure" and "Using EventBridge".
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Principal

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# What an empty object's eTag is; S3 gives it for delete markers too.
_EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"

# Event name (without "s3:") to EventBridge's detail type, reason and kind of deletion.
_EVENTBRIDGE: dict[str, tuple[str, str | None, str | None]] = {
    "ObjectCreated:Put": ("Object Created", "PutObject", None),
    "ObjectCreated:Post": ("Object Created", "POST Object", None),
    "ObjectCreated:Copy": ("Object Created", "CopyObject", None),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload", None),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject", "Permanently Deleted"),
    "ObjectRemoved:DeleteMarkerCreated": (
        "Object Deleted",
        "DeleteObject",
        "Delete Marker Created",
    ),
    "LifecycleExpiration:Delete": (
        "Object Deleted",
        "Lifecycle Expiration",
        "Permanently Deleted",
    ),
    "LifecycleExpiration:DeleteMarkerCreated": (
        "Object Deleted",
        "Lifecycle Expiration",
        "Delete Marker Created",
    ),
    "ObjectTagging:Put": ("Object Tags Added", None, None),
    "ObjectTagging:Delete": ("Object Tags Deleted", None, None),
    "ObjectAcl:Put": ("Object ACL Updated", None, None),
    "ObjectRestore:Post": ("Object Restore Initiated", None, None),
    "ObjectRestore:Completed": ("Object Restore Completed", None, None),
}


@dataclass(frozen=True)
class Change:
    """One change of one object: which, by whom, by which request, when (epoch seconds).

    ``sequencer`` orders the changes of one key; it is None where S3 gives none.
    """

    event_name: str
    bucket: str
    bucket_region: str
    key: str
    when: float
    account_id: str
    principal_id: str
    source_ip: str
    request_id: str
    host_id: str
    size: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    trace_header: str | None = None
    restored_class: str | None = None
    restored_until: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def encoded_key(key: str) -> str:
    """*key* as it stands in a notification, and as filter rules see it.

    Encoded like a form field, but with slashes kept: a space becomes ``+``, a plus ``%2B``.
    """
    return urllib.parse.quote_plus(key, safe="/")


def record(change: Change, configuration_id: str) -> dict[str, Any]:
    """The one element of ``Records`` that a notification about *change* holds."""
    family = change.event_name.split(":")[0]
    entry: dict[str, Any] = {"key": encoded_key(change.key)}
    if change.size is not None and family in ("ObjectCreated", "ObjectRestore"):
        entry["size"] = change.size
    if etag := _etag(change):
        entry["eTag"] = etag
    if change.version_id:
        entry["versionId"] = change.version_id
    if change.sequencer:
        entry["sequencer"] = change.sequencer
    result: dict[str, Any] = {
        # Kinds of events added later carry a later version.
        "eventVersion": "2.1" if family.startswith(("ObjectC", "ObjectR")) else "2.3",
        "eventSource": "aws:s3",
        "awsRegion": change.bucket_region,
        "eventTime": iso_milliseconds(change.when),
        "eventName": change.event_name,
        "userIdentity": {"principalId": change.principal_id},
        "requestParameters": {"sourceIPAddress": change.source_ip},
        "responseElements": {
            "x-amz-request-id": change.request_id,
            "x-amz-id-2": change.host_id,
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": change.bucket,
                "ownerIdentity": {"principalId": owner_principal_id(change.account_id)},
                "arn": f"arn:aws:s3:::{change.bucket}",
            },
            "object": entry,
        },
    }
    if change.restored_until is not None:
        result["glacierEventData"] = {
            "restoreEventData": {
                "lifecycleRestorationExpiryTime": iso_milliseconds(change.restored_until),
                "lifecycleRestoreStorageClass": change.restored_class,
            }
        }
    return result


def eventbridge_event(change: Change, event_id: str) -> dict[str, Any] | None:
    """The event EventBridge gets about *change*, or None for a kind it is not told of."""
    if change.event_name not in _EVENTBRIDGE:
        return None
    detail_type, reason, deletion = _EVENTBRIDGE[change.event_name]
    entry: dict[str, Any] = {"key": change.key}
    if change.size is not None:
        entry["size"] = change.size
    if etag := _etag(change):
        entry["etag"] = etag
    if change.version_id:
        entry["version-id"] = change.version_id
    if change.sequencer and reason is not None:
        entry["sequencer"] = change.sequencer
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": change.bucket},
        "object": entry,
        "request-id": change.request_id,
        "requester": change.account_id if reason != "Lifecycle Expiration" else "s3.amazonaws.com",
    }
    if reason != "Lifecycle Expiration" and change.restored_until is None:
        detail["source-ip-address"] = change.source_ip
    if reason is not None:
        detail["reason"] = reason
    if deletion is not None:
        detail["deletion-type"] = deletion
    if change.restored_until is not None:
        detail["restore-expiry-time"] = iso_seconds(change.restored_until)
    if change.restored_class is not None:
        detail["source-storage-class"] = change.restored_class
    return {
        "version": "0",
        "id": event_id,
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": change.account_id,
        "time": iso_seconds(change.when),
        "region": change.bucket_region,
        "resources": [f"arn:aws:s3:::{change.bucket}"],
        "detail": detail,
    }


def test_event(bucket: str, when: float, request_id: str, host_id: str) -> dict[str, Any]:
    """What a queue or topic receives once when it becomes a destination."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": iso_milliseconds(when),
        "Bucket": bucket,
        "RequestId": request_id,
        "HostId": host_id,
    }


def principal_id(aws: LocalAws, principal: Principal) -> str:
    """Who made the request, as ``userIdentity.principalId`` has it: ``AWS:`` and a unique id."""
    if principal.kind == "anonymous":
        return "Anonymous"
    if principal.kind == "service":
        return principal.name
    if principal.kind == "root":
        return f"AWS:{principal.account_id}"
    # The one that GetCallerIdentity shows as UserId.
    return f"AWS:{aws.identity.subjects.of(principal).user_id}"


def sequencers() -> Iterator[str]:
    """Ever greater hexadecimal strings of 18 digits: a later change of a key compares greater."""
    # Starts and steps oddly, so that nobody takes a sequencer for a count.
    for number in itertools.count(secrets.randbits(40) << 24, 0x1F3):
        yield f"{number:018X}"


def owner_principal_id(account_id: str) -> str:
    """The bucket owner's id: always the same for one account, of no use to anybody."""
    return "A" + base64.b32encode(hashlib.sha256(account_id.encode()).digest()).decode()[:13]


def iso_milliseconds(when: float) -> str:
    """Epoch seconds as ``2026-11-22T08:09:10.123Z``."""
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def iso_seconds(when: float) -> str:
    """Epoch seconds as ``2026-11-22T08:09:10Z``."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _etag(change: Change) -> str | None:
    if change.event_name.endswith("DeleteMarkerCreated"):
        return _EMPTY_ETAG
    if change.event_name.endswith(":Delete") and not change.event_name.startswith("ObjectTagging"):
        return None
    return change.etag

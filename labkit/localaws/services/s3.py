"""S3 beyond moto: notifications about every change of an object, and S3's stricter answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.localaws import moto_hooks, protocol
from labkit.localaws.call import AwsError, Call, Forward, Reply
from labkit.localaws.services import s3_lifecycle_rules, s3_notifications
from labkit.localaws.services.s3_access import S3Access
from labkit.localaws.services.s3_delivery import Notifier
from labkit.localaws.services.s3_events import owner_principal_id
from labkit.localaws.services.s3_lifecycle import DEFAULT_MINIMUM, Lifecycles
from labkit.localaws.services.s3_lifecycle_rules import epoch

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket, FakeKey

    from labkit.localaws.server import LocalAws

# The current object's answers to these tell when a lifecycle rule will expire it.
_SHOW_EXPIRATION = (
    "PutObject",
    "CopyObject",
    "CompleteMultipartUpload",
    "HeadObject",
    "GetObject",
)
_PAGE_KEYS = 1000
_CHECKSUMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")


class S3Layer(S3Access):
    """S3's part of the front door."""

    service = "s3"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        moto_hooks.silence_s3()
        self._notifier = Notifier(aws)
        self._lifecycles = Lifecycles(aws, self._tell_of_lifecycle)

    def handler(self, operation: str) -> Callable[[Call, Forward], Any] | None:
        """The method for *operation*, with S3's request ids added to whatever it answers."""
        method = super().handler(operation)

        def answer(call: Call, forward: Forward) -> Any:
            self.check_access(call)
            result = method(call, forward) if method is not None else forward()
            if isinstance(result, Reply):
                if operation in _SHOW_EXPIRATION and result.ok:
                    self._show_expiration(call, result)
                # boto3 would take moto's own id for the request's.
                result.headers.pop("x-amzn-requestid", None)
                result.headers.update(protocol.s3_id_headers(call))
            return result

        return answer

    # -- notification configuration -----------------------------------------------------------

    def PutBucketNotificationConfiguration(self, call: Call, forward: Forward) -> None:
        """Replace the bucket's configuration after asking every destination."""
        name = call.params["Bucket"]
        with self.aws.lock("s3", call.account_id):
            bucket = self._bucket(call)
            region, account_id = bucket.region_name, bucket.account_id
        configuration = s3_notifications.read_configuration(
            call.params.get("NotificationConfiguration") or {}, region
        )
        if not call.params.get("SkipDestinationValidation"):
            s3_notifications.validate_destinations(self.aws, configuration.rules, name, account_id)
            self._notifier.send_test_events(call, configuration, account_id)
        with self.aws.lock("s3", call.account_id):
            self._notifier.put(bucket, configuration)

    def GetBucketNotificationConfiguration(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The configuration as it was put, with the ids S3 made up."""
        with self.aws.lock("s3", call.account_id):
            configuration = self._notifier.get(self._bucket(call))
        return configuration.shape if configuration is not None else {}

    # -- changes of objects -------------------------------------------------------------------

    def PutObject(self, call: Call, forward: Forward) -> Reply:
        """Store an object and tell."""
        return self._encrypted(self._change(call, forward, "ObjectCreated:Put"))

    def PostObject(self, call: Call, forward: Forward) -> Reply:
        """Store what a browser's form uploads and tell."""
        file = call.request.files.get("file")
        name = (file.filename if file is not None else "") or ""
        call.params["Key"] = call.params["Key"].replace("${filename}", name)
        return self._encrypted(self._change(call, forward, "ObjectCreated:Post"))

    def CopyObject(self, call: Call, forward: Forward) -> Reply:
        """Copy an object and tell."""
        return self._encrypted(self._change(call, forward, "ObjectCreated:Copy"))

    def CompleteMultipartUpload(self, call: Call, forward: Forward) -> Reply:
        """Put the parts together and tell."""
        event = "ObjectCreated:CompleteMultipartUpload"
        return self._encrypted(self._change(call, forward, event))

    def PutObjectTagging(self, call: Call, forward: Forward) -> Reply:
        """Tag an object and tell."""
        return self._change(call, forward, "ObjectTagging:Put", ordered=False)

    def DeleteObjectTagging(self, call: Call, forward: Forward) -> Reply:
        """Take an object's tags away and tell."""
        return self._change(call, forward, "ObjectTagging:Delete", ordered=False)

    def PutObjectAcl(self, call: Call, forward: Forward) -> Reply:
        """Set an object's access control list and tell."""
        return self._change(call, forward, "ObjectAcl:Put", ordered=False)

    def RestoreObject(self, call: Call, forward: Forward) -> Reply:
        """Restore an archived object, which moto does at once, and tell of start and end."""
        with self.aws.lock("s3", call.account_id):
            reply = self._change(call, forward, "ObjectRestore:Post")
            versions = self._keys(call, call.params["Key"]) if reply.ok else []
            if versions and getattr(versions[-1], "_expiry", None) is not None:
                bucket, key = self._bucket(call), versions[-1]
                self._notifier.tell(
                    bucket,
                    "ObjectRestore:Completed",
                    key.name,
                    call,
                    size=key.size,
                    etag=key.etag.strip('"'),
                    version_id=key.version_id,
                    principal_id=f"AmazonCustomer:{owner_principal_id(bucket.account_id)}",
                    restored_class=key.storage_class,
                    restored_until=epoch(key._expiry),
                )
        return reply

    def ListObjectsV2(self, call: Call, forward: Forward) -> Reply:
        """A page of keys: a thousand at most, however many are asked for."""
        return self._page(call, forward)

    def ListObjects(self, call: Call, forward: Forward) -> Reply:
        """A page of keys: a thousand at most, however many are asked for."""
        return self._page(call, forward)

    def _page(self, call: Call, forward: Forward) -> Reply:
        if call.params.get("MaxKeys", 0) > _PAGE_KEYS:
            environ = call.request.environ
            query = re.sub(r"\bmax-keys=\d+", f"max-keys={_PAGE_KEYS}", environ["QUERY_STRING"])
            environ["QUERY_STRING"] = query
        return forward()

    def _delete(self, call: Call, forward: Forward) -> Reply:
        """Delete in a bucket whose versioning is suspended without losing its versions.

        moto takes it for a bucket that never had any. S3 User Guide, "Deleting objects from
        versioning-suspended buckets": the marker is the new null version.
        """
        bucket = self._bucket(call)
        if bucket is None or bucket.versioning_status != "Suspended":
            return forward()
        bucket.versioning_status = "Enabled"
        try:
            reply = forward()
        finally:
            bucket.versioning_status = "Suspended"
        versions = self._keys(call, call.params["Key"])
        if reply.ok and "VersionId" not in call.params and versions:
            kept = [v for v in versions[:-1] if str(v.version_id) != "null"]
            versions[-1]._version_id = "null"
            bucket.keys.setlist(call.params["Key"], [*kept, versions[-1]])
            reply.headers["x-amz-version-id"] = "null"
        return reply

    def DeleteObject(self, call: Call, forward: Forward) -> Reply:
        """Delete an object, or hide it behind a delete marker, and tell."""
        with self.aws.lock("s3", call.account_id):
            existed = self._keys(call, call.params["Key"])
            reply = self._delete(call, forward)
            if reply.ok:
                version = call.params.get("VersionId")
                marker = version is None and reply.headers.get("x-amz-delete-marker") == "true"
                version = version or reply.headers.get("x-amz-version-id")
                if existed or marker:
                    self._deleted(call, call.params["Key"], version, marker)
        return reply

    def DeleteObjects(self, call: Call, forward: Forward) -> Reply:
        """Delete up to a thousand objects and tell of each."""
        with self.aws.lock("s3", call.account_id):
            wanted = (call.params.get("Delete") or {}).get("Objects") or []
            existing = {entry["Key"] for entry in wanted if self._keys(call, entry["Key"])}
            reply = _with_reasons(call, forward())
            for entry in reply.parsed().get("Deleted", []) if reply.ok else []:
                marker = bool(entry.get("DeleteMarker")) and not entry.get("VersionId")
                version = entry.get("VersionId") or entry.get("DeleteMarkerVersionId")
                if marker or entry["Key"] in existing:
                    self._deleted(call, entry["Key"], version, marker)
        return reply

    # -- encryption at rest: on for every object since 2023 -----------------------------------

    def HeadObject(self, call: Call, forward: Forward) -> Reply:
        """An object's metadata, which names its encryption."""
        return self._encrypted(forward())

    def GetObject(self, call: Call, forward: Forward) -> Reply:
        """An object, with its encryption named."""
        return self._encrypted(forward())

    def CreateMultipartUpload(self, call: Call, forward: Forward) -> Reply:
        """A new upload, with its encryption named."""
        reply = self._encrypted(forward())
        if reply.ok:
            upload_id = reply.parsed()["UploadId"]
            with self.aws.lock("s3", call.account_id):
                upload = self._bucket(call).multiparts.get(upload_id)
                if upload is not None:
                    self._lifecycles.began(upload)
        return reply

    def UploadPart(self, call: Call, forward: Forward) -> Reply:
        """A part stored, with its encryption named."""
        return self._encrypted(forward())

    def GetBucketEncryption(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """The bucket's default encryption: SSE-S3 where nobody chose."""
        reply = forward()
        if b"ServerSideEncryptionConfigurationNotFoundError" not in reply.body:
            return reply
        rule = {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BucketKeyEnabled": False,
        }
        return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}

    # -- lifecycle -----------------------------------------------------------------------------

    def PutBucketLifecycleConfiguration(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Give the bucket lifecycle rules; they are carried out at every midnight, UTC."""
        with self.aws.lock("s3", call.account_id):
            bucket = self._bucket(call)
        minimum = call.params.get("TransitionDefaultMinimumObjectSize") or DEFAULT_MINIMUM
        if minimum not in (DEFAULT_MINIMUM, "varies_by_storage_class"):
            raise AwsError(
                "InvalidRequest", f"Invalid TransitionDefaultMinimumObjectSize found: {minimum}"
            )
        rules = s3_lifecycle_rules.read_rules(call.params.get("LifecycleConfiguration"))
        with self.aws.lock("s3", call.account_id):
            self._lifecycles.put(bucket, rules, minimum)
        return {"TransitionDefaultMinimumObjectSize": minimum}

    def GetBucketLifecycleConfiguration(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The bucket's lifecycle rules."""
        with self.aws.lock("s3", call.account_id):
            kept = self._lifecycles.get(self._bucket(call))
        if kept is None:
            raise AwsError(
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist",
                404,
                BucketName=call.params["Bucket"],
            )
        return {"Rules": kept[0], "TransitionDefaultMinimumObjectSize": kept[1]}

    def DeleteBucketLifecycle(self, call: Call, forward: Forward) -> None:
        """Take the bucket's lifecycle rules away."""
        with self.aws.lock("s3", call.account_id):
            self._lifecycles.delete(self._bucket(call))

    # -- how -----------------------------------------------------------------------------------

    def _encrypted(self, reply: Reply) -> Reply:
        customer = "x-amz-server-side-encryption-customer-algorithm" in reply.headers
        if reply.ok and not customer:
            reply.headers.setdefault("x-amz-server-side-encryption", "AES256")
        if reply.ok and any(f"x-amz-checksum-{name}" in reply.headers for name in _CHECKSUMS):
            reply.headers.setdefault("x-amz-checksum-type", "FULL_OBJECT")
        return reply

    def _show_expiration(self, call: Call, reply: Reply) -> None:
        if call.params.get("VersionId"):
            return
        with self.aws.lock("s3", call.account_id):
            text = self._lifecycles.header(self._bucket(call), call.params["Key"])
        if text is not None:
            reply.headers["x-amz-expiration"] = text

    def _tell_of_lifecycle(self, bucket: FakeBucket, event: str, key: str, version: Any) -> None:
        """Tell of what a rule did, which nobody asked for just now; under the lock."""
        self._notifier.tell(
            bucket,
            event,
            key,
            size=getattr(version, "size", None),
            version_id=getattr(version, "version_id", None),
        )

    def _change(self, call: Call, forward: Forward, event: str, *, ordered: bool = True) -> Reply:
        """moto's answer to *call*, having told of the change it made."""
        # What is told must be what this very request left behind, in the order it happened.
        with self.aws.lock("s3", call.account_id):
            reply = forward()
            if reply.ok:
                versions = self._keys(call, call.params["Key"])
                wanted = call.params.get("VersionId") or reply.headers.get("x-amz-version-id")
                key = next((v for v in versions if str(v.version_id) == wanted), None)
                key = key or (versions[-1] if versions else None)
                if key is not None:
                    self._notifier.tell(
                        self._bucket(call),
                        event,
                        call.params["Key"],
                        call,
                        ordered=ordered,
                        size=key.size if ordered else None,
                        restored_class=key.storage_class if "Restore" in event else None,
                        etag=key.etag.strip('"'),
                        version_id=key.version_id,
                    )
        return reply

    def _deleted(self, call: Call, key: str, version_id: str | None, marker: bool) -> None:
        event = "ObjectRemoved:DeleteMarkerCreated" if marker else "ObjectRemoved:Delete"
        self._notifier.tell(self._bucket(call), event, key, call, version_id=version_id)

    def _bucket(self, call: Call) -> FakeBucket:
        """moto's bucket that *call* names, or NoSuchBucket; under the lock."""
        import moto.backends

        # The API tells neither the region nor the owner of a bucket in one call, moto does.
        backend = moto.backends.get_backend("s3")[call.account_id]["aws"]
        name = call.params["Bucket"]
        try:
            return backend.get_bucket(name)
        except Exception as problem:
            raise AwsError(
                "NoSuchBucket", "The specified bucket does not exist", 404, BucketName=name
            ) from problem

    def _keys(self, call: Call, key: str) -> list[FakeKey]:
        """All versions of *key* that moto has, oldest first; under the lock."""
        try:
            return self._bucket(call).keys.getlist(key, [])
        except AwsError:
            return []


def _with_reasons(call: Call, reply: Reply) -> Reply:
    """*reply* with what the front door said of each object that may not be deleted."""
    denied = call.notes.get("denied_keys")
    if not denied or not reply.ok:
        return reply
    answer = reply.parsed()
    for error in answer.get("Errors", []):
        error["Message"] = denied.get(error["Key"], error.get("Message"))
    answer.pop("ResponseMetadata", None)
    return protocol.write_result(call, answer)

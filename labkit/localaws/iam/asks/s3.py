"""Amazon S3: operations to actions on buckets and objects.

Follows the Amazon S3 User Guide, "Required permissions for Amazon S3 API operations", and the
Service Authorization Reference for the condition keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from labkit.localaws.call import Call
from labkit.localaws.iam.asks.ask import Ask, Facts

# Operations on a bucket whose action is not named like the operation.
_BUCKET = {
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
}
for _kind in ("Analytics", "IntelligentTiering", "Inventory", "Metrics"):
    for _verb, _does in (("Get", "Get"), ("Put", "Put"), ("Delete", "Put")):
        _BUCKET[f"{_verb}Bucket{_kind}Configuration"] = f"{_does}{_kind}Configuration"
    _BUCKET[f"ListBucket{_kind}Configurations"] = f"Get{_kind}Configuration"

# Operations on an object: the action, and the one when a version is named.
_OBJECT = {
    "GetObject": ("GetObject", "GetObjectVersion"),
    "HeadObject": ("GetObject", "GetObjectVersion"),
    "SelectObjectContent": ("GetObject", "GetObject"),
    "GetObjectAcl": ("GetObjectAcl", "GetObjectVersionAcl"),
    "PutObjectAcl": ("PutObjectAcl", "PutObjectVersionAcl"),
    "GetObjectTagging": ("GetObjectTagging", "GetObjectVersionTagging"),
    "PutObjectTagging": ("PutObjectTagging", "PutObjectVersionTagging"),
    "DeleteObjectTagging": ("DeleteObjectTagging", "DeleteObjectVersionTagging"),
    "GetObjectTorrent": ("GetObjectTorrent", "GetObjectVersionTorrent"),
    "DeleteObject": ("DeleteObject", "DeleteObjectVersion"),
    "PutObject": ("PutObject", "PutObject"),
    "PostObject": ("PutObject", "PutObject"),
    "CreateMultipartUpload": ("PutObject", "PutObject"),
    "UploadPart": ("PutObject", "PutObject"),
    "CompleteMultipartUpload": ("PutObject", "PutObject"),
    "ListParts": ("ListMultipartUploadParts", "ListMultipartUploadParts"),
    "RenameObject": ("PutObject", "PutObject"),
}
_ACL_PARAMETERS = ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP")
_WRITES = ("PutObject", "PostObject", "CreateMultipartUpload", "CopyObject")

# Request headers that are condition keys as they stand.
_HEADER_KEYS = (
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "if-match",
    "if-none-match",
)


def read(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an S3 call asks for."""
    operation, params = call.operation, call.params
    context = _context(call)
    bucket = params.get("Bucket")
    if not isinstance(bucket, str):
        name = "ListAllMyBuckets" if operation == "ListBuckets" else operation
        yield Ask(f"s3:{name}", "arn:aws:s3:::*", context)
        return
    bucket_arn = _bucket_arn(bucket)
    if operation == "DeleteObjects":
        for entry in (params.get("Delete") or {}).get("Objects") or ():
            yield from _delete(call, bucket_arn, entry, context)
    elif operation in ("CopyObject", "UploadPartCopy"):
        yield from _copy(call, facts, bucket_arn, context)
    elif isinstance(params.get("Key"), str):
        yield from _object(call, facts, bucket_arn, context)
    elif operation == "CreateBucket":
        yield from _create_bucket(call, bucket_arn, context)
    else:
        context |= _listing_context(params)
        name = _BUCKET.get(operation) or _OBJECT.get(operation, (operation,))[0]
        yield Ask(f"s3:{name}", bucket_arn, context)


def _bucket_arn(bucket: str) -> str:
    return bucket if bucket.startswith("arn:") else f"arn:aws:s3:::{bucket}"


def _object(call: Call, facts: Facts, bucket_arn: str, context: dict[str, Any]) -> Iterator[Ask]:
    operation, params = call.operation, call.params
    bucket, key, version = params["Bucket"], params["Key"], params.get("VersionId")
    resource = f"{bucket_arn}/{key}"
    if version:
        context["s3:versionid"] = str(version)
    context |= _tag_context(params.get("Tagging"))
    later = {"s3:existingobjecttag/": lambda: facts.object_tags(bucket, key, version)}
    plain, versioned = _OBJECT.get(operation, (operation, operation))
    names = [versioned if version else plain]
    if operation == "GetObjectAttributes":
        names = (
            ["GetObjectVersion", "GetObjectVersionAttributes"]
            if version
            else ["GetObject", "GetObjectAttributes"]
        )
    if operation in _WRITES:
        names += _extra_writes(params)
    if params.get("BypassGovernanceRetention"):
        names.append("BypassGovernanceRetention")
    for name in names:
        yield Ask(f"s3:{name}", resource, context, later, policy_of=bucket_arn)
    if operation in ("PutObject", "PostObject", "CreateMultipartUpload"):
        yield from _encrypts(call, facts, bucket, resource)
    elif operation == "GetObject":
        yield from _decrypts(call, facts, bucket, key, version, resource)


def _extra_writes(params: Mapping[str, Any]) -> list[str]:
    names = []
    if any(params.get(name) for name in _ACL_PARAMETERS):
        names.append("PutObjectAcl")
    if params.get("Tagging"):
        names.append("PutObjectTagging")
    if params.get("ObjectLockMode") or params.get("ObjectLockRetainUntilDate"):
        names.append("PutObjectRetention")
    if params.get("ObjectLockLegalHoldStatus"):
        names.append("PutObjectLegalHold")
    return names


def _delete(call: Call, bucket_arn: str, entry: Any, context: Mapping[str, Any]) -> Iterator[Ask]:
    key, version = entry.get("Key", ""), entry.get("VersionId")
    context = {**context, "s3:versionid": str(version)} if version else context
    name = "DeleteObjectVersion" if version else "DeleteObject"
    resource = f"{bucket_arn}/{key}"
    yield Ask(f"s3:{name}", resource, context, policy_of=bucket_arn)
    if call.params.get("BypassGovernanceRetention"):
        yield Ask("s3:BypassGovernanceRetention", resource, context, policy_of=bucket_arn)


def _copy(call: Call, facts: Facts, bucket_arn: str, context: dict[str, Any]) -> Iterator[Ask]:
    params = call.params
    bucket, key, version = copy_source(params.get("CopySource"))
    source_arn = _bucket_arn(bucket)
    source = f"{source_arn}/{key}"
    source_context = {**context, "s3:versionid": version} if version else context
    later = {"s3:existingobjecttag/": lambda: facts.object_tags(bucket, key, version)}
    kind = "Version" if version else ""
    yield Ask(f"s3:GetObject{kind}", source, source_context, later, policy_of=source_arn)
    if params.get("TaggingDirective", "COPY") == "COPY" and facts.object_tags(bucket, key, version):
        yield Ask(f"s3:GetObject{kind}Tagging", source, source_context, later, policy_of=source_arn)
    yield from _decrypts(call, facts, bucket, key, version, source)
    target = f"{bucket_arn}/{params.get('Key', '')}"
    context = context | _tag_context(params.get("Tagging"))
    names = ["PutObject"]
    if call.operation == "CopyObject":
        names += _extra_writes(params)
    for name in names:
        yield Ask(f"s3:{name}", target, context, policy_of=bucket_arn)
    if call.operation == "CopyObject":
        yield from _encrypts(call, facts, params["Bucket"], target)


def copy_source(source: Any) -> tuple[str, str, str | None]:
    """Bucket, key and version of a CopySource, written as text or as boto3's mapping."""
    if isinstance(source, Mapping):
        return str(source.get("Bucket", "")), str(source.get("Key", "")), source.get("VersionId")
    text, _, query = str(source or "").partition("?versionId=")
    bucket, _, key = unquote(text).lstrip("/").partition("/")
    return bucket, key, query or None


def _create_bucket(call: Call, bucket_arn: str, context: dict[str, Any]) -> Iterator[Ask]:
    params = call.params
    configuration = params.get("CreateBucketConfiguration") or {}
    if configuration.get("LocationConstraint"):
        context["s3:locationconstraint"] = configuration["LocationConstraint"]
    names = ["CreateBucket"]
    if any(params.get(name) for name in (*_ACL_PARAMETERS, "GrantWrite")):
        names.append("PutBucketAcl")
    if params.get("ObjectLockEnabledForBucket"):
        names += ["PutBucketObjectLockConfiguration", "PutBucketVersioning"]
    if params.get("ObjectOwnership"):
        names.append("PutBucketOwnershipControls")
    for name in names:
        yield Ask(f"s3:{name}", bucket_arn, context)


def _encrypts(call: Call, facts: Facts, bucket: str, resource: str) -> Iterator[Ask]:
    """The data key S3 asks KMS for on the caller's behalf, for a customer managed key."""
    params = call.params
    algorithm = params.get("ServerSideEncryption")
    if algorithm is None:
        key = facts.bucket_key_id(bucket)
    elif str(algorithm).startswith("aws:kms") and params.get("SSEKMSKeyId"):
        key = facts.key_arn(call, str(params["SSEKMSKeyId"]))
    else:
        key = None
    if key:
        yield Ask("kms:GenerateDataKey", key, _through_s3(call, resource))


def _decrypts(
    call: Call, facts: Facts, bucket: str, key: str, version: str | None, resource: str
) -> Iterator[Ask]:
    key_arn = facts.object_key_id(bucket, key, version)
    if key_arn:
        yield Ask("kms:Decrypt", key_arn, _through_s3(call, resource))


def _through_s3(call: Call, resource: str) -> dict[str, Any]:
    return {
        "kms:viaservice": f"s3.{call.region}.amazonaws.com",
        "kms:encryptioncontext:aws:s3:arn": resource,
        "kms:encryptioncontextkeys": ("aws:s3:arn",),
        "aws:viaawsservice": "true",
        "aws:calledvia": ("s3.amazonaws.com",),
        "aws:calledviafirst": "s3.amazonaws.com",
        "aws:calledvialast": "s3.amazonaws.com",
    }


def _listing_context(params: Mapping[str, Any]) -> dict[str, Any]:
    context = {}
    for name, key in (("Prefix", "prefix"), ("Delimiter", "delimiter"), ("MaxKeys", "max-keys")):
        if params.get(name) is not None:
            context[f"s3:{key}"] = str(params[name])
    return context


def _tag_context(tagging: Any) -> dict[str, Any]:
    """``s3:RequestObjectTag/...`` of a ``k=v&...`` header or a Tagging structure."""
    if isinstance(tagging, str):
        pairs = dict(parse_qsl(tagging, keep_blank_values=True))
    elif isinstance(tagging, Mapping):
        pairs = {tag.get("Key"): tag.get("Value") for tag in tagging.get("TagSet") or ()}
    else:
        return {}
    context: dict[str, Any] = {f"s3:requestobjecttag/{str(k).lower()}": v for k, v in pairs.items()}
    context["s3:requestobjecttagkeys"] = tuple(str(key) for key in pairs)
    return context


def _context(call: Call) -> dict[str, Any]:
    """The keys that any S3 request may carry."""
    headers, query = call.request.headers, call.request.args
    context: dict[str, Any] = {"s3:tlsversion": "1.3"}
    for name in _HEADER_KEYS:
        value = headers.get(name) or query.get(name)
        if value is not None:
            context[f"s3:{name}"] = value
    if "X-Amz-Signature" in query or "Signature" in query:
        context["s3:authtype"] = "REST-QUERY-STRING"
    elif call.operation == "PostObject":
        context["s3:authtype"] = "POST"
    else:
        context["s3:authtype"] = "REST-HEADER"
    version_two = "AWSAccessKeyId" in query
    context["s3:signatureversion"] = "AWS" if version_two else "AWS4-HMAC-SHA256"
    age = call.notes.get("signature_age_seconds")
    if age is not None:
        context["s3:signatureage"] = str(int(age * 1000))
    return context

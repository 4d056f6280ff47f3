"""S3's access settings: bucket policies checked when they are put, and Block Public Access.

Follows the Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage" (on for every
new bucket since April 2023) and the S3 API Reference, PutBucketPolicy.
"""

from __future__ import annotations

from typing import Any

from labkit.localaws.call import AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.iam import bucket_policies
from labkit.localaws.iam.policy import parse
from labkit.localaws.iam.public_access import Blocks, is_public

_EVERYBODY = ("AllUsers", "AuthenticatedUsers")
_GRANTS = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
POLICY_LIMIT = 20_480


class S3Access(ServiceLayer):
    """The operations on who may reach a bucket."""

    def CreateBucket(self, call: Call, forward: Forward) -> Reply:
        """A bucket, with Block Public Access on."""
        reply = forward()
        bucket = self._bucket(call)
        if reply.ok and bucket is not None and not hasattr(bucket, "access_was_set"):
            # moto's bucket starts without a configuration; S3's with all four settings on.
            bucket.access_was_set = True
            backend = _backend(bucket)
            settings = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy",
                        "RestrictPublicBuckets")  # fmt: skip
            backend.put_public_access_block(bucket.name, dict.fromkeys(settings, "true"))
        return reply

    def PutBucketPolicy(self, call: Call, forward: Forward) -> Reply:
        """The bucket's policy, once it is in order and not more public than the bucket may be."""
        text = call.request.get_data().decode("utf-8", "replace")
        problem = bucket_policies.problem(text, call.params["Bucket"])
        if problem:
            raise AwsError("MalformedPolicy", problem, 400)
        if len(text.encode()) > POLICY_LIMIT:
            raise AwsError("PolicyTooLarge", "Policy exceeds the maximum allowed size", 400)
        if Blocks.of(self._bucket(call)).block_policy and is_public(parse(text)):
            raise _prevented(call, "PutBucketPolicy", "policies", "BlockPublicPolicy")
        return forward()

    def check_access(self, call: Call) -> None:
        """Refuse a public ACL where Block Public Access does not let one be set."""
        if not _is_public_acl(call.params):
            return
        if Blocks.of(self._bucket(call)).block_acls:
            action = "PutBucketAcl" if call.operation == "PutBucketAcl" else "PutObjectAcl"
            raise _prevented(call, action, "ACLs", "BlockPublicAcls")

    def _bucket(self, call: Call) -> Any | None:
        return self.aws.identity.facts.bucket(str(call.params.get("Bucket")))


def _backend(bucket: Any) -> Any:
    from moto.s3.models import s3_backends

    return s3_backends[bucket.account_id]["aws"]


def _prevented(call: Call, action: str, what: str, setting: str) -> AwsError:
    bucket, key = call.params["Bucket"], call.params.get("Key")
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    return AwsError(
        "AccessDenied",
        f"User: {call.principal.arn} is not authorized to perform: s3:{action} on resource: "
        f'"{resource}" because public {what} are prevented by the {setting} setting in S3 Block '
        "Public Access.",
        403,
    )


def _is_public_acl(params: Any) -> bool:
    if str(params.get("ACL", "")).startswith(("public-", "authenticated-read")):
        return True
    if any(name in str(params.get(grant, "")) for grant in _GRANTS for name in _EVERYBODY):
        return True
    grants = (params.get("AccessControlPolicy") or {}).get("Grants") or ()
    return any(
        str((grant.get("Grantee") or {}).get("URI", "")).endswith(_EVERYBODY) for grant in grants
    )

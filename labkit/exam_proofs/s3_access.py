"""Proofs on who may reach S3's objects: presigned URLs, policies, tags, what errors tell."""

from __future__ import annotations

import urllib.error
import urllib.request

from botocore.config import Config

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow, deny, policy

# The signature that every Region accepts; it leaves headers such as Content-Type to the client.
V4 = Config(signature_version="s3v4")

# Never through a proxy of the environment.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def _status(url: str, method: str = "GET", body: bytes | None = None) -> int:
    """The HTTP status of a request without any credentials."""
    try:
        with _open(urllib.request.Request(url, data=body, method=method)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def presigned_upload(aws: Bench) -> Observations:
    """s3-01: a presigned URL allows its one request, for its time, to whoever holds it."""
    s3, see = aws.client("s3", config=V4), Observations()
    bucket = aws.bucket()
    photo = {"Bucket": bucket, "Key": "photos/1.jpg"}
    put = s3.generate_presigned_url("put_object", Params=photo, ExpiresIn=300)
    get = s3.generate_presigned_url("get_object", Params=photo, ExpiresIn=300)
    plain = put.split("?")[0]
    see("PUT to the plain URL", _status(plain, "PUT", b"x"), 403)
    see("PUT to a URL presigned for GET", _status(get, "PUT", b"x"), 403, refutes="presigned-get")
    see("PUT to a URL presigned for PUT", _status(put, "PUT", b"x"), 200, supports="presigned-put")
    stored = s3.get_object(**photo)["Body"].read()
    see("What is in the bucket", stored, b"x", supports="presigned-put")
    see("The same URL, another method", _status(put, "DELETE"), 403)
    aws.clock.advance(seconds=301)
    see("PUT five minutes later", _status(put, "PUT", b"y"), 403, supports="presigned-put")
    statement = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*", Principal="*")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement))
    anywhere = plain.replace("1.jpg", "anything")
    see(
        "With a public policy, PUT by anyone to any key, at any time",
        _status(anywhere, "PUT", b"x"),
        200,
        refutes="public-write",
    )
    return see


def presigned_with_session(aws: Bench) -> Observations:
    """s3-02: a URL signed with a session's credentials ends with the session."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="file", Body=b"text")
    role = aws.role("signer", allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    user = aws.user("signer", allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    twelve_hours = {"Params": {"Bucket": bucket, "Key": "file"}, "ExpiresIn": 12 * 3600}
    by_session = aws.client("s3", aws.session(role), config=V4).generate_presigned_url(
        "get_object", **twelve_hours
    )
    by_user = aws.client("s3", user, config=V4).generate_presigned_url("get_object", **twelve_hours)
    both = [_status(by_session), _status(by_session)]
    see("Signed by a session, used twice", both, [200, 200], refutes="one-use")
    aws.clock.advance(minutes=61)
    see(
        "Signed by a session, an hour later (ExpiredToken)",
        _status(by_session),
        400,
        supports="session-ends",
    )
    see(
        "Signed by a user, an hour later",
        _status(by_user),
        200,
        supports="session-ends",
        refutes="max-age clock",
    )
    return see


def tls_only(aws: Bench) -> Observations:
    """s3-08: a deny where aws:SecureTransport is false holds for everyone, an allow for no one."""
    iam, see = aws.client("iam"), Observations()
    objects = "arn:aws:s3:::photos/*"
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    secure = {"Bool": {"aws:SecureTransport": "true"}}
    everyone = {"Principal": "*"}
    full_access = policy(allow("s3:*"))

    def decision(bucket_policy: str, tls: bool) -> str:
        answer = iam.simulate_custom_policy(
            PolicyInputList=[full_access],
            ResourcePolicy=bucket_policy,
            ActionNames=["s3:GetObject"],
            ResourceArns=["arn:aws:s3:::photos/1.jpg"],
            CallerArn=f"arn:aws:iam::{aws.account_id}:user/admin",
            ContextEntries=[
                {
                    "ContextKeyName": "aws:SecureTransport",
                    "ContextKeyType": "boolean",
                    "ContextKeyValues": [str(tls).lower()],
                }
            ],
        )
        return answer["EvaluationResults"][0]["EvalDecision"]

    denying = policy(deny("s3:*", objects, **everyone, Condition=insecure))
    see(
        "Deny where false: without TLS, with full access",
        decision(denying, False),
        "explicitDeny",
        supports="deny-insecure",
    )
    see("Deny where false: with TLS", decision(denying, True), "allowed", supports="deny-insecure")
    allowing = policy(allow("s3:*", objects, **everyone, Condition=secure))
    see(
        "Allow where true: without TLS, with full access",
        decision(allowing, False),
        "allowed",
        refutes="allow-secure",
    )
    return see


def bucket_deny(aws: Bench) -> Observations:
    """s3-11: an explicit deny of the bucket wins over an allow of the role."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="file", Body=b"")
    role = aws.role("full", allow("s3:*"))
    full = aws.client("s3", aws.session(role))
    see("The role writes", error_of(full.put_object, Bucket=bucket, Key="a", Body=b""), "no error")
    see("The role deletes", error_of(full.delete_object, Bucket=bucket, Key="a"), "no error")
    everything = f"arn:aws:s3:::{bucket}/*"
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=policy(
            deny(
                "s3:DeleteObject",
                everything,
                Principal="*",
                Condition={"ArnEquals": {"aws:PrincipalArn": role}},
            )
        ),
    )
    see(
        "The role deletes, with a deny in the bucket's policy",
        error_of(full.delete_object, Bucket=bucket, Key="file"),
        "AccessDenied",
        supports="denied",
        refutes="allowed-identity allowed-full",
    )
    see(
        "The role still reads, as nobody anonymous may",
        error_of(full.get_object, Bucket=bucket, Key="file"),
        "no error",
        refutes="denied-public",
    )
    return see


def list_needs_bucket_arn(aws: Bench) -> Observations:
    """s3-12: listing is an action on the bucket, reading one on its objects."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="file", Body=b"")
    arn = f"arn:aws:s3:::{bucket}"

    def listing(stem: str, *statements) -> str:
        user = aws.client("s3", aws.user(stem, *statements))
        return error_of(user.list_objects_v2, Bucket=bucket)

    objects = allow("s3:GetObject s3:ListBucket", f"{arn}/*")
    reader = aws.client("s3", aws.user("reader", objects))
    see("Reading", error_of(reader.get_object, Bucket=bucket, Key="file"), "no error")
    see("Listing", error_of(reader.list_objects_v2, Bucket=bucket), "AccessDenied")
    see(
        "With the bucket's ARN",
        listing("bucket", objects, allow("s3:ListBucket", arn)),
        "no error",
        supports="bucket-arn",
    )
    see(
        "With s3:ListObjectsV2",
        listing("v2", objects, allow("s3:ListObjectsV2", f"{arn}/*")),
        "AccessDenied",
        refutes="list-objects",
    )
    see(
        "With objects in folders",
        listing("deep", objects, allow("s3:ListBucket", f"{arn}/*/*")),
        "AccessDenied",
        refutes="all-objects",
    )
    see(
        "With s3:ListAllMyBuckets",
        listing("all", objects, allow("s3:ListAllMyBuckets", arn)),
        "AccessDenied",
        refutes="list-all",
    )
    return see


def tenant_prefix(aws: Bench) -> Observations:
    """s3-17: a session tag in the policy's ARN confines each session to its tenant."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    for tenant in ("red", "blue"):
        s3.put_object(Bucket=bucket, Key=f"tenants/{tenant}/data", Body=tenant.encode())
    own = f"arn:aws:s3:::{bucket}/tenants/${{aws:PrincipalTag/tenant}}/*"
    trust = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{aws.account_id}:root"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
    )
    role = aws.role("worker", allow("s3:GetObject", own), by=trust)

    def reads(tenant: str) -> dict[str, str]:
        session = aws.session(role, tenant, Tags=[{"Key": "tenant", "Value": tenant}])
        worker = aws.client("s3", session)
        return {
            folder: error_of(worker.get_object, Bucket=bucket, Key=f"tenants/{folder}/data")
            for folder in ("red", "blue")
        }

    see(
        "A session for red reads",
        reads("red"),
        {"red": "no error", "blue": "AccessDenied"},
        supports="session-tag",
        refutes="role-per-tenant",
    )
    see(
        "A session for blue reads",
        reads("blue"),
        {"red": "AccessDenied", "blue": "no error"},
        supports="session-tag",
    )
    conditioned = aws.role(
        "conditioned",
        allow(
            "s3:GetObject",
            f"arn:aws:s3:::{bucket}/*",
            Condition={"StringLike": {"s3:prefix": "tenants/red/*"}},
        ),
    )
    worker = aws.client("s3", aws.session(conditioned))
    see(
        "GetObject with a condition on s3:prefix",
        error_of(worker.get_object, Bucket=bucket, Key="tenants/red/data"),
        "AccessDenied",
        refutes="list-condition",
    )
    return see


def missing_key_looks_denied(aws: Bench) -> Observations:
    """s3-18: who may not list a bucket is not told whether a key exists."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="there", Body=b"")
    objects = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    reader = aws.client("s3", aws.user("reader", objects))
    see(
        "An existing key",
        error_of(reader.get_object, Bucket=bucket, Key="there"),
        "no error",
        refutes="kms public-block",
    )
    see(
        "A missing key, without s3:ListBucket",
        error_of(reader.get_object, Bucket=bucket, Key="missing"),
        "AccessDenied",
        supports="no-list",
    )
    lister = aws.client(
        "s3", aws.user("lister", objects, allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    )
    see(
        "A missing key, with s3:ListBucket",
        error_of(lister.get_object, Bucket=bucket, Key="missing"),
        "NoSuchKey",
        supports="no-list",
        refutes="head",
    )
    return see

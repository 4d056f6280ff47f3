"""S3's two ways in without Signature Version 4 headers: version 2 URLs, and browser forms.

boto3 still presigns S3 URLs and forms with version 2 unless it is told otherwise. Follows the
Amazon S3 User Guide, "Signing and authenticating REST requests (AWS signature version 2)", and
the Amazon S3 API Reference, "Browser-based uploads using POST" and "Creating a POST policy".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from botocore.auth import HmacV1Auth

from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam.auth_errors import refusal
from labkit.localaws.iam.claims import Scope
from labkit.localaws.iam.signature import signing_key

_CONDITIONS_NOT_ASKED = {"policy", "x-amz-signature", "signature", "awsaccesskeyid", "file"}


@dataclass(frozen=True)
class UrlClaim:
    """A version 2 presigned URL: the key, its signature, when it ends (real epoch seconds)."""

    access_key_id: str
    signature: str
    ends: int
    token: str | None


@dataclass(frozen=True)
class FormClaim:
    """A browser's upload form: the key that signed its policy, and the form's fields.

    ``scope`` is None for a version 2 form. Field names are lower case.
    """

    access_key_id: str
    signature: str
    policy: str
    fields: Mapping[str, str]
    scope: Scope | None
    token: str | None


def read_url_claim(call: Call) -> UrlClaim | None:
    """The version 2 claim in the query of *call*, or None."""
    query = call.request.args
    if "Signature" not in query or "AWSAccessKeyId" not in query:
        return None
    try:
        ends = int(query.get("Expires", ""))
    except ValueError:
        raise AwsError(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and "
            "AWSAccessKeyId parameters",
            403,
        ) from None
    return UrlClaim(
        query["AWSAccessKeyId"], query["Signature"], ends, query.get("x-amz-security-token")
    )


def verify_url(call: Call, claim: UrlClaim, secret: str) -> None:
    """Refuse *call* unless the version 2 signature of its URL is right."""
    request = call.request
    query = request.args
    amz = {
        name.lower(): value.strip()
        for source in (request.headers.items(), query.items())
        for name, value in source
        if name.lower().startswith("x-amz-")
    }
    text = "\n".join(
        (
            request.method,
            query.get("content-md5") or request.headers.get("Content-MD5", ""),
            query.get("content-type") or request.headers.get("Content-Type", ""),
            str(claim.ends),
            *(f"{name}:{amz[name]}" for name in sorted(amz)),
            _resource(request.raw_path, request.query_string.decode("latin-1")),
        )
    )
    _compare_v2(call, claim.access_key_id, claim.signature, secret, text)


def _compare_v2(call: Call, key: str, signature: str, secret: str, text: str) -> None:
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
    expected = base64.b64encode(digest).decode()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise refusal(
            call,
            "no match",
            AWSAccessKeyId=key,
            StringToSign=text,
            SignatureProvided=signature,
            StringToSignBytes=text.encode().hex(" "),
        )


def _resource(path: str, query: str) -> str:
    """The path with those query parameters that name a sub-resource."""
    named = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if name in HmacV1Auth.QSAOfInterest:
            named.append((name, f"{name}={unquote(value)}" if equals else name))
    named.sort()
    return path + ("?" + "&".join(text for _, text in named) if named else "")


def is_form(call: Call) -> bool:
    """Whether *call* is a browser's form upload to a bucket."""
    request = call.request
    content_type = request.headers.get("Content-Type") or ""
    return (
        call.service == "s3"
        and request.method == "POST"
        and content_type.lower().startswith("multipart/form-data")
    )


def shown_time(epoch: float) -> str:
    """A time as S3 writes it in its errors: ``2026-11-22T10:15:00Z``."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def form_params(bucket: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What an upload form asks for, named as PutObject's parameters."""
    params: dict[str, Any] = {"Bucket": bucket, "Key": fields.get("key", "")}
    for field, name in (
        ("acl", "ACL"),
        ("x-amz-server-side-encryption", "ServerSideEncryption"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "SSEKMSKeyId"),
        ("x-amz-storage-class", "StorageClass"),
    ):
        if fields.get(field):
            params[name] = fields[field]
    return params


def read_form(call: Call) -> tuple[FormClaim | None, Mapping[str, str]]:
    """The claim in the form of *call* (None for a form that nobody signed), and its fields.

    Field names are lower case.
    """
    try:
        fields = {name.lower(): value for name, value in call.request.form.items()}
        files = {name.lower(): item for name, item in call.request.files.items()}
    except Exception as problem:  # whatever a mangled body provokes in the form parser
        raise AwsError(
            "MalformedPOSTRequest",
            "The body of your POST request is not well-formed multipart/form-data.",
            400,
        ) from problem
    if "file" in files and files["file"].filename:
        fields["key"] = fields.get("key", "").replace("${filename}", files["file"].filename)
    token = fields.get("x-amz-security-token")
    policy = fields.get("policy", "")
    if "x-amz-credential" in fields:
        parts = fields["x-amz-credential"].rsplit("/", 4)
        if len(parts) != 5:
            raise AwsError("InvalidArgument", "The Credential is mal-formed", 400)
        scope = Scope(parts[1], parts[2], parts[3])
        signature = fields.get("x-amz-signature", "")
        return FormClaim(parts[0], signature, policy, fields, scope, token), fields
    if "awsaccesskeyid" in fields:
        signature = fields.get("signature", "")
        return FormClaim(fields["awsaccesskeyid"], signature, policy, fields, None, token), fields
    return None, fields


def verify_form(call: Call, claim: FormClaim, secret: str, bucket: str, now: float) -> None:
    """Refuse the form unless its policy is signed, not ended (at *now*) and allows its fields."""
    if claim.scope is None:
        _compare_v2(call, claim.access_key_id, claim.signature, secret, claim.policy)
    else:
        key = signing_key(secret, claim.scope)
        expected = hmac.new(key, claim.policy.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            raise refusal(
                call,
                "no match",
                AWSAccessKeyId=claim.access_key_id,
                StringToSign=claim.policy,
                SignatureProvided=claim.signature,
            )
    policy = _read_policy(claim.policy)
    if now > _ends(policy):
        raise AwsError("AccessDenied", "Invalid according to Policy: Policy expired.", 403)
    _check_conditions(policy, {**claim.fields, "bucket": bucket}, len(_file(call)))


def _file(call: Call) -> bytes:
    """The uploaded content; what the parser gave as a plain field counts as well."""
    item = call.request.files.get("file")
    if item is None:
        return call.request.form.get("file", "").encode()
    item.stream.seek(0)
    content = item.stream.read()
    item.stream.seek(0)
    return content


def _read_policy(text: str) -> Mapping[str, Any]:
    try:
        policy = json.loads(base64.b64decode(text, validate=True))
        if isinstance(policy, dict) and isinstance(policy.get("conditions"), list):
            return policy
    except (ValueError, binascii.Error, RecursionError):
        pass
    raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid JSON.", 400)


def _ends(policy: Mapping[str, Any]) -> float:
    try:
        text = str(policy["expiration"]).replace("Z", "+00:00")
        moment = datetime.fromisoformat(text)
    except (KeyError, ValueError):
        raise AwsError(
            "InvalidPolicyDocument", "Invalid Policy: Invalid 'expiration' value.", 400
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_conditions(policy: Mapping[str, Any], fields: Mapping[str, str], size: int) -> None:
    named = set()
    for condition in policy["conditions"]:
        if isinstance(condition, Mapping):
            entries = [("eq", name, value) for name, value in condition.items()]
        elif isinstance(condition, list) and len(condition) == 3:
            if str(condition[0]).lower() == "content-length-range":
                _check_size(condition, size)
                continue
            entries = [(str(condition[0]).lower(), str(condition[1]).lstrip("$"), condition[2])]
        else:
            raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid condition.", 400)
        for operator, name, value in entries:
            name = name.lower()
            named.add(name)
            given = fields.get(name, "")
            met = given.startswith(str(value)) if operator == "starts-with" else given == value
            if not met:
                raise AwsError(
                    "AccessDenied",
                    "Invalid according to Policy: Policy Condition failed: "
                    f"{json.dumps([operator, '$' + name, value])}",
                    403,
                )
    for name in fields:
        if name in named or name in _CONDITIONS_NOT_ASKED or name.startswith("x-ignore-"):
            continue
        if name != "bucket":
            raise AwsError(
                "AccessDenied",
                f"Invalid according to Policy: Extra input fields: {name}",
                403,
            )


def _check_size(condition: list[Any], size: int) -> None:
    try:
        least, most = int(condition[1]), int(condition[2])
    except (TypeError, ValueError):
        raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid condition.", 400) from None
    if size > most:
        raise AwsError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            400,
            ProposedSize=str(size),
            MaxSizeAllowed=str(most),
        )
    if size < least:
        raise AwsError(
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed size",
            400,
            ProposedSize=str(size),
            MinSizeAllowed=str(least),
        )

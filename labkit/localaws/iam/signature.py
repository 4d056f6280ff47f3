"""Signature verification: whether a claim (:mod:`labkit.localaws.iam.claims`) is true.

:func:`verify` recomputes the signature with the secret of the key that is claimed. Dates are
compared with real time, because clients sign in real time; how long a presigned URL lasts is
measured in the lab's time. Whatever stands in the headers ends in an AWS error, never in another
exception.

Follows the IAM User Guide, "AWS Signature Version 4 for API requests" and "Troubleshoot signed
requests", and the Amazon S3 API Reference, "Authenticating Requests".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from botocore.utils import normalize_url_path
from moto.core.request import Request

from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam import auth_errors
from labkit.localaws.iam.auth_errors import refusal
from labkit.localaws.iam.claims import ALGORITHM, Claim, Scope
from labkit.localaws.iam.streaming import check_chunks
from labkit.localaws.protocol import service_model

UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW_SECONDS = 300
S3_SKEW_SECONDS = 900

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Times:
    """The moments a signature is judged at, epoch seconds: real time, the lab's, and for a
    presigned URL the lab time at which it ends."""

    real: float
    lab: float
    ends: float = 0.0


def check_times(call: Call, claim: Claim, times: Times) -> None:
    """Refuse a signature whose time has passed or has not come; for a header within minutes of
    real time, for a presigned URL within its own lifetime."""
    if claim.scope.date != claim.amz_date[:8]:
        raise refusal(
            call,
            "wrong scope",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP: '{claim.scope.date}' != '{claim.amz_date[:8]}', from "
            f"'{claim.amz_date}'.",
        )
    s3 = auth_errors.family(call) == auth_errors.S3
    skew = S3_SKEW_SECONDS if s3 else SKEW_SECONDS
    signed, now = claim.signed_at, times.real
    if claim.expires_seconds is not None:
        _check_lifetime(call, claim, times, skew)
        return
    # Whoever runs inside this process signs by the lab's clock, everybody else by the real one.
    if abs(now - signed) <= skew or abs(times.lab - signed) <= skew:
        return
    if s3:
        raise AwsError(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            403,
            RequestTime=claim.amz_date,
            ServerTime=datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            MaxAllowedSkewMilliseconds=str(skew * 1000),
        )
    raise _off_time(call, claim, now, skew)


def _amz_date(epoch: float) -> str:
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y%m%dT%H%M%SZ")


def _off_time(call: Call, claim: Claim, now: float, skew: int) -> AwsError:
    shown, minutes = _amz_date(now), skew // 60
    if claim.signed_at < now:
        message = (
            f"Signature expired: {claim.amz_date} is now earlier than {_amz_date(now - skew)} "
            f"({shown} - {minutes} min.)"
        )
    else:
        message = (
            f"Signature not yet current: {claim.amz_date} is still later than "
            f"{_amz_date(now + skew)} ({shown} + {minutes} min.)"
        )
    return refusal(call, "wrong scope", message)


def _check_lifetime(call: Call, claim: Claim, times: Times, skew: int) -> None:
    if claim.signed_at > max(times.real, times.lab) + skew:
        if auth_errors.family(call) == auth_errors.S3:
            raise AwsError("AccessDenied", "Request is not yet valid", 403)
        raise _off_time(call, claim, times.real, skew)
    ends = times.ends
    if times.lab <= ends:
        return
    if auth_errors.family(call) != auth_errors.S3:
        raise refusal(
            call,
            "wrong scope",
            f"Signature expired: {_amz_date(ends)} is now earlier than {_amz_date(times.lab)}",
        )
    raise AwsError(
        "AccessDenied",
        "Request has expired",
        403,
        **{
            "X-Amz-Expires": str(claim.expires_seconds),
            "Expires": datetime.fromtimestamp(int(ends), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ServerTime": datetime.fromtimestamp(int(times.lab), UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
        },
    )


def check_scope(call: Call, claim: Claim) -> None:
    """Refuse a signature made for another service than the one the request goes to."""
    model = service_model(call.service)
    expected = str(model.signing_name) if model is not None else claim.scope.service
    if claim.scope.service.lower() in (expected, call.service, "s3express"):
        return
    raise refusal(
        call,
        "wrong scope",
        f"Credential should be scoped to correct service: '{expected}'. ",
    )


def verify(call: Call, claim: Claim, secret: str) -> None:
    """Refuse *call* unless its signature is the one *secret* makes; checks the body, too."""
    payload = _payload_hash(call, claim)
    if "host" not in claim.signed_headers:
        raise refusal(
            call,
            "incomplete" if auth_errors.family(call) != auth_errors.S3 else "no match",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        )
    canonical = canonical_request(call.request, claim, payload, s3=_is_s3(call))
    to_sign = string_to_sign(claim, canonical)
    key = signing_key(secret, claim.scope)
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise refusal(
            call,
            "no match",
            AWSAccessKeyId=claim.access_key_id,
            StringToSign=to_sign,
            SignatureProvided=claim.signature,
            StringToSignBytes=to_sign.encode().hex(" "),
            CanonicalRequest=canonical,
            CanonicalRequestBytes=canonical.encode().hex(" "),
        )
    if _is_s3(call):
        _check_headers_signed(call, claim)
    if payload.startswith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        check_chunks(call, key, claim.amz_date, claim.scope.text, claim.signature, payload)


def _is_s3(call: Call) -> bool:
    return call.service in ("s3", "s3control")


def _payload_hash(call: Call, claim: Claim) -> str:
    """The hash of the body that stands in the canonical request, checked against the body."""
    declared = call.request.headers.get("X-Amz-Content-Sha256")
    actual = hashlib.sha256(call.request.get_data()).hexdigest
    if not _is_s3(call):
        # Only operations modelled with an unsigned body may leave it out.
        if declared == UNSIGNED and _allows_unsigned_body(call):
            return UNSIGNED
        return actual()
    if claim.expires_seconds is not None and declared is None:
        return UNSIGNED
    if declared is None:
        raise AwsError(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400
        )
    if declared == UNSIGNED or declared.startswith("STREAMING-"):
        return declared
    if not _HEX.fullmatch(declared):
        raise AwsError(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, "
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
            400,
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=declared,
        )
    if declared != actual():
        raise AwsError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            400,
            ClientComputedContentSHA256=declared,
            S3ComputedContentSHA256=actual(),
        )
    return declared


def _allows_unsigned_body(call: Call) -> bool:
    model = service_model(call.service)
    if model is None or call.operation not in model.operation_names:
        return False
    operation = model.operation_model(call.operation)
    return getattr(operation, "unsigned_payload", False) or (
        getattr(operation, "auth_type", None) == "v4-unsigned-body"
    )


def _check_headers_signed(call: Call, claim: Claim) -> None:
    unsigned = [
        name.lower()
        for name in call.request.headers.keys()
        if name.lower().startswith("x-amz-")
        and name.lower() not in claim.signed_headers
        and not (claim.expires_seconds is not None and name.lower() == "x-amz-content-sha256")
    ]
    if unsigned:
        raise AwsError(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            403,
            HeadersNotSigned=", ".join(sorted(unsigned)),
        )


def canonical_request(request: Request, claim: Claim, payload: str, *, s3: bool) -> str:
    """The canonical form of *request* that the signature covers."""
    headers = "".join(
        f"{name}:{_canonical_value(request, name)}\n" for name in claim.signed_headers
    )
    path = request.raw_path or "/"
    if not s3:
        path = quote(normalize_url_path(path), safe="/~")
    return "\n".join(
        (
            request.method,
            path,
            _canonical_query(request.query_string),
            headers,
            ";".join(claim.signed_headers),
            payload,
        )
    )


def _canonical_value(request: Request, name: str) -> str:
    return " ".join(request.headers.get(name, "").split())


def _canonical_query(raw: bytes) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(_query_pairs(raw)))


def _query_pairs(raw: bytes) -> Iterable[tuple[str, str]]:
    for pair in raw.decode("latin-1").split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        name = quote(unquote_to_bytes(name), safe="-_.~")
        if name != "X-Amz-Signature":
            yield name, quote(unquote_to_bytes(value), safe="-_.~")


def string_to_sign(claim: Claim, canonical: str) -> str:
    """What is signed: algorithm, date, scope and the hash of the canonical request."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{claim.amz_date}\n{claim.scope.text}\n{digest}"


@lru_cache(maxsize=256)
def signing_key(secret: str, scope: Scope) -> bytes:
    """The key derived from *secret* for a scope; the same all day long, hence kept."""
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key

"""What a request says about who signed it: Signature Version 4 in a header or a presigned URL.

:func:`read_claim` takes the claim apart and refuses what is incomplete or of no known form, each
service in its own words; whether the claim is true is :mod:`labkit.localaws.iam.signature`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam import auth_errors
from labkit.localaws.iam.auth_errors import refusal

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST_PRESIGNED_SECONDS = 604_800

_DATE = re.compile(r"\d{8}T\d{6}Z")
_HEADER_PARTS = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARAMETERS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)


@dataclass(frozen=True)
class Scope:
    """What a signature is good for: a day (``20261122``), a region, a service's signing name."""

    date: str
    region: str
    service: str

    @property
    def text(self) -> str:
        """The scope as it stands in the string to sign."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Claim:
    """What a request says about its signature. ``amz_date`` is ``20261122T101500Z``;
    ``expires_seconds`` is set for presigned URLs alone."""

    access_key_id: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    amz_date: str
    token: str | None = None
    expires_seconds: int | None = None

    @property
    def signed_at(self) -> float:
        """When it was signed, real time, epoch seconds."""
        return epoch_of(self.amz_date)


def read_claim(call: Call) -> Claim | None:
    """The Signature Version 4 claim of *call*, or None when it carries none at all.

    Raises the service's error for a claim that is incomplete or not of any known form.
    """
    header = call.request.headers.get("Authorization")
    query = call.request.args
    if header is not None and header.strip():
        return _header_claim(call, header.strip())
    if "X-Amz-Algorithm" in query or "X-Amz-Signature" in query:
        return _query_claim(call)
    return None


def _header_claim(call: Call, header: str) -> Claim:
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        if auth_errors.family(call) == auth_errors.S3:
            raise AwsError(
                "InvalidRequest",
                "The authorization mechanism you have provided is not supported. "
                f"Please use {ALGORITHM}.",
                400,
            )
        rest = ""
    parts: dict[str, str] = {}
    for piece in rest.split(","):
        name, equals, value = piece.strip().partition("=")
        if name and (not equals or name in parts or name not in _HEADER_PARTS):
            raise refusal(
                call,
                "incomplete",
                f"'{name}' not a valid key=value pair (missing equal-sign) in Authorization "
                f"header: '{header}'.",
            )
        parts[name] = value.strip()
    date = call.request.headers.get("X-Amz-Date") or ""
    lacking = [
        f"Authorization header requires '{name}' parameter."
        for name in _HEADER_PARTS
        if not parts.get(name)
    ]
    if not date:
        date = _http_date(call.request.headers.get("Date", ""))
        if not date:
            lacking.append(
                "Authorization header requires existence of either a 'X-Amz-Date' or a "
                "'Date' header."
            )
    if lacking:
        if auth_errors.family(call) == auth_errors.S3:
            raise refusal(
                call,
                "incomplete",
                "The authorization header is malformed; the authorization header requires three "
                "components: Credential, SignedHeaders, and Signature.",
            )
        lacking.append(f"Authorization={header}")
        raise refusal(call, "incomplete", " ".join(lacking))
    key, scope = _read_scope(call, parts["Credential"])
    return Claim(
        access_key_id=key,
        scope=scope,
        signed_headers=tuple(parts["SignedHeaders"].lower().split(";")),
        signature=parts["Signature"],
        amz_date=_check_date(call, date),
        token=call.request.headers.get("X-Amz-Security-Token"),
    )


def _query_claim(call: Call) -> Claim:
    query = call.request.args
    if any(not query.get(name) for name in _QUERY_PARAMETERS):
        names = ", ".join(_QUERY_PARAMETERS[:-1])
        raise _query_error(
            call,
            f"Query-string authentication version 4 requires the {names}, and "
            f"{_QUERY_PARAMETERS[-1]} parameters.",
        )
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise _query_error(call, f'X-Amz-Algorithm only supports "{ALGORITHM} and {ALGORITHM[:5]}"')
    try:
        expires = int(query["X-Amz-Expires"])
    except ValueError:
        raise _query_error(call, "X-Amz-Expires should be a number") from None
    if expires < 0:
        raise _query_error(call, "X-Amz-Expires must be non-negative")
    if expires > LONGEST_PRESIGNED_SECONDS:
        raise _query_error(
            call,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given "
            f"X-Amz-Expires must be less than {LONGEST_PRESIGNED_SECONDS} seconds",
        )
    key, scope = _read_scope(call, query["X-Amz-Credential"])
    return Claim(
        access_key_id=key,
        scope=scope,
        signed_headers=tuple(query["X-Amz-SignedHeaders"].lower().split(";")),
        signature=query["X-Amz-Signature"],
        amz_date=_check_date(call, query["X-Amz-Date"]),
        token=query.get("X-Amz-Security-Token"),
        expires_seconds=expires,
    )


def _query_error(call: Call, message: str) -> AwsError:
    if auth_errors.family(call) == auth_errors.S3:
        return AwsError("AuthorizationQueryParametersError", message, 400)
    return refusal(call, "incomplete", message)


def _read_scope(call: Call, credential: str) -> tuple[str, Scope]:
    """The key id and scope of ``KEY/20261122/us-east-1/s3/aws4_request``."""
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        if auth_errors.family(call) == auth_errors.S3:
            message = (
                "The authorization header is malformed; the Credential is mal-formed; expecting "
                '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
            )
        else:
            message = (
                "Credential must have exactly 5 slash-delimited elements, e.g. "
                f"keyid/date/region/service/term, got '{credential}'"
            )
        raise refusal(call, "incomplete", message)
    key, date, region, service, terminator = parts
    if terminator != "aws4_request":
        raise refusal(
            call,
            "wrong scope",
            f"Credential should be scoped with a valid terminator: 'aws4_request', not "
            f"'{terminator}'.",
        )
    return key, Scope(date, region, service)


def _check_date(call: Call, date: str) -> str:
    try:
        if _DATE.fullmatch(date):
            epoch_of(date)
            return date
    except ValueError:
        pass
    if auth_errors.family(call) == auth_errors.S3:
        raise AwsError(
            "AccessDenied",
            "AWS authentication requires a valid Date or x-amz-date header",
            403,
        )
    raise refusal(
        call,
        "incomplete",
        f"Date must be in ISO-8601 'basic format'. Got '{date}'. "
        "See http://en.wikipedia.org/wiki/ISO_8601",
    )


@lru_cache(maxsize=64)
def epoch_of(amz_date: str) -> float:
    """Epoch seconds of a date like ``20261122T101500Z``; raises ValueError."""
    return datetime.strptime(amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _http_date(text: str) -> str:
    if _DATE.fullmatch(text):
        return text
    try:
        moment = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT")
    except ValueError:
        return ""
    return moment.strftime("%Y%m%dT%H%M%SZ")

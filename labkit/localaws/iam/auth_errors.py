"""What each service answers when it does not accept who a request says it is from.

The code, HTTP status and sentence differ by protocol family: S3's own, the query services (SQS
too, whose JSON protocol keeps the query codes), EC2, REST-JSON services (403) and JSON services
(400). Follows each service's "Common errors" page and the S3 API reference, "Error responses".
"""

from __future__ import annotations

from labkit.localaws.call import AwsError, Call
from labkit.localaws.protocol import service_model

S3, QUERY, EC2, REST, JSON = "s3", "query", "ec2", "rest", "json"

_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. "
    "Consult the service documentation for details."
)
_S3_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method."
)
_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"
_EC2_FAILURE = "AWS was not able to validate the provided access credentials"

# Reason -> family -> (code, HTTP status, sentence); None takes the sentence of the caller.
_ANSWERS: dict[str, dict[str, tuple[str, int, str | None]]] = {
    "missing": {
        S3: ("AccessDenied", 403, "Access Denied"),
        QUERY: ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
        EC2: ("MissingParameter", 400, "The request must contain the parameter AWSAccessKeyId"),
        REST: ("MissingAuthenticationTokenException", 403, "Missing Authentication Token"),
        JSON: ("MissingAuthenticationTokenException", 400, "Missing Authentication Token"),
    },
    "incomplete": {
        S3: ("AuthorizationHeaderMalformed", 400, None),
        QUERY: ("IncompleteSignature", 400, None),
        EC2: ("AuthFailure", 401, None),
        REST: ("IncompleteSignatureException", 403, None),
        JSON: ("IncompleteSignatureException", 400, None),
    },
    "unknown key": {
        S3: (
            "InvalidAccessKeyId",
            403,
            "The AWS Access Key Id you provided does not exist in our records.",
        ),
        QUERY: ("InvalidClientTokenId", 403, _INVALID),
        EC2: ("AuthFailure", 401, _EC2_FAILURE),
        REST: ("UnrecognizedClientException", 403, _INVALID),
        JSON: ("UnrecognizedClientException", 400, _INVALID),
    },
    "wrong token": {
        S3: ("InvalidToken", 400, "The provided token is malformed or otherwise invalid."),
        QUERY: ("InvalidClientTokenId", 403, _INVALID),
        EC2: ("AuthFailure", 401, _EC2_FAILURE),
        REST: ("UnrecognizedClientException", 403, _INVALID),
        JSON: ("UnrecognizedClientException", 400, _INVALID),
    },
    "expired token": {
        S3: ("ExpiredToken", 400, "The provided token has expired."),
        QUERY: ("ExpiredToken", 403, _EXPIRED),
        EC2: ("RequestExpired", 400, "Request has expired."),
        REST: ("ExpiredTokenException", 403, _EXPIRED),
        JSON: ("ExpiredTokenException", 400, _EXPIRED),
    },
    "no match": {
        S3: ("SignatureDoesNotMatch", 403, _S3_NO_MATCH),
        QUERY: ("SignatureDoesNotMatch", 403, _NO_MATCH),
        EC2: ("AuthFailure", 401, _EC2_FAILURE),
        REST: ("InvalidSignatureException", 403, _NO_MATCH),
        JSON: ("InvalidSignatureException", 400, _NO_MATCH),
    },
    # Wrong scope, and (not for S3) a date too far off: a kind of mismatch with its own sentence.
    "wrong scope": {
        S3: ("AuthorizationHeaderMalformed", 400, None),
        QUERY: ("SignatureDoesNotMatch", 403, None),
        EC2: ("AuthFailure", 401, None),
        REST: ("InvalidSignatureException", 403, None),
        JSON: ("InvalidSignatureException", 400, None),
    },
}


def family(call: Call) -> str:
    """Which family of error codes the service of *call* belongs to."""
    if call.service in ("s3", "s3control"):
        return S3
    model = service_model(call.service)
    if model is None:
        return QUERY
    if "awsQueryCompatible" in model.metadata:
        return QUERY
    protocol = str(model.metadata.get("protocol", ""))
    if protocol == "ec2":
        return EC2
    if protocol == "query":
        return QUERY
    return REST if protocol.startswith("rest") else JSON


def refusal(call: Call, reason: str, message: str | None = None, **members: str) -> AwsError:
    """The error of the service of *call* for *reason* (a key of the table above).

    *message* stands where the table has none. ``members`` are further elements of S3's answer
    and left out by the other families.
    """
    kind = family(call)
    code, status, sentence = _ANSWERS[reason][kind]
    shown = members if kind == S3 else {}
    return AwsError(code, sentence if sentence is not None else message or "", status, **shown)

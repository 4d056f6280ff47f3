"""One request, one meaning: refuses what could be read in two ways before anything is decided.

What is authorised must be what is done. A parameter that stands both in the URL and in the body,
or twice in one of them, would leave it to the reader which one counts; so would two
sub-resources of S3 in one URL.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam import auth_errors

_SIGNING = ("x-amz-", "awsaccesskeyid", "signature", "expires", "timestamp")
# The words in an S3 URL's query that make it an operation of its own.
_SUBRESOURCES = frozenset(
    "accelerate acl analytics attributes cors delete encryption intelligent-tiering inventory "
    "legal-hold lifecycle list-type location logging metadataConfiguration metadataTable metrics "
    "notification object-lock ownershipControls policy policyStatus publicAccessBlock replication "
    "requestPayment restore retention select session tagging torrent uploadId uploads versioning "
    "versions website".split()
)


def check(call: Call) -> None:
    """Raise the service's error when the request of *call* has no single meaning."""
    request = call.request
    query = _pairs(request.query_string)
    kind = auth_errors.family(call)
    if kind == auth_errors.S3:
        names = [name for name, _ in query]
        if len(names) != len(set(names)) or len(_SUBRESOURCES.intersection(names)) > 1:
            raise AwsError(
                "InvalidArgument",
                "Conflicting values provided in this request: the query names more than one "
                "operation or a parameter twice.",
                400,
            )
        return
    if kind == auth_errors.REST:
        # Lists are repeated names there; an Action in the URL is of another protocol.
        if any(name == "Action" for name, _ in query):
            raise _ambiguous()
        return
    own = [name for name, _ in query if not name.lower().startswith(_SIGNING)]
    body: list[str] = []
    if (request.content_type or "").startswith("application/x-www-form-urlencoded"):
        body = [name for name, _ in _pairs(request.get_data())]
    if own and (body or request.headers.get("X-Amz-Target")):
        raise _ambiguous()
    names = [*own, *body]
    if len(names) != len(set(names)):
        raise _ambiguous()


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    return parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)


def _ambiguous() -> AwsError:
    return AwsError(
        "MalformedQueryString",
        "The query string contains a syntax error: a parameter is given more than once.",
        400,
    )

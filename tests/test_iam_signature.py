"""Signatures: what botocore signs is recognised, everything else is refused in AWS's words."""

from __future__ import annotations

import datetime
import io
import json
import time
import urllib.parse

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.core.request import Request

from labkit.localaws import protocol
from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam import claims, signature
from labkit.localaws.iam.accounts import Accounts
from labkit.localaws.iam.administrator import create_administrator
from labkit.localaws.iam.authentication import Authentication
from labkit.localaws.iam.sessions import Session, Sessions, new_keys
from labkit.localaws.moto_hooks import align_iam

ACCOUNT = "210987654321"
KEY, SECRET = "AKIA2SIGNATURETEST22", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzEXAMPLEKEY"
URL = "http://127.0.0.1:4566"


class FixedClock:
    """Real and lab time as a test wants them."""

    def __init__(self):
        self.real = self.lab = time.time()
        self.ahead = 0.0

    def real_now(self):
        return self.real

    def now(self):
        return self.lab

    def offset_at(self, real):
        return self.ahead

    def advance(self, seconds):
        self.lab += seconds


@pytest.fixture(scope="module")
def accounts():
    align_iam()
    create_administrator(ACCOUNT, KEY, SECRET)
    return Accounts()


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def sessions():
    return Sessions()


@pytest.fixture
def door(accounts, clock, sessions):
    return Authentication(clock, accounts, sessions)


def request(method, url, headers, body=b""):
    """A request as it comes off the wire."""
    split = urllib.parse.urlsplit(url)
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote(split.path, "latin-1"),
        "RAW_URI": split.path + (f"?{split.query}" if split.query else ""),
        "QUERY_STRING": split.query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "4566",
        "HTTP_HOST": split.netloc,
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in headers.items():
        if name.lower() == "content-length":
            continue
        key = name.upper().replace("-", "_")
        prefix = "" if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_"
        environ[prefix + key] = value.decode() if isinstance(value, bytes) else value
    return Request(environ)


def signed(service, method="POST", path="/", body=b"{}", headers=None, *, key=KEY, secret=SECRET,
           token=None, region="us-east-1", presign=None):  # fmt: skip
    """A call signed by botocore's own signer."""
    wanted = AWSRequest(method, URL + path, headers=headers or {}, data=b"" if presign else body)
    credentials = Credentials(key, secret, token)
    if service == "s3":
        kind = botocore.auth.S3SigV4QueryAuth if presign else botocore.auth.S3SigV4Auth
    else:
        kind = botocore.auth.SigV4QueryAuth if presign else botocore.auth.SigV4Auth
    more = {"expires": presign} if presign else {}
    kind(credentials, service, region, **more).add_auth(wanted)
    prepared = wanted.prepare()
    headers = {**dict(prepared.headers.items()), "Host": "127.0.0.1:4566"}
    if presign:
        headers = {"Host": "127.0.0.1:4566"}
    return call(request(method, prepared.url, headers, body))


def call(made):
    return protocol.read_call(made, ACCOUNT)


TARGET = {
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    "Content-Type": "application/x-amz-json-1.0",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SERVICES = [
    ("dynamodb", "POST", "/", b"{}", TARGET),
    ("sns", "POST", "/", b"Action=ListTopics&Version=2010-03-31", FORM),
    ("lambda", "GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af", b"", {}),
    ("s3", "PUT", "/bucket/k%20%C3%BC%2B%2F..//x", b"content", {"x-amz-meta-a": "  b   c "}),
    ("s3", "GET", "/bucket?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&acl", b"", {}),
]  # fmt: skip


@pytest.mark.parametrize(("service", "method", "path", "body", "headers"), SERVICES)
def test_what_botocore_signs_is_recognised(door, service, method, path, body, headers):
    principal = door.principal(signed(service, method, path, body, headers))
    assert principal.arn == f"arn:aws:iam::{ACCOUNT}:user/administrator"
    assert (principal.kind, principal.access_key_id) == ("user", KEY)


@pytest.mark.parametrize(("service", "method", "path", "body", "headers"), SERVICES)
def test_presigned_urls_are_recognised(door, service, method, path, body, headers):
    if body and service != "s3":
        body = b""
    made = signed(service, method, path, body, {}, presign=60)
    assert door.principal(made).name == "administrator"


REFUSALS = [
    # service -> unknown key, wrong secret, expired token: (code, status)
    ("dynamodb", ("UnrecognizedClientException", 400), ("InvalidSignatureException", 400), ("ExpiredTokenException", 400)),
    ("sns", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403), ("ExpiredToken", 403)),
    ("lambda", ("UnrecognizedClientException", 403), ("InvalidSignatureException", 403), ("ExpiredTokenException", 403)),
    ("s3", ("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403), ("ExpiredToken", 400)),
]  # fmt: skip


def refused(door, made):
    with pytest.raises(AwsError) as caught:
        door.principal(made)
    return caught.value


@pytest.mark.parametrize(("service", "unknown", "mismatch", "expired"), REFUSALS)
def test_each_service_refuses_in_its_own_words(
    door, sessions, clock, service, unknown, mismatch, expired
):
    _, method, path, body, headers = next(row for row in SERVICES if row[0] == service)
    error = refused(door, signed(service, method, path, body, headers, key="AKIA2UNKNOWNKEY22222"))
    assert (error.code, error.status) == unknown
    error = refused(door, signed(service, method, path, body, headers, secret="wrong"))
    assert (error.code, error.status) == mismatch
    session = add_session(sessions, clock.lab - 1)
    made = signed(service, method, path, body, headers, key=session.access_key_id,
                  secret=session.secret, token=session.token)  # fmt: skip
    error = refused(door, made)
    assert (error.code, error.status) == expired


def add_session(sessions, expires):
    key, secret, token = new_keys(ACCOUNT)
    from labkit.localaws.call import Principal

    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"
    principal = Principal("role", ACCOUNT, arn, name="r", role_name="r", session_name="s")
    session = Session(key, secret, token, principal, "AROA:s", expires - 3600, expires)
    sessions.add(session)
    return session


def test_sessions_need_their_token(door, sessions, clock):
    session = add_session(sessions, clock.lab + 10)
    keys = {"key": session.access_key_id, "secret": session.secret}
    assert door.principal(signed("dynamodb", headers=TARGET, token=session.token, **keys))
    for token in (None, session.token + "x", "x"):
        error = refused(door, signed("dynamodb", headers=TARGET, token=token, **keys))
        assert error.code == "UnrecognizedClientException"
    s3 = signed("s3", "GET", "/b", b"", token="x", **keys)
    assert refused(door, s3).code == "InvalidToken"
    error = refused(door, signed("dynamodb", headers=TARGET, token="spurious"))
    assert error.code == "UnrecognizedClientException"
    clock.advance(11)
    error = refused(door, signed("dynamodb", headers=TARGET, token=session.token, **keys))
    assert error.code == "ExpiredTokenException"


def test_a_tampered_request_is_refused(door):
    made = signed("dynamodb", headers=TARGET)
    assert refused(
        door, call(request("POST", URL + "/", dict(made.request.headers), b"{ }"))
    ).code == ("InvalidSignatureException")
    made = signed("s3", "PUT", "/b/k", b"content")
    headers = dict(made.request.headers)
    assert refused(door, call(request("PUT", URL + "/b/k", headers, b"other"))).code == (
        "XAmzContentSHA256Mismatch"
    )
    assert refused(door, call(request("PUT", URL + "/b/k2", headers, b"content"))).code == (
        "SignatureDoesNotMatch"
    )
    assert refused(door, call(request("GET", URL + "/b/k", headers, b"content"))).code == (
        "SignatureDoesNotMatch"
    )
    added = {**headers, "X-Amz-Acl": "public-read"}
    error = refused(door, call(request("PUT", URL + "/b/k", added, b"content")))
    assert (error.code, error.members["HeadersNotSigned"]) == ("AccessDenied", "x-amz-acl")


def test_the_signature_error_of_s3_shows_what_was_computed(door):
    error = refused(door, signed("s3", "GET", "/b/k", b"", secret="wrong"))
    assert error.members["AWSAccessKeyId"] == KEY
    assert error.members["StringToSign"].startswith("AWS4-HMAC-SHA256\n")
    assert error.members["CanonicalRequest"].startswith("GET\n/b/k\n")


@pytest.mark.parametrize(
    ("service", "off", "code"),
    [
        ("dynamodb", 299, None),
        ("dynamodb", -299, None),
        ("dynamodb", 302, "InvalidSignatureException"),
        ("dynamodb", -302, "InvalidSignatureException"),
        ("sns", 302, "SignatureDoesNotMatch"),
        ("s3", 890, None),
        ("s3", 905, "RequestTimeTooSkewed"),
        ("s3", -905, "RequestTimeTooSkewed"),
    ],
)
def test_dates_are_compared_with_real_time(door, clock, service, off, code):
    _, method, path, body, headers = next(row for row in SERVICES if row[0] == service)
    made = signed(service, method, path, body, headers)
    clock.real += off
    clock.lab += 10_000
    if code is None:
        assert door.principal(made)
        return
    error = refused(door, made)
    assert error.code == code
    if service != "s3":
        words = "Signature expired: " if off > 0 else "Signature not yet current: "
        assert error.message.startswith(words)


def test_presigned_urls_end_by_the_labs_clock(door, clock):
    made = signed("s3", "GET", "/b/k", b"", presign=60)
    assert door.principal(made)
    clock.advance(61)
    error = refused(door, made)
    assert (error.code, error.status, error.message) == ("AccessDenied", 403, "Request has expired")
    assert error.members["X-Amz-Expires"] == "60"


def test_a_url_made_after_the_clock_was_moved_lives_as_long(door, clock):
    clock.advance(86_400)
    clock.ahead = 86_400
    made = signed("s3", "GET", "/b/k", b"", presign=60)
    assert door.principal(made)
    clock.advance(62)
    assert refused(door, made).message == "Request has expired"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires=700000", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires=-1", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires=soon", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires=61", "SignatureDoesNotMatch"),
        ("X-Amz-Date=20260101", "AccessDenied"),
        ("X-Amz-Credential=x", "AuthorizationHeaderMalformed"),
    ],
)
def test_mangled_presigned_urls(door, query, code):
    made = signed("s3", "GET", "/b/k", b"", presign=60)
    parameters = dict(urllib.parse.parse_qsl(made.request.query_string.decode()))
    name, _, value = query.partition("=")
    if name == "X-Amz-Algorithm":
        parameters = {name: value}
    else:
        parameters[name] = value
    url = f"{URL}/b/k?{urllib.parse.urlencode(parameters)}"
    assert refused(door, call(request("GET", url, {"Host": "127.0.0.1:4566"}))).code == code


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Bearer abc", "Authorization header requires 'Credential' parameter."),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request", "requires 'Signature' parameter."),
        ("AWS4-HMAC-SHA256 Credential", "not a valid key=value pair (missing equal-sign)"),
        (
            "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=x",
            "exactly 5 slash-delimited",
        ),
    ],
)
def test_incomplete_headers(door, header, words):
    made = signed("dynamodb", headers=TARGET)
    headers = {**dict(made.request.headers), "Authorization": header}
    error = refused(door, call(request("POST", URL + "/", headers, b"{}")))
    assert (error.code, error.status) == ("IncompleteSignatureException", 400)
    assert words in error.message


def test_a_signature_for_another_service_is_refused(door):
    made = signed("sqs", headers=TARGET)
    error = refused(door, made)
    assert error.message == "Credential should be scoped to correct service: 'dynamodb'. "


def test_unsigned_calls_are_nobodys(door):
    assert door.principal(call(request("GET", URL + "/b/k", {"Host": "h"}))) is None


headers_of_a_good_request = dict(signed("dynamodb", headers=TARGET).request.headers)
GOOD = headers_of_a_good_request["Authorization"]


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_mangled_authorization_headers_never_crash_or_let_anyone_in(data):
    """Cut, repeated, swapped and random pieces of a once good header, and random text."""
    align_iam()
    create_administrator(ACCOUNT, KEY, SECRET)
    door = Authentication(FixedClock(), Accounts(), Sessions())
    text = data.draw(
        st.one_of(
            st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200),
            st.tuples(
                st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.text(max_size=5)
            ).map(lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[1] :]),
            st.permutations(GOOD.split(" ")).map(" ".join),
            st.permutations(GOOD.split("/")).map("/".join),
        )
    )
    text = text.encode("latin-1", "ignore").decode("latin-1").replace("\n", " ")
    headers = {**headers_of_a_good_request, "Authorization": text}
    made = call(request("POST", URL + "/", headers, b"{}"))
    same = [part.strip() for part in text.replace(",", " ").split()]
    try:
        principal = door.principal(made)
    except AwsError as error:
        assert 400 <= error.status < 500
    else:
        # Only the very same claim, in whatever order and spacing, may pass.
        assert principal is None or sorted(same) == sorted(GOOD.replace(",", " ").split())


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(
    st.sampled_from(["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date",
                     "X-Amz-SignedHeaders", "X-Amz-Expires", "AWSAccessKeyId", "Signature",
                     "Expires", "X-Amz-Security-Token"]),
    st.one_of(st.text(max_size=20), st.sampled_from(
        ["AWS4-HMAC-SHA256", f"{KEY}/20261122/us-east-1/s3/aws4_request", "20261122T101010Z",
         "host", "60", KEY, "9999999999"])), max_size=10))  # fmt: skip
def test_mangled_queries_never_crash_or_let_anyone_in(parameters):
    align_iam()
    create_administrator(ACCOUNT, KEY, SECRET)
    door = Authentication(FixedClock(), Accounts(), Sessions())
    query = urllib.parse.urlencode(parameters, errors="replace")
    try:
        assert door.principal(call(request("GET", f"{URL}/b/k?{query}", {"Host": "h"}))) is None
    except AwsError as error:
        assert 400 <= error.status < 500


def test_chunked_uploads_are_checked_chunk_by_chunk(door):
    """The S3 reference's scheme: each chunk's signature follows from the one before."""
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    date = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = claims.Scope(date[:8], "us-east-1", "s3")
    names = ("content-encoding", "host", "x-amz-content-sha256", "x-amz-date")
    headers = {"Host": "127.0.0.1:4566", "X-Amz-Date": date, "X-Amz-Content-Sha256": payload,
               "Content-Encoding": "aws-chunked"}  # fmt: skip
    claim = claims.Claim(KEY, scope, names, "", date)
    bare = request("PUT", URL + "/b/k", headers)
    canonical = signature.canonical_request(bare, claim, payload, s3=True)
    key = signature.signing_key(SECRET, scope)
    seed = hmac_hex(key, signature.string_to_sign(claim, canonical))
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope.text}, SignedHeaders={';'.join(names)}, "
        f"Signature={seed}"
    )
    body, previous = b"", seed
    for chunk in (b"a" * 1000, b"bc", b""):
        previous = hmac_hex(key, "\n".join(
            ("AWS4-HMAC-SHA256-PAYLOAD", date, scope.text, previous, sha(b""), sha(chunk))))  # fmt: skip
        body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + b"\r\n"
    assert door.principal(call(request("PUT", URL + "/b/k", headers, body)))
    for mangled in (body.replace(b"bc", b"bd"), body[:-20], body.replace(b"2;", b"zz;"), b""):
        with pytest.raises(AwsError):
            door.principal(call(request("PUT", URL + "/b/k", headers, mangled)))


def hmac_hex(key, text):
    import hashlib
    import hmac

    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def sha(content):
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_calls_are_typed(door):
    made = signed("dynamodb", headers=TARGET)
    assert isinstance(made, Call)
    assert json.loads(made.request.get_data()) == {}

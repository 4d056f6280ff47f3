"""S3 uploads whose body is signed chunk by chunk (``STREAMING-AWS4-HMAC-SHA256-PAYLOAD``).

Follows the Amazon S3 API Reference, "Signature calculations for the authorization header:
Transferring payload in multiple chunks (chunked upload)", trailers included.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam.auth_errors import refusal

_EMPTY = hashlib.sha256(b"").hexdigest()


def check_chunks(
    call: Call, key: bytes, amz_date: str, scope: str, seed_signature: str, payload: str
) -> None:
    """Refuse the upload unless every chunk's signature follows from the one before it."""
    previous = seed_signature
    body = call.request.get_data()
    end = len(body)
    for chunk, signature, ends in _chunks(body):
        end = ends
        digest = hashlib.sha256(chunk).hexdigest()
        previous = _sign(
            key, "AWS4-HMAC-SHA256-PAYLOAD", amz_date, scope, previous, f"{_EMPTY}\n{digest}"
        )
        _compare(call, previous, signature)
    if payload.endswith("-TRAILER"):
        trailer, signature = _trailer(body[end:])
        expected = _sign(
            key,
            "AWS4-HMAC-SHA256-TRAILER",
            amz_date,
            scope,
            previous,
            hashlib.sha256(trailer).hexdigest(),
        )
        _compare(call, expected, signature)


def _sign(key: bytes, algorithm: str, date: str, scope: str, previous: str, hashes: str) -> str:
    text = "\n".join((algorithm, date, scope, previous, hashes))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _compare(call: Call, expected: str, given: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise refusal(call, "no match", SignatureProvided=given)


def _chunks(body: bytes) -> Iterator[tuple[bytes, str, int]]:
    """Each chunk with its signature and where it ends, the empty last one included."""
    position = 0
    while True:
        line_end = body.find(b"\r\n", position)
        if line_end < 0:
            raise _incomplete()
        head = body[position:line_end].decode("latin-1")
        length_text, _, extension = head.partition(";")
        name, _, signature = extension.partition("=")
        try:
            length = int(length_text, 16)
        except ValueError:
            raise _incomplete() from None
        start = line_end + 2
        if length < 0 or start + length > len(body) or name != "chunk-signature":
            raise _incomplete()
        position = start + length
        if length == 0:
            yield b"", signature, position
            return
        yield body[start:position], signature, position + 2
        position += 2


def _trailer(rest: bytes) -> tuple[bytes, str]:
    """The trailing headers in the form that is signed, and their signature."""
    lines, signature = [], ""
    for line in rest.replace(b"\r\n", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"x-amz-trailer-signature":
            signature = value.strip().decode("latin-1")
        elif line.strip():
            lines.append(name.strip().lower() + b":" + value.strip() + b"\n")
    return b"".join(lines), signature


def _incomplete() -> AwsError:
    return AwsError(
        "IncompleteBody",
        "The request body terminated unexpectedly",
        400,
    )

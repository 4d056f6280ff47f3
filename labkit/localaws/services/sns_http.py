"""What an endpoint makes of a delivery, and deliveries to web servers on this machine."""

from __future__ import annotations

import http.client
import ssl
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

_HTTP_SECONDS = 15.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Refused(Exception):
    """The endpoint will never take this message; ``status`` is what it answered."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Failed(Exception):
    """The endpoint could not take the message this time."""


def post(
    url: str,
    body: str,
    headers: dict[str, str],
    content_type: str = "text/plain; charset=UTF-8",
) -> int:
    """POST to an address on this machine and return the status; raises Refused or Failed.

    Nothing ever leaves the machine: any other address is refused without a look at it.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.hostname not in _LOOPBACK and not (parts.hostname or "").endswith(".localhost"):
        raise Refused(f"{parts.hostname} is not on this machine, and nothing may leave it")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = "127.0.0.1" if (parts.hostname or "").endswith("localhost") else parts.hostname
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host or "", port, timeout=_HTTP_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host or "", port, timeout=_HTTP_SECONDS)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            "POST",
            path,
            body.encode(),
            {
                "Host": parts.netloc.rpartition("@")[2],
                "User-Agent": "Amazon Simple Notification Service Agent",
                "Content-Type": content_type,
                "Accept-Encoding": "gzip,deflate",
                **headers,
            },
        )
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        raise Failed(str(problem)) from problem
    finally:
        connection.close()
    if status >= 500 or status == 429:
        raise Failed(f"status {status}")
    if status >= 300:
        raise Refused(f"status {status}", status)
    return status


@contextmanager
def judging() -> Iterator[None]:
    """Tell AWS's refusals from its failures: raises Refused or Failed for a ClientError."""
    try:
        yield
    except ClientError as problem:
        status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= 500 or status == 429:
            raise Failed(str(problem)) from problem
        raise Refused(str(problem), status) from problem

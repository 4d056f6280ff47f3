"""Where a package can be had: addresses like S3's presigned ones, and what answers there."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from labkit.localaws.functions.code import Package

# As long as the addresses that GetFunction gives out are good for.
VALID_SECONDS = 600
# No bucket's name starts with an underscore, so no bucket's path is taken.
PREFIX = "/_lambda/code/"
_REMEMBERED = 1000

Answer = tuple[int, list[tuple[str, str]], bytes]


class Downloads:
    """Gives out addresses of packages and answers requests to them.

    An address names the package by its digest, carries its expiry and is signed, so that nobody
    can make one up; what was not asked for lately is forgotten.
    """

    def __init__(self, endpoint: str, now: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._now = now
        self._key = secrets.token_bytes(32)
        self._guard = threading.Lock()
        self._packages: OrderedDict[str, Package] = OrderedDict()

    def url(self, arn: str, package: Package) -> str:
        """An address of *package*, good for ten minutes of lab time."""
        digest = package.archive.digest
        with self._guard:
            self._packages[digest] = package
            self._packages.move_to_end(digest)
            while len(self._packages) > _REMEMBERED:
                self._packages.popitem(last=False)
        expires = str(int(self._now()) + VALID_SECONDS)
        query = f"Expires={expires}&Signature={self._sign(digest, expires)}"
        return f"{self._endpoint}{PREFIX}{digest}?{query}"

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """The answer to a request: the zip file, or 403 for an address that is not good."""
        digest = path.removeprefix(PREFIX)
        expires = query.get("Expires", "")
        signature = query.get("Signature", "")
        if not hmac.compare_digest(signature.encode(), self._sign(digest, expires).encode()):
            return _refused("SignatureDoesNotMatch", "The address was not given out here.")
        if int(expires) < self._now():
            return _refused("AccessDenied", "Request has expired")
        with self._guard:
            package = self._packages.get(digest)
        if package is None:
            return _refused("NoSuchKey", "The specified key does not exist.", 404)
        return 200, [("Content-Type", "application/zip")], package.archive.read()

    def _sign(self, digest: str, expires: str) -> str:
        return hmac.new(self._key, f"{digest}/{expires}".encode(), hashlib.sha256).hexdigest()


def _refused(code: str, message: str, status: int = 403) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, [("Content-Type", "application/xml")], body.encode()

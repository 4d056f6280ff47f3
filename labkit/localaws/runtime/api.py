"""The Lambda Runtime API's HTTP, on sockets that never block.

A :class:`Listener` is one environment's own address; each :class:`Connection` collects requests
and sends answers, head and body in one write so that nothing waits for a delayed acknowledgement
(Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes").
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass

# The largest synchronous response (Lambda quotas): 6 MB and some room for its envelope.
MAX_RESPONSE_BYTES = 6_291_556
_MAX_HEAD_BYTES = 2 << 20
_REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Payload Too Large",
}


@dataclass
class Request:
    """One request: header names in lower case; ``size`` is the body's true length in bytes.

    ``body`` is cut off behind what an acceptable response may have.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    size: int


class Connection:
    """One accepted connection; ``outgoing`` holds what the socket would not take yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.outgoing = b""
        self._buffer = b""
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._body = bytearray()
        self._size = 0
        self._missing = 0

    def receive(self) -> list[Request] | None:
        """The requests completed by what has arrived; None when the peer is done with us."""
        requests: list[Request] = []
        while True:
            try:
                data = self.sock.recv(1 << 18)
            except (BlockingIOError, InterruptedError):
                return requests
            except OSError:
                return None
            if not data:
                return requests or None
            self._buffer += data
            while (request := self._next()) is not None:
                requests.append(request)
            if len(self._buffer) > _MAX_HEAD_BYTES:
                return None
            if len(data) < 1 << 18:
                return requests

    def _next(self) -> Request | None:
        """The first request in the buffer, once it is whole."""
        if self._head is None:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return None
            self._buffer = rest
            self._begin(head.decode("latin-1").split("\r\n"))
        taken, self._buffer = self._buffer[: self._missing], self._buffer[self._missing :]
        self._missing -= len(taken)
        # What exceeds an acceptable response passes by without being kept.
        self._body += taken[: MAX_RESPONSE_BYTES + 1 - len(self._body)]
        if self._missing or self._head is None:
            return None
        method, path, headers = self._head
        self._head = None
        return Request(method, path, headers, bytes(self._body), self._size)

    def _begin(self, lines: list[str]) -> None:
        method, path, *_ = [*lines[0].split(" "), "", ""]
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._head = (method, path, headers)
        length = headers.get("content-length", "0")
        self._size = self._missing = int(length) if length.isdigit() else 0
        self._body = bytearray()
        if headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send one response."""
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self._write("\r\n".join(lines).encode("utf-8") + body)

    def answer_json(self, status: int, /, **members: str) -> None:
        """Send a JSON object, as the API does for everything but events."""
        self.answer(status, json.dumps(members).encode(), [("Content-Type", "application/json")])

    def _write(self, data: bytes) -> None:
        self.outgoing += data
        self.flush()

    def flush(self) -> None:
        """Send as much as the socket takes now."""
        try:
            while self.outgoing:
                sent = self.sock.send(self.outgoing)
                self.outgoing = self.outgoing[sent:]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # The peer is gone; its end is noticed where the process is watched.
            self.outgoing = b""

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class Listener:
    """The address one environment calls its runtime API at; ``address`` is ``127.0.0.1:PORT``."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.sock.setblocking(False)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def accept(self) -> Connection | None:
        """The connection that waits, if one does."""
        try:
            sock, _ = self.sock.accept()
        except OSError:
            return None
        return Connection(sock)

    def close(self) -> None:
        """Stop listening."""
        self.sock.close()

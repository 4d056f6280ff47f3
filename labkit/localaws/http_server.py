"""A small threaded HTTP server on loopback, for the front door.

werkzeug's and moto's request handling up to the WSGI environment; from there two differences
that matter here: an answer leaves in one segment (headers and body written apart cost 40 ms a
call through delayed acknowledgement), and connections are kept open, which is safe because the
body has always been read in full before the answer goes out.
"""

from __future__ import annotations

import io
import os
import socketserver
from collections.abc import Callable
from http.server import HTTPServer
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import DechunkedInput

Answer = tuple[int, list[tuple[str, str]], bytes]
# Takes a WSGI environment whose wsgi.input holds the whole body.
App = Callable[[dict[str, Any]], Answer]


class _Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    # Buffer the answer; it is flushed once, when it is complete.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    # A kept-alive connection that says nothing for this long is closed.
    timeout = 120

    def handle_expect_100(self) -> bool:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self._read_body(environ))
        status, headers, body = self.server.app(environ)  # type: ignore[attr-defined]
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers) and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Date", self.date_time_string())
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)
        self.wfile.flush()

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        if isinstance(environ["wsgi.input"], DechunkedInput):
            body = io.BufferedReader(environ["wsgi.input"]).read()
            environ["CONTENT_LENGTH"] = str(len(body))
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            return body
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        body = self.rfile.read(length) if length > 0 else b""
        if len(body) < length:
            # The client went away in the middle: nothing of it may take effect.
            self.close_connection = True
            raise ConnectionResetError("the body ended early")
        return body

    def handle_one_request(self) -> None:
        """Handle a single HTTP request, quietly ending when the client has gone."""
        try:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline:
                self.close_connection = True
            elif len(self.raw_requestline) > 65_536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
            elif self.parse_request():
                self.run_wsgi()
        except (OSError, EOFError):
            self.close_connection = True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass

    def log(self, *args: Any, **kwargs: Any) -> None:
        pass


class LoopbackServer(socketserver.ThreadingMixIn, HTTPServer):
    """Serves *app* on 127.0.0.1, one daemon thread per connection.

    No fixed pool: a synchronous invocation holds its connection while the function calls back
    in on others, so a full pool would wait for itself.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    # What werkzeug's handler asks of its server.
    multithread = True
    multiprocess = False
    ssl_context = None
    # A port left in TIME_WAIT by an earlier run may be taken again; on Windows the option would
    # let two servers share it.
    allow_reuse_address = os.name == "posix"

    def __init__(self, app: App, port: int = 0) -> None:
        self.app = app
        super().__init__(("127.0.0.1", port), _Handler)
        self.port = self.server_address[1]
        self._server_version = "labkit"

    def server_bind(self) -> None:
        # HTTPServer.server_bind looks the host name up; loopback needs none.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away is no news; everything else the application has answered.
        pass

    def log(self, *args: Any) -> None:
        pass

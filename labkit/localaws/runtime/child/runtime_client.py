"""The Lambda Runtime API's client in plain Python, where awslambdaric has no native part.

Same names and results as the native ``runtime_client`` module: ``initialize_client``, ``next``,
``post_invocation_result``, ``post_error`` (Lambda Developer Guide, "Using the Lambda runtime API
for custom runtimes"). One connection is kept open, as the native client does.
"""

import os
import socket
import time

_PATH = "/2018-06-01/runtime/invocation/"
_user_agent = "aws-lambda-python"
_connection = None
_reader = None


def initialize_client(user_agent):
    """Remember what to call ourselves."""
    global _user_agent
    _user_agent = user_agent


def _connect():
    global _connection, _reader
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
    _connection = socket.create_connection((host, int(port)))
    _connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _reader = _connection.makefile("rb")


def _request(method, path, headers=(), body=b""):
    """Status, headers (lower-case names) and body of one exchange.

    Head and body leave in one write: two segments would wait for a delayed acknowledgement.
    """
    if _connection is None:
        _connect()
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {os.environ['AWS_LAMBDA_RUNTIME_API']}",
        f"User-Agent: {_user_agent}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    _connection.sendall("\r\n".join([*lines, "", ""]).encode("utf-8") + body)
    status_line = _reader.readline()
    if not status_line:
        raise RuntimeError("the runtime API closed the connection")
    status = int(status_line.split()[1])
    answer = {}
    while True:
        line = _reader.readline().strip()
        if not line:
            break
        name, _, value = line.decode("utf-8").partition(":")
        answer[name.strip().lower()] = value.strip()
    return status, answer, _reader.read(int(answer.get("content-length", 0)))


def next():
    """The next event: its body and a dict of the headers that describe it; waits for it."""
    status, headers, body = _request("GET", _PATH + "next")
    if status != 200:
        raise RuntimeError("Failed to get next")
    described = {
        name: headers.get(name.lower()) or None
        for name in (
            "Lambda-Runtime-Aws-Request-Id",
            "Lambda-Runtime-Trace-Id",
            "Lambda-Runtime-Invoked-Function-Arn",
            "Lambda-Runtime-Client-Context",
            "Content-Type",
            "Lambda-Runtime-Cognito-Identity",
            "Lambda-Runtime-Aws-Tenant-Id",
            "Lambda-Runtime-Invocation-Id",
        )
    }
    described["Lambda-Runtime-Deadline-Ms"] = int(headers.get("lambda-runtime-deadline-ms", 0))
    return body, described


def _post(path, headers, body, kind):
    status, _, answer = _request("POST", path, headers, body)
    if not 200 <= status < 300:
        print(
            f"[ERROR] [{int(time.time() * 1000)}] LAMBDA_RUNTIME Failed to post handler {kind} "
            f"response. Http response code: {status}. {answer.decode('utf-8', 'replace')}",
            flush=True,
        )
        raise RuntimeError("Failed to post invocation response")


def post_invocation_result(invoke_id, content, content_type, invocation_id=None):
    """Deliver the handler's result (bytes)."""
    headers = [("Content-Type", content_type)]
    _post(f"{_PATH}{invoke_id}/response", headers, bytes(content), "success")


def post_error(invoke_id, error_response, xray_fault, invocation_id=None):
    """Deliver the error envelope and the cause that X-Ray shows (both JSON text)."""
    headers = [("Content-Type", "application/json")]
    cause = xray_fault.encode("ascii", "backslashreplace").decode() if xray_fault else ""
    if cause and "\n" not in cause:
        headers.append(("Lambda-Runtime-Function-XRay-Error-Cause", cause))
    _post(f"{_PATH}{invoke_id}/error", headers, error_response.encode("utf-8"), "error")

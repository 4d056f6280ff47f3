"""Our Runtime API client in plain Python does what awslambdaric's native one does."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from pathlib import Path

import pytest
from runtime_support import MODES, Lab, function

import labkit.localaws.runtime
from labkit.localaws.runtime.api import MAX_RESPONSE_BYTES, Connection


@pytest.fixture(scope="module", params=MODES)
def lab(request, tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("runtime"), isolation=request.param, own_client=True)
    yield made
    made.pool.close()


def test_it_is_the_one_in_use(lab):
    version = function("""
        import runtime_client
        def handler(event, context):
            return runtime_client.__file__.rsplit("/", 1)[-1]
    """)
    assert lab.value(version) == "runtime_client.py"


def test_results_errors_and_context(lab):
    version = function("""
        count = 0
        def handler(event, context):
            global count
            count += 1
            if event == "fail":
                raise ValueError("föhn ✈")
            return [event, count, context.client_context is None, context.aws_request_id]
    """)
    result = lab.invoke(version, {"ü": "世界"})
    assert json.loads(result.payload) == [{"ü": "世界"}, 1, True, result.request_id]
    error = lab.error(version, "fail")
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "föhn ✈")
    assert lab.value(version)[1] == 3


def test_large_payloads_and_the_limit(lab):
    version = function("def handler(event, context):\n    return event * 2\n", timeout_seconds=30)
    assert lab.value(version, "x" * 3_000_000) == "x" * 6_000_000
    assert lab.error(version, "x" * 4_000_000)["errorType"] == "Function.ResponseSizeTooLarge"
    assert lab.value(version, "x") == "xx"


def test_init_errors_and_exits(lab):
    assert lab.error(function("import nothing_there\n"))["errorType"] == "Runtime.ImportModuleError"
    version = function("import os\ndef handler(event, context):\n    os._exit(4)\n")
    assert lab.error(version)["errorMessage"].endswith("exit status 4")


def test_head_and_body_leave_in_one_piece():
    path = Path(labkit.localaws.runtime.__file__).parent / "child" / "runtime_client.py"
    spec = importlib.util.spec_from_file_location("plain_runtime_client", path)
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    pieces = []
    ours, theirs = socket.socketpair()

    class Recorded:
        def sendall(self, data):
            pieces.append(data)
            theirs.sendall(data)

    client._connection, client._reader = Recorded(), theirs.makefile("rb")
    ours.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")
    client.os.environ["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:1"
    try:
        client.post_invocation_result("id-1", b'{"a": 1}', "application/json")
    finally:
        del client.os.environ["AWS_LAMBDA_RUNTIME_API"]
        ours.close()
        theirs.close()
    (piece,) = pieces
    head, body = piece.split(b"\r\n\r\n")
    assert head.startswith(b"POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1\r\n")
    assert b"Content-Length: 8" in head
    assert body == b'{"a": 1}'


@pytest.fixture
def connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    made = Connection(accepted)
    yield made, client
    made.close()
    client.close()


def arrive(made):
    """Requests, once something is there."""
    waiting = threading.Event()
    for _ in range(500):
        found = made.receive()
        if found or found is None:
            return found
        waiting.wait(0.005)
    raise AssertionError("nothing arrived")


def test_requests_in_pieces_and_in_a_row(connection):
    made, client = connection
    client.sendall(b"POST /a HTTP/1.1\r\nConTent-Length: 5\r\nX: y\r\n\r\nhe")
    waiting = threading.Event()
    waiting.wait(0.05)
    assert made.receive() == []
    client.sendall(b"lloGET /b HTTP/1.1\r\n\r\n")
    first, second = arrive(made)
    assert (first.method, first.path, first.body, first.headers["x"]) == (
        "POST",
        "/a",
        b"hello",
        "y",
    )
    assert (second.method, second.path, second.body) == ("GET", "/b", b"")
    client.close()
    assert arrive(made) is None


def test_a_body_over_the_limit_is_counted_and_not_kept(connection):
    made, client = connection
    size = MAX_RESPONSE_BYTES + 5_000_000
    head = f"POST /a HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode()
    sender = threading.Thread(target=lambda: client.sendall(head + b"x" * size))
    sender.start()
    (request,) = arrive(made)
    sender.join()
    assert request.size == size
    assert len(request.body) == MAX_RESPONSE_BYTES + 1


def test_answers_are_one_write_and_large_ones_wait_for_room(connection):
    made, client = connection
    made.answer(200, b"body", [("Name", "value")])
    assert client.recv(65536) == b"HTTP/1.1 200 OK\r\nName: value\r\nContent-Length: 4\r\n\r\nbody"
    made.answer(200, b"z" * 30_000_000)
    assert made.outgoing
    received = 0
    while received < 30_000_000:
        received += len(client.recv(1 << 20))
        made.flush()
    assert made.outgoing == b""

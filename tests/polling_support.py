"""Functions behind event source mappings, watched: what they were given, and what they answer.

The functions are real; each asks a small web server of the test what to do with its event, which
is how a test sees every invocation and decides its outcome.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest
from wiring_support import Queue, Wiring

HANDLER = """
import json, os, urllib.request

open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def handle(event, context):
    body = json.dumps([event, context.aws_request_id, context.log_stream_name]).encode()
    answer = json.loads(open_url(os.environ["WATCHER"], body).read())
    if "fail" in answer:
        raise RuntimeError(answer["fail"])
    if "exit" in answer:
        os._exit(answer["exit"])
    return answer.get("answer")
"""
FAIL = {"fail": "as told"}
DIE = {"exit": 7}
_POLICIES = (
    "AWSLambdaSQSQueueExecutionRole",
    "AWSLambdaKinesisExecutionRole",
    "AWSLambdaDynamoDBExecutionRole",
)
Decide = Callable[[dict[str, Any]], dict[str, Any] | None]


def answer(value: Any) -> dict[str, Any]:
    """Have the function return *value*."""
    return {"answer": value}


class Watched:
    """A function whose every invocation is seen here, and answered as ``decide(event)`` says."""

    def __init__(self, wiring: Wiring, *, timeout: int = 3, policy: list[Any] | None = None):
        self._wiring = wiring
        self._guard = threading.Lock()
        self._thread = threading.local()
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.request_ids: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self.decide: Decide = lambda event: None
        # The same, for those who want the request id as well.
        self.decide_asked: Callable[[Any, str], dict[str, Any] | None] | None = None
        self._mappings: list[str] = []
        self._server = _serve(self._told)
        self.name = wiring.name("watched")
        self.role = _role(wiring, policy)
        wiring.client("lambda").create_function(
            FunctionName=self.name,
            Runtime="python3.12",
            Role=self.role,
            Handler="watched.handle",
            Timeout=timeout,
            Code={"ZipFile": _package(HANDLER)},
            Environment={"Variables": {"WATCHER": f"http://127.0.0.1:{self._server.server_port}/"}},
        )

    @property
    def role_name(self) -> str:
        """The role's name, without the rest of its ARN."""
        return self.role.rsplit("/", 1)[1]

    def map(
        self, source_arn: str, *, qualifier: str = "", settle: bool = True, **settings: Any
    ) -> str:
        """The UUID of a new mapping from a source to this function, or an alias of it."""
        mapping = self._wiring.client("lambda").create_event_source_mapping(
            EventSourceArn=source_arn, FunctionName=self.name + qualifier, **settings
        )
        self._mappings.append(mapping["UUID"])
        if settle:
            self._wiring.settle()
        return mapping["UUID"]

    def change(self, mapping: str, **settings: Any) -> None:
        """Update a mapping and have the change take effect."""
        self._wiring.client("lambda").update_event_source_mapping(UUID=mapping, **settings)
        self._wiring.settle()

    def records(self) -> list[dict[str, Any]]:
        """All records the function was given, in the order of the invocations."""
        return [record for event in self.events for record in event["Records"]]

    def bodies(self) -> list[list[str]]:
        """The bodies of the messages of each invocation."""
        return [[record["body"] for record in event["Records"]] for event in self.events]

    def kill(self, wanted: Callable[[], bool] = lambda: True) -> int:
        """Kill this function's execution environments, those wanted; how many it were."""
        mine = [child for child, _ in self._environments() if wanted()]
        for child in mine:
            with contextlib.suppress(psutil.Error):
                child.kill()
        return len(mine)

    def kill_current(self) -> None:
        """Kill the environment whose invocation is being decided on this thread."""
        for child, environment in self._environments():
            if environment.get("AWS_LAMBDA_LOG_STREAM_NAME") == self._thread.environment:
                with contextlib.suppress(psutil.Error):
                    child.kill()

    def _environments(self) -> list[tuple[psutil.Process, dict[str, str]]]:
        found: list[tuple[psutil.Process, dict[str, str]]] = []
        for child in psutil.Process(self._wiring.running.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                environment = child.environ()
                if environment.get("AWS_LAMBDA_FUNCTION_NAME") == self.name:
                    found.append((child, environment))
        return found

    def unmap(self) -> None:
        """Remove the mappings to this function that :meth:`map` made."""
        lam = self._wiring.client("lambda")
        for mapping in self._mappings:
            with contextlib.suppress(lam.exceptions.ResourceNotFoundException):
                lam.delete_event_source_mapping(UUID=mapping)
        self._mappings.clear()
        self._wiring.settle()

    def close(self) -> None:
        """Remove the function and its mappings."""
        self.unmap()
        self._wiring.client("lambda").delete_function(FunctionName=self.name)
        self._server.shutdown()
        self._server.server_close()

    def _told(self, body: bytes) -> bytes:
        event, request_id, self._thread.environment = json.loads(body)
        with self._guard:
            self.events.append(event)
            self.request_ids.append(request_id)
            self.times.append(self._wiring.now())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.decide_asked is not None:
                return json.dumps(self.decide_asked(event, request_id) or {}).encode()
            return json.dumps(self.decide(event) or {}).encode()
        finally:
            with self._guard:
                self._at_once -= 1


@pytest.fixture(scope="session")
def idle(wiring: Wiring) -> Iterator[list[Watched]]:
    """Ordinary watched functions that no test uses at the moment, warm."""
    idle: list[Watched] = []
    yield idle
    for one in idle:
        one.close()


@pytest.fixture
def watch(wiring: Wiring, idle: list[Watched]) -> Iterator[Callable[..., Watched]]:
    """Gives watched functions, and takes them back after the test."""
    ordinary: list[Watched] = []
    special: list[Watched] = []

    def make(**settings: Any) -> Watched:
        if settings:
            special.append(Watched(wiring, **settings))
            return special[-1]
        ordinary.append(idle.pop() if idle else Watched(wiring))
        return ordinary[-1]

    yield make
    for one in special:
        one.close()
    for one in ordinary:
        one.unmap()
        one.events, one.times, one.request_ids, one.most_at_once = [], [], [], 0
        one.decide = lambda event: None
        idle.append(one)


def send(wiring: Wiring, queue: Queue, *bodies: str, **more: Any) -> list[str]:
    """Send messages in one call a ten, and return their ids."""
    ids: list[str] = []
    for start in range(0, len(bodies), 10):
        entries = [
            {"Id": str(number), "MessageBody": body, **more}
            for number, body in enumerate(bodies[start : start + 10])
        ]
        answered = wiring.client("sqs").send_message_batch(QueueUrl=queue.url, Entries=entries)
        ids += [entry["MessageId"] for entry in answered["Successful"]]
    return ids


def counts(wiring: Wiring, queue: Queue) -> tuple[int, int]:
    """How many messages of a queue are visible, and how many are not."""
    shown = wiring.client("sqs").get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    attributes = shown["Attributes"]
    return (
        int(attributes["ApproximateNumberOfMessages"]),
        int(attributes["ApproximateNumberOfMessagesNotVisible"]),
    )


def redrive(target: Queue, times: int) -> dict[str, str]:
    """The queue attribute that moves messages to *target* after so many receives."""
    policy = {"deadLetterTargetArn": target.arn, "maxReceiveCount": times}
    return {"RedrivePolicy": json.dumps(policy)}


def _role(wiring: Wiring, policy: list[Any] | None) -> str:
    """A role with AWS's policies for polled sources, or with the statements given instead."""
    arn, iam = wiring.role("lambda.amazonaws.com"), wiring.client("iam")
    name = arn.rsplit("/", 1)[1]
    if policy is None:
        for managed in _POLICIES:
            iam.attach_role_policy(
                RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/service-role/{managed}"
            )
    statements = (
        [
            {
                "Effect": "Allow",
                "Action": ["sqs:SendMessage", "sns:Publish", "s3:PutObject", "s3:ListBucket"],
                "Resource": "*",
            }
        ]
        if policy is None
        else policy
    )
    iam.put_role_policy(
        RoleName=name,
        PolicyName="more",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    return arn


def _package(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("watched.py", source)
    return buffer.getvalue()


def _serve(told: Callable[[bytes], bytes]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply = told(self.rfile.read(int(self.headers["Content-Length"])))
            head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(reply)}\r\n\r\n".encode()
            # One write: two small ones wait for each other's acknowledgement.
            self.wfile.write(head + reply)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # The function was killed while it waited.

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def lab_times(watched: Watched) -> list[float]:
    """When the invocations were, in lab seconds since the first."""
    return [moment - watched.times[0] for moment in watched.times]


def wait_until(event: threading.Event) -> None:
    """Wait for *event*, and fail rather than hang."""
    assert event.wait(30), "it never happened"


def elapsed(work: Callable[[], Any]) -> float:
    """Real seconds that *work* takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

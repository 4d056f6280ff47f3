"""A boto3 client on the Lambda layer alone, with hooks that tests can turn."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from moto.core.request import Request

from labkit.localaws import protocol
from labkit.localaws.call import AwsError, Principal, Reply
from labkit.localaws.functions.store import Hooks
from labkit.localaws.services.lambda_ import LambdaLayer

ACCOUNT = "123456789012"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"


class Bench:
    """The Lambda layer with hooks that tests turn, and a client for it.

    ``now`` is lab time; background work is kept in ``deferred`` when ``hold`` is set and runs at
    once otherwise.
    """

    def __init__(self) -> None:
        self.now = 1_790_000_000.25
        self.hold = False
        self.deferred: list[Callable[[], None]] = []
        self.chances: list[float] = []
        self.refused: set[str] = set()
        self.bad_roles: set[str] = set()
        self.objects: dict[tuple[str, str], bytes] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.provisions: list[tuple[str, int]] = []
        self.provision_result: int | None = None
        self.layer = LambdaLayer(
            SimpleNamespace(),  # type: ignore[arg-type]
            Hooks(
                now=lambda: self.now,
                defer=self._defer,
                can_assume=lambda role: role not in self.bad_roles,
                role_allows=lambda role, action, resource: action not in self.refused,
                fetch_object=self._object,
                code_url=lambda arn, package: f"http://127.0.0.1:1/{package.archive.digest}",
                source=self._source,
                provision=self._provision,
                chance=lambda: self.chances.pop(0),
            ),
        )
        self.functions = self.layer.functions
        self.functions.grace_seconds = 0.0

    def client(self, account: str = ACCOUNT, region: str = "us-east-1") -> Any:
        """A boto3 client whose calls reach the layer as *account*."""
        client = boto3.client(
            "lambda",
            region_name=region,
            endpoint_url="http://127.0.0.1:1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(
                parameter_validation=False, retries={"total_max_attempts": 1}
            ),
        )
        client.account = account
        client.meta.events.register(
            "before-send", lambda request, **_: self._send(request, account)
        )
        return client

    def run_deferred(self) -> None:
        """Let the background work held back happen."""
        work, self.deferred = self.deferred, []
        for item in work:
            item()

    def _send(self, prepared: Any, account: str) -> AWSResponse:
        body = prepared.body
        body = body.read() if hasattr(body, "read") else body
        body = body.encode() if isinstance(body, str) else bytes(body or b"")
        request = Request.from_primitives(prepared.method, prepared.url, prepared.headers, body)
        call = protocol.read_call(request, account)
        call.principal = Principal("user", account, f"arn:aws:iam::{account}:user/tester")
        try:
            result = self.layer.handler(call.operation)(call, lambda: pytest.fail("asked moto"))
            reply = result if isinstance(result, Reply) else protocol.write_result(call, result)
        except AwsError as error:
            reply = protocol.write_error(call, error)
        raw = io.BytesIO(reply.body)
        raw.stream = lambda **_: iter([reply.body])  # type: ignore[attr-defined]
        return AWSResponse(prepared.url, reply.status, reply.headers, raw)

    def _defer(self, work: Callable[[], None]) -> None:
        if self.hold:
            self.deferred.append(work)
        else:
            work()

    def _object(self, bucket: str, key: str, version: str | None, who: Principal) -> bytes:
        if not any(bucket == name for name, _ in self.objects):
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        if (bucket, key) not in self.objects:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return self.objects[bucket, key]

    def _source(self, arn: str, role: str) -> dict[str, Any]:
        if arn not in self.sources:
            raise AwsError(
                "AWS.SimpleQueueService.NonExistentQueue"
                if ":sqs:" in arn
                else "ResourceNotFoundException",
                "The specified queue does not exist.",
                400,
            )
        return self.sources[arn]

    def _provision(self, version: Any, count: int) -> int:
        self.provisions.append((version.version, count))
        return count if self.provision_result is None else self.provision_result


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A Lambda layer of its own."""
    yield Bench()


def zipped(text: str = "def handler(event, context): return event", name: str = "app.py") -> bytes:
    """A deployment package with one module, the same bytes for the same text."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def create(client: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    """Create a function with the least that it takes."""
    wanted: dict[str, Any] = {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Role": ROLE if client.account == ACCOUNT else ROLE.replace(ACCOUNT, client.account),
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped()},
    }
    wanted.update(more)
    return client.create_function(**{k: v for k, v in wanted.items() if v is not None})


def refusal(work: Callable[..., Any], **params: Any) -> tuple[str, int, str | None]:
    """(code, HTTP status, message) of the error that *work* answers with."""
    with pytest.raises(ClientError) as caught:
        work(**params)
    response = caught.value.response
    error = response["Error"]
    return error["Code"], response["ResponseMetadata"]["HTTPStatusCode"], error.get("Message")

"""The front door: the one way into the local AWS, for learners, functions and services alike.

A request becomes a :class:`Call`; the call is authenticated, authorised, answered by the
service's layer or by moto, and counted. Identity, permission and metering live here and nowhere
else.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from moto.core.request import Request
from moto.moto_server.werkzeug_app import BackendRequest, DomainDispatcherApplication
from werkzeug.test import run_wsgi_app

from labkit.localaws import protocol
from labkit.localaws.call import AwsError, Call, Principal, Reply, ServiceLayer
from labkit.localaws.http_server import Answer
from labkit.localaws.moto_hooks import answering, create_backend_app

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

_CONTROL_PREFIX = "/_localaws/"

# Takes the path after the prefix and the request; answers status, headers, body.
Control = Callable[[str, Request], Answer]


class Gateway:
    """Takes requests over HTTP or from inside, and answers them as AWS would."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._locks: defaultdict[tuple[str, str], threading.RLock] = defaultdict(threading.RLock)
        self._locks_guard = threading.Lock()
        self.layers: Mapping[str, ServiceLayer] = {}
        self.control: Control | None = None
        # What authenticating and authorising the last calls took: (operation, seconds).
        self.timing: deque[tuple[str, float]] = deque(maxlen=1000)
        # Non-AWS paths that belong to a layer (function URLs, pages of an e-mail's link).
        self.pages: dict[str, Callable[[Request], Answer]] = {}

    def lock(self, service: str, account_id: str) -> threading.RLock:
        """The lock that guards moto's state of *service* in one account.

        moto's back ends were not written for many threads at once.
        """
        # DynamoDB Streams reads DynamoDB's tables.
        service = "dynamodb" if service == "dynamodbstreams" else service
        with self._locks_guard:
            return self._locks[service, account_id]

    # -- from outside ------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any]) -> Answer:
        """Answer one HTTP request; never raises."""
        request = BackendRequest(environ)
        try:
            if request.path.startswith(_CONTROL_PREFIX) and self.control is not None:
                return self.control(request.path[len(_CONTROL_PREFIX) :], request)
            for prefix, page in self.pages.items():
                if request.path.startswith(prefix):
                    return page(request)
            reply = self.handle(request)
        except Exception:
            log.exception("could not answer %s %s", request.method, request.path)
            return 500, [("Content-Type", "text/plain")], b"InternalFailure"
        return reply.status, list(reply.headers.items()), reply.body

    # -- from inside -------------------------------------------------------------------------

    def send(self, prepared: Any, service: str, region: str, principal: Principal) -> AWSResponse:
        """Answer a request that botocore prepared inside this process, made by *principal*."""
        request = Request.from_primitives(
            prepared.method, prepared.url, prepared.headers, _read(prepared.body)
        )
        # moto finds service and region in the credential scope; there is no signature inside.
        scope = f"INTERNAL/20000101/{region}/{service}/aws4_request"
        request.environ["HTTP_AUTHORIZATION"] = (
            f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"
        )
        reply = self.handle(request, principal)
        return AWSResponse(prepared.url, reply.status, reply.headers, _Raw(reply.body))

    # -- both --------------------------------------------------------------------------------

    def handle(self, request: Request, principal: Principal | None = None) -> Reply:
        """Take one request through the door: identify, authenticate, authorise, answer, count."""
        aws = self._aws
        call = protocol.read_call(request, aws.account_id)
        # The moment it came in counts, not the one it was answered.
        call.notes["arrived"] = aws.clock.now()
        call.notes["started"] = time.monotonic()
        asked = time.perf_counter()
        try:
            if principal is None:
                call.principal = aws.identity.authenticate(call)
                call.account_id = call.principal.account_id or aws.account_id
            else:
                call.principal = principal
                call.account_id = principal.account_id or aws.account_id
            aws.identity.authorise(call)
            self.timing.append((call.operation, time.perf_counter() - asked))
            reply = self._answer(call)
        except AwsError as error:
            reply = protocol.write_error(call, error)
            call.notes["error"] = error
        aws.telemetry.observe(call, reply)
        return reply

    def _answer(self, call: Call) -> Reply:
        layer = self.layers.get(call.service)
        handler = layer.handler(call.operation) if layer is not None else None

        def forward() -> Reply:
            return self._forward(call)

        if handler is None:
            return forward()
        result = handler(call, forward)
        return result if isinstance(result, Reply) else protocol.write_result(call, result)

    def _forward(self, call: Call) -> Reply:
        """moto's answer to *call*."""
        environ = dict(call.request.environ)
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = call.account_id
        environ["wsgi.input"] = io.BytesIO(call.request.get_data())
        try:
            with self.lock(call.service, call.account_id), answering(call):
                chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
                body = b"".join(chunks)
        except NotImplementedError as problem:
            raise AwsError(
                "NotImplemented",
                f"{call.service} {call.operation or problem} is not part of this local AWS",
                501,
            ) from problem
        except AwsError:
            raise
        except Exception as problem:
            log.exception("moto failed at %s %s", call.service, call.operation)
            raise AwsError("InternalFailure", f"{type(problem).__name__}: {problem}", 500) from problem
        low = {name.lower(): value for name, value in headers}
        low.pop("date", None)
        low.pop("connection", None)
        low.pop("transfer-encoding", None)
        if call.request.method != "HEAD":
            low.pop("content-length", None)
        given = low.get("x-amzn-requestid")
        if given:
            # One call has one id, the same in its answer as wherever the call is remembered.
            low["x-amzn-requestid"] = call.request_id
            if low.get("content-type", "").endswith("/xml"):
                body = body.replace(given.encode(), call.request_id.encode())
        return Reply(int(status.split()[0]), low, body, call)


class _Raw(io.BytesIO):
    """A body as botocore reads one off the wire."""

    def stream(self, **_: Any) -> Any:
        while chunk := self.read(65_536):
            yield chunk


def _read(body: Any) -> bytes:
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body or b"")

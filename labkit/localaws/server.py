"""The local AWS as one process: what it is made of, its control path, its life and its end."""

from __future__ import annotations

import contextlib
import hmac
import importlib
import json
import logging
import os
import secrets
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
from moto.core.request import Request

from labkit.localaws import process
from labkit.localaws.activity import Activity
from labkit.localaws.call import Principal, ServiceLayer
from labkit.localaws.clock import Clock
from labkit.localaws.event_sources.pollers import EventSources
from labkit.localaws.function_urls import FunctionUrls
from labkit.localaws.functions.lookups import Functions
from labkit.localaws.gateway import Gateway
from labkit.localaws.http_server import Answer, LoopbackServer
from labkit.localaws.iam.identity import Identity
from labkit.localaws.invocation import Invocations
from labkit.localaws.lambda_parts import FunctionSessions, environments, function_policy
from labkit.localaws.mailbox import Mailbox
from labkit.localaws.telemetry import Telemetry

log = logging.getLogger(__name__)

REGION = "us-east-1"
DEFAULT_ACCOUNT_ID = "123456789012"

# Where AWS does more than moto: botocore's service name to the layer that adds it.
LAYERS: dict[str, str] = {
    "s3": "s3:S3Layer",
    "iam": "iam:IamLayer",
    "sts": "sts:StsLayer",
    "organizations": "organizations:OrganizationsLayer",
    "cognito-identity": "cognito_identity:CognitoIdentityLayer",
    "sns": "sns:SnsLayer",
    "events": "events:EventsLayer",
    "ses": "ses:SesLayer",
    "sqs": "sqs:SqsLayer",
    "lambda": "lambda_:LambdaLayer",
    "kinesis": "kinesis:KinesisLayer",
    "dynamodb": "dynamodb:DynamoDbLayer",
    "dynamodbstreams": "dynamodb_streams:DynamoDbStreamsLayer",
    "cloudwatch": "cloudwatch:CloudWatchLayer",
    "logs": "logs:LogsLayer",
}


class LocalAws:
    """Everything one local AWS consists of; other parts reach each other through it."""

    # The Lambda layer brings the control plane.
    functions: Functions

    def __init__(
        self,
        *,
        account_id: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        port: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.account_id = account_id or DEFAULT_ACCOUNT_ID
        self.region = REGION
        self.access_key_id = access_key_id or "AKIA" + _base32(16)
        self.secret_access_key = secret_access_key or secrets.token_urlsafe(30)
        self.folder = folder or process.runtime_dir()
        self.activity = Activity()
        self.clock = Clock(self.activity)
        self.gateway = Gateway(self)
        self._http = LoopbackServer(self._serve, port or 0)
        self.endpoint = f"http://127.0.0.1:{self._http.port}"
        self._clients: dict[tuple, Any] = {}
        self._clients_guard = threading.Lock()
        self._botocore = botocore.session.Session()
        self.stopping = threading.Event()
        self.last_used = time.monotonic()
        self._closers: list[Callable[[], None]] = []

        self.telemetry = Telemetry(self)
        self.mailbox = Mailbox(self.clock.now)
        self.identity = Identity(self)
        sessions = FunctionSessions(self)
        self.function_principal = sessions.principal
        self.environments = environments(self, sessions)
        self.on_close(self.environments.close)
        self.gateway.layers = {service: _load(where)(self) for service, where in LAYERS.items()}
        self.functions.on_changed.append(self._retire)
        # The first function made has the runtime get ready, so that its first call need not wait.
        self.functions.on_changed.append(self._prepare)
        self.functions.on_deleted.append(self._retire)
        self.identity.resource_policies.register("lambda", lambda arn: function_policy(self, arn))
        self.invocations = Invocations(self)
        FunctionUrls(self)
        self.event_sources = EventSources(self)
        self.gateway.control = self._control

    # -- for the parts -----------------------------------------------------------------------

    def lock(self, service: str, account_id: str | None = None) -> threading.RLock:
        """The lock around moto's state of one service in one account."""
        return self.gateway.lock(service, account_id or self.account_id)

    def layer(self, service: str) -> ServiceLayer:
        """The layer of one service."""
        return self.gateway.layers[service]

    def client(self, service: str, *, principal: Principal, region: str | None = None) -> Any:
        """A boto3-like client whose calls go through the front door as *principal*.

        No HTTP and no signature: this is one service calling another inside AWS.
        """
        key = (service, principal.arn, principal.source_arn, principal.account_id, region)
        with self._clients_guard:
            client = self._clients.get(key)
            if client is not None:
                return client
            client = self._botocore.create_client(
                service,
                region_name=region or self.region,
                endpoint_url=self.endpoint,
                aws_access_key_id="internal",
                aws_secret_access_key="internal",
                config=botocore.config.Config(
                    signature_version=botocore.UNSIGNED,
                    retries={"total_max_attempts": 1},
                    parameter_validation=False,
                    s3={"addressing_style": "path"},
                ),
            )
            signing_name = client.meta.service_model.signing_name
            where = region or self.region
            client.meta.events.register(
                "before-send",
                lambda request, **_: self.gateway.send(request, signing_name, where, principal),
            )
            if len(self._clients) > 500:
                self._clients.clear()
            self._clients[key] = client
            return client

    def _retire(self, function_arn: str, version: str | None) -> None:
        self.environments.retire(function_arn, version)

    def _prepare(self, *_: object) -> None:
        self.functions.on_changed.remove(self._prepare)
        self.environments.prepare()

    def on_close(self, close: Callable[[], None]) -> None:
        """Have *close* called when the local AWS ends, last registered first."""
        self._closers.append(close)

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer requests from now on."""
        threading.Thread(target=self._http.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        """End everything this local AWS started."""
        self.activity.close()
        for close in reversed(self._closers):
            with contextlib.suppress(Exception):
                close()
        self.clock.close()
        self._http.shutdown()
        self._http.server_close()

    def running(self) -> process.Running:
        """How to reach this local AWS."""
        return process.Running(
            self.endpoint,
            self.region,
            self.account_id,
            self.access_key_id,
            self.secret_access_key,
            os.getpid(),
        )

    def _serve(self, environ: dict[str, Any]) -> Answer:
        self.last_used = time.monotonic()
        return self.gateway(environ)

    # -- the control path: what a local AWS has and AWS has not -------------------------------

    def _control(self, path: str, request: Request) -> Answer:
        given = request.headers.get("X-Localaws-Key", "")
        if not hmac.compare_digest(given.encode(), self.secret_access_key.encode()):
            return 403, [("Content-Type", "text/plain")], b"the administrator's secret is needed"
        body = json.loads(request.get_data() or b"{}")
        action = getattr(self, f"_control_{path.replace('-', '_').replace('/', '_')}", None)
        if action is None:
            return 404, [("Content-Type", "text/plain")], f"no such path: {path}".encode()
        try:
            answer = action({**request.args.to_dict(), **body})
        except (ValueError, KeyError, LookupError) as problem:
            return 400, [("Content-Type", "text/plain")], str(problem).encode()
        return 200, [("Content-Type", "application/json")], json.dumps(answer).encode()

    def _control_status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "endpoint": self.endpoint,
            "account_id": self.account_id,
            "region": self.region,
            "now": self.clock.now(),
            "clock_ahead_seconds": self.clock.offset,
            "unfinished": self.activity.running(),
        }

    def _control_clock(self, body: dict[str, Any]) -> dict[str, Any]:
        fired: list[tuple[float, str]] = []
        if "advance" in body:
            fired = self.clock.advance(float(body["advance"]))
        return {
            "now": self.clock.now(),
            "ahead_seconds": self.clock.offset,
            "fired": fired,
            "due": self.clock.due()[:50],
        }

    def _control_settle(self, body: dict[str, Any]) -> dict[str, Any]:
        settled = self.activity.settle(float(body.get("timeout", 60)))
        return {
            "settled": settled,
            "unfinished": self.activity.running(),
            "due": self.clock.due()[:50],
            "now": self.clock.now(),
        }

    def _control_mailbox(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"mails": [mail.as_dict() for mail in self.mailbox.mails(body.get("to"))]}

    def _control_mailbox_clear(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"cleared": self.mailbox.clear()}

    def _control_timing(self, _: dict[str, Any]) -> dict[str, Any]:
        timing = list(self.gateway.timing)
        invokes = [seconds for operation, seconds in timing if operation == "Invoke"]
        return {
            "authorising_ms": statistics.median([s for _, s in timing] or [0.0]) * 1000,
            "authorising_invoke_ms": statistics.median(invokes or [0.0]) * 1000,
        }

    def _control_iam_decisions(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The latest decisions: ``since`` (number), ``denied_only``, ``principal``, ``limit``."""
        return self.identity.journal.decisions(**_known(body, since=int, denied_only=bool,
                                                        principal=str, limit=int))  # fmt: skip

    def _control_iam_explain(self, body: dict[str, Any]) -> dict[str, Any]:
        """One decision in full: of a ``number``, or of the latest denial."""
        return self.identity.journal.explain(**_known(body, number=int))

    def _control_iam_least_privilege(self, body: dict[str, Any]) -> dict[str, Any]:
        """The policy that would have been enough: ``principal``, ``since``, ``include_denied``."""
        return self.identity.journal.least_privilege(
            **_known(body, principal=str, since=int, include_denied=bool, exact=bool)
        )

    def _control_shutdown(self, _: dict[str, Any]) -> dict[str, Any]:
        self.stopping.set()
        return {"stopping": True}


def _known(body: dict[str, Any], **kinds: Callable[[Any], Any]) -> dict[str, Any]:
    """The settings of *body* that are known, each of its kind."""
    return {name: kind(body[name]) for name, kind in kinds.items() if body.get(name) is not None}


def _load(where: str) -> type[ServiceLayer]:
    module, name = where.split(":")
    return getattr(importlib.import_module(f"labkit.localaws.services.{module}"), name)


def _base32(length: int) -> str:
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(length))


def main() -> int:
    """Run the local AWS until told to end or idle for too long; the process's entry point."""
    settings = json.loads(sys.stdin.readline() or "{}")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.ERROR)
    idle_seconds = float(settings.pop("idle_minutes", process.DEFAULT_IDLE_MINUTES)) * 60
    try:
        aws = LocalAws(**settings)
    except OSError as problem:
        port = settings.get("port")
        print(json.dumps({"error": f"port {port} can't be used: {problem}"}), flush=True)
        return 1
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: aws.stopping.set())
    aws.start()
    state = process.state_path()
    partial = state.with_suffix(f".{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(aws.running().as_dict()), encoding="utf-8")
    partial.replace(state)
    print(json.dumps(aws.running().as_dict()), flush=True)
    # The starter has its answer; nobody reads this pipe any more.
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    while not aws.stopping.is_set():
        left = aws.last_used + idle_seconds - time.monotonic()
        if left <= 0 and not aws.activity.running():
            break
        aws.stopping.wait(max(left, 1.0))
    aws.close()
    with contextlib.suppress(OSError, ValueError):
        if json.loads(state.read_text(encoding="utf-8")).get("pid") == os.getpid():
            state.unlink()
    return 0


if __name__ == "__main__":
    code = main()
    # Daemon threads may still hold connections; nothing of theirs is worth waiting for.
    sys.stdout.flush()
    os._exit(code)

"""A local AWS with what tests of deliveries need: clients, queues to listen at, a web server."""

from __future__ import annotations

import io
import itertools
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from labkit.localaws import process

_NUMBERS = itertools.count(1)


class Wiring:
    """One running local AWS, seen from outside."""

    def __init__(self) -> None:
        self.running = process.ensure()
        self.account = self.running.account_id
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client of the administrator, which lets requests through unchecked."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.running.endpoint,
                region_name=self.running.region,
                aws_access_key_id=self.running.access_key_id,
                aws_secret_access_key=self.running.secret_access_key,
                config=botocore.config.Config(
                    parameter_validation=False, retries={"total_max_attempts": 1}
                ),
            )
        return self._clients[service]

    def name(self, stem: str) -> str:
        """A name that no other test has."""
        return f"{stem}-{next(_NUMBERS)}"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in this account."""
        return f"arn:aws:{service}:{self.running.region}:{self.account}:{resource}"

    def queue(self, stem: str = "queue", *allowed: str, **attributes: str) -> Queue:
        """A new queue that lets the *allowed* services send to it."""
        name = self.name(stem)
        if attributes.get("FifoQueue") == "true":
            name += ".fifo"
        url = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        queue = Queue(self, url, self.arn("sqs", name))
        if allowed:
            queue.allow(*allowed)
        return queue

    def settle(self) -> None:
        """Wait until every delivery under way has ended."""
        assert self.running.control("settle", {"timeout": 30})["settled"]

    def advance(self, **span: float) -> dict[str, Any]:
        """Move the lab's clock forward by weeks, days, hours, minutes or seconds."""
        factors = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
        seconds = sum(factors[unit] * number for unit, number in span.items())
        return self.running.control("clock", {"advance": seconds})

    def now(self) -> float:
        """Lab time, epoch seconds."""
        return self.running.control("clock")["now"]

    def mails(self, to: str) -> list[dict[str, Any]]:
        """The mails to one address, oldest first."""
        self.settle()
        return self.running.control("mailbox", {"to": to})["mails"]

    def role(self, service: str, *actions: str) -> str:
        """The ARN of a new role that *service* may assume, and that may do *actions*."""
        name, iam = self.name("role"), self.client("iam")
        trust = _policy(Principal={"Service": service}, Action="sts:AssumeRole")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if actions:
            iam.put_role_policy(
                RoleName=name,
                PolicyName="p",
                PolicyDocument=_policy(Action=list(actions), Resource="*"),
            )
        return arn

    def metric(self, namespace: str, name: str, **dimensions: str) -> float:
        """The sum of a metric over the last hour."""
        self.settle()
        now = self.now()
        points = self.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - 3600,
            EndTime=now + 60,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)


class Queue:
    """A queue to listen at."""

    def __init__(self, wiring: Wiring, url: str, arn: str) -> None:
        self._wiring = wiring
        self._sqs = wiring.client("sqs")
        self.url, self.arn = url, arn

    def allow(self, *services: str, condition: dict[str, Any] | None = None) -> None:
        """Let AWS services send to this queue, or with none, nobody."""
        document = ""
        if services:
            more = {"Condition": condition} if condition else {}
            document = _policy(
                Principal={"Service": list(services)},
                Action="sqs:SendMessage",
                Resource=self.arn,
                **more,
            )
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": document})

    def messages(self) -> list[dict[str, Any]]:
        """All messages that are there once everything under way is done; they are taken off."""
        self._wiring.settle()
        found: list[dict[str, Any]] = []
        while True:
            batch = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=10,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not batch:
                return found
            for message in batch:
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            found += batch

    def texts(self) -> list[str]:
        """The messages' bodies."""
        return [message["Body"] for message in self.messages()]

    def bodies(self) -> list[Any]:
        """The messages' bodies, which are JSON."""
        return [json.loads(text) for text in self.texts()]


class Hook:
    """A web server on loopback that takes what SNS posts; ``statuses`` are answered first."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], str]] = []
        self.statuses: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                hook.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?of=lab"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def wiring() -> Wiring:
    """The local AWS of this test session."""
    return Wiring()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A web server of its own."""
    hook = Hook()
    yield hook
    hook.close()


def refusal(call: Any, **params: Any) -> dict[str, Any]:
    """The error that *call* is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response["Error"]


def _policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


class Function:
    """A function that logs every event it gets."""

    CODE = "import json\ndef handler(event, context):\n    print('EVENT ' + json.dumps(event))\n"

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.client = wiring.client("lambda")
        self.name = wiring.name("function")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("app.py", self.CODE)
        role = wiring.role("lambda.amazonaws.com", "logs:*")
        self.arn = self.client.create_function(
            FunctionName=self.name,
            Runtime="python3.12",
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": archive.getvalue()},
        )["FunctionArn"]
        self.client.get_waiter("function_active_v2").wait(FunctionName=self.name)

    def allow(self, service: str, source_arn: str) -> None:
        """Let a service invoke this function on behalf of a source."""
        self.client.add_permission(
            FunctionName=self.name,
            StatementId=self._wiring.name("statement"),
            Action="lambda:InvokeFunction",
            Principal=service,
            SourceArn=source_arn,
        )

    def events(self) -> list[Any]:
        """Every event the function got, oldest first."""
        self._wiring.settle()
        logs, group = self._wiring.client("logs"), f"/aws/lambda/{self.name}"
        try:
            found = logs.filter_log_events(logGroupName=group, filterPattern="EVENT")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        lines = [one["message"].partition("EVENT ")[2] for one in found]
        return [json.loads(line) for line in lines if line]

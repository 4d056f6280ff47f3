"""How Lambda's parts are joined to the rest of the local AWS.

The control plane, the runtime and the invocation model know nothing of one another's neighbours;
here each gets what it needs: S3 for code, IAM for roles, telemetry for logs.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import moto.backends
from botocore.exceptions import ClientError
from moto.core.request import Request

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.functions.lookups import Functions
from labkit.localaws.functions.store import Hooks
from labkit.localaws.http_server import Answer
from labkit.localaws.runtime.environments import Environments
from labkit.localaws.runtime.version import FunctionVersion

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

CODE_PATH = "/_code/"
SERVICE = "lambda.amazonaws.com"


class FunctionSessions:
    """The sessions Lambda holds of functions' roles: one per role and function, kept fresh."""

    # Renewed when this much of an hour-long session is left; environments are replaced with it.
    _RENEW_SECONDS = 900.0

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._guard = threading.Lock()
        self._sessions: dict[tuple[str, str], Any] = {}

    def of(self, version: FunctionVersion) -> Any:
        """Credentials of the function's role; raises AwsError when Lambda may not assume it."""
        key = (version.role_arn, version.function_name)
        with self._guard:
            session = self._sessions.get(key)
            if session is not None:
                if session.expiration - self._aws.clock.now() > self._RENEW_SECONDS:
                    return session
        session = self._aws.identity.assume_role_for_service(
            version.role_arn, SERVICE, version.function_name
        )
        with self._guard:
            self._sessions[key] = session
        return session


class CodePages:
    """Serves packages at the addresses GetFunction and GetLayerVersion tell."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._packages: dict[str, Any] = {}

    def url(self, arn: str, package: Any) -> str:
        """A loopback address, hard to guess, where the package can be had."""
        token = secrets.token_urlsafe(24)
        if len(self._packages) > 1000:
            self._packages.clear()
        self._packages[token] = package
        return f"{self._endpoint}{CODE_PATH}{token}"

    def page(self, request: Request) -> Answer:
        """The zip file, or 403 for an address never given out."""
        package = self._packages.get(request.path.removeprefix(CODE_PATH))
        if package is None:
            return 403, [("Content-Type", "application/xml")], b"<Error><Code>AccessDenied</Code></Error>"
        return 200, [("Content-Type", "application/zip")], package.archive.read()


def hooks(aws: LocalAws, pages: CodePages) -> Hooks:
    """What the control plane asks of the rest."""
    return Hooks(
        now=aws.clock.now,
        defer=lambda work: aws.activity.submit(work, name="function state"),
        can_assume=lambda role: aws.identity.service_can_assume(role, SERVICE),
        role_allows=lambda role, action, resource: aws.identity.role_allows(
            role, action, resource
        ),
        fetch_object=lambda bucket, key, version: _fetch(aws, bucket, key, version),
        code_url=pages.url,
        source=lambda arn: _source(aws, arn),
        function_url=lambda url_id, region: f"{aws.endpoint}/_function-url/{url_id}/",
        provision=lambda version, count: aws.environments.warm(version, count),
    )


def functions(aws: LocalAws) -> Functions:
    """The control plane, serving packages and telling the runtime of changes."""
    pages = CodePages(aws.endpoint)
    aws.gateway.pages[CODE_PATH] = pages.page
    made = Functions(hooks(aws, pages))
    made.on_changed.append(lambda arn, version: aws.environments.retire(arn))
    made.on_deleted.append(lambda arn, version: aws.environments.retire(arn))
    return made


def environments(aws: LocalAws) -> Environments:
    """The runtime, with the roles' credentials and a place for logs."""

    def credentials(version: FunctionVersion) -> Mapping[str, Any]:
        session = aws.sessions.of(version)
        return {
            "access_key_id": session.access_key_id,
            "secret_access_key": session.secret_access_key,
            "session_token": session.session_token,
            "expiration": session.expiration,
        }

    def on_log(environment: Any, request_id: str, events: list[tuple[int, str]]) -> None:
        version = environment.version
        aws.telemetry.write_logs(
            version.account_id,
            version.region,
            version.log_group_name,
            environment.log_stream,
            events,
            aws.function_principal(version),
        )

    return Environments(
        aws.folder / "lambda",
        aws.endpoint,
        aws.region,
        now=aws.clock.now,
        credentials=credentials,
        on_log=on_log,
    )


def _fetch(aws: LocalAws, bucket: str, key: str, version: str | None) -> bytes:
    """An object with code; Lambda reads it for the caller of CreateFunction."""
    client = aws.client("s3", principal=Principal.service(SERVICE, source_account=aws.account_id))
    where = {"Bucket": bucket, "Key": key}
    if version:
        where["VersionId"] = version
    try:
        return client.get_object(**where)["Body"].read()
    except ClientError as problem:
        error = problem.response["Error"]
        status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
        raise AwsError(error["Code"], error["Message"], status) from problem


def _source(aws: LocalAws, arn: str) -> Mapping[str, Any]:
    """What an event source mapping must know of its source; raises when it is not there."""
    service = arn.split(":")[2]
    if service == "sqs":
        queue, _ = aws.layer("sqs").queue(arn)  # type: ignore[attr-defined]
        return {"VisibilityTimeout": int(queue.visibility_timeout), "FifoQueue": queue.fifo_queue}
    if service == "kinesis":
        aws.layer("kinesis").stream(arn.split("/consumer/")[0])  # type: ignore[attr-defined]
        return {}
    if service == "dynamodb":
        _, _, _, region, account_id, rest = arn.split(":", 5)
        tables = moto.backends.get_backend("dynamodb")[account_id][region].tables
        table = tables.get(rest.split("/")[1])
        if table is None or table.latest_stream_label != rest.split("/")[-1]:
            raise AwsError("ResourceNotFoundException", f"Stream not found: {arn}", 404)
    return {}

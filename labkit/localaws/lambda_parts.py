"""How the Lambda runtime is joined to the rest of the local AWS: roles' sessions, and logs."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Principal
from labkit.localaws.runtime.environments import Environments
from labkit.localaws.runtime.version import FunctionVersion
from labkit.localaws.services.lambda_hooks import role_principal

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

SERVICE = "lambda.amazonaws.com"
SESSION_SECONDS = 12 * 3600


class FunctionSessions:
    """The sessions Lambda holds of functions' roles: one per role and function, kept fresh."""

    # Renewed when this much is left; environments are replaced a little before they expire.
    _RENEW_SECONDS = 3600.0

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._guard = threading.Lock()
        self._sessions: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = {}

    def credentials(self, version: FunctionVersion) -> Mapping[str, Any]:
        """Credentials of the function's role, in the shape of STS's Credentials.

        Raises AwsError when Lambda may not assume the role.
        """
        key = (version.role_arn, version.function_name)
        now = self._aws.clock.now()
        with self._guard:
            known = self._sessions.get(key)
            if known is not None and known[0] - now > self._RENEW_SECONDS:
                return known[1]
        session = self._aws.identity.assume_role_for_service(
            version.role_arn, SERVICE, version.function_name, SESSION_SECONDS
        )
        with self._guard:
            self._sessions[key] = (now + SESSION_SECONDS, session)
        return session

    def principal(self, version: FunctionVersion) -> Principal:
        """The function's role as the caller of what Lambda does in the function's name."""
        return role_principal(version.role_arn, version.function_name)


def environments(aws: LocalAws, sessions: FunctionSessions) -> Environments:
    """The runtime, with the roles' credentials and a place for logs."""

    def on_log(environment: Any, request_id: str, events: list[tuple[int, str]]) -> None:
        version = environment.version
        aws.telemetry.write_logs(
            version.account_id,
            version.region,
            environment.log_group,
            environment.log_stream,
            events,
            sessions.principal(version),
        )

    return Environments(
        aws.folder / "lambda",
        aws.endpoint,
        aws.region,
        now=aws.clock.now,
        real_now=aws.clock.real_now,
        credentials=sessions.credentials,
        on_log=on_log,
    )


def function_policy(aws: LocalAws, arn: str) -> str | None:
    """The resource policy of a function, version, alias or layer version, as JSON text."""
    parts = arn.split(":")
    if parts[5] == "layer":
        document = aws.functions.layer_policy(arn)
    else:
        qualifier = parts[7] if len(parts) > 7 else None
        document = aws.functions.resource_policy(parts[4], parts[3], parts[6], qualifier)
    return json.dumps(document) if document else None

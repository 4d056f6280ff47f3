"""What a call asks IAM: actions, full ARNs, and the condition keys of the request.

:func:`asks_of` is complete for the services the lab teaches (their readers are in
:mod:`labkit.localaws.iam.asks`); for any other it finds action and resources by AWS's list.
:func:`request_context` has the global condition keys. Follows the IAM User Guide, "AWS global
condition context keys", and the Service Authorization Reference.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from labkit.localaws.call import Call, Principal
from labkit.localaws.iam.asks.ask import Ask, Facts, Reader

# botocore's service name -> module and function of its reader.
_READERS = {
    "s3": "s3:read",
    "dynamodb": "dynamodb:read",
    "dynamodbstreams": "dynamodb:read",
    "lambda": "functions:read",
    "sns": "messaging:read_sns",
    "sqs": "messaging:read_sqs",
    "kinesis": "messaging:read_kinesis",
    "logs": "observing:read_logs",
    "cloudwatch": "observing:read_cloudwatch",
    "events": "observing:read_events",
    "kms": "secrets:read_kms",
    "secretsmanager": "secrets:read_secretsmanager",
    "ssm": "secrets:read_ssm",
    "iam": "accounts:read_iam",
    "sts": "accounts:read_sts",
    "ses": "accounts:read_ses",
    "sesv2": "accounts:read_ses",
    "apigateway": "accounts:read_apigateway",
    "apigatewayv2": "accounts:read_apigateway",
}

# Services that take roles for a service principal not called like themselves.
_PASSED_TO = {
    "stepfunctions": "states.amazonaws.com",
    "ecs": "ecs-tasks.amazonaws.com",
    "apigatewayv2": "apigateway.amazonaws.com",
    "cognito-idp": "cognito-idp.amazonaws.com",
    "resourcegroupstaggingapi": "tag.amazonaws.com",
    "sesv2": "ses.amazonaws.com",
    "logs": "logs.amazonaws.com",
    "cloudwatch": "monitoring.amazonaws.com",
}
_PASSING_VERBS = ("Create", "Update", "Put", "Register", "Start", "Run", "Set", "Add", "Publish")
_ROLE_NAMES = (
    "role", "rolearn", "executionrolearn", "servicerole", "servicerolearn", "taskrolearn",
    "iamrolearn", "cloudwatchrolearn", "credentials", "cloudwatchlogsrolearn",
    "automationassumerole", "deliverystreamrolearn",
)  # fmt: skip


# The key that SNS's default topic policies ask for: alarms set it; S3 and EventBridge do not,
# which is why a topic needs a policy of its own for them.
_NAMES_SOURCE_OWNER = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")


@cache
def _reader(service: str) -> Reader:
    module, _, name = _READERS.get(service, "generic:read").partition(":")
    return getattr(importlib.import_module(f"labkit.localaws.iam.asks.{module}"), name)


def asks_of(call: Call, facts: Facts) -> list[Ask]:
    """Everything *call* must be allowed to do; empty for calls that need no permission."""
    asks = list(_reader(call.service)(call, facts))
    asks.extend(_passed_roles(call))
    return asks


def _passed_roles(call: Call) -> Iterator[Ask]:
    """``iam:PassRole`` for each role a call hands to the service.

    Follows the IAM User Guide, "Granting a user permissions to pass a role to an AWS service".
    """
    if call.service in ("iam", "sts", "s3") or not call.operation.startswith(_PASSING_VERBS):
        return
    service = _PASSED_TO.get(call.service, f"{call.service}.amazonaws.com")
    seen = set()
    for role in _roles_in(call.params, 0):
        if role not in seen:
            seen.add(role)
            yield Ask("iam:PassRole", role, {"iam:passedtoservice": service})


def _roles_in(value: Any, depth: int) -> Iterator[str]:
    if depth > 6:
        return
    if isinstance(value, Mapping):
        for name, entry in value.items():
            if isinstance(entry, str):
                plain = str(name).replace("_", "").lower()
                if plain in _ROLE_NAMES and entry.startswith("arn:") and ":role/" in entry:
                    yield entry
            else:
                yield from _roles_in(entry, depth + 1)
    elif isinstance(value, list):
        for entry in value:
            yield from _roles_in(entry, depth + 1)


class RequestContext(dict):
    """Condition keys by lower-case name; some are looked up when a policy first reads them.

    ``later`` maps the beginning of a key to what finds the keys that begin so.
    """

    def __init__(
        self,
        known: Mapping[str, Any],
        later: Mapping[str, Callable[[], Mapping[str, Any]]],
    ) -> None:
        super().__init__(known)
        self.later = dict(later)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of *key*, looked up first when it is one of those."""
        value = super().get(key)
        if value is not None or not self.later:
            return default if value is None else value
        for beginning in list(self.later):
            if key.startswith(beginning):
                find = self.later.pop(beginning)
                for name, found in find().items():
                    self.setdefault(name, found)
                return super().get(key, default)
        return default

    def complete(self) -> dict[str, Any]:
        """All keys, looked-up ones included."""
        for beginning in list(self.later):
            self.get(beginning)
        return dict(self)


def request_context(call: Call, lab_now: float) -> dict[str, Any]:
    """The global condition keys that the request itself sets (not its principal or resource)."""
    request = call.request
    context: dict[str, Any] = {
        "aws:requestedregion": call.region,
        "aws:securetransport": "true" if call.iam_context_secure else "false",
        "aws:currenttime": datetime.fromtimestamp(lab_now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:epochtime": str(int(lab_now)),
    }
    # A request that a service makes itself has no address, agent or page of a client.
    if call.principal.kind != "service":
        context["aws:sourceip"] = request.remote_addr or "127.0.0.1"
        agent = request.headers.get("User-Agent")
        if agent:
            context["aws:useragent"] = agent
        referer = request.headers.get("Referer")
        if referer:
            context["aws:referer"] = referer
        context["aws:viaawsservice"] = "false"
        context["aws:principalisawsservice"] = "false"
    return context


def service_context(principal: Principal) -> dict[str, Any]:
    """The condition keys of an AWS service acting for a resource."""
    context: dict[str, Any] = {
        "aws:principalisawsservice": "true",
        "aws:principalservicename": principal.name,
        "aws:principalservicenameslist": (principal.name,),
    }
    if principal.source_arn:
        context["aws:sourcearn"] = principal.source_arn
    if principal.source_account:
        context["aws:sourceaccount"] = principal.source_account
        # What SNS's default topic policies are written with; only CloudWatch still sends it, so
        # that S3 and EventBridge need a statement of their own.
        if principal.name == "cloudwatch.amazonaws.com":
            context["aws:sourceowner"] = principal.source_account
    return context

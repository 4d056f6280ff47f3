"""The answer to a call that is not allowed: each service's error code, status and AWS's wording.

Follows the IAM User Guide, "Troubleshoot access denied error messages", and what the services are
known to answer where they differ: SNS and SQS write the action in their own way, S3 quotes the
ARN, SES has a sentence of its own, EC2 encodes the details.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.localaws.call import AwsError, Call
from labkit.localaws.iam import auth_errors
from labkit.localaws.iam.asks.ask import Ask
from labkit.localaws.iam.evaluation import (
    BOUNDARY,
    EXPLICIT_DENY,
    IDENTITY,
    RESOURCE,
    SESSION,
    TRUST,
    Decision,
)

_ARTICLES = {
    IDENTITY: "an identity-based policy",
    RESOURCE: "a resource-based policy",
    BOUNDARY: "a permissions boundary",
    SESSION: "a session policy",
    TRUST: "the role trust policy",
}
# Services whose denials have another code or status than their protocol's.
_CODES = {"sns": ("AuthorizationError", 403)}
_ACTION_WRITTEN: dict[str, Callable[[str], str]] = {
    "sns": lambda action: "SNS:" + action.split(":", 1)[1],
    "sqs": str.lower,
}


def denied(
    call: Call, ask: Ask, decision: Decision, *, encode: Callable[[], str] | None = None
) -> AwsError:
    """The error *call* ends with because *ask* was decided so.

    ``encode`` gives the encoded details for services that hide them (EC2).
    """
    family = auth_errors.family(call)
    message = sentence(call, ask, decision)
    if call.service == "ec2":
        message = "You are not authorized to perform this operation. " + message
        if encode is not None:
            message += f" Encoded authorization failure message: {encode()}"
        return AwsError("UnauthorizedOperation", message, 403)
    if call.service in _CODES:
        code, status = _CODES[call.service]
        return AwsError(code, message, status)
    if family in (auth_errors.S3, auth_errors.QUERY):
        return AwsError("AccessDenied", message, 403)
    return AwsError("AccessDeniedException", message, 403 if family == auth_errors.REST else 400)


def sentence(call: Call, ask: Ask, decision: Decision) -> str:
    """AWS's sentence for a denied *ask*."""
    service = ask.action.split(":", 1)[0]
    if call.principal.kind == "anonymous" and call.service == "s3":
        return "Access Denied"
    who = call.principal.arn
    action = ask.action
    if service == call.service and service in _ACTION_WRITTEN:
        action = _ACTION_WRITTEN[service](action)
    resource = ask.shown or ask.resource
    if service == "ses":
        return f"User `{who}' is not authorized to perform `{action}' on resource `{ask.resource}'"
    where = ""
    if resource not in ("*", "arn:aws:s3:::*"):
        where = f' on resource: "{resource}"' if service == "s3" else f" on resource: {resource}"
    if decision.by == TRUST or (service == "sts" and ask.action == "sts:AssumeRole"):
        return f"User: {who} is not authorized to perform: {action}{where}"
    return f"User: {who} is not authorized to perform: {action}{where} {reason(decision, action)}"


def reason(decision: Decision, action: str) -> str:
    """The last part of AWS's sentence: which kind of policy denied, or did not allow."""
    if decision.outcome == EXPLICIT_DENY:
        return f"with an explicit deny in {_ARTICLES[decision.by]}"
    return f"because no {decision.by} allows the {action} action"

"""What every CloudWatch Logs operation needs of a request: checked members, group, stream, page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from labkit.localaws import constraints
from labkit.localaws.call import AwsError, Call
from labkit.localaws.log_groups import find_group
from labkit.localaws.protocol import operation_model

# Log events themselves are checked where they come in: one by one, and fast.
_RULES = constraints.Rules(skip=frozenset({"InputLogEvents"}))
_LONGEST_NAME = 512


def invalid(message: str) -> AwsError:
    """The service's answer to a parameter it doesn't take."""
    return AwsError("InvalidParameterException", message)


def check(call: Call) -> Mapping[str, Any]:
    """The call's parameters, when they satisfy the model's constraints."""
    params = call.params
    for name in ("logGroupName", "logStreamName"):
        if len(params.get(name) or "") > _LONGEST_NAME:
            raise invalid(
                "Invalid LogGroup or LogStream, both must have length less than or equal to 512."
            )
    model = operation_model(call.service, call.operation)
    assert model is not None
    found = list(constraints.violations(model.input_shape, params, _RULES))
    if found:
        raise invalid(constraints.message(found))
    return params


def group_of(call: Call) -> Any:
    """The log group a call names or identifies; raises when there is none."""
    params = call.params
    name, identifier = params.get("logGroupName"), params.get("logGroupIdentifier")
    if name and identifier:
        raise AwsError(
            "ValidationException",
            "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
        )
    if not name and not identifier:
        raise invalid("Either logGroupName or logGroupIdentifier must be provided.")
    return find_group(call.account_id, call.region, name or identifier)


def token(**state: Any) -> str:
    """A page token that holds *state*."""
    return base64.urlsafe_b64encode(json.dumps(state).encode()).decode()


def read_token(text: str | None) -> dict[str, Any]:
    """The state of a page token, empty without one; raises for a token nobody gave out."""
    if not text:
        return {}
    try:
        state = json.loads(base64.urlsafe_b64decode(text))
    except ValueError as problem:
        raise invalid("The specified nextToken is invalid.") from problem
    if not isinstance(state, dict):
        raise invalid("The specified nextToken is invalid.")
    return state

"""What S3 checks before it takes a bucket policy, and the sentence of its ``MalformedPolicy``.

Follows the Amazon S3 User Guide, "Bucket policies for Amazon S3", and the S3 API Reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from labkit.localaws.iam.policy import LATEST, OLD, statement_list
from labkit.localaws.iam.validation import (
    ELEMENTS,
    SERVICE_NAME,
    conditions_are_sound,
    entries_of,
    is_aws_principal,
    sid_problem,
)


def problem(text: str, bucket: str) -> str | None:
    """Why S3 would not take *text* as the policy of *bucket*, or None."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return "Policies must be valid JSON and the first byte must be '{'"
    for name in document:
        if name not in ("Version", "Id", "Statement"):
            return f"Unknown field {name}"
    if document.get("Version", OLD) not in (LATEST, OLD):
        return "The policy must contain a valid version string"
    statements = statement_list(document)
    if not statements:
        return "Could not parse the policy: Statement is empty!"
    for statement in statements:
        message = _bucket_statement_problem(statement, bucket)
        if message:
            return message
    if sid_problem(statements):
        return "The Statement Ids in the policy are not unique"
    return None


def _bucket_statement_problem(statement: Any, bucket: str) -> str | None:
    if not isinstance(statement, dict):
        return "Statement is not an object"
    for name in statement:
        if name not in ELEMENTS:
            return f"Unknown field {name}"
    if statement.get("Effect") not in ("Allow", "Deny"):
        effect = statement.get("Effect")
        return f"Invalid effect: {effect}" if effect else "Missing required field Effect"
    if "Principal" not in statement and "NotPrincipal" not in statement:
        return "Missing required field Principal"
    if not _values_are_texts(statement):
        return "Policy has invalid action" if _has("Action", statement) else (
            "Policy has invalid resource"
        )  # fmt: skip
    actions = entries_of(statement, "Action", "NotAction")
    if not actions:
        return "Missing required field Action"
    if any(action != "*" and not action.lower().startswith("s3:") for action in actions):
        return "Policy has invalid action"
    resources = entries_of(statement, "Resource", "NotResource")
    if not resources:
        return "Missing required field Resource"
    own = re.compile(rf"arn:aws:s3:::{re.escape(bucket)}(/.*)?", re.DOTALL)
    if any(resource != "*" and not own.fullmatch(resource) for resource in resources):
        return "Policy has invalid resource"
    message = _bucket_principal_problem(statement.get("Principal", statement.get("NotPrincipal")))
    if message:
        return message
    return "Policy has an invalid condition key" if not conditions_are_sound(statement) else None


def _has(name: str, statement: Mapping[str, Any]) -> bool:
    return any(
        not isinstance(entry, str)
        for key in (name, f"Not{name}")
        for entry in _listed(statement.get(key, []))
    )


def _values_are_texts(statement: Mapping[str, Any]) -> bool:
    return not _has("Action", statement) and not _has("Resource", statement)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _bucket_principal_problem(element: Any) -> str | None:
    if element == "*":
        return None
    if not isinstance(element, dict) or not element:
        return "Invalid policy syntax."
    for kind, names in element.items():
        for name in _listed(names):
            good = isinstance(name, str) and (
                (kind == "AWS" and is_aws_principal(name))
                or (kind == "Service" and SERVICE_NAME.fullmatch(name))
                or kind in ("Federated", "CanonicalUser")
            )
            if not good:
                return "Invalid principal in policy"
    return None

"""What Amazon SQS refuses about a request, in its own words.

Follows the Amazon SQS API Reference, "SendMessage", "CreateQueue" and the batch actions.
"""

from __future__ import annotations

import json
import re
from typing import Any

from labkit.localaws.call import AwsError

_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_DATA_TYPES = ("String", "Number", "Binary")
# An account, or somebody of IAM or STS; also the id that is left of a deleted one.
_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:aws[a-z-]*:(iam|sts)::(\d{12}|cloudfront):.+|A[A-Z0-9]{15,}"
)
# XML's character set without the control characters SQS refuses.
_BAD_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}


def parameter_error(value: Any, name: str, reason: str) -> AwsError:
    """InvalidParameterValue in the form SQS uses for most of them."""
    return AwsError(
        "InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}"
    )


def check_body(body: Any) -> None:
    """Raises MissingParameter for no body, InvalidMessageContents for bad characters."""
    if body is None:
        raise AwsError("MissingParameter", "The request must contain the parameter MessageBody.")
    if body == "":
        raise AwsError(
            "InvalidParameterValue",
            "One or more parameters are invalid. Reason: Message must be longer than or equal to 1 "
            "bytes.",
        )
    if _BAD_CHARACTERS.search(body):
        raise AwsError(
            "InvalidMessageContents",
            "Invalid characters found. Valid unicode characters are #x9 | "
            "#xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
        )


def check_message_attributes(attributes: dict[str, Any]) -> None:
    """Raises InvalidParameterValue for more than ten, or for a bad name, type or value."""
    if len(attributes) > 10:
        raise AwsError(
            "InvalidParameterValue",
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10].",
        )
    for name, attribute in attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
            raise AwsError(
                "InvalidParameterValue",
                "Message (user) attribute name can contain upper and lower case score "
                "alphanumeric characters, underscores, hyphens and periods",
            )
        kind = attribute.get("DataType") or ""
        if not kind:
            raise AwsError(
                "InvalidParameterValue",
                f"The message attribute '{name}' must contain a non-empty message attribute type.",
            )
        if kind.split(".")[0] not in _DATA_TYPES:
            raise AwsError(
                "InvalidParameterValue",
                f"The message attribute '{name}' has an invalid message attribute type, the set "
                "of supported type prefixes is Binary, Number, and String.",
            )
        value = attribute.get("StringValue")
        if kind.split(".")[0] == "Binary":
            value = attribute.get("BinaryValue")
        if not value:
            raise AwsError(
                "InvalidParameterValue",
                f"The message attribute '{name}' must contain a non-empty message attribute "
                f"value for message attribute type '{kind}'.",
            )
        if kind.split(".")[0] == "Number" and not _is_number(value):
            raise AwsError(
                "InvalidParameterValue",
                f"Can't cast the value of message (user) attribute '{name}' to a number.",
            )


def check_batch(entries: list[dict[str, Any]], kind: str) -> None:
    """Raises what SQS raises for an empty, too long or ambiguous batch."""
    if not entries:
        raise AwsError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > 10:
        raise AwsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are 10. You have sent {len(entries)}.",
        )
    seen: set[str] = set()
    for entry in entries:
        entry_id = entry.get("Id") or ""
        if not _ENTRY_ID.fullmatch(entry_id):
            raise AwsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and "
                "underscores. It can be at most 80 letters long.",
            )
        if entry_id in seen:
            raise AwsError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)


def check_attribute_ranges(attributes: dict[str, Any]) -> None:
    """Raises InvalidAttributeValue for a queue attribute out of its range."""
    for name, (low, high) in _RANGES.items():
        if name not in attributes:
            continue
        try:
            inside = low <= int(attributes[name]) <= high
        except ValueError:
            inside = False
        if not inside:
            raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def check_policy(text: str) -> None:
    """Raises InvalidAttributeValue for a queue policy that names what can be no principal."""
    if not text:
        return
    try:
        statements = json.loads(text).get("Statement", [])
    except (ValueError, AttributeError):
        raise _bad_policy() from None
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal") if isinstance(statement, dict) else None
        named = principal.get("AWS", []) if isinstance(principal, dict) else []
        for one in [named] if isinstance(named, str) else named:
            if not _PRINCIPAL.fullmatch(str(one)):
                raise _bad_policy()


def _bad_policy() -> AwsError:
    return AwsError("InvalidAttributeValue", "Invalid value for the parameter Policy.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

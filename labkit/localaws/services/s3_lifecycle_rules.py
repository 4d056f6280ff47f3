"""Lifecycle rules: what S3 accepts, which objects they are for, and when their time has come.

Follows the S3 User Guide, "Managing the lifecycle of objects", and the S3 API's
PutBucketLifecycleConfiguration.
"""

from __future__ import annotations

import base64
import copy
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labkit.localaws.call import AwsError

DAY = 86_400.0
# Of these, objects must have spent a month in their class before.
_A_MONTH_FIRST = ("STANDARD_IA", "ONEZONE_IA")
_ACTIONS = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransitions",
    "AbortIncompleteMultipartUpload",
)


def read_rules(given: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The configuration's rules, checked, each with an ID; raises AwsError as S3 does."""
    rules = copy.deepcopy((given or {}).get("Rules") or [])
    if not rules:
        raise malformed()
    for rule in rules:
        _check(rule)
        rule["ID"] = rule.get("ID") or base64.b64encode(uuid.uuid4().hex.encode() + b"00").decode()
    ids = [rule["ID"] for rule in rules]
    if len(set(ids)) < len(ids):
        raise AwsError(
            "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule"
        )
    return rules


def malformed() -> AwsError:
    """The error for a configuration that the schema does not allow."""
    return AwsError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


@dataclass(frozen=True)
class Facts:
    """What rules ask of an object."""

    key: str
    size: int
    tags: Mapping[str, str]


def applies(rule: Mapping[str, Any], facts: Facts) -> bool:
    """Whether an enabled rule is for this object."""
    if rule["Status"] != "Enabled":
        return False
    given = rule.get("Filter") or {}
    asked = {**given, **(given.get("And") or {})}
    prefix = asked.get("Prefix") or rule.get("Prefix") or ""
    tags = list(asked.get("Tags") or ())
    if asked.get("Tag"):
        tags.append(asked["Tag"])
    return (
        facts.key.startswith(prefix)
        and all(facts.tags.get(tag["Key"]) == tag.get("Value", "") for tag in tags)
        and facts.size > asked.get("ObjectSizeGreaterThan", -1)
        and facts.size < asked.get("ObjectSizeLessThan", math.inf)
    )


def due_at(action: Mapping[str, Any], since: float, days: str = "Days") -> float | None:
    """When an action is due for an object that came (or became noncurrent) at *since*.

    Days are counted whole: the midnight, UTC, after that many days have passed.
    """
    if action.get(days) is not None:
        return math.ceil((since + action[days] * DAY) / DAY) * DAY
    if action.get("Date") is not None:
        return epoch(action["Date"])
    return None


def expiration_of(
    rules: list[dict[str, Any]], facts: Facts, since: float
) -> tuple[float, str] | None:
    """When the first rule expires a current object, and that rule's ID."""
    found = [
        (due, rule["ID"])
        for rule in rules
        if applies(rule, facts) and (due := due_at(rule.get("Expiration") or {}, since)) is not None
    ]
    return min(found, default=None)


def epoch(value: Any) -> float:
    """A date of the API as epoch seconds."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        return value.timestamp()
    return float(value)


def _check(rule: dict[str, Any]) -> None:
    if rule.get("Status") not in ("Enabled", "Disabled"):
        raise malformed()
    if rule.get("Filter") is None and rule.get("Prefix") is None:
        raise malformed()
    if rule.get("Filter") is not None and rule.get("Prefix") is not None:
        raise malformed()
    if len(rule.get("ID") or "") > 255:
        raise AwsError("InvalidArgument", "ID length should not exceed allowed limit of 255")
    _check_filter(rule.get("Filter") or {})
    noncurrent = rule.get("NoncurrentVersionExpiration")
    if noncurrent is not None and noncurrent.get("NoncurrentDays") is None:
        raise malformed()
    if not any(rule.get(action) for action in _ACTIONS):
        raise AwsError("InvalidRequest", "At least one action needs to be specified in a rule")
    expiration = rule.get("Expiration") or {}
    if len(expiration) > 1:
        raise malformed()
    _check_moment("Expiration", expiration)
    _check_transitions(rule, expiration)


def _check_filter(given: Mapping[str, Any]) -> None:
    # One predicate stands alone; two or more stand inside And.
    if len(given) > 1:
        raise malformed()
    both = given.get("And")
    if both is not None:
        tags = both.get("Tags") or []
        if len(both) - ("Tags" in both) + len(tags) < 2:
            raise malformed()
        if len({tag["Key"] for tag in tags}) < len(tags):
            raise AwsError("InvalidRequest", "Duplicate Tag Keys are not allowed.")


def _check_moment(action: str, given: Mapping[str, Any]) -> None:
    if given.get("Days") is not None and given["Days"] <= 0:
        raise AwsError(
            "InvalidArgument",
            f"'Days' for {action} action must be a positive integer",
            ArgumentName="Days",
            ArgumentValue=given["Days"],
        )
    if given.get("Date") is not None and epoch(given["Date"]) % DAY:
        raise AwsError(
            "InvalidArgument",
            "'Date' must be at midnight GMT",
            ArgumentName="Date",
            ArgumentValue=given["Date"],
        )


def _check_transitions(rule: Mapping[str, Any], expiration: Mapping[str, Any]) -> None:
    transitions = sorted(rule.get("Transitions") or (), key=lambda one: one.get("Days") or 0)
    where = f"for filter '{_shown(rule.get('Filter') or {'Prefix': rule.get('Prefix')})}'"
    for one in transitions:
        if "StorageClass" not in one or ("Days" in one) == ("Date" in one):
            raise malformed()
        if "Date" in one:
            _check_moment("Transition", one)
            continue
        if one["Days"] < 0:
            raise AwsError("InvalidArgument", "'Days' in Transition action must be nonnegative")
        if one["StorageClass"] in _A_MONTH_FIRST and one["Days"] < 30:
            raise AwsError(
                "InvalidArgument",
                "'Days' in Transition action must be greater than or equal to 30 for storageClass "
                f"'{one['StorageClass']}'",
            )
        if expiration.get("Days") is not None and expiration["Days"] <= one["Days"]:
            raise AwsError(
                "InvalidArgument",
                f"'Days' in the Expiration action {where} must be greater than 'Days' in the "
                "Transition action",
            )
    for earlier, later in _pairs(transitions):
        if earlier["StorageClass"] in _A_MONTH_FIRST and later["Days"] < earlier["Days"] + 30:
            raise AwsError(
                "InvalidArgument",
                f"'Days' in the '{later['StorageClass']}' Transition action {where} must be 30 "
                f"days more than 'Days' in the '{earlier['StorageClass']}' Transition action",
            )
    for one in rule.get("NoncurrentVersionTransitions") or ():
        if one.get("NoncurrentDays") is None or "StorageClass" not in one:
            raise malformed()
        if one["StorageClass"] in _A_MONTH_FIRST and one["NoncurrentDays"] < 30:
            raise AwsError(
                "InvalidArgument",
                "'NoncurrentDays' in NoncurrentVersionTransition action must be greater than or "
                f"equal to 30 for storageClass '{one['StorageClass']}'",
            )


def _pairs(transitions: list[Any]) -> Iterator[tuple[Any, Any]]:
    dated = [one for one in transitions if "Days" in one]
    yield from zip(dated, dated[1:], strict=False)


def _shown(given: Mapping[str, Any]) -> str:
    return f"(prefix={given.get('Prefix') or ''})"

"""Policy documents of the orders pipeline, and just enough reading of them to verify a role.

IAM User Guide, "Policies and permissions in IAM"; each service's guide for its resource policy.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from labkit.names import Names

VERSION = "2012-10-17"

# What the function may do, action by action; the notebooks take them away one at a time.
FUNCTION_ACTIONS = (
    "dynamodb:PutItem",
    "sns:Publish",
    "sqs:SendMessage",
    "kinesis:PutRecord",
    "kinesis:PutRecords",
    "s3:GetObject",
)

# Without this managed policy a function leaves no logs.
BASIC_EXECUTION = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def lambda_trust() -> dict[str, Any]:
    """Who may take on the function's role: the Lambda service."""
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )


def process_orders(names: Names) -> dict[str, Any]:
    """What the function may do while it processes orders: six actions on five resources."""
    return _document(
        {
            "Effect": "Allow",
            "Action": list(FUNCTION_ACTIONS),
            "Resource": [
                names.table_arn,
                names.topic_arn,
                names.queue_arn,
                names.stream_arn,
                f"{names.bucket_arn}/*",
            ],
        }
    )


def send_rejected(names: Names) -> dict[str, Any]:
    """What lets Lambda put an event that failed for good into the dead-letter queue.

    Lambda sends it with the function's own role (Lambda guide, "Capturing records of Lambda
    asynchronous invocations").
    """
    return _document(
        {
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": names.dead_letter_queue_arn,
        }
    )


def queue_takes_from_topic(names: Names) -> dict[str, Any]:
    """The queue's own policy: SNS may send, and only for our topic."""
    return _document(
        {
            "Sid": "OrdersTopicMaySend",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": names.queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": names.topic_arn}},
        }
    )


def without(policy: dict[str, Any], *actions: str) -> dict[str, Any]:
    """A copy of *policy* that no longer names *actions*; a statement left empty goes with them."""
    changed = copy.deepcopy(policy)
    kept = []
    for statement in changed["Statement"]:
        named = statement["Action"]
        named = [named] if isinstance(named, str) else named
        statement["Action"] = [action for action in named if action not in actions]
        if statement["Action"]:
            kept.append(statement)
    changed["Statement"] = kept
    return changed


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": VERSION, "Statement": list(statements)}


# -- reading policies: just enough to see whether the pipeline's role may do its work ------------


def needed(names: Names) -> list[tuple[str, str]]:
    """What the function needs: each action with the one resource it is done to."""
    return [
        ("dynamodb:PutItem", names.table_arn),
        ("sns:Publish", names.topic_arn),
        ("sqs:SendMessage", names.queue_arn),
        ("kinesis:PutRecord", names.stream_arn),
        ("kinesis:PutRecords", names.stream_arn),
        ("s3:GetObject", f"{names.bucket_arn}/{names.prefix}order.json"),
    ]


def of_role(iam: Any, role: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The ARNs of the role's managed policies, and the documents of all its policies."""
    attached = [
        found["PolicyArn"]
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        for found in page["AttachedPolicies"]
    ]
    documents = []
    for arn in attached:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)
        documents.append(found["PolicyVersion"]["Document"])
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            found = iam.get_role_policy(RoleName=role, PolicyName=name)
            documents.append(found["PolicyDocument"])
    return attached, documents


def trusts(document: dict[str, Any], service: str) -> bool:
    """Whether a trust policy lets *service* take the role on."""
    return any(
        statement["Effect"] == "Allow"
        and service in listed(statement.get("Principal", {}).get("Service"))
        and "sts:AssumeRole" in listed(statement.get("Action"))
        for statement in listed(document["Statement"])
    )


def allows(documents: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether identity policies allow *action* on *resource*; conditional statements do not count.

    IAM User Guide, "Policy evaluation logic": an explicit deny wins over any allow.
    """
    effects = {
        statement["Effect"]
        for document in documents
        for statement in listed(document["Statement"])
        if not statement.get("Condition")
        and any(fits(one.lower(), action.lower()) for one in listed(statement.get("Action")))
        and any(fits(one, resource) for one in listed(statement.get("Resource")))
    }
    return "Allow" in effects and "Deny" not in effects


def fits(pattern: str, text: str) -> bool:
    """Whether *text* fits *pattern*, where ``*`` is any run of signs and ``?`` is any one sign."""
    parts = (".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def listed(value: Any) -> list[Any]:
    """*value* as a list: policies leave the brackets out around a single one."""
    return value if isinstance(value, list) else [] if value is None else [value]

"""Policy documents of the orders pipeline: pure functions that return dicts.

IAM User Guide, "Policies and permissions in IAM"; each service's guide for its resource policy.
"""

from __future__ import annotations

import copy
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

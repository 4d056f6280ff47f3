"""The log of deliveries that a topic may keep in CloudWatch Logs.

Follows the SNS Developer Guide, "Amazon SNS message delivery status".
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Principal
from labkit.localaws.services.sns_messages import Message
from labkit.localaws.services.sns_retries import Target

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws


def log(
    aws: LocalAws,
    target: Target,
    message: Message,
    status: int,
    answer: dict[str, Any],
    attempts: int,
) -> None:
    """Log how a delivery ended, if the topic wants it and the role it names may write logs."""
    good = status < 300
    role_arn = target.feedback.get(f"{'Success' if good else 'Failure'}FeedbackRoleArn")
    if not role_arn:
        return
    if good and random.random() * 100 >= float(target.feedback.get("SuccessFeedbackSampleRate", 0)):
        return
    now = aws.clock.now()
    moment = datetime.fromtimestamp(message.at, UTC)
    line = {
        "notification": {
            "messageMD5Sum": hashlib.md5(
                message.text_for(target.protocol).encode(), usedforsecurity=False
            ).hexdigest(),
            "messageId": message.id,
            "topicArn": target.topic_arn,
            "timestamp": f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}",
        },
        "delivery": {
            "deliveryId": str(uuid.uuid4()),
            "destination": target.endpoint,
            "providerResponse": json.dumps(answer, separators=(",", ":")),
            "dwellTimeMs": int((now - message.at) * 1000),
            **({} if attempts == 1 else {"attempts": attempts}),
            "statusCode": status,
        },
        "status": "SUCCESS" if good else "FAILURE",
    }
    _, _, _, region, account_id, name = target.topic_arn.split(":")
    role = role_arn.rpartition("/")[2]
    session = "sns-delivery-status"
    principal = Principal(
        "role",
        account_id,
        f"arn:aws:sts::{account_id}:assumed-role/{role}/{session}",
        name=role,
        role_name=role,
        session_name=session,
    )
    aws.telemetry.write_logs(
        account_id,
        region,
        f"sns/{region}/{account_id}/{name}{'' if good else '/Failure'}",
        uuid.uuid4().hex,
        [(int(now * 1000), json.dumps(line, separators=(",", ":")))],
        principal,
    )

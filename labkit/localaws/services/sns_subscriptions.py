"""Subscriptions: endpoints and attributes that SNS accepts, and confirmation.

Follows the SNS API (Subscribe, ConfirmSubscription, SetSubscriptionAttributes).
"""

from __future__ import annotations

import functools
import json
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError
from labkit.localaws.services import sns_topics
from labkit.localaws.services.pattern_tokens import PatternError, parse_json
from labkit.localaws.services.sns_filters import FilterPolicy
from labkit.localaws.services.sns_messages import invalid
from labkit.localaws.services.sns_retries import Target

if TYPE_CHECKING:
    from moto.sns.models import SNSBackend, Subscription, Topic

# Somebody has to say yes before these get anything.
CONFIRMED_BY_HAND = ("http", "https", "email", "email-json")
PROTOCOLS = (*CONFIRMED_BY_HAND, "sms", "sqs", "application", "lambda", "firehose")
# A token is good for two days.
TOKEN_SECONDS = 172_800.0

_SETTABLE = (
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "ReplayPolicy",
    "SubscriptionRoleArn",
)
_RAW = ("sqs", "http", "https", "firehose")


def check_endpoint(protocol: str, endpoint: str, topic: Topic) -> None:
    """Refuse an endpoint that can't be one of *protocol*."""
    if protocol not in PROTOCOLS:
        raise invalid(f"Amazon SNS does not support this protocol string: {protocol}")
    if protocol == "sqs":
        if not re.fullmatch(r"arn:[\w-]+:sqs:[\w-]+:\d{12}:[\w.-]+", endpoint):
            raise invalid("SQS endpoint ARN")
        if endpoint.endswith(".fifo") and not topic.fifo_topic:
            raise invalid(
                "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to "
                "standard SNS topics"
            )
    elif topic.fifo_topic:
        # The first of them may be anything else in the course of time; today it is queues only.
        raise invalid(f"Invalid protocol type: {protocol}")
    elif protocol == "lambda":
        if not re.fullmatch(r"arn:[\w-]+:lambda:[\w-]+:\d{12}:function:[\w:$-]+", endpoint):
            raise invalid("Lambda endpoint ARN")
    elif protocol.startswith("email"):
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", endpoint):
            raise invalid("Email address")
    elif protocol in ("http", "https"):
        if not endpoint.startswith(f"{protocol}://"):
            raise invalid("Endpoint must match the specified protocol")
    elif protocol == "sms":
        digits = re.sub(r"[./-]", "", endpoint)
        if re.search(r"[./-]{2,}|^[./-]|[./-]$", endpoint) or not re.fullmatch(
            r"\+?[1-9]\d{1,14}", digits
        ):
            raise AwsError("InvalidParameter", f"Invalid SMS endpoint: {endpoint}")


def read_attributes(
    given: Mapping[str, str],
    current: Mapping[str, Any],
    topic: Topic,
    protocol: str,
    endpoint: str,
    prefix: str = "",
) -> dict[str, Any]:
    """What *given* changes in a subscription's attributes, each checked as SNS checks it.

    *prefix* is what SNS puts before its reasons: Subscribe says more than SetSubscriptionAttributes.
    """
    changed: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _SETTABLE:
            raise invalid("AttributeName" if not prefix else f"{prefix}Unknown attribute {name}")
        if name == "RawMessageDelivery":
            if value.lower() not in ("true", "false"):
                raise invalid(
                    f"{prefix}RawMessageDelivery: Invalid value [{value}]. Must be true or false."
                )
            if value.lower() == "true" and protocol not in _RAW:
                raise invalid(
                    f"{prefix}Delivery protocol [{protocol}] does not support raw message delivery."
                )
            value = value.lower()
        elif name == "FilterPolicyScope" and value not in ("MessageBody", "MessageAttributes"):
            raise invalid(
                f"{prefix}FilterPolicyScope: Invalid value [{value}]. Please use either "
                "MessageBody or MessageAttributes"
            )
        elif name == "RedrivePolicy" and value:
            _check_redrive(value, topic, endpoint, prefix)
        elif name == "DeliveryPolicy" and value:
            _json(value, f"{prefix}DeliveryPolicy")
        changed[name] = value
    if "FilterPolicy" in changed and changed["FilterPolicy"]:
        scope = changed.get("FilterPolicyScope") or current.get("FilterPolicyScope")
        read_filter(changed["FilterPolicy"], scope, prefix)
    return changed


@functools.lru_cache(maxsize=512)
def read_filter(policy: str, scope: str | None, prefix: str = "") -> FilterPolicy:
    """A filter policy ready to match messages; raises InvalidParameter in SNS's words."""
    try:
        return FilterPolicy(policy, body=scope == "MessageBody")
    except PatternError as problem:
        lead = "" if problem.bare else f"{prefix}FilterPolicy: "
        raise invalid(f"{lead}{problem}") from None


def shown(subscription: Subscription, topic: Topic | None) -> dict[str, str]:
    """All attributes of a subscription as GetSubscriptionAttributes shows them."""
    kept = subscription.attributes
    attributes = {
        "Owner": str(kept.get("Owner", subscription.owner)),
        "Endpoint": subscription.endpoint,
        "Protocol": subscription.protocol,
        "SubscriptionArn": subscription.arn,
        "TopicArn": subscription.topic_arn,
        "RawMessageDelivery": _flag(kept.get("RawMessageDelivery", False)),
        "PendingConfirmation": _flag(is_pending(subscription)),
        "ConfirmationWasAuthenticated": _flag(kept.get("ConfirmationWasAuthenticated", True)),
    }
    if kept.get("SubscriptionPrincipal"):
        attributes["SubscriptionPrincipal"] = kept["SubscriptionPrincipal"]
    for name in ("RedrivePolicy", "SubscriptionRoleArn", "ReplayPolicy"):
        if kept.get(name):
            attributes[name] = kept[name]
    if kept.get("FilterPolicy"):
        attributes["FilterPolicy"] = kept["FilterPolicy"]
        attributes["FilterPolicyScope"] = kept.get("FilterPolicyScope") or "MessageAttributes"
    if subscription.protocol in ("http", "https") and topic is not None:
        if kept.get("DeliveryPolicy"):
            attributes["DeliveryPolicy"] = json.dumps(_own_policy(kept["DeliveryPolicy"]))
        attributes["EffectiveDeliveryPolicy"] = json.dumps(effective_policy(subscription, topic))
    return attributes


def effective_policy(subscription: Subscription, topic: Topic) -> dict[str, Any]:
    """How deliveries to an HTTP subscription are retried: its own policy over its topic's."""
    default = sns_topics.http_policy(topic)
    own: dict[str, Any] = {}
    if not default["disableSubscriptionOverrides"] and subscription.attributes.get(
        "DeliveryPolicy"
    ):
        own = _own_policy(subscription.attributes["DeliveryPolicy"])
    return {
        "healthyRetryPolicy": own.get("healthyRetryPolicy") or default["defaultHealthyRetryPolicy"],
        "sicklyRetryPolicy": None,
        "throttlePolicy": own.get("throttlePolicy") or default.get("defaultThrottlePolicy"),
        "requestPolicy": own.get("requestPolicy") or default["defaultRequestPolicy"],
        "guaranteed": False,
    }


def is_pending(subscription: Subscription) -> bool:
    """Whether somebody still has to confirm."""
    return str(subscription.attributes.get("PendingConfirmation", False)).lower() == "true"


def is_raw(subscription: Subscription) -> bool:
    """Whether the message goes out without an envelope."""
    return str(subscription.attributes.get("RawMessageDelivery", False)).lower() == "true"


def new_token() -> str:
    """A confirmation token: long, hexadecimal, never guessed."""
    return secrets.token_hex(132)


def _own_policy(text: str) -> dict[str, Any]:
    given = json.loads(text)
    retry = given.get("healthyRetryPolicy")
    return {
        "healthyRetryPolicy": {**sns_topics.DEFAULT_RETRY_POLICY, **retry} if retry else None,
        "sicklyRetryPolicy": None,
        "throttlePolicy": given.get("throttlePolicy"),
        "requestPolicy": given.get("requestPolicy"),
        "guaranteed": False,
    }


def _check_redrive(value: str, topic: Topic, endpoint: str, prefix: str) -> None:
    policy = _json(value, f"{prefix}RedrivePolicy")
    target = policy.get("deadLetterTargetArn", "") if isinstance(policy, dict) else ""
    if not re.fullmatch(r"arn:[\w-]+:sqs:[\w-]+:\d{12}:[\w.-]+", str(target)):
        raise invalid(f"{prefix}RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if topic.fifo_topic and endpoint.endswith(".fifo") and not target.endswith(".fifo"):
        raise invalid(
            f"{prefix}RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a "
            "FIFO Topic."
        )
    if target.endswith(".fifo") and not endpoint.endswith(".fifo"):
        raise invalid(
            f"{prefix}RedrivePolicy: must use a standard queue as DLQ for a subscription that is "
            "not FIFO."
        )


def _json(text: str, name: str) -> Any:
    try:
        return parse_json(text)
    except PatternError as problem:
        raise invalid(f"{name}: {problem}") from None


def _flag(value: Any) -> str:
    return str(value).lower()


def dead_letter_arn(redrive_policy: str | None) -> str | None:
    """The queue that a RedrivePolicy names."""
    if not redrive_policy:
        return None
    return json.loads(redrive_policy).get("deadLetterTargetArn")


def of_topic(backend: SNSBackend, topic_arn: str) -> list[Subscription]:
    """moto's subscriptions of one topic; under the lock."""
    return [one for one in backend.subscriptions.values() if one.topic_arn == topic_arn]


def target(subscription: Subscription, topic: Topic) -> Target:
    """The subscription as deliveries see it, at this moment; under the lock."""
    http = subscription.protocol in ("http", "https")
    return Target(
        arn=subscription.arn,
        topic_arn=topic.arn,
        protocol=subscription.protocol,
        endpoint=subscription.endpoint,
        account_id=topic.account_id,
        raw=is_raw(subscription),
        display_name=topic.display_name,
        signature_version=sns_topics.get_attribute(topic, "SignatureVersion") or "1",
        dead_letter_arn=dead_letter_arn(subscription.attributes.get("RedrivePolicy")),
        policy=effective_policy(subscription, topic) if http else {},
        feedback=sns_topics.feedback(topic, subscription.protocol),
    )

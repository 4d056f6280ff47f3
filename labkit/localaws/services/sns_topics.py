"""Topics: what may be set on them, and how GetTopicAttributes shows it.

Follows the SNS API (CreateTopic, SetTopicAttributes, GetTopicAttributes).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError
from labkit.localaws.services.sns_messages import DEFAULT_MAXIMUM_BYTES, invalid

if TYPE_CHECKING:
    from moto.sns.models import SNSBackend, Topic

DEFAULT_RETRY_POLICY: dict[str, Any] = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
DEFAULT_CONTENT_TYPE = "text/plain; charset=UTF-8"

_FEEDBACK = tuple(
    f"{protocol}{what}"
    for protocol in ("HTTP", "SQS", "Lambda", "Firehose", "Application")
    for what in ("SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn")
)
# The API's names, and what moto's Topic keeps them as.
_KEPT_AS = {
    "DisplayName": "display_name",
    "DeliveryPolicy": "delivery_policy",
    "KmsMasterKeyId": "kms_master_key_id",
    "Policy": "policy",
    "FifoTopic": "fifo_topic",
    "ContentBasedDeduplication": "content_based_deduplication",
    "SignatureVersion": "signature_version",
    "TracingConfig": "tracing_config",
    "ArchivePolicy": "archive_policy",
    "FifoThroughputScope": "fifo_throughput_scope",
    "MaximumMessageSize": "maximum_message_size",
    "DataProtectionPolicy": "data_protection_policy",
    **{name: f"feedback_{name}" for name in _FEEDBACK},
}
_ACTIONS = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
    "Receive",
)
_ONLY_FIFO = ("ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy")
_SHOWN_WHEN_SET = (
    "DeliveryPolicy",
    "KmsMasterKeyId",
    "SignatureVersion",
    "TracingConfig",
    "ArchivePolicy",
    "FifoThroughputScope",
    "MaximumMessageSize",
    *_FEEDBACK,
)


def check_name(name: str, fifo: bool) -> None:
    """Refuse a name that a topic can't have."""
    plain = name.removesuffix(".fifo") if fifo else name
    wrong_end = fifo and not name.endswith(".fifo")
    if wrong_end or len(name) > 256 or not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", plain):
        raise invalid("Topic Name")


def check_attribute(name: str, value: str, fifo: bool, prefix: str = "") -> None:
    """Refuse an attribute a topic can't have; *prefix* is what SNS puts before the reason."""
    if name not in _KEPT_AS or (name in _ONLY_FIFO and not fifo):
        raise invalid(f"{prefix}{name}" if prefix else "AttributeName")
    if name in ("FifoTopic", "ContentBasedDeduplication") and value not in ("true", "false"):
        raise invalid(f"{prefix}{name}: Invalid value [{value}]. Must be true or false.")
    if name in ("Policy", "DeliveryPolicy", "ArchivePolicy") and value:
        try:
            json.loads(value)
        except ValueError:
            raise invalid(f"{prefix}{name}: failed to parse JSON") from None
    if name == "SignatureVersion" and value not in ("1", "2"):
        raise invalid(f"{prefix}SignatureVersion: Invalid value [{value}]. Must be 1 or 2.")
    if name == "TracingConfig" and value not in ("PassThrough", "Active"):
        raise invalid(f"{prefix}TracingConfig: Invalid value [{value}]")
    if name == "MaximumMessageSize":
        good = value.isdigit() and 1024 <= int(value) <= 1_048_576
        if not good:
            raise invalid(f"{prefix}MaximumMessageSize: Invalid value [{value}]")


def set_attribute(topic: Topic, name: str, value: str) -> None:
    """Keep one attribute on moto's topic, where other parts of moto look for it."""
    kept: Any = value
    if name in ("FifoTopic", "ContentBasedDeduplication"):
        kept = value == "true"
    if name == "Policy" and not value:
        kept = json.dumps(
            topic._create_default_topic_policy(
                topic.sns_backend.region_name, topic.account_id, topic.name
            )
        )
    setattr(topic, _KEPT_AS[name], kept)


def get_attribute(topic: Topic, name: str) -> Any:
    """One attribute of moto's topic, None when it was never set."""
    return getattr(topic, _KEPT_AS[name], None) or None


def maximum_bytes(topic: Topic) -> int:
    """How large a message to this topic may be."""
    return int(get_attribute(topic, "MaximumMessageSize") or DEFAULT_MAXIMUM_BYTES)


def differs(topic: Topic, attributes: Mapping[str, str]) -> bool:
    """Whether creating *topic* again with these attributes would change it."""
    return any(
        name not in _KEPT_AS or str(getattr(topic, _KEPT_AS[name], "")).lower() != value.lower()
        for name, value in attributes.items()
    )


def http_policy(topic: Topic) -> dict[str, Any]:
    """The topic's effective delivery policy for HTTP, defaults filled in."""
    given = json.loads(get_attribute(topic, "DeliveryPolicy") or "{}").get("http", {})
    retry = {**DEFAULT_RETRY_POLICY, **(given.get("defaultHealthyRetryPolicy") or {})}
    policy = {
        "defaultHealthyRetryPolicy": retry,
        "disableSubscriptionOverrides": bool(given.get("disableSubscriptionOverrides", False)),
        "defaultRequestPolicy": {
            "headerContentType": DEFAULT_CONTENT_TYPE,
            **(given.get("defaultRequestPolicy") or {}),
        },
    }
    if given.get("defaultThrottlePolicy"):
        policy["defaultThrottlePolicy"] = copy.deepcopy(given["defaultThrottlePolicy"])
    return policy


def shown(topic: Topic, count: Callable[[str], int]) -> dict[str, str]:
    """All attributes of a topic; *count* tells how many subscriptions it has in a state."""
    attributes: dict[str, str] = {
        "Policy": topic.policy,
        "Owner": topic.account_id,
        "SubscriptionsPending": str(count("pending")),
        "TopicArn": topic.arn,
        "EffectiveDeliveryPolicy": _compact({"http": http_policy(topic)}),
        "SubscriptionsConfirmed": str(count("confirmed")),
        "DisplayName": topic.display_name,
        "SubscriptionsDeleted": str(count("deleted")),
    }
    if topic.fifo_topic:
        attributes["FifoTopic"] = "true"
        attributes["ContentBasedDeduplication"] = str(topic.content_based_deduplication).lower()
    for name in _SHOWN_WHEN_SET:
        value = get_attribute(topic, name)
        if value is not None:
            attributes[name] = str(value)
    return attributes


def feedback(topic: Topic, protocol: str) -> dict[str, str]:
    """What the topic says about logging deliveries by *protocol*: roles and the sample rate."""
    kind = {"sqs": "SQS", "lambda": "Lambda", "http": "HTTP", "https": "HTTP"}.get(protocol)
    if kind is None:
        return {}
    found = {
        what: get_attribute(topic, f"{kind}{what}")
        for what in (
            "SuccessFeedbackRoleArn",
            "SuccessFeedbackSampleRate",
            "FailureFeedbackRoleArn",
        )
    }
    return {what: str(value) for what, value in found.items() if value}


def add_permission(topic: Topic, label: str, accounts: list[str], actions: list[str]) -> None:
    """Let other accounts do *actions* on the topic; raises as AddPermission does."""
    statements = topic._policy_json["Statement"]
    if any(statement.get("Sid") == label for statement in statements):
        raise invalid("Statement already exists")
    if any(action not in _ACTIONS for action in actions):
        raise invalid("Policy statement action out of service scope!")
    principals = [f"arn:aws:iam::{account}:root" for account in accounts]
    names = [f"SNS:{action}" for action in actions]
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": names[0] if len(names) == 1 else names,
            "Resource": topic.arn,
        }
    )


def check_arn(arn: str | None, member: str = "TopicArn") -> None:
    """Refuse what is no ARN, in SNS's words."""
    parts = (arn or "").split(":")
    if len(parts) < 6:
        raise invalid(f"{member} Reason: An ARN must have at least 6 elements, not {len(parts)}")


def find(backend: SNSBackend, arn: str | None) -> Topic:
    """moto's topic of this ARN, or NotFound; under the lock."""
    check_arn(arn)
    assert arn is not None
    _, _, service, region = arn.split(":")[:4]
    if service != "sns" or region != backend.region_name:
        raise invalid("TopicArn")
    topic = backend.topics.get(arn)
    if topic is None:
        raise AwsError("NotFound", "Topic does not exist", 404)
    return topic


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

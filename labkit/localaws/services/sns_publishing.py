"""From a Publish request to deliveries: checks, deduplication, filters.

Follows the SNS API (Publish, PublishBatch) and the SNS Developer Guide, "Message deduplication
for FIFO topics" and "Monitoring Amazon SNS topics using CloudWatch".
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.services import sns_messages, sns_subscriptions, sns_topics
from labkit.localaws.services.sns_delivery import Deliverer
from labkit.localaws.services.sns_messages import Message, invalid
from labkit.localaws.services.sns_retries import Target

if TYPE_CHECKING:
    from moto.sns.models import Topic

    from labkit.localaws.server import LocalAws

_DEDUPLICATION_SECONDS = 300.0
_MOST_IN_A_BATCH = 10


class Publisher:
    """Accepts messages and starts their deliveries."""

    def __init__(self, aws: LocalAws, deliverer: Deliverer) -> None:
        self._aws = aws
        self._deliverer = deliverer
        # FIFO: (topic, group or none, deduplication id) to when it was seen and what was answered.
        self._seen: dict[tuple[str, str, str], tuple[float, dict[str, str]]] = {}
        self._sequence = itertools.count(10_000_000_000_000_000_000, 1000)
        self._guard = threading.Lock()

    def accept(self, call: Call, topic: Topic, given: Mapping[str, Any]) -> dict[str, str]:
        """Take one message (in the shape of Publish's input) and answer what Publish answers."""
        check(topic, given)
        text, texts = sns_messages.read_texts(given)
        deduplication_id = given.get("MessageDeduplicationId")
        if topic.fifo_topic and not deduplication_id:
            deduplication_id = hashlib.sha256(given["Message"].encode()).hexdigest()
        message = Message(
            topic.arn,
            text,
            self._aws.clock.now(),
            subject=given.get("Subject"),
            attributes=given.get("MessageAttributes") or {},
            texts=texts,
            group_id=given.get("MessageGroupId"),
            deduplication_id=deduplication_id,
            sequence_number=str(next(self._sequence)) if topic.fifo_topic else None,
            trace_header=call.request.headers.get("X-Amzn-Trace-Id"),
        )
        answer = {"MessageId": message.id}
        if topic.fifo_topic:
            answer["SequenceNumber"] = message.sequence_number or ""
            # Order is decided here: deduplicated and lined up in one step.
            with self._guard:
                earlier = self._earlier(topic, message, answer)
                if earlier is not None:
                    return earlier
                self._fan_out(topic, message)
        else:
            self._fan_out(topic, message)
        return answer

    def _earlier(
        self, topic: Topic, message: Message, answer: dict[str, str]
    ) -> dict[str, str] | None:
        """What was answered to the same message within the last five minutes."""
        now = self._aws.clock.now()
        grouped = sns_topics.get_attribute(topic, "FifoThroughputScope") == "MessageGroup"
        key = (
            topic.arn,
            (message.group_id or "") if grouped else "",
            message.deduplication_id or "",
        )
        self._seen = {
            one: seen for one, seen in self._seen.items() if now - seen[0] < _DEDUPLICATION_SECONDS
        }
        if key in self._seen:
            return self._seen[key][1]
        self._seen[key] = (now, answer)
        return None

    def _fan_out(self, topic: Topic, message: Message) -> None:
        with self._aws.lock("sns", topic.account_id):
            chosen = [
                (sns_subscriptions.target(one, topic), one.attributes)
                for one in sns_subscriptions.of_topic(topic.sns_backend, topic.arn)
                if not sns_subscriptions.is_pending(one)
            ]
        for target, attributes in chosen:
            policy = attributes.get("FilterPolicy")
            if policy:
                scope = attributes.get("FilterPolicyScope")
                if not sns_subscriptions.read_filter(policy, scope).accepts(message):
                    self._filtered_out(target, scope, message)
                    continue
            self._deliverer.deliver(target, message)

    def _filtered_out(self, target: Target, scope: str | None, message: Message) -> None:
        names = ["NumberOfNotificationsFilteredOut"]
        if scope == "MessageBody":
            names.append("NumberOfNotificationsFilteredOut-MessageBody")
        elif message.attributes:
            names.append("NumberOfNotificationsFilteredOut-MessageAttributes")
        else:
            names.append("NumberOfNotificationsFilteredOut-NoMessageAttributes")
        for name in names:
            self._aws.telemetry.count(
                "AWS/SNS",
                name,
                {"TopicName": target.topic_name},
                region=target.topic_arn.split(":")[3],
            )


def check(topic: Topic, given: Mapping[str, Any], where: str = "") -> None:
    """Refuse a message that SNS refuses; its size is the caller's business."""
    sns_messages.check_subject(given.get("Subject"))
    sns_messages.read_texts(given)
    sns_messages.check_attributes(given.get("MessageAttributes") or {}, where)
    if topic.fifo_topic:
        if not given.get("MessageGroupId"):
            raise invalid("The MessageGroupId parameter is required for FIFO topics")
        if not given.get("MessageDeduplicationId") and not topic.content_based_deduplication:
            raise invalid(
                "The topic should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly"
            )
    elif given.get("MessageDeduplicationId"):
        raise invalid(
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId "
            "parameter that is not valid for this topic type"
        )


def check_batch(topic: Topic, entries: list[dict[str, Any]], largest: int) -> None:
    """Refuse a batch as a whole, for what is wrong with it or with any message in it."""
    if not entries:
        raise AwsError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
    if len(entries) > _MOST_IN_A_BATCH:
        raise AwsError(
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible.",
        )
    ids = [str(entry.get("Id", "")) for entry in entries]
    for one in ids:
        if len(one) > 80:
            raise AwsError(
                "InvalidBatchEntryId",
                f"The Id of a batch entry in the batch request is too long: {one}",
            )
        if not re.fullmatch(r"[A-Za-z0-9_-]+", one):
            raise AwsError(
                "InvalidBatchEntryId",
                "The Id of a batch entry in the batch request contains an impermissible "
                f"character: {one}",
            )
    if len(set(ids)) < len(ids):
        raise AwsError(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        )
    size = sum(
        sns_messages.size_in_bytes(entry.get("Message") or "", entry.get("MessageAttributes") or {})
        for entry in entries
    )
    if size > largest:
        raise AwsError(
            "BatchRequestTooLong",
            "The length of all the messages put together is more than the limit.",
        )
    for number, entry in enumerate(entries, 1):
        check(topic, entry, f"publishBatchRequestEntries.{number}.member.")

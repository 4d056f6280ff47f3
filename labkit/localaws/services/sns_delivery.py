"""How SNS delivers: one message to one subscription, with retries, then to its dead-letter queue.

Follows the SNS Developer Guide, "Amazon SNS message delivery retries" and "Amazon SNS dead-letter
queues": errors of the client (the endpoint is gone, its policy refuses) are final at once, errors
of the server are retried by the protocol's policy, on the lab's clock.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import Principal
from labkit.localaws.mailbox import SNS_SENDER
from labkit.localaws.services import sns_messages, sns_status
from labkit.localaws.services.sns_http import Failed, Refused, judging, post
from labkit.localaws.services.sns_messages import Message
from labkit.localaws.services.sns_retries import Target, retry_delays

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

_STANDARD_SUBJECT = "AWS Notification Message"


@dataclass
class _Delivery:
    target: Target
    message: Message
    delays: Iterator[float]
    attempts: int = 0


class Deliverer:
    """Delivers messages in the background; first in, first out where topic and queue are FIFO."""

    def __init__(self, aws: LocalAws, signer: sns_messages.Signer) -> None:
        self._aws = aws
        self._signer = signer
        self._lines: dict[str, deque[_Delivery]] = {}
        self._guard = threading.Lock()

    def deliver(self, target: Target, message: Message) -> None:
        """Start delivering *message* to *target*."""
        delivery = _Delivery(target, message, retry_delays(target))
        if not target.topic_arn.endswith(".fifo"):
            self._aws.activity.submit(self._attempt, delivery, name="SNS delivery")
            return
        with self._guard:
            waiting = self._lines.setdefault(target.arn, deque())
            waiting.append(delivery)
            if len(waiting) > 1:
                return
        self._aws.activity.submit(self._next_in_line, target.arn, name="SNS delivery")

    def tell(self, target: Target, kind: str, token: str) -> None:
        """Send a confirmation (*kind* SubscriptionConfirmation or UnsubscribeConfirmation)."""
        self._aws.activity.submit(self._tell, target, kind, token, name=f"SNS {kind}")

    def _attempt(self, delivery: _Delivery) -> None:
        delay = self._try(delivery)
        if delay is not None:
            self._aws.clock.call_later(delay, self._attempt, delivery, name="SNS delivery retry")

    def _next_in_line(self, line: str) -> None:
        while True:
            with self._guard:
                delivery = self._lines[line][0]
            delay = self._try(delivery)
            if delay is not None:
                # Whoever is behind waits as well: order is the point of it.
                self._aws.clock.call_later(
                    delay, self._next_in_line, line, name="SNS delivery retry"
                )
                return
            with self._guard:
                self._lines[line].popleft()
                if not self._lines[line]:
                    del self._lines[line]
                    return

    def _try(self, delivery: _Delivery) -> float | None:
        """Try once; the seconds until the next try, or None when it is over."""
        target, message = delivery.target, delivery.message
        delivery.attempts += 1
        try:
            status, answer = self._send(target, message)
        except Refused as problem:
            log.info("SNS delivery to %s refused: %s", target.endpoint, problem)
            status, answer = problem.status, {"ErrorMessage": str(problem)}
        except Exception as problem:
            delay = next(delivery.delays, None)
            if delay is not None:
                return delay
            log.info("SNS delivery to %s given up: %s", target.endpoint, problem)
            status, answer = 500, {"ErrorMessage": str(problem)}
        sns_status.log(self._aws, target, message, status, answer, delivery.attempts)
        if status < 300:
            self._count("NumberOfNotificationsDelivered", target)
            return None
        self._count("NumberOfNotificationsFailed", target)
        if target.dead_letter_arn:
            self._redrive(target, message)
        return None

    def _redrive(self, target: Target, message: Message) -> None:
        try:
            self._to_queue(target, message, target.dead_letter_arn or "")
            self._count("NumberOfNotificationsRedrivenToDlq", target)
        except (Refused, Failed) as problem:
            log.info("SNS could not redrive to %s: %s", target.dead_letter_arn, problem)
            self._count("NumberOfNotificationsFailedToRedriveToDlq", target)

    def _count(self, name: str, target: Target) -> None:
        self._aws.telemetry.count(
            "AWS/SNS",
            name,
            {"TopicName": target.topic_name},
            region=target.topic_arn.split(":")[3],
        )

    # -- per protocol --------------------------------------------------------------------------

    def _send(self, target: Target, message: Message) -> tuple[int, dict[str, Any]]:
        """Deliver once; the status and what of the answer is worth logging."""
        if target.protocol == "sqs":
            return 200, self._to_queue(target, message, target.endpoint)
        if target.protocol == "lambda":
            return 202, self._to_function(target, message)
        if target.protocol in ("http", "https"):
            return self._to_http(target, message), {}
        if target.protocol in ("email", "email-json"):
            self._to_mail(target, message)
        elif target.protocol == "sms":
            self._aws.mailbox.deliver(target.endpoint, "", message.text_for("sms"), sender="SMS")
        else:
            raise Refused(f"nothing here takes {target.protocol}")
        return 200, {}

    def _to_queue(self, target: Target, message: Message, queue_arn: str) -> dict[str, Any]:
        _, _, _, region, account, name = queue_arn.split(":", 5)
        given: dict[str, Any] = {"QueueUrl": f"{self._aws.endpoint}/{account}/{name}"}
        if target.raw:
            given["MessageBody"] = message.text_for(target.protocol)
            given["MessageAttributes"] = dict(message.attributes)
        else:
            given["MessageBody"] = sns_messages.pretty(self.envelope(target, message))
        if name.endswith(".fifo"):
            given["MessageGroupId"] = message.group_id or target.topic_name
            if message.deduplication_id:
                given["MessageDeduplicationId"] = message.deduplication_id
        elif message.group_id and not target.topic_arn.endswith(".fifo"):
            given["MessageGroupId"] = message.group_id
        if message.trace_header:
            given["MessageSystemAttributes"] = {
                "AWSTraceHeader": {"DataType": "String", "StringValue": message.trace_header}
            }
        client = self._aws.client("sqs", principal=self._principal(target), region=region)
        with judging():
            answer = client.send_message(**given)
        return {
            "sqsRequestId": answer["ResponseMetadata"].get("RequestId"),
            "sqsMessageId": answer.get("MessageId"),
        }

    def _to_function(self, target: Target, message: Message) -> dict[str, Any]:
        event = {"Records": [self.record(target, message)]}
        region = target.endpoint.split(":")[3]
        client = self._aws.client("lambda", principal=self._principal(target), region=region)
        with judging():
            answer = client.invoke(
                FunctionName=target.endpoint,
                InvocationType="Event",
                Payload=json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(),
            )
        return {"lambdaRequestId": answer["ResponseMetadata"].get("RequestId")}

    def _to_mail(self, target: Target, message: Message) -> None:
        if target.protocol == "email-json":
            body, links = sns_messages.pretty(self.envelope(target, message)), ()
        else:
            unsubscribe = self.unsubscribe_url(target.arn)
            body = (
                f"{message.text_for(target.protocol)}\n\n--\n"
                "To get no more mails from this topic, open this link and unsubscribe:\n"
                f"{unsubscribe}\n\n"
                "Nobody reads answers to this mail.\n"
            )
            links = (unsubscribe,)
        self._aws.mailbox.deliver(
            target.endpoint,
            message.subject or _STANDARD_SUBJECT,
            body,
            sender=f"{target.display_name} <{SNS_SENDER}>" if target.display_name else SNS_SENDER,
            links=links,
        )

    def _to_http(self, target: Target, message: Message) -> int:
        body = (
            message.text_for(target.protocol)
            if target.raw
            else sns_messages.pretty(self.envelope(target, message))
        )
        headers = {
            "x-amz-sns-message-type": "Notification",
            "x-amz-sns-message-id": message.id,
            "x-amz-sns-topic-arn": target.topic_arn,
            "x-amz-sns-subscription-arn": target.arn,
        }
        if target.raw:
            headers["x-amz-sns-rawdelivery"] = "true"
        content_type = (target.policy.get("requestPolicy") or {}).get("headerContentType")
        return post(target.endpoint, body, headers, content_type or "text/plain; charset=UTF-8")

    def _tell(self, target: Target, kind: str, token: str) -> None:
        envelope = self.confirmation(target, kind, token)
        if target.protocol in ("http", "https"):
            headers = {
                "x-amz-sns-message-type": kind,
                "x-amz-sns-message-id": envelope["MessageId"],
                "x-amz-sns-topic-arn": target.topic_arn,
            }
            if kind == "UnsubscribeConfirmation":
                headers["x-amz-sns-subscription-arn"] = target.arn
            try:
                post(target.endpoint, sns_messages.pretty(envelope), headers)
            except (Refused, Failed) as problem:
                log.info("SNS could not tell %s: %s", target.endpoint, problem)
            return
        url = envelope["SubscribeURL"]
        if target.protocol == "email-json":
            body = sns_messages.pretty(envelope)
        elif kind == "SubscriptionConfirmation":
            body = (
                f"Somebody subscribed this address to the topic:\n{target.topic_arn}\n\n"
                f"To confirm the subscription, open this link:\n{url}\n\n"
                "If you did not ask for it, do nothing: no other mail will come.\n"
            )
        else:
            body = (
                f"Your subscription to this topic is no more:\n{target.topic_arn}\n\n"
                f"If that was a mistake, subscribe again with this link:\n{url}\n"
            )
        what = "Subscription" if kind == "SubscriptionConfirmation" else "Unsubscribe"
        self._aws.mailbox.deliver(
            target.endpoint, f"AWS Notification - {what} Confirmation", body, links=(url,)
        )

    # -- what is sent --------------------------------------------------------------------------

    def envelope(self, target: Target, message: Message) -> dict[str, Any]:
        """The message as queues, mails and web servers get it, signed unless it is FIFO."""
        envelope: dict[str, Any] = {"Type": "Notification", "MessageId": message.id}
        if message.sequence_number:
            envelope["SequenceNumber"] = message.sequence_number
        envelope["TopicArn"] = message.topic_arn
        if message.subject is not None:
            envelope["Subject"] = message.subject
        envelope["Message"] = message.text_for(target.protocol)
        envelope["Timestamp"] = sns_messages.iso(message.at)
        if not message.topic_arn.endswith(".fifo"):
            self._sign(envelope, target.signature_version)
        envelope["UnsubscribeURL"] = self.unsubscribe_url(target.arn)
        if message.attributes:
            envelope["MessageAttributes"] = sns_messages.envelope_attributes(message.attributes)
        return envelope

    def record(self, target: Target, message: Message) -> dict[str, Any]:
        """The one element of ``Records`` that a function's event holds."""
        # Functions always get the first kind of signature, whatever the topic says.
        signed = self.envelope(replace(target, signature_version="1"), message)
        return {
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": target.arn,
            "Sns": {
                "Type": "Notification",
                "MessageId": message.id,
                "TopicArn": message.topic_arn,
                "Subject": message.subject,
                "Message": signed["Message"],
                "Timestamp": signed["Timestamp"],
                "SignatureVersion": signed.get("SignatureVersion"),
                "Signature": signed.get("Signature"),
                # Functions get two names in another spelling than everybody else.
                "SigningCertUrl": signed.get("SigningCertURL"),
                "UnsubscribeUrl": signed["UnsubscribeURL"],
                "MessageAttributes": signed.get("MessageAttributes", {}),
            },
        }

    def confirmation(self, target: Target, kind: str, token: str) -> dict[str, Any]:
        """The envelope that asks an endpoint to confirm."""
        if kind == "SubscriptionConfirmation":
            text = (
                f"You have chosen to subscribe to the topic {target.topic_arn}.\n"
                "To confirm the subscription, visit the SubscribeURL included in this message."
            )
        else:
            text = (
                f"You have chosen to deactivate subscription {target.arn}.\n"
                "To cancel this operation and restore the subscription, visit the SubscribeURL "
                "included in this message."
            )
        message = Message(target.topic_arn, text, self._aws.clock.now())
        query = f"Action=ConfirmSubscription&TopicArn={target.topic_arn}&Token={token}"
        envelope: dict[str, Any] = {
            "Type": kind,
            "MessageId": message.id,
            "Token": token,
            "TopicArn": target.topic_arn,
            "Message": text,
            "SubscribeURL": f"{self._aws.endpoint}/?{query}",
            "Timestamp": sns_messages.iso(message.at),
        }
        self._sign(envelope, target.signature_version)
        return envelope

    def unsubscribe_url(self, subscription_arn: str) -> str:
        """The link that ends a subscription."""
        return f"{self._aws.endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}"

    def _sign(self, envelope: dict[str, Any], version: str) -> None:
        signature = self._signer.sign(envelope, version)
        envelope["SignatureVersion"] = version
        envelope["Signature"] = signature
        envelope["SigningCertURL"] = self._signer.certificate_url

    def _principal(self, target: Target) -> Principal:
        return Principal.service(
            "sns.amazonaws.com", source_arn=target.topic_arn, source_account=target.account_id
        )

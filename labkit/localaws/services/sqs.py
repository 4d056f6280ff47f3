"""Amazon SQS: queues are moto's, messages are ours (``labkit.localaws.queues``).

Follows the Amazon SQS API Reference and Developer Guide. moto scans every message of a queue for
every receive, waits inside its own lock and knows no in-flight limit, so the data plane is here.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import moto.backends

from labkit.localaws import queues, recursion
from labkit.localaws.call import AwsError, Call, Forward, Reply
from labkit.localaws.queues import Message, MessageQueue
from labkit.localaws.services.sqs_messages import each, md5, md5_of_attributes, size, wanted
from labkit.localaws.services.sqs_moves import MessageMoves
from labkit.localaws.services.sqs_rules import (
    check_attribute_ranges,
    check_batch,
    check_body,
    check_message_attributes,
    check_policy,
    parameter_error,
)

PURGE_INTERVAL_SECONDS = 60.0


class SqsLayer(MessageMoves):
    """The data plane of SQS, and the checks of its control plane that moto leaves out."""

    service = "sqs"

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        self._guard = threading.Lock()
        self._messages: dict[str, tuple[float, MessageQueue]] = {}
        self._purged: dict[str, float] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    # -- for other parts of the local AWS ----------------------------------------------------

    def queue(self, arn: str) -> tuple[Any, MessageQueue]:
        """moto's queue (its attributes) and our messages for a queue ARN.

        Raises QueueDoesNotExist.
        """
        _, _, _, region, account_id, name = arn.split(":", 5)
        found = _moto_queue(account_id, region, name)
        with self._guard:
            known = self._messages.get(arn)
            # A queue deleted and made again under its name starts empty.
            if known is None or known[0] != found.created_timestamp:
                known = (found.created_timestamp, MessageQueue(fifo=bool(found.fifo_queue)))
                known[1].listen(functools.partial(self._news, arn))
                self._messages[arn] = known
        return found, known[1]

    def watch(self, arn: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Have *listener* called whenever a queue of this ARN may have something new.

        Also when the queue does not exist yet, or is deleted and made again. Returns how to stop.
        """
        with self._guard:
            self._watchers.setdefault(arn, []).append(listener)

        def stop() -> None:
            with self._guard:
                if listener in self._watchers.get(arn, ()):
                    self._watchers[arn].remove(listener)

        return stop

    def _news(self, arn: str) -> None:
        for listener in list(self._watchers.get(arn, ())):
            listener()

    def receive(
        self, arn: str, most: int, visibility_timeout: float | None = None
    ) -> list[Message]:
        """Up to *most* messages of a queue, now, with its redrive policy applied."""
        found, messages = self.queue(arn)
        now = self.aws.clock.now()
        policy = found.redrive_policy or {}
        return messages.receive(
            now,
            most,
            found.visibility_timeout if visibility_timeout is None else visibility_timeout,
            retention=found.message_retention_period,
            max_receive_count=policy.get("maxReceiveCount"),
            redrive=lambda message: self._redrive(arn, policy["deadLetterTargetArn"], message),
        )

    def describe(self, message: Message) -> dict[str, str]:
        """The system attributes of a received message, as ReceiveMessage calls them."""
        attributes = {
            "SenderId": message.sender_id,
            "SentTimestamp": str(int(message.sent * 1000)),
            "ApproximateReceiveCount": str(message.receive_count),
            "ApproximateFirstReceiveTimestamp": str(int((message.first_received or 0) * 1000)),
        }
        optional = {
            "MessageGroupId": message.group_id,
            "MessageDeduplicationId": message.deduplication_id,
            "SequenceNumber": message.sequence_number,
            "DeadLetterQueueSourceArn": message.source_arn,
        }
        attributes.update({name: value for name, value in optional.items() if value})
        trace = message.system_attributes.get("AWSTraceHeader")
        if trace:
            attributes["AWSTraceHeader"] = trace["StringValue"]
        return attributes

    # -- sending -----------------------------------------------------------------------------

    def SendMessage(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The message's id, checksums and, on FIFO queues, sequence number."""
        arn = self._arn(call)
        return self._send(call, arn, call.params)

    def SendMessageBatch(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What was sent and what was not, entry by entry."""
        arn = self._arn(call)
        found, _ = self.queue(arn)
        entries = call.params.get("Entries") or []
        check_batch(entries, "SendMessageBatchRequestEntry")
        total = sum(size(entry) for entry in entries)
        if total > found.maximum_message_size:
            raise AwsError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {found.maximum_message_size} bytes. "
                f"You have sent {total} bytes.",
            )
        return each(entries, lambda entry: self._send(call, arn, entry))

    def _send(self, call: Call, arn: str, params: dict[str, Any]) -> dict[str, Any]:
        found, messages = self.queue(arn)
        now = self.aws.clock.now()
        body = params.get("MessageBody")
        attributes = params.get("MessageAttributes") or {}
        check_body(body)
        check_message_attributes(attributes)
        assert isinstance(body, str)
        if size(params) > found.maximum_message_size:
            raise AwsError(
                "InvalidParameterValue",
                "One or more parameters are invalid. Reason: Message must be shorter than "
                f"{found.maximum_message_size} bytes.",
            )
        group, deduplication = self._fifo_ids(found, params)
        delay = params.get("DelaySeconds")
        if delay is not None and not 0 <= delay <= 900:
            raise parameter_error(delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
        if found.fifo_queue and delay:
            raise parameter_error(
                delay,
                "DelaySeconds",
                "The request include parameter that is not valid for this queue type.",
            )
        delay = found.delay_seconds if delay is None else delay
        message = messages.send(
            Message(
                body=body,
                attributes=attributes,
                sender_id=_sender_id(call),
                sent=now,
                visible_at=now + delay,
                system_attributes=_system_attributes(call, params),
                group_id=group,
                deduplication_id=deduplication,
            ),
            per_group=found.deduplication_scope == "messageGroup",
        )
        answer = {"MessageId": message.message_id, "MD5OfMessageBody": md5(body)}
        if attributes:
            answer["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
        if params.get("MessageSystemAttributes"):
            answer["MD5OfMessageSystemAttributes"] = md5_of_attributes(
                params["MessageSystemAttributes"]
            )
        if message.sequence_number:
            answer["SequenceNumber"] = message.sequence_number
        return answer

    def _fifo_ids(self, found: Any, params: dict[str, Any]) -> tuple[str | None, str | None]:
        group = params.get("MessageGroupId")
        deduplication = params.get("MessageDeduplicationId")
        if not found.fifo_queue:
            if deduplication is not None:
                raise parameter_error(
                    deduplication,
                    "MessageDeduplicationId",
                    "The request includes a parameter that is not valid for this queue type.",
                )
            # Standard queues take a group since 2025: it asks for fairness, not for order.
            return group, None
        if not group:
            raise AwsError(
                "MissingParameter", "The request must contain the parameter MessageGroupId."
            )
        if not deduplication:
            if not found.content_based_deduplication:
                raise AwsError(
                    "InvalidParameterValue",
                    "The queue should either have ContentBasedDeduplication enabled or "
                    "MessageDeduplicationId provided explicitly",
                )
            deduplication = hashlib.sha256(params["MessageBody"].encode()).hexdigest()
        return group, deduplication

    # -- receiving ---------------------------------------------------------------------------

    def ReceiveMessage(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Up to ten messages; waits up to WaitTimeSeconds of lab time for the first."""
        params = call.params
        arn = self._arn(call)
        found, messages = self.queue(arn)
        most = params.get("MaxNumberOfMessages", 1)
        if not 1 <= most <= 10:
            raise parameter_error(
                most, "MaxNumberOfMessages", "Must be between 1 and 10, if provided."
            )
        wait = params.get("WaitTimeSeconds")
        wait = found.receive_message_wait_time_seconds if wait is None else wait
        if not 0 <= int(wait) <= 20:
            raise parameter_error(wait, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
        visibility = params.get("VisibilityTimeout")
        if visibility is not None:
            _check_visibility(visibility)
        try:
            taken = self.receive(arn, most, visibility)
            if not taken and int(wait):
                taken = self._poll(arn, messages, most, visibility, int(wait))
        except queues.OverLimit:
            raise AwsError(
                "OverLimit", "Too many messages in flight for this queue.", 403
            ) from None
        return {"Messages": [self._received(message, params) for message in taken]} if taken else {}

    def _poll(
        self, arn: str, messages: MessageQueue, most: int, visibility: float | None, wait: int
    ) -> list[Message]:
        """A long poll: wait for news, for a hidden message to surface, or for the end."""
        clock = self.aws.clock
        end = clock.now() + wait
        news = threading.Event()
        stop_listening = messages.listen(news.set)
        over = clock.call_at(end, news.set, name="end of a long poll")
        try:
            while True:
                taken = self.receive(arn, most, visibility)
                if taken or clock.now() >= end or self.aws.stopping.is_set():
                    return taken
                upcoming = messages.next_visible(clock.now())
                surfacing = None
                if upcoming is not None and upcoming < end:
                    surfacing = clock.call_at(upcoming, news.set, name="message visible again")
                news.wait()
                news.clear()
                if surfacing is not None:
                    surfacing.cancel()
        finally:
            stop_listening()
            over.cancel()

    def _received(self, message: Message, params: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "MessageId": message.message_id,
            "ReceiptHandle": message.receipt_handle,
            "MD5OfBody": md5(message.body),
            "Body": message.body,
        }
        asked = {
            *(params.get("AttributeNames") or []),
            *(params.get("MessageSystemAttributeNames") or []),
        }
        system = self.describe(message)
        if "All" not in asked:
            system = {name: value for name, value in system.items() if name in asked}
        if system:
            shown["Attributes"] = system
        attributes = wanted(message.attributes, params.get("MessageAttributeNames") or [])
        if attributes:
            shown["MessageAttributes"] = attributes
            shown["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
        return shown

    def _redrive(self, source_arn: str, target_arn: str, message: Message) -> None:
        try:
            target, messages = self.queue(target_arn)
        except AwsError:
            return  # AWS keeps it until it expires; a queue that is gone takes nothing.
        message.source_arn = source_arn
        message.visible_at = message.sent
        message.receipt_handle = None
        messages.accept(message)

    # -- afterwards --------------------------------------------------------------------------

    def DeleteMessage(self, call: Call, forward: Forward) -> None:
        """Nothing; the message is gone."""
        self._delete(self._arn(call), call.params.get("ReceiptHandle", ""))

    def DeleteMessageBatch(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What was deleted and what was not, entry by entry."""
        arn = self._arn(call)
        entries = call.params.get("Entries") or []
        check_batch(entries, "DeleteMessageBatchRequestEntry")
        return each(entries, lambda entry: self._delete(arn, entry.get("ReceiptHandle", "")))

    def _delete(self, arn: str, handle: str) -> None:
        _, messages = self.queue(arn)
        try:
            messages.delete(handle, self.aws.clock.now())
        except queues.ReceiptHandleInvalid:
            raise _invalid_handle(handle) from None
        except queues.ReceiptHandleExpired:
            raise parameter_error(
                handle, "ReceiptHandle", "The receipt handle has expired."
            ) from None

    def ChangeMessageVisibility(self, call: Call, forward: Forward) -> None:
        """Nothing; the message is hidden for the new timeout from now."""
        self._change_visibility(self._arn(call), call.params)

    def ChangeMessageVisibilityBatch(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What was changed and what was not, entry by entry."""
        arn = self._arn(call)
        entries = call.params.get("Entries") or []
        check_batch(entries, "ChangeMessageVisibilityBatchRequestEntry")
        return each(entries, lambda entry: self._change_visibility(arn, entry))

    def _change_visibility(self, arn: str, params: dict[str, Any]) -> None:
        timeout = params.get("VisibilityTimeout", 0)
        handle = params.get("ReceiptHandle", "")
        _check_visibility(timeout)
        _, messages = self.queue(arn)
        try:
            messages.change_visibility(handle, timeout, self.aws.clock.now())
        except queues.ReceiptHandleInvalid:
            raise _invalid_handle(handle) from None
        except queues.MessageNotInFlight:
            raise parameter_error(
                handle,
                "ReceiptHandle",
                "Message does not exist or is not available for visibility timeout change.",
            ) from None

    def PurgeQueue(self, call: Call, forward: Forward) -> None:
        """Nothing; the queue is empty. Once a minute at most."""
        arn = self._arn(call)
        _, messages = self.queue(arn)
        now = self.aws.clock.now()
        if now - self._purged.get(arn, float("-inf")) < PURGE_INTERVAL_SECONDS:
            raise AwsError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {arn.rsplit(':', 1)[1]} is allowed every 60 "
                "seconds.",
                403,
            )
        self._purged[arn] = now
        messages.purge()

    # -- the queue itself --------------------------------------------------------------------

    def CreateQueue(self, call: Call, forward: Forward) -> Reply:
        """The queue's URL; attributes out of range are refused as AWS refuses them."""
        check_attribute_ranges(call.params.get("Attributes") or {})
        check_policy((call.params.get("Attributes") or {}).get("Policy", ""))
        return forward()

    def SetQueueAttributes(self, call: Call, forward: Forward) -> Reply:
        """Nothing; attributes out of range are refused as AWS refuses them."""
        check_attribute_ranges(call.params.get("Attributes") or {})
        check_policy((call.params.get("Attributes") or {}).get("Policy", ""))
        return forward()

    def GetQueueAttributes(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """The attributes asked for, with counts of what is really there."""
        reply = forward()
        if not reply.ok:
            return reply
        found, messages = self.queue(self._arn(call))
        visible, in_flight, delayed = messages.counts(
            self.aws.clock.now(), found.message_retention_period
        )
        counts = {
            "ApproximateNumberOfMessages": visible,
            "ApproximateNumberOfMessagesNotVisible": in_flight,
            "ApproximateNumberOfMessagesDelayed": delayed,
        }
        answer = {k: v for k, v in reply.parsed().items() if k != "ResponseMetadata"}
        for name in ("CreatedTimestamp", "LastModifiedTimestamp"):
            if name in (answer.get("Attributes") or {}):
                answer["Attributes"][name] = answer["Attributes"][name].split(".")[0]
        for name, value in counts.items():
            if name in (answer.get("Attributes") or {}):
                answer["Attributes"][name] = str(value)
        return answer

    def _arn(self, call: Call) -> str:
        url = call.params.get("QueueUrl") or ""
        if not url:
            # The query protocol may name the queue by the URL the request was sent to.
            url = call.request.path
        parts = url.rstrip("/").split("/")
        account_id = parts[-2] if len(parts) > 1 and parts[-2].isdigit() else call.account_id
        return f"arn:aws:sqs:{call.region}:{account_id}:{parts[-1]}"


def _moto_queue(account_id: str, region: str, name: str) -> Any:
    queue = moto.backends.get_backend("sqs")[account_id][region].queues.get(name)
    if queue is None:
        raise AwsError("QueueDoesNotExist", "The specified queue does not exist.")
    return queue


def _system_attributes(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The message's own, with the trace that the sender's SDK sent along."""
    given = params.get("MessageSystemAttributes") or {}
    trace = recursion.carried(call.request.headers.get(recursion.HEADER))
    if trace is None or "AWSTraceHeader" in given:
        return given
    return {**given, "AWSTraceHeader": {"DataType": "String", "StringValue": trace}}


def _sender_id(call: Call) -> str:
    return call.notes.get("user_id") or call.principal.name or call.principal.arn


def _check_visibility(timeout: int) -> None:
    if not 0 <= timeout <= 43_200:
        raise parameter_error(
            timeout, "VisibilityTimeout", "Must be between 0 and 43200, if provided."
        )


def _invalid_handle(handle: str) -> AwsError:
    return AwsError(
        "ReceiptHandleIsInvalid",
        f'The input receipt handle "{handle}" is not a valid receipt handle.',
        404,
    )

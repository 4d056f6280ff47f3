"""Amazon SQS: messages go back from a dead-letter queue to where they came from.

Follows the Amazon SQS API Reference, "StartMessageMoveTask" and its two relatives.
"""

from __future__ import annotations

import uuid
from typing import Any

import moto.backends

from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.queues import Message, MessageQueue


class MessageMoves(ServiceLayer):
    """The three operations about moving messages; the layer of SQS has the queues."""

    def __init__(self, aws: Any) -> None:
        super().__init__(aws)
        self._moves: dict[str, dict[str, Any]] = {}

    def queue(self, arn: str) -> tuple[Any, MessageQueue]:
        """moto's queue and our messages for an ARN."""
        raise NotImplementedError

    def StartMessageMoveTask(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A task handle; the dead-letter queue's messages go back where they came from."""
        source_arn = call.params["SourceArn"]
        destination = call.params.get("DestinationArn")
        _, messages = self._by_arn(source_arn)
        if not self._is_dead_letter_queue(source_arn):
            raise AwsError(
                "InvalidParameterValue",
                "Source queue must be configured as a Dead Letter Queue.",
            )
        if destination:
            self._by_arn(destination)
        now = self.aws.clock.now()
        waiting = messages.messages()
        handle = str(uuid.uuid4())
        moved = 0
        for message in waiting:
            target = destination or message.source_arn
            if not target or message.in_flight:
                continue
            _, back = self._by_arn(target)
            body = message.body
            back.send(
                Message(
                    body=body,
                    attributes=message.attributes,
                    sender_id=message.sender_id,
                    sent=now,
                    visible_at=now,
                    message_id=message.message_id,
                    group_id=message.group_id,
                    deduplication_id=message.deduplication_id,
                )
            )
            messages.remove(message)
            moved += 1
        self._moves[handle] = {
            "TaskHandle": handle,
            "Status": "COMPLETED",
            "SourceArn": source_arn,
            **({"DestinationArn": destination} if destination else {}),
            "ApproximateNumberOfMessagesMoved": moved,
            "ApproximateNumberOfMessagesToMove": len(waiting),
            "StartedTimestamp": int(now * 1000),
        }
        return {"TaskHandle": handle}

    def ListMessageMoveTasks(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The latest tasks of one source queue, newest first."""
        source_arn = call.params["SourceArn"]
        self._by_arn(source_arn)
        tasks = [t for t in reversed(self._moves.values()) if t["SourceArn"] == source_arn]
        shown = tasks[: call.params.get("MaxResults") or 1]
        # A task that has ended has no handle any more.
        return {"Results": [{k: v for k, v in t.items() if k != "TaskHandle"} for t in shown]}

    def CancelMessageMoveTask(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Only a running task can be cancelled, and tasks here end before they are answered."""
        if call.params.get("TaskHandle") not in self._moves:
            raise AwsError("ResourceNotFoundException", "Task does not exist.", 404)
        raise AwsError(
            "InvalidParameterValue",
            "Only active tasks can be cancelled.",
        )

    def _is_dead_letter_queue(self, arn: str) -> bool:
        _, _, _, region, account_id, _ = arn.split(":", 5)
        backend = moto.backends.get_backend("sqs")[account_id][region]
        return any(
            (queue.redrive_policy or {}).get("deadLetterTargetArn") == arn
            for queue in list(backend.queues.values())
        )

    def _by_arn(self, arn: str) -> tuple[Any, MessageQueue]:
        try:
            return self.queue(arn)
        except (AwsError, ValueError):
            raise AwsError(
                "ResourceNotFoundException",
                "The resource that you specified for the SourceArn parameter doesn't exist.",
                404,
            ) from None

"""OrdersTable as the function's memory: which orders it has taken, and what is done for each.

Lambda delivers an event at least once: the same order can come again, in two invocations at the
same time, or in a retry after a crash half-way. One conditional PutItem decides who works on it,
and each finished effect is written down, so that nothing is lost and a repeat does only what is
left. PutItem is all the role allows, and all that is needed: when its condition fails, DynamoDB
sends the item that is there (ReturnValuesOnConditionCheckFailure).
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from orders import Rejected


class Run(NamedTuple):
    """This invocation: its request id (a retry keeps it), and when Lambda ends it at the latest."""

    request_id: str
    ends: int  # epoch seconds


class OrderTable:
    """The table of orders, written with PutItem alone."""

    def __init__(self, dynamodb, name: str):
        self.dynamodb = dynamodb
        self.name = name

    def claim(self, order: dict, s3_key: str | None, effects: list[str], run: Run) -> dict:
        """The order's item, now this run's to work on, or with Status DONE if nothing is left.

        `Rejected` when the stored order differs, or another run is working on it right now.
        """
        item = {
            "OrderId": order["OrderId"],
            "Amount": order["Amount"],
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "Status": "RECEIVED",
            **dict.fromkeys(effects, False),
            **_claimed_by(run),
            "Order": order,
        }
        if s3_key:
            item["S3Key"] = s3_key
        stored = self._put_if_new(item)
        if stored is None:
            return item
        if stored.get("Order") != order:
            raise Rejected(f"order {order['OrderId']} is already stored with different content")
        if stored["Status"] == "DONE":
            return stored
        if stored["RequestId"] != run.request_id and stored["ClaimedUntil"] > time.time():
            raise Rejected(f"order {order['OrderId']} is in the hands of another invocation")
        return self._replace(stored, {**stored, **_claimed_by(run)})

    def record(self, item: dict, effect: str) -> dict:
        """The item after writing down that an effect is done; the last one makes it DONE."""
        done = {**item, effect: True}
        if not any(value is False for value in done.values()):
            done["Status"] = "DONE"
            del done["ClaimedUntil"]
        return self._replace(item, done)

    def release(self, item: dict) -> None:
        """Let another run take over at once; if this fails, the claim ends with this run."""
        with contextlib.suppress(Exception):
            self._replace(item, {**item, "ClaimedUntil": Decimal(0)})

    def _put_if_new(self, item: dict) -> dict | None:
        try:
            self._put(item, "attribute_not_exists(OrderId)")
        except self.dynamodb.exceptions.ConditionalCheckFailedException as failed:
            read = TypeDeserializer().deserialize
            return {name: read(value) for name, value in failed.response["Item"].items()}
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            raise Rejected(f"DynamoDB refuses it: {error}") from error

    def _replace(self, seen: dict, item: dict) -> dict:
        """Write the item only if the claim is still the one we saw: a run that is late must stop."""
        values = {":run": seen["RequestId"], ":until": seen["ClaimedUntil"]}
        try:
            self._put(item, "RequestId = :run AND ClaimedUntil = :until", values)
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            raise Rejected(f"order {item['OrderId']} was taken by another invocation") from None
        return item

    def _put(self, item: dict, condition: str, values: dict | None = None) -> None:
        write = TypeSerializer().serialize
        request = {
            "TableName": self.name,
            "Item": {name: write(value) for name, value in item.items()},
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if values:
            request["ExpressionAttributeValues"] = {k: write(v) for k, v in values.items()}
        self.dynamodb.put_item(**request)


def _claimed_by(run: Run) -> dict:
    return {"RequestId": run.request_id, "ClaimedUntil": Decimal(run.ends)}

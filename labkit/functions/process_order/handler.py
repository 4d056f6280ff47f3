"""ProcessOrderFunction: stores every order, streams it, queues and announces it above 300.

Started by S3 when an object appears under orders/ (one order, or one per line), or by a test
event: an order such as {"OrderId": "A-1", "Amount": 42}, or {"orders": [order, order]}.
Every good order is processed; then, if any was bad, `RejectedOrders` says which and why, so that
the event is tried again and ends in the dead-letter destination instead of being forgotten.
"""

from __future__ import annotations

import os
import time
from decimal import Decimal

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from events import orders_in
from orders import Rejected, to_json
from table import OrderTable, Run

SETTINGS = ("TABLE_NAME", "STREAM_NAME", "QUEUE_URL", "TOPIC_ARN")
if missing := [name for name in SETTINGS if not os.environ.get(name)]:
    raise RuntimeError(f"environment variables not set: {', '.join(missing)}")
HIGH_VALUE_THRESHOLD = Decimal(os.environ.get("HIGH_VALUE_THRESHOLD", "300"))

# Made once per execution environment and kept between invocations. The time limits are shorter
# than the function's own, so that a call that hangs is reported, not cut off in silence.
config = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard"})
s3, dynamodb, kinesis, sqs, sns = (
    boto3.client(service, config=config) for service in ("s3", "dynamodb", "kinesis", "sqs", "sns")
)
table = OrderTable(dynamodb, os.environ["TABLE_NAME"])
logger = Logger(service="process-order", use_rfc3339=True)


class RejectedOrders(Exception):
    """Some of the orders could not be processed; the message names each with its reason."""


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event, context) -> dict:
    """Process the orders of one event; return how many, and what became of each."""
    logger.info("request", request=event)
    seconds_left = context.get_remaining_time_in_millis() / 1000
    run = Run(context.aws_request_id, ends=int(time.time() + seconds_left) + 1)
    try:
        response = process_all(event, run)
    except RejectedOrders:
        raise  # each reason is in the log already
    except Exception:
        logger.exception("failed")  # AWS refused a call: Lambda tries the whole event again
        raise
    logger.info("response", response=response)
    return response


def process_all(event, run: Run) -> dict:
    """Process every good order of the event, then raise `RejectedOrders` if there were bad ones."""
    results, rejections = [], []
    for where, s3_key, order in orders_in(event, s3):
        logger.append_keys(source=where, s3_key=s3_key, order_id=None)
        try:
            if isinstance(order, Rejected):
                raise order
            results.append(process(order, s3_key, run))
        except Rejected as reason:
            logger.error("order rejected", reason=str(reason))
            rejections.append(f"{where}: {reason}")
    logger.remove_keys(["source", "s3_key", "order_id"])
    if rejections:
        raise RejectedOrders(describe(rejections, len(results)))
    return {"processed": len(results), "orders": results}


def process(order: dict, s3_key: str | None, run: Run) -> dict:
    """Store one order and do what is due for it, or what an earlier run has left undone."""
    logger.append_keys(order_id=order["OrderId"])
    high_value = order["Amount"] > HIGH_VALUE_THRESHOLD
    due = list(EFFECTS) if high_value else ["Streamed"]
    item = table.claim(order, s3_key, due, run)
    result = "already done" if item["Status"] == "DONE" else "done"
    failures = []
    for name, effect in EFFECTS.items():
        if item.get(name) is False:
            try:
                effect(order)
                # After a crash right here the next run repeats the effect: "at least once".
                # So whoever reads the stream or the queue must be idempotent, by OrderId.
                item = table.record(item, name)
            except (ClientError, BotoCoreError) as error:  # the other effects need not suffer
                logger.error("effect failed", effect=name, reason=str(error))
                failures.append(error)
    if failures:
        table.release(item)
        raise failures[0]
    logger.info("order " + result, amount=order["Amount"], high_value=high_value)
    return {"OrderId": order["OrderId"], "result": result, "highValue": high_value}


def stream(order: dict) -> None:
    """Put the order on the stream for analytics; its OrderId decides the shard."""
    kinesis.put_record(
        StreamName=os.environ["STREAM_NAME"],
        PartitionKey=order["OrderId"],
        Data=to_json(order).encode(),
    )


def queue(order: dict) -> None:
    """Queue the order; Source tells this message from the topic's notification of the order."""
    sqs.send_message(
        QueueUrl=os.environ["QUEUE_URL"],
        MessageBody=to_json(order),
        MessageAttributes={"Source": {"DataType": "String", "StringValue": "function"}},
    )


def announce(order: dict) -> None:
    """Tell the topic's subscribers, people by e-mail among them."""
    sns.publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject="High-value order",
        Message=to_json(order),
        MessageAttributes={"Source": {"DataType": "String", "StringValue": "topic"}},
    )


EFFECTS = {"Streamed": stream, "Queued": queue, "Announced": announce}


def describe(rejections: list[str], processed: int) -> str:
    """The error message: how many were rejected, and each with its reason while they fit."""
    text = f"{len(rejections)} rejected, {processed} processed. "
    for rejection in rejections:
        if len(text) > 3000:
            return text + "..."
        text += rejection[:1300] + "; "
    return text[:-2]

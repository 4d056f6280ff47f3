"""The way of one order through every service, put together from what each of them stamped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from labkit import logs, reading
from labkit.logs import LogLine
from labkit.session import Lab

if TYPE_CHECKING:
    import pandas as pd

Step = tuple[datetime, str, str]


def of_order(lab: Lab, order_id: str) -> pd.DataFrame:
    """What happened to one order, in time: time (UTC), ms since the first, service, what.

    Raises LookupError for an order that is not in the table.
    """
    import pandas as pd

    item = reading.items(lab, [order_id]).get(order_id)
    if item is None:
        raise LookupError(f"{lab.names.table} has no order {order_id}")
    lines = logs.lines(lab)
    steps = [
        *_in_the_log(lines, order_id, item.get("S3Key")),
        *_in_the_table(lines, order_id, item["Timestamp"]),
        *_on_the_stream(lab, order_id),
        *_in_the_queue(lab, order_id),
        *_in_the_mailbox(lab, order_id),
    ]
    steps.sort()
    table = pd.DataFrame(steps, columns=["time", "service", "what"])
    table["time"] = pd.to_datetime(table["time"], utc=True)
    since = (table["time"] - table["time"].min()).dt.total_seconds() * 1000
    table.insert(1, "ms", since.round(1))
    return table


def _in_the_log(lines: list[LogLine], order_id: str, s3_key: str | None) -> Iterator[Step]:
    requests = []
    for line in lines:
        fields = line.fields or {}
        if fields.get("order_id") == order_id:
            yield line.time, "CloudWatch Logs", fields.get("message", "")
            if line.request_id not in requests:
                requests.append(line.request_id)
    for line in lines:
        if line.request_id in requests and line.platform in ("START", "END"):
            what = "function starts" if line.platform == "START" else "function ends"
            yield line.time, "Lambda", what
        request = (line.fields or {}).get("request")
        if s3_key and line.request_id in requests and isinstance(request, dict):
            for record in request.get("Records", []):
                if unquote_plus(record["s3"]["object"]["key"]) == s3_key:
                    yield datetime.fromisoformat(record["eventTime"]), "S3", "object created"


def _in_the_table(lines: list[LogLine], order_id: str, stamp: str) -> Iterator[Step]:
    # The function stamps the item with its own clock; its log lines carry that clock's time as
    # well as CloudWatch's, which tells how far the two are apart.
    ahead = timedelta()
    for line in lines:
        fields = line.fields or {}
        if fields.get("order_id") == order_id and "timestamp" in fields:
            ahead = line.time - datetime.fromisoformat(fields["timestamp"])
            break
    yield datetime.fromisoformat(stamp) + ahead, "DynamoDB", "item stored"


def _on_the_stream(lab: Lab, order_id: str) -> Iterator[Step]:
    for record in reading.stream_records(lab):
        if record.partition_key == order_id:
            yield record.arrived, "Kinesis", f"record in {record.shard}"


def _in_the_queue(lab: Lab, order_id: str) -> Iterator[Step]:
    for message in reading.messages(lab, lab.names.queue):
        if (message.order or {}).get("OrderId") != order_id:
            continue
        envelope = message.notification
        if envelope is None:
            yield message.sent, "SQS", "the function's message"
        else:
            yield datetime.fromisoformat(envelope["Timestamp"]), "SNS", "order announced"
            yield message.sent, "SQS", "the topic's notification"


def _in_the_mailbox(lab: Lab, order_id: str) -> Iterator[Step]:
    if lab.mailbox.readable:
        mail = reading.mails(lab).get(order_id)
        if mail is not None:
            yield mail.time, "E-mail", f"mail to {mail.to}"

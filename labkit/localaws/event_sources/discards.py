"""The record of a batch that was given up, and its way to the on-failure destination.

Follows the Lambda Developer Guide, "Retain discarded batch records" for Kinesis and DynamoDB. The
record says where the batch lies in the stream; only S3 gets the records themselves, too.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.destinations import queue_url
from labkit.localaws.event_sources.poller import aws_error
from labkit.localaws.event_sources.sources import ShardSource, StreamRecord, iso
from labkit.localaws.runtime.version import FunctionVersion

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws


@dataclass(frozen=True)
class Discard:
    """A batch given up: which records, why, after how many invocations."""

    shard_id: str
    records: tuple[StreamRecord, ...]
    condition: str
    invocations: int
    function_arn: str
    request_id: str
    # Of the last invocation; both None when it never came to one.
    executed_version: str | None = None
    function_error: str | None = None

    def record(self, source: ShardSource, now: float) -> dict[str, Any]:
        """The record as queues and topics get it."""
        shown: dict[str, Any] = {
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.function_arn,
                "condition": self.condition,
                "approximateInvokeCount": self.invocations,
            }
        }
        if self.executed_version is not None:
            shown["responseContext"] = {
                "statusCode": 200,
                "executedVersion": self.executed_version,
                "functionError": self.function_error,
            }
        first, last = self.records[0], self.records[-1]
        return {
            **shown,
            "version": "1.0",
            "timestamp": iso(now),
            source.batch_info: {
                "shardId": self.shard_id,
                "startSequenceNumber": str(first.sequence),
                "endSequenceNumber": str(last.sequence),
                "approximateArrivalOfFirstRecord": source.moment(first.arrived),
                "approximateArrivalOfLastRecord": source.moment(last.arrived),
                "batchSize": len(self.records),
                "streamArn": source.arn,
            },
        }


def deliver(
    aws: LocalAws,
    version: FunctionVersion,
    destination: str,
    source: ShardSource,
    mapping_uuid: str,
    discard: Discard,
) -> None:
    """Send the record of *discard* with the function's role; raises AwsError when refused."""
    now = aws.clock.now()
    record = discard.record(source, now)
    service = destination.split(":")[2]
    region = destination.split(":")[3] or None
    client = aws.client(service, principal=aws.function_principal(version), region=region)
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    try:
        if service == "sqs":
            client.send_message(QueueUrl=queue_url(aws, destination), MessageBody=body)
        elif service == "sns":
            client.publish(TopicArn=destination, Message=body)
        else:
            event = {"Records": [one.event for one in discard.records]}
            record["payload"] = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
            moment = datetime.fromtimestamp(now, UTC)
            client.put_object(
                Bucket=destination.split(":::")[1],
                Key=f"aws/lambda/{mapping_uuid}/{discard.shard_id}/{moment:%Y/%m/%d}/"
                f"{moment:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}",
                Body=json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode(),
            )
    except ClientError as problem:
        raise aws_error(problem) from problem

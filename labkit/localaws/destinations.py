"""Where the outcome of an asynchronous invocation goes: destinations and dead-letter queues.

Follows the Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations" and
"Adding a dead-letter queue". Everything is sent with the function's execution role, so a role
that may not send leaves nothing but a metric.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError
from labkit.localaws.runtime.result import InvocationResult
from labkit.localaws.runtime.version import FunctionVersion

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# A dead-letter message carries at most this much of the error message.
_DEAD_LETTER_MESSAGE_BYTES = 1024


def invocation_record(
    *,
    now: float,
    request_id: str,
    function_arn: str,
    condition: str,
    attempts: int,
    payload: bytes,
    executed_version: str,
    result: InvocationResult | None,
) -> dict[str, Any]:
    """The record of one asynchronous invocation as a destination receives it.

    ``condition`` is Success, RetriesExhausted or EventAgeExceeded. Without a result (the event
    never ran) there is no response in it.
    """
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": _iso(now),
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": _json(payload),
    }
    if result is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": executed_version}
        if result.function_error:
            context["functionError"] = result.function_error
        record["responseContext"] = context
        record["responsePayload"] = _json(result.payload)
    return record


def send(aws: LocalAws, version: FunctionVersion, arn: str, record: dict[str, Any]) -> None:
    """Send *record* to the destination *arn* with the function's role.

    Raises AwsError when the destination refuses it or does not exist.
    """
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    service = arn.split(":")[2]
    failed = bool(record.get("responseContext", {}).get("functionError")) or (
        record["requestContext"]["condition"] != "Success"
    )
    with _as_aws_errors():
        client = aws.client(service, principal=aws.function_principal(version))
        if service == "sqs":
            client.send_message(QueueUrl=queue_url(aws, arn), MessageBody=body)
        elif service == "sns":
            client.publish(TopicArn=arn, Message=body)
        elif service == "lambda":
            client.invoke(FunctionName=arn, InvocationType="Event", Payload=body.encode())
        elif service == "events":
            outcome = "Failure" if failed else "Success"
            answer = client.put_events(
                Entries=[
                    {
                        "EventBusName": arn,
                        "Source": "lambda",
                        "DetailType": f"Lambda Function Invocation Result - {outcome}",
                        "Resources": [record["requestContext"]["functionArn"], arn],
                        "Detail": body,
                    }
                ]
            )
            if answer.get("FailedEntryCount"):
                entry = answer["Entries"][0]
                raise AwsError(entry.get("ErrorCode", "InternalFailure"), "not put")
        elif service == "s3":
            when = datetime.now(UTC)
            client.put_object(
                Bucket=arn.split(":::")[1],
                Key=f"aws/lambda/async/{version.function_name}/{when:%Y/%m/%d}/"
                f"{when:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}",
                Body=body.encode(),
            )
        else:
            raise AwsError("InvalidParameterValueException", f"no such destination: {arn}")


def dead_letter(
    aws: LocalAws,
    version: FunctionVersion,
    arn: str,
    payload: bytes,
    request_id: str,
    status: int,
    message: str,
) -> None:
    """Send the event itself to a dead-letter queue or topic, told apart by three attributes.

    Raises AwsError when the target refuses it or does not exist.
    """
    short = message.encode()[:_DEAD_LETTER_MESSAGE_BYTES].decode(errors="ignore")
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": str(status)},
        "ErrorMessage": {"DataType": "String", "StringValue": short or "unknown"},
    }
    body = payload.decode(errors="replace")
    service = arn.split(":")[2]
    with _as_aws_errors():
        client = aws.client(service, principal=aws.function_principal(version))
        if service == "sqs":
            client.send_message(
                QueueUrl=queue_url(aws, arn), MessageBody=body, MessageAttributes=attributes
            )
        else:
            client.publish(TopicArn=arn, Message=body, MessageAttributes=attributes)


def queue_url(aws: LocalAws, arn: str) -> str:
    """The URL of the queue with this ARN."""
    account_id, name = arn.split(":")[4:6]
    return f"{aws.endpoint}/{account_id}/{name}"


class _as_aws_errors:
    """Turns botocore's ClientError into AwsError, so that callers know one kind."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, ClientError):
            error = problem.response["Error"]
            status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
            raise AwsError(error["Code"], error["Message"], status) from problem


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else {}
    except ValueError:
        return payload.decode(errors="replace")


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

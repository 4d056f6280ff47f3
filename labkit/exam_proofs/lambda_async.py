"""Proofs on asynchronous invocation: attempts, destinations, dead letters, and how to test it."""

from __future__ import annotations

import json

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow

FAILS = "def handler(event, context): raise ValueError('broken image')"


def on_failure_destination(aws: Bench) -> Observations:
    """lambda-01: a destination gets event and response, a dead-letter queue only the event."""
    awslambda, see = aws.client("lambda"), Observations()
    failed, dead = aws.queue("failed"), aws.queue("dead")
    function = aws.function(
        "thumbs",
        FAILS,
        allow("sqs:SendMessage"),
        DeadLetterConfig={"TargetArn": aws.queue_arn(dead)},
    )
    awslambda.put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnFailure": {"Destination": aws.queue_arn(failed)}},
    )
    aws.invoke_later(function, {"image": 1})
    aws.clock.advance(minutes=4)
    record = json.loads(aws.messages(failed, at_least=1)[0]["Body"])
    see(
        "The destination gets the event",
        record["requestPayload"],
        {"image": 1},
        supports="destination",
    )
    see(
        "and the response",
        record["responsePayload"]["errorMessage"],
        "broken image",
        supports="destination",
    )
    see(
        "and the number of attempts",
        record["requestContext"]["approximateInvokeCount"],
        3,
        supports="destination",
    )
    letter = aws.messages(dead, at_least=1)[0]
    see(
        "The dead-letter queue's body",
        json.loads(letter["Body"]),
        {"image": 1},
        refutes="dead-letter",
    )
    see(
        "MaximumRetryAttempts of 5",
        error_of(
            awslambda.put_function_event_invoke_config,
            FunctionName=function,
            MaximumRetryAttempts=5,
        ),
        lambda code: code != "no error",
        refutes="more-retries",
    )
    succeeded = aws.queue("succeeded")
    awslambda.put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnSuccess": {"Destination": aws.queue_arn(succeeded)}},
        MaximumRetryAttempts=0,
    )
    aws.invoke_later(function, {"image": 2})
    aws.clock.advance(minutes=4)
    see(
        "With an on-success destination, kept of a failure",
        aws.messages(succeeded),
        [],
        refutes="on-success",
    )
    return see


def three_attempts(aws: Bench) -> Observations:
    """lambda-02: a failing event is tried three times; a key taken from it makes that harmless."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("rows", "Id")
    code = (
        "import boto3, uuid\n"
        "table = boto3.client('dynamodb')\n"
        "def handler(event, context):\n"
        "    row = event.get('row') or str(uuid.uuid4())\n"
        f"    table.put_item(TableName='{table}', Item={{'Id': {{'S': row}}}})\n"
        "    raise RuntimeError('the partner is down')"
    )
    function = aws.function(
        "insert",
        code,
        allow("dynamodb:PutItem", aws.arn("dynamodb", f"table/{table}")),
        Timeout=30,
    )

    def rows() -> int:
        aws.lab.settle()
        return dynamodb.scan(TableName=table, ConsistentRead=True)["Count"]

    aws.invoke_later(function, {})
    see("Rows at once", rows(), 1, refutes="sdk-retried concurrent")
    aws.clock.advance(seconds=70)
    see("Rows after a minute", rows(), 2, supports="retried")
    aws.clock.advance(seconds=140)
    see("Rows after two more", rows(), 3, supports="retried", refutes="partner")
    aws.clock.advance(hours=1)
    see("Rows an hour later", rows(), 3, supports="retried")
    aws.client("lambda").put_function_concurrency(
        FunctionName=function, ReservedConcurrentExecutions=1
    )
    aws.invoke_later(function, {})
    aws.clock.advance(minutes=5)
    see("More rows of an event with a concurrency of one", rows() - 3, 3, refutes="concurrent")
    aws.invoke_later(function, {"row": "from the event"})
    aws.clock.advance(minutes=5)
    see("More rows with an id from the event", rows() - 6, 1, supports="retried")
    return see


def sync_has_no_destination(aws: Bench) -> Observations:
    """lambda-29: only asynchronous invocations have destinations."""
    awslambda, see = aws.client("lambda"), Observations()
    done = aws.queue("done")
    function = aws.function(
        "both",
        "def handler(event, context): return {'statusCode': 202}",
        allow("sqs:SendMessage"),
    )
    awslambda.put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnSuccess": {"Destination": aws.queue_arn(done)}},
    )
    see("RequestResponse returns", aws.invoke(function, {"by": "an API"}), {"statusCode": 202})
    see("In the destination", aws.messages(done), [], supports="async-only", refutes="status")
    aws.invoke_later(function, {"by": "S3"})
    record = json.loads(aws.messages(done, at_least=1)[0]["Body"])
    see(
        "After an Event, by the same caller on $LATEST",
        record["requestPayload"],
        {"by": "S3"},
        supports="async-only",
        refutes="permission qualifier",
    )
    return see


def test_asynchronous_flow(aws: Bench) -> Observations:
    """lambda-45: after an asynchronous start a test has to look until a deadline."""
    awslambda, dynamodb, see = aws.client("lambda"), aws.client("dynamodb"), Observations()
    s3, bucket, table = aws.client("s3"), aws.bucket(), aws.table("rows", "Id")
    code = (
        "import boto3, threading\n"
        "def handler(event, context):\n"
        "    threading.Event().wait(0.3)\n"
        "    key = event['Records'][0]['s3']['object']['key']\n"
        "    boto3.client('dynamodb').put_item(\n"
        f"        TableName='{table}', Item={{'Id': {{'S': key}}}})"
    )
    function = aws.function(
        "flow",
        code,
        allow("dynamodb:PutItem", aws.arn("dynamodb", f"table/{table}")),
        Timeout=30,
    )
    awslambda.add_permission(
        FunctionName=function,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
    )
    target = {
        "LambdaFunctionArn": aws.arn("lambda", f"function:{function}"),
        "Events": ["s3:ObjectCreated:*"],
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [target]}
    )

    def row_is_there() -> bool:
        key = {"Id": {"S": "order.json"}}
        return "Item" in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)

    s3.put_object(Bucket=bucket, Key="order.json", Body=b"{}")
    see("Right after the upload, read consistently", row_is_there(), False, refutes="consistent")
    see("Looked for until a deadline of 60 s", aws.until(row_is_there, 60), True, supports="poll")
    see(
        "An upload with InvocationType",
        error_of(s3.put_object, Bucket=bucket, Key="x", InvocationType="RequestResponse"),
        "ParamValidationError",
        refutes="sync-invoke",
    )
    return see

"""Proofs on invoking a function: statuses, errors, test events, logs, limits."""

from __future__ import annotations

import base64
import json

from labkit.exam_proofs.bench import LOGS, Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow


def invocation_types(aws: Bench) -> Observations:
    """lambda-03: Event answers 202 at once and runs later, DryRun runs nothing."""
    awslambda, see = aws.client("lambda"), Observations()
    ran = aws.queue("ran")
    code = "import json\ndef handler(event, context): return {'report': event['number']}"
    function = aws.function("report", code, allow("sqs:SendMessage"))
    awslambda.put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnSuccess": {"Destination": aws.queue_arn(ran)}},
    )

    def invoke(kind: str, number: int) -> tuple[int, bytes]:
        answer = awslambda.invoke(
            FunctionName=function, InvocationType=kind, Payload=json.dumps({"number": number})
        )
        return answer["StatusCode"], answer["Payload"].read()

    see("DryRun: status and answer", invoke("DryRun", 1), (204, b""))
    see("After the dry run, ran", aws.messages(ran), [], refutes="dry-run")
    see("Event: status and answer", invoke("Event", 2), (202, b""), supports="event")
    record = json.loads(aws.messages(ran, at_least=1)[0]["Body"])
    see(
        "Afterwards it ran and returned", record["responsePayload"], {"report": 2}, supports="event"
    )
    answer = awslambda.invoke(FunctionName=function, LogType="Tail", Payload='{"number": 3}')
    waited = json.loads(answer["Payload"].read())
    see("LogType Tail still waits for the result", waited, {"report": 3}, refutes="tail")
    return see


def function_error(aws: Bench) -> Observations:
    """lambda-04: an exception in the handler is status 200 with FunctionError."""
    awslambda, see = aws.client("lambda"), Observations()
    code = "def handler(event, context): raise ValueError('no such order')"
    function = aws.function("orders", code)
    answer = awslambda.invoke(FunctionName=function)
    see("StatusCode", answer["StatusCode"], 200, refutes="status-500 client-error")
    see("FunctionError", answer.get("FunctionError"), "Unhandled", supports="function-error")
    told = json.loads(answer["Payload"].read())
    see(
        "Payload",
        (told["errorType"], told["errorMessage"]),
        ("ValueError", "no such order"),
        supports="function-error",
    )
    see("LogResult", answer.get("LogResult"), None, refutes="log-result")
    return see


def test_event(aws: Bench) -> Observations:
    """lambda-23: a test event has the form of what the service will send."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="upload.txt", Body=b"one\ntwo")
    code = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    where = event['Records'][0]['s3']\n"
        "    found = boto3.client('s3').get_object(\n"
        "        Bucket=where['bucket']['name'], Key=where['object']['key'])\n"
        "    return found['Body'].read().decode()"
    )
    reading = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    function = aws.function("uploads", code, reading, Timeout=30)
    record = {"s3": {"bucket": {"name": bucket}, "object": {"key": "upload.txt"}}}
    see(
        "An event as S3 sends it",
        aws.invoke(function, {"Records": [record]}),
        "one\ntwo",
        supports="s3-event",
    )
    encoded = base64.b64encode(b"one\ntwo").decode()
    told = aws.invoke(function, {"body": encoded})
    see("The content in base64", told["errorType"], "KeyError", refutes="file-base64")
    told = aws.invoke(function, {"Records": f"https://{bucket}.s3.amazonaws.com/upload.txt"})
    see("The URL as Records", told["errorType"], "TypeError", refutes="object-url")
    told = aws.invoke(function, {"Records": ["one", "two"]})
    see("The lines as Records", told["errorType"], "TypeError", refutes="wrapped")
    return see


def queue_test_event(aws: Bench) -> Observations:
    """lambda-50: the body of a message is a text, in real events and so in test events."""
    sqs, see = aws.client("sqs"), Observations()
    naive = "def handler(event, context): return [r['body']['order'] for r in event['Records']]"
    parsing = (
        "import json\n"
        "def handler(event, context):\n"
        "    return [json.loads(r['body'])['order'] for r in event['Records']]"
    )
    function = aws.function("orders", naive)
    wrong = {"Records": [{"body": {"order": 7}}]}
    see("The test event as it was", aws.invoke(function, wrong), [7])
    queue = aws.queue("orders")
    sqs.send_message(QueueUrl=queue, MessageBody='{"order": 7}')
    real = aws.messages(queue, at_least=1)[0]["Body"]
    see(
        "The body of a real message",
        real,
        '{"order": 7}',
        supports="body-text",
        refutes="base64-body",
    )
    event = {"Records": [{"body": real}]}
    told = aws.invoke(function, event)
    see("The old code with a text as body", told["errorType"], "TypeError", supports="body-text")
    told = aws.invoke(function, {"Records": [{"Body": real}]})
    see("with Body", told["errorType"], "KeyError", refutes="body-capital")
    told = aws.invoke(function, {"body": real})
    see("without Records", told["errorType"], "KeyError", refutes="no-records")
    aws.update_code(function, parsing)
    see("Code that parses it", aws.invoke(function, event), [7], supports="body-text")
    return see


def dry_run(aws: Bench) -> Observations:
    """lambda-24: a dry run checks the permission and does not run the function."""
    see = Observations()
    ran = aws.queue("ran")
    function = aws.function(
        "payment", "def handler(event, context): return event", allow("sqs:SendMessage")
    )
    aws.client("lambda").put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnSuccess": {"Destination": aws.queue_arn(ran)}},
    )
    arn = aws.arn("lambda", f"function:{function}")
    may = aws.client("lambda", aws.session(aws.role("may", allow("lambda:InvokeFunction", arn))))
    reads = aws.client("lambda", aws.session(aws.role("reads", allow("lambda:GetFunction", arn))))
    dry = {"FunctionName": function, "InvocationType": "DryRun"}
    see("DryRun with the permission", may.invoke(**dry)["StatusCode"], 204, supports="dry-run")
    see(
        "DryRun without it",
        error_of(reads.invoke, **dry),
        "AccessDeniedException",
        supports="dry-run",
    )
    see(
        "GetFunction without it",
        error_of(reads.get_function, FunctionName=function),
        "no error",
        refutes="get-function",
    )
    see("Ran until now", aws.messages(ran), [], supports="dry-run")
    may.invoke(FunctionName=function, InvocationType="Event")
    see("Ran after Event", len(aws.messages(ran, at_least=1)), 1, refutes="event")
    answer = may.invoke(FunctionName=function, Payload=b"{}")
    see(
        "An empty event comes back from the function",
        json.loads(answer["Payload"].read()),
        {},
        refutes="empty",
    )
    return see


def log_tail(aws: Bench) -> Observations:
    """lambda-25: LogType Tail brings the end of the log, in base64, for synchronous calls."""
    awslambda, see = aws.client("lambda"), Observations()
    code = "def handler(event, context):\n    print('hello from the handler')\n    return 'result'"
    function = aws.function("talkative", code)
    answer = awslambda.invoke(FunctionName=function, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    see("In LogResult, decoded", "hello from the handler" in tail, True, supports="tail")
    see("In Payload", answer["Payload"].read(), b'"result"', refutes="payload")
    answer = awslambda.invoke(FunctionName=function, LogType="Tail", InvocationType="Event")
    see("LogResult of an Event", answer.get("LogResult"), None, refutes="event-tail")
    context = base64.b64encode(b'{"custom": {"logging": true}}').decode()
    answer = awslambda.invoke(FunctionName=function, ClientContext=context)
    see("LogResult with a client context", answer.get("LogResult"), None, refutes="client-context")
    aws.update_code(function, "def handler(event, context): print('x' * 100_000)")
    answer = awslambda.invoke(FunctionName=function, LogType="Tail")
    size = len(base64.b64decode(answer["LogResult"]))
    see("Bytes of a long log that come back", size, lambda n: n <= 4096, supports="tail")
    return see


def response_too_large(aws: Bench) -> Observations:
    """lambda-30: a response has 6 MB at most; a link to an object is always small enough."""
    awslambda, see = aws.client("lambda"), Observations()
    code = "def handler(event, context): return 'x' * event"
    function = aws.function("export", code, MemorySize=512, Timeout=30)
    see("5 MB", len(aws.invoke(function, 5_000_000)), 5_000_000)
    told = aws.invoke(function, 7_000_000)
    see("7 MB", told["errorType"], "Function.ResponseSizeTooLarge")
    awslambda.update_function_configuration(FunctionName=function, MemorySize=10240)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    told = aws.invoke(function, 7_000_000)
    see(
        "7 MB, with the most memory",
        told["errorType"],
        "Function.ResponseSizeTooLarge",
        refutes="memory",
    )
    answer = awslambda.invoke(FunctionName=function, InvocationType="Event", Payload=b"1")
    see("An Event returns", answer["Payload"].read(), b"", refutes="event")
    s3, bucket = aws.client("s3"), aws.bucket()
    s3.put_object(Bucket=bucket, Key="export", Body=b"x" * 7_000_000)
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "export"})
    see("Bytes of a link to 7 MB in S3", len(link), lambda n: n < 2000, supports="to-s3")
    return see


def json_logs(aws: Bench) -> Observations:
    """lambda-34: with the log format JSON the runtime writes documents, the code unchanged."""
    awslambda, see = aws.client("lambda"), Observations()
    code = (
        "import logging\n"
        "log = logging.getLogger()\n"
        "log.setLevel(logging.INFO)\n"
        "def handler(event, context):\n"
        "    log.info('stored order 7')\n"
        "    return context.aws_request_id"
    )
    function = aws.function("logging", code, LOGS)

    def line(*texts: str) -> str:
        def look() -> list[str]:
            lines = aws.log_lines(function, 0)
            return [line for line in lines if all(text in line for text in texts)]

        return aws.until(look, 20)[-1]

    aws.invoke(function)
    plain = line("stored order 7")
    see("By default", plain, lambda text: not text.startswith("{"))
    awslambda.update_function_configuration(
        FunctionName=function, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}
    )
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    request_id = aws.invoke(function)
    document = json.loads(line("stored order 7", request_id))
    see(
        "With LogFormat JSON: level, message, request id",
        (document.get("level"), document.get("message"), document.get("requestId")),
        ("INFO", "stored order 7", request_id),
        supports="log-format",
    )
    see("Its fields", sorted(document), lambda names: "timestamp" in names, supports="log-format")
    aws.client("logs").put_metric_filter(
        logGroupName=f"/aws/lambda/{function}",
        filterName="level",
        filterPattern="order",
        metricTransformations=[
            {"metricName": "m", "metricNamespace": aws.name("ns"), "metricValue": "1"}
        ],
    )
    see(
        "The plain line, after a metric filter was added",
        plain in aws.log_lines(function, 0),
        True,
        refutes="metric-filter",
    )
    return see

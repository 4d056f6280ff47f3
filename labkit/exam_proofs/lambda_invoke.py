"""Proofs on invoking a function: statuses, errors, time, state, logs, limits."""

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


def timed_out(aws: Bench) -> Observations:
    """lambda-05: a function that is not done in time is stopped, three seconds by default."""
    awslambda, see = aws.client("lambda"), Observations()
    code = (
        "import threading\n"
        "def handler(event, context):\n"
        "    threading.Event().wait(1.2)\n"
        "    return 'done'"
    )
    function = aws.function("patient", code)
    default = awslambda.get_function_configuration(FunctionName=function)["Timeout"]
    see("Time-out by default, seconds", default, 3)
    awslambda.update_function_configuration(FunctionName=function, Timeout=1, MemorySize=1769)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    told = aws.invoke(function)
    see(
        "A time-out of 1 s, 1,769 MB",
        told["errorMessage"],
        lambda text: "Task timed out after 1.00 seconds" in text,
        refutes="memory",
    )
    awslambda.update_function_configuration(FunctionName=function, Timeout=10, MemorySize=128)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)
    see("A time-out of 10 s, 128 MB", aws.invoke(function), "done", supports="timeout")
    see(
        "A time-out of 901 s",
        error_of(awslambda.update_function_configuration, FunctionName=function, Timeout=901),
        lambda code: code != "no error",
    )
    return see


def state_leaks(aws: Bench) -> Observations:
    """lambda-21: what the module holds lives as long as its environment."""
    see = Observations()
    leaking = (
        "warnings = []\n"
        "def handler(event, context):\n"
        "    warnings.append(event['customer'])\n"
        "    return warnings"
    )
    function = aws.function("leaking", leaking)
    see("For Ann", aws.invoke(function, {"customer": "Ann"}), ["Ann"])
    see(
        "For Bob",
        aws.invoke(function, {"customer": "Bob"}),
        ["Ann", "Bob"],
        supports="reused",
        refutes="parallel payload",
    )
    aws.update_code(function, leaking + "  # deployed again")
    see(
        "For Carol, in a new environment",
        aws.invoke(function, {"customer": "Carol"}),
        ["Carol"],
        supports="reused",
        refutes="sync",
    )
    clean = "def handler(event, context):\n    warnings = [event['customer']]\n    return warnings"
    aws.update_code(function, clean)
    found = [aws.invoke(function, {"customer": name}) for name in ("Ann", "Bob")]
    see("With the list in the handler", found, [["Ann"], ["Bob"]], supports="reused")
    return see


def init_once(aws: Bench) -> Observations:
    """lambda-22: code outside the handler runs once for each environment."""
    see = Observations()
    code = (
        "import os\n"
        "loads = 0\n"
        "def load():\n"
        "    global loads\n"
        "    loads += 1\n"
        "    return 'model'\n"
        "{outside}\n"
        "def handler(event, context):\n"
        "    {inside}\n"
        "    return [model, loads]"
    )
    function = aws.function("outside", code.format(outside="model = load()", inside="pass"))
    found = [aws.invoke(function)[1] for _ in range(3)]
    see("Loaded outside the handler: loads so far", found, [1, 1, 1], supports="outside-handler")
    aws.update_code(function, code.format(outside="", inside="model = load()"))
    found = [aws.invoke(function)[1] for _ in range(3)]
    see("Loaded in the handler: loads so far", found, [1, 2, 3])
    from_file = (
        "    kept = os.path.exists('/tmp/model')\n"
        "    open('/tmp/model', 'a').write('model')\n"
        "    model = load()\n"
        "    return [kept, loads]"
    )
    inside = code.split("    {inside}")[0].format(outside="") + from_file
    aws.update_code(function, inside)
    found = [aws.invoke(function) for _ in range(2)]
    see("Kept in /tmp: there, but loaded each time", found, [[False, 1], [True, 2]], refutes="tmp")
    huge = {"Variables": {"MODEL": "x" * 20_000}}
    see(
        "As an environment variable of 20 KB",
        error_of(
            aws.client("lambda").update_function_configuration,
            FunctionName=function,
            Environment=huge,
        ),
        "InvalidParameterValueException",
        refutes="env-variable",
    )
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


def remaining_time(aws: Bench) -> Observations:
    """lambda-28: the context tells how much time is left; nothing is raised at the end."""
    see = Observations()
    code = (
        "import os, threading\n"
        "def handler(event, context):\n"
        "    done = 0\n"
        "    try:\n"
        "        while not event.get('careful') or context.get_remaining_time_in_millis() > 500:\n"
        "            threading.Event().wait(0.1)\n"
        "            done += 1\n"
        "    except BaseException as error:\n"
        "        return repr(error)\n"
        "    return {'done': done, 'variable': os.environ.get('AWS_LAMBDA_TIMEOUT')}"
    )
    function = aws.function("list", code, Timeout=1)
    told = aws.invoke(function, {"careful": True})
    see(
        "Asking for the remaining time: items done",
        told["done"],
        lambda n: n >= 1,
        supports="remaining",
    )
    see("AWS_LAMBDA_TIMEOUT", told["variable"], None, refutes="env-timeout")
    told = aws.invoke(function, {})
    see(
        "Waiting for an exception",
        told.get("errorMessage", ""),
        lambda text: "timed out" in text,
        refutes="except",
    )
    echo = aws.function("echo", "def handler(event, context): return event")
    see("The event that arrives", aws.invoke(echo, {"a": 1}), {"a": 1}, refutes="deadline-event")
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

"""Proofs on CloudWatch Logs: filters, retention, permissions, queries, subscriptions, masking."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import timedelta

from labkit.exam_proofs.bench import LOGS, Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow


def _write(aws: Bench, group: str, *messages: str, **ago: float) -> None:
    """Writes log events to *group*, now or some time ago."""
    moment = int((aws.clock.now() - timedelta(**ago)).timestamp() * 1000)
    aws.client("logs").put_log_events(
        logGroupName=group,
        logStreamName="main",
        logEvents=[{"timestamp": moment + n, "message": text} for n, text in enumerate(messages)],
    )


def _found(aws: Bench, group: str, pattern: str) -> list[str]:
    events = aws.client("logs").filter_log_events(logGroupName=group, filterPattern=pattern)
    return [event["message"] for event in events["events"]]


def _query(aws: Bench, groups: list[str], text: str) -> list[dict[str, str]]:
    """The rows of an Insights query over the last day."""
    logs = aws.client("logs")
    now = aws.clock.now()
    query = logs.start_query(
        logGroupNames=groups,
        startTime=int((now - timedelta(days=1)).timestamp()),
        endTime=int(now.timestamp()) + 60,
        queryString=text,
    )["queryId"]

    def complete() -> bool:
        return logs.get_query_results(queryId=query)["status"] == "Complete"

    aws.until(complete)
    rows = logs.get_query_results(queryId=query)["results"]
    return [
        {field["field"]: field["value"] for field in row if field["field"] != "@ptr"}
        for row in rows
    ]


def metric_filter(aws: Bench) -> Observations:
    """logs-01: a metric filter counts what arrives after it was created."""
    logs, cloudwatch, see = aws.client("logs"), aws.client("cloudwatch"), Observations()
    group, space = aws.log_group("app"), aws.name("app")
    _write(aws, group, "ERROR one", "ERROR two", days=3)
    logs.put_metric_filter(
        logGroupName=group,
        filterName="errors",
        filterPattern="ERROR",
        metricTransformations=[
            {
                "metricName": "Errors",
                "metricNamespace": space,
                "metricValue": "1",
                "defaultValue": 0,
            }
        ],
    )

    def count(days: int) -> int:
        now = aws.clock.now()
        points = cloudwatch.get_metric_statistics(
            Namespace=space,
            MetricName="Errors",
            StartTime=now - timedelta(days=days),
            EndTime=now + timedelta(minutes=2),
            Period=86400,
            Statistics=["Sum"],
        )["Datapoints"]
        return int(sum(point["Sum"] for point in points))

    aws.clock.advance(minutes=2)
    see(
        "Errors of the last week, with a default value",
        count(7),
        0,
        supports="not-retroactive",
        refutes="default-value",
    )
    see("They are still in the log", len(_found(aws, group, "ERROR")), 2, refutes="retention")
    _write(aws, group, "ERROR three", "all well")
    see(
        "After a new error",
        aws.until(lambda: count(1), 180),
        1,
        supports="not-retroactive",
        refutes="quotes",
    )
    return see


def retention(aws: Bench) -> Observations:
    """logs-02: a log group keeps its events for ever unless it is given a retention."""
    logs, see = aws.client("logs"), Observations()
    group, copied = aws.log_group("app"), aws.log_group("copied")

    def setting(name: str):
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        return found[0].get("retentionInDays")

    see("Retention by default", setting(group), None)
    see(
        "Two days",
        error_of(logs.put_retention_policy, logGroupName=group, retentionInDays=2),
        "InvalidParameterException",
    )
    logs.put_retention_policy(logGroupName=group, retentionInDays=14)
    see("Fourteen days", setting(group), 14, supports="retention")
    for name in (group, copied):
        _write(aws, name, "old")
    aws.clock.advance(days=20)
    see(
        "Twenty days later, with a retention of 14",
        _found(aws, group, "old"),
        [],
        supports="retention",
    )
    see("Twenty days later, without", _found(aws, copied, "old"), ["old"], refutes="subscription")
    _write(aws, copied, "recent")
    logs.delete_log_stream(logGroupName=copied, logStreamName="main")
    see("After deleting the stream", _found(aws, copied, "recent"), [], refutes="delete-streams")
    see(
        "A retention on a function",
        error_of(
            aws.client("lambda").update_function_configuration,
            FunctionName=aws.name("f"),
            RetentionInDays=14,
        ),
        "ParamValidationError",
        refutes="log-level",
    )
    return see


def no_log_permission(aws: Bench) -> Observations:
    """logs-03: without permission for its logs a function works and leaves none."""
    logs, see = aws.client("logs"), Observations()
    code = "def handler(event, context): {print}return 'worked'"

    def has_log(function: str) -> bool:
        name = f"/aws/lambda/{function}"
        return bool(logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"])

    silent = aws.function("silent", code.format(print="print('hello'); "))
    see("A role without logs permissions: result", aws.invoke(silent), "worked")
    aws.lab.settle()
    see(
        "A role without logs permissions: log group",
        has_log(silent),
        False,
        supports="role",
        refutes="no-print",
    )
    quiet = aws.function("quiet", code.format(print=""), LOGS)
    aws.invoke_later(quiet)
    see(
        "With permissions, no print, invoked asynchronously",
        aws.until(lambda: has_log(quiet), 20),
        True,
        refutes="no-print async",
    )
    see(
        "Its lines",
        [line.split()[0] for line in aws.log_lines(quiet)],
        lambda words: "REPORT" in words,
        refutes="no-print",
    )
    strict = aws.function(
        "strict",
        code.format(print=""),
        LOGS,
        LoggingConfig={
            "LogFormat": "JSON",
            "ApplicationLogLevel": "ERROR",
            "SystemLogLevel": "INFO",
        },
    )
    aws.invoke(strict)
    see(
        "With the application's level ERROR",
        aws.until(lambda: has_log(strict), 20),
        True,
        refutes="log-level",
    )
    talking = aws.function("talking", code.format(print="print('hello'); "), LOGS)
    aws.invoke(talking)
    see(
        "The first function's code with a role that may write logs",
        aws.until(lambda: has_log(talking), 20),
        True,
        supports="role",
    )
    return see


def insights_stats(aws: Bench) -> Observations:
    """logs-04: filter, stats and sort find the paths with the most errors."""
    see = Observations()
    group = aws.log_group("app")
    events = [("ERROR", "/pay")] * 3 + [("ERROR", "/cart")] + [("INFO", "/home")] * 5
    _write(aws, group, *(json.dumps({"level": lv, "path": p}) for lv, p in events))
    aws.clock.advance(seconds=1)
    rows = _query(
        aws, [group], 'filter level = "ERROR" | stats count(*) as n by path | sort n desc'
    )
    see(
        "filter, stats, sort",
        [(row.get("path"), row.get("n")) for row in rows],
        [("/pay", "3"), ("/cart", "1")],
        supports="stats",
    )
    rows = _query(aws, [group], 'fields path, level | filter level = "ERROR" | sort path asc')
    see(
        "fields, filter, sort",
        [row.get("path") for row in rows],
        ["/cart"] + ["/pay"] * 3,
        refutes="fields",
    )
    rows = _query(aws, [group], 'filter path = "ERROR" | stats count(level) | limit 1')
    see(
        "filter on path",
        [row for row in rows if any(float(v) > 0 for v in row.values())],
        [],
        refutes="limit",
    )
    logs = aws.client("logs")
    now = int(aws.clock.now().timestamp())
    see(
        "SQL's words",
        error_of(
            logs.start_query,
            logGroupNames=[group],
            startTime=now - 3600,
            endTime=now,
            queryString='select path, count(*) | where level = "ERROR" | group by path',
        ),
        "MalformedQueryException",
        refutes="group",
    )
    return see


def json_pattern(aws: Bench) -> Observations:
    """logs-05: a pattern in braces is compared with fields of JSON events."""
    see = Observations()
    group = aws.log_group("app")
    error = json.dumps({"level": "ERROR", "message": "no money"})
    info = json.dumps({"level": "INFO", "message": "ERROR page shown"})
    _write(aws, group, error, info)
    see("ERROR", _found(aws, group, "ERROR"), [error, info])
    see(
        '{ $.level = "ERROR" }',
        _found(aws, group, '{ $.level = "ERROR" }'),
        [error],
        supports="json-pattern",
    )
    see('"level ERROR"', _found(aws, group, '"level ERROR"'), [], refutes="quoted")
    see(
        "level ERROR, as terms",
        _found(aws, group, "level ERROR"),
        [error, info],
        refutes="two-terms",
    )
    words = '[time, level = "ERROR", message]'
    see(words, _found(aws, group, words), [], refutes="brackets")
    return see


def subscription(aws: Bench) -> Observations:
    """logs-06: a subscription delivers base64 of gzipped JSON, at once."""
    logs, awslambda, see = aws.client("logs"), aws.client("lambda"), Observations()
    group, received = aws.log_group("security"), aws.queue("received")
    function = aws.function(
        "watch",
        "def handler(event, context): return event['awslogs']['data']",
        allow("sqs:SendMessage"),
    )
    awslambda.put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnSuccess": {"Destination": aws.queue_arn(received)}},
    )
    awslambda.add_permission(
        FunctionName=function,
        StatementId="logs",
        Action="lambda:InvokeFunction",
        Principal="logs.amazonaws.com",
        SourceArn=aws.arn("logs", f"log-group:{group}:*"),
    )
    logs.put_subscription_filter(
        logGroupName=group,
        filterName="all",
        filterPattern="DENIED",
        destinationArn=aws.arn("lambda", f"function:{function}"),
    )
    aws.defer(logs.delete_subscription_filter, logGroupName=group, filterName="all")
    _write(aws, group, "DENIED ann", "allowed bob")

    def data() -> list[str]:
        bodies = [json.loads(m["Body"]) for m in aws.messages(received)]
        return [
            body["responsePayload"]
            for body in bodies
            if "CONTROL_MESSAGE" not in _unpacked(body["responsePayload"])["messageType"]
        ]

    blob = aws.until(data)[0]
    try:
        json.loads(blob)
        told = "no error"
    except json.JSONDecodeError:
        told = "JSONDecodeError"
    see("json.loads of the data", told, "JSONDecodeError")
    document = _unpacked(blob)
    see(
        "Decoded and decompressed",
        [event["message"] for event in document["logEvents"]],
        ["DENIED ann"],
        supports="decode-gunzip",
        refutes="url-decode",
    )
    see(
        "The data as a token",
        error_of(logs.get_log_events, logGroupName=group, logStreamName="main", nextToken=blob),
        lambda code: code != "no error",
        refutes="fetch",
    )
    see(
        "kms:Decrypt of the data",
        error_of(aws.client("kms").decrypt, CiphertextBlob=base64.b64decode(blob)),
        lambda code: code != "no error",
        refutes="kms",
    )
    return see


def _unpacked(blob: str) -> dict:
    return json.loads(gzip.decompress(base64.b64decode(blob)))


def mask_before_logging(aws: Bench) -> Observations:
    """logs-08: only what is never written can't be read."""
    see = Observations()
    card = "4111111111111111"
    order = {"order": "7", "card": card}
    code = (
        "import json, sys\n"
        "def handler(event, context):\n"
        "    masked = {'order': event['order'], 'card': '*' * 12 + event['card'][-4:]}\n"
        "    {log}"
    )
    ways = {
        "mask": "print(json.dumps(masked))",
        "stderr": "print(json.dumps(event), file=sys.stderr)",
        "debug": (
            "import logging; logging.getLogger().setLevel('DEBUG'); "
            "logging.debug(json.dumps(event))"
        ),
    }
    leaks = {}
    for name, log in ways.items():
        function = aws.function(name, code.replace("{log}", log), LOGS)
        aws.invoke(function, order)

        def written(function: str = function) -> list[str]:
            return [line for line in aws.log_lines(function, 0) if '"7"' in line]

        leaks[name] = any(card in line for line in aws.until(written))
    see("The number in the log, named fields and mask", leaks["mask"], False, supports="mask")
    see("written to stderr", leaks["stderr"], True, refutes="stderr")
    see("at level DEBUG, once somebody turns it on", leaks["debug"], True, refutes="debug-level")
    return see


def follow_one_order(aws: Bench) -> Observations:
    """logs-09: one query over a field that all functions write shows an order's way."""
    see = Observations()
    groups = [aws.log_group(name) for name in ("take", "pay", "ship")]
    for position, group in enumerate(groups):
        for order in ("order-7", "order-8"):
            line = {"order_id": order, "step": position, "request_id": f"{order}-{position}"}
            _write(aws, group, json.dumps(line), minutes=10 - position)
    query = 'fields step | filter {field} = "{value}" | sort step asc'
    rows = _query(aws, groups, query.format(field="order_id", value="order-7"))
    see(
        "By the order's id",
        [row.get("step") for row in rows],
        ["0", "1", "2"],
        supports="correlation-id",
    )
    rows = _query(aws, groups, query.format(field="request_id", value="order-7-0"))
    see(
        "By one function's request id",
        [row.get("step") for row in rows],
        ["0"],
        refutes="request-id",
    )
    rows = _query(aws, groups, "fields step | sort @timestamp asc")
    see("All lines by time, of all orders", len(rows), 6, refutes="one-group")
    plain = aws.log_group("plain")
    _write(aws, plain, "DEBUG taking an order", "DEBUG paying")
    see(
        "Plain text, very detailed, by the order's id",
        _query(aws, [plain], 'filter order_id = "order-7"'),
        [],
        refutes="verbose",
    )
    return see

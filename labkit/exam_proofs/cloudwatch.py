"""Proofs on CloudWatch's metrics and alarms."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from labkit.exam_proofs.bench import LOGS, Bench
from labkit.exam_proofs.observations import Observations, error_of


def _points(aws: Bench, metric: dict, period: int = 60, minutes: int = 60, **statistics) -> list:
    """The data points of *metric* in the last *minutes*, oldest first."""
    now = aws.clock.now()
    found = aws.client("cloudwatch").get_metric_statistics(
        **metric,
        StartTime=now - timedelta(minutes=minutes),
        EndTime=now + timedelta(minutes=1),
        Period=period,
        **(statistics or {"Statistics": ["Sum"]}),
    )["Datapoints"]
    return sorted(found, key=lambda point: point["Timestamp"])


def _whole_minute(aws: Bench) -> datetime:
    """A whole minute of this AWS's time, at which a series can begin."""
    return aws.clock.now().replace(second=0, microsecond=0)


def _dimensions(**named: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in named.items()]


def high_resolution(aws: Bench) -> Observations:
    """cloudwatch-01: StorageResolution 1 keeps seconds apart, the default joins a minute."""
    cloudwatch, see = aws.client("cloudwatch"), Observations()
    space = aws.name("trading")
    aws.clock.advance(seconds=60)
    start = _whole_minute(aws) - timedelta(minutes=1)
    for metric, resolution in (("Fine", 1), ("Coarse", 60)):
        cloudwatch.put_metric_data(
            Namespace=space,
            MetricData=[
                {
                    "MetricName": metric,
                    "Value": second,
                    "Timestamp": start + timedelta(seconds=second),
                    "StorageResolution": resolution,
                }
                for second in (1, 2, 3)
            ],
        )
    fine = _points(aws, {"Namespace": space, "MetricName": "Fine"}, period=1, minutes=5)
    see(
        "StorageResolution 1: values by second",
        [point["Sum"] for point in fine],
        [1.0, 2.0, 3.0],
        supports="storage-resolution",
    )
    coarse = _points(aws, {"Namespace": space, "MetricName": "Coarse"})
    see("StorageResolution 60: values by minute", [point["Sum"] for point in coarse], [6.0])
    cloudwatch.put_metric_data(
        Namespace=space,
        MetricData=[
            {"MetricName": "Many", "Values": [1, 2, 3], "Counts": [1, 1, 1], "Timestamp": start}
        ],
    )
    many = _points(aws, {"Namespace": space, "MetricName": "Many"})
    see("Values and Counts: points", len(many), 1, refutes="more-values")
    see(
        "An alarm with a period of one second",
        error_of(
            cloudwatch.put_metric_alarm,
            AlarmName=aws.name("a"),
            Namespace=space,
            MetricName="Fine",
            Period=1,
            EvaluationPeriods=1,
            Threshold=0,
            Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        ),
        lambda code: code != "no error",
        refutes="period",
    )
    return see


def embedded_metrics(aws: Bench) -> Observations:
    """cloudwatch-02: a log line in the embedded metric format becomes a metric and stays a line."""
    see = Observations()
    space = aws.name("shop")
    code = (
        "import json, time\n"
        "collected = []\n"
        "def handler(event, context):\n"
        "    collected.append(event['items'])\n"
        "    print(json.dumps({\n"
        "        '_aws': {\n"
        "            'Timestamp': event['now'],\n"
        "            'CloudWatchMetrics': [{\n"
        f"                'Namespace': '{space}',\n"
        "                'Dimensions': [['Country']],\n"
        "                'Metrics': [{'Name': 'Items', 'Unit': 'Count'}],\n"
        "            }],\n"
        "        },\n"
        "        'Country': event['country'], 'Items': event['items'], 'Order': event['order'],\n"
        "    }))\n"
        "    return collected"
    )
    function = aws.function("orders", code, LOGS)
    for order, (country, items) in enumerate((("DE", 3), ("DE", 4), ("FR", 5))):
        now = int(aws.clock.now().timestamp() * 1000)
        event = {"country": country, "items": items, "order": f"order-{order}", "now": now}
        kept = aws.invoke(function, event)
    metric = {"Namespace": space, "MetricName": "Items"}
    of_germany = metric | {"Dimensions": _dimensions(Country="DE")}
    total = aws.until(lambda: sum(p["Sum"] for p in _points(aws, of_germany, minutes=180)))
    see("The metric Items for DE", total, 7.0, supports="emf")
    lines = [line for line in aws.log_lines(function) if "order-2" in line]
    see("The line remains, with its fields", json.loads(lines[0])["Items"], 5, supports="emf")
    aws.update_code(function, code + "\n# deployed again")
    event["now"] = int(aws.clock.now().timestamp() * 1000)
    see(
        "A module-level list, before and after its environment ended",
        (kept, aws.invoke(function, event)),
        ([3, 4, 5], [5]),
        refutes="batch",
    )
    return see


def alarm_on_new_version(aws: Bench) -> Observations:
    """cloudwatch-05: behind a weighted alias, metrics tell apart which version ran."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", "def handler(event, context): return 'fine'")
    old = awslambda.publish_version(FunctionName=function)["Version"]
    aws.update_code(function, "def handler(event, context): raise ValueError('new bug')")
    new = awslambda.publish_version(FunctionName=function)["Version"]
    awslambda.create_alias(
        FunctionName=function,
        Name="live",
        FunctionVersion=old,
        RoutingConfig={"AdditionalVersionWeights": {new: 0.5}},
    )
    failed = ran = 0
    while not 0 < failed < ran:
        answer = awslambda.invoke(FunctionName=function, Qualifier="live")
        ran, failed = ran + 1, failed + ("FunctionError" in answer)

    def errors(**dimensions: str) -> tuple[int, int]:
        named = _dimensions(FunctionName=function, **dimensions)
        metric = {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Dimensions": named}
        points = _points(aws, metric, period=3600, minutes=180, Statistics=["Sum", "SampleCount"])
        return (
            int(sum(point["Sum"] for point in points)),
            int(sum(point["SampleCount"] for point in points)),
        )

    aws.until(lambda: errors()[1] == ran)
    live = {"Resource": f"{function}:live"}
    see(
        "Errors and invocations of the new version behind live",
        errors(**live, ExecutedVersion=new),
        (failed, failed),
        supports="executed-version",
    )
    see(
        "of the old version behind live",
        errors(**live, ExecutedVersion=old),
        (0, ran - failed),
        supports="executed-version",
    )
    see("of the function", errors(), (failed, ran), refutes="function")
    letters = {
        "Namespace": "AWS/Lambda",
        "MetricName": "DeadLetterErrors",
        "Dimensions": _dimensions(FunctionName=function),
    }
    see(
        "DeadLetterErrors",
        sum(p["Sum"] for p in _points(aws, letters, minutes=180)),
        0,
        refutes="dead-letter",
    )
    return see


def percentile(aws: Bench) -> Observations:
    """cloudwatch-06: a high percentile shows the slow few that an average hides."""
    cloudwatch, see = aws.client("cloudwatch"), Observations()
    space = aws.name("api")
    cloudwatch.put_metric_data(
        Namespace=space,
        MetricData=[
            {
                "MetricName": "Duration",
                "Timestamp": aws.clock.now(),
                "Values": [20.0, 5000.0],
                "Counts": [980.0, 20.0],
            }
        ],
    )
    metric = {"Namespace": space, "MetricName": "Duration"}

    def one(**statistics) -> dict:
        return _points(aws, metric, period=3600, minutes=120, **statistics)[-1]

    plain = one(Statistics=["Average", "Minimum", "SampleCount", "Sum"])
    see("Average of 980 fast and 20 slow calls, ms", round(plain["Average"]), 120)
    see("Minimum", plain["Minimum"], 20.0, refutes="minimum")
    see("SampleCount", plain["SampleCount"], 1000.0, refutes="sample-count")
    see("Sum", plain["Sum"], 119_600.0, refutes="sum")
    high = one(ExtendedStatistics=["p99"])["ExtendedStatistics"]["p99"]
    see("p99", high, lambda ms: ms > 4000, supports="p99")
    return see


def dimensions(aws: Bench) -> Observations:
    """cloudwatch-07: a metric is its name with exactly its dimensions."""
    cloudwatch, see = aws.client("cloudwatch"), Observations()
    space = aws.name("app")
    both = _dimensions(Service="cart", Region="eu")
    cloudwatch.put_metric_data(
        Namespace=space,
        MetricData=[
            {"MetricName": "Latency", "Value": 5, "Dimensions": both, "Timestamp": aws.clock.now()}
        ],
    )

    def total(named: list) -> float:
        metric = {"Namespace": space, "MetricName": "Latency", "Dimensions": named}
        return sum(point["Sum"] for point in _points(aws, metric))

    see("With both dimensions", total(both), 5.0, supports="exact", refutes="namespace")
    see("With both, in the other order", total(both[::-1]), 5.0, refutes="order")
    see("With one of them", total(both[:1]), 0, supports="exact")
    aws.clock.advance(minutes=50)
    see("With one of them, fifty minutes later", total(both[:1]), 0, refutes="delay")
    cloudwatch.put_metric_data(
        Namespace=space,
        MetricData=[
            {
                "MetricName": "Latency",
                "Value": 5,
                "Dimensions": both[:1],
                "Timestamp": aws.clock.now(),
            }
        ],
    )
    see("Once the coarser metric is published, too", total(both[:1]), 5.0, supports="exact")
    return see


def report_line(aws: Bench) -> Observations:
    """cloudwatch-10: the REPORT line tells the memory that was used."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", "def handler(event, context): pass", LOGS, MemorySize=512)
    answer = awslambda.invoke(FunctionName=function)
    see(
        "Keys of Invoke's answer",
        sorted(answer),
        lambda keys: "MemoryUsed" not in keys,
        refutes="response",
    )
    report = next(
        line
        for line in aws.until(
            lambda: [x for x in aws.log_lines(function, 0) if x.startswith("REPORT")]
        )
    )
    fields = dict(part.split(": ", 1) for part in report.split("\t") if ": " in part)
    see("Memory Size in the REPORT line", fields["Memory Size"], "512 MB", supports="report")
    used = int(fields["Max Memory Used"].split()[0])
    see("Max Memory Used, MB", used, lambda mb: 0 < mb < 512, supports="report")
    configured = awslambda.get_function_configuration(FunctionName=function)["MemorySize"]
    see("MemorySize of the configuration", configured, 512, refutes="configuration")
    aws.clock.advance(minutes=2)
    found = aws.client("cloudwatch").list_metrics(
        Namespace="AWS/Lambda",
        Dimensions=[{"Name": "FunctionName", "Value": function}],
    )["Metrics"]
    names = {metric["MetricName"] for metric in found}
    see(
        "Metrics of the function",
        sorted(names),
        lambda n: n and not any("Memory" in x for x in n),
        refutes="metric",
    )
    return see

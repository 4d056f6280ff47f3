"""Proofs on event source mappings: queues and streams that Lambda polls."""

from __future__ import annotations

import json

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_and_message, error_of
from labkit.exam_proofs.policies import allow

POLL_QUEUE = allow("sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes sqs:SendMessage")
POLL_STREAM = allow(
    "kinesis:GetRecords kinesis:GetShardIterator kinesis:DescribeStream "
    "kinesis:DescribeStreamSummary kinesis:ListShards kinesis:ListStreams sqs:SendMessage"
)


def _mapping(aws: Bench, source: str, function: str, **config) -> str:
    """The id of a new event source mapping, enabled."""
    awslambda = aws.client("lambda")
    mapping = awslambda.create_event_source_mapping(
        EventSourceArn=source, FunctionName=function, **config
    )["UUID"]
    aws.defer(awslambda.delete_event_source_mapping, UUID=mapping)

    def enabled() -> bool:
        return awslambda.get_event_source_mapping(UUID=mapping)["State"] == "Enabled"

    aws.until(enabled)
    return mapping


def _in_queue(aws: Bench, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


def visibility_shorter_than_timeout(aws: Bench) -> Observations:
    """lambda-17: a queue must hide its messages as long as the function may work on them."""
    awslambda, sqs, see = aws.client("lambda"), aws.client("sqs"), Observations()
    function = aws.function("slow", "def handler(e, c): pass", POLL_QUEUE, Timeout=60)
    queue = aws.queue("work")

    def create(url: str, **more) -> tuple[str, str]:
        return error_and_message(
            awslambda.create_event_source_mapping,
            EventSourceArn=aws.queue_arn(url),
            FunctionName=function,
            Enabled=False,
            **more,
        )

    code, message = create(queue)
    see("Visibility 30 s, timeout 60 s", code, "InvalidParameterValueException")
    see("Message", message, lambda text: "visibility timeout" in text.lower())
    see(
        "With a batch size of one",
        create(queue, BatchSize=1)[0],
        "InvalidParameterValueException",
        refutes="batch-one",
    )
    fifo = aws.queue("work.fifo", FifoQueue="true")
    see("With a FIFO queue", create(fifo)[0], "InvalidParameterValueException", refutes="fifo")
    see(
        "With a starting position",
        create(queue, StartingPosition="LATEST")[0],
        "InvalidParameterValueException",
        refutes="starting-position",
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "360"})
    see("Visibility 360 s", create(queue)[0], "no error", supports="raise-visibility")
    listed = awslambda.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    for mapping in listed:
        awslambda.delete_event_source_mapping(UUID=mapping["UUID"])
    return see


def partial_batch(aws: Bench) -> Observations:
    """lambda-18: with ReportBatchItemFailures only the messages that are listed come back."""
    sqs, see = aws.client("sqs"), Observations()
    code = (
        "import json\n"
        "def handler(event, context):\n"
        "    bad = [r['messageId'] for r in event['Records'] if r['body'] == 'bad']\n"
        "    print('BATCH', json.dumps(sorted(r['body'] for r in event['Records'])))\n"
        "    {ending}"
    )
    endings = {
        "raise": "if bad: raise ValueError('bad message')",
        "report": "return {'batchItemFailures': [{'itemIdentifier': i} for i in bad]}",
        "status": "return {'statusCode': 500}",
    }
    left = {}
    for name, ending in endings.items():
        queue = aws.queue(name, VisibilityTimeout=60)
        function = aws.function(name, code.replace("{ending}", ending), POLL_QUEUE, Timeout=10)
        entries = [{"Id": str(n), "MessageBody": f"good {n}"} for n in range(4)]
        entries.append({"Id": "bad", "MessageBody": "bad"})
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
        report = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
        config = report if name == "report" else {}
        _mapping(aws, aws.queue_arn(queue), function, BatchSize=10, **config)
        aws.clock.advance(seconds=3)
        left[name] = _in_queue(aws, queue)
    see("An exception: messages that come back, of five", left["raise"], 5)
    see(
        "Reported failures: messages that come back",
        left["report"],
        1,
        supports="report return-failures",
    )
    see("A statusCode of 500: messages that come back", left["status"], 0, refutes="return-500")
    failures = {"OnFailure": {"Destination": aws.queue_arn(aws.queue("failures"))}}
    aws.client("lambda").put_function_event_invoke_config(
        FunctionName=function, DestinationConfig=failures
    )
    aws.clock.advance(seconds=61)
    see(
        "With an on-failure destination for asynchronous events, sent there",
        aws.messages(aws.client("sqs").get_queue_url(QueueName=aws.name("failures"))["QueueUrl"]),
        [],
        refutes="destination",
    )
    return see


def poison_record(aws: Bench) -> Observations:
    """lambda-19: bisecting and few retries let a shard go on, a destination keeps the bad record."""
    kinesis, see = aws.client("kinesis"), Observations()
    code = (
        "import base64\n"
        "def handler(event, context):\n"
        "    for record in event['Records']:\n"
        "        text = base64.b64decode(record['kinesis']['data']).decode()\n"
        "        if text == 'poison': raise ValueError(text)\n"
        "        print('HANDLED', text)"
    )
    logs = allow("logs:*")
    failed, stream = aws.queue("failed"), aws.stream("orders")
    texts = ["good 1", "good 2", "poison", "good 3"]
    kinesis.put_records(
        StreamName=stream,
        Records=[{"Data": text.encode(), "PartitionKey": "k"} for text in texts],
    )
    arn = aws.arn("kinesis", f"stream/{stream}")

    def handled(function: str) -> set[str]:
        return {
            line.split("HANDLED ")[1] for line in aws.log_lines(function, 0) if "HANDLED " in line
        }

    stuck = aws.function("stuck", code, POLL_STREAM, logs)
    _mapping(
        aws, arn, stuck, StartingPosition="TRIM_HORIZON", BatchSize=4, ParallelizationFactor=10
    )
    aws.clock.advance(minutes=10)
    see(
        "Defaults and ten parallel batches, ten minutes later, handled",
        handled(stuck),
        {"good 1", "good 2"},
        refutes="parallel bigger-batch",
    )
    moving = aws.function("moving", code, POLL_STREAM, logs)
    _mapping(
        aws,
        arn,
        moving,
        StartingPosition="TRIM_HORIZON",
        BatchSize=4,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": aws.queue_arn(failed)}},
    )
    aws.clock.advance(minutes=10)
    see(
        "With bisect and two retries, handled",
        handled(moving),
        {"good 1", "good 2", "good 3"},
        supports="bisect retries",
    )
    record = json.loads(aws.messages(failed, at_least=1)[0]["Body"])
    batch = record["KinesisBatchInfo"]
    see(
        "In the destination: the stream and the size of the batch",
        (batch["streamArn"], batch["batchSize"]),
        (arn, 1),
        supports="destination bisect",
    )
    shard = kinesis.get_shard_iterator(
        StreamName=stream,
        ShardId=batch["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=batch["startSequenceNumber"],
    )["ShardIterator"]
    found = kinesis.get_records(ShardIterator=shard, Limit=1)["Records"][0]["Data"]
    see("The record that it points to", found, b"poison", supports="destination")
    see(
        "A redrive policy on a stream",
        error_of(kinesis.create_stream, StreamName=aws.name("x"), ShardCount=1, RedrivePolicy="{}"),
        "ParamValidationError",
        refutes="redrive",
    )
    return see


def event_filter(aws: Bench) -> Observations:
    """lambda-20: what does not match the filter is deleted and starts no invocation."""
    sqs, see = aws.client("sqs"), Observations()
    code = (
        "import json\n"
        "def handler(event, context):\n"
        "    print('AMOUNTS', [json.loads(r['body'])['amount'] for r in event['Records']])"
    )
    logs = allow("logs:*")
    seen = {}
    pattern = {"body": {"amount": [{"numeric": [">", 300]}]}}
    criteria = {"FilterCriteria": {"Filters": [{"Pattern": json.dumps(pattern)}]}}
    window = {"MaximumBatchingWindowInSeconds": 20, "BatchSize": 100}
    for name, config in (("filtered", criteria), ("window", window)):
        queue = aws.queue(name, VisibilityTimeout=60)
        function = aws.function(name, code, POLL_QUEUE, logs)
        _mapping(aws, aws.queue_arn(queue), function, **config)
        for amount in (50, 301, 300):
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"amount": amount}))

        def handled(function: str = function) -> list[int]:
            lines = [x for x in aws.log_lines(function, 0) if x.startswith("AMOUNTS")]
            return sorted(sum((json.loads(x.split(" ", 1)[1]) for x in lines), []))

        expected = 1 if name == "filtered" else 3
        aws.until(lambda handled=handled, n=expected: len(handled()) >= n, 40)
        aws.clock.advance(seconds=25)
        seen[name] = handled()
        if name == "filtered":
            see("Messages left in the queue", _in_queue(aws, queue), 0, supports="filter")
    see(
        "Amounts of 50, 301, 300: handled with the filter",
        seen["filtered"],
        [301],
        supports="filter",
    )
    see("Handled with a batching window", seen["window"], [50, 300, 301], refutes="batch-window")
    return see


def pause_consumer(aws: Bench) -> Observations:
    """lambda-49: a disabled mapping leaves the messages alone, a throttled one wears them out."""
    awslambda, sqs, see = aws.client("lambda"), aws.client("sqs"), Observations()
    code = "def handler(event, context): return len(event['Records'])"
    where = {}
    for name in ("disabled", "throttled"):
        dead = aws.queue(f"{name}-dead")
        target = {"deadLetterTargetArn": aws.queue_arn(dead), "maxReceiveCount": 3}
        queue = aws.queue(name, VisibilityTimeout=60, RedrivePolicy=target)
        function = aws.function(name, code, POLL_QUEUE, Timeout=10)
        mapping = _mapping(aws, aws.queue_arn(queue), function)
        if name == "disabled":
            awslambda.update_event_source_mapping(UUID=mapping, Enabled=False)
        else:
            awslambda.put_function_concurrency(
                FunctionName=function, ReservedConcurrentExecutions=0
            )

        def ready(mapping: str = mapping) -> bool:
            state = awslambda.get_event_source_mapping(UUID=mapping)["State"]
            return state in ("Enabled", "Disabled")

        aws.until(ready)
        sqs.send_message(QueueUrl=queue, MessageBody="order 7")
        where[name] = (queue, dead, mapping)
    aws.clock.advance(hours=1)
    counts = {
        name: (_in_queue(aws, queue), _in_queue(aws, dead))
        for name, (queue, dead, _) in where.items()
    }
    see(
        "Disabled for an hour: in the queue, in the dead-letter queue",
        counts["disabled"],
        (1, 0),
        supports="disable-mapping",
    )
    see("Throttled for an hour", counts["throttled"], (0, 1), refutes="reserve-zero")
    queue, dead, mapping = where["disabled"]
    awslambda.update_event_source_mapping(UUID=mapping, Enabled=True)
    see(
        "Enabled again: the queue is worked off",
        aws.until(lambda: _in_queue(aws, queue) == 0 and _in_queue(aws, dead) == 0),
        True,
        supports="disable-mapping",
    )
    return see

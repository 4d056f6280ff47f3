"""Proofs on SQS: visibility, dead-letter queues, FIFO, sizes, delays, polling, batches."""

from __future__ import annotations

import threading

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of


def _receive(sqs, queue: str, **params) -> list[str]:
    """The bodies of one ReceiveMessage call; nothing is deleted."""
    answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, **params)
    return [message["Body"] for message in answer.get("Messages", [])]


def visibility_timeout(aws: Bench) -> Observations:
    """sqs-01: a received message is only hidden, and by default for 30 seconds."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("videos")
    sqs.send_message(QueueUrl=queue, MessageBody="video-1")
    see("A worker receives", _receive(sqs, queue), ["video-1"])
    see("A second worker, at once", _receive(sqs, queue), [])
    aws.clock.advance(seconds=31)
    see("A second worker, 31 s later", _receive(sqs, queue), ["video-1"], refutes="raise-retention")

    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"ReceiveMessageWaitTimeSeconds": "20"})
    aws.clock.advance(seconds=31)
    see("With long polling, 31 s later", _receive(sqs, queue), ["video-1"], refutes="long-polling")

    sqs.set_queue_attributes(
        QueueUrl=queue,
        Attributes={"VisibilityTimeout": "180", "ReceiveMessageWaitTimeSeconds": "0"},
    )
    aws.clock.advance(seconds=31)
    see("A worker receives, timeout now 180 s", _receive(sqs, queue), ["video-1"])
    aws.clock.advance(minutes=2)
    see("Two minutes later", _receive(sqs, queue), [], supports="raise-visibility")
    return see


def heartbeat(aws: Bench) -> Observations:
    """sqs-02: ChangeMessageVisibility keeps one message hidden for as long as the worker lives."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("jobs", VisibilityTimeout=60)
    sqs.send_message(QueueUrl=queue, MessageBody="long job")
    handle = sqs.receive_message(QueueUrl=queue)["Messages"][0]["ReceiptHandle"]
    for minute in (1, 2, 3):
        aws.clock.advance(seconds=50)
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=60)
        see(f"Others receive, {50 * minute} s on", _receive(sqs, queue), [], supports="extend")
    aws.clock.advance(seconds=61)
    see("The worker died; a minute later", _receive(sqs, queue), ["long job"], supports="extend")

    fixed = aws.queue("fixed", VisibilityTimeout=1800)
    sqs.send_message(QueueUrl=fixed, MessageBody="long job")
    sqs.receive_message(QueueUrl=fixed)
    aws.clock.advance(minutes=5)
    see(
        "With 30 minutes, five minutes after a crash",
        _receive(sqs, fixed),
        [],
        refutes="long-timeout",
    )
    handle = aws.queue("deleted")
    sqs.send_message(QueueUrl=handle, MessageBody="job")
    received = sqs.receive_message(QueueUrl=handle)["Messages"][0]
    sqs.delete_message(QueueUrl=handle, ReceiptHandle=received["ReceiptHandle"])
    aws.clock.advance(minutes=5)
    see("Deleted before the work, after a crash", _receive(sqs, handle), [], refutes="delete-first")
    return see


def dead_letter_queue(aws: Bench) -> Observations:
    """sqs-03: after maxReceiveCount deliveries the message moves, and waits to be looked at."""
    sqs, see = aws.client("sqs"), Observations()
    dead = aws.queue("dead")
    work = aws.queue(
        "work",
        VisibilityTimeout=10,
        RedrivePolicy={"deadLetterTargetArn": aws.queue_arn(dead), "maxReceiveCount": 3},
    )
    sqs.send_message(QueueUrl=work, MessageBody="not a JSON text")
    for delivery in (1, 2, 3):
        see(f"Delivery {delivery}", _receive(sqs, work), ["not a JSON text"])
        aws.clock.advance(seconds=11)
    see("The fourth receive", _receive(sqs, work), [], supports="redrive-policy")
    see(
        "The dead-letter queue",
        _receive(sqs, dead),
        ["not a JSON text"],
        supports="redrive-policy",
    )
    short = aws.queue("short", VisibilityTimeout=30, MessageRetentionPeriod=90)
    sqs.send_message_batch(
        QueueUrl=short,
        Entries=[{"Id": "0", "MessageBody": "bad"}, {"Id": "1", "MessageBody": "good, waiting"}],
    )
    aws.clock.advance(seconds=91)
    see(
        "Retention of 90 s: what is left of a bad and a good message",
        _receive(sqs, short),
        [],
        refutes="short-retention",
    )
    return see


def dead_letter_queue_keeps_age(aws: Bench) -> Observations:
    """sqs-04: in a standard dead-letter queue the time of the first sending keeps counting."""
    sqs, see = aws.client("sqs"), Observations()
    four_days = 4 * 24 * 3600
    found = {}
    for name, retention in (("equal", four_days), ("longer", 14 * 24 * 3600)):
        dead = aws.queue(f"dead-{name}", MessageRetentionPeriod=retention)
        target = {"deadLetterTargetArn": aws.queue_arn(dead), "maxReceiveCount": 1}
        work = aws.queue(f"work-{name}", MessageRetentionPeriod=four_days, RedrivePolicy=target)
        sqs.send_message(QueueUrl=work, MessageBody="poison")
        found[name] = (work, dead)
    aws.clock.advance(days=3)
    for work, dead in found.values():
        see("First delivery, on day 3", _receive(sqs, work), ["poison"])
        aws.clock.advance(seconds=31)
        see("Second receive", _receive(sqs, work), [])
        see(
            "In the dead-letter queue, at once",
            _receive(sqs, dead, VisibilityTimeout=0),
            ["poison"],
            refutes="in-flight",
        )
    aws.clock.advance(days=1, hours=1)
    see(
        "A day later, retention 4 days",
        _receive(sqs, found["equal"][1]),
        [],
        supports="original-age",
    )
    see(
        "A day later, retention 14 days",
        _receive(sqs, found["longer"][1]),
        ["poison"],
        supports="original-age",
        refutes="max-receive",
    )
    return see


def fifo_groups(aws: Bench) -> Observations:
    """sqs-05: order is kept in a message group, and groups do not wait for each other."""
    sqs, see = aws.client("sqs"), Observations()
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    queue = aws.queue("orders.fifo", **fifo)
    for body, order in (("A created", "A"), ("A paid", "A"), ("B created", "B")):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId=order)
    first = sqs.receive_message(QueueUrl=queue)["Messages"][0]
    see("The first worker gets", first["Body"], "A created")
    see(
        "While A is in flight the second gets",
        _receive(sqs, queue),
        ["B created"],
        supports="group-per-order",
    )
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    see("After A created is done", _receive(sqs, queue), ["A paid"], supports="group-per-order")

    single = aws.queue("single.fifo", **fifo)
    for body in ("A created", "B created"):
        sqs.send_message(QueueUrl=single, MessageBody=body, MessageGroupId="all")
    see("One group for all: first worker", _receive(sqs, single)[:1], ["A created"])
    sqs.send_message(QueueUrl=single, MessageBody="C created", MessageGroupId="all")
    see("One group for all: second worker", _receive(sqs, single), [], refutes="one-group")
    return see


def fifo_deduplication(aws: Bench) -> Observations:
    """sqs-06: the same body is one message for five minutes, and a new one after that."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("payments.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    payment = {"QueueUrl": queue, "MessageBody": "pay 10", "MessageGroupId": "g"}
    sqs.send_message(**payment)
    see("Received", [m["Body"] for m in aws.messages(queue)], ["pay 10"])
    aws.clock.advance(minutes=4)
    sqs.send_message(**payment)
    see(
        "Sent again after 4 minutes, the first long deleted",
        aws.messages(queue),
        [],
        refutes="different-hash already-deleted wrong-group",
    )
    aws.clock.advance(minutes=10)
    sqs.send_message(**payment)
    see(
        "Sent again 10 minutes later",
        [m["Body"] for m in aws.messages(queue)],
        ["pay 10"],
        supports="window-over",
    )
    return see


def too_large(aws: Bench) -> Observations:
    """sqs-07: one message holds 1 MiB at most; a pointer to an object is always small enough."""
    sqs, s3, see = aws.client("sqs"), aws.client("s3"), Observations()
    queue, mib = aws.queue("documents"), 1024 * 1024
    see("1 MiB", error_of(sqs.send_message, QueueUrl=queue, MessageBody="x" * mib), "no error")
    see(
        "MaximumMessageSize of 20 MB",
        error_of(
            sqs.set_queue_attributes,
            QueueUrl=queue,
            Attributes={"MaximumMessageSize": str(20_000_000)},
        ),
        "InvalidAttributeValue",
        refutes="raise-limit",
    )
    half = "x" * (mib // 2 + 1)
    see(
        "Two parts of just over half a MiB in one batch",
        error_of(
            sqs.send_message_batch,
            QueueUrl=queue,
            Entries=[{"Id": "0", "MessageBody": half}, {"Id": "1", "MessageBody": half}],
        ),
        lambda code: "BatchRequestTooLong" in code,
        refutes="batch",
    )
    see(
        "1 MiB of body with an attribute",
        error_of(
            sqs.send_message,
            QueueUrl=queue,
            MessageBody="x" * mib,
            MessageAttributes={"more": {"DataType": "String", "StringValue": "x"}},
        ),
        "InvalidParameterValue",
        refutes="attributes",
    )
    bucket = aws.bucket()
    s3.put_object(Bucket=bucket, Key="large", Body=b"x" * (2 * mib))
    aws.messages(queue)
    sqs.send_message(QueueUrl=queue, MessageBody="large")
    key = aws.messages(queue, at_least=1)[0]["Body"]
    size = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    see("The object that the message points to", size, 2 * mib, supports="claim-check")
    return see


def delay(aws: Bench) -> Observations:
    """sqs-08: a message timer hides one message; a queue's delay hides all."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("mixed")
    sqs.send_message(QueueUrl=queue, MessageBody="reminder", DelaySeconds=600)
    sqs.send_message(QueueUrl=queue, MessageBody="urgent")
    see("At once", [m["Body"] for m in aws.messages(queue)], ["urgent"], supports="message-timer")
    aws.clock.advance(seconds=601)
    see(
        "Ten minutes later",
        [m["Body"] for m in aws.messages(queue)],
        ["reminder"],
        supports="message-timer",
    )
    delayed = aws.queue("delayed", DelaySeconds=600)
    sqs.send_message(QueueUrl=delayed, MessageBody="urgent")
    see("With a delay of the queue, at once", aws.messages(delayed), [], refutes="delay-queue")
    hidden = aws.queue("hidden", VisibilityTimeout=600)
    sqs.send_message(QueueUrl=hidden, MessageBody="reminder")
    see(
        "With a visibility timeout, at once",
        [m["Body"] for m in aws.messages(hidden)],
        ["reminder"],
        refutes="visibility",
    )
    return see


def long_polling(aws: Bench) -> Observations:
    """sqs-09: a long poll answers as soon as a message comes, a short one at once with nothing."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("polled")
    see(
        "Short polls of up to ten messages, empty answers",
        sum(not _receive(sqs, queue) for _ in range(5)),
        5,
        refutes="more-messages",
    )
    answers: list[list[str]] = []
    poll = threading.Thread(
        target=lambda: answers.append(_receive(sqs, queue, WaitTimeSeconds=20)), daemon=True
    )
    poll.start()
    sqs.send_message(QueueUrl=queue, MessageBody="came later")
    poll.join(timeout=15)
    see(
        "One long poll, begun before the message was sent",
        answers,
        [["came later"]],
        supports="wait-time",
    )
    see(
        "A wait of 21 s",
        error_of(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=21),
        "InvalidParameterValue",
    )
    return see


def stuck_in_flight(aws: Bench) -> Observations:
    """sqs-10: received and not deleted means not visible; delayed messages count apart."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("jobs", VisibilityTimeout=3600)
    names = {
        "visible": "ApproximateNumberOfMessages",
        "not visible": "ApproximateNumberOfMessagesNotVisible",
        "delayed": "ApproximateNumberOfMessagesDelayed",
    }

    def counts() -> dict[str, int]:
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return {short: int(found[name]) for short, name in names.items()}

    sqs.send_message(QueueUrl=queue, MessageBody="a")
    sqs.send_message(QueueUrl=queue, MessageBody="b")
    see(
        "Sent, and nobody receives",
        counts(),
        {"visible": 2, "not visible": 0, "delayed": 0},
        refutes="no-consumers",
    )
    see("Consumers receive", sorted(_receive(sqs, queue) + _receive(sqs, queue)), ["a", "b"])
    see(
        "Received and not deleted",
        counts(),
        {"visible": 0, "not visible": 2, "delayed": 0},
        supports="never-deleted",
    )
    sqs.send_message(QueueUrl=queue, MessageBody="c", DelaySeconds=300)
    see("One sent with a delay", counts()["delayed"], 1, refutes="delayed")
    return see


def batch_partial_failure(aws: Bench) -> Observations:
    """sqs-11: a batch call succeeds although an entry failed; Failed tells which."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("batched")
    answer = sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "good", "MessageBody": "good"},
            {"Id": "bad", "MessageBody": "bad", "DelaySeconds": 901},
        ],
    )
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    see("HTTP status, and nothing was raised", status, 200, refutes="except more-attempts")
    failed = [entry["Id"] for entry in answer["Failed"]]
    see("Failed entries in the answer", failed, ["bad"], supports="check-failed")
    see("What arrived", [m["Body"] for m in aws.messages(queue)], ["good"], refutes="dead-letter")
    return see


def encrypted_by_default(aws: Bench) -> Observations:
    """sqs-12: a new queue has SSE-SQS on, and no KMS key."""
    sqs, see = aws.client("sqs"), Observations()
    queue = aws.queue("plain")
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    see(
        "SqsManagedSseEnabled of a new queue",
        found.get("SqsManagedSseEnabled"),
        "true",
        supports="sse-sqs",
        refutes="never in-transit-only",
    )
    see(
        "KmsMasterKeyId of a new queue",
        found.get("KmsMasterKeyId", "none"),
        "none",
        refutes="kms-default",
    )
    return see


def redrive(aws: Bench) -> Observations:
    """sqs-13: a message move task brings the messages back; a purge destroys them."""
    sqs, see = aws.client("sqs"), Observations()
    dead = aws.queue("dead")
    target = {"deadLetterTargetArn": aws.queue_arn(dead), "maxReceiveCount": 1}
    work = aws.queue("work", VisibilityTimeout=10, RedrivePolicy=target)
    for body in ("one", "two"):
        sqs.send_message(QueueUrl=work, MessageBody=body)
    for _ in range(2):
        _receive(sqs, work)
        aws.clock.advance(seconds=11)
    _receive(sqs, work)
    sqs.start_message_move_task(SourceArn=aws.queue_arn(dead))
    moved = aws.messages(work, at_least=2)
    see(
        "Back in the source queue",
        sorted(message["Body"] for message in moved),
        ["one", "two"],
        supports="redrive",
    )
    lost = aws.queue("purged")
    sqs.send_message(QueueUrl=lost, MessageBody="three")
    sqs.purge_queue(QueueUrl=lost)
    aws.clock.advance(seconds=61)
    see("After a purge, anywhere", aws.messages(lost) + aws.messages(work), [], refutes="purge")
    return see

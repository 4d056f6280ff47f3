"""A function that feeds its own queue is stopped; what has nothing to do with the loop is not."""

from __future__ import annotations

import io
import zipfile

import pytest
from polling_support import counts, redrive, send
from wiring_support import wiring

from labkit.localaws.recursion import carried, run_again

__all__ = ["wiring"]

LOOP = """
import os, boto3

def handle(event, context):
    for record in event["Records"]:
        if record["body"] == "again":
            boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody="again")
"""


def test_runs_of_one_function_are_counted_along_the_chain():
    header, run = run_again(None, "arn:f", 1_000.0)
    assert run == 1 and header.startswith("Root=1-000003e8-")
    for expected in (2, 3):
        header, run = run_again(header, "arn:f", 2_000.0)
        assert run == expected
    assert "Root=1-000003e8-" in header
    other, run = run_again(header, "arn:g", 2_000.0)
    assert run == 1
    assert run_again(other, "arn:f", 2_000.0)[1] == 4


def test_only_a_trace_is_carried():
    assert carried(None) is None
    assert carried("Self=1") is None
    assert carried("Root%3D1-0-a;Lineage=x:1") == "Root=1-0-a;Lineage=x:1"


@pytest.fixture
def looping(wiring):
    """A function that sends what it is told to its own queue again, and that queue."""
    lam, name = wiring.client("lambda"), wiring.name("loop")
    dead = wiring.queue("dead")
    queue = wiring.queue(VisibilityTimeout="60", **redrive(dead, 2))
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("loop.py", LOOP)
    lam.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=wiring.role("lambda.amazonaws.com", "sqs:*"),
        Handler="loop.handle",
        Timeout=30,
        Code={"ZipFile": package.getvalue()},
        Environment={"Variables": {"QUEUE": queue.url}},
    )
    mapping = lam.create_event_source_mapping(EventSourceArn=queue.arn, FunctionName=name)
    wiring.settle()
    yield name, queue, dead
    lam.delete_event_source_mapping(UUID=mapping["UUID"])
    wiring.settle()
    lam.delete_function(FunctionName=name)


def invocations(wiring, name):
    return wiring.metric("AWS/Lambda", "Invocations", FunctionName=name)


def test_a_loop_through_a_queue_ends_after_sixteen_runs(wiring, looping):
    name, queue, dead = looping
    send(wiring, queue, "again")
    wiring.settle()
    assert invocations(wiring, name) == 16
    assert counts(wiring, queue) == (0, 1)
    dropped = wiring.metric("AWS/Lambda", "RecursiveInvocationsDropped", FunctionName=name)
    assert dropped == 1
    send(wiring, queue, "something else")
    wiring.settle()
    assert invocations(wiring, name) == 17
    wiring.advance(minutes=5)
    assert dead.texts() == ["again"]
    assert counts(wiring, queue) == (0, 0)

"""What the lab promises about speed and memory, measured: ``python -m tests.benchmarks``.

Starts a local AWS of its own, prints a table with what was promised beside it, and exits non-zero
when a promise is not kept. ``--json`` prints the figures alone. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import psutil

# Figure, unit, and what was promised: a ceiling ("<"), a floor (">"), or nothing.
PROMISES: dict[str, tuple[str, str, float | None]] = {
    "start to ready": ("s", "<", None),
    "idle memory": ("MB", "<", 150.0),
    "cold no-op invoke": ("ms", "<", None),
    "warm no-op invoke, median": ("ms", "<", 15.0),
    "warm no-op invoke, 99th percentile": ("ms", "<", 40.0),
    "PutItem, median": ("ms", "<", None),
    "authenticate and authorise, median": ("ms", "<", 1.5),
    "authorising, share of a warm invoke": ("%", "<", 25.0),
    "orders a second, one client": ("/s", ">", 25.0),
    "orders a second, eight clients": ("/s", ">", 25.0),
    "clock advance of a day, nothing due": ("ms", "<", 50.0),
    "memory after the load": ("MB", "<", None),
}
ORDERS = 200


def milliseconds(work: Callable[[], Any], times: int) -> list[float]:
    """How long each of *times* calls took, in ms, sorted."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return sorted(taken)


def measure() -> dict[str, float]:
    """Every figure, by name."""
    import labkit
    from labkit import orders
    from labkit.localaws import process

    found: dict[str, float] = {}
    start = time.perf_counter()
    running = process.ensure()
    found["start to ready"] = time.perf_counter() - start
    lab = labkit.open(quiet=True)
    server = psutil.Process(running.pid)
    found["idle memory"] = _memory(server)
    _invokes(lab, found)
    _authorising(running, lab, found)
    labkit.build(lab)
    table = lab.names.table
    dynamodb = lab.client("dynamodb")
    numbers = iter(range(10_000))
    puts = milliseconds(
        lambda: dynamodb.put_item(
            TableName=table, Item={"OrderId": {"S": f"bench-{next(numbers)}"}}
        ),
        200,
    )
    found["PutItem, median"] = statistics.median(puts)
    for name, clients in (("one client", 1), ("eight clients", 8)):
        batch = [
            orders.RawOrder(
                f"{name.replace(' ', '-')}-{n}",
                json.dumps({"OrderId": f"{name}-{n}", "Amount": 100 + n * 2}).encode(),
                "bench",
            )
            for n in range(ORDERS)
        ]
        found[f"orders a second, {name}"] = _orders(lab, batch, clients)
    advances = milliseconds(lambda: lab.clock.advance(days=1), 5)
    found["clock advance of a day, nothing due"] = advances[2]
    found["memory after the load"] = _memory(server)
    process.stop()
    return found


def _invokes(lab: Any, found: dict[str, float]) -> None:
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("noop.py", "def handler(event, context):\n    return event\n")
    iam, functions = lab.client("iam"), lab.client("lambda")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = iam.create_role(RoleName="bench-role", AssumeRolePolicyDocument=json.dumps(trust))
    iam.attach_role_policy(
        RoleName="bench-role",
        PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    )
    functions.create_function(
        FunctionName="bench-noop",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="noop.handler",
        Code={"ZipFile": archive.getvalue()},
    )

    def invoke() -> None:
        functions.invoke(FunctionName="bench-noop", Payload=b"{}")["Payload"].read()

    found["cold no-op invoke"] = milliseconds(invoke, 1)[0]
    warm = milliseconds(invoke, 500)
    found["warm no-op invoke, median"] = statistics.median(warm)
    found["warm no-op invoke, 99th percentile"] = warm[int(len(warm) * 0.99)]


def _authorising(running: Any, lab: Any, found: dict[str, float]) -> None:
    """What the front door adds, as the server measured it for its last calls."""
    timing = running.control("timing")
    found["authenticate and authorise, median"] = timing["authorising_ms"]
    invoke = timing["authorising_invoke_ms"]
    warm = found["warm no-op invoke, median"]
    found["authorising, share of a warm invoke"] = 100 * invoke / (warm - invoke)


def _orders(lab: Any, batch: list[Any], clients: int) -> float:
    """Orders a second from the first upload to the last effect."""
    from concurrent.futures import ThreadPoolExecutor

    s3 = lab.client("s3")
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(
            pool.map(
                lambda raw: s3.put_object(
                    Bucket=lab.names.bucket, Key=f"orders/{raw.name}.json", Body=raw.body
                ),
                batch,
            )
        )
    lab.settle()
    took = time.perf_counter() - start
    dynamodb = lab.client("dynamodb")
    wanted = {json.loads(raw.body)["OrderId"] for raw in batch}
    pages = dynamodb.get_paginator("scan").paginate(TableName=lab.names.table)
    done = {
        item["OrderId"]["S"]
        for page in pages
        for item in page["Items"]
        if item.get("Status", {}).get("S") == "DONE"
    }
    missing = wanted - done
    assert not missing, f"{len(missing)} orders were not done when everything had settled"
    return len(batch) / took


def _memory(process: psutil.Process) -> float:
    """Resident memory of the process and its helpers, without execution environments' own."""
    return process.memory_info().rss / 1e6


def main() -> int:
    """Measure, print, and say whether every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LABKIT_RUNTIME_DIR"] = os.path.join(folder, "run")
        os.environ["LABKIT_HOME"] = os.path.join(folder, "home")
        found = measure()
    if options.json:
        print(json.dumps(found, indent=2))
    kept = True
    for name, value in found.items():
        unit, sign, bound = PROMISES[name]
        ok = bound is None or (value < bound if sign == "<" else value > bound)
        kept = kept and ok
        promise = "" if bound is None else f"promised {sign} {bound:g}"
        if not options.json:
            print(f"{name:40} {value:9.2f} {unit:3} {promise:18} {'' if ok else 'NOT KEPT'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""The control plane under many threads at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError
from functions_support import ACCOUNT, Bench, create, zipped

HERE = (ACCOUNT, "us-east-1")


def test_one_of_many_creators_wins() -> None:
    bench = Bench()
    client = bench.client()
    start = threading.Barrier(8)

    def attempt(_: int) -> str:
        start.wait()
        try:
            create(client)
            return "created"
        except ClientError as problem:
            return problem.response["Error"]["Code"]

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(attempt, range(8)))
    assert outcomes == ["ResourceConflictException"] * 7 + ["created"]


def test_versions_are_numbered_without_gaps_while_everything_changes() -> None:
    bench = Bench()
    # Background work runs on threads of its own, as in the local AWS.
    workers = ThreadPoolExecutor(4)
    bench.functions.hooks.defer = workers.submit
    bench.functions.grace_seconds = 5.0
    client = bench.client()
    create(client)

    def change(number: int) -> None:
        for step in range(4):
            try:
                client.update_function_code(
                    FunctionName="f", ZipFile=zipped(f"x = {number * 100 + step}"), Publish=True
                )
            except ClientError as problem:
                assert problem.response["Error"]["Code"] == "ResourceConflictException"
            version = bench.functions.resolve(*HERE, "f")
            assert version.code.read()
            client.list_functions(FunctionVersion="ALL")
            client.add_permission(
                FunctionName="f",
                StatementId=f"s{number}-{step}",
                Action="lambda:InvokeFunction",
                Principal="s3.amazonaws.com",
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))
    workers.shutdown()
    versions = client.get_paginator("list_versions_by_function").paginate(FunctionName="f")
    numbers = [v["Version"] for page in versions for v in page["Versions"]]
    assert numbers == ["$LATEST", *(str(n) for n in range(1, len(numbers)))]
    policy = bench.functions.resource_policy(*HERE, "f")
    assert policy is not None and len(policy["Statement"]) == 16

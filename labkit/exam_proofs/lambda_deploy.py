"""Proofs on deploying a function's code: publishing, hashes, artefacts, waiting."""

from __future__ import annotations

import base64
import hashlib

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.lambda_release import publish, returns, wait
from labkit.exam_proofs.observations import Observations, error_of


def publish_twice(aws: Bench) -> Observations:
    """lambda-35: without a change there is no new version."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("build 1"))

    def once_more() -> str:
        return awslambda.publish_version(FunctionName=function)["Version"]

    see(
        "Published three times, unchanged",
        [once_more() for _ in range(3)],
        ["1", "1", "1"],
        supports="unchanged",
        refutes="delay",
    )
    numbers = [publish(aws, function, f"build {n}") for n in range(2, 16)]
    see("Fourteen changes later", numbers[-1], "15", supports="unchanged", refutes="limit")
    return see


def code_sha256(aws: Bench) -> Observations:
    """lambda-36: PublishVersion with a hash publishes that code or nothing."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("first"))
    mine, other = aws.zip(returns("mine")), aws.zip(returns("other"))
    sha = base64.b64encode(hashlib.sha256(mine).digest()).decode()

    def upload(package: bytes, **more) -> str:
        answer = awslambda.update_function_code(FunctionName=function, ZipFile=package, **more)
        wait(aws, function)
        return answer["CodeSha256"]

    see("The upload's hash", upload(mine), sha)
    upload(other)
    see(
        "Another pipeline uploads; publishing with the hash",
        error_of(awslambda.publish_version, FunctionName=function, CodeSha256=sha),
        "InvalidParameterValueException",
        supports="sha",
    )
    labelled = awslambda.publish_version(FunctionName=function, Description="mine")["Version"]
    see(
        "Published with a description only",
        aws.invoke(function, Qualifier=labelled),
        "other",
        refutes="description",
    )
    see(
        "DryRun changes nothing",
        upload(mine, DryRun=True) and aws.invoke(function),
        "other",
        refutes="dry-run",
    )
    awslambda.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    see(
        "An upload with concurrency 0",
        error_of(awslambda.update_function_code, FunctionName=function, ZipFile=mine),
        "no error",
        refutes="concurrency",
    )
    wait(aws, function)
    version = awslambda.publish_version(FunctionName=function, CodeSha256=sha)
    see("Its own upload, with the hash", version["CodeSha256"], sha, supports="sha")
    return see


def exact_artifact(aws: Bench) -> Observations:
    """lambda-46: S3ObjectVersion deploys one very upload, whatever lies at the key by now."""
    awslambda, s3, see = aws.client("lambda"), aws.client("s3"), Observations()
    bucket = aws.bucket()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    function = aws.function("app", returns("before"))
    place = {"S3Bucket": bucket, "S3Key": "builds/app.zip"}

    def upload(run: str) -> dict:
        return s3.put_object(Bucket=bucket, Key=place["S3Key"], Body=aws.zip(returns(run)))

    def deploy(**more) -> str:
        code = error_of(awslambda.update_function_code, FunctionName=function, **place, **more)
        wait(aws, function)
        return aws.invoke(function) if code == "no error" else code

    first = upload("run 1")
    upload("run 2")
    see("Run 1 deploys by the key", deploy(), "run 2", refutes="wait")
    see("by the key, publishing", deploy(Publish=True), "run 2", refutes="publish")
    see(
        "by the ETag as RevisionId",
        deploy(RevisionId=first["ETag"].strip('"')),
        "PreconditionFailedException",
        refutes="etag",
    )
    see(
        "by the key and its version",
        deploy(S3ObjectVersion=first["VersionId"]),
        "run 1",
        supports="object-version",
    )
    return see


def wait_for_update(aws: Bench) -> Observations:
    """lambda-47: an update goes on after its call has returned; the waiter looks until it is done."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("one"))
    answer = awslambda.update_function_code(FunctionName=function, ZipFile=aws.zip(returns("two")))
    see(
        "LastUpdateStatus that the call returns",
        answer["LastUpdateStatus"],
        "InProgress",
        refutes="order publish revision",
    )
    wait(aws, function)
    found = awslambda.get_function_configuration(FunctionName=function)
    see("After the waiter", found["LastUpdateStatus"], "Successful", supports="waiter")
    see(
        "The second update",
        error_of(awslambda.update_function_configuration, FunctionName=function, Timeout=5),
        "no error",
        supports="waiter",
    )
    wait(aws, function)
    return see

"""What CreateFunction and UpdateFunctionConfiguration refuse, and in which words."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from functions_support import ARN, ROLE, Bench, bench, create, refusal, zipped

from labkit.localaws.functions import code

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
VALIDATION = ("ValidationException", 400)
SUPPORTED = (
    "[nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, "
    "java25, python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, "
    "java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, nodejs18.x, provided.al2, java8.al2]"
)


def _one(what: str) -> str:
    return f"1 validation error detected: {what}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"Timeout": 901},
            "Value '901' at 'timeout' failed to satisfy constraint: "
            "Member must have value less than or equal to 900",
        ),
        (
            {"Timeout": 0},
            "Value '0' at 'timeout' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1",
        ),
        (
            {"MemorySize": 10_241},
            "Value '10241' at 'memorySize' failed to satisfy constraint: "
            "Member must have value less than or equal to 10240",
        ),
        (
            {"EphemeralStorage": {"Size": 511}},
            "Value '511' at 'ephemeralStorage.size' failed to satisfy constraint: "
            "Member must have value greater than or equal to 512",
        ),
        (
            {"Role": "r1"},
            "Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular "
            r"expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        (
            {"Architectures": ["x86_64", "arm64"]},
            "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: "
            "Member must have length less than or equal to 1",
        ),
        (
            {"Architectures": ["X86_64"]},
            "Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must "
            "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member "
            "must not be null]",
        ),
        (
            {"SnapStart": {"ApplyOn": "invalidOption"}},
            "Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: "
            "Member must satisfy enum value set: [PublishedVersions, None]",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["bad"]}},
            "Value '[bad]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must "
            "satisfy constraint: [Member must have length less than or equal to 1024, Member "
            "must have length greater than or equal to 0, Member must satisfy regular expression "
            "pattern: subnet-[0-9a-z]*]",
        ),
        (
            {"Environment": {"Variables": {"1bad": "x"}}},
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must "
            "satisfy constraint: [Member must satisfy regular expression pattern: "
            "[a-zA-Z]([a-zA-Z0-9_])+]",
        ),
    ],
)
def test_the_front_end_checks_the_model(bench: Bench, given: dict[str, Any], told: str) -> None:
    client = bench.client()
    assert refusal(lambda: create(client, **given)) == (*VALIDATION, _one(told))


def test_several_violations_come_in_one_message(bench: Bench) -> None:
    client = bench.client()
    name = "arn:aws:lambda:invalid-region:111111111111:function:my-function" + "a" * 170
    pattern = (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?"
        r"(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
    )
    assert refusal(client.get_function, FunctionName=name, Qualifier="a" * 129) == (
        *VALIDATION,
        f"2 validation errors detected: Value '{'a' * 129}' at 'qualifier' failed to satisfy "
        f"constraint: Member must have length less than or equal to 128; Value '{name}' at "
        "'functionName' failed to satisfy constraint: Member must satisfy regular expression "
        f"pattern: {pattern}",
    )
    code_, status, message = refusal(lambda: create(client, name=name))
    assert (code_, status) == VALIDATION
    assert message is not None and message.startswith("2 validation errors detected: Value")
    lengths = message.index("Member must have length less than or equal to 140")
    assert lengths < message.index("Member must satisfy regular expression pattern")


def test_runtimes(bench: Bench) -> None:
    client = bench.client()
    for runtime in ("non-existent-runtime", "PYTHON3.9"):
        assert refusal(lambda runtime=runtime: create(client, Runtime=runtime)) == (
            *INVALID,
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum "
            f"value set: {SUPPORTED} or be a valid ARN",
        )
    for runtime in ("python3.7", "go1.x", "nodejs14.x"):
        assert refusal(lambda runtime=runtime: create(client, Runtime=runtime)) == (
            *INVALID,
            f"The runtime parameter of {runtime} is no longer supported for creating or updating "
            "AWS Lambda functions. We recommend you use a supported runtime while creating or "
            "updating functions.",
        )
    for runtime in ("nodejs22.x", "java21", "provided.al2023", "ruby4.0"):
        code_, status, message = refusal(lambda runtime=runtime: create(client, Runtime=runtime))
        assert (code_, status) == INVALID
        assert f"This local AWS can't run {runtime}" in str(message)
    for minor in range(8, 16):
        create(client, name=f"p{minor}", Runtime=f"python3.{minor}")
    refused = refusal(lambda: create(client, name="s", Runtime="python3.11", SnapStart=SNAP_START))
    assert refused == (*INVALID, "python3.11 is not supported for SnapStart enabled functions.")


SNAP_START = {"ApplyOn": "PublishedVersions"}


def test_container_images_and_other_products_are_refused_clearly(bench: Bench) -> None:
    client = bench.client()
    image = {"PackageType": "Image", "Code": {"ImageUri": "1.dkr.ecr/x"}, "Runtime": None}
    code_, status, message = refusal(lambda: create(client, **image, Handler=None))
    assert (code_, status) == INVALID and "container images" in str(message)
    files = [{"Arn": _ACCESS_POINT, "LocalMountPath": "/mnt/data"}]
    code_, status, message = refusal(lambda: create(client, FileSystemConfigs=files))
    assert (code_, status) == INVALID and "file systems" in str(message)
    create(client)
    code_, _, message = refusal(
        client.update_function_code, FunctionName="f", ImageUri="1.dkr.ecr/x"
    )
    assert "container images" in str(message)


_ACCESS_POINT = (
    "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
)


def test_runtime_and_handler_go_with_packages(bench: Bench) -> None:
    client = bench.client()
    for missing in ("Runtime", "Handler"):
        assert refusal(lambda missing=missing: create(client, **{missing: None})) == (
            *INVALID,
            "Runtime and Handler are mandatory parameters for functions created with deployment "
            "packages.",
        )


def test_a_role_must_be_lambdas_to_assume(bench: Bench) -> None:
    client = bench.client()
    bench.bad_roles.add(ROLE)
    told = "The role defined for the function cannot be assumed by Lambda."
    assert refusal(lambda: create(client)) == (*INVALID, told)
    other = "arn:aws:iam::999999999999:role/worker"
    assert refusal(lambda: create(client, Role=other)) == (
        "AccessDeniedException",
        403,
        "Cross-account pass role is not allowed.",
    )
    bench.bad_roles.clear()
    create(client)
    bench.bad_roles.add(f"{ROLE}2")
    assert refusal(
        client.update_function_configuration, FunctionName="f", Role=f"{ROLE}2"
    ) == (*INVALID, told)


def test_environment_limits(bench: Bench) -> None:
    client = bench.client()
    # Two quotes around name and value each, a colon and two braces.
    fits = 4096 - len("LARGE_VAR") - 7
    create(client, Environment={"Variables": {"LARGE_VAR": "x" * fits}})
    variables = {"LARGE_VAR": "x" * (fits + 1)}
    measured = json.dumps(variables, separators=(",", ":"))
    for work in (
        lambda: create(client, name="g", Environment={"Variables": variables}),
        lambda: client.update_function_configuration(
            FunctionName="f", Environment={"Variables": variables}
        ),
    ):
        assert refusal(work) == (
            *INVALID,
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided exceeded the 4KB limit. "
            f"String measured: {measured}",
        )
    reserved = {"AWS_REGION": "x", "MINE": "y", "LAMBDA_TASK_ROOT": "z"}
    assert refusal(lambda: create(client, name="g", Environment={"Variables": reserved})) == (
        *INVALID,
        "Lambda was unable to configure your environment variables because the environment "
        "variables you have provided contains reserved keys that are currently not supported for "
        "modification. Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT",
    )
    # Bytes count, not letters.
    create(client, name="h", Environment={"Variables": {"NAME": "ä" * 2042}})
    umlauts = {"Variables": {"NAME": "ä" * 2043}}
    assert "4KB" in str(refusal(lambda: create(client, name="g", Environment=umlauts))[2])


def test_an_update_replaces_the_whole_environment(bench: Bench) -> None:
    client = bench.client()
    create(client, Environment={"Variables": {"ONE": "1", "TWO": "2"}})
    client.update_function_configuration(FunctionName="f", Environment={"Variables": {"ONE": "3"}})
    read = client.get_function_configuration(FunctionName="f")
    assert read["Environment"] == {"Variables": {"ONE": "3"}}


def test_packages_that_are_none(bench: Bench) -> None:
    client = bench.client()
    bad = "Could not unzip uploaded file. Please check your file, then try to upload again."
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ZipFile": b"this is not a zip file, just a random string"}, bad),
        ({"ZipFile": zipped()[:-30]}, bad),
        ({"ZipFile": b""}, "Uploaded file must be a non-empty zip"),
        ({"ZipFile": _empty_zip()}, "Uploaded file must be a non-empty zip"),
        ({}, "Please provide a source for function code."),
        (
            {"ZipFile": zipped(), "S3Bucket": "bucket", "S3Key": "key"},
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        ),
    ]
    for source, told in cases:
        assert refusal(lambda source=source: create(client, Code=source)) == (*INVALID, told)


def _empty_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w"):
        pass
    return buffer.getvalue()


def test_code_from_s3(bench: Bench) -> None:
    client = bench.client()
    bench.objects["bucket", "code.zip"] = zipped("x = 1")
    create(client, Code={"S3Bucket": "bucket", "S3Key": "code.zip"})
    assert bench.functions.resolve("123456789012", "us-east-1", "f").code.read() == zipped("x = 1")
    for bucket, told in (
        ("bucket", "NoSuchKey. S3 Error Message: The specified key does not exist."),
        ("elsewhere", "NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
    ):
        wanted = {"S3Bucket": bucket, "S3Key": "nope.zip"}
        expected = (*INVALID, f"Error occurred while GetObject. S3 Error Code: {told}")
        assert refusal(lambda wanted=wanted: create(client, name="g", Code=wanted)) == expected
        assert refusal(client.update_function_code, FunctionName="f", **wanted) == expected


def test_size_limits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    client = bench.client()
    package = zipped("#" * 5000)
    assert code.UNZIPPED_LIMIT == 262_144_000 and code.ZIPPED_LIMIT == 52_428_800
    monkeypatch.setattr(code, "UNZIPPED_LIMIT", 4999)
    assert refusal(lambda: create(client, Code={"ZipFile": package})) == (
        *INVALID,
        "Unzipped size must be smaller than 4999 bytes",
    )
    monkeypatch.setattr(code, "UNZIPPED_LIMIT", 262_144_000)
    monkeypatch.setattr(code, "ZIPPED_LIMIT", len(package) - 1)
    too_large = ("RequestEntityTooLargeException", 413)
    assert refusal(lambda: create(client, Code={"ZipFile": package})) == (
        *too_large,
        f"Zipped size must be smaller than {len(package) - 1} bytes",
    )
    monkeypatch.setattr(code, "ZIPPED_LIMIT", 52_428_800)
    monkeypatch.setattr(code, "REQUEST_LIMIT", 1000)
    assert refusal(lambda: create(client, Code={"ZipFile": package})) == (
        *too_large,
        "Request must be smaller than 1000 bytes for the CreateFunction operation",
    )


def test_dead_letter_targets(bench: Bench) -> None:
    client = bench.client()
    queue = "arn:aws:sqs:us-east-1:123456789012:dead"
    create(client, DeadLetterConfig={"TargetArn": queue})
    account = ("123456789012", "us-east-1", "f")
    assert bench.functions.dead_letter_target(*account) == queue
    client.update_function_configuration(FunctionName="f", DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in client.get_function_configuration(FunctionName="f")
    assert bench.functions.dead_letter_target(*account) is None
    bench.refused = {"sqs:SendMessage", "sns:Publish"}
    for target, call in ((queue, "SendMessage on SQS"), (queue.replace("sqs", "sns"), "Publish on SNS")):
        assert refusal(
            client.update_function_configuration,
            FunctionName="f",
            DeadLetterConfig={"TargetArn": target},
        ) == (*INVALID, f"The provided execution role does not have permissions to call {call}")
    kinesis = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
    code_, _, message = refusal(
        client.update_function_configuration,
        FunctionName="f",
        DeadLetterConfig={"TargetArn": kinesis},
    )
    assert code_ == INVALID[0] and kinesis in str(message)


def test_active_tracing_needs_permission(bench: Bench) -> None:
    client = bench.client()
    assert create(client, TracingConfig={"Mode": "Active"})["TracingConfig"] == {"Mode": "Active"}
    bench.refused = {"xray:PutTraceSegments"}
    assert refusal(lambda: create(client, name="g", TracingConfig={"Mode": "Active"})) == (
        *INVALID,
        "The provided execution role does not have permissions to call PutTraceSegments on XRAY",
    )


def test_logging_configuration(bench: Bench) -> None:
    client = bench.client()
    create(client)

    def update(**given: str) -> dict[str, str]:
        return client.update_function_configuration(FunctionName="f", LoggingConfig=given)[
            "LoggingConfig"
        ]

    group = "/aws/lambda/f"
    assert update(LogFormat="JSON") == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": group,
    }
    assert update(LogFormat="JSON", SystemLogLevel="DEBUG")["SystemLogLevel"] == "DEBUG"
    assert update(LogGroup="cool_lambda") == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "DEBUG",
        "LogGroup": "cool_lambda",
    }
    assert update(LogFormat="Text") == {"LogFormat": "Text", "LogGroup": "cool_lambda"}
    assert refusal(lambda: update(ApplicationLogLevel="DEBUG")) == (
        *INVALID,
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your '
        'request or change the LogFormat to "JSON" and try again.',
    )


def test_a_vpc_is_not_pretended(bench: Bench) -> None:
    client = bench.client()
    create(client, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    assert "VpcConfig" not in client.get_function_configuration(FunctionName="f")
    code_, _, message = refusal(
        client.update_function_configuration,
        FunctionName="f",
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )
    assert code_ == INVALID[0] and "VPC" in str(message)


def test_a_refused_update_changes_nothing(bench: Bench) -> None:
    client = bench.client()
    create(client)
    before = client.get_function_configuration(FunctionName="f")
    refusal(
        client.update_function_configuration,
        FunctionName="f",
        Timeout=77,
        Environment={"Variables": {"AWS_REGION": "x"}},
    )
    after = client.get_function_configuration(FunctionName="f")
    before.pop("ResponseMetadata"), after.pop("ResponseMetadata")
    assert before == after
    assert after["FunctionArn"] == f"{ARN}:function:f"

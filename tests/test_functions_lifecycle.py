"""Creating, reading, updating, publishing and deleting functions."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from functions_support import ACCOUNT, ARN, ROLE, Bench, bench, create, refusal, zipped

__all__ = ["bench"]


def test_a_new_function_is_pending_and_then_active(bench: Bench) -> None:
    client = bench.client()
    bench.hold = True
    package = zipped()
    created = create(client, Code={"ZipFile": package})
    created.pop("ResponseMetadata")
    revision = created.pop("RevisionId")
    runtime_arn = created.pop("RuntimeVersionConfig")["RuntimeVersionArn"]
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", runtime_arn)
    assert created == {
        "FunctionName": "f",
        "FunctionArn": f"{ARN}:function:f",
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(package),
        "CodeSha256": base64.b64encode(hashlib.sha256(package).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2026-09-21T14:13:20.250+0000",
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
    }
    bench.run_deferred()
    read = client.get_function_configuration(FunctionName="f")
    assert (read["State"], read["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in read and read["RevisionId"] != revision


def test_waiters_end(bench: Bench) -> None:
    client = bench.client()
    create(client)
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    client.update_function_configuration(FunctionName="f", Timeout=9)
    client.get_waiter("function_updated_v2").wait(FunctionName="f")
    client.get_waiter("published_version_active").wait(FunctionName="f")


def test_a_pending_function_is_neither_changed_nor_invoked(bench: Bench) -> None:
    client = bench.client()
    bench.hold = True
    create(client)
    told = (
        "The operation cannot be performed at this time. "
        "The function is currently in the following state: Pending"
    )
    assert refusal(client.update_function_code, FunctionName="f", ZipFile=zipped()) == (
        "ResourceConflictException",
        409,
        told,
    )
    error = None
    try:
        bench.functions.resolve(ACCOUNT, "us-east-1", "f")
    except Exception as problem:
        error = problem
    assert getattr(error, "message", None) == told
    bench.run_deferred()
    assert bench.functions.resolve(ACCOUNT, "us-east-1", "f").handler == "app.handler"


def test_an_update_takes_effect_when_it_has_settled(bench: Bench) -> None:
    client = bench.client()
    create(client)
    before = bench.functions.resolve(ACCOUNT, "us-east-1", "f")
    bench.hold = True
    updated = client.update_function_configuration(FunctionName="f", Timeout=7)
    assert (updated["LastUpdateStatus"], updated["LastUpdateStatusReasonCode"]) == (
        "InProgress",
        "Creating",
    )
    assert updated["LastUpdateStatusReason"] == "The function is being created."
    assert bench.functions.resolve(ACCOUNT, "us-east-1", "f") is before
    in_progress = (
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {ARN}:function:f"
    )
    for work, more in (
        (client.update_function_code, {"ZipFile": zipped("x = 1")}),
        (client.update_function_configuration, {"Timeout": 8}),
        (client.publish_version, {}),
    ):
        assert refusal(work, FunctionName="f", **more) == (
            "ResourceConflictException",
            409,
            in_progress,
        )
    bench.run_deferred()
    after = bench.functions.resolve(ACCOUNT, "us-east-1", "f")
    assert (before.timeout_seconds, after.timeout_seconds) == (3, 7)
    assert before.key != after.key


def test_the_runtime_sees_the_function_as_configured(bench: Bench) -> None:
    client = bench.client()
    package = zipped("x = 2")
    create(
        client,
        Code={"ZipFile": package},
        Environment={"Variables": {"AB": "1"}},
        MemorySize=256,
        EphemeralStorage={"Size": 1024},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
    )
    version = bench.functions.resolve(ACCOUNT, "us-east-1", "f")
    assert version.code.read() == package
    assert (version.memory_mb, version.ephemeral_mb, version.environment) == (256, 1024, {"AB": "1"})
    assert (version.log_format, version.application_log_level, version.system_log_level) == (
        "JSON",
        "DEBUG",
        "INFO",
    )
    assert (version.arn, version.role_arn) == (f"{ARN}:function:f", ROLE)


def test_get_function_tells_where_the_code_is(bench: Bench) -> None:
    client = bench.client()
    create(client, Tags={"team": "orders"})
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=5)
    answer = client.get_function(FunctionName="f")
    assert answer["Code"]["RepositoryType"] == "S3"
    assert answer["Code"]["Location"].startswith("http://127.0.0.1:1/")
    assert answer["Tags"] == {"team": "orders"}
    assert answer["Concurrency"] == {"ReservedConcurrentExecutions": 5}


def test_a_function_is_found_by_every_form_of_its_name(bench: Bench) -> None:
    client = bench.client()
    create(client, Publish=True)
    for name in ("f", f"{ACCOUNT}:function:f", "function:f", f"{ARN}:function:f"):
        for qualifier in ("", ":1", ":$LATEST"):
            answer = client.get_function_configuration(FunctionName=name + qualifier)
            assert answer["FunctionArn"] == f"{ARN}:function:f{qualifier}"
            assert answer["Version"] == (qualifier or ":$LATEST")[1:]


def test_what_is_not_there_is_told_with_its_arn(bench: Bench) -> None:
    client = bench.client()
    create(client)
    missing = f"Function not found: {ARN}:function"
    not_found = ("ResourceNotFoundException", 404)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"FunctionName": "nope"}, f"{missing}:nope"),
        ({"FunctionName": "nope", "Qualifier": "$LATEST"}, f"{missing}:nope:$LATEST"),
        ({"FunctionName": "f", "Qualifier": "1221"}, f"{missing}:f:1221"),
        ({"FunctionName": "f:live"}, f"{missing}:f:live"),
        ({"FunctionName": f"{ARN}:function"}, f"{missing}:function"),
        ({"FunctionName": "a" * 65}, f"{missing}:{'a' * 65}"),
    ]
    for params, told in cases:
        assert refusal(client.get_function, **params) == (*not_found, told)
    assert refusal(client.get_function, FunctionName="f:1", Qualifier="2") == (
        "InvalidParameterValueException",
        400,
        "The derived qualifier from the function name does not match the specified qualifier.",
    )
    elsewhere = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f"
    assert refusal(client.get_function, FunctionName=elsewhere) == (
        *not_found,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    )
    error = None
    try:
        bench.functions.resolve(ACCOUNT, "us-east-1", "nope")
    except Exception as problem:
        error = problem
    assert getattr(error, "message", None) == f"{missing}:nope:$LATEST"


def test_names_are_free_only_once(bench: Bench) -> None:
    client = bench.client()
    create(client)
    conflict = ("ResourceConflictException", 409, "Function already exist: f")
    assert refusal(lambda: create(client)) == conflict
    code, status, message = refusal(lambda: create(client, name="a" * 65))
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert message == (
        f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy "
        "constraint: Member must have length less than or equal to 64"
    )
    other = f"arn:aws:lambda:us-east-1:{'9' * 12}:function:f"
    code, status, message = refusal(lambda: create(client, name=other))
    assert (code, status, message) == ("AccessDeniedException", 403, None)
    assert create(bench.client(region="eu-west-1"))["FunctionArn"].startswith(
        "arn:aws:lambda:eu-west-1:"
    )
    assert create(bench.client(account="2" * 12))["FunctionArn"].split(":")[4] == "2" * 12


def test_publishing_nothing_new_makes_no_version(bench: Bench) -> None:
    client = bench.client()
    create(client)
    first = client.publish_version(FunctionName="f", Description="one")
    assert (first["Version"], first["State"], first["LastUpdateStatus"]) == (
        "1",
        "Active",
        "Successful",
    )
    assert first["FunctionArn"] == f"{ARN}:function:f:1" and first["Description"] == "one"
    again = client.publish_version(FunctionName="f", Description="ignored")
    assert (again["Version"], again["RevisionId"]) == ("1", first["RevisionId"])
    # The same settings and code once more are no change either.
    client.update_function_configuration(FunctionName="f", Timeout=3)
    client.update_function_code(FunctionName="f", ZipFile=zipped())
    assert client.publish_version(FunctionName="f")["Version"] == "1"
    client.update_function_configuration(FunctionName="f", Description="two")
    second = client.publish_version(FunctionName="f")
    assert (second["Version"], second["Description"]) == ("2", "two")
    listed = client.list_versions_by_function(FunctionName="f")["Versions"]
    assert [(v["Version"], v["FunctionArn"]) for v in listed] == [
        ("$LATEST", f"{ARN}:function:f:$LATEST"),
        ("1", f"{ARN}:function:f:1"),
        ("2", f"{ARN}:function:f:2"),
    ]
    assert all("State" not in v and "LastUpdateStatus" not in v for v in listed)


def test_a_version_stays_as_it_was_published(bench: Bench) -> None:
    client = bench.client()
    create(client, Environment={"Variables": {"STAGE": "one"}})
    client.publish_version(FunctionName="f")
    kept = client.get_function_configuration(FunctionName="f", Qualifier="1")
    client.update_function_configuration(
        FunctionName="f", Environment={"Variables": {"STAGE": "two"}}
    )
    client.update_function_code(FunctionName="f", ZipFile=zipped("x = 3"))
    now = client.get_function_configuration(FunctionName="f", Qualifier="1")
    kept.pop("ResponseMetadata"), now.pop("ResponseMetadata")
    assert kept == now
    old = bench.functions.resolve(ACCOUNT, "us-east-1", "f", "1")
    assert old.environment == {"STAGE": "one"} and old.code.read() == zipped()
    immutable = refusal(
        client.update_function_configuration, FunctionName=f"{ARN}:function:f:1", Timeout=5
    )
    assert immutable[:2] == ("InvalidParameterValueException", 400)


def test_publish_checks_what_is_published(bench: Bench) -> None:
    client = bench.client()
    sha = create(client)["CodeSha256"]
    assert refusal(client.publish_version, FunctionName="f", CodeSha256="other") == (
        "InvalidParameterValueException",
        400,
        f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({sha}). "
        "Please try again with the CodeSHA256 in $LATEST.",
    )
    stale = (
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
    )
    for work, more in (
        (client.publish_version, {}),
        (client.update_function_code, {"ZipFile": zipped()}),
        (client.update_function_configuration, {"Timeout": 4}),
    ):
        assert refusal(work, FunctionName="f", RevisionId="wrong", **more) == stale
    revision = client.get_function_configuration(FunctionName="f")["RevisionId"]
    client.publish_version(FunctionName="f", RevisionId=revision, CodeSha256=sha)
    # Publishing gives $LATEST a new revision, without touching what runs.
    assert client.get_function_configuration(FunctionName="f")["RevisionId"] != revision


def test_publish_with_create_and_with_new_code(bench: Bench) -> None:
    client = bench.client()
    created = create(client, Publish=True)
    assert (created["Version"], created["FunctionArn"], created["State"]) == (
        "1",
        f"{ARN}:function:f",
        "Pending",
    )
    assert client.get_function_configuration(FunctionName="f:1")["State"] == "Active"
    bench.hold = True
    updated = client.update_function_code(FunctionName="f", ZipFile=zipped("x = 4"), Publish=True)
    assert (updated["Version"], updated["FunctionArn"], updated["State"]) == (
        "2",
        f"{ARN}:function:f:2",
        "Pending",
    )
    assert "LastUpdateStatus" not in updated
    bench.run_deferred()
    assert client.get_function_configuration(FunctionName="f:2")["State"] == "Active"


def test_dry_run_changes_nothing(bench: Bench) -> None:
    client = bench.client()
    before = create(client)["CodeSha256"]
    package = zipped("x = 5")
    answer = client.update_function_code(FunctionName="f", ZipFile=package, DryRun=True)
    assert answer["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert client.get_function_configuration(FunctionName="f")["CodeSha256"] == before


def test_deleting_a_version_and_a_function(bench: Bench) -> None:
    client = bench.client()
    gone: list[tuple[str, str | None]] = []
    bench.functions.on_deleted.append(lambda arn, version: gone.append((arn, version)))
    create(client, Publish=True)
    client.update_function_code(FunctionName="f", ZipFile=zipped("x = 6"), Publish=True)
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    assert refusal(client.delete_function, FunctionName="f", Qualifier="1") == (
        "ResourceConflictException",
        409,
        "Unable to delete version because the following aliases reference it: [live]",
    )
    assert refusal(client.delete_function, FunctionName="f", Qualifier="$LATEST") == (
        "InvalidParameterValueException",
        400,
        "$LATEST version cannot be deleted without deleting the function.",
    )
    assert refusal(client.delete_function, FunctionName="f", Qualifier="live") == (
        "InvalidParameterValueException",
        400,
        "Deletion of aliases is not currently supported.",
    )
    answer = client.delete_function(FunctionName="f", Qualifier="2")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_function(FunctionName="f", Qualifier="77")
    client.update_function_code(FunctionName="f", ZipFile=zipped("x = 7"))
    assert client.publish_version(FunctionName="f")["Version"] == "3"
    client.delete_function(FunctionName="f")
    missing = ("ResourceNotFoundException", 404, f"Function not found: {ARN}:function:f")
    assert refusal(client.delete_function, FunctionName="f") == missing
    assert refusal(client.delete_function, FunctionName="f", Qualifier="1") == missing
    assert gone == [(f"{ARN}:function:f", version) for version in ("2", "77", None)]
    # Numbers are not used again, not even for a function of the same name.
    create(client)
    assert client.publish_version(FunctionName="f")["Version"] == "4"


def test_lists_come_in_pages(bench: Bench) -> None:
    client = bench.client()
    for index in range(7):
        create(client, name=f"f{index}", Publish=index == 3)
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3})
    sizes, names = [], []
    for page in pages:
        sizes.append(len(page["Functions"]))
        names += [config["FunctionName"] for config in page["Functions"]]
    assert (sizes, names) == ([3, 3, 1], [f"f{index}" for index in range(7)])
    everything = client.list_functions(FunctionVersion="ALL")["Functions"]
    assert len(everything) == 8 and "NextMarker" not in client.list_functions()
    assert [c["FunctionArn"][-2:] for c in everything if c["FunctionName"] == "f3"] == ["ST", ":1"]
    assert refusal(client.list_functions, FunctionVersion="invalid") == (
        "ValidationException",
        400,
        "1 validation error detected: Value 'invalid' at 'functionVersion' failed to satisfy "
        "constraint: Member must satisfy enum value set: [ALL]",
    )


def test_listeners_hear_of_changes(bench: Bench) -> None:
    client = bench.client()
    heard: list[tuple[str, str]] = []
    bench.functions.on_changed.append(lambda arn, version: heard.append((arn[-1], version)))
    create(client)
    client.update_function_configuration(FunctionName="f", Timeout=5)
    client.publish_version(FunctionName="f")
    assert heard == [("f", "$LATEST"), ("f", "$LATEST"), ("f", "1")]


def test_listeners_hear_before_the_new_code_can_be_invoked(bench: Bench) -> None:
    client = bench.client()
    create(client)
    seen: list[float] = []
    bench.functions.on_changed.append(
        lambda arn, version: seen.append(
            bench.functions.resolve(ACCOUNT, "us-east-1", "f").timeout_seconds
        )
    )
    client.update_function_configuration(FunctionName="f", Timeout=5)
    assert seen == [3]
    assert bench.functions.resolve(ACCOUNT, "us-east-1", "f").timeout_seconds == 5

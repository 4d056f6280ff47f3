"""Reserved and provisioned concurrency, and asynchronous settings."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from functions_support import ACCOUNT, ARN, Bench, bench, create, refusal

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404)
HERE = (ACCOUNT, "us-east-1")


@pytest.fixture
def client(bench: Bench):
    """A client with functions ``f`` and ``g``; ``f`` has versions 1 and 2 and ``live`` on 1."""
    client = bench.client()
    create(client, Publish=True)
    client.update_function_configuration(FunctionName="f", Timeout=9)
    client.publish_version(FunctionName="f")
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    create(client, name="g")
    return client


def _reserve(client, name: str, number: int) -> Any:
    return client.put_function_concurrency(
        FunctionName=name, ReservedConcurrentExecutions=number
    )


def test_a_hundred_stay_unreserved(bench: Bench, client) -> None:
    told = (
        *INVALID,
        "Specified ReservedConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [100].",
    )
    assert _reserve(client, "f", 900)["ReservedConcurrentExecutions"] == 900
    assert refusal(lambda: _reserve(client, "f", 901)) == told
    assert refusal(lambda: _reserve(client, "g", 1)) == told
    assert refusal(lambda: _reserve(client, "f", 1001)) == told
    # Zero takes nothing from anybody.
    assert _reserve(client, "g", 0)["ReservedConcurrentExecutions"] == 0
    limits = client.get_account_settings()["AccountLimit"]
    assert (limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]) == (1000, 100)
    assert bench.functions.unreserved_concurrency(*HERE) == 100
    assert bench.functions.reserved_concurrency(*HERE, f"{ARN}:function:f") == 900
    client.delete_function_concurrency(FunctionName="f")
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="f")
    assert bench.functions.reserved_concurrency(*HERE, "f") is None
    assert client.get_function_concurrency(FunctionName="g")["ReservedConcurrentExecutions"] == 0


def test_the_account_limit_can_be_set(bench: Bench, client) -> None:
    bench.functions.concurrency_limit = 110
    _reserve(client, "f", 10)
    assert refusal(lambda: _reserve(client, "f", 11))[:2] == INVALID


def test_reserved_concurrency_is_the_functions(client) -> None:
    assert refusal(lambda: _reserve(client, "nope", 1)) == (
        *NOT_FOUND,
        f"Function not found: {ARN}:function:nope:$LATEST",
    )
    assert refusal(lambda: _reserve(client, f"{ARN}:function:f:$LATEST", 0)) == (
        *INVALID,
        "This operation is permitted on Lambda functions only. Aliases and versions do not "
        "support this operation. Please specify either a function name or an unqualified "
        "function ARN.",
    )


def _provision(client, qualifier: str, number: int, name: str = "f") -> Any:
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number
    )


def test_provisioned_concurrency_becomes_ready(bench: Bench, client) -> None:
    bench.hold = True
    put = _provision(client, "1", 3)
    assert put.pop("ResponseMetadata")["HTTPStatusCode"] == 202
    assert put == {
        "RequestedProvisionedConcurrentExecutions": 3,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": "2026-09-21T14:13:20+0000",
    }
    bench.run_deferred()
    got = client.get_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    assert (got["Status"], got["AvailableProvisionedConcurrentExecutions"]) == ("READY", 3)
    assert bench.provisions == [("1", 3)]
    assert bench.functions.provisioned_concurrency(*HERE, "f", "1") == 3
    listed = client.list_provisioned_concurrency_configs(FunctionName="f")
    assert [c["FunctionArn"] for c in listed["ProvisionedConcurrencyConfigs"]] == [
        f"{ARN}:function:f:1"
    ]
    client.delete_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    bench.run_deferred()
    assert bench.provisions[-1] == ("1", 0)
    assert refusal(
        client.get_provisioned_concurrency_config, FunctionName="f", Qualifier="1"
    ) == (
        "ProvisionedConcurrencyConfigNotFoundException",
        404,
        "No Provisioned Concurrency Config found for this function",
    )
    client.delete_provisioned_concurrency_config(FunctionName="f", Qualifier="1")


def test_provisioned_concurrency_moves_with_its_alias(bench: Bench, client) -> None:
    _provision(client, "live", 2)
    bench.hold = True
    client.update_alias(FunctionName="f", Name="live", FunctionVersion="2")
    moving = client.get_provisioned_concurrency_config(FunctionName="f", Qualifier="live")
    assert (moving["Status"], moving["AllocatedProvisionedConcurrentExecutions"]) == (
        "IN_PROGRESS",
        2,
    )
    bench.run_deferred()
    assert bench.provisions == [("1", 2), ("2", 2), ("1", 0)]
    assert bench.functions.provisioned_concurrency(*HERE, "f", "2") == 2
    client.delete_alias(FunctionName="f", Name="live")
    bench.run_deferred()
    assert bench.provisions[-1] == ("2", 0)


def test_environments_that_do_not_start(bench: Bench, client) -> None:
    bench.provision_result = 0
    _provision(client, "1", 1)
    got = client.get_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    assert (got["Status"], got["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")


def test_where_provisioned_concurrency_can_not_be(client) -> None:
    assert refusal(lambda: _provision(client, "$LATEST", 1)) == (
        *INVALID,
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    )
    for work in (
        client.get_provisioned_concurrency_config,
        client.delete_provisioned_concurrency_config,
    ):
        assert refusal(work, FunctionName="f", Qualifier="$LATEST") == (
            *INVALID,
            "The function resource provided must be an alias or a published version.",
        )
    missing_alias = (*NOT_FOUND, f"Cannot find alias arn: {ARN}:function:f:nope")
    assert refusal(lambda: _provision(client, "nope", 1)) == missing_alias
    assert refusal(lambda: _provision(client, "10", 1)) == (
        *NOT_FOUND,
        f"Function not found: {ARN}:function:f:10",
    )
    assert refusal(lambda: _provision(client, "nope", 1, name="none"))[2] == (
        f"Cannot find alias arn: {ARN}:function:none:nope"
    )
    assert refusal(lambda: _provision(client, "1", 0)) == (
        "ValidationException",
        400,
        "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to "
        "satisfy constraint: Member must have value greater than or equal to 1",
    )
    _provision(client, "1", 1)
    assert refusal(lambda: _provision(client, "live", 1)) == (
        "ResourceConflictException",
        409,
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned "
        "version",
    )
    client.delete_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    _provision(client, "live", 1)
    assert refusal(lambda: _provision(client, "1", 1)) == (
        "ResourceConflictException",
        409,
        "Version is pointed by a Provisioned Concurrency alias",
    )


def test_reserved_and_provisioned_limit_each_other(client) -> None:
    assert refusal(lambda: _provision(client, "1", 1001)) == (
        *INVALID,
        "Specified ConcurrentExecutions for function is greater than account's unreserved "
        "concurrency [1000].",
    )
    assert refusal(lambda: _provision(client, "1", 901)) == (
        *INVALID,
        "Specified ConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [100].",
    )
    _provision(client, "1", 2)
    assert refusal(lambda: _reserve(client, "f", 1)) == (
        *INVALID,
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned "
        "concurrency [2].",
    )
    _reserve(client, "f", 2)
    told = (
        *INVALID,
        "Requested Provisioned Concurrency should not be greater than the "
        "reservedConcurrentExecution for function",
    )
    assert refusal(lambda: _provision(client, "2", 1)) == told
    assert refusal(lambda: _provision(client, "1", 3)) == told


def test_asynchronous_settings(bench: Bench, client) -> None:
    put = client.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
    assert put.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    moment = put.pop("LastModified")
    assert isinstance(moment, datetime.datetime) and moment.year == 2026
    assert put == {
        "FunctionArn": f"{ARN}:function:f:$LATEST",
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    }
    client.put_function_event_invoke_config(FunctionName="f", MaximumEventAgeInSeconds=60)
    # Put replaces, update adds.
    got = client.get_function_event_invoke_config(FunctionName="f", Qualifier="$LATEST")
    assert "MaximumRetryAttempts" not in got and got["MaximumEventAgeInSeconds"] == 60
    queue = "arn:aws:sqs:us-east-1:123456789012:failed"
    client.update_function_event_invoke_config(
        FunctionName="f",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    config = bench.functions.event_invoke_config(*HERE, "f")
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (1, 60)
    assert config["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    assert bench.functions.event_invoke_config(*HERE, "f", "live") == {}
    client.put_function_event_invoke_config(FunctionName="f:live", MaximumRetryAttempts=2)
    assert bench.functions.event_invoke_config(*HERE, "f", "live")["MaximumRetryAttempts"] == 2
    listed = client.list_function_event_invoke_configs(FunctionName="f")
    assert [c["FunctionArn"][-7:] for c in listed["FunctionEventInvokeConfigs"]] == [
        "$LATEST",
        ":f:live",
    ]
    client.delete_function_event_invoke_config(FunctionName="f")
    for work in (
        client.get_function_event_invoke_config,
        client.delete_function_event_invoke_config,
    ):
        assert refusal(work, FunctionName="f") == (
            *NOT_FOUND,
            f"The function {ARN}:function:f:$LATEST doesn't have an EventInvokeConfig",
        )


def test_refusals_of_asynchronous_settings(bench: Bench, client) -> None:
    put = client.put_function_event_invoke_config

    def destination(arn: str, side: str = "OnSuccess") -> dict[str, Any]:
        return {"DestinationConfig": {side: {"Destination": arn}}}

    iam = "arn:aws:iam:us-east-1:123456789012:function:f"
    cases: list[tuple[dict[str, Any], tuple[str, int, str]]] = [
        (
            {},
            (
                *INVALID,
                "You must specify at least one of error handling or destination setting.",
            ),
        ),
        (
            {"FunctionName": "nope", "MaximumRetryAttempts": 0},
            (*NOT_FOUND, "The function doesn't exist."),
        ),
        (
            {"Qualifier": "nope", "MaximumRetryAttempts": 0},
            (*NOT_FOUND, "The function doesn't exist."),
        ),
        (
            destination(f"{ARN}:function:nope"),
            (*INVALID, f"The destination ARN {ARN}:function:nope is invalid."),
        ),
        (
            destination(f"{ARN}:function:f"),
            (*INVALID, "You can't specify the function as a destination for itself."),
        ),
        (
            destination(iam),
            (
                *INVALID,
                "The provided destination config DestinationConfig(onSuccess=OnSuccess("
                f"destination={iam}), onFailure=null) is invalid.",
            ),
        ),
        (
            {"MaximumRetryAttempts": 3},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '3' at 'maximumRetryAttempts' failed to "
                "satisfy constraint: Member must have value less than or equal to 2",
            ),
        ),
        (
            {"MaximumEventAgeInSeconds": 59},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '59' at 'maximumEventAgeInSeconds' failed to "
                "satisfy constraint: Member must have value greater than or equal to 60",
            ),
        ),
    ]
    for params, expected in cases:
        assert refusal(put, **{"FunctionName": "f", **params}) == expected
    assert put(FunctionName="f", **destination(f"{ARN}:function:g"))["DestinationConfig"] == {
        "OnSuccess": {"Destination": f"{ARN}:function:g"},
        "OnFailure": {},
    }
    bucket = "arn:aws:s3:::failed"
    put(FunctionName="f", **destination(bucket, "OnFailure"))
    assert refusal(put, FunctionName="f", **destination(bucket))[:2] == INVALID
    bench.refused = {"sqs:SendMessage"}
    queue = "arn:aws:sqs:us-east-1:123456789012:q"
    code, _, message = refusal(put, FunctionName="f", **destination(queue, "OnFailure"))
    assert code == INVALID[0] and "SendMessage" in str(message)
    update = client.update_function_event_invoke_config
    assert refusal(update, FunctionName="f:live", MaximumRetryAttempts=1) == (
        *NOT_FOUND,
        f"The function {ARN}:function:f:live doesn't have an EventInvokeConfig",
    )
    assert refusal(client.list_function_event_invoke_configs, FunctionName="nope") == (
        *NOT_FOUND,
        "The function doesn't exist.",
    )

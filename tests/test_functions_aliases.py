"""Aliases, weights, and which version a call gets."""

from __future__ import annotations

import pytest
from functions_support import ACCOUNT, ARN, Bench, bench, create, refusal

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404)


@pytest.fixture
def client(bench: Bench):
    """A client with a function ``f`` that has versions 1, 2 and 3."""
    client = bench.client()
    create(client)
    for timeout in (4, 5, 6):
        client.update_function_configuration(FunctionName="f", Timeout=timeout)
        client.publish_version(FunctionName="f")
    return client


def test_an_alias_from_creation_to_deletion(client) -> None:
    created = client.create_alias(
        FunctionName="f",
        Name="live",
        FunctionVersion="1",
        Description="what customers get",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.2}},
    )
    assert created.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    revision = created.pop("RevisionId")
    assert created == {
        "AliasArn": f"{ARN}:function:f:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "what customers get",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.2}},
    }
    assert client.get_alias(FunctionName="f", Name="live")["RevisionId"] == revision
    function = client.get_function(FunctionName="f", Qualifier="live")["Configuration"]
    assert (function["FunctionArn"], function["Version"]) == (f"{ARN}:function:f:live", "1")
    updated = client.update_alias(FunctionName="f", Name="live", RoutingConfig={})
    assert "RoutingConfig" not in updated and updated["RevisionId"] != revision
    assert updated["FunctionVersion"] == "1"
    client.create_alias(FunctionName="f", Name="beta", FunctionVersion="3")
    client.create_alias(FunctionName="f", Name="dev", FunctionVersion="$LATEST")
    listed = client.list_aliases(FunctionName="f")["Aliases"]
    assert [alias["Name"] for alias in listed] == ["beta", "dev", "live"]
    ones = client.list_aliases(FunctionName="f", FunctionVersion="1")["Aliases"]
    assert [alias["Name"] for alias in ones] == ["live"]
    client.delete_alias(FunctionName="f", Name="live")
    client.delete_alias(FunctionName="f", Name="live")
    assert refusal(client.get_alias, FunctionName="f", Name="live") == (
        *NOT_FOUND,
        f"Cannot find alias arn: {ARN}:function:f:live",
    )
    assert refusal(client.update_alias, FunctionName="f", Name="live") == (
        *NOT_FOUND,
        f"Alias not found: {ARN}:function:f:live",
    )


def test_what_an_alias_may_not_be(client) -> None:
    def weights(**more: float) -> dict:
        return {"AdditionalVersionWeights": {name[1:]: value for name, value in more.items()}}

    base = {"FunctionName": "f", "Name": "a", "FunctionVersion": "1"}
    limits = (
        "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
        "Member must have value greater than or equal to 0.0, Member must not be null]"
    )
    where = "at 'routingConfig.additionalVersionWeights' failed to satisfy constraint"
    for changed, expected in (
        (
            {"RoutingConfig": weights(v2=0.1, v3=0.1)},
            (*INVALID, "Number of items in AdditionalVersionWeights cannot be greater than 1"),
        ),
        (
            {"RoutingConfig": weights(v1=0.5)},
            (
                *INVALID,
                "Invalid function version 1. Function version 1 is already included in routing "
                "configuration.",
            ),
        ),
        (
            {"RoutingConfig": weights(v10=0.5)},
            (*NOT_FOUND, f"Function not found: {ARN}:function:f:10"),
        ),
        ({"FunctionVersion": "10"}, (*NOT_FOUND, f"Function not found: {ARN}:function:f:10")),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": weights(v1=0.5)},
            (*INVALID, "$LATEST is not supported for an alias pointing to more than 1 version"),
        ),
        (
            {"FunctionName": "nope"},
            (*NOT_FOUND, f"Function not found: {ARN}:function:nope:1"),
        ),
        (
            {"RoutingConfig": weights(v2=2.0)},
            (
                "ValidationException",
                400,
                f"1 validation error detected: Value '{{2=2.0}}' {where}: {limits}",
            ),
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
            (
                "ValidationException",
                400,
                f"1 validation error detected: Value '{{$LATEST=0.5}}' {where}: Map keys must "
                "satisfy constraint: [Member must have length less than or equal to 1024, Member "
                "must have length greater than or equal to 1, Member must satisfy regular "
                "expression pattern: [0-9]+]",
            ),
        ),
        (
            {"Name": "2024"},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '2024' at 'name' failed to satisfy "
                "constraint: Member must satisfy regular expression pattern: "
                "(?!^[0-9]+$)([a-zA-Z0-9-_]+)",
            ),
        ),
    ):
        assert refusal(client.create_alias, **{**base, **changed}) == expected
    client.create_alias(**base)
    assert refusal(client.create_alias, **base) == (
        "ResourceConflictException",
        409,
        f"Alias already exists: {ARN}:function:f:a",
    )
    assert refusal(client.update_alias, FunctionName="f", Name="a", RevisionId="wrong")[:2] == (
        "PreconditionFailedException",
        412,
    )


def test_a_weighted_alias_shares_its_calls(bench: Bench, client) -> None:
    client.create_alias(
        FunctionName="f",
        Name="canary",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
    )
    bench.chances = [0.0, 0.2499, 0.25, 0.9]
    chosen = [
        bench.functions.resolve(ACCOUNT, "us-east-1", "f", "canary").version for _ in range(4)
    ]
    assert chosen == ["2", "2", "1", "1"]
    bench.chances = [0.9]
    version, qualifier = bench.functions.resolve_invocation(
        ACCOUNT, "us-east-1", f"{ARN}:function:f:canary"
    )
    assert (version.version, qualifier) == ("1", "canary")


def test_moving_an_alias_moves_its_calls(bench: Bench, client) -> None:
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    assert bench.functions.resolve(ACCOUNT, "us-east-1", "f", "live").timeout_seconds == 4
    client.update_alias(FunctionName="f", Name="live", FunctionVersion="3")
    assert bench.functions.resolve(ACCOUNT, "us-east-1", "f", "live").timeout_seconds == 6


def test_a_version_with_a_weight_is_in_use(client) -> None:
    client.create_alias(
        FunctionName="f",
        Name="canary",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
    )
    assert refusal(client.delete_function, FunctionName="f", Qualifier="2") == (
        "ResourceConflictException",
        409,
        "Unable to delete version because the following aliases reference it: [canary]",
    )

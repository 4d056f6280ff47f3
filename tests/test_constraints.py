"""The front end's checks: wording, order and Java's view of values, as recorded from AWS."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.localaws import constraints
from labkit.localaws.call import AwsError
from labkit.localaws.protocol import operation_model


def _told(service: str, operation: str, **params: Any) -> str:
    model = operation_model(service, operation)
    assert model is not None
    with pytest.raises(AwsError) as caught:
        constraints.check(model.input_shape, params)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)
    return caught.value.message


@pytest.mark.parametrize(
    "recorded",
    [
        "[INSUFFICIENT_DATA, ALARM, OK]",
        "[add, remove, move, test, replace, copy]",
        "[PRIVATE, EDGE, REGIONAL]",
        "[HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]",
        "[BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY]",
        "[HMAC_SHA_384, HMAC_SHA_256, HMAC_SHA_224, HMAC_SHA_512]",
        "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]",
        "[w3c, raw, json, plain, parquet]",
    ],
)
def test_enumerations_come_in_awss_order(recorded: str) -> None:
    values = recorded[1:-1].split(", ")
    # In the models, "json" comes before "raw": newer values come first within a bucket.
    declared = sorted(values)
    assert constraints.enum_set(declared) == recorded


def test_enumerations_of_the_models() -> None:
    shape = operation_model("stepfunctions", "ListExecutions").input_shape  # type: ignore[union-attr]
    assert constraints.enum_set(shape.members["statusFilter"].enum) == (
        "[SUCCEEDED, TIMED_OUT, PENDING_REDRIVE, ABORTED, FAILED, RUNNING]"
    )
    shape = operation_model("events", "CreateApiDestination").input_shape  # type: ignore[union-attr]
    assert constraints.enum_set(shape.members["HttpMethod"].enum) == (
        "[HEAD, POST, PATCH, DELETE, PUT, GET, OPTIONS]"
    )


def test_other_services_use_it_too() -> None:
    told = _told("stepfunctions", "CreateStateMachineAlias", name="123", routingConfiguration=[])
    assert told.startswith(
        "2 validation errors detected: Value '[]' at 'routingConfiguration' failed to satisfy "
        "constraint: Member must have length greater than or equal to 1"
    )
    assert _told(
        "stepfunctions",
        "CreateStateMachineAlias",
        name="live",
        routingConfiguration=[{"stateMachineVersionArn": "arn", "weight": 101}],
    ) == (
        "1 validation error detected: Value '101' at 'routingConfiguration.1.member.weight' "
        "failed to satisfy constraint: Member must have value less than or equal to 100"
    )
    assert _told("kms", "GenerateMac", Message=b"x", KeyId="k", MacAlgorithm="INVALID") == (
        "1 validation error detected: Value 'INVALID' at 'macAlgorithm' failed to satisfy "
        "constraint: Member must satisfy enum value set: [HMAC_SHA_384, HMAC_SHA_256, "
        "HMAC_SHA_224, HMAC_SHA_512]"
    )
    assert _told("kms", "Encrypt", KeyId="k", Plaintext=b"x" * 4097) == (
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: "
        "Member must have length less than or equal to 4096"
    )


def test_what_is_missing_is_null() -> None:
    assert _told("lambda", "UntagResource", Resource="arn:aws:lambda:us-east-1:123456789012:"
                 "function:f") == (
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: "
        "Member must not be null"
    )


def test_members_are_looked_at_in_awss_order() -> None:
    told = _told("events", "CreateConnection", Name="a b", AuthorizationType="INVALID",
                 AuthParameters={})
    assert told.index("'name'") < told.index("'authorizationType'")
    told = _told("lambda", "GetFunction", FunctionName="*", Qualifier="!")
    assert told.index("'qualifier'") < told.index("'functionName'")


def test_values_as_java_shows_them() -> None:
    value = {"b": True, "n": None, "f": 2.0, "l": ["x", 1]}
    assert constraints.java(value) == "{b=true, n=null, f=2.0, l=[x, 1]}"


@pytest.mark.parametrize(
    ("pattern", "value", "good"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Käse 1_2", True),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "a;b", False),
        (r"\d{12}", "٣" * 12, False),
        (r"[\w-_]*", "a-b_c", True),
        (r"[\w-_]*", "a b", False),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "x \U0001f600", True),
        (r"a|b", "ab", False),
        (r"(unbalanced", "anything", True),
    ],
)
def test_javas_patterns(pattern: str, value: str, good: bool) -> None:
    assert constraints.matches(pattern, value) is good


def test_lengths_are_javas() -> None:
    # Two UTF-16 units a letter: 128 of them are twice as long as allowed.
    told = _told(
        "lambda", "TagResource",
        Resource="arn:aws:lambda:us-east-1:123456789012:function:f",
        Tags={"\U0001d4d0" * 65: "x"},
    )
    assert "Map keys must satisfy constraint: [Member must have length less than or equal to 128" in told


def test_services_have_rules_of_their_own() -> None:
    model = operation_model("lambda", "CreateFunction")
    assert model is not None
    rules = constraints.Rules(
        limits={"Timeout": {"max": 10}},
        skip=frozenset({"RoleArn"}),
        special={"Handler": lambda value: "Member must be nice"},
    )
    params = {"FunctionName": "f", "Code": {}, "Role": "r", "Timeout": 11, "Handler": "h"}
    found = list(constraints.violations(model.input_shape, params, rules))
    assert sorted(found) == [
        "Value '11' at 'timeout' failed to satisfy constraint: Member must have value less than "
        "or equal to 10",
        "Value 'h' at 'handler' failed to satisfy constraint: Member must be nice",
    ]

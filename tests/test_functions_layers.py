"""Layers: publishing them, finding them, using them."""

from __future__ import annotations

from typing import Any

import pytest
from functions_support import ACCOUNT, ARN, Bench, bench, create, refusal, zipped

from labkit.localaws.functions import configuration

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
HERE = (ACCOUNT, "us-east-1")


def _publish(client, name: str = "l", text: str = "x = 1", **more: Any) -> dict[str, Any]:
    return client.publish_layer_version(
        LayerName=name, Content={"ZipFile": zipped(text, "python/x.py")}, **more
    )


def test_a_layer_from_publication_to_deletion(bench: Bench) -> None:
    client = bench.client()
    first = _publish(
        client,
        Description="shared",
        LicenseInfo="MIT",
        CompatibleRuntimes=["python3.12"],
        CompatibleArchitectures=["x86_64"],
    )
    assert first.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    content = first.pop("Content")
    assert content["CodeSize"] == len(zipped("x = 1", "python/x.py"))
    assert content["Location"].startswith("http://127.0.0.1")
    assert first == {
        "LayerArn": f"{ARN}:layer:l",
        "LayerVersionArn": f"{ARN}:layer:l:1",
        "Description": "shared",
        "CreatedDate": "2026-09-21T14:13:20.250+0000",
        "Version": 1,
        "CompatibleRuntimes": ["python3.12"],
        "LicenseInfo": "MIT",
        "CompatibleArchitectures": ["x86_64"],
    }
    assert _publish(client)["Version"] == 2
    assert client.get_layer_version(LayerName="l", VersionNumber=1)["LicenseInfo"] == "MIT"
    by_arn = client.get_layer_version_by_arn(Arn=f"{ARN}:layer:l:1")
    assert by_arn["LayerVersionArn"] == f"{ARN}:layer:l:1"
    versions = client.list_layer_versions(LayerName="l")["LayerVersions"]
    assert [v["Version"] for v in versions] == [2, 1]
    [layer] = client.list_layers(CompatibleRuntime="python3.12")["Layers"]
    assert layer["LatestMatchingVersion"]["Version"] == 1
    for number in (1, 2, 2):
        client.delete_layer_version(LayerName="l", VersionNumber=number)
    assert client.list_layer_versions(LayerName="l")["LayerVersions"] == []
    assert client.list_layers()["Layers"] == []
    # Numbers are not used again.
    assert _publish(client)["Version"] == 3


def test_what_is_not_there(bench: Bench) -> None:
    client = bench.client()
    _publish(client)
    for name, number in (("nope", 1), ("l", 2)):
        wanted = {"LayerName": name, "VersionNumber": number}
        assert refusal(client.get_layer_version, **wanted) == NOT_FOUND
    assert refusal(client.get_layer_version_by_arn, Arn=f"{ARN}:layer:l:9") == NOT_FOUND
    for work in (client.get_layer_version, client.delete_layer_version):
        assert refusal(work, LayerName="l", VersionNumber=0) == (
            *INVALID,
            "Layer Version Cannot be less than 1",
        )
    assert client.list_layer_versions(LayerName="nope")["LayerVersions"] == []
    refused = refusal(
        lambda: _publish(
            client,
            CompatibleRuntimes=["invalidruntime"],
            CompatibleArchitectures=["invalidarch"],
        )
    )
    assert refused[:2] == ("ValidationException", 400)
    assert str(refused[2]).startswith(
        "2 validation errors detected: Value '[invalidruntime]' at 'compatibleRuntimes' failed to "
        "satisfy constraint: Member must satisfy enum value set: [nodejs20.x, python3.14, "
    )
    assert str(refused[2]).endswith(
        "java8.al2]; Value '[invalidarch]' at 'compatibleArchitectures' failed to satisfy "
        "constraint: Member must satisfy constraint: [Member must satisfy enum value set: "
        "[x86_64, arm64], Member must not be null]"
    )
    listed = refusal(client.list_layers, CompatibleRuntime="runtimedoesnotexist")
    assert str(listed[2]).startswith(
        "1 validation error detected: Value 'runtimedoesnotexist' at 'compatibleRuntime' failed "
        "to satisfy constraint: Member must satisfy enum value set: ["
    )


def test_a_function_with_layers(bench: Bench) -> None:
    client = bench.client()
    first = _publish(client, "a", "a = 1")
    second = _publish(client, "b", "b = 1")
    arns = [first["LayerVersionArn"], second["LayerVersionArn"]]
    created = create(client, Layers=arns)
    assert created["Layers"] == [
        {"Arn": arns[0], "CodeSize": first["Content"]["CodeSize"]},
        {"Arn": arns[1], "CodeSize": second["Content"]["CodeSize"]},
    ]
    version = bench.functions.resolve(*HERE, "f")
    assert [layer.arn for layer in version.layers] == arns
    assert version.layers[0].archive.read() == zipped("a = 1", "python/x.py")
    # A function keeps a layer version that is deleted.
    client.delete_layer_version(LayerName="a", VersionNumber=1)
    client.update_function_configuration(FunctionName="f", Timeout=7)
    assert len(bench.functions.resolve(*HERE, "f").layers) == 2
    cleared = client.update_function_configuration(FunctionName="f", Layers=[])
    assert "Layers" not in cleared and bench.functions.resolve(*HERE, "f").layers == ()


def test_layers_a_function_can_not_have(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    client = bench.client()
    arns = [_publish(client, f"l{index}")["LayerVersionArn"] for index in range(6)]
    again = _publish(client, "l0")["LayerVersionArn"]
    cases: list[tuple[list[str], str]] = [
        (arns, "Cannot reference more than 5 layers."),
        (
            [arns[0], again],
            "Two different versions of the same layer are not allowed to be referenced in the "
            f"same function. {arns[0]} and {again} are versions of the same layer.",
        ),
        (
            [arns[0], arns[0]],
            "Two different versions of the same layer are not allowed to be referenced in the "
            f"same function. {arns[0]} and {arns[0]} are versions of the same layer.",
        ),
        ([f"{ARN}:layer:nope:1"], f"Layer version {ARN}:layer:nope:1 does not exist."),
        ([f"{ARN}:layer:l0:9"], f"Layer version {ARN}:layer:l0:9 does not exist."),
        (
            [arns[0].replace("us-east-1", "eu-west-1")],
            "Layers are not in the same region as the function. "
            "Layers are expected to be in region us-east-1.",
        ),
    ]
    for wanted, told in cases:
        assert refusal(lambda wanted=wanted: create(client, Layers=wanted)) == (*INVALID, told)
    code, _, message = refusal(lambda: create(client, Layers=[f"{ARN}:layer:l0"]))
    assert code == "ValidationException"
    assert str(message).endswith("(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)), "
                                 "Member must not be null]")
    monkeypatch.setattr(configuration, "UNZIPPED_LIMIT", 40)
    assert refusal(lambda: create(client, Layers=arns[:1])) == (
        *INVALID,
        "Function code combined with layers exceeds the maximum allowed size of 40 bytes. "
        "The actual size is 46 bytes.",
    )

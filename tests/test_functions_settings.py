"""URLs, tags, account settings, runtime management, recursion, code signing, downloads."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from functions_support import ACCOUNT, ARN, Bench, bench, create, refusal, zipped

from labkit.localaws.functions import code
from labkit.localaws.functions.downloads import VALID_SECONDS, Downloads

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404)


@pytest.fixture
def client(bench: Bench):
    """A client with a function ``f``, its version 1 and the alias ``live``."""
    client = bench.client()
    create(client, Publish=True)
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    return client


def test_a_function_url(bench: Bench, client) -> None:
    created = client.create_function_url_config(FunctionName="f", AuthType="NONE")
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    url_id = re.fullmatch(
        r"https://([a-z0-9]{32})\.lambda-url\.us-east-1\.on\.aws/", created["FunctionUrl"]
    )
    assert url_id and created["FunctionArn"] == f"{ARN}:function:f"
    assert "InvokeMode" not in created
    assert refusal(client.create_function_url_config, FunctionName="f", AuthType="NONE") == (
        "ResourceConflictException",
        409,
        f"Failed to create function url config for [functionArn = {ARN}:function:f]. Error "
        "message:  FunctionUrlConfig exists for this Lambda function",
    )
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["GET"], "MaxAge": 60}
    alias = client.create_function_url_config(
        FunctionName="f", Qualifier="live", AuthType="AWS_IAM", Cors=cors
    )
    assert alias["FunctionArn"] == f"{ARN}:function:f:live" and alias["Cors"] == cors
    bench.now += 60
    client.update_function_url_config(FunctionName="f", AuthType="AWS_IAM")
    got = client.get_function_url_config(FunctionName="f")
    assert (got["AuthType"], got["InvokeMode"]) == ("AWS_IAM", "BUFFERED")
    assert got["CreationTime"] < got["LastModifiedTime"]
    listed = client.list_function_url_configs(FunctionName="f")["FunctionUrlConfigs"]
    assert [config["AuthType"] for config in listed] == ["AWS_IAM", "AWS_IAM"]
    found = bench.functions.url_target(url_id.group(1))
    assert found is not None and (found[0].name, found[1]) == ("f", None)
    client.delete_function_url_config(FunctionName="f")
    gone = (*NOT_FOUND, "The resource you requested does not exist.")
    for work in (client.get_function_url_config, client.delete_function_url_config):
        assert refusal(work, FunctionName="f") == gone
    assert client.get_function_url_config(FunctionName="f:live")["AuthType"] == "AWS_IAM"
    assert bench.functions.url_target(url_id.group(1)) is None


def test_refusals_of_function_urls(client) -> None:
    create_url, missing = client.create_function_url_config, (*NOT_FOUND, "Function does not exist")
    assert refusal(create_url, FunctionName="nope", AuthType="NONE") == missing
    assert refusal(create_url, FunctionName="f", Qualifier="v1", AuthType="NONE") == missing
    assert refusal(client.list_function_url_configs, FunctionName="nope") == missing
    assert refusal(create_url, FunctionName="f", Qualifier="1", AuthType="NONE") == (
        "ValidationException",
        400,
        "1 validation error detected: Value '1' at 'qualifier' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)",
    )
    assert refusal(create_url, FunctionName="f", AuthType="NONE", InvokeMode="UNKNOWN")[2] == (
        "1 validation error detected: Value 'UNKNOWN' at 'invokeMode' failed to satisfy "
        "constraint: Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"
    )


def test_tags(bench: Bench, client) -> None:
    arn = f"{ARN}:function:f"
    client.tag_resource(Resource=arn, Tags={"aa": "1", "bb": "2"})
    client.tag_resource(Resource=arn, Tags={"bb": "3"})
    assert client.list_tags(Resource=arn)["Tags"] == {"aa": "1", "bb": "3"}
    client.untag_resource(Resource=arn, TagKeys=["aa", "nope"])
    assert client.get_function(FunctionName="f")["Tags"] == {"bb": "3"}
    assert bench.functions.tags(ACCOUNT, "us-east-1", "f") == {"bb": "3"}
    limit = (*INVALID, "Number of tags exceeds resource tag limit.")
    many = {f"k{index}": "v" for index in range(50)}
    assert refusal(client.tag_resource, Resource=arn, Tags=many) == limit
    assert refusal(lambda: create(client, name="g", Tags={**many, "k": "v"})) == limit
    for qualifier in ("1", "live", "$LATEST"):
        assert refusal(client.tag_resource, Resource=f"{arn}:{qualifier}", Tags={"a": "b"}) == (
            *INVALID,
            "Tags on function aliases and versions are not supported. Please specify a function "
            "ARN.",
        )
    assert refusal(client.list_tags, Resource=f"{ARN}:function:nope") == (
        *NOT_FOUND,
        f"Function not found: {ARN}:function:nope",
    )
    mapping = f"{ARN}:event-source-mapping:01234567-89ab-cdef-0123-456789abcdef"
    assert refusal(client.list_tags, Resource=mapping) == (
        *NOT_FOUND,
        f"Event source mapping not found: {mapping}",
    )
    assert refusal(client.tag_resource, Resource=arn, Tags={}) == (
        *INVALID,
        "An error occurred and the request cannot be processed.",
    )
    assert refusal(client.tag_resource, Resource="arn:aws:something", Tags={"a": "b"})[2].startswith(  # type: ignore[union-attr]
        "1 validation error detected: Value 'arn:aws:something' at 'resource' failed to satisfy "
        "constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:"
    )


def test_account_settings_count_what_is_stored(client) -> None:
    before = client.get_account_settings()
    assert before["AccountLimit"]["TotalCodeSize"] == 80_530_636_800
    assert before["AccountLimit"]["CodeSizeUnzipped"] == 262_144_000
    assert before["AccountLimit"]["CodeSizeZipped"] == 52_428_800
    client.publish_layer_version(LayerName="l", Content={"ZipFile": zipped()})
    create(client, name="g")
    after = client.get_account_settings()["AccountUsage"]
    assert after["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    grown = after["TotalCodeSize"] - before["AccountUsage"]["TotalCodeSize"]
    assert grown == 2 * len(zipped())


def test_settings_that_stand_by_themselves(bench: Bench, client) -> None:
    assert client.get_function_recursion_config(FunctionName="f")["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName="f", RecursiveLoop="Allow")
    assert client.get_function_recursion_config(FunctionName="f")["RecursiveLoop"] == "Allow"
    assert bench.functions.recursive_loop(ACCOUNT, "us-east-1", "f") == "Allow"
    assert refusal(
        client.put_function_recursion_config, FunctionName="f", RecursiveLoop="InvalidValue"
    )[2] == (
        "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy "
        "constraint: Member must satisfy enum value set: [Terminate, Allow]"
    )
    got = client.get_runtime_management_config(FunctionName="f")
    assert (got["UpdateRuntimeOn"], got["FunctionArn"]) == ("Auto", f"{ARN}:function:f:$LATEST")
    client.put_runtime_management_config(FunctionName="f", UpdateRuntimeOn="FunctionUpdate")
    got = client.get_runtime_management_config(FunctionName="f", Qualifier="$LATEST")
    assert got["UpdateRuntimeOn"] == "FunctionUpdate"
    manual = {"FunctionName": "f", "UpdateRuntimeOn": "Manual"}
    assert refusal(client.put_runtime_management_config, **manual)[:2] == INVALID


def test_code_signing(client) -> None:
    publishers = {
        "SigningProfileVersionArns": [f"arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/x"]
    }
    made = client.create_code_signing_config(
        AllowedPublishers=publishers,
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )["CodeSigningConfig"]
    arn = made["CodeSigningConfigArn"]
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == [made]
    assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(FunctionName="f")
    client.put_function_code_signing_config(FunctionName="f", CodeSigningConfigArn=arn)
    users = client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)
    assert users["FunctionArns"] == [f"{ARN}:function:f"]
    # Nothing here can be signed, so enforcement refuses all code.
    new_code = {"FunctionName": "f", "ZipFile": zipped("x = 1")}
    assert refusal(client.update_function_code, **new_code)[0] == "CodeVerificationFailedException"
    client.update_code_signing_config(
        CodeSigningConfigArn=arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"}
    )
    client.update_function_code(**new_code)
    assert refusal(client.delete_code_signing_config, CodeSigningConfigArn=arn)[1] == 409
    client.delete_function_code_signing_config(FunctionName="f")
    client.delete_code_signing_config(CodeSigningConfigArn=arn)
    assert refusal(client.get_code_signing_config, CodeSigningConfigArn=arn) == (
        *NOT_FOUND,
        f"The Lambda code signing configuration {arn} can not be found.",
    )
    assert refusal(
        client.put_function_code_signing_config, FunctionName="f", CodeSigningConfigArn=arn
    ) == (
        "CodeSigningConfigNotFoundException",
        404,
        "The code signing configuration cannot be found. Check that the provided configuration "
        f"is not deleted: {arn}.",
    )


def test_addresses_of_packages_are_good_for_ten_minutes() -> None:
    now = [1000.0]
    downloads = Downloads("http://127.0.0.1:4567", lambda: now[0])
    package = code.package(zipped())
    url = urlsplit(downloads.url("arn", package))
    query = dict(parse_qsl(url.query))
    status, _, body = downloads.answer(url.path, query)
    assert (status, body) == (200, zipped())
    longer = {**query, "Expires": str(int(query["Expires"]) + 1)}
    assert downloads.answer(url.path, longer)[0] == 403
    assert downloads.answer(url.path, {})[0] == 403
    assert downloads.answer("/_lambda/code/" + "0" * 64, query)[0] == 403
    now[0] += VALID_SECONDS + 1
    status, _, body = downloads.answer(url.path, query)
    assert status == 403 and b"Request has expired" in body

"""Function URLs, called with plain HTTP."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
import uuid
import zipfile

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

HANDLER = """
def handler(event, context):
    if event["rawPath"] == "/boom":
        raise ValueError("boom")
    if event["rawPath"] == "/plain":
        return {"seen": event.get("queryStringParameters")}
    return {
        "statusCode": 201,
        "headers": {"X-Mine": "yes"},
        "cookies": ["a=1"],
        "body": event.get("body") or event["requestContext"]["http"]["method"],
    }
"""


@pytest.fixture(scope="module")
def url_function(lab):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("main.py", HANDLER)
    name = f"behind-a-url-{uuid.uuid4().hex[:6]}"
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
    role = lab.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    lab.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="main.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return name


def fetch(url, method="GET", body=None, headers=None):
    # No proxy of the environment: the address is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, dict(answer.headers), answer.read().decode()


def test_an_open_url_needs_the_functions_permission(lab, url_function):
    functions = lab.client("lambda")
    url = functions.create_function_url_config(FunctionName=url_function, AuthType="NONE")[
        "FunctionUrl"
    ]
    status, _, body = fetch(url)
    assert status == 403 and "Forbidden" in body
    functions.add_permission(
        FunctionName=url_function,
        StatementId="everyone",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    status, headers, body = fetch(url, "POST", b"hello", {"Content-Type": "text/plain"})
    assert (status, body, headers["X-Mine"]) == (201, "hello", "yes")
    assert headers["Set-Cookie"] == "a=1"
    status, _, body = fetch(f"{url}plain?x=1&x=2")
    assert (status, json.loads(body)) == (200, {"seen": {"x": "1,2"}})
    assert fetch(f"{url}boom")[0] == 502
    functions.delete_function_url_config(FunctionName=url_function)
    assert fetch(url)[0] == 404


def test_a_url_with_iam_wants_a_signature(lab, url_function):
    functions = lab.client("lambda")
    url = functions.create_function_url_config(FunctionName=url_function, AuthType="AWS_IAM")[
        "FunctionUrl"
    ]
    assert fetch(url)[0] == 403
    keys = lab.client("sts")._request_signer._credentials
    request = botocore.awsrequest.AWSRequest("GET", url)
    botocore.auth.SigV4Auth(keys, "lambda", lab.region).add_auth(request)
    status, _, body = fetch(url, headers=dict(request.headers))
    assert (status, body) == (201, "GET")
    stranger = botocore.credentials.Credentials(keys.access_key, "not the secret")
    forged = botocore.awsrequest.AWSRequest("GET", url)
    botocore.auth.SigV4Auth(stranger, "lambda", lab.region).add_auth(forged)
    assert fetch(url, headers=dict(forged.headers))[0] == 403

"""A local AWS of its own for a module of tests, and identities made in it."""

from __future__ import annotations

import itertools
import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from labkit.localaws.server import LocalAws

REGION = "us-east-1"

# moto's state outlives a local AWS within one process: every module gets an account of its own,
# and no name is used twice.
_COUNT = itertools.count(1)


class Door:
    """A local AWS with what tests ask of it."""

    def __init__(self, aws):
        self.aws = aws
        self.account = aws.account_id

    def client(self, service, keys=None, **config):
        """A boto3 client of the administrator, or of these keys (as STS or IAM gives them)."""
        keys = keys or {
            "AccessKeyId": self.aws.access_key_id,
            "SecretAccessKey": self.aws.secret_access_key,
        }
        return boto3.client(
            service,
            endpoint_url=self.aws.endpoint,
            region_name=REGION,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def name(self, kind):
        return f"{kind}{next(_COUNT)}"

    def user(self, *statements, **settings):
        """A new user's name and key, with these statements as its inline policy."""
        name = self.name("user")
        iam = self.client("iam")
        iam.create_user(UserName=name, **settings)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
        return name, iam.create_access_key(UserName=name)["AccessKey"]

    def role(self, trusted, *statements, condition=None, action="sts:AssumeRole", **settings):
        """A new role's ARN."""
        name = self.name("role")
        trust = {"Effect": "Allow", "Principal": trusted, "Action": action}
        if condition:
            trust["Condition"] = condition
        iam = self.client("iam")
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust), **settings)
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
        return made["Role"]["Arn"]


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def refusal(work, *args, **kwargs):
    """The code, status and message a call is refused with."""
    with pytest.raises(ClientError) as caught:
        work(*args, **kwargs)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    return error["Error"]["Code"], status, error["Error"]["Message"]


@pytest.fixture(scope="module")
def door():
    """A running local AWS, the module's own."""
    aws = LocalAws(account_id=f"{700_000_000_000 + next(_COUNT)}")
    aws.start()
    yield Door(aws)
    aws.close()

"""How the Lambda control plane reaches the rest of the local AWS.

Everything goes through the front door in the name of whoever really makes the call in AWS: the
caller for a package in S3, the function's role for its event sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.functions import downloads
from labkit.localaws.functions.store import Hooks
from labkit.localaws.runtime.version import FunctionVersion

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

_SERVICE = "lambda.amazonaws.com"


def hooks_of(aws: LocalAws) -> Hooks:
    """The control plane's hooks into *aws*; also has packages served at their addresses."""
    packages = downloads.Downloads(aws.endpoint, aws.clock.now)
    aws.gateway.pages[downloads.PREFIX] = lambda request: packages.answer(
        request.path, request.args.to_dict()
    )

    def can_assume(role_arn: str) -> bool:
        try:
            aws.identity.assume_role_for_service(role_arn, _SERVICE, "awslambda", 900)
        except AwsError:
            return False
        return True

    def role_allows(role_arn: str, action: str, resource_arn: str) -> bool:
        return aws.identity.role_allows(role_arn, action, resource_arn)

    def fetch_object(bucket: str, key: str, version: str | None, principal: Principal) -> bytes:
        wanted = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        client = aws.client("s3", principal=principal)
        try:
            return client.get_object(**wanted)["Body"].read()
        except ClientError as problem:
            raise _as_aws_error(problem) from problem

    def source(arn: str, role_arn: str) -> Mapping[str, Any]:
        return describe_source(aws, arn, role_arn)

    def provision(version: FunctionVersion, count: int) -> int:
        return aws.environments.warm(version, count)

    def function_url(url_id: str, region: str) -> str:
        return f"{aws.endpoint}/_lambda/url/{url_id}/"

    return Hooks(
        now=aws.clock.now,
        defer=lambda work: aws.activity.submit(work, name="function state"),
        can_assume=can_assume,
        role_allows=role_allows,
        fetch_object=fetch_object,
        code_url=packages.url,
        source=source,
        function_url=function_url,
        provision=provision,
    )


def describe_source(aws: LocalAws, arn: str, role_arn: str) -> Mapping[str, Any]:
    """What the function's role sees of an event source; raises AwsError as the source answers.

    For a queue its attributes, for a stream its description, for other sources ``{}``.
    """
    parts = arn.split(":")
    service, region = parts[2], parts[3] or None
    principal = role_principal(role_arn)
    try:
        if service == "sqs":
            client = aws.client("sqs", principal=principal, region=region)
            url = f"{aws.endpoint}/{parts[4]}/{parts[5]}"
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            return answer["Attributes"]
        if service == "kinesis":
            client = aws.client("kinesis", principal=principal, region=region)
            stream_arn, _, consumer = arn.partition("/consumer/")
            answer = client.describe_stream_summary(StreamARN=stream_arn)
            # The role need not be allowed to describe a consumer: AWS's own policy does not.
            found, _ = aws.layer("kinesis").stream(stream_arn)
            if consumer and found.get_consumer_by_arn(arn) is None:
                raise AwsError("ResourceNotFoundException", f"Consumer {arn} not found.")
            return answer["StreamDescriptionSummary"]
        if service == "dynamodb":
            client = aws.client("dynamodbstreams", principal=principal, region=region)
            return client.describe_stream(StreamArn=arn, Limit=1)["StreamDescription"]
    except ClientError as problem:
        raise _as_aws_error(problem) from problem
    return {}


def role_principal(role_arn: str, session_name: str = "awslambda") -> Principal:
    """A session of the function's role as Lambda assumes it."""
    account = role_arn.split(":")[4]
    role = role_arn.rsplit("/", 1)[-1]
    return Principal(
        kind="role",
        account_id=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role}/{session_name}",
        name=role,
        role_name=role,
        session_name=session_name,
    )


def _as_aws_error(problem: ClientError) -> AwsError:
    error = problem.response.get("Error", {})
    status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return AwsError(error.get("Code", ""), error.get("Message", ""), status)

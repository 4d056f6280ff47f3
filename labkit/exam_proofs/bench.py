"""The bench a proof works at: clients, names of its own, resources that are removed afterwards."""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.exam_proofs.policies import Statement, allow, policy, trust

if TYPE_CHECKING:
    from labkit.session import Lab

LOGS = allow("logs:CreateLogGroup logs:CreateLogStream logs:PutLogEvents")
_GONE = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist")


class Bench:
    """What a proof is given; leaving it removes all that was made, the last first.

    ``lab`` is the opened lab, ``clock`` its clock, ``prefix`` begins every name. The makers
    (:meth:`queue`, :meth:`table`, :meth:`function` ...) are short for the create calls that a
    proof does not want to talk about; what a proof proves, it does with plain clients.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.clock = lab.clock
        self.account_id = lab.account_id
        self.region = lab.region
        self.prefix = f"proof-{secrets.token_hex(4)}"
        self._undo: list[tuple[Callable[..., Any], dict[str, Any]]] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lab.settle()
        failures = []
        while self._undo:
            call, params = self._undo.pop()
            try:
                call(**params)
            except ClientError as problem:
                if not any(word in problem.response["Error"]["Code"] for word in _GONE):
                    failures.append(problem)
        if failures and error is None:
            raise failures[0]

    # -- reaching AWS ------------------------------------------------------------------------

    def client(
        self, service: str, credentials: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """A boto3 client, with *credentials* as AssumeRole or CreateAccessKey return them.

        *options* go to boto3, for example ``config``.
        """
        if credentials is not None:
            options |= {
                "aws_access_key_id": credentials["AccessKeyId"],
                "aws_secret_access_key": credentials["SecretAccessKey"],
                "aws_session_token": credentials.get("SessionToken"),
            }
        return self.lab.client(service, **options)

    def name(self, stem: str) -> str:
        """A name for something called *stem*, unlike any other proof's."""
        return f"{self.prefix}-{stem}"

    def arn(self, service: str, rest: str) -> str:
        """The ARN of something in this account and Region."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{rest}"

    def defer(self, call: Callable[..., Any], **params: Any) -> None:
        """Have *call* clean up when the proof is over; what is gone already is fine."""
        self._undo.append((call, params))

    def until(self, look: Callable[[], Any], seconds: int = 60) -> Any:
        """What *look* returns once it is true, as time passes; at last what it returns."""
        for _ in range(seconds):
            if seen := look():
                return seen
            self.lab.settle()
            if seen := look():
                return seen
            self.clock.advance(seconds=1)
        return look()

    # -- makers ------------------------------------------------------------------------------

    def queue(self, stem: str, **attributes: Any) -> str:
        """The URL of a new queue; attributes as in CreateQueue, documents may be dicts."""
        sqs = self.client("sqs")
        texts = {
            name: json.dumps(value) if isinstance(value, dict) else str(value)
            for name, value in attributes.items()
        }
        url = sqs.create_queue(QueueName=self.name(stem), Attributes=texts)["QueueUrl"]
        self.defer(sqs.delete_queue, QueueUrl=url)
        return url

    def queue_arn(self, url: str) -> str:
        """The ARN of the queue with this URL."""
        return self.arn("sqs", url.rsplit("/", 1)[1])

    def messages(self, queue: str, at_least: int = 0, seconds: int = 60) -> list[dict[str, Any]]:
        """All messages in *queue* now, received and deleted; waits for *at_least* so many."""
        sqs = self.client("sqs")
        found: list[dict[str, Any]] = []

        def drain() -> bool:
            while batch := sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages"):
                for message in batch:
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.extend(batch)
            return len(found) >= at_least

        self.lab.settle()
        drain() if not at_least else self.until(drain, seconds)
        return found

    def topic(self, stem: str, **attributes: str) -> str:
        """The ARN of a new topic."""
        sns = self.client("sns")
        arn = sns.create_topic(Name=self.name(stem), Attributes=attributes)["TopicArn"]
        self.defer(sns.delete_topic, TopicArn=arn)
        return arn

    def topic_may_send(self, topic: str, queue: str) -> None:
        """Lets *topic* send to *queue*, by the queue's policy."""
        statement = allow(
            "sqs:SendMessage",
            self.queue_arn(queue),
            Principal={"Service": "sns.amazonaws.com"},
            Condition={"ArnEquals": {"aws:SourceArn": topic}},
        )
        self.client("sqs").set_queue_attributes(
            QueueUrl=queue, Attributes={"Policy": policy(statement)}
        )

    def subscribe(self, topic: str, queue: str, **attributes: Any) -> str:
        """The ARN of *queue*'s new subscription to *topic*, whose messages the queue accepts."""
        self.topic_may_send(topic, queue)
        texts = {
            name: json.dumps(value) if isinstance(value, dict) else str(value)
            for name, value in attributes.items()
        }
        answer = self.client("sns").subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.queue_arn(queue),
            Attributes=texts,
            ReturnSubscriptionArn=True,
        )
        return answer["SubscriptionArn"]

    def table(self, stem: str, partition: str, sort: str | None = None, **more: Any) -> str:
        """The name of a new on-demand table; keys are texts, ``name:N`` a number."""
        dynamodb = self.client("dynamodb")
        keys = [(partition, "HASH")] + ([(sort, "RANGE")] if sort else [])
        defined = [
            {"AttributeName": key.split(":")[0], "AttributeType": key.partition(":")[2] or "S"}
            for key, _ in keys
        ] + more.pop("AttributeDefinitions", [])
        name = self.name(stem)
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": k.split(":")[0], "KeyType": kind} for k, kind in keys],
            AttributeDefinitions=defined,
            **({"BillingMode": "PAY_PER_REQUEST"} | more),
        )
        self.defer(dynamodb.delete_table, TableName=name)
        dynamodb.get_waiter("table_exists").wait(TableName=name)
        return name

    def bucket(self, stem: str = "bucket") -> str:
        """The name of a new bucket; it is emptied, versions and all, before it is removed."""
        s3 = self.client("s3")
        name = self.name(stem)
        s3.create_bucket(Bucket=name)
        self.defer(s3.delete_bucket, Bucket=name)
        self.defer(self._empty, bucket=name)
        return name

    def _empty(self, bucket: str) -> None:
        s3 = self.client("s3")
        s3.delete_bucket_policy(Bucket=bucket)
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
                s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
        for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def stream(self, stem: str, shards: int = 1) -> str:
        """The name of a new active data stream."""
        kinesis = self.client("kinesis")
        name = self.name(stem)
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        self.defer(kinesis.delete_stream, StreamName=name)
        kinesis.get_waiter("stream_exists").wait(StreamName=name)
        return name

    def log_group(self, stem: str) -> str:
        """The name of a new log group with one stream called ``main``."""
        logs = self.client("logs")
        name = f"/{self.name(stem)}"
        logs.create_log_group(logGroupName=name)
        self.defer(logs.delete_log_group, logGroupName=name)
        logs.create_log_stream(logGroupName=name, logStreamName="main")
        return name

    # -- identities --------------------------------------------------------------------------

    def user(self, stem: str, *statements: Statement) -> dict[str, str]:
        """A new user with these statements as inline policy: its access key, name and ARN."""
        iam = self.client("iam")
        name = self.name(stem)
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        self.defer(iam.delete_user, UserName=name)
        self.put_user_policy(name, *statements)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.defer(iam.delete_access_key, UserName=name, AccessKeyId=key["AccessKeyId"])
        return {**key, "Arn": arn}

    def put_user_policy(self, user: str, *statements: Statement) -> None:
        """Gives *user* exactly these statements as inline policy; none takes the policy away."""
        iam = self.client("iam")
        if not statements:
            return
        iam.put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=policy(*statements))
        self.defer(iam.delete_user_policy, UserName=user, PolicyName="inline")

    def role(self, stem: str, *statements: Statement, by: Any = None, **more: Any) -> str:
        """The ARN of a new role with these statements; *by* may assume it, else this account."""
        iam = self.client("iam")
        name = self.name(stem)
        document = by if isinstance(by, str) and by.startswith("{") else None
        principal = by or {"AWS": f"arn:aws:iam::{self.account_id}:root"}
        role = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=document or trust(principal), **more
        )["Role"]
        self.defer(iam.delete_role, RoleName=name)
        if statements:
            self.put_role_policy(name, *statements)
        return role["Arn"]

    def put_role_policy(self, role: str, *statements: Statement) -> None:
        """Gives *role* exactly these statements as inline policy."""
        iam = self.client("iam")
        name = role.rsplit("/", 1)[-1]
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy(*statements))
        self.defer(iam.delete_role_policy, RoleName=name, PolicyName="inline")

    def session(self, role: str, name: str = "proof", **params: Any) -> dict[str, Any]:
        """The credentials of a new session of *role*."""
        sts = self.client("sts")
        return sts.assume_role(RoleArn=role, RoleSessionName=name, **params)["Credentials"]

    # -- functions ---------------------------------------------------------------------------

    @staticmethod
    def zip(code: str | Mapping[str, str]) -> bytes:
        """A zip file with *code* as ``index.py``, or with these files."""
        files = {"index.py": code} if isinstance(code, str) else code
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        return packed.getvalue()

    def function(
        self,
        stem: str,
        code: str | Mapping[str, str],
        *statements: Statement,
        **config: Any,
    ) -> str:
        """The name of a new function whose role has these statements; handler index.handler."""
        awslambda = self.client("lambda")
        name = self.name(stem)
        if "Role" not in config:
            config["Role"] = self.role(f"{stem}-role", *statements, by="lambda.amazonaws.com")
        awslambda.create_function(
            FunctionName=name,
            Code={"ZipFile": self.zip(code)},
            **({"Runtime": "python3.12", "Handler": "index.handler"} | config),
        )
        logs = self.client("logs")
        self.defer(logs.delete_log_group, logGroupName=f"/aws/lambda/{name}")
        self.defer(awslambda.delete_function, FunctionName=name)
        awslambda.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    def update_code(self, function: str, code: str | Mapping[str, str]) -> None:
        """Gives *function*'s $LATEST other code and waits until it is in force."""
        awslambda = self.client("lambda")
        awslambda.update_function_code(FunctionName=function, ZipFile=self.zip(code))
        awslambda.get_waiter("function_updated_v2").wait(FunctionName=function)

    def invoke(self, function: str, event: Any = None, **params: Any) -> Any:
        """What *function* returns for *event*, or its error document."""
        answer = self.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(event), **params
        )
        return json.loads(answer["Payload"].read() or b"null")

    def invoke_later(self, function: str, event: Any = None, **params: Any) -> int:
        """The status of an asynchronous invocation of *function* with *event*."""
        answer = self.client("lambda").invoke(
            FunctionName=function, InvocationType="Event", Payload=json.dumps(event), **params
        )
        return answer["StatusCode"]

    def log_lines(self, function: str, seconds: int = 20) -> list[str]:
        """The log lines of *function* so far; waits for the first ones."""
        logs = self.client("logs")

        def look() -> list[str]:
            try:
                events = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
            except logs.exceptions.ResourceNotFoundException:
                return []
            return [event["message"].rstrip("\n") for event in events]

        return self.until(look, seconds) if seconds else look()

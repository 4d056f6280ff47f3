"""The orders pipeline: one short builder per resource, in the order in which they are needed.

Each builder can be called again at any time: what exists is left alone, what differs is put
right. The calls are the ones a developer would make; ``lab.calls`` shows them.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

from labkit import policies
from labkit.bundle import function_zip
from labkit.display import progress
from labkit.errors import LabError
from labkit.session import Lab
from labkit.waiting import despite, until

RUNTIME = "python3.13"
HANDLER = "handler.lambda_handler"
TAGS = {"project": "dva-c02-lab"}
LOCAL_EMAIL = "orders-team@example.com"
S3_MAY_INVOKE = "s3-may-invoke"
LOG_DAYS = 14


def table(lab: Lab) -> str:
    """OrdersTable, keyed by OrderId and paid per request; returns its ARN."""
    dynamodb = lab.client("dynamodb")

    def create() -> None:
        try:
            dynamodb.create_table(
                TableName=lab.names.table,
                KeySchema=[{"AttributeName": "OrderId", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "OrderId", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                Tags=_tag_list(),
            )
        except dynamodb.exceptions.ResourceInUseException:
            pass

    def active() -> bool:
        try:
            found = dynamodb.describe_table(TableName=lab.names.table)
        except dynamodb.exceptions.ResourceNotFoundException:
            # It was still being deleted when we wanted to create it.
            create()
            return False
        return found["Table"]["TableStatus"] == "ACTIVE"

    create()
    until(lab, f"Waiting for the table {lab.names.table}", active)
    return lab.names.table_arn


def topic(lab: Lab) -> str:
    """HighValueOrderTopic, without subscribers yet; returns its ARN."""
    sns = lab.client("sns")
    return sns.create_topic(Name=lab.names.topic, Tags=_tag_list())["TopicArn"]


def queue(lab: Lab) -> str:
    """HighValueQueue; returns its URL. CreateQueue answers with the queue that is there."""
    return _queue(lab, lab.names.queue)


def stream(lab: Lab) -> str:
    """OrdersStream with one shard; returns its ARN."""
    kinesis = lab.client("kinesis")

    def create() -> None:
        try:
            kinesis.create_stream(StreamName=lab.names.stream, ShardCount=1, Tags=TAGS)
        except kinesis.exceptions.ResourceInUseException:
            pass

    def active() -> bool:
        try:
            found = kinesis.describe_stream_summary(StreamName=lab.names.stream)
        except kinesis.exceptions.ResourceNotFoundException:
            create()
            return False
        return found["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"

    create()
    until(lab, f"Waiting for the stream {lab.names.stream}", active)
    return lab.names.stream_arn


def role(lab: Lab) -> str:
    """The function's role: Lambda may take it on, and write logs with it; returns its ARN."""
    iam = lab.client("iam")
    trust = json.dumps(policies.lambda_trust())
    try:
        iam.create_role(RoleName=lab.names.role, AssumeRolePolicyDocument=trust, Tags=_tag_list())
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=lab.names.role, PolicyDocument=trust)
    iam.attach_role_policy(RoleName=lab.names.role, PolicyArn=policies.BASIC_EXECUTION)
    return lab.names.role_arn


def permissions(lab: Lab) -> dict:
    """What the role may do while processing orders: the six actions; returns the policy."""
    document = policies.process_orders(lab.names)
    _put_role_policy(lab, lab.names.policy, document)
    return document


def function(lab: Lab) -> str:
    """ProcessOrderFunction with the code in ``labkit/functions/process_order``; returns its ARN.

    Its environment variables name the resources above it in this file, which must exist.
    """
    client = lab.client("lambda")
    package = function_zip("process_order", with_packages=lab.control is None)
    settings = {
        "FunctionName": lab.names.function,
        "Role": lab.names.role_arn,
        "Runtime": RUNTIME,
        "Handler": HANDLER,
        "Timeout": 30,
        "MemorySize": 256,
        "Environment": {"Variables": environment(lab)},
    }
    try:
        there = client.get_function_configuration(FunctionName=lab.names.function)
    except client.exceptions.ResourceNotFoundException:
        # A new role takes some seconds until Lambda can take it on.
        despite(
            lab,
            "Waiting until Lambda can use the new role",
            {"InvalidParameterValueException"},
            lambda: client.create_function(**settings, Code={"ZipFile": package}, Tags=TAGS),
        )
    else:
        if there["CodeSha256"] != b64encode(sha256(package).digest()).decode():
            client.update_function_code(FunctionName=lab.names.function, ZipFile=package)
            _until_updated(lab)
        if _differs(there, settings):
            client.update_function_configuration(**settings)
    _until_updated(lab)
    return lab.names.function_arn


def environment(lab: Lab) -> dict[str, str]:
    """The function's environment variables: every name and ARN it works with."""
    sqs = lab.client("sqs")
    return {
        "TABLE_NAME": lab.names.table,
        "STREAM_NAME": lab.names.stream,
        "QUEUE_URL": sqs.get_queue_url(QueueName=lab.names.queue)["QueueUrl"],
        "TOPIC_ARN": lab.names.topic_arn,
    }


def dead_letters(lab: Lab) -> str:
    """Where events go that failed for good: RejectedOrdersQueue, as the on-failure destination.

    Lambda sends with the function's role, so the role gets the permission first. Returns the
    queue's URL.
    """
    url = _queue(lab, lab.names.dead_letter_queue)
    _put_role_policy(lab, lab.names.dead_letter_policy, policies.send_rejected(lab.names))
    client = lab.client("lambda")
    destination = {"OnFailure": {"Destination": lab.names.dead_letter_queue_arn}}
    despite(
        lab,
        "Waiting until Lambda sees the role's new permission",
        {"InvalidParameterValueException"},
        lambda: client.put_function_event_invoke_config(
            FunctionName=lab.names.function,
            MaximumRetryAttempts=2,
            DestinationConfig=destination,
        ),
    )
    return url


def bucket(lab: Lab) -> str:
    """The bucket for orders, which starts the function for every .json and .jsonl under orders/.

    S3 must be allowed to invoke the function before it can be told to. Returns the bucket's name.
    """
    s3 = lab.client("s3")
    name = lab.names.bucket
    try:
        s3.create_bucket(Bucket=name)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    except s3.exceptions.BucketAlreadyExists as taken:
        raise LabError(
            f"The bucket name {name} is somebody else's; set LABKIT_SUFFIX to letters of your own."
        ) from taken
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": _tag_list()})
    allow_s3(lab)
    despite(
        lab,
        "Waiting until S3 may invoke the function",
        {"InvalidArgument"},
        lambda: s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration=notification(lab)
        ),
    )
    return name


def allow_s3(lab: Lab) -> None:
    """The function's resource policy: S3 may invoke it, for our bucket in our account only."""
    client = lab.client("lambda")
    try:
        client.add_permission(
            FunctionName=lab.names.function,
            StatementId=S3_MAY_INVOKE,
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn=lab.names.bucket_arn,
            SourceAccount=lab.account_id,
        )
    except client.exceptions.ResourceConflictException:
        pass


def notification(lab: Lab) -> dict:
    """What the bucket tells the function about: new objects under orders/ with either ending."""
    return {
        "LambdaFunctionConfigurations": [
            {
                "Id": f"orders-{ending}",
                "LambdaFunctionArn": lab.names.function_arn,
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {
                    "Key": {
                        "FilterRules": [
                            {"Name": "prefix", "Value": lab.names.prefix},
                            {"Name": "suffix", "Value": f".{ending}"},
                        ]
                    }
                },
            }
            for ending in ("json", "jsonl")
        ]
    }


def subscribers(lab: Lab) -> dict[str, str]:
    """Who hears of high-value orders: HighValueQueue, and a person by e-mail.

    The queue's own policy lets the topic send. An e-mail subscription waits until its link is
    followed: the lab does so where it can read the mail. Returns protocol to subscription ARN.
    """
    sqs, sns = lab.client("sqs"), lab.client("sns")
    policy = json.dumps(policies.queue_takes_from_topic(lab.names))
    sqs.set_queue_attributes(QueueUrl=queue(lab), Attributes={"Policy": policy})
    arns = {
        "sqs": sns.subscribe(
            TopicArn=lab.names.topic_arn,
            Protocol="sqs",
            Endpoint=lab.names.queue_arn,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
    }
    address = email(lab)
    if address:
        arns["email"] = _subscribe_person(lab, address)
    return arns


def email(lab: Lab) -> str | None:
    """The address that hears of high-value orders: ``LABKIT_EMAIL``, or one that only exists here.

    None on an AWS that sends real mail when no address was set.
    """
    return os.environ.get("LABKIT_EMAIL") or (None if lab.costs_money else LOCAL_EMAIL)


def logs(lab: Lab) -> str:
    """The function's log group, keeping 14 days: by default logs are kept, and paid for, forever.

    Lambda makes the group at the first invocation when it is not there. Returns its name.
    """
    client = lab.client("logs")
    try:
        client.create_log_group(logGroupName=lab.names.log_group, tags=TAGS)
    except client.exceptions.ResourceAlreadyExistsException:
        pass
    client.put_retention_policy(logGroupName=lab.names.log_group, retentionInDays=LOG_DAYS)
    return lab.names.log_group


# In the order of building; the number is the notebook that teaches it, so that every notebook
# with a higher number finds it there.
STEPS: tuple[tuple[str, Callable[[Lab], object]], ...] = (
    ("01", table),
    ("02", topic),
    ("02", queue),
    ("02", stream),
    ("02", role),
    ("02", function),
    ("03", permissions),
    ("04", dead_letters),
    ("04", bucket),
    ("05", subscribers),
    ("07", logs),
)


def build(lab: Lab, through: str = "99") -> list[str]:
    """Bring the pipeline to where notebook *through* starts; returns what now stands.

    Everything that earlier notebooks build, no matter what is there already. ``99`` is all of it.
    """
    number = str(through).zfill(2)
    if not re.fullmatch("[0-9]{1,2}", str(through)):
        raise LabError(f"{through!r} is not a notebook's number; use 00 to 99")
    done = []
    with progress("Building the orders pipeline") as shown:
        for notebook, step in STEPS:
            if notebook < number:
                shown.text = step.__name__.replace("_", " ")
                step(lab)
                done.append(step.__name__)
    return done


def _queue(lab: Lab, name: str) -> str:
    sqs = lab.client("sqs")
    # For a minute after a queue was deleted, AWS gives its name to nobody.
    return despite(
        lab,
        f"Waiting until the name {name} can be used again",
        {"AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"},
        lambda: sqs.create_queue(QueueName=name, tags=TAGS),
    )["QueueUrl"]


def _put_role_policy(lab: Lab, name: str, document: dict) -> None:
    lab.client("iam").put_role_policy(
        RoleName=lab.names.role, PolicyName=name, PolicyDocument=json.dumps(document)
    )


def _until_updated(lab: Lab) -> None:
    client = lab.client("lambda")

    def ready() -> bool:
        found = client.get_function_configuration(FunctionName=lab.names.function)
        if "Failed" in (found.get("State"), found.get("LastUpdateStatus")):
            raise LabError(
                f"{lab.names.function} failed: "
                f"{found.get('StateReason') or found.get('LastUpdateStatusReason')}"
            )
        return (
            found.get("State", "Active") in ("Active", "Inactive")
            and found.get("LastUpdateStatus", "Successful") == "Successful"
        )

    until(lab, f"Waiting for {lab.names.function}", ready)


def _differs(there: dict, settings: dict) -> bool:
    return any(there.get(name) != value for name, value in settings.items() if name in there) or (
        there.get("Environment", {}).get("Variables") != settings["Environment"]["Variables"]
    )


def _subscribe_person(lab: Lab, address: str) -> str:
    sns = lab.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=lab.names.topic_arn)
    for page in pages:
        for found in page["Subscriptions"]:
            if found["Endpoint"] == address and found["SubscriptionArn"].startswith("arn:"):
                return found["SubscriptionArn"]
    since = lab.clock.stamp()
    sns.subscribe(TopicArn=lab.names.topic_arn, Protocol="email", Endpoint=address)
    if not lab.mailbox.readable:
        return "PendingConfirmation"
    return until(
        lab,
        f"Waiting for the mail that asks {address} to confirm",
        lambda: lab.mailbox.confirm(sns, lab.names.topic_arn, since),
        timeout=10,
    )


def _tag_list() -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in TAGS.items()]

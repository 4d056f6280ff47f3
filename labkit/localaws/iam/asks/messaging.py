"""Amazon SNS, Amazon SQS and Amazon Kinesis: operations to actions on topics, queues, streams.

Follows the Service Authorization Reference pages of the three services; SQS names batch actions
like their single ones ("Amazon SQS API permissions: Actions and resource reference").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

from labkit.localaws.call import Call
from labkit.localaws.iam.asks.ask import Ask, Facts, arn, request_tags, tag_keys


def read_sns(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an SNS call asks for."""
    operation, params = call.operation, call.params
    name = "Publish" if operation == "PublishBatch" else operation
    context = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    subscription = params.get("SubscriptionArn")
    if operation == "CreateTopic":
        resource = arn(call, "sns", str(params.get("Name", "*")))
    elif subscription:
        resource = str(subscription).rsplit(":", 1)[0]
        known = facts.subscription(call, str(subscription))
        context |= {f"sns:{key}": value for key, value in known.items() if value}
    else:
        found = next((params[key] for key in _SNS_ARNS if params.get(key)), None)
        # Lists are asked about the account's topics, a text message about no resource.
        resource = str(found or ("*" if params.get("PhoneNumber") else arn(call, "sns", "*")))
        if found and ":endpoint/" in resource and name != "Publish":
            resource = "*"
    if operation == "Subscribe":
        for key in ("Protocol", "Endpoint"):
            if params.get(key):
                context[f"sns:{key.lower()}"] = str(params[key])
    yield Ask(f"sns:{name}", resource, context)
    if operation == "CreateTopic" and params.get("Tags"):
        yield Ask("sns:TagResource", resource, context)


_SNS_ARNS = (
    "TopicArn", "TargetArn", "ResourceArn", "EndpointArn", "PlatformApplicationArn",
)  # fmt: skip


def read_sqs(call: Call, facts: Facts) -> Iterator[Ask]:
    """What an SQS call asks for."""
    operation, params = call.operation, call.params
    name = operation.removesuffix("Batch")
    context = request_tags(params.get("tags") or params.get("Tags"))
    context |= tag_keys(params.get("TagKeys"))
    resource = queue_arn(call)
    yield Ask(f"sqs:{name}", resource, context)
    if operation == "CreateQueue" and context:
        yield Ask("sqs:TagQueue", resource, context)
    if operation == "StartMessageMoveTask":
        for needed in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            yield Ask(f"sqs:{needed}", resource)
        if params.get("DestinationArn"):
            yield Ask("sqs:SendMessage", str(params["DestinationArn"]))


def queue_arn(call: Call) -> str:
    """The ARN of the queue an SQS call is about, from its URL, name or ARN."""
    params = call.params
    if params.get("QueueUrl"):
        parts = urlparse(str(params["QueueUrl"])).path.strip("/").split("/")
        if len(parts) >= 2:
            return f"arn:aws:sqs:{call.region}:{parts[-2]}:{parts[-1]}"
        return arn(call, "sqs", parts[-1] or "*")
    if params.get("SourceArn"):
        return str(params["SourceArn"])
    account = params.get("QueueOwnerAWSAccountId") or call.account_id
    return f"arn:aws:sqs:{call.region}:{account}:{params.get('QueueName') or '*'}"


def read_kinesis(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a Kinesis Data Streams call asks for."""
    operation, params = call.operation, call.params
    context: dict[str, Any] = request_tags(params.get("Tags")) | tag_keys(params.get("TagKeys"))
    if operation in ("ListStreams", "DescribeLimits", "DescribeAccountSettings"):
        resource = arn(call, "kinesis", "stream/*")
        yield Ask(f"kinesis:{operation}", resource, context)
        return
    stream = params.get("StreamARN") or params.get("ResourceARN")
    if not stream:
        name = params.get("StreamName")
        if not name and params.get("ShardIterator"):
            stream = facts.kinesis_stream_of(str(params["ShardIterator"]))
        stream = stream or arn(call, "kinesis", f"stream/{name or '*'}")
    consumer = params.get("ConsumerARN")
    if not consumer and params.get("ConsumerName"):
        consumer = f"{stream}/consumer/{params['ConsumerName']}:*"
    by_consumer = operation in (
        "SubscribeToShard", "DescribeStreamConsumer", "DeregisterStreamConsumer",
    )  # fmt: skip
    resource = str(consumer if by_consumer and consumer else stream)
    yield Ask(f"kinesis:{operation}", resource, context)

"""What an event source mapping may ask for, by the kind of its source.

AWS Lambda API Reference, CreateEventSourceMapping; Developer Guide, "Using Lambda with Amazon
SQS", "... Amazon Kinesis", "... Amazon DynamoDB".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.constraints import message, violation
from labkit.localaws.functions.errors import invalid
from labkit.localaws.functions.model import Function
from labkit.localaws.functions.store import Region

_DENIED = ("AccessDenied", "AccessDeniedException")
_STREAM_ACTIONS = ("GetRecords", "GetShardIterator", "DescribeStream")
_CONSUMER_ACTIONS = ("SubscribeToShard",)
_QUEUE_ACTIONS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
# The service of a failure destination, to the call and the name AWS's refusal uses.
_FAILURE_CALLS = {
    "sqs": ("SendMessage", "SQS"),
    "sns": ("Publish", "SNS"),
    "s3": ("PutObject", "S3"),
}
_STREAM_ONLY = (
    "DestinationConfig",
    "ParallelizationFactor",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
)
# Sources of other services, by the members that come with them alone.
_ELSEWHERE = (
    "Topics",
    "Queues",
    "SelfManagedEventSource",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "SourceAccessConfigurations",
    "ProvisionedPollerConfig",
)


@dataclass(frozen=True)
class Kind:
    """One kind of event source: its name, defaults and limits."""

    name: str
    defaults: Mapping[str, Any]
    reason: str

    @property
    def stream(self) -> bool:
        """Whether records are read in order from shards."""
        return self.name != "sqs"


_STREAM_DEFAULTS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "MaximumRecordAgeInSeconds": -1,
    "BisectBatchOnFunctionError": False,
    "MaximumRetryAttempts": -1,
    "TumblingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "DestinationConfig": {"OnFailure": {}},
    "LastProcessingResult": "No records processed",
}
SQS = Kind(
    "sqs",
    {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []},
    "USER_INITIATED",
)
KINESIS = Kind("kinesis", _STREAM_DEFAULTS, "User action")
DYNAMODB = Kind("dynamodb", _STREAM_DEFAULTS, "User action")
_KINDS = {kind.name: kind for kind in (SQS, KINESIS, DYNAMODB)}


def kind_of(params: Mapping[str, Any]) -> Kind:
    """The kind of the source a request names; refuses those that are not polled here."""
    arn = params.get("EventSourceArn")
    if not arn and not params.get("SelfManagedEventSource"):
        raise invalid("Unrecognized event source.")
    service = arn.split(":")[2] if arn else "kafka"
    kind = _KINDS.get(service)
    if kind is None and service not in ("kafka", "mq", "rds"):
        raise invalid("Unrecognized event source.")
    if kind is None or any(params.get(member) for member in _ELSEWHERE):
        raise invalid(
            "This local AWS polls SQS queues, Kinesis streams and DynamoDB streams: Kafka, "
            "Amazon MQ and DocumentDB are not event sources here."
        )
    return kind


def check_settings(kind: Kind, arn: str, params: Mapping[str, Any]) -> None:
    """Refuse settings in *params* that a source of *kind* does not have."""
    if kind.stream:
        if params.get("ScalingConfig"):
            raise _unsupported("ScalingConfig")
    else:
        for member in _STREAM_ONLY:
            if params.get(member) is not None:
                raise _unsupported(member)
        if params.get("StartingPosition") or params.get("StartingPositionTimestamp"):
            raise invalid("StartingPosition is not valid for SQS event sources.")
    age = params.get("MaximumRecordAgeInSeconds")
    if age is not None and 0 <= age < 60:
        raise invalid("MaximumRecordAgeInSeconds has to be -1 or from 60 to 604800.")
    destinations = params.get("DestinationConfig") or {}
    if (destinations.get("OnSuccess") or {}).get("Destination"):
        raise _unsupported("DestinationConfig")


def check_starting_position(kind: Kind, arn: str, params: Mapping[str, Any]) -> None:
    """Refuse to start a stream nowhere, or where this kind of stream can't start."""
    if not kind.stream:
        return
    position = params.get("StartingPosition")
    if not position:
        # The service's own check ends in a full stop.
        null = violation(None, "startingPosition", "Member must not be null.")
        raise invalid(message([null]))
    if position == "AT_TIMESTAMP":
        if kind is DYNAMODB:
            raise invalid(f"Unsupported starting position for arn type: {arn}")
        if params.get("StartingPositionTimestamp") is None:
            raise invalid("Need to specify a timestamp")
    elif params.get("StartingPositionTimestamp") is not None:
        raise invalid("StartingPositionTimestamp is only valid for AT_TIMESTAMP")


def check_batching(kind: Kind, arn: str, config: Mapping[str, Any]) -> None:
    """Refuse a batch size and window that don't go together; *config* is the whole mapping."""
    size, window = config["BatchSize"], config["MaximumBatchingWindowInSeconds"]
    if kind is not SQS:
        return
    if arn.endswith(".fifo"):
        if window:
            raise invalid("Batching window is not supported for FIFO queues")
        if size > 10:
            raise invalid("Maximum batch size must be between 1 and 10 inclusive")
    elif size > 10 and not window:
        raise invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is "
            "greater than 10"
        )


def check_source(region: Region, kind: Kind, arn: str, function: Function, timeout: int) -> None:
    """Refuse a source that is not there, that the function's role can't read, or too short."""
    role = function.latest.config["Role"]
    hooks = region.owner.hooks
    actions = _QUEUE_ACTIONS if kind is SQS else _STREAM_ACTIONS
    if "/consumer/" in arn:
        actions = _CONSUMER_ACTIONS
    for action in actions:
        if not hooks.role_allows(role, f"{kind.name}:{action}", arn):
            raise _no_access(kind, arn, action)
    try:
        source = hooks.source(arn, role)
    except AwsError as error:
        if error.code in _DENIED:
            raise _no_access(kind, arn, actions[0]) from error
        if kind is SQS:
            raise invalid(
                f"Error occurred while ReceiveMessage. SQS Error Code: {error.code}. "
                f"SQS Error Message: {error.message}"
            ) from error
        raise invalid(f"Stream not found: {arn}") from error
    visibility = source.get("VisibilityTimeout")
    if visibility is not None and int(visibility) < timeout:
        raise invalid(
            f"Queue visibility timeout: {visibility} seconds is less than "
            f"Function timeout: {timeout} seconds"
        )


def check_failure_destination(
    region: Region, function: Function, params: Mapping[str, Any]
) -> None:
    """Refuse a destination for failed batches that the function's role can't send to."""
    where = (params.get("DestinationConfig") or {}).get("OnFailure") or {}
    target = where.get("Destination")
    if not target:
        return
    service = target.split(":")[2] if target.count(":") >= 5 else ""
    if service not in _FAILURE_CALLS:
        raise invalid(f"The destination ARN {target} is invalid.")
    call, name = _FAILURE_CALLS[service]
    resource = f"{target}/*" if service == "s3" else target
    role = function.latest.config["Role"]
    if not region.owner.hooks.role_allows(role, f"{service}:{call}", resource):
        raise _may_not_call(call, name)


def _unsupported(member: str) -> AwsError:
    return invalid(f"Unsupported {member} parameter for given event source mapping type.")


def _may_not_call(call: str, service: str) -> AwsError:
    return invalid(
        f"The function execution role does not have permissions to call {call} on {service}"
    )


def _no_access(kind: Kind, arn: str, action: str) -> AwsError:
    if kind is SQS:
        return _may_not_call(action, "SQS")
    return invalid(
        f"Cannot access stream {arn}. Please ensure the role can perform the GetRecords, "
        "GetShardIterator, DescribeStream, ListShards, and ListStreams Actions on your stream in "
        "IAM."
    )

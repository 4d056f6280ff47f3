"""Subscription filters: matching log events on their way to a function, stream or Firehose.

Amazon CloudWatch Logs User Guide, "Real-time processing of log data with subscriptions". What is
delivered is JSON, compressed with gzip; a function gets it base64-encoded in ``awslogs.data``.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.log_groups import LogLine, backend, size_of
from labkit.localaws.log_patterns import Pattern, compile_pattern

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

SERVICE = "logs.amazonaws.com"
# One delivery carries at most so much of messages, before compression.
_BATCH_BYTES = 900_000
_GIVE_UP_SECONDS = 24 * 3600
_LONGEST_PAUSE = 60.0
_DESTINATION_TYPES = {"lambda": "Lambda", "kinesis": "Kinesis", "firehose": "Firehose"}
_RETRIED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "TooManyRequestsException",
        "ThrottlingException",
        "LimitExceededException",
        "KMSThrottlingException",
        "ServiceUnavailableException",
        "ServiceException",
        "InternalFailure",
    }
)


@dataclass
class Batch:
    """What is delivered at once: one stream's events, since when (epoch seconds) it waits."""

    stream_name: str
    lines: Sequence[LogLine]
    since: float
    attempts: int = 0


@dataclass
class Subscription:
    """One subscription filter of a log group."""

    name: str
    group_name: str
    pattern_text: str
    destination_arn: str
    role_arn: str | None
    distribution: str
    created_ms: int
    pattern: Pattern = field(init=False)
    waiting: deque[Batch] = field(default_factory=deque)
    # Whether somebody is delivering: one at a time, so that the events stay in order.
    busy: bool = False
    ended: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.pattern = compile_pattern(self.pattern_text)

    def described(self) -> dict[str, Any]:
        """The filter as the API answers it."""
        answer = {
            "filterName": self.name,
            "logGroupName": self.group_name,
            "filterPattern": self.pattern_text,
            "destinationArn": self.destination_arn,
            "distribution": self.distribution,
            "applyOnTransformedLogs": False,
            "creationTime": self.created_ms,
        }
        if self.role_arn:
            answer["roleArn"] = self.role_arn
        return answer


def group_source_arn(account_id: str, region: str, group_name: str) -> str:
    """What CloudWatch Logs names as the source of a delivery from a log group."""
    return f"arn:aws:logs:{region}:{account_id}:log-group:{group_name}:*"


class Subscriptions:
    """Delivers what subscription filters let through, in the background."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws

    # -- making one --------------------------------------------------------------------------

    def check(self, subscription: Subscription, account_id: str, region: str) -> None:
        """Raise the service's error unless a delivery to the destination would arrive.

        A stream gets a test message; a function is only asked whether it would let us.
        """
        target, role_arn = self._target(subscription, account_id, region)
        service = target.split(":")[2]
        if service == "lambda":
            if target.split(":")[4] != account_id:
                raise AwsError(
                    "AccessDeniedException",
                    "Cross-account lambda invocation passing is not allowed. You must use "
                    "DestinationPolicies to create cross account lambda triggers.",
                )
            if self._caller(target, account_id, region, subscription.group_name) is None:
                raise _invalid(
                    "Could not execute the lambda function. Make sure you have given CloudWatch "
                    "Logs permission to execute your function."
                )
            return
        if service not in ("kinesis", "firehose"):
            raise _invalid(f"destinationArn for vendor {service} is not supported")
        if not role_arn:
            raise _invalid(f"destinationArn for vendor {service} cannot be used without roleArn")
        label = {"kinesis": "Kinesis", "firehose": "Firehose"}[service]
        test = {
            "messageType": "CONTROL_MESSAGE",
            "owner": "CloudwatchLogs",
            "logGroup": "",
            "logStream": "",
            "subscriptionFilters": [],
            "logEvents": [
                {
                    "id": "",
                    "timestamp": int(self._aws.clock.now() * 1000),
                    "message": "CWL CONTROL MESSAGE: Checking health of destination "
                    f"{'Kinesis stream' if service == 'kinesis' else 'Firehose'}.",
                }
            ],
        }
        try:
            self._put(service, target, role_arn, region, _packed(test), "CwlControlMessage")
        except (ClientError, AwsError) as problem:
            raise _invalid(
                f"Could not deliver test message to specified {label} stream. Check if the given "
                f"{service if service == 'kinesis' else label} stream is in ACTIVE state."
            ) from problem

    # -- forwarding --------------------------------------------------------------------------

    def forward(
        self,
        subscription: Subscription,
        account_id: str,
        region: str,
        group_name: str,
        stream: Any,
        lines: Sequence[LogLine],
    ) -> None:
        """Have the matching ones of *lines* delivered soon."""
        matching = [line for line in lines if subscription.pattern.matches(line.message)]
        if not matching:
            return
        now = self._aws.clock.now()
        with subscription.guard:
            for part in _parts(matching):
                subscription.waiting.append(Batch(stream.log_stream_name, part, now))
            if subscription.busy:
                return
            subscription.busy = True
        self._aws.activity.submit(
            self._deliver_all, subscription, account_id, region, name="log subscription"
        )

    def _deliver_all(self, subscription: Subscription, account_id: str, region: str) -> None:
        while True:
            with subscription.guard:
                if subscription.ended:
                    subscription.waiting.clear()
                if not subscription.waiting:
                    subscription.busy = False
                    return
                batch = subscription.waiting[0]
            pause = self._deliver(subscription, batch, account_id, region)
            if pause is not None:
                # Still busy: what comes in meanwhile waits behind this one.
                self._aws.clock.call_later(
                    pause,
                    self._deliver_all,
                    subscription,
                    account_id,
                    region,
                    name="log subscription retry",
                )
                return
            with subscription.guard:
                if subscription.waiting and subscription.waiting[0] is batch:
                    subscription.waiting.popleft()

    def _deliver(
        self, subscription: Subscription, batch: Batch, account_id: str, region: str
    ) -> float | None:
        """Deliver one batch; answers the seconds to wait before trying again, None when done."""
        document = {
            "messageType": "DATA_MESSAGE",
            "owner": account_id,
            "logGroup": subscription.group_name,
            "logStream": batch.stream_name,
            "subscriptionFilters": [subscription.name],
            "logEvents": [_event(subscription, line) for line in batch.lines],
        }
        packed = _packed(document)
        try:
            target, role_arn = self._target(subscription, account_id, region)
            service = target.split(":")[2]
            if service == "lambda":
                self._invoke(target, account_id, region, subscription.group_name, packed)
            else:
                key = batch.stream_name
                if subscription.distribution == "Random" or not key:
                    key = batch.lines[0].event_id
                self._put(service, target, role_arn or "", region, packed, key[:256])
        except (ClientError, AwsError) as problem:
            code = _code(problem)
            age = self._aws.clock.now() - batch.since
            if code in _RETRIED and age < _GIVE_UP_SECONDS:
                self._count(subscription, "DeliveryThrottling", 1.0, account_id, region)
                batch.attempts += 1
                return min(2.0 ** (batch.attempts - 1), _LONGEST_PAUSE)
            self._count(subscription, "DeliveryErrors", 1.0, account_id, region)
            return None
        self._count(subscription, "ForwardedLogEvents", len(batch.lines), account_id, region)
        self._count(subscription, "ForwardedBytes", len(packed), account_id, region, "Bytes")
        return None

    # -- where to ----------------------------------------------------------------------------

    def _target(
        self, subscription: Subscription, account_id: str, region: str
    ) -> tuple[str, str | None]:
        """The resource behind the destination's ARN, and the role that delivers to it."""
        arn = subscription.destination_arn
        if ":destination:" not in arn or arn.split(":")[2] != "logs":
            return arn, subscription.role_arn
        destination = backend(arn.split(":")[4], region).destinations.get(arn)
        if destination is None:
            raise AwsError("ResourceNotFoundException", "The specified destination does not exist.")
        return destination.target_arn, destination.role_arn

    def _caller(
        self, function_arn: str, account_id: str, region: str, group_name: str
    ) -> Principal | None:
        """As whom the function lets CloudWatch Logs invoke it, None when it doesn't."""
        source_arn = group_source_arn(account_id, region, group_name)
        # Policies may name the service of a region, too.
        for name in (SERVICE, f"logs.{region}.amazonaws.com"):
            if self._aws.identity.service_allowed(
                name,
                "lambda:InvokeFunction",
                function_arn,
                source_arn=source_arn,
                source_account=account_id,
            ):
                return Principal.service(name, source_arn=source_arn, source_account=account_id)
        return None

    def _invoke(
        self, function_arn: str, account_id: str, region: str, group_name: str, packed: bytes
    ) -> None:
        caller = self._caller(function_arn, account_id, region, group_name)
        if caller is None:
            raise AwsError("AccessDeniedException", "The function does not allow CloudWatch Logs.")
        event = {"awslogs": {"data": base64.b64encode(packed).decode()}}
        self._aws.client("lambda", principal=caller, region=region).invoke(
            FunctionName=function_arn, InvocationType="Event", Payload=json.dumps(event).encode()
        )

    def _put(
        self, service: str, target: str, role_arn: str, region: str, packed: bytes, key: str
    ) -> None:
        # Asked every time: a role can lose its trust in CloudWatch Logs.
        self._aws.identity.assume_role_for_service(role_arn, SERVICE, "logs", 3600)
        account, role = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        principal = Principal(
            kind="role",
            account_id=account,
            arn=f"arn:aws:sts::{account}:assumed-role/{role}/logs",
            name=role,
            role_name=role,
            session_name="logs",
        )
        client = self._aws.client(service, principal=principal, region=region)
        if service == "kinesis":
            client.put_record(StreamARN=target, Data=packed, PartitionKey=key)
        else:
            name = target.rpartition("/")[2]
            client.put_record(DeliveryStreamName=name, Record={"Data": packed})

    def _count(
        self,
        subscription: Subscription,
        name: str,
        value: float,
        account_id: str,
        region: str,
        unit: str = "None",
    ) -> None:
        service = subscription.destination_arn.split(":")[2]
        dimensions = {
            "LogGroupName": subscription.group_name,
            "DestinationType": _DESTINATION_TYPES.get(service, "Destination"),
            "FilterName": subscription.name,
        }
        self._aws.telemetry.metric(
            "AWS/Logs", name, dimensions, value, unit, account_id=account_id, region=region
        )


def _event(subscription: Subscription, line: LogLine) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": line.event_id,
        "timestamp": line.timestamp,
        "message": line.message,
    }
    if subscription.pattern.kind == "fields":
        extracted = subscription.pattern.extract(line.message) or {}
        event["extractedFields"] = {name[1:]: value for name, value in extracted.items()}
    return event


def _packed(document: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(document, ensure_ascii=False).encode(), compresslevel=6)


def _parts(lines: Sequence[LogLine]) -> Iterator[list[LogLine]]:
    part: list[LogLine] = []
    size = 0
    for line in lines:
        more = size_of(line.message)
        if part and size + more > _BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += more
    yield part


def _code(problem: ClientError | AwsError) -> str:
    if isinstance(problem, AwsError):
        return problem.code
    return problem.response.get("Error", {}).get("Code", "")


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)

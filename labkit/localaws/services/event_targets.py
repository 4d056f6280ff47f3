"""How EventBridge invokes a target: one event, one target, retries, a dead-letter queue.

Follows the EventBridge User Guide, "How EventBridge retries delivering events", "Using
dead-letter queues to process undelivered events" and "Monitoring Amazon EventBridge".
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.services import event_transform

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

SERVICE = "events.amazonaws.com"
DEFAULT_RETRIES = 185
DEFAULT_AGE_SECONDS = 86_400
# 185 tries of doubling delays, the longest of eight minutes, fill just about a day.
_LONGEST_DELAY_SECONDS = 470.0

# What a target is invoked with needs a role instead of a policy on the target.
NEED_ROLE = ("kinesis", "states", "firehose", "ecs", "batch")

_CODES = {
    "AccessDenied": "NO_PERMISSIONS",
    "AccessDeniedException": "NO_PERMISSIONS",
    "AuthorizationError": "NO_PERMISSIONS",
    "AWS.SimpleQueueService.NonExistentQueue": "NO_RESOURCE",
    "QueueDoesNotExist": "NO_RESOURCE",
    "NotFound": "NO_RESOURCE",
    "ResourceNotFoundException": "NO_RESOURCE",
    "StateMachineDoesNotExist": "NO_RESOURCE",
}


@dataclass
class Invocation:
    """One event on its way to one target; ``came`` is when it came in, lab epoch seconds."""

    event: Mapping[str, Any]
    target: Mapping[str, Any]
    rule_name: str
    rule_arn: str
    account_id: str
    region: str
    came: float
    attempts: int = 0
    hops: int = 0


class _Undeliverable(Exception):
    def __init__(self, code: str, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.code = code
        self.again = again


class Invoker:
    """Invokes targets in the background."""

    def __init__(
        self, aws: LocalAws, to_bus: Callable[[str, Mapping[str, Any], int], None]
    ) -> None:
        self._aws = aws
        # Takes a bus's ARN, an event and how many buses it has passed.
        self._to_bus = to_bus

    def invoke(self, invocation: Invocation) -> None:
        """Start invoking the target."""
        self._count(invocation, "Invocations")
        self._aws.activity.submit(self._attempt, invocation, name="EventBridge target")

    def _attempt(self, invocation: Invocation) -> None:
        invocation.attempts += 1
        self._count(invocation, "InvocationAttempts")
        if invocation.attempts > 1:
            self._count(invocation, "RetryInvocationAttempts")
        try:
            self._send(invocation)
        except _Undeliverable as problem:
            condition = self._give_up_because(invocation, problem)
            if condition is None:
                self._aws.clock.call_later(
                    self._delay(invocation),
                    self._attempt,
                    invocation,
                    name="EventBridge retry",
                )
                return
            self._count(invocation, "FailedInvocations")
            self._dead_letter(invocation, problem, condition)
        else:
            self._count(invocation, "SuccessfulInvocationAttempts")

    def _give_up_because(self, invocation: Invocation, problem: _Undeliverable) -> str | None:
        """Why there is no further try ("" when trying again makes no sense), or None."""
        if not problem.again:
            return ""
        policy = invocation.target.get("RetryPolicy") or {}
        if invocation.attempts > policy.get("MaximumRetryAttempts", DEFAULT_RETRIES):
            return "MaximumRetryAttempts"
        age = self._aws.clock.now() - invocation.came + self._delay(invocation)
        if age > policy.get("MaximumEventAgeInSeconds", DEFAULT_AGE_SECONDS):
            return "MaximumEventAgeInSeconds"
        return None

    def _delay(self, invocation: Invocation) -> float:
        return min(2.0 ** min(invocation.attempts - 1, 20), _LONGEST_DELAY_SECONDS)

    def _dead_letter(self, invocation: Invocation, problem: _Undeliverable, condition: str) -> None:
        queue = (invocation.target.get("DeadLetterConfig") or {}).get("Arn")
        log.info("%s could not invoke %s: %s", invocation.rule_name, invocation.target, problem)
        if not queue:
            return
        attributes = {
            "RULE_ARN": invocation.rule_arn,
            "TARGET_ARN": invocation.target["Arn"],
            "ERROR_CODE": problem.code,
            "ERROR_MESSAGE": str(problem)[:1024] or "unknown",
            **({"EXHAUSTED_RETRY_CONDITION": condition} if condition else {}),
            "RETRY_ATTEMPTS": str(invocation.attempts - 1),
        }
        _, _, _, region, account, name = queue.split(":", 5)
        client = self._aws.client("sqs", principal=self._service(invocation), region=region)
        try:
            client.send_message(
                QueueUrl=f"{self._aws.endpoint}/{account}/{name}",
                MessageBody=event_transform.compact(invocation.event),
                MessageAttributes={
                    key: {"DataType": "String", "StringValue": value}
                    for key, value in attributes.items()
                },
            )
            self._count(invocation, "InvocationsSentToDlq")
        except ClientError as refused:
            log.info("dead-letter queue %s refused: %s", queue, refused)
            self._count(invocation, "InvocationsFailedToBeSentToDlq")

    # -- per service ---------------------------------------------------------------------------

    def _send(self, invocation: Invocation) -> None:
        arn = invocation.target["Arn"]
        service = arn.split(":")[2]
        send = getattr(self, f"_to_{service.replace('-', '_')}", None)
        if send is None:
            raise _Undeliverable("INVALID_PARAMETER", f"no target {arn} here", again=False)
        try:
            text = event_transform.payload(
                invocation.event,
                invocation.target,
                event_transform.predefined(
                    invocation.event,
                    invocation.rule_arn,
                    invocation.rule_name,
                    str(invocation.event.get("time", "")),
                ),
            )
        except event_transform.BadTemplate as problem:
            raise _Undeliverable("INVALID_JSON", str(problem), again=False) from problem
        try:
            send(invocation, arn, text)
        except ClientError as problem:
            error = problem.response["Error"]
            status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
            throttled = status == 429 or "Thrott" in error["Code"] or "Exceeded" in error["Code"]
            code = "THROTTLING" if throttled else _CODES.get(error["Code"])
            code = code or ("ERROR_FROM_TARGET" if status >= 500 else "SDK_CLIENT_ERROR")
            again = throttled or status >= 500
            raise _Undeliverable(code, error.get("Message", ""), again=again) from problem
        except AwsError as problem:
            again = problem.status >= 500
            code = _CODES.get(problem.code, "SDK_CLIENT_ERROR")
            raise _Undeliverable(code, problem.message, again=again) from problem

    def _to_lambda(self, invocation: Invocation, arn: str, text: str) -> None:
        self._client("lambda", invocation).invoke(
            FunctionName=arn, InvocationType="Event", Payload=text.encode()
        )

    def _to_sqs(self, invocation: Invocation, arn: str, text: str) -> None:
        account, name = arn.split(":")[4:6]
        more = {}
        group = (invocation.target.get("SqsParameters") or {}).get("MessageGroupId")
        if group:
            more["MessageGroupId"] = group
        self._client("sqs", invocation).send_message(
            QueueUrl=f"{self._aws.endpoint}/{account}/{name}", MessageBody=text, **more
        )

    def _to_sns(self, invocation: Invocation, arn: str, text: str) -> None:
        self._client("sns", invocation).publish(TopicArn=arn, Message=text)

    def _to_kinesis(self, invocation: Invocation, arn: str, text: str) -> None:
        path = (invocation.target.get("KinesisParameters") or {}).get("PartitionKeyPath")
        key = event_transform.select(invocation.event, path) if path else invocation.event["id"]
        if event_transform.is_missing(key):
            key = invocation.event["id"]
        self._client("kinesis", invocation).put_record(
            StreamName=arn.rpartition("/")[2], PartitionKey=str(key), Data=text.encode()
        )

    def _to_firehose(self, invocation: Invocation, arn: str, text: str) -> None:
        self._client("firehose", invocation).put_record(
            DeliveryStreamName=arn.rpartition("/")[2], Record={"Data": text.encode()}
        )

    def _to_states(self, invocation: Invocation, arn: str, text: str) -> None:
        name = f"{invocation.event['id']}_{random.randbytes(6).hex()}"
        self._client("stepfunctions", invocation).start_execution(
            stateMachineArn=arn, name=name, input=text
        )

    def _to_logs(self, invocation: Invocation, arn: str, text: str) -> None:
        group = arn.split(":")[6]
        stream = str(invocation.event["id"])
        client = self._client("logs", invocation)
        try:
            client.create_log_stream(logGroupName=group, logStreamName=stream)
        except ClientError as problem:
            if problem.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise
        client.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": int(self._aws.clock.now() * 1000), "message": text}],
        )

    def _to_events(self, invocation: Invocation, arn: str, text: str) -> None:
        if ":event-bus/" not in arn:
            raise _Undeliverable("INVALID_PARAMETER", f"no target {arn} here", again=False)
        role_arn = invocation.target.get("RoleArn")
        if role_arn:
            allowed = self._aws.identity.role_allows(role_arn, "events:PutEvents", arn)
            if not allowed:
                raise _Undeliverable(
                    "NO_PERMISSIONS", f"{role_arn} may not put events on {arn}", again=False
                )
        self._to_bus(arn, invocation.event, invocation.hops + 1)

    def _client(self, service: str, invocation: Invocation) -> Any:
        region = invocation.target["Arn"].split(":")[3] or invocation.region
        role_arn = invocation.target.get("RoleArn")
        principal = self._role(role_arn, invocation) if role_arn else self._service(invocation)
        return self._aws.client(service, principal=principal, region=region)

    def _role(self, role_arn: str, invocation: Invocation) -> Principal:
        session = invocation.rule_name[:64]
        try:
            self._aws.identity.assume_role_for_service(role_arn, SERVICE, session, 3600)
        except AwsError as problem:
            raise _Undeliverable("FAILED_TO_ASSUME_ROLE", problem.message, again=False) from problem
        account_id, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        return Principal(
            "role",
            account_id,
            f"arn:aws:sts::{account_id}:assumed-role/{name}/{session}",
            name=name,
            role_name=name,
            session_name=session,
        )

    def _service(self, invocation: Invocation) -> Principal:
        return Principal.service(
            SERVICE, source_arn=invocation.rule_arn, source_account=invocation.account_id
        )

    def _count(self, invocation: Invocation, name: str) -> None:
        self._aws.telemetry.count(
            "AWS/Events",
            name,
            {"RuleName": invocation.rule_name},
            account_id=invocation.account_id,
            region=invocation.region,
        )

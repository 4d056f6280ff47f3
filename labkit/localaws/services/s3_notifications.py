"""A bucket's notification configuration: what S3 accepts, and which change goes where.

Follows the S3 User Guide, "Amazon S3 Event Notifications", and the S3 API's
PutBucketNotificationConfiguration.
"""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.services.s3_events import encoded_key

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

EVENT_TYPES = frozenset(
    f"s3:{name}"
    for name in (
        "ReducedRedundancyLostObject",
        "ObjectCreated:*",
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectRemoved:*",
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRestore:*",
        "ObjectRestore:Post",
        "ObjectRestore:Completed",
        "ObjectRestore:Delete",
        "Replication:*",
        "Replication:OperationFailedReplication",
        "Replication:OperationNotTracked",
        "Replication:OperationMissedThreshold",
        "Replication:OperationReplicatedAfterThreshold",
        "LifecycleTransition",
        "IntelligentTiering",
        "ObjectAcl:Put",
        "LifecycleExpiration:*",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
        "ObjectTagging:*",
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
    )
)

_UNVALIDATED = "Unable to validate the following destination configurations"
_OVERLAP = (
    "Configurations overlap. Configurations on the same bucket cannot share a common event type."
)
_AMBIGUOUS = (
    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the "
    "prefixes are overlapping for the same event type."
)


@dataclass(frozen=True)
class _Kind:
    """One of the three kinds of destination: its list and ARN member, and what S3 calls it."""

    configurations: str
    arn: str
    argument: str
    service: str
    action: str
    pattern: re.Pattern[str]


_KINDS = (
    _Kind(
        "TopicConfigurations",
        "TopicArn",
        "Topic",
        "sns",
        "sns:Publish",
        re.compile(r"arn:aws[\w-]*:sns:[\w-]+:\d{12}:[\w.-]{1,256}"),
    ),
    _Kind(
        "QueueConfigurations",
        "QueueArn",
        "Queue",
        "sqs",
        "sqs:SendMessage",
        re.compile(r"arn:aws[\w-]*:sqs:[\w-]+:\d{12}:[\w.-]{1,85}"),
    ),
    _Kind(
        "LambdaFunctionConfigurations",
        "LambdaFunctionArn",
        "CloudFunction",
        "lambda",
        "lambda:InvokeFunction",
        re.compile(r"arn:aws[\w-]*:lambda:[\w-]+:\d{12}:function:[\w-]+(:[\w$-]+)?"),
    ),
)


@dataclass(frozen=True)
class Rule:
    """One destination with the event types and the (encoded) key prefix and suffix it wants."""

    id: str
    service: str
    arn: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def wants(self, event_name: str, key: str) -> bool:
        """Whether a change ``ObjectCreated:Put`` of *key* goes to this destination."""
        name = f"s3:{event_name}"
        if name not in self.events and name.split(":", 2)[1] not in (
            event[3:-2] for event in self.events if event.endswith(":*")
        ):
            return False
        # Rules are compared with the key as the event shows it: a space is given as "+".
        encoded = encoded_key(key)
        return encoded.startswith(self.prefix) and encoded.endswith(self.suffix)


@dataclass
class NotificationConfiguration:
    """A bucket's whole configuration, as given (with ids) and as rules."""

    shape: dict[str, Any]
    rules: list[Rule] = field(default_factory=list)
    eventbridge: bool = False


def read_configuration(given: dict[str, Any], region: str) -> NotificationConfiguration:
    """*given* (the API's NotificationConfiguration) checked for form; destinations are not asked.

    Raises AwsError(InvalidArgument) as S3 does.
    """
    shape = copy.deepcopy(given)
    result = NotificationConfiguration({}, eventbridge="EventBridgeConfiguration" in shape)
    for kind in _KINDS:
        for entry in shape.get(kind.configurations) or ():
            result.rules.append(_read_rule(entry, kind, region))
        if shape.get(kind.configurations):
            result.shape[kind.configurations] = shape[kind.configurations]
    if result.eventbridge:
        result.shape["EventBridgeConfiguration"] = {}
    ids = [rule.id for rule in result.rules]
    if len(set(ids)) < len(ids):
        raise AwsError(
            "InvalidArgument", "Same ID used for multiple configurations. IDs must be unique"
        )
    for one, other in itertools.combinations(result.rules, 2):
        _refuse_overlap(one, other)
    return result


def validate_destinations(aws: LocalAws, rules: list[Rule], bucket: str, account_id: str) -> None:
    """Ask whether every destination exists and lets S3 in; raises with all that do not."""
    problems: list[tuple[str, str]] = []
    for rule in {rule.arn: rule for rule in rules}.values():
        reason = _refusal(aws, rule, bucket, account_id)
        if reason is not None:
            # S3 names a function together with its qualifier, which it has none of.
            name = f"{rule.arn}, null" if rule.service == "lambda" else rule.arn
            problems.append((name, reason))
    if problems:
        members: dict[str, str] = {}
        for number, (name, reason) in enumerate(problems, 1):
            members[f"ArgumentName{number}"] = name
            members[f"ArgumentValue{number}"] = reason
        raise AwsError("InvalidArgument", _UNVALIDATED, **members)


def send(
    aws: LocalAws,
    rule: Rule,
    body: dict[str, Any],
    bucket: str,
    account_id: str,
    trace_header: str | None = None,
) -> None:
    """Hand *body* to the rule's destination as S3; raises botocore's ClientError if refused."""
    principal = Principal.service(
        "s3.amazonaws.com", source_arn=f"arn:aws:s3:::{bucket}", source_account=account_id
    )
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    _, _, _, region, account, name = rule.arn.split(":", 5)
    client = aws.client(rule.service, principal=principal, region=region)
    if rule.service == "lambda":
        client.invoke(FunctionName=rule.arn, InvocationType="Event", Payload=text.encode())
    elif rule.service == "sns":
        client.publish(TopicArn=rule.arn, Subject="Amazon S3 Notification", Message=text)
    else:
        more: dict[str, Any] = {}
        if trace_header:
            more["MessageSystemAttributes"] = {
                "AWSTraceHeader": {"DataType": "String", "StringValue": trace_header}
            }
        url = f"{aws.endpoint}/{account}/{name}"
        client.send_message(QueueUrl=url, MessageBody=text, **more)


def is_worth_retrying(problem: Exception) -> bool:
    """Whether the destination failed rather than refused."""
    if not isinstance(problem, ClientError):
        return True
    return problem.response["ResponseMetadata"]["HTTPStatusCode"] >= 500


def _read_rule(entry: dict[str, Any], kind: _Kind, region: str) -> Rule:
    arn = entry.get(kind.arn, "")
    if not kind.pattern.fullmatch(arn):
        raise _invalid("The ARN could not be parsed", kind.argument, arn)
    if arn.endswith(".fifo"):
        which = "SQS queues" if kind.service == "sqs" else "SNS topics"
        raise _invalid(f"FIFO {which} are not supported.", kind.argument, arn)
    if arn.split(":")[3] != region:
        raise _invalid(
            "The notification destination service region is not valid for the bucket location "
            "constraint",
            kind.argument,
            arn,
        )
    events = entry.get("Events") or []
    for event in events:
        if event not in EVENT_TYPES:
            raise _invalid(
                f"The event '{event}' is not supported for notifications. Supported events are as "
                f"follows: {sorted(EVENT_TYPES)}",
                "Event",
                event,
            )
    # What S3 makes up is a 48-character id in base 64.
    entry["Id"] = entry.get("Id") or base64.b64encode(uuid.uuid4().hex.encode() + b"00").decode()
    prefix = suffix = ""
    seen: set[str] = set()
    for rule in entry.get("Filter", {}).get("Key", {}).get("FilterRules") or ():
        name = str(rule.get("Name", ""))
        value = rule["Value"] = rule.get("Value") or ""
        if name.lower() not in ("prefix", "suffix"):
            raise _invalid(
                "filter rule name must be either prefix or suffix", "FilterRule.Name", name
            )
        if name.lower() in seen:
            raise _invalid(
                f"Cannot specify more than one {name.lower()} rule in a filter.",
                "FilterRule.Name",
                name,
            )
        if len(value.encode()) > 1024:
            raise _invalid(
                "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation",
                "FilterRule.Value",
                value,
            )
        seen.add(name.lower())
        rule["Name"] = name.capitalize()
        if name.lower() == "prefix":
            prefix = value
        else:
            suffix = value
    return Rule(entry["Id"], kind.service, arn, tuple(events), prefix, suffix)


def _refuse_overlap(one: Rule, other: Rule) -> None:
    if not any(_same_event(a, b) for a in one.events for b in other.events):
        return
    if not (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)):
        return
    if not (one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix)):
        return
    unfiltered = not (one.prefix or one.suffix or other.prefix or other.suffix)
    raise AwsError("InvalidArgument", _OVERLAP if unfiltered else _AMBIGUOUS)


def _same_event(one: str, other: str) -> bool:
    if one == other:
        return True
    return any(a.endswith(":*") and b.startswith(a[:-1]) for a, b in ((one, other), (other, one)))


def _refusal(aws: LocalAws, rule: Rule, bucket: str, account_id: str) -> str | None:
    """Why S3 may not use this destination, in S3's words, or None."""
    kind = next(kind for kind in _KINDS if kind.service == rule.service)
    what = {"sqs": "queue", "sns": "topic"}.get(rule.service, "")
    if what and not _exists(aws, rule, account_id):
        return f"The destination {what} does not exist"
    allowed = aws.identity.service_allowed(
        "s3.amazonaws.com",
        kind.action,
        rule.arn,
        source_arn=f"arn:aws:s3:::{bucket}",
        source_account=account_id,
    )
    if allowed and (what or _exists(aws, rule, account_id)):
        return None
    if what:
        return (
            f"Permissions on the destination {what} do not allow S3 to publish notifications "
            "from this bucket"
        )
    return f"Not authorized to invoke function [{rule.arn}]"


def _exists(aws: LocalAws, rule: Rule, account_id: str) -> bool:
    _, _, _, region, account, name = rule.arn.split(":", 5)
    # Existence is S3's own question and needs nobody's permission: ask as the owner.
    owner = Principal("root", account_id, f"arn:aws:iam::{account_id}:root")
    client = aws.client(rule.service, principal=owner, region=region)
    try:
        if rule.service == "sqs":
            client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        elif rule.service == "sns":
            client.get_topic_attributes(TopicArn=rule.arn)
        else:
            client.get_function_configuration(FunctionName=rule.arn)
    except ClientError:
        return False
    return True


def _invalid(message: str, name: str, value: str) -> AwsError:
    return AwsError("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)

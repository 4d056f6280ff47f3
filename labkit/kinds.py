"""The kinds of resources the lab can create: how each is recognised, looked for and deleted.

One row per kind. ``created_by`` names the API operation and where its input or output says what
the new resource is called; the rest are calls of the same service's client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jmespath
from botocore.exceptions import ClientError

from labkit import emptying

if TYPE_CHECKING:
    from labkit.session import Lab

# How the services say that something does not exist.
GONE = {
    "404",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "ResourceNotFoundException",
    "ResourceNotFound",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "StateMachineDoesNotExist",
    "ParameterNotFound",
    "DashboardNotFoundError",
    "KMSInvalidStateException",
    "RepositoryNotFoundException",
}


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of resource; ``look`` and ``delete`` are ``(method, arguments)`` with ``{id}``."""

    name: str
    service: str
    created_by: Mapping[str, str]
    look: tuple[str, Mapping[str, Any]]
    delete: tuple[str, Mapping[str, Any]] | Callable[[Any, str], None]
    price: str | None = None
    # What has to go first, and what an existing resource must look like to count as there.
    empty: Callable[[Any, str], None] | None = None
    there: str | None = None

    def exists(self, lab: Lab, identifier: str) -> bool:
        """Whether AWS still knows the resource; other errors than "not found" are raised."""
        method, arguments = self.look
        try:
            answer = getattr(lab.client(self.service), method)(**_filled(arguments, identifier))
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return False
            raise
        return self.there is None or bool(jmespath.search(_fill(self.there, identifier), answer))

    def remove(self, lab: Lab, identifier: str) -> None:
        """Delete the resource and what hangs on it; already gone is fine."""
        client = lab.client(self.service)
        try:
            if self.empty is not None:
                self.empty(client, identifier)
            if callable(self.delete):
                self.delete(client, identifier)
            else:
                method, arguments = self.delete
                getattr(client, method)(**_filled(arguments, identifier))
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise


def _fill(text: str, identifier: str) -> str:
    return text.replace("{id}", identifier)


def _filled(arguments: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    return {
        name: _fill(value, identifier) if isinstance(value, str)
        else [_fill(item, identifier) for item in value] if isinstance(value, list)
        else value
        for name, value in arguments.items()
    }  # fmt: skip


# In the order in which things are best deleted when nothing else decides: what sends, then what
# receives, then what permits.
KINDS: tuple[Kind, ...] = (
    Kind(
        "event source mapping", "lambda", {"CreateEventSourceMapping": "answer.UUID"},
        ("get_event_source_mapping", {"UUID": "{id}"}),
        ("delete_event_source_mapping", {"UUID": "{id}"}),
        there="State != 'Deleting'",
    ),
    Kind(
        "event rule", "events", {"PutRule": "params.Name"},
        ("describe_rule", {"Name": "{id}"}), ("delete_rule", {"Name": "{id}"}),
        empty=emptying.event_rule,
    ),
    Kind(
        "state machine", "stepfunctions", {"CreateStateMachine": "answer.stateMachineArn"},
        ("describe_state_machine", {"stateMachineArn": "{id}"}),
        ("delete_state_machine", {"stateMachineArn": "{id}"}),
        there="status != 'DELETING'",
    ),
    Kind(
        "S3 bucket", "s3", {"CreateBucket": "params.Bucket"},
        ("head_bucket", {"Bucket": "{id}"}), ("delete_bucket", {"Bucket": "{id}"}),
        empty=emptying.bucket,
    ),
    Kind(
        "Lambda function", "lambda", {"CreateFunction": "params.FunctionName"},
        ("get_function_configuration", {"FunctionName": "{id}"}),
        ("delete_function", {"FunctionName": "{id}"}),
    ),
    Kind(
        "SNS topic", "sns", {"CreateTopic": "answer.TopicArn"},
        ("get_topic_attributes", {"TopicArn": "{id}"}), ("delete_topic", {"TopicArn": "{id}"}),
        empty=emptying.topic,
    ),
    Kind(
        "SQS queue", "sqs", {"CreateQueue": "params.QueueName"},
        ("list_queues", {"QueueNamePrefix": "{id}"}), emptying.queue,
        there="QueueUrls[?ends_with(@, '/{id}')]",
    ),
    Kind(
        "Kinesis stream", "kinesis", {"CreateStream": "params.StreamName"},
        ("describe_stream_summary", {"StreamName": "{id}"}),
        ("delete_stream", {"StreamName": "{id}", "EnforceConsumerDeletion": True}),
        price="kinesis stream", there="StreamDescriptionSummary.StreamStatus != 'DELETING'",
    ),
    Kind(
        "DynamoDB table", "dynamodb", {"CreateTable": "params.TableName"},
        ("describe_table", {"TableName": "{id}"}), ("delete_table", {"TableName": "{id}"}),
        there="Table.TableStatus != 'DELETING'",
    ),
    Kind(
        "log group", "logs", {"CreateLogGroup": "params.logGroupName"},
        ("describe_log_groups", {"logGroupNamePrefix": "{id}"}),
        ("delete_log_group", {"logGroupName": "{id}"}),
        there="logGroups[?logGroupName == '{id}']",
    ),
    Kind(
        "CloudWatch alarm", "cloudwatch", {"PutMetricAlarm": "params.AlarmName"},
        ("describe_alarms", {"AlarmNames": ["{id}"]}), ("delete_alarms", {"AlarmNames": ["{id}"]}),
        price="cloudwatch alarm", there="MetricAlarms",
    ),
    Kind(
        "CloudWatch dashboard", "cloudwatch", {"PutDashboard": "params.DashboardName"},
        ("get_dashboard", {"DashboardName": "{id}"}),
        ("delete_dashboards", {"DashboardNames": ["{id}"]}),
        price="cloudwatch dashboard",
    ),
    Kind(
        "secret", "secretsmanager", {"CreateSecret": "params.Name"},
        ("describe_secret", {"SecretId": "{id}"}),
        ("delete_secret", {"SecretId": "{id}", "ForceDeleteWithoutRecovery": True}),
        price="secret", there="!DeletedDate",
    ),
    Kind(
        "parameter", "ssm", {"PutParameter": "params.Name"},
        ("get_parameter", {"Name": "{id}"}), ("delete_parameter", {"Name": "{id}"}),
    ),
    Kind(
        "KMS alias", "kms", {"CreateAlias": "params.AliasName"},
        ("list_aliases", {}), ("delete_alias", {"AliasName": "{id}"}),
        there="Aliases[?AliasName == '{id}']",
    ),
    Kind(
        # A key is only ever scheduled for deletion, seven days ahead at the earliest.
        "KMS key", "kms", {"CreateKey": "answer.KeyMetadata.KeyId"},
        ("describe_key", {"KeyId": "{id}"}),
        ("schedule_key_deletion", {"KeyId": "{id}", "PendingWindowInDays": 7}),
        price="kms key", there="KeyMetadata.KeyState != 'PendingDeletion'",
    ),
    Kind(
        "IAM role", "iam", {"CreateRole": "params.RoleName"},
        ("get_role", {"RoleName": "{id}"}), ("delete_role", {"RoleName": "{id}"}),
        empty=emptying.role,
    ),
    Kind(
        "IAM user", "iam", {"CreateUser": "params.UserName"},
        ("get_user", {"UserName": "{id}"}), ("delete_user", {"UserName": "{id}"}),
        empty=emptying.user,
    ),
    Kind(
        "IAM policy", "iam", {"CreatePolicy": "answer.Policy.Arn"},
        ("get_policy", {"PolicyArn": "{id}"}), ("delete_policy", {"PolicyArn": "{id}"}),
        empty=emptying.policy,
    ),
)  # fmt: skip

BY_NAME = {kind.name: kind for kind in KINDS}
_BY_OPERATION = {
    (kind.service, operation): (kind, where)
    for kind in KINDS
    for operation, where in kind.created_by.items()
}


def created(
    service: str, operation: str, params: Mapping[str, Any], answer: Mapping[str, Any]
) -> tuple[Kind, str] | None:
    """The kind and the identifier of what this call created, or None."""
    found = _BY_OPERATION.get((service, operation))
    if found is None:
        return None
    kind, where = found
    source, _, path = where.partition(".")
    identifier = jmespath.search(path, {"params": params, "answer": answer}[source])
    return (kind, identifier) if identifier else None

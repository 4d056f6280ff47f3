"""The resource policies of the services: whose policy counts for a resource, and where it is kept.

Follows the IAM User Guide, "AWS services that work with IAM", column "Resource-based policies".
Services of our own register theirs with :meth:`ResourcePolicies.register`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from labkit.localaws.iam.accounts import Accounts
from labkit.localaws.iam.evaluation import RESOURCE, TRUST, PolicySet
from labkit.localaws.iam.facts import Arn, StateFacts

# The policy document of the resource with this ARN, JSON text or None.
Provider = Callable[[str], "str | None"]


class ResourcePolicies:
    """Finds the resource policy that counts for an ARN."""

    def __init__(self, accounts: Accounts, facts: StateFacts) -> None:
        self._accounts = accounts
        self._facts = facts
        self._providers: dict[str, Provider] = {
            "s3": self._bucket,
            "sqs": self._queue,
            "sns": self._topic,
            "kms": self._key,
            "kinesis": self._stream,
            "dynamodb": self._table,
            "secretsmanager": self._secret,
            "events": self._event_bus,
            "logs": self._logs,
        }

    def register(self, service: str, provider: Provider) -> None:
        """Have *provider* answer for the resources of *service* (an ARN's third part)."""
        self._providers[service] = provider

    def owner(self, resource: str) -> str:
        """The account a resource belongs to, empty when that can't be told."""
        arn = Arn(resource)
        if arn.service == "s3":
            bucket = self._facts.bucket(arn.resource.split("/", 1)[0])
            return bucket.account_id if bucket is not None else ""
        return arn.account if arn.account.isdigit() else ""

    def policy_set(self, resource: str) -> PolicySet | None:
        """The compiled resource policy of *resource*, None when it has none."""
        provider = self._providers.get(Arn(resource).service)
        if provider is None:
            return None
        try:
            text = provider(resource)
        except (KeyError, AttributeError, TypeError, IndexError):
            # What is not there has no policy.
            return None
        if not text:
            return None
        return self._accounts.policy_set(RESOURCE, ((resource, "resource", text),))

    def trust_set(self, role_arn: str, trust: str) -> PolicySet:
        """The compiled trust policy of a role."""
        return self._accounts.policy_set(TRUST, ((role_arn, "resource", trust),))

    def _bucket(self, resource: str) -> str | None:
        bucket = self._facts.bucket(Arn(resource).resource.split("/", 1)[0])
        policy = bucket.policy if bucket is not None else None
        return policy.decode("utf-8", "replace") if isinstance(policy, bytes) else policy

    @staticmethod
    def _queue(resource: str) -> str | None:
        arn = Arn(resource)
        return _text(arn.backend().queues[arn.resource].policy)

    @staticmethod
    def _topic(resource: str) -> str | None:
        return _text(Arn(resource).backend().topics[resource].policy)

    @staticmethod
    def _key(resource: str) -> str | None:
        arn = Arn(resource)
        return _text(arn.backend().keys[arn.resource.removeprefix("key/")].policy)

    @staticmethod
    def _stream(resource: str) -> str | None:
        return _text(Arn(resource).backend().resource_policies.get(resource))

    @staticmethod
    def _table(resource: str) -> str | None:
        found = Arn(resource).backend().resource_policies.get(resource)
        return _text(found.policy_doc) if found is not None else None

    @staticmethod
    def _secret(resource: str) -> str | None:
        found = Arn(resource).backend().secrets.get(resource)
        return _text(found.policy) if found is not None else None

    @staticmethod
    def _event_bus(resource: str) -> str | None:
        arn = Arn(resource)
        if not arn.resource.startswith("event-bus/"):
            return None
        return _text(arn.backend().event_buses[arn.resource.removeprefix("event-bus/")].policy)

    @staticmethod
    def _logs(resource: str) -> str | None:
        """The account's resource policies of CloudWatch Logs, which apply to all its groups."""
        statements: list[Any] = []
        for policy in list(Arn(resource).backend().resource_policies.values()):
            document = json.loads(policy.policy_document)
            found = document.get("Statement", [])
            statements += found if isinstance(found, list) else [found]
        if not statements:
            return None
        return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _text(policy: Any) -> str | None:
    if policy is None or isinstance(policy, str):
        return policy
    return json.dumps(policy)

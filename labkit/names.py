"""What the lab's resources are called, and their ARNs: one place for both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def suffix_for(account_id: str, region: str) -> str:
    """Eight characters that are always the same for one account, and hardly another's.

    Bucket names are shared by all of AWS; the account's number itself need not be in them.
    """
    return hashlib.sha256(f"{account_id}/{region}/dva-c02-lab".encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Names:
    """Names of the orders pipeline's resources in one account and region."""

    account_id: str
    region: str
    suffix: str

    table: str = "OrdersTable"
    function: str = "ProcessOrderFunction"
    role: str = "ProcessOrderFunction-role"
    policy: str = "ProcessOrderPolicy"
    dead_letter_policy: str = "RejectedOrdersPolicy"
    topic: str = "HighValueOrderTopic"
    queue: str = "HighValueQueue"
    stream: str = "OrdersStream"
    dead_letter_queue: str = "RejectedOrdersQueue"
    # Only objects under this prefix start the function.
    prefix: str = "orders/"

    @property
    def bucket(self) -> str:
        """The bucket that orders arrive in."""
        return f"lambda-kinesis-demo-{self.suffix}"

    @property
    def log_group(self) -> str:
        """Where Lambda writes what the function logs."""
        return f"/aws/lambda/{self.function}"

    @property
    def table_arn(self) -> str:
        """ARN of the table."""
        return self._arn("dynamodb", f"table/{self.table}")

    @property
    def function_arn(self) -> str:
        """ARN of the function, unqualified."""
        return self._arn("lambda", f"function:{self.function}")

    @property
    def role_arn(self) -> str:
        """ARN of the function's role."""
        return f"arn:aws:iam::{self.account_id}:role/{self.role}"

    @property
    def topic_arn(self) -> str:
        """ARN of the topic."""
        return self._arn("sns", self.topic)

    @property
    def queue_arn(self) -> str:
        """ARN of the queue for high-value orders."""
        return self._arn("sqs", self.queue)

    @property
    def stream_arn(self) -> str:
        """ARN of the stream."""
        return self._arn("kinesis", f"stream/{self.stream}")

    @property
    def bucket_arn(self) -> str:
        """ARN of the bucket."""
        return f"arn:aws:s3:::{self.bucket}"

    @property
    def dead_letter_queue_arn(self) -> str:
        """ARN of the queue where rejected orders end."""
        return self._arn("sqs", self.dead_letter_queue)

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

"""Who a message goes to, and how often and when SNS tries.

Follows the SNS Developer Guide, "Amazon SNS message delivery retries".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """A subscription as it stood when a message was published to it."""

    arn: str
    topic_arn: str
    protocol: str
    endpoint: str
    account_id: str
    raw: bool = False
    display_name: str = ""
    signature_version: str = "1"
    dead_letter_arn: str | None = None
    # For HTTP: the effective delivery policy.
    policy: Mapping[str, Any] = field(default_factory=dict)
    # Whether and as whom deliveries are logged.
    feedback: Mapping[str, str] = field(default_factory=dict)

    @property
    def topic_name(self) -> str:
        """The topic's name, the only dimension of SNS's metrics."""
        return self.topic_arn.rpartition(":")[2]


def retry_delays(target: Target) -> Iterator[float]:
    """The seconds before each retry, by the protocol's delivery policy."""
    if target.protocol in ("http", "https"):
        yield from _policy_delays(target.policy.get("healthyRetryPolicy") or {})
    elif target.protocol in ("sqs", "lambda", "firehose"):
        # AWS's own endpoints: 100,015 tries in 23 days.
        yield from _phases(
            immediate=3, early=(2, 1.0), growing=(10, 1.0, 20.0), late=(100_000, 20.0)
        )
    else:
        yield from _phases(
            immediate=0, early=(2, 10.0), growing=(10, 10.0, 600.0), late=(38, 600.0)
        )


def _phases(
    immediate: int,
    early: tuple[int, float],
    growing: tuple[int, float, float],
    late: tuple[int, float],
) -> Iterator[float]:
    yield from (0.0 for _ in range(immediate))
    yield from (early[1] for _ in range(early[0]))
    number, shortest, longest = growing
    for step in range(number):
        yield shortest * (longest / shortest) ** (step / (number - 1))
    yield from (late[1] for _ in range(late[0]))


def _policy_delays(policy: Mapping[str, Any]) -> Iterator[float]:
    total = int(policy.get("numRetries", 3))
    immediate = int(policy.get("numNoDelayRetries", 0))
    early = int(policy.get("numMinDelayRetries", 0))
    late = int(policy.get("numMaxDelayRetries", 0))
    shortest = float(policy.get("minDelayTarget", 20))
    longest = float(policy.get("maxDelayTarget", 20))
    growing = max(total - immediate - early - late, 0)
    yield from (0.0 for _ in range(immediate))
    yield from (shortest for _ in range(early))
    for step in range(growing):
        part = step / (growing - 1) if growing > 1 else 1.0
        yield _grown(policy.get("backoffFunction", "linear"), shortest, longest, part)
    yield from (longest for _ in range(late))


def _grown(function: str, shortest: float, longest: float, part: float) -> float:
    """The delay after *part* (0 to 1) of the growing phase."""
    if function == "exponential" and shortest > 0:
        return shortest * (longest / shortest) ** part
    shares = {"arithmetic": part**2, "geometric": (2**part - 1)}
    return shortest + (longest - shortest) * shares.get(function, part)

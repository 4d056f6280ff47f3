"""Whether a resource policy is public, and the four settings of S3 Block Public Access.

Follows the Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning
of public".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.localaws.iam.policy import Policy, Principals, Statement

# Conditions on these keys, with values that are no wildcards, make a grant to all not public.
_FIXED_KEYS = frozenset(
    "aws:sourcearn aws:sourcevpc aws:sourcevpce aws:sourceowner aws:sourceaccount aws:userid "
    "aws:principalorgid aws:principalarn aws:principalaccount s3:dataaccesspointarn "
    "s3:dataaccesspointaccount s3:x-amz-server-side-encryption-aws-kms-key-id".split()
)
_EQUALITIES = ("stringequals", "stringlike", "arnequals", "arnlike", "stringequalsignorecase")


@dataclass(frozen=True)
class Blocks:
    """The settings of Block Public Access for a bucket."""

    block_acls: bool = False
    ignore_acls: bool = False
    block_policy: bool = False
    restrict_buckets: bool = False

    @classmethod
    def of(cls, bucket: Any) -> Blocks:
        """The settings of moto's bucket; all off when its configuration was deleted."""
        found = getattr(bucket, "public_access_block", None)
        if found is None:
            return cls()
        return cls(
            _on(found.block_public_acls),
            _on(found.ignore_public_acls),
            _on(found.block_public_policy),
            _on(found.restrict_public_buckets),
        )


def _on(value: Any) -> bool:
    return str(value).lower() in ("true", "1")


def is_public(policy: Policy) -> bool:
    """Whether any statement of a bucket policy grants something to everybody."""
    return any(_grants_everybody(statement) for statement in policy.statements)


def _grants_everybody(statement: Statement) -> bool:
    if not statement.allow:
        return False
    named: Principals | None = statement.principals
    if named is None:
        return statement.not_principals is not None
    if not named.everyone:
        return False
    return not any(_is_fixed(condition) for condition in statement.conditions)


def _is_fixed(condition: Any) -> bool:
    operator = condition.operator.lower()
    if condition.key == "aws:sourceip":
        # All addresses, or nearly all, are nobody in particular.
        return operator == "ipaddress" and not any(
            value.endswith(("/0", "/1")) for value in condition.values
        )
    return (
        condition.key in _FIXED_KEYS
        and operator in _EQUALITIES
        and not any(value.strip("*") == "" or value.startswith("*") for value in condition.values)
    )

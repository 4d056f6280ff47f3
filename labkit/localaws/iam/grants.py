"""KMS grants: a way to allow the use of a key that is neither identity nor resource policy.

Follows the AWS KMS Developer Guide, "Grants in AWS KMS" and "Using grant constraints".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labkit.localaws.iam.evaluation import Request

_CONTEXT = "kms:encryptioncontext:"


def allows(grants: Iterable[Any], request: Request) -> bool:
    """Whether one of *grants* (moto's) lets the caller do what *request* asks of the key."""
    caller = request.caller
    operation = request.action.split(":", 1)[1]
    for grant in grants:
        principals = [grant.grantee_principal]
        if operation == "RetireGrant":
            principals.append(grant.retiring_principal)
        if not {caller.arn, caller.entity_arn} & {name for name in principals if name}:
            continue
        named = operation in grant.operations or operation == "RetireGrant"
        if named and _constraints_hold(grant.constraints or {}, request):
            return True
    return False


def _constraints_hold(constraints: Mapping[str, Any], request: Request) -> bool:
    given = {
        key.removeprefix(_CONTEXT): value
        for key, value in dict(request.context).items()
        if key.startswith(_CONTEXT)
    }
    equal = constraints.get("EncryptionContextEquals")
    subset = constraints.get("EncryptionContextSubset")
    if equal is not None and {k.lower(): v for k, v in equal.items()} != given:
        return False
    wanted = {k.lower(): v for k, v in (subset or {}).items()}
    return wanted.items() <= given.items()

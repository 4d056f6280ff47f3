"""Roles for who an identity provider vouches for: OpenID Connect tokens and Cognito identities.

Follows the AWS STS API Reference, AssumeRoleWithWebIdentity, and the IAM User Guide, "Available
keys for AWS web identity federation". The token's signature cannot be checked here (the keys
would have to be fetched from the provider); its form, issuer, audience and expiry are.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError
from labkit.localaws.iam.evaluation import IDENTITY, Caller, Policies, PolicySet, Request, decide
from labkit.localaws.iam.roles import Wish, open_session
from labkit.localaws.iam.sessions import Session

if TYPE_CHECKING:
    from labkit.localaws.iam.identity import Identity

COGNITO = "cognito-identity.amazonaws.com"


@dataclass(frozen=True)
class Token:
    """What a web identity token says. ``provider`` is what trust policies name."""

    provider: str
    subject: str
    audience: str
    keys: Mapping[str, Any]


def read_token(identity: Identity, text: str, account_id: str) -> Token:
    """The claims of a token; raises STS's errors for one that is malformed, strange or expired."""
    claims = _claims(text)
    if claims.get("exp") is not None and identity.now() >= float(claims["exp"]):
        raise AwsError(
            "ExpiredTokenException",
            f"Token expired: current date/time {int(identity.now())} must be before the "
            f"expiration date/time {int(claims['exp'])}",
            400,
        )
    issuer = str(claims.get("iss", "")).removeprefix("https://").rstrip("/")
    audience = claims.get("aud", "")
    audiences = [str(each) for each in (audience if isinstance(audience, list) else [audience])]
    subject = str(claims.get("sub", ""))
    keys: dict[str, Any] = {
        f"{issuer.lower()}:aud": audiences[0] if len(audiences) == 1 else tuple(audiences),
        f"{issuer.lower()}:sub": subject,
    }
    for name in ("amr", "email", "oaud"):
        value = claims.get(name)
        if isinstance(value, list):
            keys[f"{issuer.lower()}:{name}"] = tuple(str(each) for each in value)
        elif value is not None:
            keys[f"{issuer.lower()}:{name}"] = str(value)
    if issuer == COGNITO:
        return Token(COGNITO, subject, audiences[0], keys)
    backend = identity.accounts.backend(account_id)
    providers = backend.open_id_providers if backend is not None else {}
    arn = f"arn:aws:iam::{account_id}:oidc-provider/{issuer}"
    provider = providers.get(arn)
    if provider is None:
        raise _invalid(f"No OpenIDConnect provider found in your account for https://{issuer}")
    clients = [str(each) for each in provider.client_id_list or ()]
    if clients and not set(audiences) & set(clients):
        raise _invalid("Incorrect token audience")
    return Token(arn, subject, audiences[0], keys)


def _claims(text: str) -> dict[str, Any]:
    parts = text.split(".")
    if len(parts) != 3:
        raise _invalid("The ID Token provided is not a valid JWT. (You may see this error if you "
                       "sent an Access Token)")  # fmt: skip
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError):
        raise _invalid("The ID Token provided is not a valid JWT") from None
    if not isinstance(claims, dict) or not claims.get("iss") or not claims.get("sub"):
        raise _invalid("Missing a required claim: iss, aud or sub")
    return claims


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidIdentityToken", message, 400)


def assume(identity: Identity, role_arn: str, text: str, wish: Wish) -> tuple[Session, Token]:
    """A session of the role for the bearer of a token, if the role trusts its provider."""
    role = identity.accounts.role_by_arn(role_arn)
    if role is None:
        raise _not_authorised()
    token = read_token(identity, text, role.account_id)
    name = token.provider
    caller = Caller("web", "", name, name=name)
    context = {**token.keys, "sts:rolesessionname": wish.name}
    request = Request("sts:AssumeRoleWithWebIdentity", role.arn, caller, context)
    trust = identity.resource_policies.trust_set(role.arn, role.trust)
    policies = Policies(PolicySet(IDENTITY, ()), resource=trust, resource_decides=True)
    if not decide(request, policies).allowed:
        raise _not_authorised()
    if wish.duration_seconds > role.max_session_seconds:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            400,
        )
    life = Wish(
        wish.name,
        wish.duration_seconds,
        policies=wish.policies,
        narrowed=wish.narrowed,
        context={**token.keys, "aws:federatedprovider": token.provider},
    )
    return open_session(identity, role, life, {}, (), None), token


def _not_authorised() -> AwsError:
    return AwsError("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403)

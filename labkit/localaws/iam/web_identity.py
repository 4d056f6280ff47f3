"""Roles for who an identity provider vouches for: OpenID Connect tokens and Cognito identities.

Follows the AWS STS API Reference, AssumeRoleWithWebIdentity, and the IAM User Guide, "Available
keys for AWS web identity federation". A token counts only with a signature that can be checked
here: those of the local AWS's own user pools and identity pools. The keys of any other provider
would have to be fetched from the internet, which is refused with the sentence AWS has for a
provider it cannot reach.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError

from labkit.localaws.call import AwsError
from labkit.localaws.iam.evaluation import IDENTITY, Caller, Policies, PolicySet, Request, decide
from labkit.localaws.iam.facts import backend
from labkit.localaws.iam.roles import Wish, open_session
from labkit.localaws.iam.sessions import Session

if TYPE_CHECKING:
    from labkit.localaws.iam.identity import Identity

COGNITO = "cognito-identity.amazonaws.com"

_USER_POOL = re.compile(r"cognito-idp\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<pool>[\w-]+)")


@dataclass(frozen=True)
class Token:
    """What a web identity token says. ``provider`` is what trust policies name."""

    provider: str
    subject: str
    audience: str
    keys: Mapping[str, Any]


def issue(identity: Identity, claims: Mapping[str, Any]) -> str:
    """A token of Cognito's identity pools with these claims, signed so that only ours pass."""
    head = _encode(json.dumps({"alg": "HS256", "typ": "JWS"}).encode())
    signed = f"{head}.{_encode(json.dumps(claims).encode())}"
    seal = hmac.new(identity.token_secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encode(seal)}"


def read_token(identity: Identity, text: str, account_id: str) -> Token:
    """The claims of a token; raises STS's errors for one that is malformed, strange or expired."""
    claims = verified_claims(identity, text)
    issuer = issuer_of(claims)
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
    iam = identity.accounts.backend(account_id)
    providers = iam.open_id_providers if iam is not None else {}
    arn = f"arn:aws:iam::{account_id}:oidc-provider/{issuer}"
    provider = providers.get(arn)
    if provider is None:
        raise invalid(f"No OpenIDConnect provider found in your account for https://{issuer}")
    clients = [str(each) for each in provider.client_id_list or ()]
    if clients and not set(audiences) & set(clients):
        raise invalid("Incorrect token audience")
    return Token(arn, subject, audiences[0], keys)


def issuer_of(claims: Mapping[str, Any]) -> str:
    """Who issued a token, without the scheme: ``cognito-idp.REGION.amazonaws.com/POOL``."""
    return str(claims.get("iss", "")).removeprefix("https://").rstrip("/")


def verified_claims(identity: Identity, text: str) -> dict[str, Any]:
    """The claims of a token whose signature and expiry are right; raises STS's errors."""
    claims = _claims(text)
    issuer = issuer_of(claims)
    pool = _USER_POOL.fullmatch(issuer)
    if issuer == COGNITO:
        good = _is_ours(identity, text)
    elif pool:
        good = _is_of_pool(identity, text, pool["region"], pool["pool"])
    else:
        raise invalid(
            "Couldn't retrieve verification key from your identity provider, please reference "
            "AssumeRoleWithWebIdentity documentation for requirements"
        )
    if not good:
        raise invalid("Token signature invalid")
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or identity.now() >= expires:
        raise AwsError(
            "ExpiredTokenException",
            f"Token expired: current date/time {int(identity.now())} must be before the "
            f"expiration date/time {expires}",
            400,
        )
    return claims


def _is_ours(identity: Identity, text: str) -> bool:
    signed, _, seal = text.rpartition(".")
    expected = hmac.new(identity.token_secret, signed.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(_encode(expected).encode(), seal.encode())


def _is_of_pool(identity: Identity, text: str, region: str, pool_id: str) -> bool:
    # moto signs the tokens of a user pool with the key it publishes as the pool's JWKS.
    for account_id in identity.accounts.ids():
        pools = backend("cognito-idp", account_id, region)
        pool = pools.user_pools.get(pool_id) if pools is not None else None
        if pool is not None:
            try:
                jwt.decode(text, pool.json_web_key, algorithms=["RS256"])
            except JoseError:
                return False
            return True
    return False


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _claims(text: str) -> dict[str, Any]:
    parts = text.split(".")
    if len(parts) != 3:
        raise invalid("The ID Token provided is not a valid JWT. (You may see this error if you "
                       "sent an Access Token)")  # fmt: skip
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError):
        raise invalid("The ID Token provided is not a valid JWT") from None
    if not isinstance(claims, dict) or not claims.get("iss") or not claims.get("sub"):
        raise invalid("Missing a required claim: iss, aud or sub")
    return claims


def invalid(message: str) -> AwsError:
    """STS's refusal of a token."""
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

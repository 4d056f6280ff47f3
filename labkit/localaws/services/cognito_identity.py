"""Amazon Cognito identity pools: from a login to the credentials of a role.

moto keeps the pools; their roles and everything from an identity on are here. Follows the Amazon
Cognito Developer Guide, "Identity pools authentication flow", "IAM roles" and "Role trust and
permissions".
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import moto.backends

from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.iam import web_identity
from labkit.localaws.iam.roles import Wish

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

SESSION_SECONDS = 3600
TOKEN_SECONDS = 600
SESSION_NAME = "CognitoIdentityCredentials"


class CognitoIdentityLayer(ServiceLayer):
    """Identity pools."""

    service = "cognito-identity"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        # Pool id -> its roles; identity id -> its pool and the logins it has (provider -> subject).
        self._roles: dict[str, dict[str, Any]] = {}
        self._identities: dict[str, tuple[str, dict[str, str]]] = {}

    def SetIdentityPoolRoles(self, call: Call, forward: Forward) -> None:
        """The roles that a pool's identities get."""
        pool = self._pool(call.params["IdentityPoolId"])[0]
        self._roles[pool.identity_pool_id] = {
            "Roles": dict(call.params.get("Roles") or {}),
            "RoleMappings": dict(call.params.get("RoleMappings") or {}),
        }

    def GetIdentityPoolRoles(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The roles that a pool's identities get."""
        pool = self._pool(call.params["IdentityPoolId"])[0]
        known = self._roles.get(pool.identity_pool_id, {})
        return {"IdentityPoolId": pool.identity_pool_id, **known}

    def GetId(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The identity of a login, made at its first use; without a login a new guest."""
        pool, _ = self._pool(call.params["IdentityPoolId"])
        logins = self._verified(pool, call.params.get("Logins") or {})
        if not logins and not pool.allow_unauthenticated_identities:
            raise AwsError(
                "NotAuthorizedException",
                "Unauthenticated access is not supported for this identity pool.",
                400,
            )
        for known, (pool_id, theirs) in list(self._identities.items()):
            if logins and pool_id == pool.identity_pool_id and theirs.items() & logins.items():
                theirs.update(logins)
                return {"IdentityId": known}
        region = pool.identity_pool_id.split(":")[0]
        identity_id = f"{region}:{uuid.UUID(bytes=secrets.token_bytes(16), version=4)}"
        self._identities[identity_id] = (pool.identity_pool_id, dict(logins))
        return {"IdentityId": identity_id}

    def GetOpenIdToken(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A token for AssumeRoleWithWebIdentity: the basic flow."""
        identity_id, pool, logins = self._identity(call)
        return {"IdentityId": identity_id, "Token": self._token(identity_id, pool, logins)}

    def GetCredentialsForIdentity(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Credentials of the pool's role for the identity: the enhanced flow."""
        identity_id, pool, logins = self._identity(call)
        roles = self._roles.get(pool.identity_pool_id, {}).get("Roles", {})
        role_arn = roles.get("authenticated" if logins else "unauthenticated")
        if not role_arn:
            raise AwsError(
                "InvalidIdentityPoolConfigurationException",
                "Invalid identity pool configuration. Check assigned IAM roles for this pool.",
                400,
            )
        token = self._token(identity_id, pool, logins)
        wish = Wish(SESSION_NAME, SESSION_SECONDS)
        try:
            session, _ = web_identity.assume(self.aws.identity, role_arn, token, wish)
        except AwsError as error:
            raise AwsError(
                "InvalidIdentityPoolConfigurationException",
                "Invalid identity pool configuration. Check assigned IAM roles for this pool.",
                400,
            ) from error
        keys = session.credentials()
        keys["SecretKey"] = keys.pop("SecretAccessKey")
        return {"IdentityId": identity_id, "Credentials": keys}

    def _pool(self, pool_id: str) -> tuple[Any, str]:
        """moto's pool, and the account it is in: calls without a signature name none."""
        region = pool_id.split(":")[0]
        backends = moto.backends.get_backend("cognito-identity")
        for account_id in list(backends.keys()):
            if region in list(backends[account_id].keys()):
                pool = backends[account_id][region].identity_pools.get(pool_id)
                if pool is not None:
                    return pool, account_id
        raise AwsError("ResourceNotFoundException", f"IdentityPool '{pool_id}' not found.", 400)

    def _identity(self, call: Call) -> tuple[str, Any, dict[str, str]]:
        """The identity of a call with its pool and the logins it shows, all of them its own."""
        identity_id = call.params["IdentityId"]
        if identity_id not in self._identities:
            raise AwsError("ResourceNotFoundException", f"Identity '{identity_id}' not found.", 400)
        pool_id, theirs = self._identities[identity_id]
        pool, _ = self._pool(pool_id)
        logins = self._verified(pool, call.params.get("Logins") or {})
        if theirs and not logins:
            raise AwsError(
                "NotAuthorizedException",
                f"Access to Identity '{identity_id}' is forbidden.",
                400,
            )
        if any(theirs.get(provider, subject) != subject for provider, subject in logins.items()):
            raise AwsError(
                "NotAuthorizedException", "Logins don't match. Please include at least one valid "
                "login for this identity or identity pool.", 400)  # fmt: skip
        theirs.update(logins)
        return identity_id, pool, logins

    def _verified(self, pool: Any, logins: Mapping[str, str]) -> dict[str, str]:
        """Provider -> subject of each login, whose token must be good and meant for the pool."""
        found = {}
        accepted = {
            (str(each.get("ProviderName")), str(each.get("ClientId")))
            for each in pool.cognito_identity_providers or ()
        }
        for provider, text in logins.items():
            try:
                claims = web_identity.verified_claims(self.aws.identity, text)
            except AwsError as error:
                raise AwsError(
                    "NotAuthorizedException", f"Invalid login token. {error.message}", 400
                ) from error
            audience = str(claims.get("aud") or claims.get("client_id"))
            if web_identity.issuer_of(claims) != provider:
                raise AwsError(
                    "NotAuthorizedException",
                    "Invalid login token. Issuer doesn't match providerName",
                    400,
                )
            if (provider, audience) not in accepted:
                raise AwsError(
                    "NotAuthorizedException",
                    "Token is not from a supported provider of this identity pool.",
                    400,
                )
            found[provider] = str(claims["sub"])
        return found

    def _token(self, identity_id: str, pool: Any, logins: Mapping[str, str]) -> str:
        now = int(self.aws.identity.now())
        kinds = ["authenticated", *logins] if logins else ["unauthenticated"]
        claims = {
            "iss": f"https://{web_identity.COGNITO}",
            "sub": identity_id,
            "aud": pool.identity_pool_id,
            "amr": kinds,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        return web_identity.issue(self.aws.identity, claims)

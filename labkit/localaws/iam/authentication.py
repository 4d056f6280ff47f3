"""From a request to the principal that signed it: keys, session tokens, signatures, dates.

The order is AWS's: what the request says must be complete, the key known and its token right and
not expired, the date current, and the signature the one the key makes.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.localaws.call import AwsError, Call, Principal
from labkit.localaws.iam import browser, claims, signature
from labkit.localaws.iam.accounts import Accounts
from labkit.localaws.iam.auth_errors import refusal
from labkit.localaws.iam.sessions import Session, Sessions

if TYPE_CHECKING:
    from labkit.localaws.clock import Clock

_REMEMBERED_URLS = 2000


@dataclass(frozen=True)
class Credential:
    """A key that exists: its secret, and the principal it stands for."""

    secret: str
    principal: Principal


class Authentication:
    """Tells who signed a request."""

    def __init__(self, clock: Clock, accounts: Accounts, sessions: Sessions) -> None:
        self._clock = clock
        self._accounts = accounts
        self._sessions = sessions
        # Signature of a presigned URL -> the lab time at which it ends, known from its first use.
        self._url_ends: dict[str, float] = {}

    def principal(self, call: Call) -> Principal | None:
        """Who signed *call*, or None when nobody did; raises the service's error otherwise."""
        if browser.is_form(call):
            return self._form(call)
        claim = claims.read_claim(call)
        if claim is None:
            return self._version_two(call) if call.service == "s3" else None
        credential = self._credential(call, claim.access_key_id, claim.token)
        times = signature.Times(self._clock.real_now(), self._clock.now())
        if claim.expires_seconds is not None:
            # Dates have whole seconds: a clock moved within that second was moved before.
            made = claim.signed_at
            if made <= times.real + signature.S3_SKEW_SECONDS:
                made += self._clock.offset_at(made + 1.0)
            ends = self._ends(claim.signature, made + claim.expires_seconds)
            times = signature.Times(times.real, times.lab, ends)
            call.notes["signature_age_seconds"] = max(0.0, times.lab - made)
        signature.check_times(call, claim, times)
        signature.check_scope(call, claim)
        signature.verify(call, claim, credential.secret)
        return credential.principal

    @staticmethod
    def missing(call: Call) -> AwsError:
        """The error for a request that carries no signature at all."""
        return refusal(call, "missing")

    def _credential(self, call: Call, access_key_id: str, token: str | None) -> Credential:
        session = self._sessions.find(access_key_id)
        if session is not None:
            return self._of_session(call, session, token)
        key = self._accounts.key(access_key_id)
        if key is None or not key.active:
            raise refusal(call, "unknown key", AWSAccessKeyId=access_key_id)
        if token:
            raise refusal(call, "wrong token", **{"Token-0": token})
        user = self._accounts.user(key.account_id, key.user_name)
        assert user is not None
        principal = Principal(
            kind="user",
            account_id=key.account_id,
            arn=user.arn,
            name=user.name,
            access_key_id=access_key_id,
            tags=user.tags,
        )
        return Credential(key.secret, principal)

    def _of_session(self, call: Call, session: Session, token: str | None) -> Credential:
        if not token:
            raise refusal(call, "unknown key", AWSAccessKeyId=session.access_key_id)
        if not hmac.compare_digest(token.encode(), session.token.encode()):
            raise refusal(call, "wrong token", **{"Token-0": token})
        if self._clock.now() >= session.expires:
            raise refusal(call, "expired token", **{"Token-0": token})
        return Credential(session.secret, session.principal)

    def _version_two(self, call: Call) -> Principal | None:
        claim = browser.read_url_claim(call)
        if claim is None:
            return None
        credential = self._credential(call, claim.access_key_id, claim.token)
        browser.verify_url(call, claim, credential.secret)
        # The URL does not say when it was made: moves of the lab's clock count from its first use
        # on, real time from the start.
        real = self._clock.real_now()
        ends = self._ends(claim.signature, claim.ends + self._clock.offset_at(real))
        if self._clock.now() > ends:
            raise AwsError(
                "AccessDenied",
                "Request has expired",
                403,
                Expires=browser.shown_time(ends),
                ServerTime=browser.shown_time(self._clock.now()),
            )
        return credential.principal

    def _ends(self, url_signature: str, ends: float) -> float:
        """When a URL ends, lab time: as first worked out, so that it stays what it was."""
        if len(self._url_ends) > _REMEMBERED_URLS:
            self._url_ends = {}
        return min(ends, self._url_ends.setdefault(url_signature, ends))

    def _form(self, call: Call) -> Principal | None:
        bucket = call.request.path.strip("/").split("/")[0]
        claim, fields = browser.read_form(call)
        call.operation = "PostObject"
        call.params = browser.form_params(bucket, fields)
        if claim is None:
            return None
        credential = self._credential(call, claim.access_key_id, claim.token)
        browser.verify_form(call, claim, credential.secret, bucket, self._clock.now())
        return credential.principal

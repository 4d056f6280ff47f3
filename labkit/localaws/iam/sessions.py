"""Temporary credentials: who got them, what narrows them, when they end.

Sessions live here and not in moto, whose session tokens all look alike. An ended session is
remembered for a while, so that its token is refused as expired and not as unknown.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.iam.utils import generate_access_key_id_from_account_id

from labkit.localaws.call import Principal

_REMEMBERED = 5000


@dataclass(frozen=True)
class Session:
    """One set of temporary credentials. Times are lab time, epoch seconds.

    ``user_id`` is what GetCallerIdentity shows (``AROA...:session``). ``narrowed`` says that a
    session policy was given, even an empty one; ``tags`` are the session's own, the role's tags
    are looked up afresh. ``provider`` is the identity provider of a web identity. ``context`` has
    condition keys that the way of signing in sets for the session's life.
    """

    access_key_id: str
    secret: str
    token: str
    principal: Principal
    user_id: str
    issued: float
    expires: float
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    source_identity: str | None = None
    narrowed: bool = False
    policies: tuple[tuple[str, str, str], ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_role(self) -> bool:
        """Whether the session came of assuming a role (further roles are then chained)."""
        return self.principal.kind == "role"

    def credentials(self) -> dict[str, Any]:
        """The session in the shape of STS's Credentials; Expiration is a datetime (UTC)."""
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret,
            "SessionToken": self.token,
            "Expiration": datetime.fromtimestamp(int(self.expires), UTC),
        }


class Sessions:
    """All sessions of this local AWS, by access key id."""

    def __init__(self) -> None:
        self._by_key: dict[str, Session] = {}
        self._guard = threading.Lock()

    def find(self, access_key_id: str) -> Session | None:
        """The session of an access key id, ended ones included, or None."""
        return self._by_key.get(access_key_id)

    def add(self, session: Session) -> None:
        """Remember *session*; the longest ended ones are forgotten when there are many."""
        with self._guard:
            if len(self._by_key) >= _REMEMBERED:
                oldest = sorted(self._by_key.values(), key=lambda each: each.expires)
                for each in oldest[: _REMEMBERED // 10]:
                    del self._by_key[each.access_key_id]
            self._by_key[session.access_key_id] = session


def new_keys(account_id: str) -> tuple[str, str, str]:
    """A fresh access key id (``ASIA...``, the account encoded in it), secret and token."""
    key = generate_access_key_id_from_account_id(account_id, prefix="ASIA", total_length=20)
    return key, secrets.token_urlsafe(30), f"IQoJb3JpZ2luX2Vj{secrets.token_urlsafe(240)}"

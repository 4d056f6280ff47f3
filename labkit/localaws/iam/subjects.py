"""From a caller to what policies know of it: its names, its policies, its condition keys.

Follows the IAM User Guide, "AWS global condition context keys", "Properties of the principal",
and the table of principal key values on its page "Variables and tags".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from labkit.localaws.call import Principal
from labkit.localaws.iam.accounts import Accounts, Entity
from labkit.localaws.iam.evaluation import IDENTITY, SESSION, Caller, PolicySet
from labkit.localaws.iam.sessions import Session, Sessions

_NOTHING = PolicySet(IDENTITY, ())
_EMPTY_SESSION = PolicySet(SESSION, ())


@dataclass(frozen=True)
class Subject:
    """A caller as the decision sees it. ``context`` has the keys about the principal."""

    caller: Caller
    identity: PolicySet = _NOTHING
    boundary: PolicySet | None = None
    session: PolicySet | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    user_id: str = ""


class Subjects:
    """Finds the :class:`Subject` of a principal."""

    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        self._accounts = accounts
        self._sessions = sessions

    def of(self, principal: Principal) -> Subject:
        """What policies know of *principal* right now."""
        kind = principal.kind
        if kind == "role":
            return self._role(principal)
        if kind == "user":
            return self._user(principal)
        account = principal.account_id
        if kind == "root":
            context = {
                "aws:principalarn": principal.arn,
                "aws:principalaccount": account,
                "aws:principaltype": "Account",
                "aws:userid": account,
            }
            caller = Caller("root", account, principal.arn)
            return Subject(caller, context=context, user_id=account)
        if kind == "service":
            return Subject(Caller("service", account, principal.arn, name=principal.name))
        context = {"aws:principaltype": "Anonymous", "aws:userid": "anonymous"}
        return Subject(Caller("anonymous", "", "*"), context=context, user_id="anonymous")

    def _user(self, principal: Principal) -> Subject:
        account = principal.account_id
        user = self._accounts.user(account, principal.name)
        session = self._session_of(principal)
        federated = ":federated-user/" in principal.arn
        context = {
            "aws:principalarn": principal.arn,
            "aws:principalaccount": account,
            "aws:principaltype": "FederatedUser" if federated else "User",
        }
        if federated:
            user_id = session.user_id if session else f"{account}:{principal.name}"
        else:
            user_id = user.id if user else ""
            context["aws:username"] = principal.name
        context["aws:userid"] = user_id
        _add_tags(context, user, session)
        _add_session(context, session)
        entity_arn = user.arn if user else ""
        caller = Caller("federated" if federated else "user", account, principal.arn, entity_arn)
        return Subject(
            caller,
            identity=user.identity if user else _NOTHING,
            boundary=user.boundary if user else None,
            session=self._narrowing(principal, session, always=federated),
            context=context,
            user_id=user_id,
        )

    def _role(self, principal: Principal) -> Subject:
        account = principal.account_id
        name = principal.role_name or principal.name
        role = self._accounts.role(account, name)
        session = self._session_of(principal)
        role_arn = role.arn if role else f"arn:aws:iam::{account}:role/{name}"
        if session is not None:
            user_id = session.user_id
        else:
            user_id = f"{role.id if role else ''}:{principal.session_name or ''}"
        context = {
            "aws:principalarn": role_arn,
            "aws:principalaccount": account,
            "aws:principaltype": "AssumedRole",
            "aws:userid": user_id,
        }
        _add_tags(context, role, session)
        for key, value in principal.tags.items():
            context.setdefault(f"aws:principaltag/{key.lower()}", value)
        _add_session(context, session)
        return Subject(
            Caller("role", account, principal.arn, role_arn),
            identity=role.identity if role else _NOTHING,
            boundary=role.boundary if role else None,
            session=self._narrowing(principal, session, always=False),
            context=context,
            user_id=user_id,
        )

    def _session_of(self, principal: Principal) -> Session | None:
        key = principal.access_key_id
        return self._sessions.find(key) if key else None

    def _narrowing(
        self, principal: Principal, session: Session | None, *, always: bool
    ) -> PolicySet | None:
        """The session policies; a federated user without any may do nothing by itself."""
        if session is not None and session.narrowed:
            return self._accounts.policy_set(SESSION, session.policies)
        if principal.session_policies:
            documents = tuple(
                (f"SessionPolicy.{number}", "none", text)
                for number, text in enumerate(principal.session_policies, 1)
            )
            return self._accounts.policy_set(SESSION, documents)
        return _EMPTY_SESSION if always else None


def _add_tags(context: dict[str, Any], entity: Entity | None, session: Session | None) -> None:
    tags = dict(entity.tags) if entity is not None else {}
    if session is not None:
        tags.update(session.tags)
    for key, value in tags.items():
        context[f"aws:principaltag/{key.lower()}"] = value


def _add_session(context: dict[str, Any], session: Session | None) -> None:
    if session is None:
        return
    issued = datetime.fromtimestamp(int(session.issued), UTC)
    context["aws:tokenissuetime"] = issued.strftime("%Y-%m-%dT%H:%M:%SZ")
    # Present for temporary credentials alone; the lab has no MFA devices.
    context["aws:multifactorauthpresent"] = "false"
    if session.source_identity:
        context["aws:sourceidentity"] = session.source_identity
    context.update(session.context)

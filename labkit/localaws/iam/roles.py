"""Assuming roles: who may, for how long, and the session that comes of it.

Follows the AWS STS API Reference (AssumeRole, AssumeRoleWithWebIdentity, GetFederationToken,
GetSessionToken) and the IAM User Guide, "Roles terms and concepts" (role chaining) and "Passing
session tags in AWS STS".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.iam.accounts import Entity
from labkit.localaws.iam.evaluation import Request, decide
from labkit.localaws.iam.sessions import Session, new_keys
from labkit.localaws.iam.subjects import Subject

if TYPE_CHECKING:
    from labkit.localaws.iam.identity import Identity

CHAINED_SECONDS = 3600


@dataclass(frozen=True)
class Wish:
    """What a caller asks of a role session besides the role itself."""

    name: str
    duration_seconds: int = 3600
    external_id: str | None = None
    policies: tuple[tuple[str, str, str], ...] = ()
    narrowed: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    source_identity: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


def assume(identity: Identity, caller: Principal, role_arn: str, wish: Wish) -> Session:
    """A session of the role for *caller*; raises AccessDenied or ValidationError as STS does."""
    role = identity.accounts.role_by_arn(role_arn)
    if role is None:
        raise not_authorised(caller, "sts:AssumeRole", role_arn)
    chaining = identity.session(caller)
    inherited = _inherited(chaining)
    tags = {**inherited, **wish.tags}
    context = _context(wish, tags)
    _check_allowed(identity, caller, role, "sts:AssumeRole", context)
    if wish.tags:
        _check_allowed(identity, caller, role, "sts:TagSession", context)
    if wish.source_identity:
        _check_allowed(identity, caller, role, "sts:SetSourceIdentity", context)
    chained = chaining is not None and chaining.is_role
    _check_duration(role, wish.duration_seconds, chained=chained)
    source = wish.source_identity or (chaining.source_identity if chaining else None)
    transitive = (*wish.transitive, *inherited)
    return open_session(identity, role, wish, tags, transitive, source)


def service_session(
    identity: Identity, role_arn: str, service: str, session_name: str, duration_seconds: int
) -> Session:
    """A session of the role for an AWS service (``lambda.amazonaws.com``), if its trust allows."""
    role = identity.accounts.role_by_arn(role_arn)
    caller = Principal.service(service)
    if role is None:
        raise not_authorised(caller, "sts:AssumeRole", role_arn)
    if not identity.trusts(role, caller, {}).allowed:
        raise not_authorised(caller, "sts:AssumeRole", role_arn)
    wish = Wish(session_name, duration_seconds)
    return open_session(identity, role, wish, {}, (), None)


def open_session(
    identity: Identity,
    role: Entity,
    wish: Wish,
    tags: Mapping[str, str],
    transitive: tuple[str, ...],
    source_identity: str | None,
) -> Session:
    """A session of *role*, whoever asked for it was let; also remembered."""
    key, secret, token = new_keys(role.account_id)
    now = identity.now()
    arn = f"arn:aws:sts::{role.account_id}:assumed-role/{role.name}/{wish.name}"
    session = Session(
        access_key_id=key,
        secret=secret,
        token=token,
        principal=Principal(
            kind="role",
            account_id=role.account_id,
            arn=arn,
            name=role.name,
            access_key_id=key,
            role_name=role.name,
            session_name=wish.name,
            session_policies=tuple(text for _, _, text in wish.policies),
            tags={**role.tags, **tags},
        ),
        user_id=f"{role.id}:{wish.name}",
        issued=now,
        expires=now + wish.duration_seconds,
        tags=tags,
        transitive=transitive,
        source_identity=source_identity,
        narrowed=wish.narrowed,
        policies=wish.policies,
        context=wish.context,
    )
    identity.sessions.add(session)
    return session


def user_session(
    identity: Identity,
    caller: Principal,
    duration_seconds: int,
    *,
    federated_name: str | None = None,
    policies: tuple[tuple[str, str, str], ...] = (),
    tags: Mapping[str, str] | None = None,
) -> Session:
    """Temporary credentials of a user (or root): its own, or for a federated user of its making."""
    account = caller.account_id
    key, secret, token = new_keys(account)
    now = identity.now()
    subject = identity.subjects.of(caller)
    arn, user_id = caller.arn, subject.user_id
    if federated_name is not None:
        arn = f"arn:aws:sts::{account}:federated-user/{federated_name}"
        user_id = f"{account}:{federated_name}"
    session = Session(
        access_key_id=key,
        secret=secret,
        token=token,
        principal=Principal(
            kind="user" if federated_name is not None else caller.kind,
            account_id=account,
            arn=arn,
            name=caller.name,
            access_key_id=key,
            session_policies=tuple(text for _, _, text in policies),
        ),
        user_id=user_id,
        issued=now,
        expires=now + duration_seconds,
        tags=tags or {},
        narrowed=federated_name is not None,
        policies=policies,
    )
    identity.sessions.add(session)
    return session


def not_authorised(caller: Principal, action: str, role_arn: str) -> AwsError:
    """STS's denial, which also stands for a role that is not there."""
    return AwsError(
        "AccessDenied",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {role_arn}",
        403,
    )


def packed_size(policies: tuple[tuple[str, str, str], ...], tags: Mapping[str, str]) -> int:
    """PackedPolicySize, per cent of the limit: session policies and tags in their compact form."""
    size = sum(len(_compact(text)) for _, _, text in policies)
    size += sum(len(key) + len(value) + 4 for key, value in tags.items())
    return -(-size * 100 // 8192)


def _compact(text: str) -> str:
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except (ValueError, RecursionError):
        return text


def _inherited(session: Session | None) -> dict[str, str]:
    """The tags a chained session takes along."""
    if session is None:
        return {}
    return {key: session.tags[key] for key in session.transitive if key in session.tags}


def _context(wish: Wish, tags: Mapping[str, str]) -> dict[str, Any]:
    context: dict[str, Any] = {"sts:rolesessionname": wish.name, **wish.context}
    if wish.external_id is not None:
        context["sts:externalid"] = wish.external_id
    if wish.source_identity:
        context["sts:sourceidentity"] = wish.source_identity
    if tags:
        context |= {f"aws:requesttag/{key.lower()}": value for key, value in tags.items()}
        context["aws:tagkeys"] = tuple(tags)
    if wish.transitive:
        context["sts:transitivetagkeys"] = wish.transitive
    return context


def _check_allowed(
    identity: Identity,
    caller: Principal,
    role: Entity,
    action: str,
    context: Mapping[str, Any],
) -> None:
    subject: Subject = identity.subjects.of(caller)
    known = {**subject.context, **context, "aws:resourceaccount": role.account_id}
    known |= {f"aws:resourcetag/{key.lower()}": value for key, value in role.tags.items()}
    request = Request(action, role.arn, subject.caller, known)
    policies = identity.trust_policies(subject, role)
    decision = decide(request, policies)
    identity.journal.record_other(identity.now(), caller, request, policies, decision)
    if not decision.allowed:
        raise not_authorised(caller, action, role.arn)


def _check_duration(role: Entity, seconds: int, *, chained: bool) -> None:
    if chained and seconds > CHAINED_SECONDS:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
            "by role chaining.",
            400,
        )
    if seconds > role.max_session_seconds:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            400,
        )

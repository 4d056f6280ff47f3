"""The IAM identities of every account, read from moto's IAM in this process.

Authorisation must see what the last IAM call changed at the very next call, of whatever service,
and costs a fraction of a millisecond: so this one module reads moto's objects where they lie
instead of asking the IAM API. Nothing here changes them. Policies are compiled once per text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moto.iam.models import iam_backends

from labkit.localaws.iam.evaluation import BOUNDARY, IDENTITY, Attached, PolicySet
from labkit.localaws.iam.policy import parse

# A policy where it is attached: source id and type (as in evaluation.Attached), document.
Document = tuple[str, str, str]


@dataclass(frozen=True)
class Key:
    """A long-term access key and whose it is."""

    access_key_id: str
    secret: str
    account_id: str
    user_name: str
    active: bool


@dataclass(frozen=True)
class Entity:
    """A user or role with its policies. ``boundary`` is None without a permissions boundary."""

    kind: str
    name: str
    id: str
    arn: str
    account_id: str
    tags: Mapping[str, str]
    identity: PolicySet
    boundary: PolicySet | None
    trust: str = ""
    max_session_seconds: int = 3600


class Accounts:
    """Users, roles and keys of all accounts of this local AWS."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, tuple[Document, ...]], PolicySet] = {}

    def ids(self) -> list[str]:
        """The accounts there are."""
        return list(iam_backends.keys())

    def backend(self, account_id: str) -> Any | None:
        """moto's IAM of an account, or None when there is no such account."""
        if account_id not in list(iam_backends.keys()):
            return None
        return iam_backends[account_id]["aws"]

    def key(self, access_key_id: str) -> Key | None:
        """The access key with this id, whichever account's."""
        for account_id in self.ids():
            backend = iam_backends[account_id]["aws"]
            found = backend.access_keys.get(access_key_id)
            if found is not None and found.user_name in backend.users:
                return Key(
                    access_key_id,
                    found.secret_access_key,
                    account_id,
                    found.user_name,
                    found.status == "Active",
                )
        return None

    def user(self, account_id: str, name: str) -> Entity | None:
        """The user *name* of an account."""
        backend = self.backend(account_id)
        user = backend.users.get(name) if backend is not None else None
        if user is None:
            return None
        documents = [*_inline(user, "user"), *_managed(user)]
        for group in list(backend.groups.values()):
            if user in group.users:
                documents += [*_inline(group, "group"), *_managed(group)]
        boundary = getattr(user, "permissions_boundary_arn", None)
        return Entity(
            kind="user",
            name=name,
            id=user.id,
            arn=user.arn,
            account_id=account_id,
            tags={tag["Key"]: tag["Value"] for tag in user.tags or ()},
            identity=self.policy_set(IDENTITY, tuple(documents)),
            boundary=self._boundary(backend, boundary),
        )

    def role(self, account_id: str, name: str) -> Entity | None:
        """The role *name* of an account."""
        backend = self.backend(account_id)
        if backend is None:
            return None
        role = next((each for each in list(backend.roles.values()) if each.name == name), None)
        if role is None:
            return None
        return Entity(
            kind="role",
            name=name,
            id=role.id,
            arn=role.arn,
            account_id=account_id,
            tags={tag["Key"]: tag["Value"] for tag in role.tags or ()},
            identity=self.policy_set(IDENTITY, (*_inline(role, "role"), *_managed(role))),
            boundary=self._boundary(backend, role.permissions_boundary_arn),
            trust=_text(role.assume_role_policy_document),
            max_session_seconds=int(role.max_session_duration or 3600),
        )

    def group_documents(self, account_id: str, name: str) -> tuple[Document, ...] | None:
        """The policies of the group *name*, None when there is no such group."""
        backend = self.backend(account_id)
        group = backend.groups.get(name) if backend is not None else None
        return (*_inline(group, "group"), *_managed(group)) if group is not None else None

    def role_by_arn(self, arn: str) -> Entity | None:
        """The role with exactly this ARN."""
        parts = arn.split(":", 5)
        if len(parts) != 6 or not parts[5].startswith("role/"):
            return None
        role = self.role(parts[4], arn.rsplit("/", 1)[-1])
        return role if role is not None and role.arn == arn else None

    def managed_document(self, account_id: str, arn: str) -> str | None:
        """The default version of a managed policy, AWS's or the account's own."""
        backend = self.backend(account_id)
        policy = backend.managed_policies.get(arn) if backend is not None else None
        return _default_version(policy) if policy is not None else None

    def policy_set(self, kind: str, documents: tuple[Document, ...]) -> PolicySet:
        """The compiled set of *documents*; the same documents give the same set.

        That makes a cache that needs no invalidation: a changed policy is another text.
        """
        key = (kind, documents)
        found = self._sets.get(key)
        if found is None:
            if len(self._sets) > 2000:
                self._sets = {}
            attached = (Attached(parse(text), name, source) for name, source, text in documents)
            found = self._sets[key] = PolicySet(kind, attached)
        return found

    def _boundary(self, backend: Any, arn: str | None) -> PolicySet | None:
        if not arn:
            return None
        policy = backend.managed_policies.get(arn)
        # A boundary whose policy is gone allows nothing.
        text = _default_version(policy) if policy is not None else '{"Statement": []}'
        return self.policy_set(BOUNDARY, ((arn, _source_type(arn), text),))


def _inline(holder: Any, source: str) -> Iterator[Document]:
    for name, text in tuple(holder.policies.items()):
        yield (name, source, _text(text))


def _managed(holder: Any) -> Iterator[Document]:
    for arn, policy in tuple(holder.managed_policies.items()):
        yield (policy.name, _source_type(arn), _default_version(policy))


def _source_type(arn: str) -> str:
    return "aws-managed" if arn.startswith("arn:aws:iam::aws:") else "user-managed"


def _default_version(policy: Any) -> str:
    for version in policy.versions:
        if version.version_id == policy.default_version_id:
            return _text(version.document)
    return '{"Statement": []}'


def _text(document: Any) -> str:
    if isinstance(document, bytes):
        return document.decode("utf-8", "replace")
    return document if isinstance(document, str) else ""

"""The decision: may this caller do this to that, given these policies. No I/O, no clock.

Follows the IAM User Guide, "Policy evaluation logic" with its pages on single-account and
cross-account requests, "AWS JSON policy elements: Principal" and "NotPrincipal": everything is
denied by default, an explicit deny wins, permissions boundaries and session policies narrow what
identity policies grant, and a resource policy counts according to whom exactly it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from labkit.localaws.iam.conditions import Context
from labkit.localaws.iam.policy import Policy, Principals, Statement

# Where a policy comes from, as denials name it.
IDENTITY = "identity-based policy"
RESOURCE = "resource-based policy"
BOUNDARY = "permissions boundary"
SESSION = "session policy"
TRUST = "role trust policy"

ALLOWED = "allowed"
EXPLICIT_DENY = "explicitDeny"
IMPLICIT_DENY = "implicitDeny"

# How a resource policy names the caller, weakest first.
_ACCOUNT, _ENTITY, _DIRECT = 1, 2, 3


@dataclass(frozen=True)
class Caller:
    """Who asks, as policies know them.

    ``kind`` as in :class:`~labkit.localaws.call.Principal`, and ``federated`` for the session of
    GetFederationToken. ``arn`` is the principal's own ARN (a session's for a session),
    ``entity_arn`` the ARN of the role or user behind a session. ``name`` is a service's principal
    name or an identity provider.
    """

    kind: str
    account: str
    arn: str
    entity_arn: str = ""
    name: str = ""


@dataclass
class Request:
    """What is asked: an action (``service:Name``), one resource's ARN, and the condition keys."""

    action: str
    resource: str
    caller: Caller
    context: Context = field(default_factory=dict)

    def variable(self, key: str) -> str | None:
        """The value of a policy variable: the one value of a single-valued key."""
        value = self.context.get(key)
        return value if isinstance(value, str) else None


@dataclass(frozen=True)
class Attached:
    """A policy where it is attached: ``source_id`` names it, ``source_type`` says how it got there.

    The two are what policy simulation shows for a matched statement (``SourcePolicyId`` and
    ``SourcePolicyType``).
    """

    policy: Policy
    source_id: str
    source_type: str


class PolicySet:
    """Policies that count together (a caller's identity policies, ...), with the statements that
    can concern an action found once."""

    __slots__ = ("kind", "attached", "_by_action")

    def __init__(self, kind: str, attached: Iterable[Attached]) -> None:
        self.kind = kind
        self.attached = tuple(attached)
        self._by_action: dict[str, tuple[tuple[Attached, Statement], ...]] = {}

    def about(self, action: str) -> tuple[tuple[Attached, Statement], ...]:
        """The statements about *action* (any case), in the order of the documents."""
        found = self._by_action.get(action)
        if found is None:
            lowered = action.lower()
            found = tuple(
                (attached, statement)
                for attached in self.attached
                for statement in attached.policy.statements
                if statement.covers_action(lowered)
            )
            if len(self._by_action) > 2000:
                self._by_action = {}
            self._by_action[action] = found
        return found


@dataclass(frozen=True)
class Policies:
    """All policies that apply to a request.

    ``boundary``, ``session`` and ``resource`` are None when there is none. ``resource_account``
    owns the resource; when it is not the caller's the request is cross-account.
    ``resource_decides`` says that the resource policy must allow, if only by naming the
    account (key policies and role trust policies).
    """

    identity: PolicySet
    boundary: PolicySet | None = None
    session: PolicySet | None = None
    resource: PolicySet | None = None
    resource_account: str = ""
    resource_decides: bool = False

    def sets(self) -> Iterator[PolicySet]:
        """Every set there is."""
        for each in (self.identity, self.resource, self.boundary, self.session):
            if each is not None:
                yield each


@dataclass(frozen=True)
class Match:
    """A statement that applies to a request, and the policy it stands in."""

    attached: Attached
    statement: Statement
    kind: str


@dataclass(frozen=True)
class Decision:
    """The outcome. ``by`` is the kind of policy that decided: the one with the explicit deny, or
    the first that should have allowed and did not. ``statements`` decided it (none for an
    implicit deny)."""

    outcome: str
    by: str
    statements: tuple[Match, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the request may go ahead."""
        return self.outcome == ALLOWED


def decide(request: Request, policies: Policies) -> Decision:
    """Whether *request* is allowed by *policies*, and what decided it."""
    allows: dict[str, Match | None] = {}
    for policy_set in policies.sets():
        denied, allowed = _effects(request, policy_set)
        if denied is not None:
            return Decision(EXPLICIT_DENY, policy_set.kind, (denied,))
        allows[policy_set.kind] = allowed
    return _grant(request, policies, allows)


def _effects(request: Request, policy_set: PolicySet) -> tuple[Match | None, Match | None]:
    """The first statement of *policy_set* that denies, and the strongest that allows."""
    best: Match | None = None
    strength = 0
    for attached, statement in policy_set.about(request.action):
        if statement.allow and strength == _DIRECT:
            continue
        if not applies(request, policy_set.kind, statement):
            continue
        match = Match(attached, statement, policy_set.kind)
        if not statement.allow:
            return match, None
        reach = named(request.caller, statement) if _names_principals(policy_set.kind) else _DIRECT
        if reach > strength:
            best, strength = match, reach
    return None, best


def applies(request: Request, kind: str, statement: Statement) -> bool:
    """Whether *statement*, of a policy of *kind* and about the action, applies to *request*."""
    if _names_principals(kind) and not named(request.caller, statement):
        return False
    if not statement.covers_resource(request.resource, request.variable):
        return False
    return statement.conditions_hold(request.context)


def _names_principals(kind: str) -> bool:
    return kind in (RESOURCE, TRUST)


def _grant(request: Request, policies: Policies, allows: dict[str, Match | None]) -> Decision:
    """The decision when nothing denies explicitly: who must allow, and does."""
    caller = request.caller
    resource_kind = policies.resource.kind if policies.resource is not None else RESOURCE
    by_resource = allows.get(resource_kind)
    reach = named(caller, by_resource.statement) if by_resource is not None else 0

    if caller.kind in ("service", "anonymous", "web"):
        if by_resource is not None and reach >= _DIRECT:
            return Decision(ALLOWED, resource_kind, (by_resource,))
        return Decision(IMPLICIT_DENY, resource_kind)

    crosses = bool(policies.resource_account) and policies.resource_account != caller.account
    if caller.kind == "root" and not crosses:
        # The root user may do everything in its account; keys and roles decide for themselves.
        if not policies.resource_decides or reach:
            return Decision(ALLOWED, IDENTITY, (by_resource,) if by_resource else ())
        return Decision(IMPLICIT_DENY, resource_kind)

    if not crosses and reach == _DIRECT:
        assert by_resource is not None
        return Decision(ALLOWED, resource_kind, (by_resource,))

    by_identity = allows.get(IDENTITY)
    deciding: list[Match] = []
    if not crosses and reach == _ENTITY:
        assert by_resource is not None
        deciding.append(by_resource)
    elif caller.kind == "root":
        pass
    elif by_identity is None:
        # A role's or a key's own policy is asked first: it alone could have been enough.
        if policies.resource_decides and not reach and resource_kind == TRUST:
            return Decision(IMPLICIT_DENY, TRUST)
        return Decision(IMPLICIT_DENY, IDENTITY)
    else:
        deciding.append(by_identity)
    for limit in (policies.boundary, policies.session):
        if limit is not None:
            allowed = allows[limit.kind]
            if allowed is None:
                return Decision(IMPLICIT_DENY, limit.kind)
            deciding.append(allowed)
    if (crosses or policies.resource_decides) and not reach:
        return Decision(IMPLICIT_DENY, resource_kind)
    if by_resource is not None and by_resource not in deciding:
        deciding.append(by_resource)
    return Decision(ALLOWED, deciding[0].kind if deciding else IDENTITY, tuple(deciding))


def named(caller: Caller, statement: Statement) -> int:
    """How *statement* of a resource policy names *caller*: 0 not at all, 1 through its account,
    2 as the role or user behind the session, 3 itself."""
    if statement.principals is not None:
        return _reach(caller, statement.principals)
    if statement.not_principals is not None:
        return _reach_of_exclusion(caller, statement.not_principals, allow=statement.allow)
    # Services refuse resource policies without the element; one that got in names nobody.
    return 0


def _reach(caller: Caller, principals: Principals) -> int:
    if principals.everyone:
        return _DIRECT
    if caller.kind == "service":
        return _DIRECT if caller.name.lower() in principals.services else 0
    if caller.kind == "web":
        return _DIRECT if caller.name in principals.federated else 0
    if caller.kind == "anonymous":
        return 0
    if caller.arn in principals.arns:
        return _DIRECT
    if caller.entity_arn and caller.entity_arn in principals.arns:
        return _ENTITY
    if caller.account in principals.accounts:
        return _DIRECT if caller.kind == "root" else _ACCOUNT
    return 0


def _reach_of_exclusion(caller: Caller, excluded: Principals, *, allow: bool) -> int:
    """NotPrincipal: a deny spares a caller only when all of session, role and account are listed;
    an allow leaves a caller out as soon as one of them is."""
    if excluded.everyone:
        return 0
    if caller.kind == "service":
        return 0 if caller.name.lower() in excluded.services else _DIRECT
    if caller.kind == "web":
        return 0 if caller.name in excluded.federated else _DIRECT
    if caller.kind == "anonymous":
        return _DIRECT
    listed = [caller.account in excluded.accounts]
    if caller.kind != "root":
        listed.append(caller.arn in excluded.arns)
        if caller.entity_arn and caller.entity_arn != caller.arn:
            listed.append(caller.entity_arn in excluded.arns)
    spared = any(listed) if allow else all(listed)
    return 0 if spared else _DIRECT

"""Who calls, and whether they may: what the front door asks for every request.

:class:`Identity` ties the parts of this package to a running local AWS. It reads identities and
resource policies where moto keeps them, keeps temporary credentials itself, decides, and
remembers the latest decisions so that they can be explained.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import ANONYMOUS, AwsError, Call, Principal
from labkit.localaws.iam import denial, grants, lambda_state, wire
from labkit.localaws.iam.accounts import Accounts, Entity
from labkit.localaws.iam.administrator import create_administrator
from labkit.localaws.iam.asks.ask import Ask
from labkit.localaws.iam.asks.s3 import copy_source
from labkit.localaws.iam.authentication import Authentication
from labkit.localaws.iam.evaluation import (
    ALLOWED,
    IMPLICIT_DENY,
    RESOURCE,
    Decision,
    Policies,
    Request,
    decide,
)
from labkit.localaws.iam.explain import Journal
from labkit.localaws.iam.facts import StateFacts
from labkit.localaws.iam.public_access import Blocks, is_public
from labkit.localaws.iam.requests import (
    RequestContext,
    asks_of,
    request_context,
    service_context,
)
from labkit.localaws.iam.resource_policies import ResourcePolicies
from labkit.localaws.iam.sessions import Session, Sessions
from labkit.localaws.iam.subjects import Subject, Subjects
from labkit.localaws.moto_hooks import align_iam, hold_moto_to_the_call, refuse_objects
from labkit.localaws.protocol import operation_model

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

# Whose resource policy has to allow, whatever identity policies say.
_POLICY_DECIDES = ("kms",)
# Reads of an object, which answer 404 only to those who may list.
_TELL_OF_OBJECTS = (
    "GetObject", "HeadObject", "GetObjectAttributes", "GetObjectAcl", "GetObjectTagging",
    "CopyObject",
)  # fmt: skip
# Calls anybody may make without a signature, besides those the models say so of.
_OPEN = {
    ("sns", "ConfirmSubscription"),
    ("sns", "Unsubscribe"),
    ("sts", "AssumeRoleWithWebIdentity"),
    ("sts", "AssumeRoleWithSAML"),
}


class Identity:
    """Authentication and authorisation of one local AWS."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        align_iam()
        hold_moto_to_the_call()
        self.accounts = Accounts()
        self.sessions = Sessions()
        self.facts = StateFacts(self.accounts)
        self.resource_policies = ResourcePolicies(self.accounts, self.facts)
        self.subjects = Subjects(self.accounts, self.sessions)
        self.journal = Journal()
        # Seals the tokens of Cognito's identity pools.
        self.token_secret = secrets.token_bytes(32)
        self._authentication = Authentication(aws.clock, self.accounts, self.sessions)
        lambda_state.connect(self, aws)
        create_administrator(aws.account_id, aws.access_key_id, aws.secret_access_key)

    # -- the front door ----------------------------------------------------------------------

    def authenticate(self, call: Call) -> Principal:
        """Who signed *call*; raises the service's own error for a signature that is not good."""
        principal = self._authentication.principal(call)
        if principal is not None:
            return principal
        if call.service == "s3" or is_open(call):
            return ANONYMOUS
        raise self._authentication.missing(call)

    def authorise(self, call: Call) -> None:
        """Let *call* pass, or raise the denial its service answers with."""
        if call.principal.kind == "anonymous" and is_open(call):
            return
        if not call.operation:
            raise unknown_operation(call)
        wire.check(call)
        if call.service == "s3" and self._bucket_is_missing(call):
            # S3 says that a bucket does not exist before it asks who wants to know.
            raise AwsError(
                "NoSuchBucket",
                "The specified bucket does not exist",
                404,
                BucketName=call.params["Bucket"],
            )
        asks = self._asks(call)
        subject = self.subjects.of(call.principal)
        context = self._context(call, subject)
        piecewise = call.operation == "DeleteObjects"
        refused: dict[str, str] = {}
        for ask in asks:
            decision = self._decide(call, subject, ask, context)
            if decision.allowed:
                continue
            if not piecewise:
                self._refuse(call, ask, decision)
            refused[ask.resource] = denial.sentence(call, ask, decision)
        if call.service == "s3":
            self._settle_s3(call, subject, context, refused)
        self._move_to_owner(call, asks)

    def _decide(
        self, call: Call, subject: Subject, ask: Ask, context: Mapping[str, Any]
    ) -> Decision:
        request, policies = self._request(call, subject, ask, context)
        decision = self._granted(request, decide(request, policies))
        if decision.allowed and call.service == "s3" and self._is_restricted(subject, ask):
            decision = Decision(IMPLICIT_DENY, RESOURCE)
        self.journal.record(call, request, policies, decision)
        return decision

    def _is_restricted(self, subject: Subject, ask: Ask) -> bool:
        """Whether Block Public Access keeps strangers out of a bucket with a public policy."""
        if subject.caller.kind == "service" or not ask.action.startswith("s3:"):
            return False
        owner = self.resource_policies.owner(ask.resource)
        if not owner or owner == subject.caller.account:
            return False
        bucket = self.facts.bucket(ask.resource.split(":", 5)[5].split("/", 1)[0])
        policy = self.resource_policies.policy_set(ask.policy_of or ask.resource)
        return (
            Blocks.of(bucket).restrict_buckets
            and policy is not None
            and any(is_public(each.policy) for each in policy.attached)
        )

    def _granted(self, request: Request, decision: Decision) -> Decision:
        """*decision*, unless a KMS grant allows what no policy does."""
        if decision.outcome != IMPLICIT_DENY or not request.action.startswith("kms:"):
            return decision
        if grants.allows(self.facts.key_grants(request.resource), request):
            return Decision(ALLOWED, RESOURCE)
        return decision

    def _settle_s3(
        self,
        call: Call,
        subject: Subject,
        context: Mapping[str, Any],
        refused: Mapping[str, str],
    ) -> None:
        """S3's two peculiarities: DeleteObjects answers object by object, and whether an object
        exists is told only to those who may list the bucket."""
        refuse_objects(frozenset(refused))
        if refused:
            bucket = f"arn:aws:s3:::{call.params.get('Bucket')}/"
            call.notes["denied_keys"] = {
                resource.removeprefix(bucket): message for resource, message in refused.items()
            }
        if call.operation not in _TELL_OF_OBJECTS:
            return
        bucket, key = call.params.get("Bucket"), call.params.get("Key")
        version = call.params.get("VersionId")
        if call.operation == "CopyObject":
            bucket, key, version = copy_source(call.params.get("CopySource"))
        if self.facts.object(str(bucket), str(key), version) is None:
            ask = Ask("s3:ListBucket", f"arn:aws:s3:::{bucket}")
            decision = self._decide(call, subject, ask, context)
            if not decision.allowed:
                self._refuse(call, ask, decision)

    def _asks(self, call: Call) -> list[Ask]:
        try:
            return asks_of(call, self.facts)
        except AwsError:
            raise
        except Exception as problem:
            # Parameters of a shape no client sends: nothing can be decided, so nothing happens.
            log.warning("cannot tell what %s %s asks", call.service, call.operation, exc_info=True)
            raise AwsError("ValidationException", "The request is malformed.", 400) from problem

    def _context(self, call: Call, subject: Subject) -> dict[str, Any]:
        context = request_context(call, self._aws.clock.now())
        context.update(subject.context)
        if call.principal.kind == "service":
            context.update(service_context(call.principal))
        return context

    def _request(
        self, call: Call, subject: Subject, ask: Ask, context: Mapping[str, Any]
    ) -> tuple[Request, Policies]:
        owner = self.resource_policies.owner(ask.resource)
        policy_of = ask.policy_of or ask.resource
        known = dict(context)
        known.update(ask.context)
        if owner:
            known["aws:resourceaccount"] = owner
            if ask.action.startswith("s3:"):
                known["s3:resourceaccount"] = owner
        if ask.action.startswith("kms:"):
            known["kms:calleraccount"] = subject.caller.account

        def resource_tags() -> Mapping[str, Any]:
            return {
                f"aws:resourcetag/{name.lower()}": value
                for name, value in self.facts.resource_tags(policy_of).items()
            }

        def service_tags() -> Mapping[str, Any]:
            prefix = ask.action.split(":", 1)[0]
            return {
                f"{prefix}:resourcetag/{name.lower()}": value
                for name, value in self.facts.resource_tags(policy_of).items()
            }

        def organizations() -> Mapping[str, Any]:
            named = {"aws:principalorgid": subject.caller.account, "aws:resourceorgid": owner}
            found = {key: self.facts.organization_of(account) for key, account in named.items()}
            return {key: value for key, value in found.items() if value}

        later = {
            "aws:principalorgid": organizations,
            "aws:resourceorgid": organizations,
            "aws:resourcetag/": resource_tags,
            f"{ask.action.split(':', 1)[0]}:resourcetag/": service_tags,
            **ask.later,
        }
        request = Request(ask.action, ask.resource, subject.caller, RequestContext(known, later))
        return request, self._policies(subject, ask.action, policy_of, owner)

    def _policies(self, subject: Subject, action: str, policy_of: str, owner: str) -> Policies:
        return Policies(
            identity=subject.identity,
            boundary=subject.boundary,
            session=subject.session,
            resource=self.resource_policies.policy_set(policy_of),
            resource_account=owner,
            resource_decides=action.startswith("kms:") and ":key/" in policy_of,
        )

    def _refuse(self, call: Call, ask: Ask, decision: Decision) -> None:
        call.notes["denied"] = {"action": ask.action, "resource": ask.resource}
        raise denial.denied(
            call, ask, decision, encode=lambda: self.journal.encode(call, ask, decision)
        )

    def _bucket_is_missing(self, call: Call) -> bool:
        bucket = call.params.get("Bucket")
        return (
            isinstance(bucket, str)
            and call.operation != "CreateBucket"
            and not bucket.startswith("arn:")
            and not self.facts.bucket_exists(bucket)
        )

    def _move_to_owner(self, call: Call, asks: list[Ask]) -> None:
        """Have a call that was let into another account act there."""
        if call.service == "s3" or not asks:
            return
        owner = self.resource_policies.owner(asks[0].resource)
        if owner and owner != call.account_id and owner in self.accounts.ids():
            call.account_id = owner

    # -- for the parts of the local AWS ------------------------------------------------------

    def service_allowed(
        self,
        service: str,
        action: str,
        resource: str,
        *,
        source_arn: str | None = None,
        source_account: str | None = None,
    ) -> bool:
        """Whether the resource policy of *resource* lets an AWS service (``sns.amazonaws.com``)
        do *action* on behalf of the source."""
        principal = Principal.service(service, source_arn=source_arn, source_account=source_account)
        return self.decision(principal, action, resource).allowed

    def role_allows(self, role_arn: str, action: str, resource: str) -> bool:
        """Whether the policies of a role (and of the resource) allow *action*."""
        role = self.accounts.role_by_arn(role_arn)
        if role is None:
            return False
        account, name = role.account_id, role.name
        arn = f"arn:aws:sts::{account}:assumed-role/{name}/session"
        principal = Principal("role", account, arn, name=name, role_name=name)
        return self.decision(principal, action, resource).allowed

    def decision(
        self,
        principal: Principal,
        action: str,
        resource: str,
        context: Mapping[str, Any] | None = None,
    ) -> Decision:
        """The decision about one action on one resource, outside any call."""
        subject = self.subjects.of(principal)
        now = self._aws.clock.now()
        known: dict[str, Any] = {
            "aws:requestedregion": self._aws.region,
            "aws:securetransport": "true",
            "aws:epochtime": str(int(now)),
            **subject.context,
        }
        if principal.kind == "service":
            known.update(service_context(principal))
        known.update(context or {})
        owner = self.resource_policies.owner(resource)
        request = Request(action, resource, subject.caller, known)
        policies = self._policies(subject, action, resource, owner)
        decision = self._granted(request, decide(request, policies))
        self.journal.record_other(now, principal, request, policies, decision)
        return decision

    def assume_role_for_service(
        self, role_arn: str, service: str, session_name: str, duration_seconds: int
    ) -> dict[str, Any]:
        """Credentials of a role for an AWS service, in the shape of STS's Credentials.

        Raises AccessDenied when there is no such role or its trust policy does not let the
        service assume it. The role's own maximum does not bind AWS services.
        """
        from labkit.localaws.iam.roles import service_session

        session = service_session(self, role_arn, service, session_name, duration_seconds)
        return session.credentials()

    def trusts(self, role: Entity, principal: Principal, context: Mapping[str, Any]) -> Decision:
        """Whether *principal* may assume *role*: its trust policy and the principal's policies."""
        subject = self.subjects.of(principal)
        known = {**subject.context, **context, "aws:resourceaccount": role.account_id}
        known |= {f"aws:resourcetag/{k.lower()}": v for k, v in role.tags.items()}
        known |= {f"iam:resourcetag/{k.lower()}": v for k, v in role.tags.items()}
        request = Request("sts:AssumeRole", role.arn, subject.caller, known)
        return decide(request, self.trust_policies(subject, role))

    def trust_policies(self, subject: Subject, role: Entity) -> Policies:
        """The policies that count when *subject* assumes *role*."""
        return Policies(
            identity=subject.identity,
            boundary=subject.boundary,
            session=subject.session,
            resource=self.resource_policies.trust_set(role.arn, role.trust),
            resource_account=role.account_id,
            resource_decides=True,
        )

    def now(self) -> float:
        """Lab time, epoch seconds."""
        return self._aws.clock.now()

    def session(self, principal: Principal) -> Session | None:
        """The session behind a principal's credentials, or None."""
        key = principal.access_key_id
        return self.sessions.find(key) if key else None


def is_open(call: Call) -> bool:
    """Whether the operation called needs no signature."""
    if (call.service, call.operation) in _OPEN:
        return True
    model = operation_model(call.service, call.operation) if call.operation else None
    return model is not None and getattr(model, "auth_type", None) == "none"


def unknown_operation(call: Call) -> AwsError:
    """What a service answers to an operation it does not know."""
    if call.service == "s3":
        return AwsError(
            "MethodNotAllowed", "The specified method is not allowed against this resource.", 405
        )
    name = call.request.values.get("Action")
    if name:
        return AwsError("InvalidAction", f"Could not find operation {name}", 400)
    return AwsError("UnknownOperationException", "", 404 if not call.service else 400)

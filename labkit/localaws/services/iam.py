"""AWS IAM where it does more than moto: documents, quotas, boundaries of users, the simulator.

Follows the IAM API Reference and the IAM User Guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from labkit.localaws.call import AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.iam import simulator, validation
from labkit.localaws.iam.accounts import Entity
from labkit.localaws.iam.evaluation import Caller, Policies
from labkit.localaws.protocol import write_result

_ATTACHED_LIMIT = 10
_PAGE = 1000


class IamLayer(ServiceLayer):
    """Identity and Access Management: the state is moto's, the checks are AWS's."""

    service = "iam"

    # -- documents ---------------------------------------------------------------------------

    def CreatePolicy(self, call: Call, forward: Forward) -> Reply:
        """A customer managed policy, once its document is in order."""
        self._check_managed(call.params.get("PolicyDocument", ""))
        return forward()

    def CreatePolicyVersion(self, call: Call, forward: Forward) -> Reply:
        """A new version of a customer managed policy."""
        self._check_managed(call.params.get("PolicyDocument", ""))
        return forward()

    def PutUserPolicy(self, call: Call, forward: Forward) -> Reply:
        """A policy embedded in a user."""
        return self._put_inline(call, forward, "user")

    def PutGroupPolicy(self, call: Call, forward: Forward) -> Reply:
        """A policy embedded in a group."""
        return self._put_inline(call, forward, "group")

    def PutRolePolicy(self, call: Call, forward: Forward) -> Reply:
        """A policy embedded in a role."""
        return self._put_inline(call, forward, "role")

    def CreateRole(self, call: Call, forward: Forward) -> Reply:
        """A role, once its trust policy is in order."""
        self._check_trust(call.params.get("AssumeRolePolicyDocument", ""))
        self._check_boundary(call)
        return forward()

    def UpdateAssumeRolePolicy(self, call: Call, forward: Forward) -> Reply:
        """Another trust policy for a role."""
        self._check_trust(call.params.get("PolicyDocument", ""))
        return forward()

    def PutRolePermissionsBoundary(self, call: Call, forward: Forward) -> Reply:
        """A permissions boundary for a role."""
        self._check_boundary(call)
        return forward()

    def _check_managed(self, text: str) -> None:
        _refuse(validation.problem(text, validation.MANAGED))
        if validation.size(text) > validation.MANAGED_LIMIT:
            raise _limit(f"Cannot exceed quota for PolicySize: {validation.MANAGED_LIMIT}")

    def _check_trust(self, text: str) -> None:
        _refuse(validation.problem(text, validation.TRUST))
        if validation.size(text) > validation.TRUST_LIMIT:
            raise _limit(f"Cannot exceed quota for ACLSizePerRole: {validation.TRUST_LIMIT}")
        accounts = self.aws.identity.accounts
        for arn in validation.named_identities(text):
            account, kind = arn.split(":")[4], arn.split(":")[5].split("/")[0]
            if account not in accounts.ids():
                # Who exists in an account that is not here can't be told.
                continue
            name = arn.rsplit("/", 1)[-1]
            found = accounts.role(account, name) if kind == "role" else accounts.user(account, name)
            if found is None or found.arn != arn:
                _refuse(f'Invalid principal in policy: "AWS":"{arn}"')

    def _put_inline(self, call: Call, forward: Forward, kind: str) -> Reply:
        text = call.params.get("PolicyDocument", "")
        _refuse(validation.problem(text, validation.INLINE))
        holder = self._holder(call.account_id, kind, call.params.get(f"{kind.title()}Name", ""))
        if holder is not None:
            others = [
                document
                for name, document in dict(holder.policies).items()
                if name != call.params.get("PolicyName")
            ]
            limit = validation.INLINE_LIMITS[kind]
            if sum(validation.size(document) for document in (*others, text)) > limit:
                raise _limit(
                    f"Maximum policy size of {limit} bytes exceeded for {kind} {holder.name}"
                )
        return forward()

    def _holder(self, account_id: str, kind: str, name: str) -> Any | None:
        # moto's own objects: the sum of a holder's policies is not to be had in one call.
        backend = self.aws.identity.accounts.backend(account_id)
        holders = {"user": backend.users, "group": backend.groups, "role": backend.roles}[kind]
        return next((each for each in list(holders.values()) if each.name == name), None)

    # -- quotas on attachments ---------------------------------------------------------------

    def AttachUserPolicy(self, call: Call, forward: Forward) -> Reply:
        """A managed policy for a user; ten at most."""
        return self._attach(call, forward, "user")

    def AttachGroupPolicy(self, call: Call, forward: Forward) -> Reply:
        """A managed policy for a group; ten at most."""
        return self._attach(call, forward, "group")

    def AttachRolePolicy(self, call: Call, forward: Forward) -> Reply:
        """A managed policy for a role; ten at most."""
        return self._attach(call, forward, "role")

    def _attach(self, call: Call, forward: Forward, kind: str) -> Reply:
        holder = self._holder(call.account_id, kind, call.params.get(f"{kind.title()}Name", ""))
        arn = call.params.get("PolicyArn")
        if holder is not None and arn not in holder.managed_policies:
            if len(holder.managed_policies) >= _ATTACHED_LIMIT:
                quota = f"PoliciesPer{kind.title()}"
                raise _limit(f"Cannot exceed quota for {quota}: {_ATTACHED_LIMIT}")
        return forward()

    # -- permissions boundaries --------------------------------------------------------------

    def CreateUser(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """A user, with a permissions boundary if one is named."""
        self._check_boundary(call)
        reply = forward()
        boundary = call.params.get("PermissionsBoundary")
        if not reply.ok or not boundary:
            return reply
        self._set_boundary(call, boundary)
        return self._with_boundary(call, reply)

    def GetUser(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """A user, the caller when none is named."""
        principal = call.principal
        if call.params.get("UserName"):
            return self._with_boundary(call, forward())
        if principal.kind == "root":
            account = call.account_id
            return {"User": {"UserId": account, "Arn": principal.arn, "Path": "/"}}
        user = None
        if principal.kind == "user" and ":user/" in principal.arn:
            # moto knows the caller by a long-term key alone, not by a session's.
            user = self._holder(call.account_id, "user", principal.name)
        if user is None:
            raise AwsError(
                "ValidationError",
                "Must specify userName when calling with non-User credentials",
                400,
            )
        shown = {
            "Path": user.path,
            "UserName": user.name,
            "UserId": user.id,
            "Arn": user.arn,
            "CreateDate": user.create_date,
        }
        if user.tags:
            shown["Tags"] = user.tags
        return {"User": {**shown, **_boundary(user)}}

    def PutUserPermissionsBoundary(self, call: Call, forward: Forward) -> None:
        """A permissions boundary for a user."""
        self._check_boundary(call)
        self._set_boundary(call, call.params["PermissionsBoundary"])

    def DeleteUserPermissionsBoundary(self, call: Call, forward: Forward) -> None:
        """Take a user's permissions boundary away."""
        user = self._user(call)
        if getattr(user, "permissions_boundary_arn", None) is None:
            raise AwsError("NoSuchEntity", f"{user.name} does not have a PermissionsBoundary", 404)
        user.permissions_boundary_arn = None

    def _user(self, call: Call) -> Any:
        user = self._holder(call.account_id, "user", call.params.get("UserName", ""))
        if user is None:
            name = call.params.get("UserName")
            raise AwsError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
        return user

    def _set_boundary(self, call: Call, arn: str) -> None:
        # moto's users know no boundary: the ARN is kept on its object, which goes with the user.
        self._user(call).permissions_boundary_arn = arn

    def _with_boundary(self, call: Call, reply: Reply) -> Reply:
        if not reply.ok:
            return reply
        answer = reply.parsed()
        user = self._holder(call.account_id, "user", answer["User"]["UserName"])
        if not _boundary(user):
            return reply
        answer["User"].update(_boundary(user))
        answer.pop("ResponseMetadata", None)
        return write_result(call, answer)

    def _check_boundary(self, call: Call) -> None:
        arn = call.params.get("PermissionsBoundary")
        if arn and self.aws.identity.accounts.managed_document(call.account_id, arn) is None:
            raise AwsError(
                "NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404
            )

    # -- the policy simulator ----------------------------------------------------------------

    def SimulateCustomPolicy(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What policies given as text would allow."""
        params = call.params
        documents = params.get("PolicyInputList") or []
        self._check_documents(documents, "PolicyInputList")
        identity = simulator.input_documents(documents, "PolicyInputList")
        owner = call.account_id
        caller = Caller("user", owner, f"arn:aws:iam::{owner}:user/simulated")
        if params.get("CallerArn"):
            caller = simulator.caller_of(params["CallerArn"])
        elif params.get("ResourcePolicy"):
            raise AwsError(
                "InvalidInput",
                "CallerArn parameter must be specified when ResourcePolicy is provided",
                400,
            )
        return self._simulate(call, identity, None, caller, {})

    def SimulatePrincipalPolicy(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What the policies of a user, group or role would allow."""
        params = call.params
        arn = params.get("PolicySourceArn", "")
        documents, entity = self._source(arn)
        extra = params.get("PolicyInputList") or []
        self._check_documents(extra, "PolicyInputList")
        documents += simulator.input_documents(extra, "PolicyInputList")
        caller = simulator.caller_of(arn)
        if params.get("CallerArn"):
            caller = simulator.caller_of(params["CallerArn"])
        elif params.get("ResourcePolicy") and entity is None:
            raise AwsError(
                "InvalidInput",
                "CallerArn parameter must be specified when ResourcePolicy is provided and "
                "PolicySourceArn is not a user",
                400,
            )
        known = simulator.principal_context(entity)
        return self._simulate(call, documents, entity, caller, known)

    def GetContextKeysForCustomPolicy(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The condition keys that policies given as text read."""
        documents = call.params.get("PolicyInputList") or []
        self._check_documents(documents, "PolicyInputList")
        return {"ContextKeyNames": simulator.context_keys(documents)}

    def GetContextKeysForPrincipalPolicy(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The condition keys that the policies of a user, group or role read."""
        documents, _ = self._source(call.params.get("PolicySourceArn", ""))
        extra = call.params.get("PolicyInputList") or []
        texts = [text for _, _, text in documents] + list(extra)
        return {"ContextKeyNames": simulator.context_keys(texts)}

    def _simulate(
        self,
        call: Call,
        documents: Iterable[tuple[str, str, str]],
        entity: Entity | None,
        caller: Caller,
        known: dict[str, Any],
    ) -> dict[str, Any]:
        params = call.params
        boundary = params.get("PermissionsBoundaryPolicyInputList") or []
        self._check_documents(boundary, "PermissionsBoundaryPolicyInputList")
        resource_policy = params.get("ResourcePolicy")
        if resource_policy:
            self._check_json(resource_policy, "ResourcePolicy")
        owner = str(params.get("ResourceOwner") or caller.account)
        owner = owner.split(":")[4] if owner.startswith("arn:") else owner
        policies = simulator.custom_policies(
            self.aws.identity.accounts, tuple(documents), boundary, resource_policy, owner
        )
        if entity is not None and entity.boundary is not None and not boundary:
            policies = Policies(policies.identity, entity.boundary, None, policies.resource, owner)
        context = {**known, **simulator.context_of(params.get("ContextEntries") or ())}
        results = simulator.simulate(
            simulator.Scenario(policies, caller, context),
            params.get("ActionNames") or (),
            params.get("ResourceArns") or (),
        )
        return _page("EvaluationResults", results, params)

    def _source(self, arn: str) -> tuple[tuple[tuple[str, str, str], ...], Entity | None]:
        """The documents of a user's, group's or role's policies; the user or role itself."""
        accounts = self.aws.identity.accounts
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[2] not in ("iam", "sts"):
            raise AwsError(
                "InvalidInput",
                f"Invalid Entity Arn: {arn} does not clearly define entity type and name.",
                400,
            )
        account, (kind, _, name) = parts[4], parts[5].partition("/")
        if kind == "assumed-role":
            kind, name = "role", name.split("/")[0]
        name = name.rsplit("/", 1)[-1]
        if kind == "group":
            documents = accounts.group_documents(account, name)
            if documents is not None:
                return documents, None
        elif kind in ("user", "role"):
            found = accounts.user(account, name) if kind == "user" else accounts.role(account, name)
            if found is not None:
                attached = found.identity.attached
                return tuple((a.source_id, a.source_type, a.policy.text) for a in attached), found
        raise AwsError("NoSuchEntity", f"Entity {arn} does not exist.", 404)

    def _check_documents(self, documents: Iterable[str], name: str) -> None:
        for number, text in enumerate(documents, 1):
            self._check_json(text, f"{name}.{number}")

    @staticmethod
    def _check_json(text: str, name: str) -> None:
        try:
            document = json.loads(unquote(text) if text.startswith("%7B") else text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or "Statement" not in document:
            raise AwsError("InvalidInput", f"Invalid policy document {name}", 400)


def _refuse(message: str | None) -> None:
    if message:
        raise AwsError("MalformedPolicyDocument", message, 400)


def _limit(message: str) -> AwsError:
    return AwsError("LimitExceeded", message, 409)


def _boundary(user: Any) -> dict[str, Any]:
    """The PermissionsBoundary member of a user that has one."""
    arn = getattr(user, "permissions_boundary_arn", None)
    if not arn:
        return {}
    shown = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn}
    return {"PermissionsBoundary": shown}


def _page(member: str, results: list[Any], params: Any) -> dict[str, Any]:
    """One page of a simulation's results."""
    start = int(params.get("Marker") or 0) if str(params.get("Marker") or "0").isdigit() else 0
    size = int(params.get("MaxItems") or _PAGE)
    page = results[start : start + size]
    answer = {member: page, "IsTruncated": start + size < len(results)}
    if answer["IsTruncated"]:
        answer["Marker"] = str(start + size)
    return answer

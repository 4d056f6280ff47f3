"""AWS STS: who the caller is, and temporary credentials with everything that narrows them.

Nothing of it is moto's, whose tokens all look alike and whose roles anybody may assume. Follows
the AWS STS API Reference and the IAM User Guide, "Temporary security credentials in IAM".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from labkit.localaws import constraints
from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.iam import roles, validation, web_identity
from labkit.localaws.iam.roles import Wish
from labkit.localaws.protocol import operation_model

DEFAULT_ROLE_SECONDS = 3600
DEFAULT_USER_SECONDS = 43_200
SESSION_POLICY_LIMIT = 2048
MOST_TAGS = 50

Policies = tuple[tuple[str, str, str], ...]


class StsLayer(ServiceLayer):
    """The Security Token Service."""

    service = "sts"

    def GetCallerIdentity(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Who signed this request; needs no permission."""
        principal = call.principal
        subject = self.aws.identity.subjects.of(principal)
        return {"UserId": subject.user_id, "Account": principal.account_id, "Arn": principal.arn}

    def AssumeRole(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Credentials of a role, if the caller's policies and the role's trust policy allow."""
        self._check(call)
        params = call.params
        if call.principal.kind == "root":
            raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", 403)
        policies, narrowed = self._session_policies(call)
        tags = _tags(params)
        wish = Wish(
            name=params["RoleSessionName"],
            duration_seconds=int(params.get("DurationSeconds", DEFAULT_ROLE_SECONDS)),
            external_id=params.get("ExternalId"),
            policies=policies,
            narrowed=narrowed,
            tags=tags,
            transitive=tuple(params.get("TransitiveTagKeys") or ()),
            source_identity=params.get("SourceIdentity"),
        )
        unknown = [key for key in wish.transitive if key not in tags]
        if unknown:
            raise AwsError(
                "InvalidParameterValue",
                "The specified transitive tag key must be included in the requested tags.",
                400,
            )
        session = roles.assume(self.aws.identity, call.principal, params["RoleArn"], wish)
        answer = {
            "Credentials": session.credentials(),
            "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.principal.arn},
        }
        if policies or tags:
            answer["PackedPolicySize"] = roles.packed_size(policies, tags)
        if session.source_identity:
            answer["SourceIdentity"] = session.source_identity
        return answer

    def AssumeRoleWithWebIdentity(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Credentials of a role for who an identity provider's token says the caller is."""
        self._check(call)
        params = call.params
        policies, narrowed = self._session_policies(call)
        session, token = web_identity.assume(
            self.aws.identity,
            params["RoleArn"],
            params["WebIdentityToken"],
            Wish(
                name=params["RoleSessionName"],
                duration_seconds=int(params.get("DurationSeconds", DEFAULT_ROLE_SECONDS)),
                policies=policies,
                narrowed=narrowed,
            ),
        )
        answer = {
            "Credentials": session.credentials(),
            "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.principal.arn},
            "SubjectFromWebIdentityToken": token.subject,
            "Audience": token.audience,
            "Provider": token.provider,
        }
        if policies:
            answer["PackedPolicySize"] = roles.packed_size(policies, {})
        return answer

    def GetSessionToken(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Temporary credentials of the user who asks, with the user's own permissions."""
        self._check(call)
        self._only_long_term(call, "GetSessionToken")
        seconds = int(call.params.get("DurationSeconds", DEFAULT_USER_SECONDS))
        session = roles.user_session(self.aws.identity, call.principal, seconds)
        return {"Credentials": session.credentials()}

    def GetFederationToken(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Credentials for somebody a user vouches for, with what both policies allow."""
        self._check(call)
        self._only_long_term(call, "GetFederationToken")
        params = call.params
        policies, _ = self._session_policies(call)
        tags = _tags(params)
        session = roles.user_session(
            self.aws.identity,
            call.principal,
            int(params.get("DurationSeconds", DEFAULT_USER_SECONDS)),
            federated_name=params["Name"],
            policies=policies,
            tags=tags,
        )
        return {
            "Credentials": session.credentials(),
            "FederatedUser": {"FederatedUserId": session.user_id, "Arn": session.principal.arn},
            "PackedPolicySize": roles.packed_size(policies, tags),
        }

    def DecodeAuthorizationMessage(self, call: Call, forward: Forward) -> dict[str, Any]:
        """What an encoded authorization failure message says."""
        try:
            decoded = self.aws.identity.journal.decode(call.params["EncodedMessage"])
        except Exception as problem:
            raise AwsError(
                "InvalidAuthorizationMessageException",
                "Message is not valid",
                400,
            ) from problem
        return {"DecodedMessage": decoded}

    def GetAccessKeyInfo(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The account an access key id belongs to, known by looking it up."""
        self._check(call)
        key_id = call.params["AccessKeyId"]
        key = self.aws.identity.accounts.key(key_id)
        session = self.aws.identity.sessions.find(key_id)
        if key is not None:
            return {"Account": key.account_id}
        if session is not None:
            return {"Account": session.principal.account_id}
        raise AwsError("ValidationError", "Invalid access key id", 400)

    # -- checks ------------------------------------------------------------------------------

    def _check(self, call: Call) -> None:
        """Refuse parameters that violate the service model, in STS's words."""
        model = operation_model(call.service, call.operation)
        assert model is not None
        found = list(constraints.violations(model.input_shape, call.params))
        if found:
            raise AwsError("ValidationError", constraints.message(found), 400)

    def _only_long_term(self, call: Call, operation: str) -> None:
        if self.aws.identity.session(call.principal) is not None or call.principal.kind == "role":
            raise AwsError("AccessDenied", f"Cannot call {operation} with session credentials", 403)

    def _session_policies(self, call: Call) -> tuple[Policies, bool]:
        """The session policies a call passes (name, kind, text), and whether it passed any."""
        params = call.params
        found = []
        text = params.get("Policy")
        if text is not None:
            if validation.size(text) > SESSION_POLICY_LIMIT:
                raise AwsError(
                    "PackedPolicyTooLarge",
                    "Packed size of session policies and session tags consumes "
                    f"{len(text) * 100 // SESSION_POLICY_LIMIT}% of allotted space",
                    400,
                )
            message = validation.problem(text, validation.SESSION)
            if message:
                raise AwsError("MalformedPolicyDocument", message, 400)
            found.append(("SessionPolicy", "none", text))
        arns = [entry.get("arn") for entry in params.get("PolicyArns") or ()]
        for arn in arns:
            owner = _role_account(params) or call.account_id
            document = self.aws.identity.accounts.managed_document(owner, str(arn))
            if document is None:
                raise AwsError(
                    "ValidationError", f"The specified policy arn {arn} does not exist", 400
                )
            kind = "aws-managed" if str(arn).startswith("arn:aws:iam::aws:") else "user-managed"
            found.append((str(arn), kind, document))
        return tuple(found), text is not None or bool(arns)


def _role_account(params: Mapping[str, Any]) -> str:
    parts = str(params.get("RoleArn", "")).split(":")
    return parts[4] if len(parts) > 5 and re.fullmatch(r"\d{12}", parts[4]) else ""


def _tags(params: Mapping[str, Any]) -> dict[str, str]:
    tags = params.get("Tags") or []
    if len(tags) > MOST_TAGS:
        raise AwsError(
            "ValidationError",
            "1 validation error detected: Value at 'tags' failed to satisfy constraint: "
            "Member must have length less than or equal to 50",
            400,
        )
    found: dict[str, str] = {}
    lowered = set()
    for tag in tags:
        if tag["Key"].lower() in lowered:
            raise AwsError(
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                400,
            )
        if tag["Key"].lower().startswith("aws:"):
            raise AwsError("ValidationError", "Tag keys beginning with aws: are reserved", 400)
        lowered.add(tag["Key"].lower())
        found[tag["Key"]] = tag["Value"]
    return found

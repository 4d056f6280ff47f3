"""AWS Organizations: a new member account comes with a role for the management account.

Follows the AWS Organizations User Guide, "Accessing member accounts in an organization with
OrganizationAccountAccessRole".
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.models import iam_backends

from labkit.localaws.call import Call, Forward, Reply, ServiceLayer

DEFAULT_ROLE = "OrganizationAccountAccessRole"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


class OrganizationsLayer(ServiceLayer):
    """Organizations, as far as access to member accounts goes."""

    service = "organizations"

    def CreateAccount(self, call: Call, forward: Forward) -> Reply:
        """A member account, with an administrator's role that the management account may assume."""
        reply = forward()
        if reply.ok:
            status: dict[str, Any] = reply.parsed().get("CreateAccountStatus") or {}
            if status.get("AccountId"):
                name = call.params.get("RoleName") or DEFAULT_ROLE
                make_access_role(status["AccountId"], call.account_id, name)
        return reply


def make_access_role(account_id: str, trusted_account_id: str, name: str) -> None:
    """The role in a new account; there is nobody in it yet who could make it through the API.

    moto makes one that may do nothing.
    """
    backend = iam_backends[account_id]["aws"]
    roles = {role.name: role for role in list(backend.roles.values())}
    if name not in roles:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{trusted_account_id}:root"},
            "Action": "sts:AssumeRole",
        }
        roles[name] = backend.create_role(
            role_name=name,
            assume_role_policy_document=json.dumps(
                {"Version": "2012-10-17", "Statement": [statement]}
            ),
            path="/",
            permissions_boundary=None,
            description="",
            tags=[],
            max_session_duration="3600",
        )
    if ADMINISTRATOR not in roles[name].managed_policies:
        backend.attach_role_policy(ADMINISTRATOR, name)

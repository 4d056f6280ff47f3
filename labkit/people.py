"""People and accounts to try permissions with: users and their keys, and a second account.

None of them may do anything until a policy says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore import xform_name

from labkit.errors import LabError
from labkit.session import Lab

_PARTS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


def keys(given: Mapping[str, Any]) -> dict[str, str]:
    """What ``lab.client(service, **...)`` takes, of an access key or credentials as AWS gives them."""
    return {f"aws_{xform_name(part)}": given[part] for part in _PARTS if part in given}


def user(iam: Any, name: str) -> dict[str, str]:
    """The keys of the user *name*, made with the boto3 client *iam*; one that is there gets new ones."""
    try:
        iam.create_user(UserName=name)
    except iam.exceptions.EntityAlreadyExistsException:
        _forget_keys(iam, name)
    return keys(iam.create_access_key(UserName=name)["AccessKey"])


def remove(iam: Any, name: str) -> None:
    """Delete the user *name* with its keys and inline policies, if it is there."""
    try:
        _forget_keys(iam, name)
        for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=policy)
        iam.delete_user(UserName=name)
    except iam.exceptions.NoSuchEntityException:
        pass


def second_account(lab: Lab, name: str = "Partner") -> str:
    """The id of another account of this lab's organization, made when there is none of that name.

    Never in a real account: there an account stays for good. Raises LabError with what to do.
    """
    if lab.costs_money:
        raise LabError(
            "The lab creates no real accounts. Use one that you have, and a role in it that trusts "
            "this account."
        )
    organizations = lab.client("organizations")
    try:
        organizations.create_organization(FeatureSet="ALL")
    except organizations.exceptions.AlreadyInOrganizationException:
        pass
    for page in organizations.get_paginator("list_accounts").paginate():
        for account in page["Accounts"]:
            if account["Name"] == name:
                return account["Id"]
    email = f"{name.lower()}@example.com"
    made = organizations.create_account(AccountName=name, Email=email)["CreateAccountStatus"]
    return made["AccountId"]


def _forget_keys(iam: Any, name: str) -> None:
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])

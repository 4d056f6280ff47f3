"""The IAM API where it does more than moto, and the places where moto is bent for it."""

from __future__ import annotations

import json
import statistics
import time

from iam_support import allow, document, refusal
from iam_support import door as door
from moto.iam import models

from labkit.localaws.iam import catalog, managed

BAD = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3"}]})
NO_VENDOR = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."


def test_malformed_documents_are_refused_wherever_they_are_put(door):
    iam = door.client("iam")
    name, _ = door.user()
    role = door.role({"Service": "lambda.amazonaws.com"}).rsplit("/")[-1]
    group = door.name("group")
    iam.create_group(GroupName=group)
    policy = iam.create_policy(
        PolicyName=door.name("policy"), PolicyDocument=document(allow("s3:*"))
    )["Policy"]["Arn"]
    for operation, params in (
        (iam.create_policy, {"PolicyName": "p", "PolicyDocument": BAD}),
        (iam.create_policy_version, {"PolicyArn": policy, "PolicyDocument": BAD}),
        (iam.put_user_policy, {"UserName": name, "PolicyName": "p", "PolicyDocument": BAD}),
        (iam.put_role_policy, {"RoleName": role, "PolicyName": "p", "PolicyDocument": BAD}),
        (iam.put_group_policy, {"GroupName": group, "PolicyName": "p", "PolicyDocument": BAD}),
    ):
        assert refusal(operation, **params) == ("MalformedPolicyDocument", 400, NO_VENDOR)
    for operation, params in (
        (iam.create_role, {"RoleName": "r", "AssumeRolePolicyDocument": BAD}),
        (iam.update_assume_role_policy, {"RoleName": role, "PolicyDocument": BAD}),
    ):
        code, status, message = refusal(operation, **params)
        assert (code, status) == ("MalformedPolicyDocument", 400)
        assert message == "Missing required field Principal"


def test_trust_policies_name_identities_that_exist(door):
    gone = f"arn:aws:iam::{door.account}:user/nobody"
    trust = document({"Effect": "Allow", "Principal": {"AWS": gone}, "Action": "sts:AssumeRole"})
    assert refusal(door.client("iam").create_role, RoleName="r", AssumeRolePolicyDocument=trust) == (
        "MalformedPolicyDocument", 400, f'Invalid principal in policy: "AWS":"{gone}"')  # fmt: skip
    old = json.loads(trust)
    old["Statement"][0]["Principal"] = {"Service": "lambda.amazonaws.com"}
    old["Version"] = "2008-10-17"
    name = door.name("role")
    door.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(old))
    door.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(old))


def test_sizes(door):
    """IAM User Guide, "IAM and AWS STS quotas": white space does not count."""
    iam = door.client("iam")

    def sized(size):
        empty = document(allow("s3:x", "arn:aws:s3:::"))
        filled = document(
            allow("s3:x", "arn:aws:s3:::" + "y" * (size - len("".join(empty.split()))))
        )
        return json.dumps(json.loads(filled), indent=4)

    iam.create_policy(PolicyName=door.name("policy"), PolicyDocument=sized(6144))
    assert refusal(iam.create_policy, PolicyName="p", PolicyDocument=sized(6145)) == (
        "LimitExceeded", 409, "Cannot exceed quota for PolicySize: 6144")  # fmt: skip
    name, _ = door.user()
    iam.put_user_policy(UserName=name, PolicyName="a", PolicyDocument=sized(1000))
    iam.put_user_policy(UserName=name, PolicyName="b", PolicyDocument=sized(1048))
    refused = refusal(
        iam.put_user_policy, UserName=name, PolicyName="b", PolicyDocument=sized(1049)
    )
    assert refused == (
        "LimitExceeded", 409, f"Maximum policy size of 2048 bytes exceeded for user {name}")  # fmt: skip


def test_ten_managed_policies_at_most(door):
    iam = door.client("iam")
    name, _ = door.user()
    arns = [
        iam.create_policy(PolicyName=door.name("policy"), PolicyDocument=document(allow("s3:*")))[
            "Policy"]["Arn"]
        for _ in range(11)
    ]  # fmt: skip
    for arn in arns[:10]:
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
    iam.attach_user_policy(UserName=name, PolicyArn=arns[0])
    assert refusal(iam.attach_user_policy, UserName=name, PolicyArn=arns[10]) == (
        "LimitExceeded", 409, "Cannot exceed quota for PoliciesPerUser: 10")  # fmt: skip


def test_boundaries_of_users(door):
    iam = door.client("iam")
    boundary = iam.create_policy(
        PolicyName=door.name("boundary"), PolicyDocument=document(allow("sqs:*"))
    )["Policy"]["Arn"]
    name, key = door.user(allow("*"))
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
    shown = iam.get_user(UserName=name)["User"]["PermissionsBoundary"]
    assert shown == {"PermissionsBoundaryType": "PermissionsBoundaryPolicy",
                     "PermissionsBoundaryArn": boundary}  # fmt: skip
    refusal(door.client("dynamodb", key).list_tables)
    iam.delete_user_permissions_boundary(UserName=name)
    assert "PermissionsBoundary" not in iam.get_user(UserName=name)["User"]
    door.client("dynamodb", key).list_tables()
    refused = refusal(iam.put_user_permissions_boundary, UserName=name,
                      PermissionsBoundary=boundary + "x")  # fmt: skip
    assert refused[:2] == ("NoSuchEntity", 404)
    role = door.role({"AWS": door.account}, allow("*"), PermissionsBoundary=boundary)
    keys = door.client("sts").assume_role(RoleArn=role, RoleSessionName="sess")["Credentials"]
    door.client("sqs", keys).list_queues()
    refusal(door.client("dynamodb", keys).list_tables)


def test_who_am_i_without_a_name(door):
    name, key = door.user(allow(["iam:GetUser", "sts:*"]))
    assert door.client("iam", key).get_user()["User"]["UserName"] == name
    keys = door.client("sts", key).get_session_token()["Credentials"]
    assert door.client("iam", keys).get_user()["User"]["UserName"] == name
    role = door.role({"AWS": door.account}, allow("iam:GetUser"))
    session = door.client("sts").assume_role(RoleArn=role, RoleSessionName="sess")["Credentials"]
    assert refusal(door.client("iam", session).get_user) == (
        "ValidationError", 400, "Must specify userName when calling with non-User credentials")  # fmt: skip


def test_ids_are_aws_ids(door):
    iam = door.client("iam")
    name, _ = door.user()
    assert iam.get_user(UserName=name)["User"]["UserId"].startswith("AIDA")
    group = iam.create_group(GroupName=door.name("group"))["Group"]
    assert group["GroupId"].startswith("AGPA") and len(group["GroupId"]) == 21


def test_aws_managed_policies_are_there_when_named_and_when_listed(door):
    iam = door.client("iam")
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    version = iam.get_policy(PolicyArn=basic)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=basic, VersionId=version)["PolicyVersion"]["Document"]
    assert "logs:PutLogEvents" in json.dumps(found)
    for wrong in ("arn:aws:iam::aws:policy/AWSLambdaBasicExecutionRole", basic + "x"):
        assert refusal(iam.get_policy, PolicyArn=wrong)[:2] == ("NoSuchEntity", 404)
    role = door.role({"Service": "lambda.amazonaws.com"})
    iam.attach_role_policy(RoleName=role.rsplit("/")[-1], PolicyArn=basic)
    pages = iam.get_paginator("list_policies").paginate(Scope="AWS")
    names = {policy["PolicyName"] for page in pages for policy in page["Policies"]}
    assert {"AdministratorAccess", "ReadOnlyAccess"} <= names and len(names) > 1000
    attached = iam.list_policies(OnlyAttached=True)["Policies"]
    assert basic in [policy["Arn"] for policy in attached]


def test_moto_is_still_what_it_is_bent_from(door):
    """Fails when moto changes where align_iam and the adapters reach into it."""
    backend = models.IAMBackend("us-east-1", "999999999999")
    assert isinstance(backend.managed_policies, managed.ManagedPolicies)
    user = backend.create_user("us-east-1", "u", "/", tags=None)
    key = backend.create_access_key("u")
    assert backend.access_keys[key.access_key_id] is key
    assert (key.user_name, key.status) == ("u", "Active") and len(key.secret_access_key) == 40
    assert (user.policies, user.managed_policies, user.name) == ({}, {}, "u")
    backend.attach_user_policy("arn:aws:iam::aws:policy/AdministratorAccess", "u")
    (policy,) = user.managed_policies.values()
    versions = {version.version_id: version.document for version in policy.versions}
    assert json.loads(versions[policy.default_version_id])["Statement"][0]["Action"] == "*"
    group = backend.create_group("g")
    backend.add_user_to_group("g", "u")
    assert group.users == [user]
    role = backend.create_role("r", "{}", "/", None, "", [], "3600")
    assert role in backend.roles.values() and role.permissions_boundary_arn is None
    assert managed.document("arn:aws:iam::aws:policy/AdministratorAccess")
    assert managed.document("arn:aws:iam::aws:policy/../x") is None


def test_the_cost_of_asking(door):
    """Identifying and authorising together: well under 1.5 ms for the median call."""
    role = door.role(
        {"AWS": door.account}, allow("dynamodb:*"), allow("s3:GetObject", "arn:aws:s3:::b/*")
    )
    keys = door.client("sts").assume_role(RoleArn=role, RoleSessionName="sess")["Credentials"]
    client = door.client("dynamodb", keys)
    identity, calls = door.aws.identity, []
    authorise = identity.authorise
    identity.authorise = lambda call: (calls.append(call), authorise(call))
    try:
        client.list_tables()
    finally:
        del identity.authorise
    taken = []
    for _ in range(300):
        started = time.perf_counter()
        identity.authenticate(calls[0])
        identity.authorise(calls[0])
        taken.append(time.perf_counter() - started)
    assert statistics.median(taken) < 0.0015


def test_the_list_of_actions_stays_on_disk_until_it_is_needed():
    catalog.actions.cache_clear()
    assert catalog.action("sqs", "SENDMESSAGE").name == "SendMessage"
    assert catalog.actions.cache_info().currsize == 1
    assert catalog.action("no-such-service", "X") is None
    assert catalog.action("../metadata", "X") is None

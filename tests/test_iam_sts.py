"""Temporary credentials: trust, narrowing, tags, durations, federation, and who one is."""

from __future__ import annotations

import json

import pytest
from iam_support import allow, deny, document, refusal
from iam_support import door as door


def assume(door, role, keys=None, **wishes):
    return door.client("sts", keys).assume_role(RoleArn=role, RoleSessionName="sess", **wishes)


def arn_of(door, name):
    return f"arn:aws:iam::{door.account}:user/{name}"


def test_caller_identity_tells_the_truth(door):
    name, key = door.user()
    identity = door.client("sts", key).get_caller_identity()
    assert identity["Arn"] == arn_of(door, name) and identity["UserId"].startswith("AIDA")
    role = door.role({"AWS": arn_of(door, name)})
    session = assume(door, role, key)
    identity = door.client("sts", session["Credentials"]).get_caller_identity()
    short = role.rsplit("/")[-1]
    assert identity["Arn"] == f"arn:aws:sts::{door.account}:assumed-role/{short}/sess"
    assert identity["UserId"] == session["AssumedRoleUser"]["AssumedRoleId"]
    assert identity["UserId"].startswith("AROA") and identity["UserId"].endswith(":sess")
    assert session["Credentials"]["AccessKeyId"].startswith("ASIA")


def test_even_an_explicit_deny_does_not_hide_who_one_is(door):
    _, key = door.user(deny("*"))
    assert door.client("sts", key).get_caller_identity()["Account"] == door.account


def test_the_trust_policy_decides_who_may_assume(door):
    name, key = door.user()
    trusting = door.role({"AWS": arn_of(door, name)})
    assume(door, trusting, key)
    # An account as principal only delegates: the user's own policy has to allow as well.
    delegating = door.role({"AWS": door.account})
    code, status, message = refusal(assume, door, delegating, key)
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {arn_of(door, name)} is not authorized to perform: sts:AssumeRole on resource: "
        f"{delegating}"
    )
    door.client("iam").put_user_policy(
        UserName=name, PolicyName="p", PolicyDocument=document(allow("sts:AssumeRole", delegating))
    )
    assume(door, delegating, key)
    closed = door.role({"Service": "lambda.amazonaws.com"})
    assert refusal(assume, door, closed)[0] == "AccessDenied"
    assert refusal(assume, door, closed + "x")[0] == "AccessDenied"


def test_external_id_against_the_confused_deputy(door):
    role = door.role({"AWS": door.account}, condition={"StringEquals": {"sts:ExternalId": "42-x"}})
    assert refusal(assume, door, role)[0] == "AccessDenied"
    assert refusal(assume, door, role, ExternalId="43-x")[0] == "AccessDenied"
    assume(door, role, ExternalId="42-x")


def test_durations(door):
    role = door.role({"AWS": door.account}, allow("sts:AssumeRole"), MaxSessionDuration=7200)
    assume(door, role, DurationSeconds=7200)
    assert refusal(assume, door, role, DurationSeconds=7201) == (
        "ValidationError", 400,
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")  # fmt: skip
    code, _, message = refusal(assume, door, role, DurationSeconds=43_201)
    assert code == "ValidationError" and "less than or equal to 43200" in message
    first = assume(door, role)["Credentials"]
    second = door.role({"AWS": role}, MaxSessionDuration=43_200)
    code, _, message = refusal(assume, door, second, first, DurationSeconds=3601)
    assert code == "ValidationError" and "role chaining" in message
    assume(door, second, first, DurationSeconds=3600)


def test_sessions_end_by_the_labs_clock(door):
    role = door.role({"AWS": door.account}, allow("dynamodb:*"))
    keys = assume(door, role, DurationSeconds=900)["Credentials"]
    client = door.client("dynamodb", keys)
    client.list_tables()
    door.aws.clock.advance(901)
    assert refusal(client.list_tables)[:2] == ("ExpiredTokenException", 400)


def test_session_policies_and_managed_ones_narrow(door):
    role = door.role({"AWS": door.account}, allow(["dynamodb:*", "sqs:*"]))
    wishes = {"Policy": document(allow("dynamodb:ListTables")),
              "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"}]}  # fmt: skip
    answer = assume(door, role, **wishes)
    keys = answer["Credentials"]
    assert 0 < answer["PackedPolicySize"] < 100
    door.client("dynamodb", keys).list_tables()
    door.client("sqs", keys).list_queues()
    *_, message = refusal(door.client("sqs", keys).create_queue, QueueName="q")
    assert message.endswith("because no session policy allows the sqs:createqueue action")
    refusal(door.client("s3", keys).list_buckets)
    assert refusal(assume, door, role, Policy="nope")[0] == "MalformedPolicyDocument"
    big = document(allow("s3:" + "x" * 2048))
    assert refusal(assume, door, role, Policy=big)[0] == "PackedPolicyTooLarge"


def test_session_tags_and_source_identity(door):
    condition = {"StringEquals": {"aws:PrincipalTag/Team": "orders"}}
    role = door.role({"AWS": door.account}, allow("dynamodb:*", Condition=condition),
                     action=["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"])  # fmt: skip
    refusal(door.client("dynamodb", assume(door, role)["Credentials"]).list_tables)
    answer = assume(door, role, Tags=[{"Key": "team", "Value": "orders"}], SourceIdentity="ann")
    assert answer["SourceIdentity"] == "ann"
    door.client("dynamodb", answer["Credentials"]).list_tables()
    untagged = door.role({"AWS": door.account})
    refused = refusal(assume, door, untagged, Tags=[{"Key": "a", "Value": "b"}])
    assert "sts:TagSession" in refused[2] or refused[0] == "AccessDenied"
    duplicate = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    assert refusal(assume, door, role, Tags=duplicate)[0] == "InvalidParameterValue"


def test_session_token_has_the_users_permissions(door):
    name, key = door.user(allow(["dynamodb:*", "sts:*"]))
    keys = door.client("sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    client = door.client("sts", keys)
    assert client.get_caller_identity()["Arn"] == arn_of(door, name)
    door.client("dynamodb", keys).list_tables()
    refusal(door.client("s3", keys).list_buckets)
    assert refusal(client.get_session_token)[:2] == ("AccessDenied", 403)
    # What is taken from the user is taken from its session.
    door.client("iam").delete_user_policy(UserName=name, PolicyName="p")
    refusal(door.client("dynamodb", keys).list_tables)


def test_federated_users_may_what_both_policies_allow(door):
    _, key = door.user(allow(["dynamodb:*", "sts:GetFederationToken"]))
    sts = door.client("sts", key)
    answer = sts.get_federation_token(
        Name="fed", Policy=document(allow(["dynamodb:ListTables", "s3:*"]))
    )
    assert answer["FederatedUser"]["Arn"] == f"arn:aws:sts::{door.account}:federated-user/fed"
    keys = answer["Credentials"]
    door.client("dynamodb", keys).list_tables()
    refusal(door.client("s3", keys).list_buckets)
    refusal(door.client("dynamodb", keys).describe_limits)
    bare = sts.get_federation_token(Name="bare")["Credentials"]
    refusal(door.client("dynamodb", bare).list_tables)
    assert door.client("sts", bare).get_caller_identity()["UserId"] == f"{door.account}:bare"


def test_access_key_info(door):
    _, key = door.user()
    info = door.client("sts").get_access_key_info
    assert info(AccessKeyId=key["AccessKeyId"])["Account"] == door.account
    assert refusal(info, AccessKeyId="AKIA0000000000000000")[0] == "ValidationError"


@pytest.fixture(scope="module")
def login(door):
    """A user pool with a client and a signed-in user: pool id, client id, tokens."""
    idp = door.client("cognito-idp")
    pool = idp.create_user_pool(PoolName="people")["UserPool"]["Id"]
    client = idp.create_user_pool_client(
        UserPoolId=pool, ClientName="app",
        ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )["UserPoolClient"]["ClientId"]  # fmt: skip
    idp.admin_create_user(UserPoolId=pool, Username="ann", TemporaryPassword="Temp-1234!")
    idp.admin_set_user_password(
        UserPoolId=pool, Username="ann", Password="Perm-1234!", Permanent=True
    )
    answer = idp.admin_initiate_auth(
        UserPoolId=pool, ClientId=client, AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ann", "PASSWORD": "Perm-1234!"})  # fmt: skip
    return pool, client, answer["AuthenticationResult"]


def test_a_role_for_the_bearer_of_a_user_pools_token(door, login):
    pool, client, tokens = login
    issuer = f"cognito-idp.us-east-1.amazonaws.com/{pool}"
    provider = door.client("iam").create_open_id_connect_provider(
        Url=f"https://{issuer}", ClientIDList=[client], ThumbprintList=["0" * 40]
    )["OpenIDConnectProviderArn"]
    role = door.role({"Federated": provider}, allow("dynamodb:ListTables"),
                     action="sts:AssumeRoleWithWebIdentity",
                     condition={"StringEquals": {f"{issuer}:aud": client}})  # fmt: skip

    def bear(token):
        return door.client("sts").assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="web", WebIdentityToken=token)  # fmt: skip

    answer = bear(tokens["IdToken"])
    assert (answer["Provider"], answer["Audience"]) == (provider, client)
    door.client("dynamodb", answer["Credentials"]).list_tables()
    head, body, seal = tokens["IdToken"].split(".")
    for token in (f"{head}.{body}.{seal[:-4]}AAAA", f"{head}.{body}.", "not.a.jwt", "xxxx"):
        assert refusal(bear, token)[0] == "InvalidIdentityToken"
    closed = door.role({"Federated": provider}, action="sts:AssumeRoleWithWebIdentity",
                       condition={"StringEquals": {f"{issuer}:aud": "another"}})  # fmt: skip
    refused = refusal(
        door.client("sts").assume_role_with_web_identity,
        RoleArn=closed, RoleSessionName="web", WebIdentityToken=tokens["IdToken"])  # fmt: skip
    assert refused == (
        "AccessDenied",
        403,
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    )


def test_identity_pools_turn_logins_into_roles(door, login):
    pool, client, tokens = login
    issuer = f"cognito-idp.us-east-1.amazonaws.com/{pool}"
    cognito = door.client("cognito-identity")
    made = cognito.create_identity_pool(
        IdentityPoolName="people", AllowUnauthenticatedIdentities=True,
        CognitoIdentityProviders=[{"ProviderName": issuer, "ClientId": client}])  # fmt: skip
    pool_id = made["IdentityPoolId"]

    def pool_role(kind, *statements):
        name = "cognito-identity.amazonaws.com"
        return door.role({"Federated": name}, *statements, action="sts:AssumeRoleWithWebIdentity",
                         condition={"StringEquals": {f"{name}:aud": pool_id},
                                    "ForAnyValue:StringLike": {f"{name}:amr": kind}})  # fmt: skip

    own = "arn:aws:s3:::*/${cognito-identity.amazonaws.com:sub}/*"
    member = pool_role("authenticated", allow("dynamodb:ListTables"), allow("s3:PutObject", own))
    guest = pool_role("unauthenticated", allow("sqs:ListQueues"))
    cognito.set_identity_pool_roles(
        IdentityPoolId=pool_id, Roles={"authenticated": member, "unauthenticated": guest})  # fmt: skip
    logins = {issuer: tokens["IdToken"]}
    identity = cognito.get_id(IdentityPoolId=pool_id, Logins=logins)["IdentityId"]
    assert cognito.get_id(IdentityPoolId=pool_id, Logins=logins)["IdentityId"] == identity

    def keys_of(identity_id, **more):
        keys = cognito.get_credentials_for_identity(IdentityId=identity_id, **more)["Credentials"]
        return {**keys, "SecretAccessKey": keys["SecretKey"]}

    keys = keys_of(identity, Logins=logins)
    door.client("dynamodb", keys).list_tables()
    door.client("s3").create_bucket(Bucket="homes-of-people")
    s3 = door.client("s3", keys)
    s3.put_object(Bucket="homes-of-people", Key=f"{identity}/note", Body=b"")
    refusal(s3.put_object, Bucket="homes-of-people", Key="another/note", Body=b"")
    stranger = cognito.get_id(IdentityPoolId=pool_id)["IdentityId"]
    guest_keys = keys_of(stranger)
    door.client("sqs", guest_keys).list_queues()
    refusal(door.client("dynamodb", guest_keys).list_tables)
    assert refusal(keys_of, identity)[0] == "NotAuthorizedException"
    forged = {issuer: tokens["IdToken"][:-4] + "AAAA"}
    assert refusal(keys_of, identity, Logins=forged)[0] == "NotAuthorizedException"
    token = cognito.get_open_id_token(IdentityId=identity, Logins=logins)["Token"]
    basic = door.client("sts").assume_role_with_web_identity(
        RoleArn=member, RoleSessionName="basic", WebIdentityToken=token)  # fmt: skip
    assert basic["Provider"] == "cognito-identity.amazonaws.com"


def test_organizations_as_a_condition(door):
    organizations = door.client("organizations")
    made = organizations.create_organization(FeatureSet="ALL")["Organization"]["Id"]
    sqs = door.client("sqs")
    url = sqs.create_queue(QueueName="org")["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{door.account}:org"
    _, key = door.user()

    def open_to(organization):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({
            "Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": queue,
                "Condition": {"StringEquals": {"aws:PrincipalOrgID": organization}}}})})  # fmt: skip

    open_to("o-somebodys")
    refusal(door.client("sqs", key).send_message, QueueUrl=url, MessageBody="m")
    open_to(made)
    door.client("sqs", key).send_message(QueueUrl=url, MessageBody="m")

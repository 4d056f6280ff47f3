"""Why a call was allowed or denied, the policy that would have been enough, and the simulator."""

from __future__ import annotations

import json

from iam_support import allow, deny, document, refusal
from iam_support import door as door

from labkit.localaws.iam.evaluation import IDENTITY, Policies, decide
from labkit.localaws.iam.explain import generalised, minimal_policy


def control(door, path, **body):
    return door.aws.running().control(path, body)


def test_a_denial_explained(door):
    condition = {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}
    name, key = door.user(
        allow("dynamodb:PutItem", "arn:aws:dynamodb:*:*:table/Other"),
        allow("dynamodb:*", "*", Condition=condition, Sid="Europe"),
        deny("sqs:*"),
    )
    refusal(door.client("dynamodb", key).put_item, TableName="T", Item={"a": {"S": "b"}})
    told = control(door, "iam/explain")
    table = f"arn:aws:dynamodb:us-east-1:{door.account}:table/T"
    assert (told["action"], told["resource"], told["outcome"]) == (
        "dynamodb:PutItem", table, "implicitDeny")  # fmt: skip
    assert told["principal"].endswith(f":user/{name}") and told["deciding"] == []
    assert told["context"]["aws:username"] == name
    assert told["context"]["aws:sourceip"] == "127.0.0.1"
    (policy,) = told["policies"]
    assert policy["kind"] == IDENTITY and policy["source"] == "user"
    differs = [statement["differs"] for statement in policy["statements"]]
    assert differs == ["Resource", "Condition", "Action"]
    (asked,) = policy["statements"][1]["conditions"]
    assert (asked["wanted"], asked["given"], asked["met"]) == (["eu-west-1"], "us-east-1", False)
    assert told["suggestion"] == {
        "where": IDENTITY, "change": "add this statement",
        "statement": {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": table}}  # fmt: skip


def test_an_explicit_deny_explained(door):
    _, key = door.user(allow("sqs:*"), deny("sqs:CreateQueue", Sid="NoQueues"))
    refusal(door.client("sqs", key).create_queue, QueueName="q")
    told = control(door, "iam/explain")
    assert told["deciding"][0]["statement"]["Sid"] == "NoQueues"
    assert told["suggestion"]["statement"]["Sid"] == "NoQueues"


def test_the_suggested_statement_is_enough_and_no_more(door):
    """For every denied call: adding what is suggested allows exactly this one."""
    name, key = door.user()
    calls = [
        ("dynamodb", "list_tables", {}),
        ("sqs", "list_queues", {}),
        ("s3", "list_buckets", {}),
        ("logs", "describe_log_groups", {}),
        ("kms", "list_keys", {}),
    ]
    for service, operation, params in calls:
        client = door.client(service, key)
        refusal(getattr(client, operation), **params)
        statement = control(door, "iam/explain")["suggestion"]["statement"]
        door.client("iam").put_user_policy(
            UserName=name, PolicyName="p", PolicyDocument=document(statement)
        )
        getattr(client, operation)(**params)
        door.client("iam").delete_user_policy(UserName=name, PolicyName="p")


def test_decisions_can_be_listed_and_followed(door):
    _, key = door.user(allow("dynamodb:ListTables"))
    since = control(door, "iam/decisions", limit=1)[-1]["number"]
    door.client("dynamodb", key).list_tables()
    refusal(door.client("dynamodb", key).describe_limits)
    found = control(door, "iam/decisions", since=since, principal=":user/user")
    assert [each["outcome"] for each in found] == ["allowed", "implicitDeny"]
    denied = control(door, "iam/decisions", since=since, denied_only=True)
    assert [each["action"] for each in denied] == ["dynamodb:DescribeLimits"]


def test_least_privilege_is_what_was_used(door):
    name, key = door.user(allow("*"))
    since = control(door, "iam/decisions", limit=1)[-1]["number"]
    s3 = door.client("s3", key)
    s3.create_bucket(Bucket="earned")
    s3.put_object(Bucket="earned", Key="orders/1.json", Body=b"")
    s3.put_object(Bucket="earned", Key="orders/2.json", Body=b"")
    door.client("dynamodb", key).list_tables()
    told = control(door, "iam/least-privilege", principal=f"user/{name}", since=since)
    assert told["document"]["Statement"] == [
        {"Effect": "Allow", "Action": "dynamodb:ListTables",
         "Resource": f"arn:aws:dynamodb:us-east-1:{door.account}:table/*"},
        {"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "arn:aws:s3:::earned"},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::earned/orders/*"},
    ]  # fmt: skip
    # It is enough: the same calls pass with it and nothing else.
    door.client("iam").put_user_policy(
        UserName=name, PolicyName="p", PolicyDocument=json.dumps(told["document"])
    )
    s3.put_object(Bucket="earned", Key="orders/3.json", Body=b"")
    refusal(s3.put_object, Bucket="earned", Key="other/3.json", Body=b"")


def test_generated_policies_allow_every_recorded_decision(door):
    accounts = door.aws.identity.accounts
    entries = [e for e in door.aws.identity.journal.entries() if e.principal.kind == "user"]
    used = [(entry.request.action, entry.request.resource) for entry in entries]
    for pairs in (set(used), generalised(used)):
        made = accounts.policy_set(IDENTITY, (("p", "none", json.dumps(minimal_policy(pairs))),))
        for entry in entries:
            assert decide(entry.request, Policies(made)).allowed, entry.request


def test_generalised_resources():
    group = "arn:aws:logs:us-east-1:1:log-group:/aws/lambda/f"
    assert generalised([
        ("logs:PutLogEvents", f"{group}:log-stream:2026/x"),
        ("logs:DescribeLogGroups", "arn:aws:logs:us-east-1:1:log-group::log-stream:"),
        ("s3:GetObject", "arn:aws:s3:::b/a/b/1"),
        ("s3:GetObject", "arn:aws:s3:::b/a/c/2"),
        ("s3:GetObject", "arn:aws:s3:::c/1"),
        ("sns:Publish", "arn:aws:sns:us-east-1:1:t"),
    ]) == {
        ("logs:PutLogEvents", f"{group}:*"),
        ("logs:DescribeLogGroups", "arn:aws:logs:us-east-1:1:log-group:*"),
        ("s3:GetObject", "arn:aws:s3:::b/a/*"),
        ("s3:GetObject", "arn:aws:s3:::c/*"),
        ("sns:Publish", "arn:aws:sns:us-east-1:1:t"),
    }  # fmt: skip


# -- the simulator -----------------------------------------------------------------------------


def results(answer):
    return {
        (each["EvalActionName"], each["EvalResourceName"]): each["EvalDecision"]
        for each in answer["EvaluationResults"]
    }


def test_simulating_custom_policies(door):
    """The AWS CLI's example: the decision depends on a key that has to be given."""
    iam = door.client("iam")
    policy = (
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*",'
        '"Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":'
        '"2015-08-16T12:00:00Z"}}}}'
    )
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=[policy])
    assert keys["ContextKeyNames"] == ["aws:CurrentTime"]
    wanted = {"PolicyInputList": [policy], "ActionNames": ["dynamodb:CreateBackup"]}
    (result,) = iam.simulate_custom_policy(**wanted)["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == (
        "implicitDeny", ["aws:CurrentTime"])  # fmt: skip
    entry = {"ContextKeyName": "aws:CurrentTime", "ContextKeyValues": ["2016-04-25T11:00:00Z"],
             "ContextKeyType": "date"}  # fmt: skip
    (result,) = iam.simulate_custom_policy(**wanted, ContextEntries=[entry])["EvaluationResults"]
    assert (result["EvalDecision"], result["EvalResourceName"]) == ("allowed", "*")
    assert result["MissingContextValues"] == []
    assert result["MatchedStatements"] == [{
        "SourcePolicyId": "PolicyInputList.1", "SourcePolicyType": "none",
        "StartPosition": {"Line": 1, "Column": 38}, "EndPosition": {"Line": 1, "Column": 167}}]  # fmt: skip


def test_simulating_a_deny_shows_the_deny_alone(door):
    policies = [document(allow("s3:*"), deny("s3:DeleteObject", Sid="No"))]
    answer = door.client("iam").simulate_custom_policy(
        PolicyInputList=policies, ActionNames=["s3:DeleteObject", "s3:GetObject"],
        ResourceArns=["arn:aws:s3:::b/k"])  # fmt: skip
    first, second = answer["EvaluationResults"]
    assert first["EvalDecision"] == "explicitDeny" and len(first["MatchedStatements"]) == 1
    assert first["MatchedStatements"][0]["StartPosition"]["Column"] > 60
    assert second["EvalDecision"] == "allowed"


def test_simulating_what_a_principal_may(door):
    iam = door.client("iam")
    name, _ = door.user(allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}/*"))
    source = f"arn:aws:iam::{door.account}:user/{name}"
    group = door.name("group")
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=name)
    iam.put_group_policy(
        GroupName=group, PolicyName="g", PolicyDocument=document(deny("sqs:*"), allow("sns:*")))  # fmt: skip
    answer = iam.simulate_principal_policy(
        PolicySourceArn=source, ActionNames=["s3:GetObject", "sqs:SendMessage", "sns:Publish"],
        ResourceArns=[f"arn:aws:s3:::b/{name}/k", "*"])  # fmt: skip
    decisions = results(answer)
    assert decisions["s3:GetObject", f"arn:aws:s3:::b/{name}/k"] == "allowed"
    assert decisions["s3:GetObject", "*"] == "implicitDeny"
    assert decisions["sqs:SendMessage", "*"] == "explicitDeny"
    assert decisions["sns:Publish", "*"] == "allowed"
    sources = {
        m["SourcePolicyType"] for r in answer["EvaluationResults"] for m in r["MatchedStatements"]
    }
    assert sources == {"user", "group"}
    of_group = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{door.account}:group/{group}", ActionNames=["sns:Publish"])  # fmt: skip
    assert set(results(of_group).values()) == {"allowed"}
    missing = refusal(iam.simulate_principal_policy, PolicySourceArn=source + "x",
                      ActionNames=["s3:GetObject"])  # fmt: skip
    assert missing[:2] == ("NoSuchEntity", 404)


def test_simulating_with_a_boundary(door):
    answer = door.client("iam").simulate_custom_policy(
        PolicyInputList=[document(allow("*"))], ActionNames=["s3:GetObject", "sqs:SendMessage"],
        PermissionsBoundaryPolicyInputList=[document(allow("s3:*"))])  # fmt: skip
    first, second = answer["EvaluationResults"]
    assert first["EvalDecision"] == "allowed"
    assert first["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": True}
    assert second["EvalDecision"] == "implicitDeny"
    assert second["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}


def test_simulating_with_a_resource_policy_of_another_account(door):
    iam = door.client("iam")
    name, _ = door.user(allow("sqs:SendMessage"))
    caller = f"arn:aws:iam::{door.account}:user/{name}"
    queue = "arn:aws:sqs:us-east-1:444455556666:q"
    wanted = {"PolicySourceArn": caller, "ActionNames": ["sqs:SendMessage"], "ResourceArns": [queue],
              "CallerArn": caller, "ResourceOwner": "arn:aws:iam::444455556666:root"}  # fmt: skip
    policy = document(allow("sqs:SendMessage", queue, Principal={"AWS": door.account}))
    (result,) = iam.simulate_principal_policy(**wanted, ResourcePolicy=policy)["EvaluationResults"]
    assert result["EvalDecision"] == "allowed"
    assert result["EvalDecisionDetails"] == {"IAM Policy": "allowed", "Resource Policy": "allowed"}
    assert {m["SourcePolicyType"] for m in result["MatchedStatements"]} == {"user", "resource"}
    closed = document(allow("sqs:SendMessage", queue, Principal={"AWS": "777788889999"}))
    (result,) = iam.simulate_principal_policy(**wanted, ResourcePolicy=closed)["EvaluationResults"]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["EvalDecisionDetails"]["Resource Policy"] == "implicitDeny"


def test_simulation_in_pages(door):
    iam = door.client("iam")
    wanted = {"PolicyInputList": [document(allow("s3:*"))],
              "ActionNames": [f"s3:Action{n}" for n in range(7)]}  # fmt: skip
    pages = iam.get_paginator("simulate_custom_policy").paginate(
        **wanted, PaginationConfig={"PageSize": 3}
    )
    names = [r["EvalActionName"] for page in pages for r in page["EvaluationResults"]]
    assert names == wanted["ActionNames"]


def test_what_cannot_be_simulated(door):
    simulate = door.client("iam").simulate_custom_policy
    good = document(allow("s3:*"))
    for params in (
        {"PolicyInputList": ["nope"], "ActionNames": ["s3:GetObject"]},
        {"PolicyInputList": [good], "ActionNames": ["GetObject"]},
        {"PolicyInputList": [good], "ActionNames": ["s3:GetObject"], "ResourceArns": ["bucket"]},
        {"PolicyInputList": [good], "ActionNames": ["s3:GetObject"], "ResourcePolicy": good},
    ):
        assert refusal(simulate, **params)[:2] == ("InvalidInput", 400)

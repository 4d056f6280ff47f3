"""The exercises of notebook 03: an error read, a policy split, a condition that holds."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from labkit import policies, traffic
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, NotYet, Wrong, expect
from labkit.waiting import despite

READER = "OrderReader"


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 03, the function's policy in place, and the role OrderReader."""
    iam, names = lab.client("iam"), lab.names
    policy = policies.process_orders(names)

    def give(document):
        where = {"RoleName": names.role, "PolicyName": names.policy}
        iam.put_role_policy(**where, PolicyDocument=json.dumps(document))

    def order():
        return {"OrderId": f"NB03-{lab.clock.now():%H%M%S%f}", "Amount": 512.50}

    trusted = {"Effect": "Allow", "Principal": {"AWS": lab.account_id}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=READER, AssumeRolePolicyDocument=trust)
    may = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": names.table_arn}
    look = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam.put_role_policy(RoleName=READER, PolicyName="look", PolicyDocument=look)
    give(policy)
    return {"lab": lab, "names": names, "iam": iam, "json": json, "policies": policies,
            "traffic": traffic, "policy": policy, "give": give, "order": order,
            "may": may}  # fmt: skip


def error_repaired(lab: Lab, statement: Any) -> str:
    """Whether *statement* allows just what the error message asks for."""
    expect(
        isinstance(statement, dict) and {"Effect", "Action", "Resource"} <= statement.keys(),
        "a statement with Effect, Action and Resource",
        repr(statement)[:80],
        "may, which is one",
    )
    table, index = lab.names.table_arn, f"{lab.names.table_arn}/index/ByDay"
    where = "the message: it names the action, then the resource"
    asked = _decision(lab, statement, "dynamodb:Query", index)
    expect(asked == "allowed", "dynamodb:Query on the index to be allowed", asked, where)
    for action, resource, what in (
        ("dynamodb:Scan", index, "dynamodb:Scan on the index"),
        ("dynamodb:DeleteItem", table, "dynamodb:DeleteItem on the table"),
        ("dynamodb:Query", table.replace(lab.names.table, "Salaries"), "a query of another table"),
    ):
        found = _decision(lab, statement, action, resource)
        expect(found != "allowed", f"{what} not to be allowed", found, where)
    return "IAM allows the query of the index, and nothing that was not asked for."


def policy_is_split(lab: Lab) -> str:
    """Whether the function's role may do its work, each action on its one resource only."""
    iam, names = lab.client("iam"), lab.names
    document = iam.get_role_policy(RoleName=names.role, PolicyName=names.policy)["PolicyDocument"]
    where = f"{names.policy} of {names.role}"
    statements = policies.listed(document["Statement"])
    stars = [
        one
        for statement in statements
        for part in ("Action", "Resource")
        for one in policies.listed(statement.get(part))
        if one == "*" or one.endswith(":*")
    ]
    expect(not stars, "no stars: each action and resource by name", stars[:1], where)
    needed = policies.needed(names)
    documents = policies.of_role(iam, names.role)[1]
    for action, resource in needed:
        allowed = policies.allows(documents, action, resource)
        expect(allowed, f"{action} on its resource to be allowed", "that it is not", where)
    for action, resource in needed:
        for other in {one for _, one in needed} - {resource}:
            wide = policies.allows([document], action, other)
            expect(not wide, f"{action} on one resource only",
                   f"that it is allowed on {other.split(':', 2)[2]} too", where)  # fmt: skip
    order = {"OrderId": f"NB03-{lab.clock.now():%H%M%S%f}", "Amount": 512.50}
    answer = traffic.invoke(lab, order)
    expect(answer.ok, "an order of the check's own to be processed",
           f"{answer.function_error}: {answer.payload}"[:200], "the function's log")  # fmt: skip
    return f"{len(statements)} statements, no action on a resource that is not its own."


def only_over_tls(lab: Lab) -> str:
    """Whether OrderReader may read over TLS, and not without."""
    iam, names = lab.client("iam"), lab.names
    role = iam.get_role(RoleName=READER)["Role"]["Arn"]
    decisions = {}
    for secure in ("true", "false"):
        context = {"ContextKeyName": "aws:SecureTransport", "ContextKeyType": "boolean",
                   "ContextKeyValues": [secure]}  # fmt: skip
        answer = iam.simulate_principal_policy(
            PolicySourceArn=role,
            ActionNames=["dynamodb:GetItem", "dynamodb:DeleteItem"],
            ResourceArns=[names.table_arn],
            ContextEntries=[context],
        )
        decisions[secure] = {
            one["EvalActionName"]: one["EvalDecision"] for one in answer["EvaluationResults"]
        }
    where = f"the Condition in the policies of {READER}"
    read = "dynamodb:GetItem"
    expect(decisions["true"][read] == "allowed", "a read over TLS to be allowed",
           decisions["true"][read], where)  # fmt: skip
    expect(decisions["false"][read] != "allowed", "a read without TLS to be refused",
           decisions["false"][read], where)  # fmt: skip
    delete = decisions["true"]["dynamodb:DeleteItem"]
    expect(delete != "allowed", "reading only", f"DeleteItem {delete}", where)
    session = despite(
        lab,
        "Waiting for the role",
        {"AccessDenied"},
        lambda: lab.client("sts").assume_role(RoleArn=role, RoleSessionName="check"),
    )["Credentials"]
    as_reader = lab.client(
        "dynamodb",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    key = {"OrderId": {"S": "no such order"}}
    as_reader.get_item(TableName=names.table, Key=key)
    return f"{READER} reads over TLS, and would be refused without."


def _decision(lab: Lab, statement: dict[str, Any], action: str, resource: str) -> str:
    document = {"Version": "2012-10-17", "Statement": [statement]}
    try:
        answer = lab.client("iam").simulate_custom_policy(
            PolicyInputList=[json.dumps(document)],
            ActionNames=[action],
            ResourceArns=[resource],
        )
    except TypeError as problem:
        raise NotYet("a statement of plain values", str(problem), "statement") from problem
    return answer["EvaluationResults"][0]["EvalDecision"]


_STATEMENT = """\
statement = {
    "Effect": "Allow",
    "Action": "%s",
    "Resource": %s,
}
check("03.1", statement)"""
_INDEX = 'f"{names.table_arn}/index/ByDay"'

_SPLIT = """\
statements = %s
exact = {"Version": "2012-10-17", "Statement": statements}
give(exact)
check("03.2")"""
_PAIRS = """\
[
    {"Effect": "Allow", "Action": action, "Resource": resource}
    for action, resource in policies.needed(names)
]"""

_TLS = """\
condition = %s
statement = {**may, "Condition": condition}
look = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
iam.put_role_policy(RoleName="OrderReader", PolicyName="look", PolicyDocument=look)
check("03.3")"""

EXERCISES = (
    Exercise(
        id="03.1",
        title="Read the refusal",
        task="A colleague sends you: *User: arn:aws:sts::…:assumed-role/OrderReader/colleague is "
        "not authorized to perform: dynamodb:Query on resource: …:table/OrdersTable/index/ByDay*. "
        "Write the one statement that repairs it and allows nothing else. `check` asks IAM for its "
        "decisions; nothing is attached.",
        difficulty=1,
        minutes=5,
        skills=("2.1.6", "4.1.7"),
        hints=(
            "The message names both parts: what was tried, and on what.",
            "An index has an ARN of its own; a table's ARN does not cover it.",
        ),
        start="""\
statement = may
check("03.1", statement)""",
        solution=_STATEMENT % ("dynamodb:Query", _INDEX),
        remark="`/index/*` would cover every index of the table.",
        wants=("statement",),
        look=error_repaired,
        scene=scene,
        wrong=(
            Wrong(_STATEMENT % ("dynamodb:Query", "names.table_arn"), "found implicitDeny"),
            Wrong(_STATEMENT % ("dynamodb:*", _INDEX), "dynamodb:Scan on the index not to be"),
            Wrong(_STATEMENT % ("dynamodb:Query", '"*"'), "a query of another table not to be"),
            Wrong(
                (_STATEMENT % ("dynamodb:Query", _INDEX)).replace("Allow", "Deny"),
                "found explicitDeny",
            ),
        ),
    ),
    Exercise(
        id="03.2",
        title="Split the statement",
        task="The policy allows thirty pairs of action and resource, and six make sense. Give the "
        "role a policy in which each action stands with its own resource only. `check` also sends "
        "an order, which must still be processed.",
        difficulty=2,
        minutes=10,
        skills=("2.1.6",),
        hints=(
            "One statement for each service: its actions, and the ARN of its one resource.",
            'The bucket\'s objects are `f"{names.bucket_arn}/*"`. The two Kinesis actions share '
            "the stream.",
        ),
        start=_SPLIT % 'policy["Statement"]',
        solution="""\
ours = {
    "dynamodb:PutItem": names.table_arn,
    "sns:Publish": names.topic_arn,
    "sqs:SendMessage": names.queue_arn,
    "kinesis:PutRecord*": names.stream_arn,
    "s3:GetObject": f"{names.bucket_arn}/*",
}
statements = [
    {"Effect": "Allow", "Action": action, "Resource": resource}
    for action, resource in ours.items()
]
give({"Version": "2012-10-17", "Statement": statements})
check("03.2")""",
        remark="The last cell of this notebook puts the policy of the pipeline back.",
        look=policy_is_split,
        scene=scene,
        wrong=(
            Wrong(_SPLIT % '[{"Effect": "Allow", "Action": "*", "Resource": "*"}]', "no stars"),
            Wrong(
                _SPLIT % _PAIRS.replace('"Resource": resource', '"Resource": names.table_arn'),
                "sns:Publish on its resource to be allowed",
            ),
            Wrong(_SPLIT % (_PAIRS + "[1:]"), "dynamodb:PutItem on its resource to be allowed"),
            Wrong('give(policy)\ncheck("03.2")', "dynamodb:PutItem on one resource only", True),
        ),
    ),
    Exercise(
        id="03.3",
        title="Only encrypted",
        task="Orders hold addresses. Let `OrderReader` read only when the call comes encrypted, "
        "over TLS. `check` reads as `OrderReader`, and asks IAM what it would decide without TLS.",
        difficulty=3,
        minutes=15,
        skills=("2.1.6", "2.2.1"),
        hints=(
            "A statement's `Condition` has an operator, a key and a value.",
            "The key is `aws:SecureTransport`, the operator `Bool`.",
        ),
        start="""\
statement = dict(may)
look = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
iam.put_role_policy(RoleName="OrderReader", PolicyName="look", PolicyDocument=look)
check("03.3")""",
        solution=_TLS % '{"Bool": {"aws:SecureTransport": "true"}}',
        remark="On this machine's own loopback the lab counts a call as encrypted.",
        look=only_over_tls,
        scene=scene,
        wrong=(
            Wrong(
                _TLS % '{"Bool": {"aws:SecureTransport": "false"}}', "a read over TLS to be allowed"
            ),
            Wrong(
                _TLS % '{"BoolIfExists": {"aws:secure": "true"}}',
                "a read without TLS to be refused",
            ),
            Wrong(
                (_TLS % '{"Bool": {"aws:SecureTransport": "true"}}').replace(
                    "{**may, ", '{**may, "Action": "dynamodb:*", '
                ),
                "DeleteItem allowed",
            ),
            Wrong(
                'iam.delete_role_policy(RoleName="OrderReader", PolicyName="look")\ncheck("03.3")',
                "found implicitDeny",
                after_solution=True,
            ),
        ),
    ),
)

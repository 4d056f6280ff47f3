"""The exercises of notebook 15: one folder, a batch's action, a deny, and what to keep back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from labkit import policies
from labkit.granted import least_privilege
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, NotYet, Wrong, expect

# Either of them on a role that one can use is as good as every permission.
TAKES_ALL = ("iam:PutRolePolicy", "iam:AttachRolePolicy")
HARMLESS = ("iam:GetRolePolicy", "iam:SimulateCustomPolicy", "lambda:InvokeFunction",
            "s3:GetObject", "s3:PutObject")  # fmt: skip


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 15, the pipeline's policy put in force by the administrator."""
    iam, names, start = lab.client("iam"), lab.names, lab.clock.stamp()
    policy = policies.process_orders(names)
    inline = {"RoleName": names.role, "PolicyName": names.policy}
    iam.put_role_policy(**inline, PolicyDocument=json.dumps(policy))
    iam.attach_role_policy(RoleName=names.role, PolicyArn=policies.BASIC_EXECUTION)
    iam.get_role_policy(**inline)
    return {"lab": lab, "names": names, "iam": iam, "json": json, "policies": policies,
            "policy": policy, "allow": _allow, "text": _text, "start": start,
            "earned": _earned(lab), "least_privilege": least_privilege}  # fmt: skip


def one_folder_only(lab: Lab, listing: Any, getting: Any) -> str:
    """Whether two statements allow listing and reading under orders/, and nothing else."""
    bucket = lab.names.bucket_arn
    statements = [listing, getting]
    for prefix, wanted in (("orders/", True), ("orders/2041/", True), ("hr/", False), ("", False)):
        found = _decision(lab, statements, "s3:ListBucket", bucket, {"s3:prefix": prefix})
        what = f"listing {prefix or 'the whole bucket'}"
        _as_wanted(found, wanted, what, "the Condition of listing")
    for key, wanted in (("orders/1.json", True), ("hr/pay.csv", False)):
        found = _decision(lab, statements, "s3:GetObject", f"{bucket}/{key}")
        _as_wanted(found, wanted, f"reading {key}", "the Resource of getting")
    for action, resource in (
        ("s3:DeleteObject", f"{bucket}/orders/1.json"),
        ("s3:DeleteBucket", bucket),
    ):
        found = _decision(lab, statements, action, resource, {"s3:prefix": "orders/"})
        _as_wanted(found, False, action, "the Action of both statements")
    return "IAM allows listing and reading under orders/, and refuses hr/."


def batches_only(lab: Lab, batch: Any) -> str:
    """Whether the statements let the function put batches, and no longer single records."""
    names = lab.names
    stream, where = names.stream_arn, "the statements about Kinesis in batch"
    _as_wanted(_decision(lab, batch, "kinesis:PutRecords", stream), True,
               "kinesis:PutRecords on the stream", where)  # fmt: skip
    for action, resource, what in (
        ("kinesis:PutRecord", stream, "kinesis:PutRecord, which is no longer needed,"),
        ("kinesis:DeleteStream", stream, "kinesis:DeleteStream"),
        ("kinesis:PutRecords", stream.replace(names.stream, "Salaries"), "another stream"),
    ):
        _as_wanted(_decision(lab, batch, action, resource), False, what, where)
    for action, resource in policies.needed(names):
        if not action.startswith("kinesis:"):
            found = _decision(lab, batch, action, resource)
            _as_wanted(found, True, f"{action} on its resource", "earned: the rest stays")
    found = _decision(lab, batch, "dynamodb:DeleteItem", names.table_arn)
    _as_wanted(found, False, "dynamodb:DeleteItem", "the other statements in batch")
    return f"PutRecords is allowed on {names.stream}, PutRecord no longer is."


def deny_found_out(lab: Lab, only: Any, decided: Any) -> str:
    """Whether *only* denies all but two services, and *decided* is what IAM makes of it."""
    names = lab.names
    statements = [*_earned(lab), only]
    where = "only: its Effect, and what its NotAction names"
    decisions = {}
    for action, resource in dict(policies.needed(names)).items():
        if action != "kinesis:PutRecords":
            decisions[action] = _decision(lab, statements, action, resource)
    for action, found in decisions.items():
        spared = action.split(":")[0] in ("sqs", "dynamodb")
        wanted = "allowed" if spared else "explicitDeny"
        expect(found == wanted, f"{wanted} for {action} with only added", found, where)
    found = _decision(lab, [only], "sqs:SendMessage", names.queue_arn)
    expect(found == "implicitDeny", "only alone to allow nothing", found, where)
    expect(isinstance(decided, dict), "a dict of decisions", repr(decided)[:60], "decided")
    for action in ("sns:Publish", "sqs:SendMessage"):
        expect(decided.get(action) == decisions[action], f"IAM's own decision for {action}",
               decided.get(action), "EvalDecision of iam.simulate_custom_policy")  # fmt: skip
    return "publishing is denied although earned allows it; sending stays with the allows."


def most_dangerous(lab: Lab, last: Any) -> str:
    """Whether *last* names the actions of this run that make an administrator, and no harmless."""
    right = isinstance(last, list | tuple | set) and all(isinstance(one, str) for one in last)
    expect(right, "a list of actions", repr(last)[:60], "last")
    expect(last, "the actions that make their owner an administrator", "none", "yours.policy")
    used = {
        action
        for statement in least_privilege(lab, "administrator").policy["Statement"]
        for action in policies.listed(statement["Action"])
    }
    statements = [_allow(sorted(last), "*")]
    for action in TAKES_ALL:
        found = _decision(lab, statements, action, lab.names.role_arn)
        expect(found == "allowed", f"{action} to be among them", found,
               "what changes a role's policies")  # fmt: skip
    for action in HARMLESS:
        found = _decision(lab, statements, action, "*")
        expect(found != "allowed", f"{action} not to be among them", found,
               "last: it gives nobody more rights")  # fmt: skip
    unknown = sorted({one.lower() for one in last} - {one.lower() for one in used})
    expect(not unknown, "actions that you used", unknown[:1], "yours.policy")
    return f"whoever has {' or '.join(TAKES_ALL)} on a role in use takes the rest."


def _allow(action: Any, resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _text(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _earned(lab: Lab) -> list[dict[str, Any]]:
    """The five statements that the notebook ends with."""
    pairs = dict(policies.needed(lab.names))
    del pairs["kinesis:PutRecords"]
    pairs["s3:GetObject"] = f"{lab.names.bucket_arn}/{lab.names.prefix}*"
    return [_allow(action, resource) for action, resource in pairs.items()]


def _decision(
    lab: Lab,
    statements: Iterable[Any],
    action: str,
    resource: str,
    context: dict[str, str] | None = None,
) -> str:
    """What IAM's simulator decides with these statements and no others."""
    given = list(statements) if isinstance(statements, list | tuple) else []
    for one in given or [statements]:
        whole = isinstance(one, dict) and {"Effect", "Resource"} <= one.keys()
        expect(
            whole, "statements with Effect, Action and Resource", repr(one)[:60], "what you gave"
        )
    try:
        document = _text(*given)
    except TypeError as problem:
        raise NotYet("statements of plain values", str(problem), "what you gave") from problem
    entries = [
        {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for key, value in (context or {}).items()
    ]
    answer = lab.client("iam").simulate_custom_policy(
        PolicyInputList=[document],
        ActionNames=[action],
        ResourceArns=[resource],
        ContextEntries=entries,
    )
    return answer["EvaluationResults"][0]["EvalDecision"]


def _as_wanted(found: str, wanted: bool, what: str, where: str) -> None:
    expect((found == "allowed") is wanted, f"{what} {'' if wanted else 'not '}to be allowed",
           found, where)  # fmt: skip


_FOLDER = """\
listing = allow("s3:ListBucket", names.bucket_arn)
getting = allow("s3:GetObject", f"{names.bucket_arn}/*")
%scheck("15.1", listing, getting)"""
_PREFIX = 'listing["Condition"] = {"StringLike": {"s3:prefix": "orders/*"}}\n'
_FOLDERS_FILES = 'getting["Resource"] = f"{names.bucket_arn}/orders/*"\n'

_BATCH = """\
batch = [one for one in earned if one["Action"] != "kinesis:PutRecord"]
%scheck("15.2", batch)"""
_BATCHES = 'batch.append(allow("kinesis:PutRecords", names.stream_arn))\n'

_ONLY = 'only = {"Effect": "Deny", "NotAction": ["sqs:*", "dynamodb:*"], "Resource": "*"}\n'
_ASKED = """\
results = [
    iam.simulate_custom_policy(
        PolicyInputList=[text(*earned, only)],
        ActionNames=[action],
        ResourceArns=[resource],
    )["EvaluationResults"][0]
    for action, resource in (
        ("sns:Publish", names.topic_arn), ("sqs:SendMessage", names.queue_arn)
    )
]
decided = {one["EvalActionName"]: one["EvalDecision"] for one in results}
"""
_DECIDED = 'check("15.3", only, decided)'

_YOURS = """\
yours = least_privilege(lab, "administrator", since=start)
last = %s
check("15.4", last)"""

EXERCISES = (
    Exercise(
        id="15.1",
        title="Read one folder",
        task="Support may list the bucket, but only under `orders/`, and read there. Change the "
        "two statements. `check` asks IAM's simulator about both, and about `hr/`, which has to be "
        "refused; nothing is attached.",
        difficulty=2,
        minutes=10,
        skills=("2.1.6", "2.3.6"),
        hints=(
            "Listing is asked of the bucket, so the folder can't stand in the ARN: it comes as the "
            "condition key `s3:prefix`.",
        ),
        start=_FOLDER % "",
        solution=_FOLDER % (_PREFIX + _FOLDERS_FILES),
        wants=("listing", "getting"),
        look=one_folder_only,
        scene=scene,
        wrong=(
            Wrong(
                (_FOLDER % _FOLDERS_FILES).replace(
                    "names.bucket_arn)\ng", 'f"{names.bucket_arn}/orders/*")\ng'
                ),
                "expected listing orders/ to be allowed; found implicitDeny",
            ),
            Wrong(_FOLDER % _PREFIX, "expected reading hr/pay.csv not to be allowed"),
            Wrong(
                _FOLDER % (_PREFIX.replace("orders/*", "*") + _FOLDERS_FILES),
                "expected listing hr/ not to be allowed",
            ),
            Wrong(
                (_FOLDER % (_PREFIX + _FOLDERS_FILES)).replace("s3:GetObject", "*"),
                "expected s3:DeleteObject not to be allowed",
            ),
        ),
    ),
    Exercise(
        id="15.2",
        title="A batch version",
        task="A colleague changes the function to `put_records`, a hundred at a time. Which action "
        "does the role need, which one no longer, and on which ARN? Write the five statements; "
        "`check` asks `simulate_custom_policy` about both actions, and about the rest.",
        difficulty=2,
        minutes=10,
        skills=("2.1.6",),
        hints=("The action has an *s*; the resource is the same stream.",),
        start=_BATCH % "",
        solution=_BATCH % _BATCHES,
        remark="`implicitDeny` for `kinesis:PutRecord`, `allowed` for `kinesis:PutRecords`.",
        wants=("batch",),
        look=batches_only,
        scene=scene,
        wrong=(
            Wrong(
                _BATCH % _BATCHES.replace("kinesis:PutRecords", "*"),
                "kinesis:PutRecord, which is no longer needed, not to be allowed",
            ),
            Wrong(
                _BATCH % _BATCHES.replace("PutRecords", "PutRecord*"),
                "kinesis:PutRecord, which is no longer needed, not to be allowed",
            ),
            Wrong(
                _BATCH % _BATCHES.replace("names.stream_arn", '"*"'),
                "expected another stream not to be allowed",
            ),
            Wrong(
                'batch = [allow("kinesis:PutRecords", names.stream_arn)]\ncheck("15.2", batch)',
                "expected dynamodb:PutItem on its resource to be allowed",
            ),
        ),
    ),
    Exercise(
        id="15.3",
        title="The deny that hits too much",
        task="`NotAction` with `Deny` is how companies say *only these*. The statement denies "
        "everything but SQS and DynamoDB. Find out with the simulator what it does to "
        "`sns:Publish`, although `earned` allows it, and to `sqs:SendMessage`: put both decisions "
        "into `decided`, by their actions.",
        difficulty=2,
        minutes=10,
        skills=("2.1.6", "4.1.7"),
        hints=(
            "Pass `text(*earned, only)` as `PolicyInputList`.",
            "Look at `EvalDecision` and `MatchedStatements` of each result.",
        ),
        start=_ONLY + "decided = {}\n" + _DECIDED,
        solution=_ONLY + _ASKED + _DECIDED,
        remark="`explicitDeny` for publishing, whatever is allowed elsewhere; sending is decided "
        "by the allows alone.",
        wants=("only", "decided"),
        look=deny_found_out,
        scene=scene,
        wrong=(
            Wrong(
                _ONLY + _ASKED.replace("*earned, only", "*earned") + _DECIDED,
                "IAM's own decision for sns:Publish; found allowed",
            ),
            Wrong(
                _ONLY.replace("Deny", "Allow") + _ASKED + _DECIDED,
                "expected explicitDeny for sns:Publish with only added; found allowed",
            ),
            Wrong(
                'only = allow("*", "*")\n' + _ASKED + _DECIDED,
                "expected explicitDeny for sns:Publish with only added; found allowed",
            ),
            Wrong(
                _ONLY.replace("NotAction", "Action") + _ASKED + _DECIDED,
                "expected allowed for dynamodb:PutItem with only added; found explicitDeny",
            ),
        ),
    ),
    Exercise(
        id="15.4",
        title="Less than AdministratorAccess",
        task="Which policy would have been enough for *you* in this notebook? Find the actions in "
        "it that you would hand out last: those that make their owner an administrator. Put them "
        "into `last`.",
        difficulty=3,
        minutes=15,
        skills=("2.1.6",),
        hints=(
            "Look at `yours.policy`.",
            "Who may change policies may do everything.",
        ),
        start=_YOURS % "[]",
        solution=_YOURS % '["iam:PutRolePolicy", "iam:AttachRolePolicy"]',
        remark="With one of them on a role that you can use, you take the rest. Administrators "
        "give them away only together with a permissions boundary; notebook 16 shows one.",
        wants=("last",),
        look=most_dangerous,
        scene=scene,
        wrong=(
            Wrong(_YOURS % '["*"]', "expected iam:GetRolePolicy not to be among them"),
            Wrong(_YOURS % '["iam:PutRolePolicy"]', "expected iam:AttachRolePolicy to be among"),
            Wrong(
                _YOURS % '["iam:PutRolePolicy", "iam:AttachRolePolicy", "s3:PutObject"]',
                "expected s3:PutObject not to be among them",
            ),
        ),
    ),
)

"""The exercises of notebook 16: which policy said no, an upload's URL, a topic, a short session."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from typing import Any

from botocore.exceptions import ClientError

from labkit import people, policies
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, Wrong, expect
from labkit.waiting import looks

INBOX = "PartnerInbox"
READER = "PartnerReader"
UPLOADED = "reports/signed.txt"
ENDINGS = {
    "no identity-based policy": "identity",
    "no resource-based policy": "resource",
    "no permissions boundary": "boundary",
    "no session policy": "session",
    "explicit deny": "",
}


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 16, its people, its role and its queue as the last experiment left."""
    iam, s3, sqs, names = lab.client("iam"), lab.client("s3"), lab.client("sqs"), lab.names
    s3.put_object(Bucket=names.bucket, Key="reports/day.txt", Body=b"412 orders")
    s3.delete_object(Bucket=names.bucket, Key=UPLOADED)
    partner = people.second_account(lab)
    setup = f"arn:aws:iam::{partner}:role/OrganizationAccountAccessRole"
    session = lab.client("sts").assume_role(RoleArn=setup, RoleSessionName="setup")["Credentials"]
    partner_iam = lab.client("iam", **people.keys(session))
    clerk, worker = people.user(iam, "Clerk"), people.user(partner_iam, "Worker")
    sends = _text(_allow("sqs:SendMessage", "*"))
    for side, name in ((iam, "Clerk"), (partner_iam, "Worker")):
        side.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=sends)
    reader_arn = names.role_arn.replace(names.role, READER)
    external = {"StringEquals": {"sts:ExternalId": "orders-2041"}}
    trust = {"Effect": "Allow", "Principal": {"AWS": partner}, "Action": "sts:AssumeRole"}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        trusted = _text({**trust, "Condition": external})
        iam.create_role(RoleName=READER, AssumeRolePolicyDocument=trusted)
    may = _text(_allow(["s3:GetObject", "dynamodb:GetItem"], "*"))
    iam.put_role_policy(RoleName=READER, PolicyName="may", PolicyDocument=may)
    asked = {"RoleArn": reader_arn, "RoleSessionName": "nightly", "ExternalId": "orders-2041"}
    inbox = sqs.create_queue(QueueName=INBOX)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=inbox, Attributes={"Policy": ""})
    inbox_arn = names.queue_arn.replace(names.queue, INBOX)
    return {"lab": lab, "names": names, "iam": iam, "s3": s3, "sqs": sqs, "json": json,
            "people": people, "urllib": urllib, "allow": _allow, "text": _text,
            "signer": lab.client("s3", **clerk), "browser": _browser(),
            "partner_iam": partner_iam, "as_worker": lab.client("sts", **worker),
            "wants": _text(_allow("sts:AssumeRole", reader_arn)), "asked": asked,
            "inbox": inbox, "inbox_arn": inbox_arn,
            "says": _allow("sqs:SendMessage", inbox_arn)}  # fmt: skip


def drawer_opens(lab: Lab, drawers: Any) -> str:
    """Whether a change in the drawer that was named for each refusal makes IAM allow the call."""
    expect(isinstance(drawers, dict), "a dict of drawers", repr(drawers)[:60], "drawers")
    for ending, empty in ENDINGS.items():
        named = drawers.get(ending)
        known = (*filter(None, ENDINGS.values()), "deny")
        expect(named in known, f"one of {', '.join(known)} for {ending!r}", repr(named), "drawers")
        yes = _allow("s3:GetObject", lab.names.bucket_arn + "/*")
        layers = {layer: [yes] for layer in known[:-1]}
        if empty:
            layers[empty] = [_allow("sts:GetCallerIdentity", "*")]
        else:
            layers["identity"] = [yes, {**yes, "Effect": "Deny"}]
        if named == "deny":
            repaired = [one for one in layers["identity"] if one["Effect"] == "Allow"]
            layers["identity"] = repaired
        else:
            layers[named] = [*layers[named], _allow("*", "*")]
        for layer, statements in layers.items():
            found = _decision(lab, statements, f"{lab.names.bucket_arn}/reports/day.txt")
            expect(found == "allowed", f"'{ending}' to be repaired in its own drawer",
                   f"{found} of the {layer} policies, whatever is added to {named}",
                   "the words of the refusal")  # fmt: skip
    return "each of the five refusals is repaired where you look for it."


def one_upload_only(lab: Lab, url: Any) -> str:
    """Whether the file was uploaded, by a clerk who may do only that, with a URL for only that."""
    iam, names = lab.client("iam"), lab.names
    clerk = iam.get_user(UserName="Clerk")["User"]["Arn"]
    signed = f"{names.bucket_arn}/{UPLOADED}"
    for action, resource, wanted in (
        ("s3:PutObject", signed, True),
        ("s3:GetObject", signed, False),
        ("s3:DeleteObject", signed, False),
        ("s3:PutObject", f"{names.bucket_arn}/reports/day.txt", False),
    ):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=clerk, ActionNames=[action], ResourceArns=[resource]
        )
        found = answer["EvaluationResults"][0]["EvalDecision"]
        what = f"{action} on {resource.rpartition(':')[2].partition('/')[2]}"
        expect((found == "allowed") is wanted, f"{what} {'' if wanted else 'not '}to be allowed",
               found, "the policies of the user Clerk")  # fmt: skip
    listed = lab.client("s3").list_objects_v2(Bucket=names.bucket, Prefix=UPLOADED)
    expect(listed["KeyCount"], f"a file {UPLOADED}", "none", "the request that uses the URL")
    right = isinstance(url, str) and UPLOADED in url and "Signature=" in url
    expect(right, f"the presigned URL of {UPLOADED}", repr(url)[:60], "generate_presigned_url")
    other = urllib.request.Request(url.replace("signed.txt", "other.txt"), b"no", method="PUT")
    other.add_header("Content-Type", "text/plain")
    try:
        with _browser().open(other) as page:
            status = page.status
    except urllib.error.HTTPError as refused:
        status = refused.code
    expect(status == 403, "the URL with another name to be refused", status, "url")
    return f"{UPLOADED} was uploaded, and the URL with another name is refused."


def own_topic_only(lab: Lab) -> str:
    """Whether PartnerInbox takes what this lab's topic delivers, and no other topic's messages."""
    sqs, sns, names = lab.client("sqs"), lab.client("sns"), lab.names
    url = sqs.get_queue_url(QueueName=INBOX)["QueueUrl"]
    arn = names.queue_arn.replace(names.queue, INBOX)
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
    where = f"the Policy of {INBOX}"
    expect(found.get("Policy"), f"a policy of {INBOX}", "none", "sqs.set_queue_attributes")
    statements = policies.listed(json.loads(found["Policy"])["Statement"])
    actions = [one for statement in statements for one in policies.listed(statement["Action"])]
    right = {one.lower() for one in actions} == {"sqs:sendmessage"}
    expect(right, "sqs:SendMessage and no other action", actions, where)
    stranger = sns.create_topic(Name="StrangersTopic")["TopicArn"]
    try:
        for topic, wanted in ((stranger, False), (names.topic_arn, True)):
            subscription = sns.subscribe(
                TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
            )["SubscriptionArn"]
            try:
                sns.publish(TopicArn=topic, Message="from a check")
                arrived = _arrived(lab, url)
            finally:
                sns.unsubscribe(SubscriptionArn=subscription)
            whose = f"a message of {topic.rpartition(':')[2]}"
            expect(arrived is wanted, f"{whose} {'to arrive' if wanted else 'to be refused'}",
                   "that it arrived" if arrived else "nothing", where)  # fmt: skip
    finally:
        sns.delete_topic(TopicArn=stranger)
    return f"{INBOX} takes messages of {names.topic}, and a stranger's topic is refused."


def short_and_narrow(lab: Lab, short: Any) -> str:
    """Whether the credentials are PartnerReader's, for 15 minutes, and read reports/ only."""
    right = isinstance(short, dict) and "SessionToken" in short
    expect(right, "the Credentials of a session", type(short).__name__, "assume_role's answer")
    who = lab.client("sts", **people.keys(short)).get_caller_identity()["Arn"]
    expect(f"assumed-role/{READER}/" in who, f"a session of {READER}", who, "RoleArn")
    left = (short["Expiration"] - lab.clock.now()).total_seconds()
    expect(left <= 901, "at most 900 seconds", f"{left:.0f}", "DurationSeconds")
    bucket, s3 = lab.names.bucket, lab.client("s3")
    reader = lab.client("s3", **people.keys(short))
    where = "the session policy, Policy"
    # A key that is not there is refused as well, whatever the policy: so there is one.
    s3.put_object(Bucket=bucket, Key="hr/check.txt", Body=b"not for partners")
    try:
        for key, wanted in (("reports/day.txt", True), ("hr/check.txt", False)):
            try:
                reader.get_object(Bucket=bucket, Key=key)
                found = "allowed"
            except ClientError as refused:
                found = refused.response["Error"]["Message"].rpartition("because ")[2]
            wished = f"reading {key} {'' if wanted else 'not '}to be allowed"
            expect((found == "allowed") is wanted, wished, found, where)
    finally:
        s3.delete_object(Bucket=bucket, Key="hr/check.txt")
    return "the session reads reports/ and nothing else, for a quarter of an hour."


def _arrived(lab: Lab, url: str) -> bool:
    """Whether a message came; all that lies in the queue is taken out."""
    sqs = lab.client("sqs")

    def look() -> bool:
        batch = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in batch:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bool(batch)

    lab.settle()
    (found,) = looks(lab, "Waiting for the message", look, 0.5 if lab.control else 20.0)
    return found


def _decision(lab: Lab, statements: list[dict[str, Any]], resource: str) -> str:
    """What IAM's simulator decides about reading *resource*."""
    answer = lab.client("iam").simulate_custom_policy(
        PolicyInputList=[_text(*statements)],
        ActionNames=["s3:GetObject"],
        ResourceArns=[resource],
    )
    return answer["EvaluationResults"][0]["EvalDecision"]


def _browser() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _allow(action: Any, resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _text(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


_DRAWERS = """\
drawers = {
    "no identity-based policy": "identity",
    "no resource-based policy": "resource",
    "no permissions boundary": "boundary",
    "no session policy": "session",
    "explicit deny": "deny",
}
check("16.1", drawers)"""

_MAY = """\
signed = f"{names.bucket_arn}/reports/signed.txt"
may_upload = text(allow("s3:%s", signed))
iam.put_user_policy(UserName="Clerk", PolicyName="may", PolicyDocument=may_upload)
"""
_UPLOAD = (
    _MAY % "PutObject"
    + """\
where = {"Bucket": names.bucket, "Key": "reports/signed.txt"}
where["ContentType"] = "text/plain"
url = signer.generate_presigned_url("put_object", Params=where, ExpiresIn=60)
head = {"Content-Type": "text/plain"}
browser.open(urllib.request.Request(url, b"here", head, method="PUT")).status
check("16.2", url)"""
)

_TOPICS = """\
from_topics = {**says, "Principal": {"Service": "sns.amazonaws.com"}}
%ssqs.set_queue_attributes(QueueUrl=inbox, Attributes={"Policy": text(from_topics)})
check("16.3")"""
_SOURCE = 'from_topics["Condition"] = {"ArnEquals": {"aws:SourceArn": names.topic_arn}}\n'

_SHORT = """\
partner_iam.put_user_policy(UserName="Worker", PolicyName="may", PolicyDocument=wants)
only = text(allow("s3:GetObject", f"{names.bucket_arn}/reports/*"))
answer = as_worker.assume_role(**asked, Policy=only, DurationSeconds=900)
short = answer["Credentials"]
check("16.4", short)"""

EXERCISES = (
    Exercise(
        id="16.1",
        title="Which drawer?",
        task="Five endings of a refusal: *because no identity-based policy allows*, *because no "
        "resource-based policy allows*, *because no permissions boundary allows*, *because no "
        "session policy allows*, *with an explicit deny in an identity-based policy*. For each: "
        "where do you look, and what do you change? Answer `identity`, `resource`, `boundary` or "
        "`session` where you add an allow, and `deny` where you find a deny and take it away; "
        "`check` does so, and asks IAM.",
        difficulty=1,
        minutes=5,
        skills=("2.1.6", "4.1.7"),
        hints=("One of the five can't be repaired by adding anything.",),
        start="""\
drawers = {"no identity-based policy": "", "no session policy": ""}
check("16.1", drawers)""",
        solution=_DRAWERS,
        remark="The caller's role or user: add a statement. The resource (or its account): add a "
        "statement with the caller as principal. The boundary of the role: its administrator "
        "widens it. The `Policy` passed to `assume_role`: whoever calls it passes a wider one. The "
        "deny: find it and narrow it.",
        wants=("drawers",),
        look=drawer_opens,
        scene=scene,
        wrong=(
            Wrong(_DRAWERS.replace('"deny"', '"identity"'), "found explicitDeny"),
            Wrong(_DRAWERS.replace('"boundary"', '"identity"'), "whatever is added to identity"),
            Wrong(_DRAWERS.replace('"session"', '"deny"'), "'no session policy' to be repaired"),
        ),
    ),
    Exercise(
        id="16.2",
        title="Enough for the courier",
        task="The courier shall *upload* one file, `reports/signed.txt`. Give the clerk what that "
        "takes and no more, make the URL and use it. What happens with another file name? `check` "
        "tries that.",
        difficulty=2,
        minutes=10,
        skills=("2.1.4", "2.1.6"),
        hints=(
            '`generate_presigned_url("put_object", ...)`, and '
            '`Request(url, data=b"...", method="PUT")`.',
            "A content type is part of what is signed.",
        ),
        start=_MAY % "GetObject" + 'url = ""\ncheck("16.2", url)',
        solution=_UPLOAD,
        remark="Another name in the URL: `SignatureDoesNotMatch`.",
        wants=("url",),
        look=one_upload_only,
        scene=scene,
        wrong=(
            Wrong(_UPLOAD.replace('"s3:PutObject"', '"*"'), "expected s3:GetObject on reports/"),
            Wrong(
                _UPLOAD.replace('Object", signed', 'Object", "*"'),
                "expected s3:PutObject on reports/day.txt not to be allowed",
            ),
            Wrong(
                _MAY % "PutObject" + 'url = "made, and never used"\ncheck("16.2", url)',
                "expected a file reports/signed.txt",
            ),
        ),
    ),
    Exercise(
        id="16.3",
        title="Whose topic?",
        task="A queue shall take messages from your topic and no other. Its policy names "
        "`sns.amazonaws.com`. Add what is missing, and say which attack it stops. `check` "
        "subscribes the queue to a stranger's topic and to yours, and publishes to both.",
        difficulty=2,
        minutes=10,
        skills=("2.1.8", "2.1.6"),
        hints=(
            "The principal is the whole SNS service: everybody's topics.",
            "The condition key is `aws:SourceArn`.",
        ),
        start=_TOPICS % "",
        solution=_TOPICS % _SOURCE,
        remark="Without it anybody could subscribe your queue to a topic of their own, and SNS "
        "would deliver: the confused deputy again.",
        look=own_topic_only,
        scene=scene,
        wrong=(
            Wrong(
                (_TOPICS % _SOURCE).replace("{**says, ", '{**says, "Action": "*", '),
                "expected sqs:SendMessage and no other action",
            ),
            Wrong(
                _TOPICS % _SOURCE.replace("names.topic_arn", "names.queue_arn"),
                "to arrive; found nothing",
            ),
            Wrong(
                _TOPICS
                % _SOURCE.replace("names.topic_arn", '"arn:aws:sns:*:*:*"').replace(
                    "ArnEquals", "ArnLike"
                ),
                "a message of StrangersTopic to be refused",
            ),
            Wrong(
                """\
sqs.set_queue_attributes(QueueUrl=inbox, Attributes={"Policy": ""})
check("16.3")""",
                "expected a policy of PartnerInbox",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="16.4",
        title="Only for a quarter of an hour, only this folder",
        task="The partner's worker shall get a session of `PartnerReader` for 15 minutes that "
        "reads `reports/` and nothing else, although the role may more. Take it on; `check` tries "
        "what it reads.",
        difficulty=3,
        minutes=15,
        skills=("2.1.5", "2.1.6"),
        hints=(
            "Give the worker `sts:AssumeRole` back first (the last experiment replaced it).",
            "Then `Policy` and `DurationSeconds`.",
        ),
        start="""\
worker_may = text(allow("s3:GetObject", f"{names.bucket_arn}/*"))
short = None
check("16.4", short)""",
        solution=_SHORT,
        remark="Outside `reports/` the answer is *no session policy allows*.",
        wants=("short",),
        look=short_and_narrow,
        scene=scene,
        wrong=(
            Wrong(
                _SHORT.replace('"s3:GetObject", f"{names.bucket_arn}/reports/*"', '"*", "*"'),
                "expected reading hr/check.txt not to be allowed",
            ),
            Wrong(_SHORT.replace("=900", "=3600"), "expected at most 900 seconds"),
            Wrong(
                _SHORT.replace("/reports/*", "/reports"),
                "expected reading reports/day.txt to be allowed",
            ),
        ),
    ),
)

"""The decision: against an independent evaluator, its properties, and the guide's own examples."""

from __future__ import annotations

import copy
import json
from collections import Counter
from random import Random

import iam_cases
import iam_naive
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.localaws.iam.evaluation import (
    BOUNDARY,
    IDENTITY,
    RESOURCE,
    SESSION,
    TRUST,
    Attached,
    Caller,
    Policies,
    PolicySet,
    Request,
    decide,
)
from labkit.localaws.iam.policy import parse_document

GENERATED = 12_000
SOME = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


def policy_set(kind, documents):
    if documents is None:
        return None
    return PolicySet(
        kind, [Attached(parse_document(each), str(n), "none") for n, each in enumerate(documents)]
    )


def ask(case):
    """The engine's decision on a case of :mod:`iam_cases`."""
    who = case["who"]
    caller = Caller(who["kind"], who["account"], who["arn"], who["entity"], who["name"])
    request = Request(case["action"], case["resource_arn"], caller, case["context"])
    policies = Policies(
        identity=policy_set(IDENTITY, case["identity"]),
        boundary=policy_set(BOUNDARY, case["boundary"]),
        session=policy_set(SESSION, case["session"]),
        resource=policy_set(RESOURCE, case["resource"]),
        resource_account=case["owner"],
        resource_decides=case["must"],
    )
    return decide(request, policies)


@pytest.mark.parametrize("part", range(4))
def test_agrees_with_an_independent_evaluator(part):
    outcomes = Counter()
    for seed in range(part * GENERATED // 4, (part + 1) * GENERATED // 4):
        case = iam_cases.make(seed)
        expected = iam_naive.decide(case)
        assert ask(case).outcome == expected, case
        outcomes[expected] += 1
    # The cases are worth something only when all three outcomes are common.
    assert min(outcomes[o] for o in ("allowed", "explicitDeny", "implicitDeny")) > GENERATED // 80


@SOME
@given(iam_cases.cases)
def test_agrees_with_an_independent_evaluator_on_what_hypothesis_tries(case):
    assert ask(case).outcome == iam_naive.decide(case)


def plain(documents, action, arn, context=None, **changes):
    """A case of a user with identity policies only, unless changed."""
    who = {"kind": "user", "account": iam_cases.ACCOUNT, "arn": iam_cases.USER,
           "entity": iam_cases.USER, "name": ""}  # fmt: skip
    return {
        "who": who, "identity": documents, "boundary": None, "session": None, "resource": None,
        "owner": "", "must": False, "action": action, "resource_arn": arn,
        "context": context or {"aws:username": "ann"}, **changes,
    }  # fmt: skip


WHERE = st.sampled_from(["identity", "boundary", "session", "resource"])


@SOME
@given(iam_cases.cases, WHERE, iam_cases.seeds)
def test_adding_a_deny_never_allows(case, where, seed):
    statement = iam_cases.statement(Random(seed), resource_policy=True)
    before = ask(case).outcome
    changed = copy.deepcopy(case)
    if where == "boundary" and changed["boundary"] is None:
        where = "identity"
    if where == "session" and changed["session"] is None:
        where = "identity"
    statement = {**statement, "Effect": "Deny"}
    changed[where] = [*(changed[where] or []), {"Version": "2012-10-17", "Statement": [statement]}]
    after = ask(changed).outcome
    assert after == "explicitDeny" or after == before


@SOME
@given(iam_cases.cases, st.randoms(use_true_random=False))
def test_order_of_statements_and_policies_never_matters(case, random):
    changed = copy.deepcopy(case)
    for where in ("identity", "boundary", "session", "resource"):
        for document in changed[where] or []:
            if isinstance(document["Statement"], list):
                random.shuffle(document["Statement"])
        if changed[where]:
            random.shuffle(changed[where])
    assert ask(changed).outcome == ask(case).outcome


@SOME
@given(iam_cases.cases, WHERE, st.data())
def test_a_policy_narrowed_never_allows_more(case, where, data):
    """Dropping an allow, or taking an action or resource out of one, never opens anything."""
    changed = copy.deepcopy(case)
    allows = [
        (document, statement)
        for document in changed[where] or []
        for statement in iam_naive.as_list(document["Statement"])
        if statement["Effect"] == "Allow"
    ]
    if not allows:
        return
    document, statement = data.draw(st.sampled_from(allows))
    how = data.draw(st.sampled_from(["drop", "action", "resource", "condition"]))
    if how == "drop":
        statements = iam_naive.as_list(document["Statement"])
        document["Statement"] = [each for each in statements if each is not statement]
    elif how == "condition":
        statement.setdefault("Condition", {})["StringEquals"] = {"k:never": "x"}
    else:
        element = "Action" if how == "action" else "Resource"
        if element not in statement:
            return
        statement[element] = iam_naive.as_list(statement[element])[1:]
    if ask(changed).allowed:
        assert ask(case).allowed


@SOME
@given(iam_cases.cases, iam_cases.seeds)
def test_a_boundary_or_session_policy_never_allows_more(case, seed):
    documents = iam_cases.documents(Random(seed))
    for where in ("boundary", "session"):
        if case[where] is None and case["who"]["kind"] in ("user", "role"):
            assert ask(case).allowed or not ask({**case, where: documents}).allowed


@SOME
@given(iam_cases.cases)
def test_a_decision_names_what_decided_it(case):
    decision = ask(case)
    effects = {match.statement.allow for match in decision.statements}
    if decision.outcome == "explicitDeny":
        assert effects == {False}
    elif decision.outcome == "implicitDeny":
        assert not effects
    else:
        assert effects <= {True}


# -- the examples of the guide ---------------------------------------------------------------------


def allow(actions, resource="*", **more):
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def deny(actions, resource="*", **more):
    return {"Effect": "Deny", "Action": actions, "Resource": resource, **more}


def document(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


LOGS_BUCKET = "arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar-logs"
CARLOS = document(
    allow(["s3:GetBucketLocation", "s3:GetAccountPublicAccessBlock", "s3:ListAccessPoints",
           "s3:ListAllMyBuckets"], "arn:aws:s3:::*"),
    allow("s3:*", ["arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar",
                   "arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar/*"]),
    deny("s3:*", ["arn:aws:s3:::*log*", "arn:aws:s3:::*log*/*"]),
)  # fmt: skip


def test_guide_example_explicit_deny_in_one_account():
    """ "Policy evaluation for requests within a single account": Carlos and his buckets."""
    bucket_policy = [document({
        "Effect": "Allow", "Principal": {"AWS": iam_cases.USER}, "Action": "s3:*",
        "Resource": ["arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar/*", f"{LOGS_BUCKET}/*"],
    })]  # fmt: skip
    own = "arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar/report"
    case = plain([CARLOS], "s3:PutObject", own, resource=bucket_policy)
    assert ask(case).allowed
    logs = plain([CARLOS], "s3:PutObject", f"{LOGS_BUCKET}/l", resource=bucket_policy)
    assert (ask(logs).outcome, ask(logs).by) == ("explicitDeny", IDENTITY)
    # Without the identity policy the bucket policy alone is enough, in the same account.
    assert ask(plain([], "s3:PutObject", own, resource=bucket_policy)).allowed
    assert ask(plain([CARLOS], "s3:ListAllMyBuckets", "arn:aws:s3:::*")).allowed


def test_guide_example_cross_account():
    """ "Cross-account policy evaluation logic": both accounts must allow."""
    identity = document(
        allow("s3:ListAllMyBuckets"),
        allow("s3:*Object*", "arn:aws:s3:::Production/*"),
        deny("s3:*", ["arn:aws:s3:::*log*", "arn:aws:s3:::*log*/*"]),
    )
    granted = [document({
        "Effect": "Allow", "Principal": {"AWS": iam_cases.USER}, "Resource": "arn:aws:s3:::Production/*",
        "Action": ["s3:GetObject*", "s3:PutObject*", "s3:ReplicateObject", "s3:RestoreObject"],
    })]  # fmt: skip
    there = {"owner": iam_cases.OTHER, "resource": granted}
    save = "arn:aws:s3:::Production/file"
    assert ask(plain([identity], "s3:PutObject", save, **there)).allowed
    logs = {"owner": iam_cases.OTHER}
    refused = ask(plain([identity], "s3:PutObject", "arn:aws:s3:::Production-logs/file", **logs))
    assert (refused.outcome, refused.by) == ("explicitDeny", IDENTITY)
    # He cannot delete: no resource policy allows it. And the bucket policy alone does not do.
    refused = ask(plain([identity], "s3:DeleteObject", save, **there))
    assert (refused.outcome, refused.by) == ("implicitDeny", RESOURCE)
    refused = ask(plain([], "s3:PutObject", save, **there))
    assert (refused.outcome, refused.by) == ("implicitDeny", IDENTITY)


def test_guide_example_permissions_boundary():
    """ "Permissions boundaries for IAM entities": the intersection of boundary and policy."""
    boundary = [document(allow(["s3:*", "cloudwatch:*", "ec2:*"]))]
    create_user = [document(allow("iam:CreateUser"))]
    refused = ask(plain(create_user, "iam:CreateUser", "*", boundary=boundary))
    assert (refused.outcome, refused.by) == ("implicitDeny", BOUNDARY)
    assert not ask(plain([], "s3:GetObject", "arn:aws:s3:::b/k", boundary=boundary)).allowed
    both = [document(allow("s3:GetObject"))]
    assert ask(plain(both, "s3:GetObject", "arn:aws:s3:::b/k", boundary=boundary)).allowed


ROLE_SESSION = {"kind": "role", "account": iam_cases.ACCOUNT, "arn": iam_cases.SESSION,
                "entity": iam_cases.ROLE, "name": ""}  # fmt: skip
QUEUE = f"arn:aws:sqs:us-east-1:{iam_cases.ACCOUNT}:q"


@pytest.mark.parametrize(
    ("who", "principal", "allowed"),
    [
        # "Resource-based policies and implicit denies in other policy types", row by row: the
        # policy of the queue allows, everything else denies implicitly.
        ("role", iam_cases.ROLE, False),
        ("role", iam_cases.SESSION, True),
        ("user", iam_cases.USER, True),
        ("federated", iam_cases.USER, False),
        ("federated", f"arn:aws:sts::{iam_cases.ACCOUNT}:federated-user/fed", True),
        # An account as principal delegates to its identity policies; a star names everybody.
        ("user", iam_cases.ACCOUNT, False),
        ("role", "*", True),
    ],
)
def test_guide_table_of_resource_policies_and_implicit_denies(who, principal, allowed):
    callers = {
        "role": ROLE_SESSION,
        "user": plain([], "", "")["who"],
        "federated": {"kind": "federated", "account": iam_cases.ACCOUNT, "entity": iam_cases.USER,
                      "arn": f"arn:aws:sts::{iam_cases.ACCOUNT}:federated-user/fed", "name": ""},
    }  # fmt: skip
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sqs:SendMessage",
                 "Resource": QUEUE}  # fmt: skip
    case = plain([], "sqs:SendMessage", QUEUE, who=callers[who], resource=[document(statement)],
                 boundary=[], session=[])  # fmt: skip
    assert ask(case).allowed is allowed


def test_a_role_named_in_a_resource_policy_needs_no_identity_policy():
    statement = {"Effect": "Allow", "Principal": {"AWS": iam_cases.ROLE}, "Action": "sqs:*",
                 "Resource": QUEUE}  # fmt: skip
    case = plain([], "sqs:SendMessage", QUEUE, who=ROLE_SESSION, resource=[document(statement)])
    assert ask(case).allowed
    narrowed = {**case, "session": [document(allow("sqs:ReceiveMessage"))]}
    assert (ask(narrowed).outcome, ask(narrowed).by) == ("implicitDeny", SESSION)


def test_key_policies_and_trust_policies_must_allow():
    """KMS key policies and role trust policies are the exceptions to "either is enough"."""
    key = f"arn:aws:kms:us-east-1:{iam_cases.ACCOUNT}:key/k"
    everything = [document(allow("*"))]
    delegating = [document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{iam_cases.ACCOUNT}:root"},
                            "Action": "kms:*", "Resource": "*"})]  # fmt: skip
    closed = [document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{iam_cases.ACCOUNT}:user/x"},
                        "Action": "kms:*", "Resource": "*"})]  # fmt: skip
    assert ask(plain(everything, "kms:Decrypt", key, resource=delegating, must=True)).allowed
    refused = ask(plain(everything, "kms:Decrypt", key, resource=closed, must=True))
    assert (refused.outcome, refused.by) == ("implicitDeny", RESOURCE)
    refused = ask(plain([], "kms:Decrypt", key, resource=delegating, must=True))
    assert (refused.outcome, refused.by) == ("implicitDeny", IDENTITY)


def test_role_trust_denial_names_the_trust_policy():
    trust = PolicySet(TRUST, [Attached(parse_document(document(
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
         "Action": "sts:AssumeRole"})), iam_cases.ROLE, "resource")])  # fmt: skip
    caller = Caller("service", "", "lambda.amazonaws.com", name="lambda.amazonaws.com")
    policies = Policies(PolicySet(IDENTITY, []), resource=trust, resource_decides=True)
    assert decide(Request("sts:AssumeRole", iam_cases.ROLE, caller), policies).allowed
    other = Caller("service", "", "ec2.amazonaws.com", name="ec2.amazonaws.com")
    refused = decide(Request("sts:AssumeRole", iam_cases.ROLE, other), policies)
    assert (refused.outcome, refused.by) == ("implicitDeny", TRUST)


def test_root_may_do_everything_in_its_account_but_what_a_policy_denies():
    root = {"kind": "root", "account": iam_cases.ACCOUNT, "entity": "", "name": "",
            "arn": f"arn:aws:iam::{iam_cases.ACCOUNT}:root"}  # fmt: skip
    assert ask(plain([], "s3:PutObject", "arn:aws:s3:::b/k", who=root)).allowed
    against = [document({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"})]
    refused = ask(plain([], "s3:PutObject", "arn:aws:s3:::b/k", who=root, resource=against))
    assert (refused.outcome, refused.by) == ("explicitDeny", RESOURCE)


def test_services_and_strangers_need_a_resource_policy():
    service = {"kind": "service", "account": "", "arn": "sns.amazonaws.com", "entity": "",
               "name": "sns.amazonaws.com"}  # fmt: skip
    topic = "arn:aws:sns:us-east-1:111122223333:t"
    policy = [document({
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": QUEUE, "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    })]  # fmt: skip
    case = plain([], "sqs:SendMessage", QUEUE, {"aws:sourcearn": topic}, who=service,
                 resource=policy)  # fmt: skip
    assert ask(case).allowed
    assert not ask({**case, "context": {"aws:sourcearn": topic + "x"}}).allowed
    assert not ask({**case, "resource": None}).allowed


def test_not_principal_spares_only_those_fully_listed():
    """ "AWS JSON policy elements: NotPrincipal": account, role and session have to be listed."""

    def policy(*names):
        return [document({"Effect": "Deny", "NotPrincipal": {"AWS": list(names)}, "Action": "s3:*",
                          "Resource": "*"})]  # fmt: skip

    everything = [document(allow("*"))]
    case = plain(everything, "s3:GetObject", "arn:aws:s3:::b/k", who=ROLE_SESSION)
    root = f"arn:aws:iam::{iam_cases.ACCOUNT}:root"
    spared = policy(iam_cases.SESSION, iam_cases.ROLE, root)
    assert ask({**case, "resource": spared}).allowed
    for missing in (policy(iam_cases.SESSION, root), policy(iam_cases.ROLE, root)):
        assert ask({**case, "resource": missing}).outcome == "explicitDeny"


ATTRIBUTES = "dynamodb:Attributes"


@pytest.mark.parametrize(
    ("effect", "operator", "requested", "applies"),
    [
        ("Allow", "ForAllValues:StringEquals", ("PostDateTime", "UserName"), False),
        ("Allow", "ForAllValues:StringEquals", ("PostDateTime",), True),
        ("Allow", "ForAllValues:StringEquals", (), True),
        ("Deny", "ForAnyValue:StringEquals", ("UserName", "Message", "PostDateTime"), True),
        ("Deny", "ForAnyValue:StringEquals", ("UserName",), False),
        ("Deny", "ForAnyValue:StringEquals", (), False),
    ],
)
def test_guide_examples_of_set_operators(effect, operator, requested, applies):
    """ "Examples of using multiple values with condition set operators": the table Thread."""
    values = ["PostDateTime", "Message", "Tags"] if effect == "Allow" else ["ID", "PostDateTime"]
    statement = {"Effect": effect, "Action": "dynamodb:*",
                 "Resource": "arn:aws:dynamodb:*:*:table/Thread",
                 "Condition": {operator: {ATTRIBUTES: values}}}  # fmt: skip
    table = "arn:aws:dynamodb:us-east-1:111122223333:table/Thread"
    identity = [document(statement), *([document(allow("*"))] if effect == "Deny" else [])]
    case = plain(identity, "dynamodb:PutItem", table, {ATTRIBUTES.lower(): requested})
    expected = {("Allow", True): "allowed", ("Allow", False): "implicitDeny",
                ("Deny", True): "explicitDeny", ("Deny", False): "allowed"}  # fmt: skip
    assert ask(case).outcome == expected[effect, applies]


def test_absurd_policies_neither_hang_nor_allow():
    stars = {
        "Effect": "Allow",
        "Action": "s3:" + "*a" * 3000,
        "Resource": "arn:aws:s3:::" + "*?" * 3000,
    }
    nested = '{"Statement":' + "[" * 50_000 + "]" * 50_000 + "}"
    for text in (json.dumps(document(stars)), nested, "{" * 10_000, "", "null", "[]", '{"Statement": 5}',
                 '{"Statement": [null, 5, {"Effect": "Allow"}, {"Effect": ["Allow"]}]}'):  # fmt: skip
        attached = [Attached(parse_document(text), "x", "none")]
        request = Request("s3:" + "a" * 2999, "arn:aws:s3:::" + "b" * 2999,
                          Caller("user", "1", "arn"), {})  # fmt: skip
        assert not decide(request, Policies(PolicySet(IDENTITY, attached))).allowed

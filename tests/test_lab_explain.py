"""Why a call was decided as it was, and the policy that would have been enough, as a learner asks."""

from __future__ import annotations

import copy
import json
import re

import pytest
from botocore.exceptions import ClientError

import labkit
from labkit import policies, traffic
from labkit.decisions import caller, decisions, short
from labkit.diagrams import label
from labkit.explain import explain
from labkit.granted import compared, in_force, least_privilege

pytestmark = pytest.mark.xdist_group("lab")


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def document(*statements):
    return {"Version": policies.VERSION, "Statement": list(statements)}


@pytest.fixture
def somebody(lab):
    """A user with a key, whose clients and whose one policy a test chooses."""
    iam = lab.client("iam")
    iam.create_user(UserName="explained")
    key = iam.create_access_key(UserName="explained")["AccessKey"]

    class Somebody:
        def may(self, *statements):
            text = json.dumps(document(*statements))
            iam.put_user_policy(UserName="explained", PolicyName="p", PolicyDocument=text)

        def client(self, service):
            return lab.client(
                service,
                aws_access_key_id=key["AccessKeyId"],
                aws_secret_access_key=key["SecretAccessKey"],
            )

    yield Somebody()
    iam.delete_access_key(UserName="explained", AccessKeyId=key["AccessKeyId"])
    for name in iam.list_user_policies(UserName="explained")["PolicyNames"]:
        iam.delete_user_policy(UserName="explained", PolicyName=name)
    iam.delete_user(UserName="explained")


def refused(call, **params) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value


@pytest.fixture
def elsewhere(lab):
    """The same AWS, opened as one whose control path nobody knows."""
    other = copy.copy(lab)
    other.control = None
    return other


def table_arn(lab, name):
    return lab.names.table_arn.replace(lab.names.table, name)


def test_the_last_denial_is_explained(lab, somebody):
    somebody.may(
        allow("dynamodb:GetItem", table_arn(lab, "Other")),
        allow("sqs:*"),
        allow("dynamodb:*", Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
    )
    key = {"OrderId": {"S": "1"}}
    error = refused(somebody.client("dynamodb").get_item, TableName="Any", Key=key)
    why = explain(lab)
    assert not why.allowed and why.outcome == "implicitDeny" and why.by == "identity-based policy"
    assert (why.action, why.resource) == ("dynamodb:GetItem", table_arn(lab, "Any"))
    assert why.principal.endswith(":user/explained")
    assert why.context["aws:RequestedRegion"] == lab.region
    assert why.context["aws:username"] == "explained"
    assert why.sentence.startswith("DENIED: user explained, dynamodb:GetItem on arn:")
    told = {row[3]: row[4] for row in why.policies.rows}
    assert told["Allow, number 1"] == "is about other resources: table/Other"
    assert told["1 statement"] == "is about other actions"
    assert told["Allow, number 3"] == (
        f"condition not met: aws:RequestedRegion is {lab.region}, StringEquals wants eu-west-1"
    )
    assert "meets the condition" in why.advice
    # The statement it shows is enough: with it alone the same call is let in.
    assert why.statement == allow("dynamodb:GetItem", table_arn(lab, "Any"))
    somebody.may(why.statement)
    error = refused(somebody.client("dynamodb").get_item, TableName="Any", Key=key)
    assert error.response["Error"]["Code"] == "ResourceNotFoundException"


def test_an_error_finds_its_own_decision(lab, somebody):
    somebody.may(allow("sns:ListTopics"))
    first = refused(somebody.client("sqs").create_queue, QueueName="one")
    refused(somebody.client("sqs").create_queue, QueueName="two")
    assert explain(lab, first).resource.endswith(":one")
    # So does the sentence in it, wherever it was written down, and a decision's number.
    text = f'{{"reason": "{first.response["Error"]["Message"]}"}}'
    assert explain(lab, text).resource.endswith(":one")
    number = int(decisions(lab, denied=True, principal="explained").rows[-2][0])
    assert explain(lab, number).resource.endswith(":one")
    assert explain(lab, principal="explained").resource.endswith(":two")
    # A call that was allowed is found by its request.
    answer = somebody.client("sns").list_topics()
    why = explain(lab, request_id=answer["ResponseMetadata"]["RequestId"])
    assert why.allowed and why.statement is None and why.advice == ""
    assert why.sentence.endswith("by p (identity-based policy).")
    assert ([row[4] for row in why.policies.rows]) == ["applies: allows"]


def test_an_error_of_s3_and_of_sts(lab, somebody):
    bucket = f"explained-{lab.suffix}"
    lab.client("s3").create_bucket(Bucket=bucket)
    error = refused(somebody.client("s3").get_object, Bucket=bucket, Key="k")
    assert explain(lab, error).statement == allow("s3:GetObject", f"arn:aws:s3:::{bucket}/k")
    lab.client("s3").delete_bucket(Bucket=bucket)
    labkit.build(lab, through="03")
    error = refused(
        lab.client("sts").assume_role, RoleArn=lab.names.role_arn, RoleSessionName="curious"
    )
    why = explain(lab, error)
    assert (why.where, why.by) == ("role trust policy", "role trust policy")
    assert why.statement["Principal"]["AWS"].endswith(":user/administrator")
    assert why.sentence.endswith("the role trust policy does not allow it.")
    assert "role trust policy of role/" in why.advice


def test_an_explicit_deny_is_told_apart(lab, somebody):
    deny = {"Sid": "NoQueues", "Effect": "Deny", "Action": "sqs:*", "Resource": "*"}
    somebody.may(allow("sqs:*"), deny)
    why = explain(lab, refused(somebody.client("sqs").create_queue, QueueName="one"))
    assert why.outcome == "explicitDeny" and why.statement["Sid"] == "NoQueues"
    assert "No allow can repair this" in repr(why)
    assert [row[3:] for row in why.policies.rows] == [
        ["Allow, number 1", "applies: allows"],
        ["Deny, NoQueues", "applies: denies"],
    ]
    assert "explicit deny: yes" in why.picture.text and "identity" in why.picture.text


def test_a_resource_policy_is_read_too(pipeline):
    """SNS was refused by the queue: nobody was told, but it was decided, and can be explained."""
    lab = pipeline
    url = lab.client("sqs").get_queue_url(QueueName=lab.names.queue)["QueueUrl"]
    lab.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    lab.client("sns").publish(TopicArn=lab.names.topic_arn, Message="hello")
    lab.settle()
    why = explain(lab)
    assert (why.principal, why.action) == ("sns.amazonaws.com", "sqs:SendMessage")
    assert why.by == "resource-based policy" and why.context["aws:SourceArn"] == lab.names.topic_arn
    assert why.statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert "the service sns.amazonaws.com" in why.sentence
    assert "there is none" in why.picture.text
    labkit.build(lab)


def test_it_can_be_seen_and_read(lab, somebody):
    somebody.may(allow("sqs:*", "arn:aws:sqs:*:*:<b>&"))
    refused(somebody.client("sqs").create_queue, QueueName="one")
    why = explain(lab)
    text, page = repr(why), why._repr_html_()
    for part in ("DENIED", "number 1", "is about other resources", "Enough would be", '"Allow"'):
        assert part in text and part.replace('"', "&quot;") in page
    assert "<b>" not in page and "<details>" in page
    assert ["action", "sqs:CreateQueue"] in why.request.rows
    drawn = why.picture._repr_mimebundle_()
    source = drawn["text/vnd.mermaid"]
    assert source.startswith("flowchart LR") and "accDescr" in source
    # Mermaid's own words can't name a node.
    assert not set(re.findall(r"^  (\w+)[\[{(]", source, re.M)) & {"call", "end", "click", "style"}
    assert source.count("{{") == 1, "exactly one step decides, and has a shape of its own"
    assert drawn["text/plain"].endswith("DENIED.") and "1. explicit deny: none" in repr(why.picture)


def test_labels_never_break_a_diagram():
    assert label('a "b"\n<c>') == '"a #quot;b#quot;<br/>&lt;c&gt;"'


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        ("arn:aws:sts::1:assumed-role/R/S", "role R (session S)"),
        ("arn:aws:iam::1:user/path/U", "user path/U"),
        ("arn:aws:iam::1:root", "root"),
        ("sns.amazonaws.com", "the service sns.amazonaws.com"),
        ("*", "nobody in particular"),
    ],
)
def test_callers_in_words(arn, words):
    assert caller(arn) == words


def test_nothing_to_explain(lab):
    with pytest.raises(labkit.LabError, match="remembers no such decision"):
        explain(lab, "User: arn:aws:iam::1:user/nobody is not authorized to perform: sqs:Dance")
    with pytest.raises(labkit.LabError, match="no such"):
        explain(lab, request_id="never")
    with pytest.raises(labkit.LabError, match="no such decision"):
        explain(lab, 10**9)


# -- on an AWS that is not the local one -----------------------------------------------------------


def test_elsewhere_the_simulator_is_asked(lab, elsewhere, somebody):
    somebody.may(allow("sqs:ListQueues"))
    error = refused(somebody.client("sqs").create_queue, QueueName="one")
    why = explain(elsewhere, error)
    assert not why.allowed and why.action.lower() == "sqs:createqueue"
    assert why.statement["Resource"].endswith(":one") and "simulator" in repr(why)
    somebody.may(allow("sqs:*"))
    assert explain(elsewhere, error).allowed, "the simulator knows the policies as they are now"
    labkit.build(lab, through="04")
    role = f"arn:aws:sts::{lab.account_id}:assumed-role/{lab.names.role}/x"
    sentence = (
        f"User: {role} is not authorized to perform: SNS:Publish on resource: "
        f"{lab.names.topic_arn} because no identity-based policy allows it"
    )
    assert explain(elsewhere, sentence).allowed


def test_elsewhere_the_lab_says_what_to_use(elsewhere):
    for ask in (explain, decisions):
        with pytest.raises(labkit.LabError, match="decode_authorization_message"):
            ask(elsewhere)
    with pytest.raises(labkit.LabError, match="Access\\s+Analyzer"):
        least_privilege(elsewhere)


# -- least privilege -------------------------------------------------------------------------------


def test_least_privilege_of_a_run_is_enough_for_it(pipeline):
    """The policy made from a run replaces the seed's, and the same kind of run passes."""
    lab = pipeline
    since = lab.clock.stamp()
    event = {"orders": [{"OrderId": "LP-1", "Amount": 10}, {"OrderId": "LP-2", "Amount": 400}]}
    assert traffic.invoke(lab, event).ok
    lab.settle()
    found = least_privilege(lab, since=since)
    by_action = {grant.action: grant for grant in found.grants}
    assert by_action["dynamodb:PutItem"].times >= 2
    assert by_action["dynamodb:PutItem"].used == (lab.names.table_arn,)
    assert by_action["kinesis:PutRecords"].used == ()
    assert {"kinesis:PutRecords", "s3:GetObject"} <= set(found.unused)
    assert "dynamodb:PutItem" not in found.unused
    iam = lab.client("iam")
    iam.put_role_policy(
        RoleName=lab.names.role,
        PolicyName=lab.names.policy,
        PolicyDocument=json.dumps(found.policy),
    )
    event = {"orders": [{"OrderId": "LP-3", "Amount": 10}, {"OrderId": "LP-4", "Amount": 400}]}
    assert traffic.invoke(lab, event).ok
    assert "kinesis:PutRecords" in repr(found) and "never" in found._repr_html_()


def test_least_privilege_of_a_user_and_its_groups(lab, somebody):
    iam = lab.client("iam")
    iam.create_group(GroupName="explainers")
    iam.add_user_to_group(GroupName="explainers", UserName="explained")
    iam.put_group_policy(
        GroupName="explainers", PolicyName="g", PolicyDocument=json.dumps(document(allow("sns:*")))
    )
    somebody.may(allow("sqs:ListQueues"))
    try:
        assert set(in_force(iam, "explained")) == {"p", "g"}
        since = lab.clock.stamp()
        somebody.client("sns").list_topics()
        found = least_privilege(lab, "explained", since)
        assert [s["Action"] for s in found.policy["Statement"]] == ["sns:ListTopics"]
        assert found.unused == ["sqs:ListQueues"]
    finally:
        iam.remove_user_from_group(GroupName="explainers", UserName="explained")
        iam.delete_group_policy(GroupName="explainers", PolicyName="g")
        iam.delete_group(GroupName="explainers")


def test_granted_beside_used():
    bucket, topic = "arn:aws:s3:::b", "arn:aws:sns:us-east-1:1:t"
    force = {"P": document(allow(["s3:GetObject", "sns:*"], [f"{bucket}/*", topic]))}
    calls = [("s3:GetObject", f"{bucket}/orders/1", 2), ("s3:GetObject", f"{bucket}/orders/2", 1)]
    enough = document(allow("s3:GetObject", f"{bucket}/orders/*"))
    read, told = compared(force, calls, enough)
    assert (read.action, read.used, read.times) == ("s3:GetObject", (f"{bucket}/*",), 3)
    assert read.enough == (f"{bucket}/orders/*",) and read.idle == ()
    assert (told.used, told.times, told.idle) == ((), 0, (topic,))
    assert short(topic) == "t"

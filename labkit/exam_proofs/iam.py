"""Proofs on how IAM's policies decide."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_and_message, error_of
from labkit.exam_proofs.policies import allow, deny, policy

DENIED = "AccessDenied"


def explicit_deny(aws: Bench) -> Observations:
    """iam-01: a deny wins over an allow, wherever and whenever it was attached."""
    iam, see = aws.client("iam"), Observations()
    queue, group = aws.queue("work"), aws.name("group")
    user = aws.user("worker", deny("sqs:PurgeQueue"))
    iam.create_group(GroupName=group)
    aws.defer(iam.delete_group, GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="all", PolicyDocument=policy(allow("sqs:*")))
    aws.defer(iam.delete_group_policy, GroupName=group, PolicyName="all")
    iam.add_user_to_group(GroupName=group, UserName=user["UserName"])
    aws.defer(iam.remove_user_from_group, GroupName=group, UserName=user["UserName"])
    sqs = aws.client("sqs", user)
    see(
        "Send",
        error_of(sqs.send_message, QueueUrl=queue, MessageBody="x"),
        "no error",
        supports="all-but-purge",
        refutes="nothing",
    )
    purge = error_of(sqs.purge_queue, QueueUrl=queue)
    see("Purge", purge, DENIED, supports="all-but-purge", refutes="everything")
    iam.put_group_policy(GroupName=group, PolicyName="all", PolicyDocument=policy(allow("sqs:*")))
    purge = error_of(sqs.purge_queue, QueueUrl=queue)
    see("Purge, the allow attached again later", purge, DENIED, refutes="depends")
    return see


def permissions_boundary(aws: Bench) -> Observations:
    """iam-02: allowed is what policy and boundary both allow."""
    iam, see = aws.client("iam"), Observations()
    boundary = iam.create_policy(
        PolicyName=aws.name("boundary"), PolicyDocument=policy(allow("s3:* sqs:*"))
    )["Policy"]["Arn"]
    aws.defer(iam.delete_policy, PolicyArn=boundary)
    role = aws.role(
        "bounded", allow("sqs:SendMessage dynamodb:PutItem"), PermissionsBoundary=boundary
    )
    queue, table = aws.queue("work"), aws.table("orders", "Id")
    session = aws.session(role)
    sqs, s3 = aws.client("sqs", session), aws.client("s3", session)
    dynamodb = aws.client("dynamodb", session)
    see(
        "sqs:SendMessage, in both",
        error_of(sqs.send_message, QueueUrl=queue, MessageBody="x"),
        "no error",
        supports="send-only",
    )
    see(
        "dynamodb:PutItem, in the policy alone",
        error_of(dynamodb.put_item, TableName=table, Item={"Id": {"S": "1"}}),
        "AccessDeniedException",
        refutes="both union",
    )
    see(
        "s3:ListAllMyBuckets, in the boundary alone",
        error_of(s3.list_buckets),
        DENIED,
        refutes="boundary-only union",
    )
    return see


def prefix_condition(aws: Bench) -> Observations:
    """iam-05: a list's prefix is a condition key; the resource of a list is the bucket."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    arn = f"arn:aws:s3:::{bucket}"

    def lists(stem: str, resource: str, **condition) -> list[str]:
        more = {"Condition": {"StringLike": condition}} if condition else {}
        user = aws.user(stem, allow("s3:ListBucket", resource, **more))
        client, own = aws.client("s3", user), f"home/{user['UserName']}/"
        s3.put_object(Bucket=bucket, Key=f"{own}note", Body=b"")
        return [
            error_of(client.list_objects_v2, Bucket=bucket, Prefix=prefix)
            for prefix in (own, "home/someone/", "")
        ]

    own_only = {"s3:prefix": "home/${aws:username}/*"}
    see(
        "Condition on s3:prefix: own folder, another, all",
        lists("a", arn, **own_only),
        ["no error", DENIED, DENIED],
        supports="condition",
    )
    see(
        "The folder as resource",
        lists("b", f"{arn}/home/${{aws:username}}/*"),
        [DENIED] * 3,
        refutes="resource",
    )
    see(
        "Condition on s3:ObjectKey",
        lists("c", arn, **{"s3:ObjectKey": "home/*"}),
        [DENIED] * 3,
        refutes="object-key",
    )
    see(
        "Condition on aws:username",
        lists("d", arn, **{"aws:username": "home/*"}),
        [DENIED] * 3,
        refutes="per-user",
    )
    return see


def not_action(aws: Bench) -> Observations:
    """iam-10: Allow with NotAction grants all other actions and denies none."""
    see = Observations()
    not_iam = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    queue = aws.queue("work")

    def can(user: dict) -> list[str]:
        iam, sqs = aws.client("iam", user), aws.client("sqs", user)
        return [
            error_of(sqs.send_message, QueueUrl=queue, MessageBody="x"),
            error_of(iam.list_roles, MaxItems=1),
        ]

    see(
        "Writing to a queue, listing roles",
        can(aws.user("not-iam", not_iam)),
        ["no error", DENIED],
        supports="allows-rest",
        refutes="nothing read-only",
    )
    see(
        "With another policy that allows IAM",
        can(aws.user("and-iam", not_iam, allow("iam:ListRoles"))),
        ["no error", "no error"],
        supports="allows-rest",
        refutes="denies-iam",
    )
    return see


def attribute_based(aws: Bench) -> Observations:
    """iam-11: one policy compares the caller's tag with the queue's."""
    iam, sqs, see = aws.client("iam"), aws.client("sqs"), Observations()
    queues = {}
    for team in ("red", "blue"):
        queues[team] = aws.queue(team)
        sqs.tag_queue(QueueUrl=queues[team], Tags={"team": team})

    def sends(stem: str, key: str, value: str) -> list[str]:
        statement = allow("sqs:SendMessage", Condition={"StringEquals": {key: value}})
        role = aws.role(stem, statement, Tags=[{"Key": "team", "Value": "red"}])
        client = aws.client("sqs", aws.session(role))
        return [
            error_of(client.send_message, QueueUrl=queues[team], MessageBody="x")
            for team in ("red", "blue")
        ]

    own = "${aws:PrincipalTag/team}"
    see(
        "aws:ResourceTag: a red role sends to red and blue",
        sends("match", "aws:ResourceTag/team", own),
        ["no error", DENIED],
        supports="tag-match",
    )
    see(
        "aws:RequestTag",
        sends("request", "aws:RequestTag/team", own),
        [DENIED, DENIED],
        refutes="request-tag",
    )
    see("aws:TagKeys", sends("keys", "aws:TagKeys", "team"), [DENIED, DENIED], refutes="tag-keys")
    role = aws.role("named", allow("sqs:SendMessage", aws.arn("sqs", "${aws:username}*")))
    client = aws.client("sqs", aws.session(role))
    see(
        "Names by ${aws:username}",
        error_of(client.send_message, QueueUrl=queues["red"], MessageBody="x"),
        DENIED,
        refutes="name-pattern",
    )
    iam.tag_role(RoleName=aws.name("match"), Tags=[{"Key": "team", "Value": "blue"}])
    client = aws.client("sqs", aws.session(role.replace("named", "match"), "later"))
    see(
        "The role's tag changed to blue, no policy changed",
        error_of(client.send_message, QueueUrl=queues["blue"], MessageBody="x"),
        "no error",
        supports="tag-match",
    )
    return see


def resource_policy_suffices(aws: Bench) -> Observations:
    """iam-12: in one account an allow in the queue's policy that names the user is enough."""
    sqs, see = aws.client("sqs"), Observations()
    queue, named, other = aws.queue("inbox"), aws.user("named"), aws.user("other")

    def sends(user: dict) -> str:
        return error_of(aws.client("sqs", user).send_message, QueueUrl=queue, MessageBody="x")

    see("No policy anywhere", sends(named), DENIED)
    statement = allow("sqs:SendMessage", aws.queue_arn(queue), Principal={"AWS": named["Arn"]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy(statement)})
    see(
        "Named in the queue's policy",
        sends(named),
        "no error",
        supports="yes-same-account",
        refutes="no-both no-identity",
    )
    see("Another user of the account", sends(other), DENIED, refutes="yes-anyone")
    return see


def least_privilege(aws: Bench) -> Observations:
    """iam-13: one action on one table, and nothing else happens by accident."""
    see = Observations()
    orders, other = aws.table("orders", "Id"), aws.table("other", "Id")
    arn = aws.arn("dynamodb", f"table/{orders}")

    def may(stem: str, *statements) -> dict[str, bool]:
        client = aws.client("dynamodb", aws.session(aws.role(stem, *statements)))
        item = {"Id": {"S": "1"}}
        tries = {
            "put": error_of(client.put_item, TableName=orders, Item=item),
            "put elsewhere": error_of(client.put_item, TableName=other, Item=item),
            "read": error_of(client.get_item, TableName=orders, Key=item),
        }
        return {name: code == "no error" for name, code in tries.items()}

    see(
        "PutItem on the table",
        may("least", allow("dynamodb:PutItem", arn)),
        {"put": True, "put elsewhere": False, "read": False},
        supports="put-on-table",
    )
    see(
        "PutItem on all",
        may("anywhere", allow("dynamodb:PutItem")),
        {"put": True, "put elsewhere": True, "read": False},
        refutes="put-anywhere",
    )
    see(
        "All actions on the table",
        may("all", allow("dynamodb:*", arn)),
        {"put": True, "put elsewhere": False, "read": True},
        refutes="all-on-table",
    )
    full = may("full", allow("dynamodb:*"), deny("dynamodb:DeleteTable"))
    see(
        "Full access but DeleteTable",
        full,
        {"put": True, "put elsewhere": True, "read": True},
        refutes="deny-delete",
    )
    return see


def read_the_denial(aws: Bench) -> Observations:
    """iam-14: the message tells who, what, where, and which kind of denial it was."""
    sns, see = aws.client("sns"), Observations()
    topic = aws.topic("orders")

    def message(stem: str, *statements) -> str:
        role = aws.role(stem, *statements)
        client = aws.client("sns", aws.session(role, "orders"))
        return error_and_message(client.publish, TopicArn=topic, Message="x")[1]

    missing = message("missing")
    see(
        "Nothing allows it",
        missing,
        lambda text: text.endswith(
            "because no identity-based policy allows the SNS:Publish action"
        ),
        supports="missing-allow",
    )
    who = f"assumed-role/{aws.name('missing')}/orders"
    see("It names the role's session", who in missing, True, refutes="wrong-user")
    see(
        "The role denies it",
        message("denying", deny("sns:Publish"), allow("sns:Publish")),
        lambda text: "with an explicit deny in an identity-based policy" in text,
        refutes="explicit-deny",
    )
    refusing = deny("sns:Publish", topic, Principal={"AWS": "*"})
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=policy(refusing)
    )
    see(
        "The topic denies it",
        message("allowed", allow("sns:Publish")),
        lambda text: "with an explicit deny in a resource-based policy" in text,
        refutes="topic-policy",
    )
    return see


def wrong_region(aws: Bench) -> Observations:
    """iam-15: an ARN in a policy must match the resource in every part."""
    see = Observations()
    stream = aws.stream("clicks")
    here = aws.arn("kinesis", f"stream/{stream}")

    def put(stem: str, actions: str, resource: str) -> str:
        client = aws.client("kinesis", aws.user(stem, allow(actions, resource)))
        return error_of(client.put_record, StreamName=stream, PartitionKey="k", Data=b"x")

    elsewhere = here.replace(aws.region, "us-west-2")
    see(
        "The ARN of another Region",
        put("west", "kinesis:PutRecord", elsewhere),
        "AccessDeniedException",
    )
    see(
        "The ARN of this Region",
        put("here", "kinesis:PutRecord", here),
        "no error",
        supports="arn-region",
        refutes="replication",
    )
    none = here.replace(aws.region, "")
    see(
        "An ARN without a Region",
        put("none", "kinesis:PutRecord", none),
        "AccessDeniedException",
        refutes="global",
    )
    see(
        "With PutRecords as well",
        put("both", "kinesis:PutRecord kinesis:PutRecords", elsewhere),
        "AccessDeniedException",
        refutes="put-records",
    )
    return see

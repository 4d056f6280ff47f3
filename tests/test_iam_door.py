"""The front door of a running local AWS: identities, denials and grants, through boto3."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from iam_support import REGION, allow, deny, document, refusal
from iam_support import door as door

from labkit.localaws.call import AwsError, Principal


def test_the_administrator_may_do_everything(door):
    assert door.client("sts").get_caller_identity()["Arn"].endswith(":user/administrator")
    assert door.client("s3").list_buckets()["Buckets"] is not None


def test_denials_in_the_words_of_each_service(door):
    name, key = door.user()
    who = f"User: arn:aws:iam::{door.account}:user/{name} is not authorized to perform: "
    queue = f"arn:aws:sqs:{REGION}:{door.account}:q"
    topic = f"arn:aws:sns:{REGION}:{door.account}:t"
    table = f"arn:aws:dynamodb:{REGION}:{door.account}:table/T"
    group = f"arn:aws:logs:{REGION}:{door.account}:log-group:g:log-stream:s"

    def expect(service, code, status, words, operation, **params):
        made = refusal(getattr(door.client(service, key), operation), **params)
        assert made == (code, status, who + words)

    def because(action):
        return f"because no identity-based policy allows the {action} action"

    expect("dynamodb", "AccessDeniedException", 400,
           f"dynamodb:GetItem on resource: {table} {because('dynamodb:GetItem')}",
           "get_item", TableName="T", Key={"a": {"S": "b"}})  # fmt: skip
    expect("sns", "AuthorizationError", 403,
           f"SNS:Publish on resource: {topic} {because('SNS:Publish')}",
           "publish", TopicArn=topic, Message="m")  # fmt: skip
    expect("sqs", "AccessDenied", 403,
           f"sqs:sendmessage on resource: {queue} {because('sqs:sendmessage')}",
           "send_message", QueueUrl=f"{door.aws.endpoint}/{door.account}/q", MessageBody="m")  # fmt: skip
    expect("logs", "AccessDeniedException", 400,
           f"logs:PutLogEvents on resource: {group} {because('logs:PutLogEvents')}",
           "put_log_events", logGroupName="g", logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}])  # fmt: skip
    expect("lambda", "AccessDeniedException", 403,
           f"lambda:ListFunctions {because('lambda:ListFunctions')}", "list_functions")  # fmt: skip
    expect("iam", "AccessDenied", 403,
           f"iam:CreateUser on resource: arn:aws:iam::{door.account}:user/x {because('iam:CreateUser')}",
           "create_user", UserName="x")  # fmt: skip
    expect("s3", "AccessDenied", 403,
           f"s3:ListAllMyBuckets {because('s3:ListAllMyBuckets')}", "list_buckets")  # fmt: skip
    expect("secretsmanager", "AccessDeniedException", 400,
           f"secretsmanager:GetSecretValue on resource: db {because('secretsmanager:GetSecretValue')}",
           "get_secret_value", SecretId="db")  # fmt: skip


def test_s3_says_it_in_xml_with_the_arn_in_quotes(door):
    bucket = door.name("bucket-")
    door.client("s3").create_bucket(Bucket=bucket)
    door.client("s3").put_object(Bucket=bucket, Key="k", Body=b"x")
    name, key = door.user(deny("s3:GetObject"), allow("s3:*"))
    code, status, message = refusal(door.client("s3", key).get_object, Bucket=bucket, Key="k")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: arn:aws:iam::{door.account}:user/{name} is not authorized to perform: s3:GetObject "
        f'on resource: "arn:aws:s3:::{bucket}/k" with an explicit deny in an identity-based policy'
    )


def test_variants_for_boundaries_and_session_policies(door):
    boundary = door.client("iam").create_policy(
        PolicyName=door.name("boundary"), PolicyDocument=document(allow("sqs:*"))
    )["Policy"]["Arn"]
    _, key = door.user(allow("dynamodb:*"), PermissionsBoundary=boundary)
    *_, message = refusal(door.client("dynamodb", key).list_tables)
    assert message.endswith("because no permissions boundary allows the dynamodb:ListTables action")
    role = door.role({"AWS": door.account}, allow("dynamodb:*"))
    session = door.client("sts").assume_role(
        RoleArn=role, RoleSessionName="sess", Policy=document(allow("s3:*"))
    )["Credentials"]
    *_, message = refusal(door.client("dynamodb", session).list_tables)
    assert message.endswith("because no session policy allows the dynamodb:ListTables action")


def test_policies_count_from_the_next_call_on(door):
    name, key = door.user()
    client = door.client("dynamodb", key)
    refusal(client.list_tables)
    door.client("iam").put_user_policy(
        UserName=name, PolicyName="x", PolicyDocument=document(allow("dynamodb:ListTables"))
    )
    client.list_tables()
    door.client("iam").delete_user_policy(UserName=name, PolicyName="x")
    refusal(client.list_tables)


def test_groups_managed_policies_and_their_versions(door):
    iam = door.client("iam")
    name, key = door.user()
    group = door.name("group")
    iam.create_group(GroupName=group)
    policy = iam.create_policy(
        PolicyName=door.name("policy"), PolicyDocument=document(allow("dynamodb:ListTables"))
    )["Policy"]["Arn"]
    iam.attach_group_policy(GroupName=group, PolicyArn=policy)
    client = door.client("dynamodb", key)
    refusal(client.list_tables)
    iam.add_user_to_group(GroupName=group, UserName=name)
    client.list_tables()
    iam.create_policy_version(
        PolicyArn=policy, PolicyDocument=document(allow("sqs:*")), SetAsDefault=True
    )
    refusal(client.list_tables)


def test_keys_switched_off_or_deleted_are_unknown(door):
    name, key = door.user(allow("dynamodb:*"))
    iam, client = door.client("iam"), door.client("dynamodb", key)
    client.list_tables()
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert refusal(client.list_tables)[0] == "UnrecognizedClientException"
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    assert refusal(client.list_tables)[0] == "UnrecognizedClientException"


def test_fine_grained_access_to_items(door):
    """The developer guide's example: each user reads the items of its own key."""
    dynamodb = door.client("dynamodb")
    table = door.name("Table")
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "owner", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "owner", "AttributeType": "S"}])  # fmt: skip
    arn = f"arn:aws:dynamodb:{REGION}:{door.account}:table/{table}"
    condition = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["${aws:username}"]}}
    name, key = door.user(allow(["dynamodb:GetItem", "dynamodb:PutItem"], arn, Condition=condition))
    client = door.client("dynamodb", key)
    client.put_item(TableName=table, Item={"owner": {"S": name}})
    client.get_item(TableName=table, Key={"owner": {"S": name}})
    refusal(client.get_item, TableName=table, Key={"owner": {"S": "somebody"}})
    refusal(client.scan, TableName=table)


def test_bucket_policies_and_missing_objects(door):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    name, key = door.user()
    client = door.client("s3", key)
    refusal(client.get_object, Bucket=bucket, Key="k")
    statement = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*",
                      Principal={"AWS": f"arn:aws:iam::{door.account}:user/{name}"})  # fmt: skip
    s3.put_bucket_policy(Bucket=bucket, Policy=document(statement))
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    # Whether an object exists is told only to those who may list.
    code, status, message = refusal(client.get_object, Bucket=bucket, Key="gone")
    assert (code, status) == ("AccessDenied", 403) and "s3:ListBucket" in message
    assert refusal(s3.get_object, Bucket=bucket, Key="gone")[:2] == ("NoSuchKey", 404)
    assert refusal(client.list_objects_v2, Bucket="never-made-bucket")[0] == "NoSuchBucket"
    s3.put_bucket_policy(Bucket=bucket, Policy=document(
        deny("s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], Principal="*",
             Condition={"StringNotEquals": {"aws:PrincipalArn": f"arn:aws:iam::{door.account}:user/administrator"}})))  # fmt: skip
    _, other = door.user(allow("s3:*"))
    *_, message = refusal(door.client("s3", other).get_object, Bucket=bucket, Key="k")
    assert message.endswith("with an explicit deny in a resource-based policy")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_many_objects_are_deleted_one_permission_at_a_time(door):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    for name in ("a/1", "a/2", "b/1"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    _, key = door.user(allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/a/*"))
    wanted = {"Objects": [{"Key": "a/1"}, {"Key": "b/1"}, {"Key": "a/2"}]}
    answer = door.client("s3", key).delete_objects(Bucket=bucket, Delete=wanted)
    assert {each["Key"] for each in answer["Deleted"]} == {"a/1", "a/2"}
    (error,) = answer["Errors"]
    assert (error["Key"], error["Code"]) == ("b/1", "AccessDenied")
    assert "is not authorized to perform: s3:DeleteObject" in error["Message"]
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b/1"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "ü/中",
        "a+b",
        "a%2Fb",
        "a//b",
        "/lead",
        "trail/",
        "a/../b",
        "a;b=c&d",
        "q?x=1",
        "#h",
        "a:b",
        "..",
        "x/./y",
        "~'!()*",
        "\u0085",
    ],  # fmt: skip
)
def test_the_key_asked_about_is_the_key_touched(door, key):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    literal = key.replace("*", "${*}").replace("?", "${?}")
    resource = f"arn:aws:s3:::{bucket}/{literal}"
    _, keys = door.user(allow(["s3:PutObject", "s3:GetObject", "s3:DeleteObject"], resource))
    client = door.client("s3", keys)
    client.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"
    client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": key},
                       MetadataDirective="REPLACE")  # fmt: skip
    refusal(client.put_object, Bucket=bucket, Key=key + "x", Body=b"x")
    client.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_request_has_one_meaning_or_none(door):
    """What is authorised is what is done, however a request is mangled (and properly signed)."""
    name, keys = door.user(allow(["iam:ListUsers", "sns:ListTopics", "sqs:ListQueues",
                                  "dynamodb:ListTables", "s3:GetBucketAcl"]))  # fmt: skip
    bucket = door.name("bucket-")
    door.client("s3").create_bucket(Bucket=bucket)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    json_10 = {"Content-Type": "application/x-amz-json-1.0"}
    create = b"Action=CreateUser&UserName=evil&Version=2010-05-08"
    table = json.dumps({"TableName": "evil", "BillingMode": "PAY_PER_REQUEST",
                        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
                        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}]})  # fmt: skip
    requests = [
        ("iam", "/?Action=ListUsers&Version=2010-05-08", create, form),
        ("iam", "/?Action=CreateUser&UserName=evil", b"Action=ListUsers&Version=2010-05-08", form),
        ("iam", "/", b"Action=ListUsers&" + create, form),
        ("iam", "/", create + b"&Action=ListUsers", form),
        ("sns", "/?Action=ListTopics", b"Action=CreateTopic&Name=evil", form),
        ("sqs", "/", b"Action=CreateQueue&QueueName=evil", {**form, "X-Amz-Target": "AmazonSQS.ListQueues"}),
        ("sqs", "/?Action=CreateQueue&QueueName=evil", b"{}", {**json_10, "X-Amz-Target": "AmazonSQS.ListQueues"}),
        ("dynamodb", "/?Action=CreateTable", table.encode(), {**json_10, "X-Amz-Target": "DynamoDB_20120810.ListTables"}),
        ("s3", f"/{bucket}?acl&policy", b"", {}),
        ("s3", f"/{bucket}?policy&acl", b"", {}),
        ("s3", f"/{bucket}?acl&acl", b"", {}),
    ]  # fmt: skip
    for service, path, body, headers in requests:
        status, answer = send_signed(door, keys, service, path, body, headers)
        assert status in (400, 403), (path, body, answer)
    assert "evil" not in {user["UserName"] for user in door.client("iam").list_users()["Users"]}
    assert "evil" not in json.dumps([
        door.client("sns").list_topics()["Topics"], door.client("sqs").list_queues().get("QueueUrls"),
        door.client("dynamodb").list_tables()["TableNames"]])  # fmt: skip
    # Another region than the one signed for cannot be smuggled in either.
    agent = {**form, "User-Agent": "x region/eu-west-1"}
    status, _ = send_signed(door, keys, "sns", "/", b"Action=ListTopics&Version=2010-03-31", agent)
    assert status == 403


def send_signed(door, keys, service, path, body, headers):
    method = "POST" if body else "GET"
    wanted = AWSRequest(method, door.aws.endpoint + path, headers=headers, data=body)
    kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    credentials = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"])
    kind(credentials, service, REGION).add_auth(wanted)
    made = wanted.prepare()
    request = urllib.request.Request(
        made.url, data=body or None, method=method, headers=dict(made.headers.items())
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_conditions_on_tags_of_resources_and_requests(door):
    sqs = door.client("sqs")
    ours, theirs = door.name("queue"), door.name("queue")
    urls = {n: sqs.create_queue(QueueName=n, tags={"Team": t})["QueueUrl"]
            for n, t in ((ours, "orders"), (theirs, "billing"))}  # fmt: skip
    _, key = door.user(
        allow("sqs:SendMessage", Condition={"StringEquals": {"aws:ResourceTag/team": "orders"}}),
        allow(["sqs:CreateQueue", "sqs:TagQueue"], Condition={
            "StringEquals": {"aws:RequestTag/Team": "orders"},
            "ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}}),
    )  # fmt: skip
    client = door.client("sqs", key)
    client.send_message(QueueUrl=urls[ours], MessageBody="m")
    refusal(client.send_message, QueueUrl=urls[theirs], MessageBody="m")
    client.create_queue(QueueName=door.name("queue"), tags={"Team": "orders"})
    refusal(client.create_queue, QueueName=door.name("queue"), tags={"Team": "orders", "x": "y"})
    refusal(client.create_queue, QueueName=door.name("queue"))


def test_presigned_urls_carry_the_signers_permissions(door):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    name, key = door.user(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))

    def url(version, method="get_object", **params):
        client = door.client("s3", key, signature_version=version)
        params = {"Bucket": bucket, "Key": "k", **params}
        return client.generate_presigned_url(method, Params=params, ExpiresIn=300)

    for version in ("s3v4", "s3"):
        assert fetch(url(version)) == (200, b"content")
        status, body = fetch(url(version).replace("/k?", "/other?"))
        assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    status, body = fetch(url("s3v4", "put_object"), "PUT", b"new")
    assert status == 403 and b"s3:PutObject" in body
    made = [url(version) for version in ("s3v4", "s3")]
    assert all(fetch(each)[0] == 200 for each in made)
    door.aws.clock.advance(301)
    assert all(b"Request has expired" in fetch(each)[1] for each in made)
    assert fetch(f"{door.aws.endpoint}/{bucket}/k")[0] == 403
    door.client("iam").delete_user_policy(UserName=name, PolicyName="p")
    assert fetch(url("s3v4"))[0] == 403


def fetch(url, method="GET", data=None):
    request = urllib.request.Request(url, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_presigned_forms_upload_what_their_policy_allows(door):
    s3, bucket = door.client("s3"), door.name("bucket-")
    s3.create_bucket(Bucket=bucket)
    for version in ("s3v4", "s3"):
        client = door.client("s3", signature_version=version)
        form = client.generate_presigned_post(
            bucket, "up/${filename}", Conditions=[["content-length-range", 1, 10]])  # fmt: skip
        assert upload(form, b"content")[0] in (200, 204)
        assert s3.get_object(Bucket=bucket, Key="up/f.txt")["Body"].read() == b"content"
        assert b"EntityTooLarge" in upload(form, b"x" * 11)[1]
        changed = {**form, "fields": {**form["fields"], "acl": "public-read"}}
        assert b"Extra input fields: acl" in upload(changed, b"content")[1]
        signature = {"s3v4": "x-amz-signature", "s3": "signature"}[version]
        forged = {**form, "fields": {**form["fields"], signature: "0" * 64}}
        assert b"SignatureDoesNotMatch" in upload(forged, b"content")[1]
        s3.delete_object(Bucket=bucket, Key="up/f.txt")
    assert upload({"url": form["url"], "fields": {"key": "k"}}, b"content")[0] == 403


def upload(form, content):
    boundary = "----form"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(form["url"], data=body, method="POST", headers={
        "Content-Type": f"multipart/form-data; boundary={boundary}"})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_services_need_the_resources_permission(door):
    identity, sqs = door.aws.identity, door.client("sqs")
    url = sqs.create_queue(QueueName=door.name("queue"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    topic = f"arn:aws:sns:{REGION}:{door.account}:t"

    def may(source=topic):
        return identity.service_allowed(
            "sns.amazonaws.com", "sqs:SendMessage", queue, source_arn=source,
            source_account=door.account)  # fmt: skip

    assert not may()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(
        allow("sqs:SendMessage", queue, Principal={"Service": "sns.amazonaws.com"},
              Condition={"ArnEquals": {"aws:SourceArn": topic}}))})  # fmt: skip
    assert may() and not may(topic + "x")
    client = door.aws.client(
        "sqs", principal=Principal.service("sns.amazonaws.com", source_arn=topic)
    )
    client.send_message(QueueUrl=url, MessageBody="m")
    stranger = door.aws.client("sqs", principal=Principal.service("s3.amazonaws.com"))
    refusal(stranger.send_message, QueueUrl=url, MessageBody="m")


def test_lambda_assumes_a_role_only_if_it_is_trusted(door):
    identity = door.aws.identity
    trusting = door.role({"Service": "lambda.amazonaws.com"}, allow("dynamodb:ListTables"))
    keys = identity.assume_role_for_service(trusting, "lambda.amazonaws.com", "fn", 900)
    arn = door.client("sts", keys).get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{door.account}:assumed-role/{trusting.rsplit('/')[-1]}/fn"
    door.client("dynamodb", keys).list_tables()
    other = door.role({"Service": "ec2.amazonaws.com"})
    for role in (other, other + "x", "nonsense"):
        with pytest.raises(AwsError) as caught:
            identity.assume_role_for_service(role, "lambda.amazonaws.com", "fn", 900)
        assert caught.value.code == "AccessDenied"
    assert identity.role_allows(trusting, "dynamodb:ListTables", "*")
    assert not identity.role_allows(trusting, "dynamodb:PutItem", "*")


def test_passing_a_role_needs_permission(door):
    role = door.role({"Service": "states.amazonaws.com"})
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    _, key = door.user(allow("states:*"))
    wanted = {"name": door.name("machine"), "definition": definition, "roleArn": role}
    *_, message = refusal(door.client("stepfunctions", key).create_state_machine, **wanted)
    assert f"iam:PassRole on resource: {role}" in message
    _, key = door.user(allow("states:*"), allow("iam:PassRole", role, Condition={
        "StringEquals": {"iam:PassedToService": "states.amazonaws.com"}}))  # fmt: skip
    door.client("stepfunctions", key).create_state_machine(**wanted)


def test_key_policies_decide_about_keys(door):
    kms = door.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    _, key = door.user(allow("kms:*"))
    client = door.client("kms", key)
    blob = client.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]
    closed = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{door.account}:user/administrator"})
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=document(closed))
    *_, message = refusal(client.decrypt, CiphertextBlob=blob)
    assert message.endswith("because no resource-based policy allows the kms:Decrypt action")
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_grants_let_use_keys(door):
    kms = door.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    name, key = door.user()
    client = door.client("kms", key)
    refusal(client.encrypt, KeyId=key_id, Plaintext=b"x")
    kms.create_grant(
        KeyId=key_id, GranteePrincipal=f"arn:aws:iam::{door.account}:user/{name}",
        Operations=["Encrypt", "Decrypt"], Constraints={"EncryptionContextSubset": {"App": "x"}})  # fmt: skip
    refusal(client.encrypt, KeyId=key_id, Plaintext=b"x")
    context = {"App": "x", "More": "y"}
    blob = client.encrypt(KeyId=key_id, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    assert client.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    refusal(client.generate_data_key, KeyId=key_id, KeySpec="AES_256", EncryptionContext=context)


def test_another_account_is_let_in_by_both_or_not_at_all(door):
    organizations = door.client("organizations")
    try:
        organizations.create_organization(FeatureSet="ALL")
    except ClientError:
        pass
    account = organizations.create_account(Email="a@example.com", AccountName="dev")[
        "CreateAccountStatus"]["AccountId"]  # fmt: skip
    keys = door.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole",
        RoleSessionName="admin")["Credentials"]  # fmt: skip
    there = door.client("sqs", keys)
    url = there.create_queue(QueueName="shared")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{account}:shared"
    *_, message = refusal(door.client("sqs").send_message, QueueUrl=url, MessageBody="m")
    assert message.endswith("because no resource-based policy allows the sqs:sendmessage action")
    there.set_queue_attributes(QueueUrl=url, Attributes={
        "Policy": document(allow("sqs:SendMessage", arn, Principal={"AWS": door.account}))})  # fmt: skip
    door.client("sqs").send_message(QueueUrl=url, MessageBody="m")
    assert there.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "m"
    _, key = door.user()
    *_, message = refusal(door.client("sqs", key).send_message, QueueUrl=url, MessageBody="m")
    assert message.endswith("because no identity-based policy allows the sqs:sendmessage action")


def test_calls_that_no_service_knows_are_refused(door):
    request = urllib.request.Request(door.aws.endpoint, data=b"{}", headers={
        "X-Amz-Target": "DynamoDB_20120810.DropEverything"})  # fmt: skip
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert 400 <= caught.value.code < 500


def test_ec2_hides_the_reason_in_an_encoded_message(door):
    _, key = door.user(allow("sts:DecodeAuthorizationMessage"))
    code, status, message = refusal(door.client("ec2", key).describe_instances)
    assert (code, status) == ("UnauthorizedOperation", 403)
    encoded = message.rsplit(" ", 1)[-1]
    decoded = door.client("sts", key).decode_authorization_message(EncodedMessage=encoded)
    assert json.loads(decoded["DecodedMessage"])["context"]["action"] == "ec2:DescribeInstances"
    assert refusal(door.client("sts", key).decode_authorization_message, EncodedMessage="x")[0] == (
        "InvalidAuthorizationMessageException"
    )

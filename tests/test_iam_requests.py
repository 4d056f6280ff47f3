"""From calls to actions, resources and condition keys."""

from __future__ import annotations

import functools

import botocore.session
import pytest
from botocore import xform_name
from botocore.config import Config
from moto.core.request import Request

from labkit.localaws import protocol
from labkit.localaws.call import Call, Principal
from labkit.localaws.iam import catalog
from labkit.localaws.iam.requests import asks_of

A = "123456789012"
_SESSION = botocore.session.Session()
REGIONAL = f"us-east-1:{A}"


class Nothing:
    """Facts of an account where nothing is."""

    known: dict = {}

    def __getattr__(self, name):
        def find(*args):
            found = self.known.get(name)
            if found is not None:
                return found(*args) if callable(found) else found
            empty = {"object_tags": {}, "key_aliases": (), "table_keys": (), "subscription": {},
                     "bucket_exists": True}  # fmt: skip
            if name == "iam_arn":
                return f"arn:aws:iam::{A}:{args[1]}/{args[2]}"
            return empty.get(name)

        return find


def facts(**known):
    made = Nothing()
    made.known = known
    return made


class Sent(Exception):
    """Carries a request away before it is sent."""


def _take(request, **_):
    raise Sent(request)


@functools.cache
def client_of(service):
    client = _SESSION.create_client(
        service, region_name="us-east-1", endpoint_url="http://127.0.0.1:4566",
        aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(parameter_validation=False, s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.meta.events.register_first("before-send", _take)
    return client


def call(service, operation, **params):
    """A call as the front door reads it: what botocore sends for it, parsed again."""
    try:
        getattr(client_of(service), xform_name(operation))(**params)
    except Sent as sent:
        (prepared,) = sent.args
    body = prepared.body.read() if hasattr(prepared.body, "read") else prepared.body
    request = Request.from_primitives(prepared.method, prepared.url, prepared.headers, body)
    made = protocol.read_call(request, A)
    assert made.operation == operation
    made.principal = Principal("user", A, f"arn:aws:iam::{A}:user/ann", name="ann")
    return made


def asked(service, operation, known=None, **params):
    return [
        (ask.action, ask.resource)
        for ask in asks_of(call(service, operation, **params), known or facts())
    ]


def context(service, operation, known=None, number=0, **params):
    return asks_of(call(service, operation, **params), known or facts())[number].context


B, OBJECT = "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/a/k"
S3 = [
    ("ListBuckets", {}, [("s3:ListAllMyBuckets", "arn:aws:s3:::*")]),
    ("ListObjectsV2", {"Bucket": "bucket"}, [("s3:ListBucket", B)]),
    ("ListObjects", {"Bucket": "bucket"}, [("s3:ListBucket", B)]),
    ("HeadBucket", {"Bucket": "bucket"}, [("s3:ListBucket", B)]),
    ("ListObjectVersions", {"Bucket": "bucket"}, [("s3:ListBucketVersions", B)]),
    ("CreateBucket", {"Bucket": "bucket"}, [("s3:CreateBucket", B)]),
    ("CreateBucket", {"Bucket": "bucket", "ACL": "private"}, [("s3:CreateBucket", B), ("s3:PutBucketAcl", B)]),
    ("GetBucketEncryption", {"Bucket": "bucket"}, [("s3:GetEncryptionConfiguration", B)]),
    ("DeleteBucketCors", {"Bucket": "bucket"}, [("s3:PutBucketCORS", B)]),
    ("GetObject", {"Bucket": "bucket", "Key": "a/k"}, [("s3:GetObject", OBJECT)]),
    ("GetObject", {"Bucket": "bucket", "Key": "a/k", "VersionId": "v"}, [("s3:GetObjectVersion", OBJECT)]),
    ("HeadObject", {"Bucket": "bucket", "Key": "a/k"}, [("s3:GetObject", OBJECT)]),
    ("PutObject", {"Bucket": "bucket", "Key": "a/k", "Body": b"x"}, [("s3:PutObject", OBJECT)]),
    ("PutObject", {"Bucket": "bucket", "Key": "a/k", "Tagging": "a=b", "ACL": "private"},
     [("s3:PutObject", OBJECT), ("s3:PutObjectAcl", OBJECT), ("s3:PutObjectTagging", OBJECT)]),
    ("DeleteObject", {"Bucket": "bucket", "Key": "a/k", "VersionId": "v"}, [("s3:DeleteObjectVersion", OBJECT)]),
    ("DeleteObjects", {"Bucket": "bucket", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b", "VersionId": "1"}]}},
     [("s3:DeleteObject", f"{B}/a"), ("s3:DeleteObjectVersion", f"{B}/b")]),
    ("CopyObject", {"Bucket": "bucket", "Key": "a/k", "CopySource": "from/x y"},
     [("s3:GetObject", "arn:aws:s3:::from/x y"), ("s3:PutObject", OBJECT)]),
    ("CopyObject", {"Bucket": "bucket", "Key": "a/k", "CopySource": {"Bucket": "from", "Key": "x", "VersionId": "1"}},
     [("s3:GetObjectVersion", "arn:aws:s3:::from/x"), ("s3:PutObject", OBJECT)]),
    ("CreateMultipartUpload", {"Bucket": "bucket", "Key": "a/k"}, [("s3:PutObject", OBJECT)]),
    ("UploadPart", {"Bucket": "bucket", "Key": "a/k", "UploadId": "1", "PartNumber": 1}, [("s3:PutObject", OBJECT)]),
    ("AbortMultipartUpload", {"Bucket": "bucket", "Key": "a/k", "UploadId": "1"}, [("s3:AbortMultipartUpload", OBJECT)]),
    ("ListParts", {"Bucket": "bucket", "Key": "a/k", "UploadId": "1"}, [("s3:ListMultipartUploadParts", OBJECT)]),
    ("GetObjectAttributes", {"Bucket": "bucket", "Key": "a/k", "ObjectAttributes": ["ETag"]},
     [("s3:GetObject", OBJECT), ("s3:GetObjectAttributes", OBJECT)]),
    ("PutBucketNotificationConfiguration", {"Bucket": "bucket", "NotificationConfiguration": {}},
     [("s3:PutBucketNotification", B)]),
    ("PutPublicAccessBlock", {"Bucket": "bucket", "PublicAccessBlockConfiguration": {}},
     [("s3:PutBucketPublicAccessBlock", B)]),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "params", "expected"), S3)
def test_s3(operation, params, expected):
    assert asked("s3", operation, **params) == expected


def test_s3_context():
    keys = context(
        "s3", "ListObjectsV2", Bucket="bucket", Prefix="home/ann/", MaxKeys=7, Delimiter="/"
    )
    assert (keys["s3:prefix"], keys["s3:max-keys"], keys["s3:delimiter"]) == ("home/ann/", "7", "/")
    keys = context("s3", "PutObject", Bucket="bucket", Key="k", ServerSideEncryption="AES256",
                   Tagging="Team=a&x=", StorageClass="STANDARD_IA", ACL="public-read")  # fmt: skip
    assert keys["s3:x-amz-server-side-encryption"] == "AES256"
    assert (keys["s3:x-amz-storage-class"], keys["s3:x-amz-acl"]) == ("STANDARD_IA", "public-read")
    assert keys["s3:requestobjecttag/team"] == "a"
    assert keys["s3:requestobjecttagkeys"] == ("Team", "x")


def test_s3_asks_kms_for_keys_of_the_customers_own():
    key = f"arn:aws:kms:{REGIONAL}:key/k"
    known = facts(key_arn=key, object_key_id=key, bucket_key_id=key)
    put = {"Bucket": "bucket", "Key": "a/k"}
    assert asked("s3", "PutObject", known, **put)[-1] == ("kms:GenerateDataKey", key)
    assert asked("s3", "GetObject", known, **put)[-1] == ("kms:Decrypt", key)
    keys = context("s3", "GetObject", known, 1, **put)
    assert keys["kms:viaservice"] == "s3.us-east-1.amazonaws.com"
    assert asked("s3", "PutObject", known, **put, ServerSideEncryption="AES256") == [
        ("s3:PutObject", OBJECT)
    ]


T = f"arn:aws:dynamodb:{REGIONAL}:table/T"
ITEM = {"pk": {"S": "u1"}, "n": {"N": "1"}}
DYNAMODB = [
    ("PutItem", {"TableName": "T", "Item": ITEM}, [("dynamodb:PutItem", T)]),
    ("GetItem", {"TableName": T, "Key": {"pk": {"S": "1"}}}, [("dynamodb:GetItem", T)]),
    ("Query", {"TableName": "T", "IndexName": "I"}, [("dynamodb:Query", f"{T}/index/I")]),
    ("ListTables", {}, [("dynamodb:ListTables", f"arn:aws:dynamodb:{REGIONAL}:table/*")]),
    ("BatchWriteItem", {"RequestItems": {"T": [{"PutRequest": {"Item": ITEM}}], "U": []}},
     [("dynamodb:BatchWriteItem", T), ("dynamodb:BatchWriteItem", T[:-1] + "U")]),
    ("BatchGetItem", {"RequestItems": {"T": {"Keys": [{"pk": {"S": "1"}}]}}}, [("dynamodb:BatchGetItem", T)]),
    ("TransactWriteItems", {"TransactItems": [
        {"Put": {"TableName": "T", "Item": ITEM}},
        {"Update": {"TableName": "U", "Key": {"pk": {"S": "1"}}, "UpdateExpression": "SET a = :a"}},
        {"Delete": {"TableName": "T", "Key": {"pk": {"S": "1"}}}},
        {"ConditionCheck": {"TableName": "T", "Key": {"pk": {"S": "1"}}, "ConditionExpression": "a = :a"}}]},
     [("dynamodb:PutItem", T), ("dynamodb:UpdateItem", T[:-1] + "U"), ("dynamodb:DeleteItem", T),
      ("dynamodb:ConditionCheckItem", T)]),
    ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "T", "Key": {"pk": {"S": "1"}}}}]},
     [("dynamodb:GetItem", T)]),
    ("ExecuteStatement", {"Statement": 'SELECT * FROM "T"."I" WHERE pk = ?'}, [("dynamodb:PartiQLSelect", f"{T}/index/I")]),
    ("ExecuteStatement", {"Statement": "insert into T value {'pk': 'a'}"}, [("dynamodb:PartiQLInsert", T)]),
    ("BatchExecuteStatement", {"Statements": [{"Statement": 'UPDATE "T" SET a=1 WHERE pk=1'}, {"Statement": "DELETE FROM T WHERE pk=1"}]},
     [("dynamodb:PartiQLUpdate", T), ("dynamodb:PartiQLDelete", T)]),
    ("CreateTable", {"TableName": "T", "AttributeDefinitions": [], "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
                     "Tags": [{"Key": "a", "Value": "b"}]}, [("dynamodb:CreateTable", T), ("dynamodb:TagResource", T)]),
    ("TagResource", {"ResourceArn": T, "Tags": []}, [("dynamodb:TagResource", T)]),
    ("DescribeLimits", {}, [("dynamodb:DescribeLimits", "*")]),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "params", "expected"), DYNAMODB)
def test_dynamodb(operation, params, expected):
    assert asked("dynamodb", operation, **params) == expected


KEYED = facts(table_keys=("pk", "sk"))


@pytest.mark.parametrize(
    ("operation", "params", "expected"),
    [
        ("PutItem", {"Item": ITEM, "ReturnValues": "ALL_OLD"},
         {"dynamodb:leadingkeys": ("u1",), "dynamodb:attributes": ("n", "pk"), "dynamodb:returnvalues": "ALL_OLD"}),
        ("GetItem", {"Key": {"pk": {"S": "u1"}}},
         {"dynamodb:leadingkeys": ("u1",), "dynamodb:attributes": None, "dynamodb:select": "ALL_ATTRIBUTES"}),
        ("GetItem", {"Key": {"pk": {"S": "u1"}}, "ProjectionExpression": "a.b, #c[0]", "ExpressionAttributeNames": {"#c": "C"}},
         {"dynamodb:attributes": ("C", "a", "pk"), "dynamodb:select": "SPECIFIC_ATTRIBUTES"}),
        ("UpdateItem", {"Key": {"pk": {"S": "u1"}}, "UpdateExpression": "SET #a = if_not_exists(b, :z) + :o REMOVE c.d",
                        "ExpressionAttributeNames": {"#a": "A"}},
         {"dynamodb:leadingkeys": ("u1",), "dynamodb:attributes": ("A", "b", "c", "pk")}),
        ("Query", {"KeyConditionExpression": "#p = :p AND sk > :s", "ExpressionAttributeNames": {"#p": "pk"},
                   "ExpressionAttributeValues": {":p": {"N": "7"}, ":s": {"S": "x"}}},
         {"dynamodb:leadingkeys": ("7",), "dynamodb:select": "ALL_ATTRIBUTES"}),
        ("Scan", {"Select": "COUNT", "ReturnConsumedCapacity": "TOTAL"},
         {"dynamodb:leadingkeys": None, "dynamodb:select": "COUNT", "dynamodb:returnconsumedcapacity": "TOTAL"}),
    ],
)  # fmt: skip
def test_dynamodb_fine_grained_keys(operation, params, expected):
    keys = context("dynamodb", operation, KEYED, TableName="T", **params)
    assert {name: keys.get(name) for name in expected} == expected


def test_dynamodb_batches_have_all_leading_keys():
    keys = context("dynamodb", "BatchGetItem", KEYED,
                   RequestItems={"T": {"Keys": [{"pk": {"S": "b"}}, {"pk": {"S": "a"}}]}})  # fmt: skip
    assert keys["dynamodb:leadingkeys"] == ("a", "b")
    keys = context("dynamodb", "TransactGetItems", KEYED,
                   TransactItems=[{"Get": {"TableName": "T", "Key": {"pk": {"S": "b"}}}}])  # fmt: skip
    assert keys["dynamodb:enclosingoperation"] == "TransactGetItems"


F = f"arn:aws:lambda:{REGIONAL}:function:f"
ROLE = f"arn:aws:iam::{A}:role/service-role/r"
OTHERS = [
    ("lambda", "Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", F)]),
    ("lambda", "Invoke", {"FunctionName": "f", "Qualifier": "live"}, [("lambda:InvokeFunction", f"{F}:live")]),
    ("lambda", "Invoke", {"FunctionName": f"{F}:live"}, [("lambda:InvokeFunction", f"{F}:live")]),
    ("lambda", "GetFunction", {"FunctionName": f"{A}:function:f"}, [("lambda:GetFunction", F)]),
    ("lambda", "ListFunctions", {}, [("lambda:ListFunctions", "*")]),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b"x"}, "Runtime": "python3.11", "Handler": "a.b"},
     [("lambda:CreateFunction", F), ("iam:PassRole", ROLE)]),
    ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "f", "Role": ROLE},
     [("lambda:UpdateFunctionConfiguration", F), ("iam:PassRole", ROLE)]),
    ("lambda", "CreateEventSourceMapping", {"FunctionName": "f", "EventSourceArn": "arn:aws:sqs:us-east-1:1:q"},
     [("lambda:CreateEventSourceMapping", "*")]),
    ("lambda", "DeleteEventSourceMapping", {"UUID": "u"}, [("lambda:DeleteEventSourceMapping", f"arn:aws:lambda:{REGIONAL}:event-source-mapping:u")]),
    ("lambda", "PublishLayerVersion", {"LayerName": "l", "Content": {"ZipFile": b"x"}}, [("lambda:PublishLayerVersion", f"arn:aws:lambda:{REGIONAL}:layer:l")]),
    ("lambda", "GetLayerVersion", {"LayerName": "l", "VersionNumber": 3}, [("lambda:GetLayerVersion", f"arn:aws:lambda:{REGIONAL}:layer:l:3")]),
    ("sns", "Publish", {"TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": "m"}, [("sns:Publish", "arn:aws:sns:us-east-1:1:t")]),
    ("sns", "PublishBatch", {"TopicArn": "arn:aws:sns:us-east-1:1:t", "PublishBatchRequestEntries": []}, [("sns:Publish", "arn:aws:sns:us-east-1:1:t")]),
    ("sns", "Publish", {"PhoneNumber": "+1", "Message": "m"}, [("sns:Publish", "*")]),
    ("sns", "CreateTopic", {"Name": "t"}, [("sns:CreateTopic", f"arn:aws:sns:{REGIONAL}:t")]),
    ("sns", "Unsubscribe", {"SubscriptionArn": "arn:aws:sns:us-east-1:1:t:uuid"}, [("sns:Unsubscribe", "arn:aws:sns:us-east-1:1:t")]),
    ("sqs", "SendMessage", {"QueueUrl": "http://127.0.0.1:4566/111122223333/q", "MessageBody": "m"},
     [("sqs:SendMessage", "arn:aws:sqs:us-east-1:111122223333:q")]),
    ("sqs", "SendMessageBatch", {"QueueUrl": f"http://x/{A}/q", "Entries": []}, [("sqs:SendMessage", f"arn:aws:sqs:{REGIONAL}:q")]),
    ("sqs", "ChangeMessageVisibilityBatch", {"QueueUrl": f"http://x/{A}/q", "Entries": []}, [("sqs:ChangeMessageVisibility", f"arn:aws:sqs:{REGIONAL}:q")]),
    ("sqs", "GetQueueUrl", {"QueueName": "q"}, [("sqs:GetQueueUrl", f"arn:aws:sqs:{REGIONAL}:q")]),
    ("sqs", "CreateQueue", {"QueueName": "q", "tags": {"a": "b"}}, [("sqs:CreateQueue", f"arn:aws:sqs:{REGIONAL}:q"), ("sqs:TagQueue", f"arn:aws:sqs:{REGIONAL}:q")]),
    ("kinesis", "PutRecord", {"StreamName": "s", "Data": b"", "PartitionKey": "p"}, [("kinesis:PutRecord", f"arn:aws:kinesis:{REGIONAL}:stream/s")]),
    ("kinesis", "PutRecords", {"StreamARN": "arn:aws:kinesis:us-east-1:1:stream/s", "Records": []}, [("kinesis:PutRecords", "arn:aws:kinesis:us-east-1:1:stream/s")]),
    ("logs", "CreateLogStream", {"logGroupName": "/aws/lambda/f", "logStreamName": "s"},
     [("logs:CreateLogStream", f"arn:aws:logs:{REGIONAL}:log-group:/aws/lambda/f:log-stream:s")]),
    ("logs", "PutLogEvents", {"logGroupName": "g", "logStreamName": "s", "logEvents": []}, [("logs:PutLogEvents", f"arn:aws:logs:{REGIONAL}:log-group:g:log-stream:s")]),
    ("logs", "CreateLogGroup", {"logGroupName": "g"}, [("logs:CreateLogGroup", f"arn:aws:logs:{REGIONAL}:log-group:g:log-stream:")]),
    ("logs", "DescribeLogGroups", {}, [("logs:DescribeLogGroups", f"arn:aws:logs:{REGIONAL}:log-group::log-stream:")]),
    ("logs", "StartQuery", {"logGroupNames": ["a", "b"], "startTime": 1, "endTime": 2, "queryString": "q"},
     [("logs:StartQuery", f"arn:aws:logs:{REGIONAL}:log-group:{g}:log-stream:") for g in "ab"]),
    ("logs", "TagResource", {"resourceArn": f"arn:aws:logs:{REGIONAL}:log-group:g", "tags": {"a": "b"}}, [("logs:TagResource", f"arn:aws:logs:{REGIONAL}:log-group:g")]),
    ("cloudwatch", "PutMetricData", {"Namespace": "n", "MetricData": []}, [("cloudwatch:PutMetricData", "*")]),
    ("cloudwatch", "DeleteAlarms", {"AlarmNames": ["a", "b"]}, [("cloudwatch:DeleteAlarms", f"arn:aws:cloudwatch:{REGIONAL}:alarm:{n}") for n in "ab"]),
    ("cloudwatch", "GetDashboard", {"DashboardName": "d"}, [("cloudwatch:GetDashboard", f"arn:aws:cloudwatch::{A}:dashboard/d")]),
    ("events", "PutEvents", {"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]}, [("events:PutEvents", f"arn:aws:events:{REGIONAL}:event-bus/default")]),
    ("events", "PutRule", {"Name": "r", "EventBusName": "b"}, [("events:PutRule", f"arn:aws:events:{REGIONAL}:rule/b/r")]),
    ("events", "PutTargets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": "arn:aws:kinesis:us-east-1:1:stream/s", "RoleArn": ROLE}]},
     [("events:PutTargets", f"arn:aws:events:{REGIONAL}:rule/r"), ("iam:PassRole", ROLE)]),
    ("secretsmanager", "ListSecrets", {}, [("secretsmanager:ListSecrets", "*")]),
    ("ssm", "GetParameter", {"Name": "/a/b"}, [("ssm:GetParameter", f"arn:aws:ssm:{REGIONAL}:parameter/a/b")]),
    ("ssm", "GetParameters", {"Names": ["a", "/b:3"]}, [("ssm:GetParameters", f"arn:aws:ssm:{REGIONAL}:parameter/{n}") for n in "ab"]),
    ("ssm", "DescribeParameters", {}, [("ssm:DescribeParameters", "*")]),
    ("iam", "CreateUser", {"UserName": "u", "Path": "/a/"}, [("iam:CreateUser", f"arn:aws:iam::{A}:user/a/u")]),
    ("iam", "AttachRolePolicy", {"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/X"}, [("iam:AttachRolePolicy", f"arn:aws:iam::{A}:role/r")]),
    ("iam", "AddUserToGroup", {"GroupName": "g", "UserName": "u"}, [("iam:AddUserToGroup", f"arn:aws:iam::{A}:group/g")]),
    ("iam", "ListUsers", {}, [("iam:ListUsers", "*")]),
    ("iam", "GetUser", {}, [("iam:GetUser", f"arn:aws:iam::{A}:user/ann")]),
    ("sts", "GetCallerIdentity", {}, []),
    ("sts", "GetFederationToken", {"Name": "fed"}, [("sts:GetFederationToken", f"arn:aws:sts::{A}:federated-user/fed")]),
    ("ses", "SendEmail", {"Source": "A <a@example.com>", "Destination": {"ToAddresses": ["b@example.com"]}, "Message": {"Subject": {"Data": "s"}, "Body": {}}},
     [("ses:SendEmail", f"arn:aws:ses:{REGIONAL}:identity/a@example.com")]),
    ("stepfunctions", "CreateStateMachine", {"name": "m", "definition": "{}", "roleArn": ROLE},
     [("states:CreateStateMachine", f"arn:aws:states:{REGIONAL}:stateMachine:m"), ("iam:PassRole", ROLE)]),
    ("stepfunctions", "StartExecution", {"stateMachineArn": f"arn:aws:states:{REGIONAL}:stateMachine:m"},
     [("states:StartExecution", f"arn:aws:states:{REGIONAL}:stateMachine:m")]),
    ("apigateway", "GetRestApi", {"restApiId": "x"}, [("apigateway:GET", "arn:aws:apigateway:us-east-1::/restapis/x")]),
    ("apigatewayv2", "CreateApi", {"Name": "n", "ProtocolType": "HTTP"}, [("apigateway:POST", "arn:aws:apigateway:us-east-1::/apis")]),
    ("cognito-idp", "AdminGetUser", {"UserPoolId": "us-east-1_x", "Username": "u"}, [("cognito-idp:AdminGetUser", f"arn:aws:cognito-idp:{REGIONAL}:userpool/us-east-1_x")]),
    ("xray", "PutTraceSegments", {"TraceSegmentDocuments": []}, [("xray:PutTraceSegments", "*")]),
    ("ec2", "DescribeInstances", {}, [("ec2:DescribeInstances", "*")]),
    ("cloudformation", "CreateStack", {"StackName": "s"}, [("cloudformation:CreateStack", f"arn:aws:cloudformation:{REGIONAL}:stack/s/*")]),
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "params", "expected"), OTHERS)
def test_other_services(service, operation, params, expected):
    assert asked(service, operation, **params) == expected


def test_their_context():
    assert (
        context("lambda", "CreateEventSourceMapping", FunctionName="f")["lambda:functionarn"] == F
    )
    keys = context(
        "sns", "Subscribe", TopicArn="arn:aws:sns:us-east-1:1:t", Protocol="email", Endpoint="a@b"
    )
    assert (keys["sns:protocol"], keys["sns:endpoint"]) == ("email", "a@b")
    assert (
        context("cloudwatch", "PutMetricData", Namespace="N", MetricData=[])["cloudwatch:namespace"]
        == "N"
    )
    keys = context(
        "events", "PutEvents", Entries=[{"Source": "a", "DetailType": "b", "Detail": "{}"}]
    )
    assert (keys["events:source"], keys["events:detail-type"]) == ("a", "b")
    keys = context("sqs", "CreateQueue", QueueName="q", tags={"Team": "x"})
    assert (keys["aws:requesttag/team"], keys["aws:tagkeys"]) == ("x", ("Team",))
    passed = context("lambda", "CreateFunction", None, 1, FunctionName="f", Role=ROLE, Code={},
                     Runtime="python3.11", Handler="a.b")  # fmt: skip
    assert passed["iam:passedtoservice"] == "lambda.amazonaws.com"
    assert (
        context("ssm", "GetParametersByPath", Path="/", Recursive=True)["ssm:recursive"] == "true"
    )


def test_kms_finds_the_key_behind_every_name():
    key = f"arn:aws:kms:{REGIONAL}:key/k"
    known = facts(key_arn=key, key_of_ciphertext=key, key_aliases=("alias/a",))
    assert asked("kms", "Encrypt", known, KeyId="alias/a", Plaintext=b"x") == [("kms:Encrypt", key)]
    assert asked("kms", "Decrypt", known, CiphertextBlob=b"x") == [("kms:Decrypt", key)]
    assert asked("kms", "ReEncrypt", known, CiphertextBlob=b"x", DestinationKeyId="k") == [
        ("kms:ReEncryptFrom", key), ("kms:ReEncryptTo", key)]  # fmt: skip
    assert asked("kms", "CreateAlias", known, AliasName="alias/a", TargetKeyId="k") == [
        ("kms:CreateAlias", f"arn:aws:kms:{REGIONAL}:alias/a"), ("kms:CreateAlias", key)]  # fmt: skip
    keys = context(
        "kms", "Encrypt", known, KeyId="alias/a", Plaintext=b"x", EncryptionContext={"App": "x"}
    )
    assert keys["kms:encryptioncontext:app"] == "x"
    assert (keys["kms:encryptioncontextkeys"], keys["kms:requestalias"]) == (("App",), "alias/a")
    assert asked("kms", "CreateKey") == [("kms:CreateKey", "*")]


@pytest.mark.parametrize(
    "service",
    [
        "s3",
        "dynamodb",
        "dynamodbstreams",
        "lambda",
        "sns",
        "sqs",
        "kinesis",
        "iam",
        "sts",
        "logs",
        "cloudwatch",
        "events",
        "kms",
        "secretsmanager",
        "ssm",
        "ses",
    ],  # fmt: skip
)
def test_every_operation_asks_for_actions_that_aws_lists(service):
    """No operation of a taught service is without an action, and no action is made up."""
    unlisted, silent = set(), set()
    for operation in _SESSION.get_service_model(service).operation_names:
        made = Call(service, operation, {"Bucket": "b"} if service == "s3" else {}, "us-east-1", A,
                    "id", Request.from_primitives("POST", "http://x/", {}))  # fmt: skip
        made.principal = Principal("user", A, f"arn:aws:iam::{A}:user/ann", name="ann")
        asks = asks_of(made, facts())
        if not asks:
            silent.add(operation)
        for ask in asks:
            prefix, name = ask.action.split(":")
            listed = catalog.action(prefix, name)
            if listed is None:
                unlisted.add(operation)
            else:
                assert listed.name == name or operation == name, ask.action
    assert silent <= {"GetCallerIdentity", "GetSessionToken", "AssumeRole", "AssumeRoleWithSAML",
                      "AssumeRoleWithWebIdentity", "DeleteObjects", "BatchGetItem", "BatchWriteItem",
                      "TransactGetItems", "TransactWriteItems", "ExecuteStatement", "PutEvents",
                      "BatchExecuteStatement", "ExecuteTransaction"}  # fmt: skip
    # Operations newer than the list, and S3's directory buckets, which have an API of their own.
    assert len(unlisted) <= 12, sorted(unlisted)


def test_condition_keys_of_the_exam_are_ones_aws_lists():
    for key in ("dynamodb:LeadingKeys", "dynamodb:Attributes", "dynamodb:Select", "s3:prefix",
                "s3:x-amz-server-side-encryption", "sns:Protocol", "lambda:FunctionArn",
                "kms:ViaService", "iam:PassedToService"):  # fmt: skip
        assert key.lower() in catalog.key_types(key.split(":")[0])

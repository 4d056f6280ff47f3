"""Proofs on a function's two sides: what it may do, and who may invoke it."""

from __future__ import annotations

import base64
import json

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow


def execution_role(aws: Bench) -> Observations:
    """lambda-26: a function acts with its role, whoever deployed or invoked it."""
    see, awslambda = Observations(), aws.client("lambda")
    table = aws.table("orders", "Id")
    arn = aws.arn("dynamodb", f"table/{table}")
    code = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    boto3.client('dynamodb').put_item(\n"
        f"        TableName='{table}', Item={{'Id': {{'S': '1'}}}})\n"
        "    return 'stored'"
    )
    role = aws.role("plain", by="lambda.amazonaws.com")
    function = aws.function("orders", code, Role=role, Timeout=30)
    see(
        "Invoked by an administrator",
        aws.invoke(function)["errorMessage"],
        lambda text: "AccessDeniedException" in text and "dynamodb:PutItem" in text,
        refutes="user-policy",
    )
    awslambda.add_permission(
        FunctionName=function,
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal=aws.account_id,
    )
    see(
        "With a statement in the function's policy",
        aws.invoke(function)["errorMessage"],
        lambda text: "AccessDeniedException" in text,
        refutes="resource-policy",
    )
    trusting = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": ["sts:AssumeRole", "dynamodb:PutItem"],
                }
            ],
        }
    )
    see(
        "dynamodb:PutItem in the trust policy",
        error_of(
            aws.client("iam").update_assume_role_policy,
            RoleName=aws.name("plain"),
            PolicyDocument=trusting,
        ),
        "MalformedPolicyDocument",
        refutes="trust-policy",
    )
    aws.put_role_policy(role, allow("dynamodb:PutItem", arn))
    see(
        "With a statement in the role's policy",
        aws.invoke(function),
        "stored",
        supports="execution-role",
    )
    return see


def invoke_permission(aws: Bench) -> Observations:
    """lambda-27: SNS invokes a function only if the function's policy lets it."""
    sns, awslambda, see = aws.client("sns"), aws.client("lambda"), Observations()
    topic, ran = aws.topic("news"), aws.queue("ran")
    function = aws.function(
        "reader",
        "def handler(event, context): return event['Records'][0]['Sns']['Message']",
        allow("sqs:SendMessage sns:Subscribe sns:Receive"),
    )
    awslambda.put_function_event_invoke_config(
        FunctionName=function,
        DestinationConfig={"OnSuccess": {"Destination": aws.queue_arn(ran)}},
    )
    arn = aws.arn("lambda", f"function:{function}")
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)

    def heard(text: str, wait: bool = True) -> list[str]:
        sns.publish(TopicArn=topic, Message=text)
        found = aws.messages(ran, at_least=1 if wait else 0)
        return [json.loads(message["Body"])["responsePayload"] for message in found]

    see(
        "Without permission, SNS actions in its role",
        heard("one", wait=False),
        [],
        refutes="role-sns",
    )
    see(
        "An event source mapping from a topic",
        error_of(
            awslambda.create_event_source_mapping, EventSourceArn=topic, FunctionName=function
        ),
        "InvalidParameterValueException",
        refutes="mapping",
    )
    awslambda.add_permission(
        FunctionName=function,
        StatementId="sns",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    see(
        "With permission for SNS",
        heard("two"),
        ["two"],
        supports="add-permission",
        refutes="topic-role",
    )
    return see


def encrypted_variable(aws: Bench) -> Observations:
    """lambda-32: a value encrypted beforehand is readable only with the key's permission."""
    kms, see = aws.client("kms"), Observations()
    key = kms.create_key()["KeyMetadata"]
    aws.defer(kms.schedule_key_deletion, KeyId=key["KeyId"], PendingWindowInDays=7)
    secret = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"hunter2")["CiphertextBlob"]
    code = (
        "import base64, boto3, os\n"
        "def handler(event, context):\n"
        "    blob = base64.b64decode(os.environ['ENCRYPTED'])\n"
        "    value = boto3.client('kms').decrypt(CiphertextBlob=blob)['Plaintext'].decode()\n"
        "    return len(value)"
    )
    function = aws.function(
        "secret",
        code,
        allow("kms:Decrypt", key["Arn"]),
        Timeout=30,
        Environment={
            "Variables": {
                "ENCRYPTED": base64.b64encode(secret).decode(),
                "PLAIN": "hunter2",
                "SECRET_PLAIN": "hunter2",
                "ENCODED": base64.b64encode(b"hunter2").decode(),
            }
        },
    )
    see(
        "The function decrypts a value of length", aws.invoke(function), 7, supports="encrypt-first"
    )
    colleague = aws.user("colleague", allow("lambda:GetFunctionConfiguration"))
    shown = aws.client("lambda", colleague).get_function_configuration(FunctionName=function)
    variables = shown["Environment"]["Variables"]
    see(
        "A colleague sees, relying on the default", variables["PLAIN"], "hunter2", refutes="default"
    )
    see("with the prefix SECRET_", variables["SECRET_PLAIN"], "hunter2", refutes="noecho")
    see(
        "encoded, and decoded again",
        base64.b64decode(variables["ENCODED"]),
        b"hunter2",
        refutes="base64",
    )
    see(
        "encrypted, and tries to decrypt",
        error_of(
            aws.client("kms", colleague).decrypt,
            CiphertextBlob=base64.b64decode(variables["ENCRYPTED"]),
        ),
        "AccessDeniedException",
        supports="encrypt-first",
    )
    return see


def scoped_to_alias(aws: Bench) -> Observations:
    """lambda-48: an alias has an ARN of its own for policies."""
    awslambda, see = aws.client("lambda"), Observations()
    code = "def handler(event, context): return context.invoked_function_arn"
    function, admin = aws.function("orders", code), aws.function("orders-admin", code)
    version = awslambda.publish_version(FunctionName=function)["Version"]
    awslambda.create_alias(FunctionName=function, Name="prod", FunctionVersion=version)
    arn = aws.arn("lambda", f"function:{function}")

    def may(stem: str, resource: str) -> dict[str, bool]:
        client = aws.client(
            "lambda", aws.session(aws.role(stem, allow("lambda:InvokeFunction", resource)))
        )
        calls = {
            "prod": {"FunctionName": function, "Qualifier": "prod"},
            "version": {"FunctionName": function, "Qualifier": version},
            "latest": {"FunctionName": function},
            "another function": {"FunctionName": admin},
        }
        return {name: error_of(client.invoke, **call) == "no error" for name, call in calls.items()}

    nothing = dict.fromkeys(("prod", "version", "latest", "another function"), False)
    see("The alias's ARN", may("a", f"{arn}:prod"), nothing | {"prod": True}, supports="alias-arn")
    see("The function's ARN", may("b", arn), nothing | {"latest": True}, refutes="function-arn")
    see(
        "The function's ARN with a star",
        may("c", f"{arn}*"),
        dict.fromkeys(nothing, True),
        refutes="star",
    )
    made_up = aws.arn("lambda", f"alias:{function}/prod")
    see("An ARN with alias in it", may("d", made_up), nothing, refutes="alias-type")
    return see

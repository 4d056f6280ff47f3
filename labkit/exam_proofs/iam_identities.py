"""Proofs on IAM's users, roles, keys and managed policies, and on its simulator."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_and_message, error_of
from labkit.exam_proofs.policies import allow, deny, policy

DENIED = "AccessDenied"


def pass_role(aws: Bench) -> Observations:
    """iam-03: handing a role to a service takes iam:PassRole on that role."""
    see = Observations()
    role = aws.role("function-role", by="lambda.amazonaws.com")
    other = aws.role("admin-role", allow("*"), by="lambda.amazonaws.com")
    names = [aws.name(stem) for stem in ("assume", "get", "pass", "other", "star")]
    for name in names:
        aws.defer(aws.client("lambda").delete_function, FunctionName=name)

    def create(stem: str, handed: str, *statements) -> tuple[str, str]:
        user = aws.user(stem, allow("lambda:CreateFunction lambda:GetFunction"), *statements)
        return error_and_message(
            aws.client("lambda", user).create_function,
            FunctionName=aws.name(stem),
            Role=handed,
            Runtime="python3.12",
            Handler="index.handler",
            Code={"ZipFile": aws.zip("def handler(e, c): pass")},
        )

    code, message = create("assume", role, allow("sts:AssumeRole", role))
    see("With sts:AssumeRole", code, "AccessDeniedException", refutes="assume-role")
    see("The message names", "iam:PassRole" in message, True)
    see(
        "With iam:GetRole",
        create("get", role, allow("iam:GetRole", role))[0],
        "AccessDeniedException",
        refutes="get-role",
    )
    passing = allow("iam:PassRole", role)
    see(
        "With iam:PassRole on the role",
        create("pass", role, passing)[0],
        "no error",
        supports="pass-role",
    )
    see(
        "With it, an administrator's role",
        create("other", other, passing)[0],
        "AccessDeniedException",
        supports="pass-role",
    )
    see(
        "With iam:PassRole on *, an administrator's role",
        create("star", other, allow("iam:PassRole"))[0],
        "no error",
        refutes="pass-all",
    )
    return see


def trust_policy(aws: Bench) -> Observations:
    """iam-04: who may take a role is said in its trust policy alone."""
    see, awslambda = Observations(), aws.client("lambda")
    name = aws.name("function")
    aws.defer(awslambda.delete_function, FunctionName=name)

    def create(role: str) -> tuple[str, str]:
        return error_and_message(
            awslambda.create_function,
            FunctionName=name,
            Role=role,
            Runtime="python3.12",
            Handler="index.handler",
            Code={"ZipFile": aws.zip("def handler(e, c): pass")},
        )

    powerful = aws.role("powerful", allow("lambda:InvokeFunction logs:*"), by="ec2.amazonaws.com")
    code, message = create(powerful)
    see(
        "A role with permissions, trusting EC2",
        code,
        "InvalidParameterValueException",
        refutes="policy basic",
    )
    see("Message", message, lambda text: "cannot be assumed by Lambda" in text)
    in_path = aws.role("in-path", by="ec2.amazonaws.com", Path="/service-role/")
    see(
        "The same in the path /service-role/",
        create(in_path)[0],
        "InvalidParameterValueException",
        refutes="path",
    )
    trusting = aws.role("trusting", by="lambda.amazonaws.com")
    see(
        "A role without permissions, trusting Lambda",
        create(trusting)[0],
        "no error",
        supports="trust",
    )
    return see


def role_credentials(aws: Bench) -> Observations:
    """iam-06: a function finds the temporary credentials of its role by itself."""
    see = Observations()
    code = (
        "import boto3, os\n"
        "def handler(event, context):\n"
        "    who = boto3.client('sts').get_caller_identity()['Arn']\n"
        "    return [os.environ['AWS_ACCESS_KEY_ID'][:4], 'AWS_SESSION_TOKEN' in os.environ, who]"
    )
    function = aws.function("who", code, Timeout=30)
    prefix, token, arn = aws.invoke(function)
    see("The key in the function begins with", prefix, "ASIA", supports="execution-role")
    see("A session token comes along", token, True, supports="execution-role")
    see(
        "Who the function is",
        arn,
        lambda a: f"assumed-role/{aws.name('who-role')}/" in a,
        supports="execution-role",
    )
    configuration = aws.client("lambda").get_function_configuration(FunctionName=function)
    see(
        "Variables that had to be set",
        configuration.get("Environment", {}).get("Variables", {}),
        {},
        supports="execution-role",
    )
    user = aws.user("long-lived")
    aws.clock.advance(days=2)
    key = aws.client("sts", user).get_caller_identity()["Arn"]
    see(
        "A user's key, two days later, still works for",
        key,
        user["Arn"],
        refutes="secrets config-file layer",
    )
    return see


def rotate_keys(aws: Bench) -> Observations:
    """iam-07: two keys may be active, so that one can replace the other without a gap."""
    iam, see = aws.client("iam"), Observations()
    first = aws.user("app")
    name = {"UserName": first["UserName"]}
    whoami = {"first": aws.client("sts", first)}
    second = iam.create_access_key(**name)["AccessKey"]
    aws.defer(iam.delete_access_key, **name, AccessKeyId=second["AccessKeyId"])
    whoami["second"] = aws.client("sts", second)

    def works() -> list[str]:
        return [error_of(whoami[key].get_caller_identity) for key in ("first", "second")]

    see("Both keys, side by side", works(), ["no error", "no error"], supports="second-key")
    see(
        "A third key", error_of(iam.create_access_key, **name), "LimitExceeded", refutes="third-key"
    )
    old = {**name, "AccessKeyId": first["AccessKeyId"]}
    see(
        "A new secret for the first",
        error_of(iam.update_access_key, **old, Secret="s"),
        "ParamValidationError",
        refutes="update-secret",
    )
    iam.update_access_key(**old, Status="Inactive")
    see(
        "The first deactivated",
        works(),
        ["InvalidClientTokenId", "no error"],
        supports="second-key",
    )
    iam.update_access_key(**old, Status="Active")
    see("And taken back", works(), ["no error", "no error"], supports="second-key")
    iam.delete_access_key(**name, AccessKeyId=second["AccessKeyId"])
    iam.delete_access_key(**old)
    see(
        "Deleted before there is a new one",
        works()[0],
        "InvalidClientTokenId",
        refutes="delete-first",
    )
    return see


def policy_versions(aws: Bench) -> Observations:
    """iam-08: the default version of a managed policy holds for all, and moves with one call."""
    iam, see = aws.client("iam"), Observations()
    good, bad = policy(allow("sqs:SendMessage")), policy(allow("sqs:ReceiveMessage"))
    arn = iam.create_policy(PolicyName=aws.name("shared"), PolicyDocument=good)["Policy"]["Arn"]
    aws.defer(iam.delete_policy, PolicyArn=arn)
    queue, clients = aws.queue("work"), []
    for stem in ("one", "two"):
        user = aws.user(stem)
        attached = {"UserName": user["UserName"], "PolicyArn": arn}
        iam.attach_user_policy(**attached)
        aws.defer(iam.detach_user_policy, **attached)
        clients.append(aws.client("sqs", user))

    def sends() -> list[str]:
        return [error_of(c.send_message, QueueUrl=queue, MessageBody="x") for c in clients]

    see("With the first version", sends(), ["no error"] * 2)
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=bad, SetAsDefault=True)
    aws.defer(iam.delete_policy_version, PolicyArn=arn, VersionId="v2")
    see("With the second", sends(), [DENIED] * 2)
    see(
        "Deleting the default version",
        error_of(iam.delete_policy_version, PolicyArn=arn, VersionId="v2"),
        "DeleteConflict",
        refutes="delete-version",
    )
    iam.detach_user_policy(**attached)
    iam.attach_user_policy(**attached)
    see("Attached again", sends()[1], DENIED, refutes="detach")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    see("The first as default again", sends(), ["no error"] * 2, supports="set-default")
    return see


def simulate(aws: Bench) -> Observations:
    """iam-09: the simulator decides from the policies and performs nothing."""
    iam, see = aws.client("iam"), Observations()
    table = aws.table("orders", "Id")
    arn = aws.arn("dynamodb", f"table/{table}")
    role = aws.role("pipeline", allow("dynamodb:PutItem", arn), deny("dynamodb:DeleteTable", arn))
    answer = iam.simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=["dynamodb:PutItem", "dynamodb:DeleteTable", "dynamodb:Scan"],
        ResourceArns=[arn],
    )
    decisions = {r["EvalActionName"]: r["EvalDecision"] for r in answer["EvaluationResults"]}
    see(
        "Decisions",
        decisions,
        {
            "dynamodb:PutItem": "allowed",
            "dynamodb:DeleteTable": "explicitDeny",
            "dynamodb:Scan": "implicitDeny",
        },
        supports="simulator",
    )
    dynamodb = aws.client("dynamodb")
    status = dynamodb.describe_table(TableName=table)["Table"]["TableStatus"]
    see("The table afterwards", status, "ACTIVE", supports="simulator")
    careless = aws.role("careless", allow("dynamodb:*", arn))
    client = aws.client("dynamodb", aws.session(careless))
    see(
        "Trying it out with a policy that is wrong",
        error_of(client.delete_table, TableName=table),
        "no error",
        refutes="try-delete",
    )
    return see

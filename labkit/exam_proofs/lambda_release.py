"""Proofs on releasing a function: versions, aliases, weights, roll back, artefacts."""

from __future__ import annotations

import json
from collections import Counter

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow


def returns(text: str) -> str:
    return f"def handler(event, context): return {text!r}"


def publish(aws: Bench, function: str, text: str) -> str:
    """Deploys code that returns *text* and publishes it; the version's number."""
    aws.update_code(function, returns(text))
    return aws.client("lambda").publish_version(FunctionName=function)["Version"]


def wait(aws: Bench, function: str) -> None:
    aws.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=function)


def versions_are_immutable(aws: Bench) -> Observations:
    """lambda-10: a version keeps its code, $LATEST follows each deployment."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("build 1"))
    version = awslambda.publish_version(FunctionName=function)["Version"]
    revision = awslambda.get_function_configuration(FunctionName=function)["RevisionId"]
    aws.update_code(function, returns("build 2"))
    see(
        "Version 1 after a deployment",
        aws.invoke(function, Qualifier=version),
        "build 1",
        supports="publish",
    )
    see("$LATEST after it", aws.invoke(function, Qualifier="$LATEST"), "build 2", refutes="latest")
    see(
        "Invoke with a RevisionId",
        error_of(awslambda.invoke, FunctionName=function, RevisionId=revision),
        "ParamValidationError",
        refutes="revision",
    )
    awslambda.tag_resource(
        Resource=aws.arn("lambda", f"function:{function}"), Tags={"build": "one"}
    )
    see(
        "Invoke by a tag",
        error_of(awslambda.invoke, FunctionName=function, Qualifier="one"),
        "ResourceNotFoundException",
        refutes="tag",
    )
    return see


def weighted_alias(aws: Bench) -> Observations:
    """lambda-11: an alias splits its traffic among two published versions."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("old"))
    old = awslambda.publish_version(FunctionName=function)["Version"]
    new = publish(aws, function, "new")
    awslambda.create_alias(FunctionName=function, Name="live", FunctionVersion=old)

    def split(version: str, weight: float) -> str:
        return error_of(
            awslambda.update_alias,
            FunctionName=function,
            Name="live",
            RoutingConfig={"AdditionalVersionWeights": {version: weight}},
        )

    def calls(count: int) -> Counter:
        return Counter(
            awslambda.invoke(FunctionName=function, Qualifier="live")["ExecutedVersion"]
            for _ in range(count)
        )

    see(
        "Weight for $LATEST",
        split("$LATEST", 0.1),
        lambda code: code in ("ValidationException", "InvalidParameterValueException"),
        refutes="latest-weight",
    )
    awslambda.create_alias(FunctionName=function, Name="canary", FunctionVersion=new)
    see(
        "With an alias canary beside it, live runs",
        calls(10),
        Counter({old: 10}),
        refutes="two-aliases",
    )
    see("Weight 0.1 for the new version", split(new, 0.1), "no error", supports="weight")
    split(new, 0.5)
    see(
        "Versions run in 40 calls of live, at a weight of 0.5",
        sorted(calls(40)),
        [old, new],
        supports="weight",
    )
    awslambda.update_alias(
        FunctionName=function,
        Name="live",
        FunctionVersion=new,
        RoutingConfig={"AdditionalVersionWeights": {}},
    )
    awslambda.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    see(
        "Pointed to the new version, with reserved concurrency",
        calls(10),
        Counter({new: 10}),
        refutes="reserved",
    )
    return see


def roll_back(aws: Bench) -> Observations:
    """lambda-12: moving the alias back is all it takes."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("good"))
    good = awslambda.publish_version(FunctionName=function)["Version"]
    bad = publish(aws, function, "bad")
    awslambda.create_alias(FunctionName=function, Name="live", FunctionVersion=bad)

    def live() -> str:
        return aws.invoke(function, Qualifier="live")

    see("Released", live(), "bad")
    see(
        "Deleting the bad version",
        error_of(awslambda.delete_function, FunctionName=function, Qualifier=bad),
        "ResourceConflictException",
        refutes="delete-version",
    )
    aws.update_code(function, returns("good"))
    see("After uploading the old code", live(), "bad", refutes="redeploy")
    again = awslambda.publish_version(FunctionName=function)["Version"]
    see(
        "Publishing once more gives version",
        again,
        lambda v: v not in (good, bad),
        refutes="republish",
    )
    awslambda.update_alias(FunctionName=function, Name="live", FunctionVersion=good)
    see("After moving the alias", live(), "good", supports="move-alias")
    return see


def permission_per_alias(aws: Bench) -> Observations:
    """lambda-13: a function, its versions and its aliases have policies of their own."""
    awslambda, s3, see = aws.client("lambda"), aws.client("s3"), Observations()
    bucket = aws.bucket()
    function = aws.function("orders", returns("ran"))
    version = awslambda.publish_version(FunctionName=function)["Version"]
    awslambda.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    arn = aws.arn("lambda", f"function:{function}")

    def permit(**qualifier: str) -> None:
        awslambda.add_permission(
            FunctionName=function,
            StatementId="s3",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn=f"arn:aws:s3:::{bucket}",
            **qualifier,
        )

    def notify(target: str) -> str:
        configuration = {"LambdaFunctionArn": target, "Events": ["s3:ObjectCreated:*"]}
        return error_of(
            s3.put_bucket_notification_configuration,
            Bucket=bucket,
            NotificationConfiguration={"LambdaFunctionConfigurations": [configuration]},
        )

    permit()
    see("Permission on the function, notification to the function", notify(arn), "no error")
    see(
        "Permission on the function, notification to the alias",
        notify(f"{arn}:live"),
        "InvalidArgument",
        refutes="new-bucket",
    )
    permit(Qualifier=version)
    see(
        "Permission on the version, too",
        notify(f"{arn}:live"),
        "InvalidArgument",
        refutes="version-permission",
    )
    aws.put_role_policy(aws.name("orders-role"), allow("s3:*"))
    see(
        "With s3:* for the execution role",
        notify(f"{arn}:live"),
        "InvalidArgument",
        refutes="execution-role",
    )
    permit(Qualifier="live")
    see("Permission on the alias", notify(f"{arn}:live"), "no error", supports="alias-permission")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    return see


def provisioned_concurrency(aws: Bench) -> Observations:
    """lambda-14: provisioned concurrency belongs to a version or an alias."""
    awslambda, see = aws.client("lambda"), Observations()
    code = (
        "import os\n"
        "kind = os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
        "def handler(event, context): return kind"
    )
    function = aws.function("checkout", code, MemorySize=2048)

    def provision(qualifier: str) -> str:
        return error_of(
            awslambda.put_provisioned_concurrency_config,
            FunctionName=function,
            Qualifier=qualifier,
            ProvisionedConcurrentExecutions=1,
        )

    see(
        "On $LATEST, with 2,048 MB",
        provision("$LATEST"),
        "InvalidParameterValueException",
        refutes="memory unreserve",
    )
    awslambda.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=2)
    see(
        "With reserved concurrency, the environment starts",
        aws.invoke(function),
        "on-demand",
        refutes="reserved",
    )
    version = awslambda.publish_version(FunctionName=function)["Version"]
    awslambda.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    see("On an alias", provision("live"), "no error", supports="alias")
    aws.defer(
        awslambda.delete_provisioned_concurrency_config, FunctionName=function, Qualifier="live"
    )

    def ready() -> bool:
        found = awslambda.get_provisioned_concurrency_config(
            FunctionName=function, Qualifier="live"
        )
        return found["Status"] == "READY"

    see("Ready in the end", aws.until(ready), True, supports="alias")
    see(
        "The environment that answers",
        aws.invoke(function, Qualifier="live"),
        "provisioned-concurrency",
        supports="alias",
    )
    return see


def variables_belong_to_versions(aws: Bench) -> Observations:
    """lambda-33: environment variables are part of a version, and an alias has none."""
    awslambda, see = aws.client("lambda"), Observations()
    code = "import os\ndef handler(event, context): return os.environ['TABLE']"
    function = aws.function("orders", code, Environment={"Variables": {"TABLE": "old"}})
    first = awslambda.publish_version(FunctionName=function)["Version"]
    for alias in ("test", "prod"):
        awslambda.create_alias(FunctionName=function, Name=alias, FunctionVersion=first)

    def tables() -> list[str]:
        return [aws.invoke(function, Qualifier=alias) for alias in ("test", "prod")]

    awslambda.update_function_configuration(
        FunctionName=function, Environment={"Variables": {"TABLE": "new"}}
    )
    wait(aws, function)
    see("After the change: test, prod", tables(), ["old", "old"])
    aws.clock.advance(hours=3)
    see("Hours later", tables(), ["old", "old"], refutes="wait restart")
    see(
        "A variable of an alias",
        error_of(
            awslambda.update_alias,
            FunctionName=function,
            Name="test",
            Environment={"Variables": {"TABLE": "new"}},
        ),
        "ParamValidationError",
        refutes="alias-variable",
    )
    second = awslambda.publish_version(FunctionName=function)["Version"]
    awslambda.update_alias(FunctionName=function, Name="test", FunctionVersion=second)
    see("A new version, for test", tables(), ["new", "old"], supports="publish-again")
    return see


def qualified_invocation(aws: Bench) -> Observations:
    """lambda-43: without a qualifier $LATEST runs."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("candidate"))
    first = awslambda.publish_version(FunctionName=function)["Version"]
    awslambda.create_alias(FunctionName=function, Name="candidate", FunctionVersion=first)
    publish(aws, function, "newest version")
    aws.update_code(function, returns("unfinished work"))

    def run(**qualifier: str) -> tuple[str, str]:
        answer = awslambda.invoke(FunctionName=function, **qualifier)
        return answer["ExecutedVersion"], json.loads(answer["Payload"].read())

    see("The name alone", run(), ("$LATEST", "unfinished work"), refutes="newest live right")
    see("With the alias", run(Qualifier="candidate"), (first, "candidate"), supports="qualifier")
    return see


def alias_environments(aws: Bench) -> Observations:
    """lambda-44: prod moves to the version that test has tried, and to nothing else."""
    awslambda, see = aws.client("lambda"), Observations()
    function = aws.function("app", returns("release 1"))
    first = awslambda.publish_version(FunctionName=function)["Version"]
    for alias in ("test", "prod"):
        awslambda.create_alias(FunctionName=function, Name=alias, FunctionVersion=first)
    second = publish(aws, function, "release 2")
    awslambda.update_alias(FunctionName=function, Name="test", FunctionVersion=second)
    aws.update_code(function, returns("an accident"))

    def runs() -> dict[str, str]:
        return {name: aws.invoke(function, Qualifier=name) for name in ("test", "prod", "$LATEST")}

    see(
        "While release 2 is tested",
        runs(),
        {"test": "release 2", "prod": "release 1", "$LATEST": "an accident"},
        supports="aliases",
        refutes="latest-prod",
    )
    awslambda.update_alias(FunctionName=function, Name="prod", FunctionVersion=second)
    shas = {
        awslambda.get_function_configuration(FunctionName=function, Qualifier=name)["CodeSha256"]
        for name in ("test", "prod")
    }
    see("After the release: hashes of test's and prod's code", len(shas), 1, supports="aliases")
    see(
        "One alias for both runs, whatever STAGE the event names",
        [aws.invoke(function, {"STAGE": stage}, Qualifier="test") for stage in ("test", "prod")],
        ["release 2", "release 2"],
        refutes="variables",
    )
    return see

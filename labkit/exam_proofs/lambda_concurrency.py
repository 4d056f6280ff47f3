"""Proofs on a function's concurrency: how to stop it, and how to see that it is throttled."""

from __future__ import annotations

from datetime import timedelta

from botocore.config import Config

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of

ONCE = Config(retries={"total_max_attempts": 1})


def reserved_zero(aws: Bench) -> Observations:
    """lambda-15: reserved concurrency 0 stops every invocation and can be taken back."""
    awslambda, see = aws.client("lambda", config=ONCE), Observations()
    function = aws.function("charge", "def handler(event, context): return 'charged'")
    see("Before", aws.invoke(function), "charged")
    see(
        "A timeout of 0",
        error_of(awslambda.update_function_configuration, FunctionName=function, Timeout=0),
        "ParamValidationError",
        refutes="timeout-zero",
    )
    awslambda.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        awslambda.invoke(FunctionName=function)
        told = {}
    except awslambda.exceptions.TooManyRequestsException as error:
        told = error.response
    see(
        "With reserved concurrency 0",
        (told.get("Error", {}).get("Code"), told.get("Reason")),
        ("TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded"),
        supports="reserve-zero",
    )
    see(
        "The code is still there",
        error_of(awslambda.get_function, FunctionName=function),
        "no error",
        supports="reserve-zero",
    )
    awslambda.delete_function_concurrency(FunctionName=function)
    see("Taken back", aws.invoke(function), "charged", supports="reserve-zero")
    awslambda.add_permission(
        FunctionName=function,
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
    )
    config = awslambda.get_function_configuration(FunctionName=function)
    awslambda.delete_function(FunctionName=function)
    awslambda.create_function(
        FunctionName=function,
        Role=config["Role"],
        Runtime=config["Runtime"],
        Handler=config["Handler"],
        Code={"ZipFile": aws.zip("def handler(event, context): return 'charged'")},
    )
    see(
        "Deleted and deployed again: its policy",
        error_of(awslambda.get_policy, FunctionName=function),
        "ResourceNotFoundException",
        refutes="delete",
    )
    return see


def throttles_metric(aws: Bench) -> Observations:
    """lambda-39: a throttled request counts in Throttles, and neither as invocation nor error."""
    awslambda, cloudwatch = aws.client("lambda", config=ONCE), aws.client("cloudwatch")
    see = Observations()
    function = aws.function("busy", "def handler(event, context): return 'ran'")
    aws.invoke(function)
    awslambda.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    codes = {error_of(awslambda.invoke, FunctionName=function) for _ in range(3)}
    see("Three invocations", codes, {"TooManyRequestsException"})
    start = aws.clock.now() - timedelta(hours=1)

    def total(metric: str) -> int:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=start,
            EndTime=aws.clock.now() + timedelta(minutes=1),
            Period=86400,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        key = "SampleCount" if metric == "Duration" else "Sum"
        return int(sum(point[key] for point in found))

    see("Throttles", aws.until(lambda: total("Throttles")), 3, supports="throttles")
    see("Errors", total("Errors"), 0, refutes="errors")
    see("Durations measured", total("Duration"), 1, refutes="duration")
    see("DeadLetterErrors", total("DeadLetterErrors"), 0, refutes="dead-letter")
    return see

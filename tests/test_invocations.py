"""Lambda's invocation model through boto3: retries, destinations, dead letters, concurrency."""

from __future__ import annotations

import io
import json
import threading
import uuid
import zipfile

import pytest
from botocore.exceptions import ClientError

HANDLER = """
import os

def handler(event, context):
    if event.get("fail"):
        raise ValueError(event["fail"])
    if event.get("hold"):
        import boto3
        queue = boto3.client("sqs")
        queue.send_message(QueueUrl=event["hold"], MessageBody="running")
        queue.receive_message(QueueUrl=event["hold"].replace("-in", "-go"), WaitTimeSeconds=20)
    return {"init": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "request": context.aws_request_id}
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    },
}


class Bench:
    """A function with a role that may send, and queues to look into."""

    def __init__(self, lab):
        self.lab = lab
        self.lambda_ = lab.client("lambda")
        self.sqs = lab.client("sqs")
        self.name = f"invoked-{uuid.uuid4().hex[:8]}"
        iam = lab.client("iam")
        role = iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=json.dumps(TRUST))
        policy = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": ["sqs:*"], "Resource": "*"},
        }
        iam.put_role_policy(RoleName=self.name, PolicyName="p", PolicyDocument=json.dumps(policy))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("main.py", HANDLER)
        self.arn = self.lambda_.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Role=role["Role"]["Arn"],
            Handler="main.handler",
            Timeout=30,
            Code={"ZipFile": archive.getvalue()},
        )["FunctionArn"]
        self.lambda_.get_waiter("function_active_v2").wait(FunctionName=self.name)

    def queue(self, kind):
        name = f"{self.name}-{kind}"
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, f"arn:aws:sqs:{self.lab.region}:{self.lab.account_id}:{name}"

    def messages(self, url):
        found = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return found.get("Messages", [])

    def send(self, event, **more):
        answer = self.lambda_.invoke(
            FunctionName=self.name, InvocationType="Event", Payload=json.dumps(event), **more
        )
        assert answer["StatusCode"] == 202
        self.lab.settle()
        return answer["ResponseMetadata"]["RequestId"]


@pytest.fixture
def bench(lab):
    return Bench(lab)


def test_a_failing_event_is_tried_three_times_and_reported_with_its_context(bench):
    url, arn = bench.queue("failed")
    bench.lambda_.put_function_event_invoke_config(
        FunctionName=bench.name, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    request_id = bench.send({"fail": "no luck"})
    bench.lab.clock.advance(seconds=59)
    assert bench.messages(url) == []
    bench.lab.clock.advance(seconds=130)
    (message,) = bench.messages(url)
    record = json.loads(message["Body"])
    assert record["version"] == "1.0"
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{bench.arn}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["requestPayload"] == {"fail": "no luck"}
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_a_successful_event_is_reported_too(bench):
    url, arn = bench.queue("done")
    bench.lambda_.put_function_event_invoke_config(
        FunctionName=bench.name, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    request_id = bench.send({"fine": True})
    record = json.loads(bench.messages(url)[0]["Body"])
    assert record["requestContext"]["condition"] == "Success"
    assert record["responsePayload"]["request"] == request_id


def test_a_dead_letter_is_the_event_with_three_attributes(bench):
    url, arn = bench.queue("dead")
    bench.lambda_.update_function_configuration(
        FunctionName=bench.name, DeadLetterConfig={"TargetArn": arn}
    )
    bench.lambda_.get_waiter("function_updated_v2").wait(FunctionName=bench.name)
    bench.lambda_.put_function_event_invoke_config(FunctionName=bench.name, MaximumRetryAttempts=0)
    request_id = bench.send({"fail": "broken"})
    (message,) = bench.messages(url)
    assert json.loads(message["Body"]) == {"fail": "broken"}
    attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
    assert attributes == {
        "RequestID": request_id,
        "ErrorCode": "200",
        "ErrorMessage": "broken",
    }


def test_an_event_too_old_for_its_retry_is_given_up(bench):
    url, arn = bench.queue("old")
    bench.lambda_.put_function_event_invoke_config(
        FunctionName=bench.name,
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    bench.send({"fail": "slowly"})
    bench.lab.clock.advance(minutes=5)
    record = json.loads(bench.messages(url)[0]["Body"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] < 3


def test_without_concurrency_calls_are_refused_and_events_go_to_the_failure_side(bench):
    url, arn = bench.queue("refused")
    bench.lambda_.put_function_event_invoke_config(
        FunctionName=bench.name, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    bench.lambda_.put_function_concurrency(FunctionName=bench.name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as refused:
        bench.lambda_.invoke(FunctionName=bench.name, Payload=b"{}")
    answer = refused.value.response
    assert answer["Error"]["Code"] == "TooManyRequestsException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    bench.send({"never": "runs"})
    record = json.loads(bench.messages(url)[0]["Body"])
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responsePayload" not in record


def test_beyond_the_reservation_is_throttled_and_events_come_back(bench):
    bench.lambda_.put_function_concurrency(FunctionName=bench.name, ReservedConcurrentExecutions=1)
    into, _ = bench.queue("in")
    go, _ = bench.queue("go")
    done_url, done = bench.queue("done")
    bench.lambda_.put_function_event_invoke_config(
        FunctionName=bench.name, DestinationConfig={"OnSuccess": {"Destination": done}}
    )
    payload = json.dumps({"hold": into})
    holder = threading.Thread(
        target=lambda: bench.lambda_.invoke(FunctionName=bench.name, Payload=payload)
    )
    holder.start()
    started = bench.sqs.receive_message(QueueUrl=into, WaitTimeSeconds=20)
    assert started["Messages"], "the first invocation runs"
    with pytest.raises(ClientError, match="Rate Exceeded"):
        bench.lambda_.invoke(FunctionName=bench.name, Payload=b"{}")
    bench.lambda_.invoke(FunctionName=bench.name, InvocationType="Event", Payload=b"{}")
    bench.sqs.send_message(QueueUrl=go, MessageBody="go on")
    holder.join(30)
    bench.lab.clock.advance(minutes=10)
    assert len(bench.messages(done_url)) == 1, "the throttled event ran in the end"
    now = bench.lab.clock.now().timestamp()
    found = bench.lab.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Throttles",
        Dimensions=[{"Name": "FunctionName", "Value": bench.name}],
        StartTime=now - 3600,
        EndTime=now + 60,
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in found["Datapoints"]) >= 2


def test_provisioned_environments_are_initialised_before_the_first_call(bench):
    version = bench.lambda_.publish_version(FunctionName=bench.name)["Version"]
    bench.lambda_.put_provisioned_concurrency_config(
        FunctionName=bench.name, Qualifier=version, ProvisionedConcurrentExecutions=1
    )
    bench.lab.settle()
    status = bench.lambda_.get_provisioned_concurrency_config(
        FunctionName=bench.name, Qualifier=version
    )
    assert status["Status"] == "READY"
    answer = bench.lambda_.invoke(
        FunctionName=bench.name, Qualifier=version, Payload=b"{}", LogType="Tail"
    )
    assert json.loads(answer["Payload"].read())["init"] == "provisioned-concurrency"
    bench.lambda_.delete_provisioned_concurrency_config(FunctionName=bench.name, Qualifier=version)


def test_payloads_have_limits_and_must_be_json(bench):
    with pytest.raises(ClientError) as refused:
        bench.lambda_.invoke(FunctionName=bench.name, Payload=b"not json")
    assert refused.value.response["Error"]["Code"] == "InvalidRequestContentException"
    with pytest.raises(ClientError) as refused:
        bench.lambda_.invoke(
            FunctionName=bench.name, InvocationType="Event", Payload=b'"' + b"x" * 1_048_577 + b'"'
        )
    assert refused.value.response["Error"]["Code"] == "RequestTooLargeException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413

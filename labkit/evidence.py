"""The ten validation steps and the seven confirmations, each with the evidence it saw.

Each looks at what its sentence is about: the resource itself, or the effect that an order had.
None of them raises, and none uses up what it looks at.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from labkit import pipeline, policies
from labkit.display import progress
from labkit.errors import LabError
from labkit.findings import Check, Finding, Report, check
from labkit.logs import LogLine
from labkit.reading import error_code
from labkit.session import Lab
from labkit.whole_run import all_of, announced, cut, exact, queued, same, stored, streamed
from labkit.witness import Witness

STEPS: list[Check] = []
CONFIRMATIONS: list[Check] = []

# -- the ten steps -------------------------------------------------------------------------------


@check("Create DynamoDB table", STEPS)
def table_created(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The table is active and keyed by OrderId."""
    found = lab.client("dynamodb").describe_table(TableName=lab.names.table)["Table"]
    kinds = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
    keys = [
        f"{one['AttributeName']} ({kinds[one['AttributeName']]}, {one['KeyType']})"
        for one in found["KeySchema"]
    ]
    ok = found["TableStatus"] == "ACTIVE" and keys == ["OrderId (S, HASH)"]
    return ok, f"{found['TableArn']} is {found['TableStatus']}, key {', '.join(keys)}"


@check("Create Lambda function", STEPS)
def function_created(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The function is there, active, and its last update succeeded."""
    found = _configuration(lab)
    state, updated = found.get("State"), found.get("LastUpdateStatus")
    ok = state == "Active" and updated == "Successful" and found["CodeSize"] > 0
    return ok, (
        f"{found['FunctionArn']} is {state}, last update {updated}: {found['Runtime']}, "
        f"{found['Handler']}, {found['CodeSize']:,} bytes of code"
    )


@check("Attach IAM role with permissions", STEPS)
def role_attached(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The function has its role, Lambda may take it on, and its policies allow what is needed."""
    iam, names = lab.client("iam"), lab.names
    arn = _configuration(lab)["Role"]
    if arn != names.role_arn:
        return False, f"the function's role is {arn}, not {names.role_arn}"
    trust = iam.get_role(RoleName=names.role)["Role"]["AssumeRolePolicyDocument"]
    if not policies.trusts(trust, "lambda.amazonaws.com"):
        return False, f"{names.role} does not let lambda.amazonaws.com take it on"
    attached, documents = policies.of_role(iam, names.role)
    missing = [
        f"{action} on {resource}"
        for action, resource in policies.needed(names)
        if not policies.allows(documents, action, resource)
    ]
    if policies.BASIC_EXECUTION not in attached:
        missing.append("AWSLambdaBasicExecutionRole (logs)")
    if missing:
        return False, f"{names.role} lacks {'; '.join(missing)}"
    allowed = ", ".join(policies.FUNCTION_ACTIONS)
    return True, f"{names.role} allows {allowed} on the pipeline's resources, and writing logs"


@check("Configure Lambda environment vars", STEPS)
def environment_set(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The function's environment variables name exactly the pipeline's resources."""
    names = lab.names
    variables = _configuration(lab).get("Environment", {}).get("Variables", {})
    wanted = {
        "TABLE_NAME": names.table,
        "STREAM_NAME": names.stream,
        "QUEUE_URL": f"/{names.account_id}/{names.queue}",
        "TOPIC_ARN": names.topic_arn,
    }
    wrong = [
        f"{name} is {variables.get(name, 'not set')}"
        for name, value in wanted.items()
        # Where a queue's URL begins depends on the AWS; how it ends does not.
        if not (variables.get(name, "").endswith(value) and (
            name == "QUEUE_URL" or variables[name] == value))
    ]  # fmt: skip
    shown = ", ".join(f"{name}={variables[name]}" for name in wanted if name in variables)
    return not wrong, "; ".join(wrong) or shown


@check("Send test event to Lambda", STEPS)
def test_event_sent(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """A test event was processed: the function answered with the order it was sent."""
    found = witness.test
    answered = (found.payload or {}).get("orders", []) if found.ok else []
    ok = [order["OrderId"] for order in answered] == [witness.test_order["OrderId"]]
    error = f", FunctionError {found.function_error}" if found.function_error else ""
    sent = json.dumps(witness.test_order)
    return ok, f"{sent}: StatusCode {found.status}{error}, {cut(json.dumps(found.payload))}"


@check("Verify DynamoDB record creation", STEPS)
def record_stored(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The order that came through S3 is in the table: id, exact amount, S3 key, time."""
    item = witness.item
    if item is None:
        return False, f"{lab.names.table} has no item {witness.order_id} ({witness.key})"
    ok = (
        item.get("Amount") == exact(witness.order["Amount"])
        and item.get("S3Key") == witness.key
        and bool(item.get("Timestamp"))
    )
    shown = {name: str(item.get(name)) for name in ("OrderId", "Amount", "S3Key", "Timestamp")}
    return all_of(ok, f"item {shown}", stored(lab, witness.outcome))


@check("Verify SNS notification (Amount > 300)", STEPS)
def notification_sent(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The topic told its subscribers, and only of the order above 300: the mail, the envelope."""
    ok, evidence = _mailed(lab, witness)
    envelopes = witness.notifications
    if not envelopes:
        return False, f"{evidence}; no notification about {witness.order_id} in {lab.names.queue}"
    envelope = envelopes[0].notification or {}
    evidence += f"; notification {envelope['MessageId']} from {envelope['TopicArn']}"
    small = witness.test_order["OrderId"]
    if witness.test.ok and any(small in m.body for m in witness.messages):
        return False, f"{evidence}; but {small} (not above 300) was announced as well"
    ok = ok and envelope["TopicArn"] == lab.names.topic_arn
    return all_of(ok, evidence, announced(lab, witness))


@check("Inspect Lambda execution logs", STEPS)
def logs_inspected(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The test event's run is in the log: START, what the function said, END, REPORT."""
    request = witness.test.request_id
    found = [line for line in witness.log if line.request_id == request]
    said = [line for line in found if line.platform is None]
    platform = [line.platform for line in found if line.platform]
    ok = {"START", "END", "REPORT"} <= set(platform) and bool(said)
    if not found:
        return False, f"{lab.names.log_group} says nothing about request {request}"
    report = next((line.text for line in found if line.platform == "REPORT"), "no REPORT line")
    return ok, (
        f"{lab.names.log_group} {found[0].stream}: {', '.join(platform)} and {len(said)} lines of "
        f"the function; {' '.join(report.split())}"
    )


@check("Verify SQS message delivery", STEPS)
def message_delivered(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The function's own message about the order above 300 is in HighValueQueue."""
    ok, evidence = _own_message(lab, witness)
    return all_of(ok, evidence, queued(lab, witness))


@check("Verify Kinesis stream record", STEPS)
def record_streamed(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The order is on the stream, under its OrderId as partition key, as it was sent."""
    found = [record for record in witness.records if record.partition_key == witness.order_id]
    if not found:
        return False, f"{lab.names.stream} has no record {witness.order_id} since {witness.since}"
    record = found[0]
    ok = record.json is not None and same(record.json, witness.order)
    evidence = (
        f"{record.shard}, sequence number {record.sequence_number}, partition key "
        f"{record.partition_key}: {cut(record.data.decode(errors='replace'))}"
    )
    return all_of(ok, evidence, streamed(witness))


# -- the seven confirmations ---------------------------------------------------------------------


@check("Lambda triggered by S3 event", CONFIRMATIONS)
def triggered_by_s3(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The log shows the S3 event that started the function for the order's object."""
    line, record = _s3_event(lab, witness)
    if line is None or record is None:
        return False, f"no event of s3://{lab.names.bucket}/{witness.key} in the function's log"
    return True, (
        f"log of request {line.request_id}: eventSource {record['eventSource']}, eventName "
        f"{record['eventName']}, s3://{record['s3']['bucket']['name']}/{witness.key}"
    )


@check("IAM permissions allow DynamoDB write", CONFIRMATIONS)
def may_write(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The order was written, and nothing about DynamoDB was denied."""
    item = witness.item
    shown = f"item {witness.order_id} is {'there' if item else 'NOT there'}"
    return _undenied(witness, "dynamodb", item is not None, shown)


@check("IAM permissions allow SNS publish", CONFIRMATIONS)
def may_publish(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The order above 300 was announced by e-mail, and nothing about SNS was denied."""
    ok, shown = _mailed(lab, witness)
    return _undenied(witness, "sns", ok, shown)


@check("IAM permissions allow SQS send", CONFIRMATIONS)
def may_send(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The function's message is visible in HighValueQueue, and nothing about SQS was denied."""
    ok, shown = _own_message(lab, witness)
    return _undenied(witness, "sqs", ok, shown)


@check("IAM permissions allow Kinesis put", CONFIRMATIONS)
def may_put(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The stream's IncomingRecords metric went up, and nothing about Kinesis was denied."""
    before, now = witness.counted
    shown = f"IncomingRecords of {lab.names.stream} went from {before:.0f} to {now:.0f}"
    return _undenied(witness, "kinesis", now > before, shown)


@check("Order JSON saved in DynamoDB", CONFIRMATIONS)
def json_saved(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The whole order is in the table as it was sent, beside OrderId and Amount."""
    item = witness.item
    if item is None:
        return False, f"no item {witness.order_id}"
    ok = (
        item.get("OrderId") == witness.order_id
        and item.get("Amount") == exact(witness.order["Amount"])
        and same(item.get("Order"), witness.order)
    )
    saved = json.dumps(item.get("Order"), default=str)
    return ok, f"OrderId {item.get('OrderId')}, Amount {item.get('Amount')}, Order {cut(saved)}"


@check("CloudWatch logs show structured output", CONFIRMATIONS)
def logs_structured(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """The log of one of the two invocations holds its request and its response as JSON."""
    started_by_s3, _ = _s3_event(lab, witness)
    requests: dict[str, dict[str, Any]] = {witness.test.request_id: {}}
    if started_by_s3 is not None:
        requests[started_by_s3.request_id] = {}
    for line in witness.log:
        if line.fields and line.request_id in requests:
            seen = requests[line.request_id]
            seen.update((n, line.fields[n]) for n in ("request", "response") if n in line.fields)
    for request, seen in requests.items():
        if "request" in seen and "response" in seen:
            asked, answered = (cut(json.dumps(seen[n]), 120) for n in ("request", "response"))
            return True, f"log of {request}: request {asked}, response {answered}"
    return False, f"no JSON request and response of {', '.join(requests)} in the log"


def verify(lab: Lab, witness: Witness | None = None) -> Report:
    """All ten steps and seven confirmations, seen anew; a *witness* brings traffic to look at."""
    witness = witness or Witness(lab)
    report = Report(outcome=witness.outcome)
    with progress("Verifying the pipeline") as shown:
        for checks, findings in ((STEPS, report.steps), (CONFIRMATIONS, report.confirmations)):
            for look in checks:
                shown.text = look.__name__.replace("_", " ")
                findings.append(look(lab, witness))
    return report


def step(lab: Lab, number: int, witness: Witness | None = None) -> Finding:
    """Validation step *number*, 1 to 10."""
    if not 1 <= number <= len(STEPS):
        raise LabError(f"there is no step {number}: they go from 1 to {len(STEPS)}")
    return STEPS[number - 1](lab, witness)


def confirmation(lab: Lab, number: int, witness: Witness | None = None) -> Finding:
    """Confirmation *number*, 1 to 7."""
    if not 1 <= number <= len(CONFIRMATIONS):
        raise LabError(f"there is no confirmation {number}: they go from 1 to {len(CONFIRMATIONS)}")
    return CONFIRMATIONS[number - 1](lab, witness)


# -- what several of them look at ------------------------------------------------------------------


def _configuration(lab: Lab) -> dict[str, Any]:
    return lab.client("lambda").get_function_configuration(FunctionName=lab.names.function)


def _mailed(lab: Lab, witness: Witness) -> tuple[bool, str]:
    """Whether the order's mail arrived, or where no mail can be read, that somebody gets it."""
    order_id = witness.order_id
    if lab.mailbox.readable:
        mail = witness.mails.get(order_id)
        if mail is None:
            return False, f"no mail about {order_id} arrived"
        return (
            True,
            f"mail to {mail.to}: {mail.subject!r}, {cut(' '.join(mail.body.split()), 120)}",
        )
    pages = lab.client("sns").get_paginator("list_subscriptions_by_topic")
    found = [
        one["Endpoint"]
        for page in pages.paginate(TopicArn=lab.names.topic_arn)
        for one in page["Subscriptions"]
        if one["Protocol"] == "email" and one["SubscriptionArn"].startswith("arn:")
    ]
    if not found:
        wanted = pipeline.email(lab) or "nobody: set LABKIT_EMAIL and build again"
        return False, f"no confirmed e-mail subscriber; waiting for {wanted}"
    return True, f"{', '.join(found)} is subscribed: the mail about {order_id} is in that inbox"


def _own_message(lab: Lab, witness: Witness) -> tuple[bool, str]:
    found = witness.own_messages
    if not found:
        return False, f"no message of the function about {witness.order_id} in {lab.names.queue}"
    ok = same(found[0].order, witness.order)
    return ok, f"message {found[0].id} in {lab.names.queue}: {cut(found[0].body)}"


def _s3_event(lab: Lab, witness: Witness) -> tuple[LogLine | None, dict[str, Any] | None]:
    for line in witness.log:
        request = (line.fields or {}).get("request")
        records = request.get("Records", []) if isinstance(request, dict) else []
        for record in records:
            found = record.get("s3", {})
            key = unquote_plus(found.get("object", {}).get("key", ""))
            if found.get("bucket", {}).get("name") == lab.names.bucket and key == witness.key:
                return line, record
    return None, None


def _undenied(witness: Witness, service: str, ok: bool, shown: str) -> tuple[bool, str]:
    """*ok* and *shown*, unless the log since the start tells of a denial by *service*."""
    try:
        denied = [
            line.text
            for line in witness.log
            # SNS writes its own name in capitals, and calls the error AuthorizationError.
            if f"not authorized to perform: {service}:" in line.text.lower()
            or ("AccessDenied" in line.text and f"{service}:" in line.text.lower())
        ]
    except ClientError as error:
        return ok, f"{shown}; no log to look for AccessDenied in ({error_code(error)})"
    if denied:
        return False, f"{shown}; {len(denied)} denials in the log: {_denial(denied[0])}"
    return ok, f"{shown}; no AccessDenied in {len(witness.log)} log lines"


def _denial(text: str) -> str:
    """AWS's sentence out of a log line."""
    start = max(text.find("User: "), 0)
    # What follows the sentence is the rest of the JSON line.
    return cut(text[start:].split('","')[0], 300)

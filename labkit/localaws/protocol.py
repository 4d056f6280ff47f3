"""HTTP requests to API calls and answers back to HTTP, by botocore's service models.

moto's parsers and serialisers do the work; this module finds the service and operation a request
is for, and puts AWS's errors into the protocol of the service called.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import re
import secrets
import uuid
from typing import Any
from xml.sax.saxutils import escape

from botocore.parsers import create_parser
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import SerializationContext, get_serializer_class
from moto.core.utils import get_service_model

from labkit.localaws.call import AwsError, Call, Reply

# Signing names that are not botocore's service name.
_SERVICE_BY_SIGNING_NAME = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "states": "stepfunctions",
    "tagging": "resourcegroupstaggingapi",
    "elasticloadbalancing": "elbv2",
    "elasticmapreduce": "emr",
    "execute-api": "apigatewaymanagementapi",
    "aps": "amp",
    "s3express": "s3",
    "cloudcontrolapi": "cloudcontrol",
    "eventbridge": "events",
}
# Services that share a signing name, told apart by the JSON target's prefix.
_SERVICE_BY_TARGET = {
    "DynamoDBStreams_20120810": "dynamodbstreams",
    "DynamoDB_20120810": "dynamodb",
    "AWSCognitoIdentityService": "cognito-identity",
    "AWSCognitoIdentityProviderService": "cognito-idp",
    "AmazonSQS": "sqs",
    "Kinesis_20131202": "kinesis",
    "Logs_20140328": "logs",
    "AWSEvents": "events",
    "TrentService": "kms",
    "AmazonSSM": "ssm",
    "secretsmanager": "secretsmanager",
    "AWSStepFunctions": "stepfunctions",
    "GraniteServiceVersion20100801": "cloudwatch",
}
_UNSIGNED_QUERY_SERVICES = {
    "ConfirmSubscription": "sns",
    "Unsubscribe": "sns",
    "AssumeRoleWithSAML": "sts",
    "AssumeRoleWithWebIdentity": "sts",
}
_SCOPE = re.compile(r"Credential=[^/\s,]*/\d*/([^/,]*)/([^/,]*)/aws4_request")


def credential_scope(request: Request) -> tuple[str, str] | None:
    """The (region, signing name) a request was signed for, or None when it is unsigned."""
    match = _SCOPE.search(request.headers.get("Authorization", ""))
    if match is None:
        parts = request.args.get("X-Amz-Credential", "").split("/")
        return (parts[2], parts[3]) if len(parts) == 5 else None
    return match.group(1), match.group(2)


def identify_service(request: Request) -> tuple[str, str]:
    """botocore's name of the service a request is for, and the region: S3 when in doubt."""
    region, service = "us-east-1", ""
    scope = credential_scope(request)
    if scope is not None:
        region, service = scope[0] or region, scope[1].lower()
    target = request.headers.get("X-Amz-Target", "")
    if target:
        service = _SERVICE_BY_TARGET.get(target.split(".")[0], service)
    elif not service:
        action = request.values.get("Action", "")
        service = _UNSIGNED_QUERY_SERVICES.get(action, "s3")
    service = _SERVICE_BY_SIGNING_NAME.get(service, service)
    if service == "ses" and request.path.startswith("/v2/"):
        service = "sesv2"
    if service == "apigateway" and request.path.startswith("/v2/"):
        service = "apigatewayv2"
    return service, region


@functools.cache
def service_model(service: str) -> ServiceModel | None:
    """botocore's model of *service*, or None when there is no such service."""
    try:
        return get_service_model(service)
    except Exception:
        return None


def operation_model(service: str, operation: str) -> OperationModel | None:
    """botocore's model of one operation, or None when it is not known."""
    model = service_model(service)
    if model is None or operation not in model.operation_names:
        return None
    return model.operation_model(operation)


def read_call(request: Request, account_id: str) -> Call:
    """The :class:`Call` a request makes; operation is empty when it can't be told.

    What can't be parsed leaves ``params`` empty and the reason in ``notes["unparsed"]``.
    """
    # Read first: once a form has been parsed off the stream, the raw body is gone.
    request.get_data(cache=True)
    service, region = identify_service(request)
    request_id = new_s3_request_id() if service == "s3" else str(uuid.uuid4())
    call = Call(service, "", {}, region, account_id, request_id, request)
    model = service_model(service)
    if model is None:
        return call
    try:
        operation, uri_params = get_service_router(service).match(request)
        call.operation = operation.name
        protocol = determine_request_protocol(model, request.content_type)
        parser = PROTOCOL_PARSERS[protocol](operation)
        parsed = parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": _plain_body(request, service),
                "url_path": request.path,
                "url_params": uri_params,
            }
        )
        call.params = dict(parsed or {})
    except Exception as problem:  # whatever a mangled request provokes in the parsers
        call.notes["unparsed"] = problem
    return call


def _plain_body(request: Request, service: str) -> bytes:
    """The body as it was before the client compressed it.

    Clients compress large bodies of some operations (PutMetricData); S3 keeps what it is given.
    """
    body = request.get_data()
    if service != "s3" and request.headers.get("Content-Encoding", "").lower() == "gzip":
        return gzip.decompress(body)
    return body


def write_result(call: Call, result: dict[str, Any] | None) -> Reply:
    """*result*, in the shape of the operation's output, in the service's protocol."""
    operation = operation_model(call.service, call.operation)
    assert operation is not None, f"no such operation: {call.service} {call.operation}"
    serializer_class = get_serializer_class(call.service, _protocol(call))
    serializer = serializer_class(operation, SerializationContext(call.request_id))
    written = serializer.serialize(result or {})
    # 204 means no content: a body would be taken for the start of the next answer.
    body = b"" if written["status_code"] == 204 else written["body"]
    return _reply(call, written["status_code"], dict(written["headers"]), body)


def write_error(call: Call, error: AwsError) -> Reply:
    """*error* in the protocol of the service that was called."""
    if call.service == "s3":
        return _s3_error(call, error)
    protocol = _protocol(call)
    if protocol in ("query", "ec2"):
        return _query_error(call, error)
    body: dict[str, Any] = {"__type": _error_type(call, error.code)}
    # Older JSON services write "message", some shapes model "Message": clients read both.
    body[_message_member(call, error.code)] = error.message
    body.update(error.members)
    headers = {
        "content-type": "application/json"
        if protocol.startswith("rest")
        else f"application/x-amz-json-{_json_version(call)}",
        "x-amzn-errortype": error.code,
    }
    if protocol.startswith("rest"):
        del body["__type"]
        body = {"Type": "User" if error.status < 500 else "Service", **body}
    model = service_model(call.service)
    if model is not None and "awsQueryCompatible" in model.metadata:
        fault = "Sender" if error.status < 500 else "Receiver"
        query_code = _query_code(call, error.code)
        headers["x-amzn-query-error"] = f"{query_code};{fault}"
    return _reply(call, error.status, headers, json.dumps(body))


def parse_reply(call: Call, reply: Reply) -> dict[str, Any]:
    """What boto3 would make of *reply*: the output's members, or ``Error``."""
    operation = operation_model(call.service, call.operation)
    assert operation is not None
    parser = create_parser(_protocol(call))
    return parser.parse(
        {"status_code": reply.status, "headers": reply.headers, "body": reply.body},
        operation.output_shape,
    )


def _protocol(call: Call) -> str:
    model = service_model(call.service)
    if model is None:
        return "rest-xml" if call.service == "s3" else "query"
    try:
        return determine_request_protocol(model, call.request.content_type)
    except NotImplementedError:
        return str(model.protocol)


def _json_version(call: Call) -> str:
    model = service_model(call.service)
    return str(model.metadata.get("jsonVersion", "1.0")) if model else "1.0"


def _error_shape(call: Call, code: str) -> Any:
    model = service_model(call.service)
    if model is None:
        return None
    for shape in model.error_shapes:
        if shape.name == code:
            return shape
    return next((each for each in model.error_shapes if each.error_code == code), None)


def _message_member(call: Call, code: str) -> str:
    shape = _error_shape(call, code)
    if shape is not None:
        for name in shape.members:
            if name.lower() == "message":
                return name
    return "Message" if call.service == "lambda" else "message"


def _error_type(call: Call, code: str) -> str:
    model = service_model(call.service)
    if model is None or _json_version(call) != "1.0":
        return code
    # botocore reads what follows "#"; JSON 1.0 services prefix their namespace.
    namespaces = {"dynamodb": "com.amazonaws.dynamodb.v20120810", "sqs": "com.amazonaws.sqs"}
    prefix = namespaces.get(call.service, f"com.amazonaws.{call.service}")
    shape = _error_shape(call, code)
    if shape is None:
        return f"com.amazon.coral.service#{code}"
    # A query-era code (InvalidParameterValue) belongs to a shape of another name.
    return f"{prefix}#{shape.name}"


def _query_code(call: Call, code: str) -> str:
    shape = _error_shape(call, code)
    return shape.error_code if shape is not None else code


def _query_error(call: Call, error: AwsError) -> Reply:
    model = service_model(call.service)
    namespace = model.metadata.get("xmlNamespace", "") if model else ""
    fault = "Sender" if error.status < 500 else "Receiver"
    body = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type>'
        f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        f"<RequestId>{call.request_id}</RequestId></ErrorResponse>"
    )
    return _reply(call, error.status, {"content-type": "text/xml"}, body)


def _s3_error(call: Call, error: AwsError) -> Reply:
    members = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in error.members.items())
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
        f"{members}<RequestId>{call.request_id}</RequestId>"
        f"<HostId>{s3_host_id(call.request_id)}</HostId></Error>"
    )
    headers = {"content-type": "application/xml"}
    if call.request.method == "HEAD":
        # A HEAD answer has no body, so S3 can tell only the status.
        return _reply(call, error.status, headers, "")
    return _reply(call, error.status, headers, body)


def s3_id_headers(call: Call) -> dict[str, str]:
    """The two headers by which S3's support finds a request again."""
    return {
        "x-amz-request-id": call.request_id,
        "x-amz-id-2": s3_host_id(call.request_id),
    }


def s3_host_id(request_id: str) -> str:
    """S3's second id of a request, always the same one for the same request."""
    return base64.b64encode(hashlib.sha512(request_id.encode()).digest()[:57]).decode()


def new_s3_request_id() -> str:
    """A request id as S3 makes them up: sixteen letters and digits."""
    return base64.b32encode(secrets.token_bytes(10)).decode()


def _reply(call: Call, status: int, headers: dict[str, Any], body: str | bytes) -> Reply:
    data = body.encode() if isinstance(body, str) else (body or b"")
    low = {name.lower(): str(value) for name, value in headers.items()}
    if call.service == "s3":
        low.update(s3_id_headers(call))
    else:
        low.setdefault("x-amzn-requestid", call.request_id)
    return Reply(status, low, data, call)

"""Function URLs: a function behind an address of its own, called with plain HTTP.

Follows the Lambda Developer Guide, "Creating and managing Lambda function URLs" and "Invoking
Lambda function URLs" (payload format version 2.0). The address is a path on loopback instead of
a host name of its own: ``http://localhost:PORT/_lambda/url/<id>/``.
"""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.core.request import Request

from labkit.localaws.call import ANONYMOUS, AwsError, Call, Principal
from labkit.localaws.http_server import Answer

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

PREFIX = "/_lambda/url/"
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")
_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


class FunctionUrls:
    """Answers requests to function URLs."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        aws.gateway.pages[PREFIX] = self.answer

    def answer(self, request: Request) -> Answer:
        """What the function answers, or AWS's answer when it may not or cannot be asked."""
        url_id, _, path = request.path.removeprefix(PREFIX).partition("/")
        target = self._aws.functions.url_target(url_id)
        if target is None:
            return _message(404, "Not Found")
        function, qualifier, config = target
        cors = _cors(config.get("Cors") or {}, request.headers.get("Origin"))
        if request.method == "OPTIONS" and config.get("Cors") and request.headers.get("Origin"):
            return 200, cors, b""
        call = Call(
            "lambda",
            "InvokeFunctionUrl",
            {},
            function.region,
            function.account,
            str(uuid.uuid4()),
            request,
        )
        arn = function.arn + (f":{qualifier}" if qualifier else "")
        try:
            principal = self._caller(call, config["AuthType"], arn)
            version, named = self._aws.functions.resolve_invocation(
                function.account, function.region, function.name, qualifier
            )
            event = self._event(call, url_id, f"/{path}", principal)
            result = self._aws.invocations.invoke(
                version,
                json.dumps(event).encode(),
                request_id=call.request_id,
                invoked_arn=version.arn + (f":{named}" if named else ""),
            )
        except AwsError as error:
            if error.status in (401, 403):
                return _message(403, _FORBIDDEN)
            return _message(error.status, error.message)
        if result.function_error:
            return _message(502, "Internal Server Error", cors)
        return _http_answer(result.payload, call.request_id, cors)

    def _caller(self, call: Call, auth_type: str, arn: str) -> Principal:
        """Who asks; raises AwsError for who may not."""
        identity = self._aws.identity
        principal = ANONYMOUS if auth_type == "NONE" else identity.authenticate(call)
        context = {"lambda:functionurlauthtype": auth_type}
        decision = identity.decision(principal, "lambda:InvokeFunctionUrl", arn, context)
        if not decision.allowed or (auth_type != "NONE" and principal.kind == "anonymous"):
            raise AwsError("AccessDeniedException", _FORBIDDEN, 403)
        return principal

    def _event(self, call: Call, url_id: str, path: str, principal: Principal) -> dict[str, Any]:
        request = call.request
        body = request.get_data()
        kind = request.headers.get("Content-Type", "")
        # Without a content type the body counts as binary.
        as_text = not body or kind.startswith(_TEXT_TYPES)
        headers = {name.lower(): value for name, value in request.headers.items()}
        cookies = [part.strip() for part in headers.pop("cookie", "").split(";") if part.strip()]
        query: dict[str, str] = {}
        for name, value in request.args.items(multi=True):
            query[name] = f"{query[name]},{value}" if name in query else value
        now = datetime.fromtimestamp(self._aws.clock.now(), UTC)
        context: dict[str, Any] = {
            "accountId": principal.account_id or "anonymous",
            "apiId": url_id,
            "domainName": request.host,
            "domainPrefix": url_id,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": request.remote_addr or "127.0.0.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": call.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        }
        if principal.kind != "anonymous":
            context["authorizer"] = {
                "iam": {
                    "accessKey": principal.access_key_id,
                    "accountId": principal.account_id,
                    "userArn": principal.arn,
                }
            }
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": request.query_string.decode(),
            "headers": headers,
            "requestContext": context,
            "isBase64Encoded": not as_text,
        }
        if cookies:
            event["cookies"] = cookies
        if query:
            event["queryStringParameters"] = query
        if body:
            event["body"] = body.decode() if as_text else base64.b64encode(body).decode()
        return event


def _http_answer(payload: bytes, request_id: str, cors: list[tuple[str, str]]) -> Answer:
    """The HTTP answer a function's result stands for: a structured one, or just a body."""
    common = [("x-amzn-RequestId", request_id), *cors]
    try:
        result = json.loads(payload)
    except ValueError:
        result = None
    if not isinstance(result, dict) or "statusCode" not in result:
        # Whatever else is valid JSON becomes the body of a successful answer.
        body = result.encode() if isinstance(result, str) else payload
        return 200, [("Content-Type", "application/json"), *common], body
    try:
        status = int(result["statusCode"])
        text = result.get("body") or ""
        text = text if isinstance(text, str) else json.dumps(text)
        body = base64.b64decode(text) if result.get("isBase64Encoded") else text.encode()
        given = {str(k): str(v) for k, v in (result.get("headers") or {}).items()}
    except (TypeError, ValueError, AttributeError):
        return _message(502, "Internal Server Error", cors)
    headers = list(given.items())
    if not any(name.lower() == "content-type" for name in given):
        headers.append(("Content-Type", "application/json"))
    headers += [("Set-Cookie", str(cookie)) for cookie in result.get("cookies") or []]
    return status, [*headers, *common], body


def _message(status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Answer:
    body = text if status == 502 else json.dumps({"Message": text})
    return status, [("Content-Type", "application/json"), *(headers or [])], body.encode()


def _cors(config: dict[str, Any], origin: str | None) -> list[tuple[str, str]]:
    """The cross-origin headers of the configuration for a request from *origin*."""
    allowed = config.get("AllowOrigins") or []
    if not origin or ("*" not in allowed and origin not in allowed):
        return []
    headers = [("Access-Control-Allow-Origin", "*" if "*" in allowed else origin)]
    names = {
        "AllowMethods": "Access-Control-Allow-Methods",
        "AllowHeaders": "Access-Control-Allow-Headers",
        "ExposeHeaders": "Access-Control-Expose-Headers",
    }
    for setting, header in names.items():
        if config.get(setting):
            headers.append((header, ",".join(config[setting])))
    if config.get("MaxAge"):
        headers.append(("Access-Control-Max-Age", str(config["MaxAge"])))
    if config.get("AllowCredentials"):
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return headers

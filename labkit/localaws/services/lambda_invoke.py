"""Lambda's Invoke operations: what a caller sees of an invocation.

Follows the Lambda API Reference, "Invoke", "InvokeWithResponseStream" and "InvokeAsync".
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from labkit.localaws.call import AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.invocation import ASYNC_PAYLOAD_BYTES, SYNC_PAYLOAD_BYTES
from labkit.localaws.runtime.version import FunctionVersion


class InvokeOperations(ServiceLayer):
    """Invoke in its three types, and its two relatives."""

    def Invoke(self, call: Call, forward: Forward) -> Reply:
        """200 with the function's payload, 202 for an event accepted, 204 for a dry run."""
        params = call.params
        kind = params.get("InvocationType") or "RequestResponse"
        payload = _payload(params.get("Payload"))
        asynchronous = kind == "Event"
        _check_size(payload, ASYNC_PAYLOAD_BYTES if asynchronous else SYNC_PAYLOAD_BYTES)
        _check_json(payload)
        version, invoked_arn = self._resolve(call, params)
        trace_id = _trace_id(call, self.aws.clock.now())
        if kind == "DryRun":
            return Reply(204, {"x-amzn-requestid": call.request_id}, b"", call)
        headers = {"x-amzn-requestid": call.request_id, "x-amzn-trace-id": trace_id}
        if asynchronous:
            self.aws.invocations.invoke_async(
                version.account_id,
                version.region,
                version.function_name,
                _qualifier(invoked_arn),
                payload,
                request_id=call.request_id,
                client_context=_client_context(params),
                trace_id=trace_id,
            )
            return Reply(202, {**headers, "content-type": "application/json"}, b"", call)
        result = self.aws.invocations.invoke(
            version,
            payload,
            request_id=call.request_id,
            invoked_arn=invoked_arn,
            client_context=_client_context(params),
            trace_id=trace_id,
        )
        headers["content-type"] = "application/json"
        headers["x-amz-executed-version"] = version.version
        if result.function_error:
            headers["x-amz-function-error"] = result.function_error
        if params.get("LogType") == "Tail":
            headers["x-amz-log-result"] = base64.b64encode(result.log_tail).decode()
        return Reply(200, headers, result.payload, call)

    def InvokeAsync(self, call: Call, forward: Forward) -> Reply:
        """202 for an event accepted: the deprecated forerunner of Invoke's Event type."""
        payload = _payload(call.params.get("InvokeArgs"))
        _check_size(payload, ASYNC_PAYLOAD_BYTES)
        _check_json(payload)
        version, _ = self._resolve(call, call.params)
        self.aws.invocations.invoke_async(
            version.account_id,
            version.region,
            version.function_name,
            None,
            payload,
            request_id=call.request_id,
        )
        return Reply(202, {"x-amzn-requestid": call.request_id}, b"", call)

    def InvokeWithResponseStream(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The payload as one chunk and the completion: Python functions answer buffered."""
        params = call.params
        payload = _payload(params.get("Payload"))
        _check_size(payload, SYNC_PAYLOAD_BYTES)
        _check_json(payload)
        version, invoked_arn = self._resolve(call, params)
        result = self.aws.invocations.invoke(
            version,
            payload,
            request_id=call.request_id,
            invoked_arn=invoked_arn,
            client_context=_client_context(params),
            trace_id=_trace_id(call, self.aws.clock.now()),
        )
        complete: dict[str, Any] = {}
        if result.function_error:
            details = json.loads(result.payload)
            complete["ErrorCode"] = details.get("errorType", result.function_error)
            complete["ErrorDetails"] = result.payload.decode()
        if params.get("LogType") == "Tail":
            complete["LogResult"] = base64.b64encode(result.log_tail).decode()
        return {
            "StatusCode": 200,
            "ExecutedVersion": version.version,
            "EventStream": [
                {"PayloadChunk": {"Payload": result.payload}},
                {"InvokeComplete": complete},
            ],
        }

    def _resolve(self, call: Call, params: dict[str, Any]) -> tuple[FunctionVersion, str]:
        """The version that runs, and the ARN as it was invoked (with the qualifier if given)."""
        version, qualifier = self.aws.functions.resolve_invocation(
            call.account_id, call.region, params["FunctionName"], params.get("Qualifier")
        )
        return version, version.arn + (f":{qualifier}" if qualifier else "")


def _qualifier(invoked_arn: str) -> str | None:
    parts = invoked_arn.split(":")
    return parts[7] if len(parts) > 7 else None


def _payload(given: Any) -> bytes:
    data = given.read() if hasattr(given, "read") else given
    data = data.encode() if isinstance(data, str) else bytes(data or b"")
    # Without a payload the function receives an empty object.
    return data or b"{}"


def _check_size(payload: bytes, limit: int) -> None:
    if len(payload) > limit:
        raise AwsError(
            "RequestTooLargeException",
            f"{len(payload)} byte payload is too large for the Invoke operation "
            f"(limit {limit} bytes)",
            413,
        )


def _check_json(payload: bytes) -> None:
    try:
        json.loads(payload)
    except (ValueError, RecursionError) as problem:
        raise AwsError(
            "InvalidRequestContentException",
            "Could not parse request body into json: Could not parse payload into json: "
            f"{problem}",
            400,
        ) from None


def _client_context(params: dict[str, Any]) -> str | None:
    given = params.get("ClientContext")
    if not given:
        return None
    try:
        text = base64.b64decode(given, validate=True).decode()
        json.loads(text)
    except ValueError:
        raise AwsError(
            "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object"
        ) from None
    return text


def _trace_id(call: Call, now: float) -> str:
    given = call.request.headers.get("X-Amzn-Trace-Id")
    if given and "Root=" in given:
        return given
    root = f"1-{int(now):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0"

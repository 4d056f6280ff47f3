"""Every place where moto itself is bent, each with its reason.

tests/test_moto_hooks.py fails when moto changes under one of them.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from moto.moto_server import werkzeug_app

from labkit.localaws.call import AwsError, Call

log = logging.getLogger(__name__)


def create_backend_app(service: Any) -> Flask:
    """moto's WSGI application for one service, without browser features.

    moto wraps every answer with cross-origin headers for browsers and lets Flask's debug mode
    re-raise; neither belongs on a loopback API, and the first costs time on every call.
    """
    disable = werkzeug_app.DISABLE_GLOBAL_CORS
    werkzeug_app.DISABLE_GLOBAL_CORS = True
    try:
        app = werkzeug_app.create_backend_app(service)
    finally:
        werkzeug_app.DISABLE_GLOBAL_CORS = disable
    app.debug = False
    # What a back end raises is answered by the front door, in the caller's protocol.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    if service == "s3":
        app.request_class = _ObjectRequest
    return app


class _ObjectRequest(werkzeug_app.BackendRequest):
    """A request to S3, in which only a browser's POST is a form.

    An object uploaded as application/x-www-form-urlencoded, which is what curl and urllib say
    unless told otherwise, would be taken apart as a form and stored empty.
    """

    @property
    def want_form_data_parsed(self) -> bool:
        return self.method == "POST" and super().want_form_data_parsed


def silence_s3() -> None:
    """Keep moto's S3 from delivering events and from judging bucket policies by itself.

    moto calls functions, queues and topics inside the request's own thread, without asking any
    permission, and answers an explicit Deny with a bare 403. Deliveries are the S3 layer's work,
    permissions the front door's.
    """
    from moto.iam.access_control import PermissionResult
    from moto.s3 import models, notifications

    notifications.send_event = _nothing
    notifications.send_test_event = _nothing
    models.events_send_notification = _nothing

    def permission(_: Any, action: str, resource: str) -> PermissionResult:
        if resource in getattr(_refused, "objects", ()):
            return PermissionResult.DENIED
        return PermissionResult.PERMITTED

    models.FakeBucket.get_permission = permission  # type: ignore[method-assign]
    # Deleting a delete marker by its version disposes of it as of an object, which it can't.
    models.FakeDeleteMarker.dispose = _nothing  # type: ignore[attr-defined]


# The objects (ARNs) that this thread's call may not delete, of the many it wants to.
_refused = threading.local()


def refuse_objects(resources: frozenset[str]) -> None:
    """Have moto's DeleteObjects in this thread leave *resources* alone and say AccessDenied.

    The one call that S3 answers object by object; moto asks for each of them.
    """
    _refused.objects = resources


def redirect_log_events(take: Callable[[Any, list[dict[str, Any]]], None]) -> None:
    """Have *take* called with the stream and the events wherever moto itself writes logs.

    State machines and others of moto's services log into moto's streams directly; those events
    are to be filtered, forwarded and kept like all others.
    """
    from moto.logs.models import LogStream

    def put_log_events(stream: Any, log_events: list[dict[str, Any]]) -> str:
        take(stream, log_events)
        return f"{stream.upload_sequence_token:056d}"

    LogStream.put_log_events = put_log_events  # type: ignore[method-assign]


def _nothing(*_: Any, **__: Any) -> None:
    pass


def silence_sns() -> None:
    """Keep moto's SNS from delivering what other parts of moto publish in process.

    moto would hand it over in the publisher's own thread, to queues that never allowed it.
    """
    from moto.sns import models

    models.Subscription.publish = _nothing  # type: ignore[method-assign]


def silence_events() -> None:
    """Keep moto's EventBridge from invoking targets of rules by itself.

    moto would do it in the sender's own thread, for some targets only and without permission.
    """
    from moto.events import models

    models.Rule.send_to_targets = _nothing  # type: ignore[method-assign]


def align_iam() -> None:
    """Have moto's IAM check documents, name things and know AWS's policies as AWS does.

    moto refuses the old policy version for trust and inline policies, which IAM takes; its ids
    of users and groups are not AWS's (AIDA..., AGPA..., ANPA...), and policies compare them; and
    it would build all of AWS's managed policies for every account or know none of them.
    """
    from moto.iam import exceptions, models

    from labkit.localaws.iam import managed, validation

    def validator(kind: str) -> type:
        class Validator:
            def __init__(self, policy_document: str) -> None:
                self._text = policy_document

            def validate(self) -> None:
                message = validation.problem(self._text, kind)
                if message:
                    raise exceptions.MalformedPolicyDocument(message)

        return Validator

    models.IAMPolicyDocumentValidator = validator(validation.INLINE)  # type: ignore
    models.IAMTrustPolicyDocumentValidator = validator(validation.TRUST)  # type: ignore
    models.random_policy_id = lambda: _unique_id("ANPA")
    models.IAMBackend._init_managed_policies = lambda self: managed.ManagedPolicies(self)  # type: ignore
    models.IAMBackend._init_aws_policies = lambda self: managed.AwsPolicies(self)  # type: ignore
    for kind, prefix in ((models.User, "AIDA"), (models.Group, "AGPA")):
        _identify(kind, prefix)


def _identify(kind: type, prefix: str) -> None:
    if getattr(kind, "_identified", False):
        return
    make = kind.__init__  # type: ignore[misc]

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.id = _unique_id(prefix)

    kind.__init__ = init  # type: ignore[misc]
    kind._identified = True  # type: ignore[attr-defined]


def _unique_id(prefix: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return prefix + "".join(secrets.choice(alphabet) for _ in range(17))


def keep_table_streams(enable: Callable[[Any], Any], disable: Callable[[Any], None]) -> None:
    """Have the streams of moto's tables kept elsewhere.

    ``enable(table)`` makes the shard of a table whose stream is being enabled, ``disable(shard)``
    ends it when the stream is disabled or the table deleted. moto goes on recording after a
    stream was disabled, and lets nobody enable one again.
    """
    from moto.dynamodb.exceptions import MockValidationException
    from moto.dynamodb.models import DynamoDBBackend, table

    table.StreamShard = lambda account_id, owner: enable(owner)  # type: ignore
    unbent = _unbent(table.Table, "set_stream_specification")
    delete = _unbent(DynamoDBBackend, "delete_table")

    def set_stream_specification(self: Any, streams: Any) -> None:
        shard = self.stream_shard
        unbent(self, streams)
        if shard is not None and not self.stream_specification["StreamEnabled"]:
            self.stream_shard = None
            disable(shard)

    def update_table_streams(self: Any, found: Any, specification: Any) -> None:
        enabled = found.stream_shard is not None
        wanted = bool(specification.get("StreamEnabled") or specification.get("StreamViewType"))
        if enabled and wanted:
            raise MockValidationException(
                f"Table already has an enabled stream: TableName: {found.name}"
            )
        if not enabled and not wanted:
            raise MockValidationException(
                f"Table has no stream to disable: TableName: {found.name}"
            )
        found.set_stream_specification(specification)

    def delete_table(self: Any, name: str) -> Any:
        deleted = delete(self, name)
        if deleted.stream_shard is not None:
            disable(deleted.stream_shard)
        return deleted

    table.Table.set_stream_specification = set_stream_specification  # type: ignore
    DynamoDBBackend.update_table_streams = update_table_streams  # type: ignore
    DynamoDBBackend.delete_table = delete_table  # type: ignore


def _unbent(kind: type, name: str) -> Callable[..., Any]:
    """moto's own method, also when it was bent before (for another local AWS in this process)."""
    kept = f"_unbent_{name}"
    if kept not in vars(kind):
        setattr(kind, kept, getattr(kind, name))
    return getattr(kind, kept)


def align_dynamodb() -> None:
    """Have moto's tables be read, and numbers kept, as DynamoDB does.

    moto sorts a whole table for every query and scans it in key order; it gives numbers back as
    they were written; and it measures an item anew for each attribute it gets, by its own rule.
    """
    from moto.dynamodb.models import dynamo_type, table

    from labkit.localaws.tables import reading, values

    table.Table.query = reading.query  # type: ignore[method-assign,assignment]
    table.Table.scan = reading.scan  # type: ignore[method-assign,assignment]
    # Items are measured by the layer, once and as a whole.
    dynamo_type.LimitedSizeDict.__setitem__ = dict.__setitem__  # type: ignore
    make = _unbent(dynamo_type.DynamoType, "__init__")

    def init(self: Any, type_as_dict: Any) -> None:
        make(self, type_as_dict)
        if self.type == "N":
            self.value = values.canonical(self.value)
        elif self.type == "NS":
            self.value = [values.canonical(number) for number in self.value]

    dynamo_type.DynamoType.__init__ = init  # type: ignore[method-assign]


# The call that this thread has moto answer.
_answering = threading.local()


@contextlib.contextmanager
def answering(call: Call) -> Iterator[None]:
    """Let moto do in this thread what *call* is about, and nothing else."""
    before = getattr(_answering, "call", None)
    _answering.call = call
    try:
        yield
    finally:
        _answering.call = before


def hold_moto_to_the_call() -> None:
    """Have moto refuse a request that it reads otherwise than the front door did.

    moto finds operation, region, account, bucket and key in a request by itself; what was
    authorised must be what is done, whatever trick a request plays on either reader.
    """
    from moto.core.authorization import ActionAuthenticatorMixin

    def check(self: Any, resource: str = "*") -> None:
        call = getattr(_answering, "call", None)
        if call is None:
            return
        found = (self._get_action(), self.region, self.current_account)
        if found != (call.operation, call.region, call.account_id):
            raise _misread(call, found)

    def check_s3(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
        call = getattr(_answering, "call", None)
        if call is None or call.operation in ("ListBuckets", "PostObject"):
            return
        found = (bucket_name, key_name or None)
        if found != (call.params.get("Bucket"), call.params.get("Key")):
            raise _misread(call, found)

    mixin = ActionAuthenticatorMixin
    mixin._authenticate_and_authorize_normal_action = check  # type: ignore[method-assign]
    mixin._authenticate_and_authorize_s3_action = check_s3  # type: ignore[method-assign]


def _misread(call: Call, found: tuple[Any, ...]) -> AwsError:
    log.warning("%s %s was read as %s", call.service, call.operation, found)
    return AwsError("AccessDenied", "The request can be read in more than one way.", 403)

"""How S3 gets word of a change to whoever a bucket's configuration names."""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
import weakref
from typing import TYPE_CHECKING, Any

from labkit.localaws import protocol
from labkit.localaws.call import Call
from labkit.localaws.services import s3_events, s3_notifications
from labkit.localaws.services.s3_events import Change
from labkit.localaws.services.s3_notifications import NotificationConfiguration, Rule

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket

    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

# A destination that fails (not: refuses) is tried again after so many seconds of lab time.
_RETRY_SECONDS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0)
# Who acts when a rule of the bucket does.
_S3_ITSELF = "s3.amazonaws.com"


class Notifier:
    """The buckets' notification configurations, and the deliveries they ask for."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        # A configuration lives and dies with moto's bucket.
        self._configurations: weakref.WeakKeyDictionary[FakeBucket, NotificationConfiguration] = (
            weakref.WeakKeyDictionary()
        )
        self._sequencers = s3_events.sequencers()
        self._guard = threading.Lock()

    def put(self, bucket: FakeBucket, configuration: NotificationConfiguration) -> None:
        """Give a bucket its configuration; under the lock."""
        self._configurations[bucket] = configuration

    def get(self, bucket: FakeBucket) -> NotificationConfiguration | None:
        """A bucket's configuration; under the lock."""
        return self._configurations.get(bucket)

    def send_test_events(
        self, call: Call, configuration: NotificationConfiguration, account_id: str
    ) -> None:
        """Send every queue and topic of a new configuration its test event."""
        bucket = call.params["Bucket"]
        body = s3_events.test_event(
            bucket,
            self._aws.clock.now(),
            call.request_id,
            protocol.s3_host_id(call.request_id),
        )
        for rule in {rule.arn: rule for rule in configuration.rules}.values():
            if rule.service != "lambda":
                s3_notifications.send(self._aws, rule, body, bucket, account_id)

    def tell(
        self,
        bucket: FakeBucket,
        event: str,
        key: str,
        call: Call | None = None,
        *,
        ordered: bool = True,
        version_id: Any = None,
        **facts: Any,
    ) -> None:
        """Have a change delivered, in the background, to whoever wants to know; under the lock.

        Without a *call* it was S3 itself that made the change. ``ordered`` changes have a
        sequencer. ``facts`` are further members of :class:`Change`.
        """
        configuration = self._configurations.get(bucket)
        if configuration is None:
            return
        with self._guard:
            sequencer = next(self._sequencers)
        request_id = call.request_id if call is not None else protocol.new_s3_request_id()
        who = source = _S3_ITSELF
        if call is not None:
            who = s3_events.principal_id(self._aws, call.principal)
            source = call.request.environ.get("REMOTE_ADDR") or "127.0.0.1"
        change = Change(
            event_name=event,
            bucket=bucket.name,
            bucket_region=bucket.region_name,
            key=key,
            when=self._aws.clock.now(),
            account_id=bucket.account_id,
            principal_id=facts.pop("principal_id", who),
            source_ip=source,
            request_id=request_id,
            host_id=protocol.s3_host_id(request_id),
            version_id=None if version_id in (None, "null") else str(version_id),
            sequencer=sequencer if ordered else None,
            trace_header=call.request.headers.get("X-Amzn-Trace-Id") if call is not None else None,
            **facts,
        )
        for rule in configuration.rules:
            if rule.wants(change.event_name, change.key):
                self._aws.activity.submit(self._deliver, rule, change, name="S3 notification")
        if configuration.eventbridge:
            told = s3_events.eventbridge_event(change, str(uuid.uuid4()))
            if told is not None:
                self._aws.activity.submit(self._to_eventbridge, told, name="S3 to EventBridge")

    def _deliver(self, rule: Rule, change: Change, attempt: int = 0) -> None:
        body = {"Records": [s3_events.record(change, rule.id)]}
        try:
            s3_notifications.send(
                self._aws, rule, body, change.bucket, change.account_id, change.trace_header
            )
        except Exception as problem:
            if not s3_notifications.is_worth_retrying(problem):
                # S3 drops what its destination refuses, and tells nobody.
                log.info("S3 notification of %s refused by %s: %s", change.key, rule.arn, problem)
                return
            delay = next(itertools.islice(_RETRY_SECONDS, attempt, None), None)
            if delay is not None:
                self._aws.clock.call_later(
                    delay, self._deliver, rule, change, attempt + 1, name="S3 notification"
                )

    def _to_eventbridge(self, event: dict[str, Any]) -> None:
        self._aws.layer("events").receive(event)  # type: ignore[attr-defined]

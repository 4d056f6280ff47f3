"""What happens to log events on their way in: they are stored, metered, filtered, forwarded.

The API's PutLogEvents and the functions' own logs both come through :class:`LogIngest`, so that a
metric filter, a subscription filter and the embedded metric format see either alike. Amazon
CloudWatch Logs User Guide, "Creating metrics from log events using filters": filters are not
retroactive, they see what comes in after they were made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.localaws import embedded_metrics, log_groups
from labkit.localaws.call import Principal
from labkit.localaws.log_filters import MetricFilter
from labkit.localaws.log_groups import LogLine
from labkit.localaws.log_subscriptions import Subscriptions
from labkit.localaws.moto_hooks import redirect_log_events

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

# How long a verdict on a role's log permissions is believed, in real seconds, when nothing was
# changed in IAM meanwhile: a function may write hundreds of times a second.
_VERDICT_SECONDS = 1.0
_MAX_VERDICTS = 2_000


class LogIngest:
    """Takes log events in, from the API and from functions."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self.subscriptions = Subscriptions(aws)
        self._verdicts: dict[tuple[str, str, str], tuple[float, bool]] = {}
        self._guard = threading.Lock()
        redirect_log_events(self._from_moto)

    # -- functions ---------------------------------------------------------------------------

    def write(
        self,
        account_id: str,
        region: str,
        group_name: str,
        stream_name: str,
        events: Sequence[tuple[int, str]],
        principal: Principal,
    ) -> None:
        """Write a function's log as far as its role allows; what it doesn't allow is lost."""
        lock = self._aws.lock("logs", account_id)
        state = log_groups.backend(account_id, region)
        where = f"arn:aws:logs:{region}:{account_id}:log-group:{group_name}:log-stream:"
        if group_name not in state.groups:
            if not self._allowed(principal, "logs:CreateLogGroup", where):
                return
            with lock:
                state.ensure_log_group(group_name)
        group = state.groups.get(group_name)
        if group is not None and stream_name not in group.streams:
            if not self._allowed(principal, "logs:CreateLogStream", where + stream_name):
                return
            with lock:
                if stream_name not in group.streams:
                    group.create_log_stream(stream_name)
        if not events or not self._allowed(principal, "logs:PutLogEvents", where + stream_name):
            return
        with lock:
            stream = None if group is None else group.streams.get(stream_name)
        if stream is not None:
            self.append(account_id, region, group, stream, events)

    def forget_verdicts(self) -> None:
        """Decide anew who may write logs: something was changed in IAM."""
        with self._guard:
            self._verdicts.clear()

    def _allowed(self, principal: Principal, action: str, resource: str) -> bool:
        # All streams of a group are judged alike: no policy can name a function's stream ahead.
        key = (principal.arn, action, resource.partition(":log-stream:")[0])
        now = time.monotonic()
        with self._guard:
            known = self._verdicts.get(key)
        if known is not None and known[0] > now:
            return known[1]
        allowed = self._aws.identity.decision(principal, action, resource).allowed
        with self._guard:
            if len(self._verdicts) > _MAX_VERDICTS:
                self._verdicts.clear()
            self._verdicts[key] = (now + _VERDICT_SECONDS, allowed)
        return allowed

    def _from_moto(self, stream: Any, events: list[dict[str, Any]]) -> None:
        pairs = [(int(event["timestamp"]), str(event["message"])) for event in events]
        self.append(stream.account_id, stream.region, stream.log_group, stream, pairs)

    # -- everybody ---------------------------------------------------------------------------

    def append(
        self,
        account_id: str,
        region: str,
        group: Any,
        stream: Any,
        events: Sequence[tuple[int, str]],
    ) -> None:
        """Store events (epoch milliseconds, message) and do with them what the group asks for."""
        if not events:
            return
        now = self._aws.clock.now()
        now_ms = int(now * 1000)
        lines = [LogLine(timestamp, message, now_ms) for timestamp, message in events]
        size = sum(log_groups.size_of(line.message) for line in lines)
        with self._aws.lock("logs", account_id):
            log_groups.append(stream, lines)
            stream.stored_bytes += size
            stream.upload_sequence_token += 1
            # moto keeps this as a naive moment in UTC; we keep epoch milliseconds beside it.
            stream.lab_last_ingestion = now_ms
            known = log_groups.extras(group)
            filters = list(known.metric_filters.values())
            subscriptions = list(known.subscriptions.values())
        telemetry = self._aws.telemetry
        scope = {"account_id": account_id, "region": region, "at": now}
        names = {"LogGroupName": group.name}
        telemetry.metric("AWS/Logs", "IncomingBytes", names, size, "Bytes", **scope)
        telemetry.metric("AWS/Logs", "IncomingLogEvents", names, len(lines), "None", **scope)
        for each in filters:
            self._measure(each, (account_id, region), lines)
        for line in lines:
            if embedded_metrics.may_hold_metrics(line.message):
                self._embedded((account_id, region), line)
        for each in subscriptions:
            self.subscriptions.forward(each, account_id, region, group.name, stream, lines)

    def _measure(
        self, metric_filter: MetricFilter, scope: tuple[str, str], lines: Sequence[LogLine]
    ) -> None:
        store = self._aws.telemetry.store
        for line in lines:
            sample = metric_filter.sample(line.message, line.timestamp / 1000)
            if sample is None:
                continue
            metric, value, instead = sample
            at = line.timestamp / 1000
            if instead:
                # A match takes the place of the default value given before it in its minute.
                store.put(scope, metric, value, metric_filter.unit, at)
            else:
                store.add(scope, metric, value, metric_filter.unit, at)

    def _embedded(self, scope: tuple[str, str], line: LogLine) -> None:
        store = self._aws.telemetry.store
        for metric, value, unit, at, resolution in embedded_metrics.samples(line.message):
            store.add(scope, metric, value, unit, at, resolution=resolution)

"""Metrics and log events as AWS emits them, from what passes the front door and what runs.

Whatever AWS measures by itself goes through :class:`Telemetry`: the gateway shows it every
answered call, the parts that run functions and deliveries tell it what happened.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.localaws import storage_gauges
from labkit.localaws.call import Call, Principal, Reply
from labkit.localaws.gauges import Gauges
from labkit.localaws.log_ingest import LogIngest
from labkit.localaws.metrics_store import Handle, Metric, MetricStore, dimensions_of
from labkit.localaws.service_metrics import METERS

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

_MAX_REMEMBERED = 20_000


class Telemetry:
    """Turns what happened into CloudWatch metrics and log events."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self.store = MetricStore(aws.clock.now)
        self.gauges = Gauges(self.store)
        self.gauges.register("AWS/SQS", functools.partial(storage_gauges.queues, aws))
        self.gauges.register("AWS/S3", functools.partial(storage_gauges.buckets, aws))
        self.logs = LogIngest(aws)
        # Metrics by what they are called with: building one costs more than counting in it.
        self._metrics: dict[tuple, Metric] = {}
        self._handles: dict[tuple, Handle] = {}
        self._function_handles: dict[tuple, dict[str, list[Handle]]] = {}

    def observe(self, call: Call, reply: Reply) -> None:
        """Meter one answered call."""
        if call.service == "iam":
            self.logs.forget_verdicts()
        meter = METERS.get(call.service)
        if meter is None:
            return
        try:
            meter(self, call, reply)
        except Exception:
            # The caller has an answer coming; a metric is not worth losing it.
            log.exception("could not meter %s %s", call.service, call.operation)

    # -- metrics -----------------------------------------------------------------------------

    def metric(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        unit: str = "None",
        *,
        account_id: str | None = None,
        region: str | None = None,
        at: float | None = None,
        count: float = 1.0,
    ) -> None:
        """Count *count* samples of *value* in a metric, now or at epoch seconds *at*."""
        self.store.add(
            (account_id or self._aws.account_id, region or self._aws.region),
            self.known(namespace, name, tuple(dimensions.items())),
            value,
            unit,
            self._aws.clock.now() if at is None else at,
            count=count,
        )

    def count(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float = 1.0,
        *,
        account_id: str | None = None,
        region: str | None = None,
        at: float | None = None,
    ) -> None:
        """Count one sample of *value* in a metric whose unit is Count."""
        self.metric(
            namespace,
            name,
            dimensions,
            value,
            "Count",
            account_id=account_id,
            region=region,
            at=at,
        )

    def known(self, namespace: str, name: str, pairs: tuple[tuple[str, str], ...]) -> Metric:
        """The metric of that name with these dimensions."""
        key = (namespace, name, pairs)
        metric = self._metrics.get(key)
        if metric is None:
            if len(self._metrics) > _MAX_REMEMBERED:
                self._metrics.clear()
            metric = self._metrics[key] = Metric(namespace, name, dimensions_of(pairs))
        return metric

    def handle(
        self,
        scope: tuple[str, str],
        namespace: str,
        name: str,
        pairs: tuple[tuple[str, str], ...],
        unit: str,
    ) -> Handle:
        """The handle of a metric in an account and region: the fast way to count into it."""
        key = (scope, namespace, name, pairs, unit)
        handle = self._handles.get(key)
        if handle is None:
            if len(self._handles) > _MAX_REMEMBERED:
                self._handles.clear()
            handle = Handle(scope, self.known(namespace, name, pairs), unit)
            self._handles[key] = handle
        return handle

    def touched(self, namespace: str, call: Call, resource: str) -> None:
        """Note that a call may have changed what a resource's gauges show."""
        self.gauges.touched(namespace, call.account_id, call.region, resource)

    # -- logs --------------------------------------------------------------------------------

    def write_logs(
        self,
        account_id: str,
        region: str,
        group: str,
        stream: str,
        events: Sequence[tuple[int, str]],
        principal: Principal,
    ) -> None:
        """Write a function's log events (epoch milliseconds, message) as *principal*, its role.

        Group and stream are made when needed. What the role may not do is silently left undone,
        as in AWS: no permission, no logs.
        """
        self.logs.write(account_id, region, group, stream, events, principal)

    # -- functions ---------------------------------------------------------------------------

    def function_invoked(
        self,
        function_name: str,
        *,
        resource: str | None = None,
        executed_version: str | None = None,
        duration_ms: float | None = None,
        error: bool = False,
        throttled: bool = False,
        concurrent: int | None = None,
        account_id: str | None = None,
        region: str | None = None,
        at: float | None = None,
    ) -> None:
        """Meter one invocation (or one that was throttled) of a function.

        *resource* is what was invoked, ``name``, ``name:1`` or ``name:alias``; *executed_version*
        the version an alias led to. AWS Lambda Developer Guide, "Types of metrics for Lambda
        functions": a throttled request is no invocation and no error.
        """
        scope = (account_id or self._aws.account_id, region or self._aws.region)
        handles = self._handles_of_function(scope, function_name, resource, executed_version)
        samples: list[tuple[Handle, float]] = []
        if throttled:
            samples += [(each, 1.0) for each in handles["Throttles"]]
        else:
            samples += [(each, 1.0) for each in handles["Invocations"]]
            # Zeros count as well: they are what makes an average an error rate.
            samples += [(each, float(error)) for each in handles["Errors"]]
            samples += [(each, 0.0) for each in handles["Throttles"]]
            if duration_ms is not None:
                samples += [(each, duration_ms) for each in handles["Duration"]]
        if concurrent is not None:
            samples += [(each, float(concurrent)) for each in handles["ConcurrentExecutions"]]
        self.store.count(samples, self._aws.clock.now() if at is None else at)

    def _handles_of_function(
        self,
        scope: tuple[str, str],
        function_name: str,
        resource: str | None,
        executed_version: str | None,
    ) -> dict[str, list[Handle]]:
        key = (scope, function_name, resource, executed_version)
        known = self._function_handles.get(key)
        if known is not None:
            return known
        sets = _function_dimensions(function_name, resource, executed_version)
        names = {"Invocations": sets, "Errors": sets, "Throttles": sets, "Duration": sets}
        # Of these, Lambda tells no aliases apart.
        names["ConcurrentExecutions"] = sets[:2]
        known = {
            name: [
                self.handle(
                    scope,
                    "AWS/Lambda",
                    name,
                    tuple(pairs.items()),
                    "Milliseconds" if name == "Duration" else "Count",
                )
                for pairs in of
            ]
            for name, of in names.items()
        }
        if len(self._function_handles) > _MAX_REMEMBERED:
            self._function_handles.clear()
        self._function_handles[key] = known
        return known

    def function_metric(
        self,
        name: str,
        function_name: str,
        value: float = 1.0,
        *,
        resource: str | None = None,
        account_id: str | None = None,
        region: str | None = None,
        at: float | None = None,
    ) -> None:
        """Meter something else about a function.

        *name* is one of AsyncEventsReceived, AsyncEventsDropped, AsyncEventAge, IteratorAge
        (both in milliseconds), DeadLetterErrors, DestinationDeliveryFailures and alike.
        """
        unit = "Milliseconds" if name.endswith(("Age", "Duration")) else "Count"
        for dimensions in _function_dimensions(function_name, resource, None):
            self.metric(
                "AWS/Lambda",
                name,
                dimensions,
                value,
                unit,
                account_id=account_id,
                region=region,
                at=at,
            )


def _function_dimensions(
    function_name: str, resource: str | None, executed_version: str | None
) -> list[dict[str, str]]:
    """The dimension sets under which Lambda emits a function's metrics."""
    resource = resource or function_name
    sets: list[dict[str, str]] = [
        {},
        {"FunctionName": function_name},
        {"FunctionName": function_name, "Resource": resource},
    ]
    alias = resource.partition(":")[2]
    if executed_version and alias and not alias.isdigit() and alias != "$LATEST":
        sets.append(
            {
                "FunctionName": function_name,
                "Resource": resource,
                "ExecutedVersion": executed_version,
            }
        )
    return sets

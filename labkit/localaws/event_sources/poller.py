"""What every poller does: wake when there may be something, one look at a time, invoke.

A poller never waits on a thread of its own: sources and the lab's clock call :meth:`Poller.wake`,
and the look around happens as counted background work.
"""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.clock import Timer
from labkit.localaws.event_sources.records import payload_of
from labkit.localaws.functions.mappings import Mapping
from labkit.localaws.recursion import run_again
from labkit.localaws.runtime.result import InvocationResult
from labkit.localaws.runtime.version import FunctionVersion

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

# What an invocation's payload may be at most, for the event with all its records.
PAYLOAD_BYTES = 6 * 1024 * 1024
# Trouble with the source (no permission, say) is looked at again after one second, then two, ...
FIRST_TROUBLE_SECONDS = 1.0
LONGEST_TROUBLE_SECONDS = 300.0

CALL_FAILED = "PROBLEM: Function call failed"


@dataclass(frozen=True)
class Target:
    """The version that runs for this batch, and the ARN it is invoked as."""

    version: FunctionVersion
    invoked_arn: str


class Poller:
    """Looks after one event source mapping; subclasses say what a look does."""

    def __init__(self, aws: LocalAws, mapping: Mapping) -> None:
        self.aws = aws
        self.mapping = mapping
        self._guard = threading.RLock()
        self._running = False
        self._looking = False
        self._look_again = False
        self._timer: Timer | None = None
        self._armed = 0
        self._trouble = 0

    @property
    def config(self) -> dict[str, Any]:
        """The mapping's settings as they are now."""
        return self.mapping.config

    @property
    def running(self) -> bool:
        """Whether the mapping is enabled."""
        return self._running

    def start(self) -> None:
        """Read the source from now on."""
        with self._guard:
            if self._running:
                return
            self._running = True
        self.started()
        self.wake()

    def stop(self) -> None:
        """Read no more; what the function is working on ends as usual."""
        with self._guard:
            if not self._running:
                return
            self._running = False
            self._wake_at(None)
        self.stopped()

    def wake(self) -> None:
        """Have a look soon: something may have changed. Cheap, callable from anywhere."""
        with self._guard:
            if not self._running:
                return
            if self._looking:
                self._look_again = True
                return
            self._looking = True
        self.aws.activity.submit(self._look_around, name=f"poller of {self.mapping.source_arn}")

    # -- for subclasses ----------------------------------------------------------------------

    def started(self) -> None:
        """Called when reading begins or goes on."""

    def stopped(self) -> None:
        """Called when reading ends."""

    def look(self) -> float | None:
        """Do what there is to do; the lab time to look again at, or None for when woken."""
        raise NotImplementedError

    def changed(self) -> None:
        """Called when the mapping's settings changed while it is enabled."""
        self.wake()

    def target(self) -> Target:
        """The version to invoke now; raises AwsError when there is none to be had."""
        mapping = self.mapping
        version, qualifier = self.aws.functions.resolve_invocation(
            mapping.account, mapping.region, mapping.function_arn
        )
        return Target(version, version.arn + (f":{qualifier}" if qualifier else ""))

    def principal(self, target: Target) -> Principal:
        """The function's role: everything is read, deleted and sent in its name."""
        return self.aws.function_principal(target.version)

    def client(self, service: str, target: Target) -> Any:
        """A client of the source's region that calls as the function's role."""
        region = self.mapping.source_arn.split(":")[3] or None
        return self.aws.client(service, principal=self.principal(target), region=region)

    def invoke(
        self, target: Target, event: dict[str, Any], trace_id: str | None = None
    ) -> tuple[str, InvocationResult]:
        """Invoke the function and return the request id and the result.

        Raises AwsError when the function could not be invoked (throttled, for one).
        """
        request_id = str(uuid.uuid4())
        if trace_id is None:
            trace_id, _ = run_again(None, target.version.arn, self.aws.clock.now())
        result = self.aws.invocations.invoke(
            target.version,
            payload_of(event),
            request_id=request_id,
            invoked_arn=target.invoked_arn,
            trace_id=trace_id,
        )
        return request_id, result

    def note(self, result: str) -> None:
        """Have the mapping tell what came of its last batch, or why there is none."""
        self.aws.functions.note_result(self.mapping, result)

    def count(self, name: str, value: float) -> None:
        """Meter events, when the mapping's MetricsConfig asks for it."""
        if value and "EventCount" in (self.config.get("MetricsConfig") or {}).get("Metrics", ()):
            self.aws.telemetry.count(
                "AWS/Lambda",
                name,
                {"EventSourceMappingUUID": self.mapping.uuid},
                float(value),
                account_id=self.mapping.account,
                region=self.mapping.region,
            )

    def trouble(self) -> float:
        """The lab time to try again at after trouble with the source; later each time."""
        delay = min(FIRST_TROUBLE_SECONDS * 2**self._trouble, LONGEST_TROUBLE_SECONDS)
        self._trouble += 1
        return self.aws.clock.now() + delay

    def no_trouble(self) -> None:
        """The source answers again."""
        self._trouble = 0

    # -- inside ------------------------------------------------------------------------------

    def _look_around(self) -> None:
        while True:
            with self._guard:
                # Whatever woke the poller until now is seen by this look.
                self._look_again = False
            again: float | None = None
            try:
                again = self.look()
            except Exception:
                log.exception("the poller of %s failed", self.mapping.source_arn)
                again = self.trouble()
            with self._guard:
                self._wake_at(again if self._running else None)
                if not self._look_again or not self._running:
                    self._looking = False
                    return

    def _wake_at(self, when: float | None) -> None:
        if self._timer is not None:
            if when is not None and self._timer.when == when and not self._timer.cancelled:
                return
            self._timer.cancel()
            self._timer = None
        if when is not None:
            name = f"poller of {self.mapping.source_arn}"
            self._armed += 1
            self._timer = self.aws.clock.call_at(when, self._timer_fired, self._armed, name=name)

    def _timer_fired(self, armed: int) -> None:
        with self._guard:
            # By now another one may be set. Its time would not tell: a clock moved to a moment
            # can be a hair before it.
            if armed == self._armed:
                self._timer = None
        self.wake()


def aws_error(problem: ClientError) -> AwsError:
    """An error that an internal client raised, as everything else here knows errors."""
    error = problem.response.get("Error", {})
    status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return AwsError(error.get("Code", ""), error.get("Message", ""), status)


def denied(error: AwsError) -> bool:
    """Whether a permission is missing."""
    return error.code in ("AccessDenied", "AccessDeniedException")

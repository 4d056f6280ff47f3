"""The pool of execution environments: who gets which, when one is made, when one ends.

An invocation has an environment to itself. A warm one of the same function version is reused,
otherwise a new one is made; environments end with their version's configuration, by idleness, when
their credentials are about to expire, or to make room.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.localaws.runtime.direct import DirectProcess
from labkit.localaws.runtime.environment import Environment, Invocation
from labkit.localaws.runtime.log import LogSink
from labkit.localaws.runtime.process import KeptProcess
from labkit.localaws.runtime.result import InvocationResult
from labkit.localaws.runtime.shelf import ON_DEMAND, PROVISIONED, Key, Shelf
from labkit.localaws.runtime.version import FunctionVersion
from labkit.localaws.runtime.workshop import Workshop

# An initialisation that takes longer than this no longer holds up others.
_START_PATIENCE_SECONDS = 2.0
_EXPIRY_MARGIN_SECONDS = 300.0


class EnvironmentsClosed(RuntimeError):
    """The pool has been closed."""


class NoCapacity(RuntimeError):
    """All environments were busy for too long."""


def _epoch(moment: object) -> float | None:
    """A credentials' Expiration (datetime, ISO text or seconds) as epoch seconds."""
    if isinstance(moment, datetime):
        return moment.timestamp()
    if isinstance(moment, str):
        return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
    return float(moment) if isinstance(moment, (int, float)) else None


class Environments:
    """All execution environments of one local AWS.

    *credentials* gives a function version's temporary credentials as STS answers them
    (``AccessKeyId``, ``SecretAccessKey``, ``SessionToken``, ``Expiration``). *on_log* gets
    ``(environment, request_id, [(timestamp_ms, message), ...])`` with ``environment.log_group``
    and ``.log_stream``. *now* is the lab's clock, *real_now* the machine's. *max_environments*
    caps processes, *idle_seconds* is real time without an invocation and *idle_lab_seconds* the
    lab's time: who moves the clock an hour finds cold starts, as on AWS.
    """

    def __init__(
        self,
        runtime_dir: str | os.PathLike[str],
        endpoint_url: str,
        region: str,
        *,
        credentials: Callable[[FunctionVersion], Mapping[str, object]],
        on_log: LogSink,
        now: Callable[[], float] = time.time,
        real_now: Callable[[], float] = time.time,
        max_environments: int = 64,
        max_starting: int | None = None,
        idle_seconds: float = 600.0,
        idle_lab_seconds: float = 2700.0,
        capacity_wait_seconds: float = 60.0,
        isolation: str = "auto",
        own_client: bool = False,
    ) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        self.workshop = Workshop(Path(runtime_dir), isolation=isolation, own_client=own_client)
        self._credentials = credentials
        self._on_log = on_log
        self._now = now
        self._real_now = real_now
        self._max = max_environments
        self._max_starting = max_starting or max(4, 2 * (os.cpu_count() or 1))
        self._idle_seconds = idle_seconds
        self._idle_lab_seconds = idle_lab_seconds
        self._capacity_wait = capacity_wait_seconds
        self._condition = threading.Condition()
        self._shelf = Shelf()
        # Places promised to environments that are being made.
        self._reserved = 0
        self._starting = 0
        self._closed = False
        self._reaper: threading.Thread | None = None
        self._counters = {"invocations": 0, "cold_starts": 0, "ended": 0}

    def prepare(self) -> None:
        """Make ready what the first environment needs, without waiting for it."""
        threading.Thread(target=self._prepare, name="lambda-workshop", daemon=True).start()

    def _prepare(self) -> None:
        try:
            self.workshop.ready()
        except (OSError, RuntimeError):
            # Whoever invokes first gets to know.
            pass

    # -- invoking ---------------------------------------------------------------------------

    def invoke(
        self,
        version: FunctionVersion,
        payload: bytes,
        *,
        request_id: str | None = None,
        invoked_arn: str | None = None,
        client_context: str | None = None,
        cognito_identity: str | None = None,
        trace_id: str | None = None,
        initialization_type: str = ON_DEMAND,
    ) -> InvocationResult:
        """Run *version* on *payload* (JSON bytes) in an environment of its own; waits for it.

        What the function does wrong is in the result. Raises NoCapacity, EnvironmentsClosed,
        ArchiveError (the package cannot be unpacked) and StartError.
        """
        invocation = Invocation(
            request_id=request_id or str(uuid.uuid4()),
            payload=payload,
            invoked_arn=invoked_arn or version.arn,
            client_context=client_context,
            cognito_identity=cognito_identity,
            trace_id=trace_id,
        )
        environment = self._acquire(version, initialization_type)
        try:
            return environment.invoke(invocation)
        except BaseException:
            environment.usable = False
            raise
        finally:
            self._release(environment)

    def warm(self, version: FunctionVersion, count: int) -> int:
        """Keep *count* provisioned environments of *version* initialised; how many there are.

        Waits until they are. 0 gives the provisioned environments up.
        """
        key = version.key
        with self._condition:
            ended = self._shelf.retire_other_revisions(version)
            if count > 0:
                self._shelf.wanted[key] = (version, count)
            else:
                self._shelf.wanted.pop(key, None)
            ended += self._shelf.retire_surplus(key, max(0, count))
        self._end(ended)
        self._provision(key)
        with self._condition:
            return len(self._shelf.provisioned(key))

    def provisioned(self, version: FunctionVersion) -> tuple[int, int]:
        """Provisioned environments of *version*: how many there are, how many are idle now."""
        with self._condition:
            there = self._shelf.provisioned(version.key)
            idle = self._shelf.idle()
            return len(there), sum(environment in idle for environment in there)

    # -- getting and giving back ------------------------------------------------------------

    def _acquire(self, version: FunctionVersion, initialization_type: str) -> Environment:
        """An environment for *version*, warm if there is one, initialised in any case."""
        deadline = time.monotonic() + self._capacity_wait
        doomed: list[Environment] = []
        try:
            with self._condition:
                doomed += self._shelf.retire_other_revisions(version)
                while True:
                    if self._closed:
                        raise EnvironmentsClosed("the execution environments are closed")
                    found = self._take_idle(version.key, doomed)
                    if found is not None:
                        self._counters["invocations"] += 1
                        return found
                    if self._starting < self._max_starting:
                        if len(self._shelf.all) + self._reserved < self._max:
                            break
                        victim = self._shelf.least_recently_used()
                        if victim is not None:
                            self._shelf.remove(victim)
                            doomed.append(victim)
                            continue
                    remaining = deadline - time.monotonic()
                    if remaining <= 0 or not self._condition.wait(remaining):
                        raise NoCapacity(f"no execution environment became free: {self._max}")
                self._reserved += 1
                self._starting += 1
                self._counters["invocations"] += 1
        finally:
            self._end(doomed)
        return self._make(version, initialization_type)

    def _take_idle(self, key: Key, doomed: list[Environment]) -> Environment | None:
        """A usable idle environment; those that are not usable any more are *doomed*."""
        while (environment := self._shelf.take(key)) is not None:
            if environment.alive and not self._outdated(environment):
                return environment
            self._shelf.remove(environment)
            doomed.append(environment)
        return None

    def _outdated(self, environment: Environment) -> bool:
        """Whether its credentials are about to expire, or the lab's time has passed it by."""
        now = self._now()
        expires = environment.credentials_expire
        if expires is not None and now >= expires - _EXPIRY_MARGIN_SECONDS:
            return True
        idle = now - environment.last_used_lab
        return environment.initialization_type != PROVISIONED and idle > self._idle_lab_seconds

    def _make(self, version: FunctionVersion, initialization_type: str) -> Environment:
        """A new environment through its init phase; the place for it is already reserved."""
        environment = None
        finished = threading.Event()

        def no_longer_starting() -> None:
            with self._condition:
                if not finished.is_set():
                    finished.set()
                    self._starting -= 1
                    self._condition.notify_all()

        patience = threading.Timer(_START_PATIENCE_SECONDS, no_longer_starting)
        patience.daemon = True
        patience.start()
        try:
            credentials = self._credentials(version)

            def start_process(made: Environment, api: str) -> KeptProcess | DirectProcess:
                return self.workshop.prepare(
                    version,
                    environment_id=made.id,
                    log_stream=made.log_stream,
                    runtime_api=api,
                    endpoint_url=self.endpoint_url,
                    initialization_type=initialization_type,
                    credentials=credentials,
                )

            environment = Environment(
                version,
                start_process,
                initialization_type=initialization_type,
                on_log=self._on_log,
                now=self._now,
                real_now=self._real_now,
                credentials_expire=_epoch(credentials.get("Expiration")),
            )
            environment.initialise()
        except BaseException:
            if environment is not None:
                environment.close()
            with self._condition:
                self._reserved -= 1
            raise
        finally:
            patience.cancel()
            no_longer_starting()
        with self._condition:
            self._reserved -= 1
            self._shelf.all.add(environment)
            self._counters["cold_starts"] += 1
            self._ensure_reaper()
        return environment

    def _release(self, environment: Environment) -> None:
        """Put an environment back, or end it."""
        with self._condition:
            environment.last_used = time.monotonic()
            keep = environment.usable and not environment.retired and not self._closed
            if keep:
                self._shelf.put_back(environment)
            else:
                self._shelf.remove(environment)
            self._condition.notify_all()
        if not keep:
            self._end([environment])
            if environment.initialization_type == PROVISIONED:
                self._provision(environment.version.key)

    def _provision(self, key: Key) -> None:
        """Make the provisioned environments that are missing."""
        while True:
            with self._condition:
                if self._closed or key not in self._shelf.wanted:
                    return
                version, wanted = self._shelf.wanted[key]
                there = self._shelf.provisioned(key)
                if len(there) >= wanted or len(self._shelf.all) + self._reserved >= self._max:
                    return
                self._reserved += 1
                self._starting += 1
            self._release(self._make(version, PROVISIONED))

    # -- ending -----------------------------------------------------------------------------

    def retire(self, function_arn: str, version: str | None = None) -> int:
        """End all environments of a function (or one version of it); busy ones when they are free.

        Returns how many there were.
        """
        with self._condition:
            mine = [
                environment
                for environment in self._shelf.all
                if environment.version.arn == function_arn
                and version in (None, environment.version.version)
            ]
            for key in [key for key in self._shelf.wanted if key[0] == function_arn]:
                if version in (None, key[1]):
                    del self._shelf.wanted[key]
            idle = self._shelf.retire(mine)
        self._end(idle)
        return len(mine)

    def _end(self, environments: list[Environment]) -> None:
        """Close environments that are out of the pool."""
        for environment in environments:
            environment.close()
            self.workshop.discard(environment.id)
            self._counters["ended"] += 1

    def _ensure_reaper(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(
                target=self._reap, name="idle-environments", daemon=True
            )
            self._reaper.start()

    def _reap(self) -> None:
        """End what has been idle for too long; waits in between, and ends with the pool."""
        while True:
            with self._condition:
                if self._closed:
                    return
                now = time.monotonic()
                ended = []
                next_look = self._idle_seconds
                for environment in self._shelf.idle():
                    if environment.initialization_type == PROVISIONED:
                        continue
                    left = environment.last_used + self._idle_seconds - now
                    if left <= 0:
                        self._shelf.remove(environment)
                        ended.append(environment)
                    else:
                        next_look = min(next_look, left)
                if not ended:
                    self._condition.wait(max(next_look, 0.05))
                    continue
            self._end(ended)

    def status(self) -> dict[str, Any]:
        """Counters and environments, for a status page."""
        with self._condition:
            total, idle = len(self._shelf.all), len(self._shelf.idle())
            return {
                "environments": total,
                "idle": idle,
                "busy": total - idle,
                "starting": self._reserved,
                **self._counters,
                "isolation": self.workshop.isolation,
                "isolation_reason": self.workshop.reason,
            }

    def close(self) -> None:
        """End everything, also what is busy: its invocation ends as if the process had died."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            idle = self._shelf.idle()
            busy = self._shelf.all - set(idle)
            for environment in idle:
                self._shelf.remove(environment)
            self._condition.notify_all()
        for environment in busy:
            environment.abandon()
        self._end(idle)
        with self._condition:
            self._condition.wait_for(lambda: not self._reserved and not self._shelf.all, 5)
        self.workshop.close()

"""Archives of events and their replays.

Follows the EventBridge User Guide, "Archiving and replaying events in Amazon EventBridge".
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.localaws.call import AwsError
from labkit.localaws.services import event_transform
from labkit.localaws.services.event_patterns import compiled

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

_MOST_ACTIVE_REPLAYS = 10
_DAY = 86_400.0

# Takes a bus's ARN, an event, and the ARNs of the rules it is for (all when empty).
Replayer = Callable[[str, Mapping[str, Any], list[str]], None]


@dataclass
class _Archive:
    name: str
    arn: str
    bus_arn: str
    created: float
    description: str | None = None
    pattern: str | None = None
    retention_days: int = 0
    # (when it came in, event), oldest first.
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        return {
            "ArchiveName": self.name,
            "EventSourceArn": self.bus_arn,
            "State": "ENABLED",
            "RetentionDays": self.retention_days,
            "SizeBytes": sum(len(event_transform.compact(event)) for _, event in self.events),
            "EventCount": len(self.events),
            "CreationTime": self.created,
        }

    def described(self) -> dict[str, Any]:
        result = {"ArchiveArn": self.arn, **self.shown()}
        if self.description is not None:
            result["Description"] = self.description
        if self.pattern is not None:
            result["EventPattern"] = self.pattern
        return result


@dataclass
class _Replay:
    name: str
    arn: str
    archive_arn: str
    start: float
    end: float
    destination: dict[str, Any]
    started: float
    description: str | None = None
    state: str = "STARTING"
    ended: float | None = None
    last_replayed: float | None = None

    def shown(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "ReplayName": self.name,
            "EventSourceArn": self.archive_arn,
            "State": self.state,
            "EventStartTime": self.start,
            "EventEndTime": self.end,
            "ReplayStartTime": self.started,
        }
        if self.last_replayed is not None:
            result["EventLastReplayedTime"] = self.last_replayed
        if self.ended is not None:
            result["ReplayEndTime"] = self.ended
        return result


class Archives:
    """The archives and replays of one account and region."""

    def __init__(self, aws: LocalAws, account_id: str, region: str, replay: Replayer) -> None:
        self._aws = aws
        self._prefix = f"arn:aws:events:{region}:{account_id}"
        self._replay = replay
        self._archives: dict[str, _Archive] = {}
        self._replays: dict[str, _Replay] = {}
        self._guard = threading.RLock()

    # -- archives ------------------------------------------------------------------------------

    def keep(self, bus_arn: str, event: Mapping[str, Any]) -> None:
        """Put an event that came to a bus into the archives that want it."""
        if "replay-name" in event:
            return
        now = self._aws.clock.now()
        with self._guard:
            for archive in self._archives.values():
                if archive.bus_arn != bus_arn:
                    continue
                if archive.pattern is None or compiled(archive.pattern).matches(event):
                    archive.events.append((now, dict(event)))

    def create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A new archive (CreateArchive); the bus is known to exist, the pattern to be good."""
        name = params["ArchiveName"]
        with self._guard:
            if name in self._archives:
                raise AwsError("ResourceAlreadyExistsException", f"Archive {name} already exists.")
            archive = self._archives[name] = _Archive(
                name,
                f"{self._prefix}:archive/{name}",
                params["EventSourceArn"],
                self._aws.clock.now(),
                params.get("Description"),
                params.get("EventPattern"),
                params.get("RetentionDays") or 0,
            )
            return self._answer(archive)

    def update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Change an archive (UpdateArchive)."""
        with self._guard:
            archive = self._archive(params["ArchiveName"])
            archive.description = params.get("Description", archive.description)
            archive.pattern = params.get("EventPattern", archive.pattern)
            archive.retention_days = params.get("RetentionDays", archive.retention_days)
            return self._answer(archive)

    def delete(self, name: str) -> None:
        """Delete an archive with its events."""
        with self._guard:
            del self._archives[self._archive(name).name]

    def describe(self, name: str) -> dict[str, Any]:
        """One archive in full."""
        with self._guard:
            return self._archive(name).described()

    def list(self, prefix: str, bus_arn: str | None, state: str | None) -> list[dict[str, Any]]:
        """The archives with a name prefix, of a bus, in a state."""
        with self._guard:
            for archive in self._archives.values():
                self._expire(archive)
            return [
                archive.shown()
                for archive in self._archives.values()
                if archive.name.startswith(prefix)
                and bus_arn in (None, archive.bus_arn)
                and state in (None, "ENABLED")
            ]

    def _archive(self, name: str) -> _Archive:
        archive = self._archives.get(name)
        if archive is None:
            raise AwsError("ResourceNotFoundException", f"Archive {name} does not exist.")
        self._expire(archive)
        return archive

    def _expire(self, archive: _Archive) -> None:
        if archive.retention_days:
            oldest = self._aws.clock.now() - archive.retention_days * _DAY
            archive.events = [one for one in archive.events if one[0] >= oldest]

    def _answer(self, archive: _Archive) -> dict[str, Any]:
        return {"ArchiveArn": archive.arn, "State": "ENABLED", "CreationTime": archive.created}

    # -- replays -------------------------------------------------------------------------------

    def start_replay(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Start replaying an archive's events of a time span (StartReplay)."""
        name, destination = params["ReplayName"], dict(params["Destination"])
        archive_name = params["EventSourceArn"].rpartition("/")[2]
        start, end = _epoch(params["EventStartTime"]), _epoch(params["EventEndTime"])
        with self._guard:
            archive = self._archives.get(archive_name)
            if archive is None:
                raise _invalid("EventSourceArn", f"Archive {archive_name} does not exist.")
            if destination["Arn"] != archive.bus_arn:
                raise _invalid("Destination.Arn", "Cross event bus replay is not permitted.")
            if start >= end:
                raise _invalid("EventEndTime", "EventStartTime must be before EventEndTime.")
            if name in self._replays:
                raise AwsError("ResourceAlreadyExistsException", f"Replay {name} already exists.")
            active = [one for one in self._replays.values() if one.state in ("STARTING", "RUNNING")]
            if len(active) >= _MOST_ACTIVE_REPLAYS:
                raise AwsError(
                    "LimitExceededException",
                    "The requested resource exceeds the maximum number allowed.",
                )
            replay = self._replays[name] = _Replay(
                name,
                f"{self._prefix}:replay/{name}",
                params["EventSourceArn"],
                start,
                end,
                destination,
                self._aws.clock.now(),
                params.get("Description"),
            )
            self._expire(archive)
            events = [event for came, event in archive.events if start <= came < end]
        self._aws.activity.submit(self._run, replay, events, name="EventBridge replay")
        return {
            "ReplayArn": replay.arn,
            "State": "STARTING",
            "ReplayStartTime": replay.started,
        }

    def cancel_replay(self, name: str) -> dict[str, Any]:
        """Stop a replay that is under way (CancelReplay)."""
        with self._guard:
            replay = self._find_replay(name)
            if replay.state not in ("STARTING", "RUNNING"):
                raise AwsError("IllegalStatusException", f"Replay {name} is not in a valid state.")
            replay.state = "CANCELLING"
            return {"ReplayArn": replay.arn, "State": replay.state}

    def describe_replay(self, name: str) -> dict[str, Any]:
        """One replay in full."""
        with self._guard:
            replay = self._find_replay(name)
            result = {
                "ReplayArn": replay.arn,
                "Destination": replay.destination,
                **replay.shown(),
            }
            if replay.description is not None:
                result["Description"] = replay.description
            return result

    def list_replays(
        self, prefix: str, archive_arn: str | None, state: str | None
    ) -> list[dict[str, Any]]:
        """The replays with a name prefix, of an archive, in a state."""
        with self._guard:
            return [
                replay.shown()
                for replay in self._replays.values()
                if replay.name.startswith(prefix)
                and archive_arn in (None, replay.archive_arn)
                and state in (None, replay.state)
            ]

    def _find_replay(self, name: str) -> _Replay:
        replay = self._replays.get(name)
        if replay is None:
            raise AwsError("ResourceNotFoundException", f"Replay {name} does not exist.")
        return replay

    def _run(self, replay: _Replay, events: list[dict[str, Any]]) -> None:
        with self._guard:
            if replay.state == "STARTING":
                replay.state = "RUNNING"
        for event in events:
            if replay.state == "CANCELLING":
                break
            # A replayed event is a new one, and says whence it comes.
            again = {**event, "id": str(uuid.uuid4()), "replay-name": replay.name}
            self._replay(
                replay.destination["Arn"], again, replay.destination.get("FilterArns") or []
            )
            replay.last_replayed = self._aws.clock.now()
        with self._guard:
            replay.state = "CANCELLED" if replay.state == "CANCELLING" else "COMPLETED"
            replay.ended = self._aws.clock.now()


def _invalid(parameter: str, reason: str) -> AwsError:
    return AwsError("ValidationException", f"Parameter {parameter} is not valid. Reason: {reason}")


def _epoch(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else value.timestamp()

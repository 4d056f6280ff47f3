"""All pollers of a local AWS: one for every event source mapping, started and stopped with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from labkit.localaws.event_sources.poller import Poller
from labkit.localaws.event_sources.queue_poller import QueuePoller
from labkit.localaws.event_sources.stream_poller import StreamPoller
from labkit.localaws.functions.mappings import Mapping

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws

_POLLERS: dict[str, type[Poller]] = {
    "sqs": QueuePoller,
    "kinesis": StreamPoller,
    "dynamodb": StreamPoller,
}


class EventSources:
    """Keeps a poller for each mapping, as the control plane tells of them."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._guard = threading.Lock()
        self._pollers: dict[str, Poller] = {}
        aws.functions.on_mapping_changed.append(self._mapping_changed)
        aws.functions.on_changed.append(self._function_changed)
        aws.on_close(self.close)

    def poller(self, mapping_uuid: str) -> Poller | None:
        """The poller of one mapping, or None."""
        with self._guard:
            return self._pollers.get(mapping_uuid)

    def close(self) -> None:
        """Read nothing any more."""
        with self._guard:
            pollers = list(self._pollers.values())
            self._pollers.clear()
        for poller in pollers:
            poller.stop()

    def _mapping_changed(self, mapping: Mapping) -> None:
        with self._guard:
            poller = self._pollers.get(mapping.uuid)
            if mapping.deleted:
                self._pollers.pop(mapping.uuid, None)
            elif poller is None:
                # A disabled mapping has one, too: it keeps where it was.
                poller = self._pollers[mapping.uuid] = _POLLERS[mapping.kind](self._aws, mapping)
        if poller is None:
            return
        if mapping.deleted or not mapping.enabled:
            poller.stop()
        elif poller.running:
            poller.changed()
        else:
            poller.start()

    def _function_changed(self, function_arn: str, version: str | None) -> None:
        """A function that was missing or broken may be there again."""
        with self._guard:
            pollers = list(self._pollers.values())
        for poller in pollers:
            arn = poller.mapping.function_arn
            if arn == function_arn or arn.startswith(f"{function_arn}:"):
                poller.wake()

"""The environments there are, idle and busy: a collection without locks or processes.

:class:`Shelf` belongs to :class:`~labkit.localaws.runtime.environments.Environments`, whose lock
guards every call. Nothing here ends an environment: what has to end is handed back.
"""

from __future__ import annotations

from collections.abc import Iterable

from labkit.localaws.runtime.environment import Environment
from labkit.localaws.runtime.version import FunctionVersion

ON_DEMAND, PROVISIONED = "on-demand", "provisioned-concurrency"
Key = tuple[str, str, str]


class Shelf:
    """All environments, the idle ones by function version, and what is provisioned."""

    def __init__(self) -> None:
        self.all: set[Environment] = set()
        self._idle: dict[Key, list[Environment]] = {}
        # What provisioned concurrency asks for: version and number, by key.
        self.wanted: dict[Key, tuple[FunctionVersion, int]] = {}

    def idle(self) -> list[Environment]:
        """All idle environments."""
        return [environment for waiting in self._idle.values() for environment in waiting]

    def of(self, key: Key) -> list[Environment]:
        """The environments of one function version that are not retired."""
        return [e for e in self.all if e.version.key == key and not e.retired]

    def provisioned(self, key: Key) -> list[Environment]:
        """Those of them that are provisioned."""
        return [e for e in self.of(key) if e.initialization_type == PROVISIONED]

    def put_back(self, environment: Environment) -> None:
        """Make an environment idle."""
        self._idle.setdefault(environment.version.key, []).append(environment)

    def take(self, key: Key) -> Environment | None:
        """The idle environment to try next: provisioned ones first, the last used first."""
        waiting = self._idle.get(key)
        if not waiting:
            return None
        best = max(waiting, key=lambda e: (e.initialization_type == PROVISIONED, e.last_used))
        waiting.remove(best)
        return best

    def remove(self, environment: Environment) -> None:
        """Forget an environment, idle or not."""
        self.all.discard(environment)
        waiting = self._idle.get(environment.version.key, [])
        if environment in waiting:
            waiting.remove(environment)
            if not waiting:
                del self._idle[environment.version.key]

    def retire(self, environments: Iterable[Environment]) -> list[Environment]:
        """Mark as retired; the idle ones among them are forgotten and handed back."""
        idle = []
        for environment in list(environments):
            environment.retired = True
            if environment in self._idle.get(environment.version.key, []):
                self.remove(environment)
                idle.append(environment)
        return idle

    def retire_other_revisions(self, version: FunctionVersion) -> list[Environment]:
        """Retire what runs an older configuration of the same version."""
        name, key = version.key[:2], version.key
        for other in [k for k in self.wanted if k[:2] == name and k != key]:
            del self.wanted[other]
        return self.retire(
            environment
            for environment in self.all
            if environment.version.key[:2] == name
            and environment.version.key != key
            and not environment.retired
        )

    def retire_surplus(self, key: Key, wanted: int) -> list[Environment]:
        """Retire provisioned environments beyond *wanted*, those used longest ago first."""
        there = sorted(self.provisioned(key), key=lambda e: e.last_used)
        return self.retire(there[: max(0, len(there) - wanted)])

    def least_recently_used(self) -> Environment | None:
        """The idle environment to give up first, None when there is none to give up."""
        idle = [e for e in self.idle() if e.initialization_type != PROVISIONED]
        return min(idle, key=lambda e: e.last_used, default=None)

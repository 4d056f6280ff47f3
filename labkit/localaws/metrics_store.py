"""Metrics as CloudWatch keeps them: aggregated per metric, unit and period, each for its time.

Amazon CloudWatch User Guide, "Metrics concepts": samples of one metric (namespace, name and the
exact set of dimensions) are aggregated per minute, or per second for high-resolution metrics, and
the aggregates grow coarser with age: 1 second for 3 hours, 1 minute for 15 days, 5 minutes for
63 days, 1 hour for 455 days.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labkit.localaws.metric_buckets import Bucket

DAY = 86_400
# Resolution in seconds to how long it is kept; what is older moves to the next one.
RETENTION = {1: 3 * 3600, 60: 15 * DAY, 300: 63 * DAY, 3600: 455 * DAY}
_RESOLUTIONS = tuple(RETENTION)
# A metric is listed while it has had data in the past two weeks.
LISTED_SECONDS = 14 * DAY
_SWEEP_EVERY = 6 * 3600

# What bounds the memory: about 120 MB of buckets at the very most.
MAX_BUCKETS = 400_000
MAX_METRICS = 50_000
Dimensions = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """What identifies a metric; ``dimensions`` are sorted by name."""

    namespace: str
    name: str
    dimensions: Dimensions


@dataclass(slots=True)
class Series:
    """One metric's buckets: unit to resolution to period start (epoch seconds)."""

    metric: Metric
    units: dict[str, dict[int, dict[int, Bucket]]] = field(default_factory=dict)
    # The newest sample's time, by the samples' own timestamps.
    newest: float = 0.0
    # Who wants to know of every sample, by owner.
    watchers: dict[Any, Callable[[], None]] | None = None

    def buckets(self) -> int:
        """How many buckets the series holds."""
        return sum(len(tier) for tiers in self.units.values() for tier in tiers.values())


class Handle:
    """Where one metric's samples of one unit go, kept by whoever counts into it often."""

    __slots__ = ("scope", "metric", "unit", "series", "tier", "generation")

    def __init__(self, scope: tuple[str, str], metric: Metric, unit: str) -> None:
        self.scope = scope
        self.metric = metric
        self.unit = unit
        self.series: Series | None = None
        self.tier: dict[int, Bucket] = {}
        self.generation = -1


def dimensions_of(pairs: Iterable[tuple[str, str]]) -> Dimensions:
    """The dimensions in the order that identifies a metric."""
    return tuple(sorted(pairs))


class MetricStore:
    """All metrics of all accounts and regions, within bounded memory."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._guard = threading.Lock()
        self._scopes: dict[tuple[str, str], dict[Metric, Series]] = {}
        self._buckets = 0
        self._next_sweep = 0.0
        self._watchers: dict[tuple[tuple[str, str], Metric], dict[Any, Callable[[], None]]] = {}
        # Goes up whenever a series may have been dropped, so that handles find theirs anew.
        self._generation = 0

    # -- writing -----------------------------------------------------------------------------

    def add(
        self,
        scope: tuple[str, str],
        metric: Metric,
        value: float,
        unit: str,
        at: float,
        *,
        count: float = 1.0,
        resolution: int = 60,
    ) -> None:
        """Count *count* samples of one value at epoch seconds *at*; scope is account, region."""
        start = int(at) // resolution * resolution
        with self._guard:
            tier = self._tier(scope, metric, unit, resolution, at)
            bucket = tier.get(start)
            if bucket is None:
                tier[start] = Bucket(value, count)
                self._grown(at, tier)
            else:
                bucket.add(value, count)
            watchers = self._told(scope, metric)
        for tell in watchers:
            tell()

    def count(self, samples: Iterable[tuple[Handle, float]], at: float) -> None:
        """Count one sample each into several metrics at epoch seconds *at*, in one go."""
        start = int(at) // 60 * 60
        watchers: list[Callable[[], None]] = []
        with self._guard:
            for handle, value in samples:
                if handle.generation != self._generation:
                    self._renew(handle, at)
                bucket = handle.tier.get(start)
                if bucket is None:
                    handle.tier[start] = Bucket(value)
                    handle.series.newest = max(handle.series.newest, at)  # type: ignore[union-attr]
                    self._grown(at, handle.tier)
                else:
                    bucket.add(value)
                if handle.series.watchers:  # type: ignore[union-attr]
                    watchers += handle.series.watchers.values()  # type: ignore[union-attr]
        for tell in watchers:
            tell()

    def _renew(self, handle: Handle, at: float) -> None:
        handle.tier = self._tier(handle.scope, handle.metric, handle.unit, 60, at)
        handle.series = self._scopes[handle.scope][handle.metric]
        handle.generation = self._generation

    def add_bucket(
        self,
        scope: tuple[str, str],
        metric: Metric,
        bucket: Bucket,
        unit: str,
        at: float,
        *,
        resolution: int = 60,
    ) -> None:
        """Count the samples of *bucket* at epoch seconds *at*."""
        start = int(at) // resolution * resolution
        with self._guard:
            tier = self._tier(scope, metric, unit, resolution, at)
            if start in tier:
                tier[start].merge(bucket)
            else:
                tier[start] = bucket
                self._grown(at, tier)
            watchers = self._told(scope, metric)
        for tell in watchers:
            tell()

    def put(
        self, scope: tuple[str, str], metric: Metric, value: float, unit: str, at: float
    ) -> None:
        """Have *value* be the one sample of its minute: a gauge read again."""
        with self._guard:
            tier = self._tier(scope, metric, unit, 60, at)
            start = int(at) // 60 * 60
            known = start in tier
            tier[start] = Bucket(value)
            if not known:
                self._grown(at, tier)
            watchers = self._told(scope, metric)
        for tell in watchers:
            tell()

    # -- watching ----------------------------------------------------------------------------

    def watch(
        self, scope: tuple[str, str], metric: Metric, owner: Any, tell: Callable[[], None]
    ) -> None:
        """Have *tell* called after every sample of a metric, until *owner* is unwatched."""
        with self._guard:
            watchers = self._watchers.setdefault((scope, metric), {})
            watchers[owner] = tell
            series = self._scopes.get(scope, {}).get(metric)
            if series is not None:
                series.watchers = watchers

    def unwatch(self, owner: Any) -> None:
        """Call nothing of *owner* any more."""
        with self._guard:
            for key, watchers in list(self._watchers.items()):
                watchers.pop(owner, None)
                if not watchers:
                    del self._watchers[key]

    def _told(self, scope: tuple[str, str], metric: Metric) -> list[Callable[[], None]]:
        if not self._watchers:
            return []
        return list(self._watchers.get((scope, metric), {}).values())

    def _tier(
        self, scope: tuple[str, str], metric: Metric, unit: str, resolution: int, at: float
    ) -> dict[int, Bucket]:
        try:
            series = self._scopes[scope][metric]
            tier = series.units[unit][resolution]
        except KeyError:
            series = self._scopes.setdefault(scope, {}).setdefault(metric, Series(metric))
            series.watchers = self._watchers.get((scope, metric))
            tier = series.units.setdefault(unit, {}).setdefault(resolution, {})
        if at > series.newest:
            series.newest = at
        return tier

    def _grown(self, at: float, tier: dict[int, Bucket]) -> None:
        """Take note of the new last bucket of a tier; the one before it is likely complete."""
        self._buckets += 1
        if len(tier) > 1:
            newest = reversed(tier)
            next(newest)
            tier[next(newest)].pack()
        if at > self._next_sweep or self._buckets > MAX_BUCKETS:
            self._sweep()

    # -- ageing ------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Move what is older than its resolution is kept for into the next coarser one."""
        now = self._now()
        self._next_sweep = now + _SWEEP_EVERY
        self._generation += 1
        shorten = 1
        while True:
            for series_by_metric in self._scopes.values():
                for metric, series in list(series_by_metric.items()):
                    _age(series, now, shorten)
                    if not series.buckets():
                        del series_by_metric[metric]
                while len(series_by_metric) > MAX_METRICS:
                    # The one that has been silent longest is missed least.
                    silent = min(series_by_metric.values(), key=lambda each: each.newest)
                    del series_by_metric[silent.metric]
            self._buckets = sum(
                each.buckets() for scope in self._scopes.values() for each in scope.values()
            )
            # Over the bound, details are given up earlier than CloudWatch would.
            if self._buckets <= MAX_BUCKETS * 3 // 4 or shorten > 1 << 14:
                return
            shorten *= 2

    # -- reading -----------------------------------------------------------------------------

    def series(self, scope: tuple[str, str]) -> Iterator[Series]:
        """Every metric of an account and region that has had data in the past two weeks."""
        with self._guard:
            known = list(self._scopes.get(scope, {}).values())
        horizon = self._now() - LISTED_SECONDS
        return (each for each in known if each.newest >= horizon)

    def periods(
        self,
        scope: tuple[str, str],
        metric: Metric,
        start: int,
        end: int,
        period: int,
        unit: str | None = None,
    ) -> dict[tuple[int, str], Bucket]:
        """The samples from *start* until before *end*: (period's start, unit) to its bucket.

        Periods are counted from *start*. What is kept coarser than *period* isn't found, as in
        CloudWatch.
        """
        found: dict[tuple[int, str], Bucket] = {}
        now = self._now()
        with self._guard:
            series = self._scopes.get(scope, {}).get(metric)
            if series is None:
                return found
            for of_unit, tiers in series.units.items():
                if unit is not None and of_unit != unit:
                    continue
                for resolution, tier in tiers.items():
                    if resolution > period:
                        continue
                    horizon = now - RETENTION[resolution]
                    for when, bucket in tier.items():
                        if not start <= when < end:
                            continue
                        if when < horizon and _kept_as(now - when) > period:
                            # Only nobody has come to move it yet.
                            continue
                        key = (start + (when - start) // period * period, of_unit)
                        if key in found:
                            found[key].merge(bucket)
                        else:
                            found[key] = bucket.copy()
        return found

    def forget(self, account_id: str | None = None) -> None:
        """Drop all metrics, or those of one account."""
        with self._guard:
            for scope in list(self._scopes):
                if account_id in (None, scope[0]):
                    del self._scopes[scope]
            self._generation += 1

    def size(self) -> tuple[int, int]:
        """How many metrics and how many buckets are held."""
        with self._guard:
            return sum(len(scope) for scope in self._scopes.values()), self._buckets


def _kept_as(age: float) -> float:
    """The finest resolution that data of an age is still kept in."""
    return next((each for each, kept in RETENTION.items() if age <= kept), float("inf"))


def _age(series: Series, now: float, shorten: int) -> None:
    for tiers in series.units.values():
        for position, resolution in enumerate(_RESOLUTIONS):
            tier = tiers.get(resolution)
            if not tier:
                continue
            horizon = now - RETENTION[resolution] / shorten
            coarser = _RESOLUTIONS[position + 1] if position + 1 < len(_RESOLUTIONS) else None
            for when in [start for start in tier if start < horizon]:
                bucket = tier.pop(when)
                if coarser is None:
                    continue
                into = tiers.setdefault(coarser, {})
                start = when // coarser * coarser
                if start in into:
                    into[start].merge(bucket)
                else:
                    into[start] = bucket

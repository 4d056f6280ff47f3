"""Lifecycle at work: at midnight, UTC, by the lab's clock, objects expire or change class.

Follows the S3 User Guide, "Expiring objects", "Lifecycle configuration elements" and "Lifecycle
and other bucket configurations" (event notifications).
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.localaws.clock import Timer
from labkit.localaws.services import s3_lifecycle_rules
from labkit.localaws.services.s3_lifecycle_rules import DAY, Facts

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket, FakeKey, FakeMultipart, S3Backend

    from labkit.localaws.server import LocalAws

log = logging.getLogger(__name__)

DEFAULT_MINIMUM = "all_storage_classes_128K"
# Smaller objects stay in their class by default: moving them costs more than it saves.
_SMALLEST_TO_MOVE = 128 * 1024

# Takes the bucket, the event's name, the key, and the object (None for one that is gone).
Tell = Callable[["FakeBucket", str, str, Any], None]


class Lifecycles:
    """The buckets' lifecycle configurations, carried out every midnight."""

    def __init__(self, aws: LocalAws, tell: Tell) -> None:
        self._aws = aws
        self._tell = tell
        # They live and die with moto's buckets.
        self._rules: weakref.WeakKeyDictionary[FakeBucket, list[dict[str, Any]]] = (
            weakref.WeakKeyDictionary()
        )
        self._minimum: weakref.WeakKeyDictionary[FakeBucket, str] = weakref.WeakKeyDictionary()
        # moto doesn't note when an upload began.
        self._began: weakref.WeakKeyDictionary[FakeMultipart, float] = weakref.WeakKeyDictionary()
        self._timer: Timer | None = None
        self._guard = threading.Lock()

    def put(self, bucket: FakeBucket, rules: list[dict[str, Any]], minimum: str) -> None:
        """Give a bucket its rules."""
        self._rules[bucket] = rules
        self._minimum[bucket] = minimum
        self._set_timer()

    def get(self, bucket: FakeBucket) -> tuple[list[dict[str, Any]], str] | None:
        """A bucket's rules and the smallest size that is moved, or None."""
        if bucket not in self._rules:
            return None
        return self._rules[bucket], self._minimum[bucket]

    def delete(self, bucket: FakeBucket) -> None:
        """Take a bucket's rules away."""
        self._rules.pop(bucket, None)

    def header(self, bucket: FakeBucket, name: str) -> str | None:
        """What x-amz-expiration says of a current object, if a rule expires it; under the lock."""
        rules, key = self._rules.get(bucket), bucket.keys.get(name)
        if not rules or key is None or _is_marker(key):
            return None
        facts = _facts(_backend(bucket), key)
        found = s3_lifecycle_rules.expiration_of(rules, facts, _epoch(key.last_modified))
        if found is None:
            return None
        when = datetime.fromtimestamp(found[0], UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return f'expiry-date="{when}", rule-id="{found[1]}"'

    def began(self, upload: FakeMultipart) -> None:
        """Note that a multipart upload has begun."""
        self._began[upload] = self._aws.clock.now()

    # -- at midnight ---------------------------------------------------------------------------

    def _set_timer(self) -> None:
        with self._guard:
            if self._timer is None and self._rules:
                midnight = (math.floor(self._aws.clock.now() / DAY) + 1) * DAY
                self._timer = self._aws.clock.call_at(midnight, self._midnight, name="S3 lifecycle")

    def _midnight(self) -> None:
        with self._guard:
            self._timer = None
        for bucket, rules in list(self._rules.items()):
            with self._aws.lock("s3", bucket.account_id):
                backend = _backend(bucket)
                if backend.buckets.get(bucket.name) is bucket:
                    self._carry_out(backend, bucket, rules)
        self._set_timer()

    def _carry_out(
        self, backend: S3Backend, bucket: FakeBucket, rules: list[dict[str, Any]]
    ) -> None:
        now = self._aws.clock.now()
        for name in list(bucket.keys):
            versions = bucket.keys.getlist(name)
            self._current(backend, bucket, rules, versions, now)
            self._noncurrent(backend, bucket, rules, versions, now)
        self._uploads(bucket, rules, now)

    def _current(
        self,
        backend: S3Backend,
        bucket: FakeBucket,
        rules: list[dict[str, Any]],
        versions: list[Any],
        now: float,
    ) -> None:
        latest = versions[-1]
        if _is_marker(latest):
            wanted = any(
                (rule.get("Expiration") or {}).get("ExpiredObjectDeleteMarker")
                and s3_lifecycle_rules.applies(rule, Facts(latest.name, 0, {}))
                for rule in rules
            )
            if wanted and len(versions) == 1:
                # Nothing is hidden behind it any more.
                backend.delete_object(bucket.name, latest.name, version_id=latest.version_id)
                self._tell(bucket, "LifecycleExpiration:Delete", latest.name, latest)
            return
        since, facts = _epoch(latest.last_modified), _facts(backend, latest)
        expiry = s3_lifecycle_rules.expiration_of(rules, facts, since)
        if expiry is not None and expiry[0] <= now:
            backend.delete_object(bucket.name, latest.name)
            if bucket.is_versioned:
                marker = bucket.keys.getlist(latest.name)[-1]
                name = "LifecycleExpiration:DeleteMarkerCreated"
                self._tell(bucket, name, latest.name, marker)
            else:
                self._tell(bucket, "LifecycleExpiration:Delete", latest.name, None)
            return
        for rule in rules:
            if s3_lifecycle_rules.applies(rule, facts):
                self._move(bucket, latest, rule.get("Transitions") or [], since, now, "Days")

    def _noncurrent(
        self,
        backend: S3Backend,
        bucket: FakeBucket,
        rules: list[dict[str, Any]],
        versions: list[Any],
        now: float,
    ) -> None:
        # A version is noncurrent since its successor came.
        older = list(zip(versions, versions[1:], strict=False))
        for newer_ones, (version, successor) in enumerate(reversed(older)):
            if _is_marker(version):
                continue
            since, facts = _epoch(successor.last_modified), _facts(backend, version)
            for rule in rules:
                if not s3_lifecycle_rules.applies(rule, facts):
                    continue
                action = rule.get("NoncurrentVersionExpiration") or {}
                due = s3_lifecycle_rules.due_at(action, since, "NoncurrentDays")
                spared = newer_ones < (action.get("NewerNoncurrentVersions") or 0)
                if due is not None and due <= now and not spared:
                    backend.delete_object(bucket.name, version.name, version_id=version.version_id)
                    self._tell(bucket, "LifecycleExpiration:Delete", version.name, version)
                    break
                moves = rule.get("NoncurrentVersionTransitions") or []
                self._move(bucket, version, moves, since, now, "NoncurrentDays")

    def _move(
        self,
        bucket: FakeBucket,
        key: FakeKey,
        transitions: list[dict[str, Any]],
        since: float,
        now: float,
        days: str,
    ) -> None:
        if self._minimum[bucket] == DEFAULT_MINIMUM and key.size < _SMALLEST_TO_MOVE:
            return
        due = [
            (when, one["StorageClass"])
            for one in transitions
            if (when := s3_lifecycle_rules.due_at(one, since, days)) is not None and when <= now
        ]
        if due and key.storage_class != max(due)[1]:
            key.set_storage_class(max(due)[1])
            self._tell(bucket, "LifecycleTransition", key.name, key)

    def _uploads(self, bucket: FakeBucket, rules: list[dict[str, Any]], now: float) -> None:
        for upload_id, upload in list(bucket.multiparts.items()):
            for rule in rules:
                action = rule.get("AbortIncompleteMultipartUpload") or {}
                if not s3_lifecycle_rules.applies(rule, Facts(upload.key_name, 0, {})):
                    continue
                began = self._began.setdefault(upload, now)
                due = s3_lifecycle_rules.due_at(action, began, "DaysAfterInitiation")
                if due is not None and due <= now:
                    bucket.multiparts.pop(upload_id, None)


def _facts(backend: S3Backend, key: FakeKey) -> Facts:
    # moto keeps tags apart from their objects.
    return Facts(key.name, key.size, backend.tagger.get_tag_dict_for_resource(key.arn))


def _backend(bucket: FakeBucket) -> S3Backend:
    import moto.backends

    return moto.backends.get_backend("s3")[bucket.account_id]["aws"]


def _is_marker(version: Any) -> bool:
    # moto's delete markers have no content of their own.
    return not hasattr(version, "size")


def _epoch(moment: datetime) -> float:
    """moto's naive UTC times as epoch seconds."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

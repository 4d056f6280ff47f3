"""The state of the Lambda service: every account's and region's functions, layers and mappings.

:class:`Store` knows nothing of HTTP, moto or the runtime; it reaches the world through the
callables of :class:`Hooks` and tells its listeners what changed.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.call import AwsError, Principal
from labkit.localaws.functions.errors import function_not_found, invalid
from labkit.localaws.functions.model import Function
from labkit.localaws.functions.names import Ref
from labkit.localaws.runtime.version import FunctionVersion

log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY_LIMIT = 1000


def _no_object(bucket: str, key: str, version: str | None, principal: Principal) -> bytes:
    raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)


def _no_network(account: str, region: str, config: Mapping[str, Any]) -> str:
    raise invalid("This local AWS runs functions outside of any VPC: leave VpcConfig out.")


@dataclass
class Hooks:
    """How the control plane reaches the rest of the local AWS; each is a plain callable.

    ``now()`` is lab time in epoch seconds; ``defer(work)`` runs *work* soon in the background
    (state transitions); ``can_assume(role_arn)`` tells whether Lambda may assume the role;
    ``role_allows(role_arn, action, resource_arn)`` whether the role's policies allow a call;
    ``fetch_object(bucket, key, version, principal)`` reads from S3 as the caller; ``code_url(arn, package)`` gives the URL
    a package can be had at; ``vpc_of(account, region, vpc_config)`` the VPC of subnets;
    ``source(arn, role_arn)`` what the role sees of an event source (SQS: ``VisibilityTimeout``),
    raising AwsError as that service answers; ``function_url(url_id, region)`` the address of a function URL;
    ``provision(version, count)`` prepares execution environments and returns how many are ready;
    ``chance()`` is a random number in [0, 1).
    """

    now: Callable[[], float] = time.time
    defer: Callable[[Callable[[], None]], Any] = lambda work: work()
    can_assume: Callable[[str], bool] = lambda role: True
    role_allows: Callable[[str, str, str], bool] = lambda role, action, resource: True
    fetch_object: Callable[[str, str, str | None, Principal], bytes] = _no_object
    code_url: Callable[[str, Any], str] = lambda arn, package: f"{arn}/{package.sha256}"
    vpc_of: Callable[[str, str, Mapping[str, Any]], str] = _no_network
    source: Callable[[str, str], Mapping[str, Any]] = lambda arn, role: {}
    function_url: Callable[[str, str], str] = (
        lambda url_id, region: f"https://{url_id}.lambda-url.{region}.on.aws/"
    )
    provision: Callable[[FunctionVersion, int], int] = lambda version, count: count
    chance: Callable[[], float] = random.random


@dataclass
class Region:
    """What one account has of Lambda in one region."""

    owner: Store
    account: str
    region: str
    functions: dict[str, Function] = field(default_factory=dict)
    # The number the next version of a function of this name gets: never reused, as documented.
    version_numbers: dict[str, int] = field(default_factory=dict)
    layers: dict[str, Any] = field(default_factory=dict)
    mappings: dict[str, Any] = field(default_factory=dict)
    code_signing_configs: dict[str, dict[str, Any]] = field(default_factory=dict)


class Store:
    """All functions of a local AWS, keyed by account and region; safe to use from any thread.

    Listeners are lists of callables, called without the lock: ``on_changed(function_arn,
    version)`` just before new code or configuration of a version can be invoked,
    ``on_deleted(function_arn, version or None)`` after one or all versions are gone,
    ``on_mapping_changed(mapping)`` with an event source mapping (its ``deleted`` tells),
    ``on_provisioned_changed(function_arn, qualifier)``.
    """

    def __init__(
        self,
        hooks: Hooks | None = None,
        *,
        concurrency_limit: int = DEFAULT_CONCURRENCY_LIMIT,
        grace_seconds: float = 2.0,
    ) -> None:
        self.hooks = hooks or Hooks()
        self.concurrency_limit = concurrency_limit
        # A change under way in the background is waited for this long (real seconds) before a
        # caller is told that it is not done.
        self.grace_seconds = grace_seconds
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._regions: dict[tuple[str, str], Region] = {}
        self.on_changed: list[Callable[[str, str], Any]] = []
        self.on_deleted: list[Callable[[str, str | None], Any]] = []
        self.on_mapping_changed: list[Callable[[Any], Any]] = []
        self.on_provisioned_changed: list[Callable[[str, str], Any]] = []

    def at(self, account: str, region: str) -> Region:
        """What *account* has in *region*."""
        with self.lock:
            key = (account, region)
            if key not in self._regions:
                self._regions[key] = Region(self, account, region)
            return self._regions[key]

    def find(self, ref: Ref) -> Function | None:
        """The function *ref* names, whatever its qualifier, or None."""
        return self.at(ref.account, ref.region).functions.get(ref.name)

    def function(self, ref: Ref, shown: Ref | None = None) -> Function:
        """The function *ref* names; raises ``ResourceNotFoundException`` naming *shown*."""
        function = self.find(ref)
        if function is None:
            raise function_not_found((shown or ref).arn)
        return function

    def fetcher(self, principal: Principal) -> Callable[[str, str, str | None], bytes]:
        """Reads objects of S3 as *principal*."""
        return lambda bucket, key, version: self.hooks.fetch_object(
            bucket, key, version, principal
        )

    def tell(self, listeners: list[Callable[..., Any]], *what: Any) -> None:
        """Call every listener; one that fails is logged and keeps nothing back."""
        for listener in list(listeners):
            try:
                listener(*what)
            except Exception:
                log.exception("a listener failed at %s", what)

    def wait_settled(self, function: Function, qualifier: str | None = None) -> None:
        """Give a creation or update under way its moment (real time) to end."""
        with self.changed:
            self.changed.wait_for(
                lambda: (version := function.version(qualifier)) is None or version.settled,
                self.grace_seconds,
            )


def reservation(function: Function) -> int:
    """What *function* takes from the account's unreserved concurrency."""
    if function.reserved is not None:
        return function.reserved
    return sum(config.requested for config in function.provisioned.values())

"""What invocations, the runtime and IAM ask of the control plane: :class:`Functions`."""

from __future__ import annotations

from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.functions import names
from labkit.localaws.functions.errors import conflict, function_not_found
from labkit.localaws.functions.mappings import Mapping
from labkit.localaws.functions.model import Alias, Function, Provisioned, Version
from labkit.localaws.functions.names import LATEST
from labkit.localaws.functions.store import Store, reservation
from labkit.localaws.functions.urls import find_url
from labkit.localaws.runtime.version import FunctionVersion


class Functions(Store):
    """All functions of a local AWS, with the questions that are asked while they run.

    ``function`` is a name, a partial ARN or an ARN throughout, with or without a qualifier.
    """

    def resolve(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> FunctionVersion:
        """The version to run for a call; an alias with weights chooses anew each time.

        Raises ``ResourceNotFoundException``, or ``ResourceConflictException`` for a function
        that is still Pending after a moment of waiting.
        """
        return self.resolve_invocation(account, region, function, qualifier)[0]

    def resolve_invocation(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> tuple[FunctionVersion, str | None]:
        """The version to run, and the qualifier the call named (None without one)."""
        ref = names.parse(function, account, region, qualifier)
        found = self.find(ref)
        chosen = self._choose(found, ref.qualifier) if found else None
        if found is None or chosen is None:
            raise function_not_found(names.qualified(ref.function_arn, ref.qualifier or LATEST))
        self.wait_settled(found, chosen.number)
        with self.lock:
            if chosen.config["State"] != "Active" or chosen.serving is None:
                raise conflict(
                    "The operation cannot be performed at this time. The function is currently "
                    f"in the following state: {chosen.config['State']}"
                )
            return chosen.serving, ref.qualifier

    def reserved_concurrency(self, account: str, region: str, function: str) -> int | None:
        """The function's reserved concurrency, or None."""
        found, _ = self._lookup(account, region, function)
        return found.reserved if found else None

    def unreserved_concurrency(self, account: str, region: str) -> int:
        """What the account's limit leaves to functions without a reservation."""
        with self.lock:
            functions = self.at(account, region).functions.values()
            return self.concurrency_limit - sum(reservation(function) for function in functions)

    def event_invoke_config(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> dict[str, Any]:
        """The asynchronous settings for calls under *qualifier*; ``{}`` means the defaults."""
        found, named = self._lookup(account, region, function, qualifier)
        with self.lock:
            return dict(found.event_invoke.get(named or LATEST, {})) if found else {}

    def dead_letter_target(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> str | None:
        """The ARN of the queue or topic for events given up on, or None."""
        found, named = self._lookup(account, region, function, qualifier)
        version = found.version(named) if found else None
        if version is None:
            return None
        return version.config.get("DeadLetterConfig", {}).get("TargetArn")

    def provisioned_configs(
        self, account: str, region: str, function: str
    ) -> dict[str, Provisioned]:
        """Provisioned concurrency by qualifier (version or alias)."""
        found, _ = self._lookup(account, region, function)
        with self.lock:
            return dict(found.provisioned) if found else {}

    def provisioned_concurrency(
        self, account: str, region: str, function: str, version: str
    ) -> int:
        """How many provisioned environments a published version has, aliases' included."""
        found, _ = self._lookup(account, region, function)
        if found is None:
            return 0
        with self.lock:
            direct = found.provisioned.get(version)
            total = direct.allocated if direct else 0
            for alias in found.aliases.values():
                config = found.provisioned.get(alias.name)
                if config and alias.version == version:
                    total += config.allocated
            return total

    def resource_policy(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> dict[str, Any] | None:
        """The policy document of the function (None, ``$LATEST``), a version or an alias."""
        found, named = self._lookup(account, region, function, qualifier)
        if found is None:
            return None
        key = "" if named in (None, LATEST) else str(named)
        with self.lock:
            policy = found.policies.get(key)
            return policy.document() if policy else None

    def layer_policy(self, layer_version_arn: str) -> dict[str, Any] | None:
        """The policy document of a layer version, or None."""
        parts = layer_version_arn.split(":")
        if len(parts) != 8 or not parts[7].isdecimal():
            return None
        with self.lock:
            history = self.at(parts[4], parts[3]).layers.get(parts[6])
            version = history.versions.get(int(parts[7])) if history else None
            return version.policy.document() if version and version.policy else None

    def configuration(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> dict[str, Any] | None:
        """The configuration as GetFunctionConfiguration shows it, or None."""
        found, named = self._lookup(account, region, function, qualifier)
        version = found.version(named) if found else None
        if found is None or version is None:
            return None
        with self.lock:
            return version.shown(found.arn, named)

    def tags(self, account: str, region: str, function: str) -> dict[str, str]:
        """The function's tags (``aws:ResourceTag``)."""
        found, _ = self._lookup(account, region, function)
        return dict(found.tags) if found else {}

    def recursive_loop(self, account: str, region: str, function: str) -> str:
        """``Terminate`` or ``Allow``."""
        found, _ = self._lookup(account, region, function)
        return found.recursive_loop if found else "Terminate"

    def mappings(self) -> list[Mapping]:
        """Every event source mapping of every account and region."""
        with self.lock:
            return [m for region in self._regions.values() for m in region.mappings.values()]

    def note_result(self, mapping: Mapping, result: str) -> None:
        """Have a stream mapping tell what came of its last batch (LastProcessingResult)."""
        with self.lock:
            if "LastProcessingResult" in mapping.config:
                mapping.config["LastProcessingResult"] = result

    def url_target(self, url_id: str) -> tuple[Function, str | None, dict[str, Any]] | None:
        """The function, alias (or None) and configuration behind a function URL's id."""
        with self.lock:
            regions = list(self._regions.values())
        return next((found for region in regions if (found := find_url(region, url_id))), None)

    def _lookup(
        self, account: str, region: str, function: str, qualifier: str | None = None
    ) -> tuple[Function | None, str | None]:
        """The function and the qualifier named; (None, None) for what names no function here."""
        try:
            ref = names.parse(function, account, region, qualifier)
        except AwsError:
            return None, None
        return self.find(ref), ref.qualifier

    def _choose(self, function: Function, qualifier: str | None) -> Version | None:
        with self.lock:
            alias = function.aliases.get(qualifier or "")
            number = self._weighted(alias) if alias else qualifier
            return function.version(number)

    def _weighted(self, alias: Alias) -> str:
        if not alias.weights:
            return alias.version
        chance = self.hooks.chance()
        for number, weight in alias.weights.items():
            if chance < weight:
                return number
            chance -= weight
        return alias.version


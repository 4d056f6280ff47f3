"""What the control plane keeps of a function: versions, aliases, policies, configurations."""

from __future__ import annotations

import copy
import datetime
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.functions.code import Package
from labkit.localaws.functions.names import LATEST, is_version, qualified
from labkit.localaws.runtime.version import CodeArchive, FunctionVersion, Layer

# Shown by the Get operations alone; lists leave them out.
_STATE_MEMBERS = (
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
)
# What a version may differ in from the last published one and still be the same to publish.
_NOT_CONTENT = (*_STATE_MEMBERS, "RevisionId", "LastModified", "Version", "FunctionArn")


def new_revision() -> str:
    """A fresh revision id."""
    return str(uuid.uuid4())


def timestamp(seconds: float) -> str:
    """LastModified as Lambda writes it: ``2026-11-22T20:14:05.123+0000``, UTC."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


@dataclass
class Version:
    """``$LATEST`` or a published version: configuration as GetFunctionConfiguration shows it.

    ``serving`` is what invocations get: while an update is in progress, still the code and
    configuration from before it. ``serial`` changes with code or configuration and nothing else
    (a RevisionId also changes when a version is published), so it names execution environments.
    """

    config: dict[str, Any]
    package: Package
    layer_archives: tuple[tuple[str, CodeArchive], ...] = ()
    serial: str = field(default_factory=new_revision)
    serving: FunctionVersion | None = None

    @property
    def number(self) -> str:
        """``$LATEST`` or the version's number."""
        return self.config["Version"]

    @property
    def settled(self) -> bool:
        """Whether neither creation nor an update is in progress."""
        return (
            self.config.get("State") != "Pending"
            and self.config.get("LastUpdateStatus") != "InProgress"
        )

    def shown(self, function_arn: str, qualifier: str | None) -> dict[str, Any]:
        """The configuration under the ARN it was asked for."""
        shown = copy.deepcopy(self.config)
        shown["FunctionArn"] = qualified(function_arn, qualifier)
        return shown

    def listed(self, function_arn: str, qualifier: str | None) -> dict[str, Any]:
        """The configuration as lists show it: without states."""
        shown = self.shown(function_arn, qualifier)
        for name in _STATE_MEMBERS:
            shown.pop(name, None)
        return shown

    def content(self) -> dict[str, Any]:
        """All that makes a published version differ from another."""
        return {name: value for name, value in self.config.items() if name not in _NOT_CONTENT}

    def view(self, function: Function) -> FunctionVersion:
        """What the runtime needs to know to run this version as configured now."""
        config = self.config
        logging = config["LoggingConfig"]
        return FunctionVersion(
            function_name=function.name,
            arn=function.arn,
            account_id=function.account,
            region=function.region,
            runtime=config["Runtime"],
            handler=config["Handler"],
            code=self.package.archive,
            version=self.number,
            memory_mb=config["MemorySize"],
            timeout_seconds=config["Timeout"],
            ephemeral_mb=config["EphemeralStorage"]["Size"],
            environment=dict(config.get("Environment", {}).get("Variables", {})),
            layers=tuple(Layer(arn, archive) for arn, archive in self.layer_archives),
            role_arn=config["Role"],
            revision_id=self.serial,
            log_group=logging["LogGroup"],
            log_format=logging["LogFormat"],
            application_log_level=logging.get("ApplicationLogLevel"),
            system_log_level=logging.get("SystemLogLevel"),
        )


@dataclass
class Alias:
    """A name for one version, or for two with weights."""

    name: str
    version: str
    description: str | None = None
    weights: dict[str, float] = field(default_factory=dict)
    revision: str = field(default_factory=new_revision)

    def shown(self, function_arn: str) -> dict[str, Any]:
        """The alias as AliasConfiguration."""
        shown: dict[str, Any] = {
            "AliasArn": qualified(function_arn, self.name),
            "Name": self.name,
            "FunctionVersion": self.version,
            "Description": self.description or "",
            "RevisionId": self.revision,
        }
        if self.weights:
            shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(self.weights)}
        return shown


@dataclass
class Policy:
    """A resource policy: its statements, oldest first."""

    statements: list[dict[str, Any]] = field(default_factory=list)
    revision: str = field(default_factory=new_revision)
    version: str = "2012-10-17"
    policy_id: str = "default"

    def document(self) -> dict[str, Any]:
        """The policy document as Lambda writes it."""
        statements = copy.deepcopy(self.statements)
        return {"Version": self.version, "Id": self.policy_id, "Statement": statements}


@dataclass
class Provisioned:
    """Provisioned concurrency of one version or alias."""

    requested: int
    last_modified: float
    allocated: int = 0
    status: str = "IN_PROGRESS"
    reason: str | None = None


@dataclass
class Function:
    """One function with all that hangs on it."""

    account: str
    region: str
    name: str
    arn: str
    latest: Version
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    # The key of the unqualified function is the empty string.
    policies: dict[str, Policy] = field(default_factory=dict)
    urls: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Here the unqualified function is $LATEST.
    event_invoke: dict[str, dict[str, Any]] = field(default_factory=dict)
    provisioned: dict[str, Provisioned] = field(default_factory=dict)
    runtime_management: dict[str, dict[str, Any]] = field(default_factory=dict)
    reserved: int | None = None
    recursive_loop: str = "Terminate"
    tags: dict[str, str] = field(default_factory=dict)
    code_signing_config: str | None = None
    # What $LATEST was when the newest version was published from it.
    published_content: dict[str, Any] | None = None
    published_number: str | None = None

    def version(self, qualifier: str | None) -> Version | None:
        """The version that *qualifier* names: an alias stands for its (main) version."""
        if qualifier in (None, "", LATEST):
            return self.latest
        assert qualifier is not None
        if is_version(qualifier):
            return self.versions.get(qualifier)
        alias = self.aliases.get(qualifier)
        return self.version(alias.version) if alias else None

    def all_versions(self) -> Iterator[Version]:
        """``$LATEST`` and the published versions, oldest first."""
        yield self.latest
        yield from self.versions.values()

    def aliases_of(self, number: str) -> list[str]:
        """The names of the aliases that send anything to version *number*."""
        return sorted(
            alias.name
            for alias in self.aliases.values()
            if alias.version == number or number in alias.weights
        )

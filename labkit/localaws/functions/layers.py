"""Layers: published, listed, shared, and found for the functions that use them.

AWS Lambda API Reference, PublishLayerVersion and its kin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions import code, paging, runtimes
from labkit.localaws.functions.errors import invalid, not_found
from labkit.localaws.functions.model import Policy, timestamp
from labkit.localaws.functions.store import Region

FUNCTION_LAYER_LIMIT = 5
_LAYER = re.compile(
    r"arn:(?P<partition>[a-zA-Z0-9-]+):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":layer:(?P<name>[a-zA-Z0-9-_]+)(:(?P<version>\d+))?"
)


@dataclass
class LayerVersion:
    """One published version of a layer."""

    layer_arn: str
    number: int
    package: code.Package
    created: float
    description: str | None = None
    license: str | None = None
    runtimes: list[str] | None = None
    architectures: list[str] | None = None
    policy: Policy | None = None

    @property
    def arn(self) -> str:
        """The ARN with the version."""
        return f"{self.layer_arn}:{self.number}"

    def listed(self) -> dict[str, Any]:
        """The version as lists show it."""
        shown: dict[str, Any] = {
            "LayerVersionArn": self.arn,
            "Version": self.number,
            "Description": self.description or "",
            "CreatedDate": timestamp(self.created),
        }
        if self.runtimes is not None:
            shown["CompatibleRuntimes"] = list(self.runtimes)
        if self.license is not None:
            shown["LicenseInfo"] = self.license
        if self.architectures is not None:
            shown["CompatibleArchitectures"] = list(self.architectures)
        return shown

    def shown(self, location: str) -> dict[str, Any]:
        """The version as GetLayerVersion shows it, its zip to be had at *location*."""
        content = {
            "Location": location,
            "CodeSha256": self.package.sha256,
            "CodeSize": self.package.size,
        }
        return {**self.listed(), "LayerArn": self.layer_arn, "Content": content}


@dataclass
class LayerHistory:
    """A layer: its versions that are there, and the number the next one gets."""

    arn: str
    name: str
    versions: dict[int, LayerVersion] = field(default_factory=dict)
    next_number: int = 1


def find_layers(region: Region, arns: Sequence[str]) -> list[LayerVersion]:
    """The layer versions a function asks for, in its order, or Lambda's refusal."""
    if len(arns) > FUNCTION_LAYER_LIMIT:
        raise invalid("Cannot reference more than 5 layers.")
    found: list[LayerVersion] = []
    seen: dict[str, str] = {}
    for arn in arns:
        match = _LAYER.fullmatch(arn)
        if match is None:
            raise invalid(f"Layer version {arn} does not exist.")
        if match["region"] != region.region:
            raise invalid(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {region.region}."
            )
        layer_arn = arn.rpartition(":")[0]
        if layer_arn in seen:
            raise invalid(
                "Two different versions of the same layer are not allowed to be referenced in the "
                f"same function. {seen[layer_arn]} and {arn} are versions of the same layer."
            )
        seen[layer_arn] = arn
        layer = _version(region, match, int(match["version"]))
        if layer is None:
            raise invalid(f"Layer version {arn} does not exist.")
        found.append(layer)
    return found


def publish_layer_version(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """PublishLayerVersion."""
    arn, name = _layer_arn(region, params["LayerName"])
    hooks = region.owner.hooks
    package = code.read(params["Content"], region.owner.fetcher(call.principal))
    with region.owner.lock:
        history = region.layers.setdefault(name, LayerHistory(arn, name))
        version = LayerVersion(
            layer_arn=arn,
            number=history.next_number,
            package=package,
            created=hooks.now(),
            description=params.get("Description"),
            license=params.get("LicenseInfo"),
            runtimes=params.get("CompatibleRuntimes"),
            architectures=params.get("CompatibleArchitectures"),
        )
        history.next_number += 1
        history.versions[version.number] = version
    return version.shown(hooks.code_url(version.arn, package))


def get_layer_version(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """GetLayerVersion."""
    _check_number(params["VersionNumber"])
    version = _named(region, params["LayerName"], params["VersionNumber"])
    return _shown(region, version)


def get_layer_version_by_arn(
    region: Region, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """GetLayerVersionByArn."""
    match = _LAYER.fullmatch(params["Arn"])
    version = _version(region, match, int(match["version"])) if match and match["version"] else None
    return _shown(region, version)


def list_layer_versions(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """ListLayerVersions: newest first."""
    runtimes.check_of_layer(params.get("CompatibleRuntime"))
    history = _history(region, params["LayerName"])
    with region.owner.lock:
        versions = [v for v in history.versions.values() if _compatible(v, params)] if history else []
    versions.sort(key=lambda version: -version.number)
    chosen, marker = paging.page(versions, params, key=lambda version: version.arn)
    return paging.with_marker("LayerVersions", [version.listed() for version in chosen], marker)


def list_layers(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """ListLayers: each with its newest version that is compatible."""
    runtimes.check_of_layer(params.get("CompatibleRuntime"))
    newest: list[tuple[LayerHistory, LayerVersion]] = []
    with region.owner.lock:
        for name in sorted(region.layers):
            history = region.layers[name]
            fitting = [v for v in history.versions.values() if _compatible(v, params)]
            if fitting:
                newest.append((history, max(fitting, key=lambda version: version.number)))
    chosen, marker = paging.page(newest, params, key=lambda pair: pair[0].name)
    layers = [
        {
            "LayerName": history.name,
            "LayerArn": history.arn,
            "LatestMatchingVersion": version.listed(),
        }
        for history, version in chosen
    ]
    return paging.with_marker("Layers", layers, marker)


def delete_layer_version(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """DeleteLayerVersion: functions that use it keep it; deleting what is not there is fine."""
    _check_number(params["VersionNumber"])
    history = _history(region, params["LayerName"])
    if history is not None:
        with region.owner.lock:
            history.versions.pop(int(params["VersionNumber"]), None)


def required(region: Region, params: Mapping[str, Any]) -> LayerVersion:
    """The layer version a policy operation names, or ``ResourceNotFoundException`` naming it."""
    arn, _ = _layer_arn(region, params["LayerName"])
    number = int(params["VersionNumber"])
    match = _LAYER.fullmatch(arn)
    version = _version(region, match, number) if match else None
    if version is None:
        raise not_found(f"Layer version {arn}:{number} does not exist.")
    return version


def _shown(region: Region, version: LayerVersion | None) -> dict[str, Any]:
    if version is None:
        raise not_found()
    return version.shown(region.owner.hooks.code_url(version.arn, version.package))


def _check_number(number: int) -> None:
    if int(number) < 1:
        raise invalid("Layer Version Cannot be less than 1")


def _layer_arn(region: Region, name_or_arn: str) -> tuple[str, str]:
    if name_or_arn.startswith("arn:"):
        return name_or_arn, name_or_arn.rsplit(":", 1)[1]
    arn = f"arn:aws:lambda:{region.region}:{region.account}:layer:{name_or_arn}"
    return arn, name_or_arn


def _history(region: Region, name_or_arn: str) -> LayerHistory | None:
    arn, name = _layer_arn(region, name_or_arn)
    match = _LAYER.fullmatch(arn)
    if match is None or match["region"] != region.region:
        return None
    with region.owner.lock:
        return region.owner.at(match["account"], match["region"]).layers.get(name)


def _named(region: Region, name_or_arn: str, number: int) -> LayerVersion | None:
    history = _history(region, name_or_arn)
    return history.versions.get(int(number)) if history else None


def _version(region: Region, match: re.Match[str], number: int) -> LayerVersion | None:
    with region.owner.lock:
        history = region.owner.at(match["account"], match["region"]).layers.get(match["name"])
        return history.versions.get(number) if history else None


def _compatible(version: LayerVersion, params: Mapping[str, Any]) -> bool:
    runtime = params.get("CompatibleRuntime")
    architecture = params.get("CompatibleArchitecture")
    return (not runtime or runtime in (version.runtimes or [])) and (
        not architecture or architecture in (version.architectures or [])
    )

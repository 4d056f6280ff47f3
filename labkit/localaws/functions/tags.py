"""Tags of functions, event source mappings and code signing configurations.

AWS Lambda API Reference, TagResource, UntagResource, ListTags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.functions import mappings
from labkit.localaws.functions.configuration import check_tags
from labkit.localaws.functions.errors import function_not_found, invalid, not_found
from labkit.localaws.functions.model import new_revision
from labkit.localaws.functions.names import Ref
from labkit.localaws.functions.store import Region


def tag_resource(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """TagResource."""
    tags = _tags(region, params["Resource"])
    if not params["Tags"]:
        raise invalid("An error occurred and the request cannot be processed.")
    with region.owner.lock:
        check_tags({**tags, **params["Tags"]})
        tags.update(params["Tags"])
        _touched(region, params["Resource"])


def untag_resource(region: Region, params: Mapping[str, Any], call: Call) -> None:
    """UntagResource: keys that are not there are fine."""
    tags = _tags(region, params["Resource"])
    with region.owner.lock:
        for key in params["TagKeys"]:
            tags.pop(key, None)
        _touched(region, params["Resource"])


def list_tags(region: Region, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """ListTags."""
    return {"Tags": dict(_tags(region, params["Resource"]))}


def _tags(region: Region, arn: str) -> dict[str, str]:
    """The tags kept for *arn*, to be changed in place."""
    _, _, _, place, account, kind, name, *qualifier = arn.split(":")
    state = region.owner.at(account, place)
    if kind == "function":
        if qualifier:
            raise invalid(
                "Tags on function aliases and versions are not supported. "
                "Please specify a function ARN."
            )
        function = region.owner.find(Ref(account, place, name))
        if function is None:
            raise function_not_found(arn)
        return function.tags
    if kind == "event-source-mapping":
        mapping = mappings.find(state, name)
        if mapping is None:
            raise not_found(f"Event source mapping not found: {arn}")
        return mapping.tags
    if kind == "code-signing-config":
        config = state.code_signing_configs.get(arn)
        if config is None:
            raise not_found(f"The Lambda code signing configuration {arn} can not be found.")
        return config["Tags"]
    if kind == "capacity-provider":
        raise not_found(f"Capacity provider not found: {arn}")
    raise invalid(f"This local AWS does not keep tags of {kind} resources.")


def _touched(region: Region, arn: str) -> None:
    """A function's tags are part of what its RevisionId stands for."""
    parts = arn.split(":")
    if parts[5] == "function":
        function = region.owner.find(Ref(parts[4], parts[3], parts[6]))
        if function is not None:
            function.latest.config["RevisionId"] = new_revision()

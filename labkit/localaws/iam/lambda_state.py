"""What conditions need of Lambda, whose state is not moto's: functions' tags, mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.localaws.functions.lookups import Functions
    from labkit.localaws.iam.identity import Identity
    from labkit.localaws.server import LocalAws


def connect(identity: Identity, aws: LocalAws) -> None:
    """Have *identity* ask the control plane of *aws*, which comes to be after it."""

    def functions() -> Functions | None:
        return getattr(aws, "functions", None)

    def tags(resource: str) -> Mapping[str, str]:
        known, parts = functions(), resource.split(":")
        if known is None or len(parts) < 7 or parts[5] != "function":
            return {}
        return known.tags(parts[4], parts[3], parts[6])

    def mapping_function(account_id: str, region: str, uuid: str) -> str | None:
        known = functions()
        if known is None:
            return None
        for mapping in known.mappings():
            if mapping.arn == f"arn:aws:lambda:{region}:{account_id}:event-source-mapping:{uuid}":
                return mapping.function_arn
        return None

    identity.facts.tag_sources["lambda"] = tags
    identity.facts.mapping_source = mapping_function

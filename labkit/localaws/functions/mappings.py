"""Event source mappings: kept, checked and passed through their states; pollers do the rest.

AWS Lambda API Reference, CreateEventSourceMapping and its kin.
"""

from __future__ import annotations

import copy
import datetime
import uuid
from collections.abc import Mapping as Values
from dataclasses import dataclass, field
from typing import Any

from labkit.localaws.call import AwsError, Call
from labkit.localaws.functions import configuration, filters, mapping_rules, names, paging
from labkit.localaws.functions.errors import conflict, invalid, not_found
from labkit.localaws.functions.model import Function
from labkit.localaws.functions.names import Ref, parse_arn
from labkit.localaws.functions.store import Region, Store

_SETTINGS = (
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "FunctionResponseTypes",
    "StartingPosition",
    "StartingPositionTimestamp",
    "KMSKeyArn",
    "MetricsConfig",
    "LoggingConfig",
)
_TRANSITIONS = ("Creating", "Enabling", "Disabling", "Updating", "Deleting")
_PAGE = 100


@dataclass
class Mapping:
    """One event source mapping, for its poller to read.

    ``config`` is EventSourceMappingConfiguration without dates; ``enabled`` is what the user
    wants, ``state`` what is; ``deleted`` tells the poller that it ends. ``revision`` goes up with
    every change of the settings.
    """

    uuid: str
    account: str
    region: str
    kind: str
    config: dict[str, Any]
    enabled: bool
    last_modified: float
    tags: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    revision: int = 0

    @property
    def state(self) -> str:
        """Creating, Enabled, Disabling, ..."""
        return self.config["State"]

    @property
    def arn(self) -> str:
        """The mapping's own ARN."""
        return f"arn:aws:lambda:{self.region}:{self.account}:event-source-mapping:{self.uuid}"

    @property
    def source_arn(self) -> str:
        """The ARN of the queue or stream."""
        return self.config["EventSourceArn"]

    @property
    def function_arn(self) -> str:
        """The function's ARN, with the qualifier it was given with."""
        return self.config["FunctionArn"]

    def shown(self) -> dict[str, Any]:
        """The mapping as the API shows it."""
        shown = copy.deepcopy(self.config)
        shown["LastModified"] = datetime.datetime.fromtimestamp(
            self.last_modified, datetime.UTC
        )
        return shown


def create_event_source_mapping(
    region: Region, params: Values[str, Any], call: Call
) -> dict[str, Any]:
    """CreateEventSourceMapping: Creating, then Enabled or Disabled."""
    kind = mapping_rules.kind_of(params)
    arn = params["EventSourceArn"]
    mapping_rules.check_settings(kind, arn, params)
    mapping_rules.check_starting_position(kind, arn, params)
    configuration.check_tags(params.get("Tags") or {})
    config = {**copy.deepcopy(dict(kind.defaults)), "EventSourceArn": arn}
    _merge(config, params)
    mapping_rules.check_batching(kind, arn, config)
    filters.check(params.get("FilterCriteria"))
    ref, function = _function(region, params["FunctionName"])
    config["FunctionArn"] = ref.arn
    timeout = function.version(ref.qualifier).config["Timeout"]  # type: ignore[union-attr]
    mapping_rules.check_failure_destination(region, function, params)
    mapping_rules.check_source(region, kind, arn, function, timeout)
    owner = region.owner
    with owner.lock:
        _check_new(region, kind, arn, ref)
        mapping = Mapping(
            uuid=str(uuid.uuid4()),
            account=region.account,
            region=region.region,
            kind=kind.name,
            config=config,
            enabled=params.get("Enabled", True) is not False,
            last_modified=owner.hooks.now(),
            tags=dict(params.get("Tags") or {}),
        )
        config.update(
            UUID=mapping.uuid,
            EventSourceMappingArn=mapping.arn,
            State="Creating",
            StateTransitionReason=kind.reason,
        )
        region.mappings[mapping.uuid] = mapping
        answer = mapping.shown()
    _settle(owner, mapping)
    return answer


def update_event_source_mapping(
    region: Region, params: Values[str, Any], call: Call
) -> dict[str, Any]:
    """UpdateEventSourceMapping: what is given replaces its part."""
    owner = region.owner
    mapping = _required(region, params["UUID"])
    _wait_idle(owner, mapping, "update")
    kind = mapping_rules.kind_of({"EventSourceArn": mapping.source_arn})
    mapping_rules.check_settings(kind, mapping.source_arn, params)
    filters.check(params.get("FilterCriteria"))
    config = copy.deepcopy(mapping.config)
    _merge(config, params)
    mapping_rules.check_batching(kind, mapping.source_arn, config)
    if params.get("FunctionName"):
        ref, function = _function(region, params["FunctionName"])
        config["FunctionArn"] = ref.arn
        timeout = function.version(ref.qualifier).config["Timeout"]  # type: ignore[union-attr]
        mapping_rules.check_source(region, kind, mapping.source_arn, function, timeout)
    current = owner.find(parse_arn(config["FunctionArn"]))  # type: ignore[arg-type]
    if current is not None:
        mapping_rules.check_failure_destination(region, current, params)
    with owner.lock:
        wanted = mapping.enabled if params.get("Enabled") is None else bool(params["Enabled"])
        state = "Updating"
        if wanted != mapping.enabled:
            state = "Enabling" if wanted else "Disabling"
        config.update(State=state, StateTransitionReason=kind.reason)
        mapping.config, mapping.enabled = config, wanted
        mapping.last_modified = owner.hooks.now()
        mapping.revision += 1
        answer = mapping.shown()
    _settle(owner, mapping)
    return answer


def get_event_source_mapping(
    region: Region, params: Values[str, Any], call: Call
) -> dict[str, Any]:
    """GetEventSourceMapping."""
    mapping = _required(region, params["UUID"])
    with region.owner.lock:
        return mapping.shown()


def list_event_source_mappings(
    region: Region, params: Values[str, Any], call: Call
) -> dict[str, Any]:
    """ListEventSourceMappings, of a source or a function, or all."""
    wanted = None
    if params.get("FunctionName"):
        wanted = names.parse(params["FunctionName"], region.account, region.region).arn
    source = params.get("EventSourceArn")
    with region.owner.lock:
        found = [
            mapping.shown()
            for _, mapping in sorted(region.mappings.items())
            if (not source or mapping.source_arn == source)
            and (not wanted or mapping.function_arn == wanted)
        ]
    chosen, marker = paging.page(found, params, key=lambda item: item["UUID"], size=_PAGE)
    return paging.with_marker("EventSourceMappings", chosen, marker)


def delete_event_source_mapping(
    region: Region, params: Values[str, Any], call: Call
) -> dict[str, Any]:
    """DeleteEventSourceMapping: Deleting, then gone."""
    owner = region.owner
    mapping = _required(region, params["UUID"])
    _wait_idle(owner, mapping, "delete")
    with owner.lock:
        kind = mapping_rules.kind_of({"EventSourceArn": mapping.source_arn})
        mapping.config.update(State="Deleting", StateTransitionReason=kind.reason)
        mapping.enabled = False
        mapping.deleted = True
        answer = mapping.shown()
    _settle(owner, mapping)
    return answer


def find(region: Region, mapping_uuid: str) -> Mapping | None:
    """The mapping with this UUID, or None."""
    with region.owner.lock:
        return region.mappings.get(mapping_uuid)


def _required(region: Region, mapping_uuid: str) -> Mapping:
    mapping = find(region, mapping_uuid)
    if mapping is None:
        raise not_found()
    return mapping


def _function(region: Region, identifier: str) -> tuple[Ref, Function]:
    ref = names.parse(identifier, region.account, region.region)
    function = region.owner.find(ref)
    if function is None or function.version(ref.qualifier) is None:
        raise invalid("Function does not exist")
    return ref, function


def _merge(config: dict[str, Any], params: Values[str, Any]) -> None:
    """Put the settings given into *config*; empty ones of some kinds take theirs away."""
    for member in _SETTINGS:
        if params.get(member) is not None:
            config[member] = copy.deepcopy(params[member])
    if params.get("DestinationConfig") is not None:
        given = params["DestinationConfig"].get("OnFailure") or {}
        target = given.get("Destination")
        config["DestinationConfig"] = {"OnFailure": {"Destination": target} if target else {}}
    for member in ("FilterCriteria", "ScalingConfig"):
        if params.get(member) is None:
            continue
        value = {name: item for name, item in params[member].items() if item}
        if value:
            config[member] = copy.deepcopy(value)
        else:
            config.pop(member, None)


def _check_new(region: Region, kind: mapping_rules.Kind, arn: str, ref: Ref) -> None:
    for mapping in region.mappings.values():
        if mapping.source_arn != arn or mapping.function_arn != ref.arn or mapping.deleted:
            continue
        name = f"{ref.name}:{ref.qualifier}" if ref.qualifier else ref.name
        told = f"Please update or delete the existing mapping with UUID {mapping.uuid}"
        if kind is mapping_rules.SQS:
            raise conflict(
                f'An event source mapping with SQS arn (" {arn} ") and function (" {name} ") '
                f"already exists. {told}"
            )
        raise conflict(
            f'The event source arn (" {arn} ") and function (" {name} ") provided mapping '
            f"already exists. {told}"
        )


def _wait_idle(owner: Store, mapping: Mapping, verb: str) -> None:
    """Give a transition under way its moment to end, or refuse."""
    with owner.changed:
        done = owner.changed.wait_for(
            lambda: mapping.state not in _TRANSITIONS, owner.grace_seconds
        )
    if not done:
        raise AwsError(
            "ResourceInUseException",
            f"Cannot {verb} the event source mapping because it is in use.",
            400,
            Type="User",
        )


def _settle(owner: Store, mapping: Mapping) -> None:
    """Have the mapping reach the state that is wanted of it, in the background."""

    def settle() -> None:
        with owner.lock:
            if mapping.deleted:
                owner.at(mapping.account, mapping.region).mappings.pop(mapping.uuid, None)
            else:
                mapping.config["State"] = "Enabled" if mapping.enabled else "Disabled"
            owner.changed.notify_all()
        owner.tell(owner.on_mapping_changed, mapping)

    owner.hooks.defer(settle)

"""EventBridge beyond moto: events really reach their rules' targets, and schedules are kept."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.localaws import constraints, moto_hooks
from labkit.localaws.call import AwsError, Call, Forward, Reply
from labkit.localaws.protocol import operation_model
from labkit.localaws.services import event_patterns, event_rules
from labkit.localaws.services.event_archive_operations import ArchiveOperations
from labkit.localaws.services.event_archives import Archives
from labkit.localaws.services.event_rules import Snapshot, page
from labkit.localaws.services.event_targets import Invocation, Invoker
from labkit.localaws.services.event_timers import Timers

if TYPE_CHECKING:
    from moto.events.models import EventBus, EventsBackend, Rule

    from labkit.localaws.server import LocalAws

# An event that goes from bus to bus to bus is not passed on for ever.
_MOST_HOPS = 3


class EventsLayer(ArchiveOperations):
    """EventBridge's part of the front door."""

    service = "events"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        moto_hooks.silence_events()
        self._invoker = Invoker(aws, self._pass_on)
        self._archives: dict[tuple[str, str], Archives] = {}
        self._timers = Timers(aws, self._rule_now, self._trigger)
        self._guard = threading.Lock()

    def handler(self, operation: str) -> Callable[[Call, Forward], Any] | None:
        """The method for *operation*, behind the checks that AWS makes of every request."""
        method = super().handler(operation)
        model = operation_model("events", operation)

        def answer(call: Call, forward: Forward) -> Any:
            if operation == "PutEvents":
                event_rules.check_number(call.params.get("Entries") or [])
            if model is not None:
                constraints.check(model.input_shape, call.params)
            return method(call, forward) if method is not None else forward()

        return answer

    # -- events --------------------------------------------------------------------------------

    def PutEvents(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Take up to ten events; what is wrong with one is told of that one."""
        entries = call.params["Entries"]
        if sum(map(event_rules.entry_size, entries)) > event_rules.LARGEST_REQUEST_BYTES:
            raise AwsError(
                "ValidationException", "Total size of the entries in the request is over the limit."
            )
        results = [self._put(call, entry) for entry in entries]
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedEntryCount": failed, "Entries": results}

    def _put(self, call: Call, entry: Mapping[str, Any]) -> dict[str, str]:
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                return {
                    "ErrorCode": "InvalidArgument",
                    "ErrorMessage": f"Parameter {name} is not valid. Reason: {name} is a required "
                    "argument.",
                }
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            detail = None
        if not isinstance(detail, dict):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        if entry["Source"].startswith("aws."):
            return {
                "ErrorCode": "NotAuthorizedForSourceException",
                "ErrorMessage": "Not authorized for the source.",
            }
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": call.account_id,
            "time": _time(entry.get("Time"), self.aws.clock.now()),
            "region": call.region,
            "resources": list(entry.get("Resources") or ()),
            "detail": detail,
        }
        name = entry.get("EventBusName") or "default"
        arn = name if name.startswith("arn:") else _bus_arn(call.account_id, call.region, name)
        # A bus that is not there is no error; the event is simply gone.
        self._arrive(arn, event)
        return {"EventId": event["id"]}

    def receive(self, event: Mapping[str, Any]) -> None:
        """Take an event of an AWS service itself (``source`` aws.…) on its default bus."""
        self._arrive(_bus_arn(event["account"], event["region"], "default"), event)

    def TestEventPattern(self, call: Call, forward: Forward) -> dict[str, bool]:
        """Whether a pattern would let an event through."""
        pattern = event_rules.read_pattern(call.params["EventPattern"])
        try:
            event = json.loads(call.params["Event"])
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise AwsError("ValidationException", "Parameter Event is not valid.")
        return {"Result": pattern.matches(event)}

    def _arrive(
        self,
        bus_arn: str,
        event: Mapping[str, Any],
        hops: int = 0,
        only_rules: list[str] | None = None,
    ) -> None:
        """Show an event on a bus to its archives and rules, in the background."""
        came = self.aws.clock.now()
        region, account_id = bus_arn.split(":")[3:5]
        with self.aws.lock("events", account_id):
            bus = self._find_bus(account_id, region, bus_arn.rpartition("/")[2])
            rules = [Snapshot(rule) for rule in bus.rules.values()] if bus is not None else []
        if bus is None:
            return
        self.archives(account_id, region).keep(bus_arn, event)
        for rule in rules:
            if rule.state == "DISABLED" or not rule.pattern:
                continue
            if only_rules and rule.arn not in only_rules:
                continue
            if event_patterns.compiled(rule.pattern).matches(event):
                self._trigger(rule, event, came, hops)

    def _trigger(
        self, rule: Snapshot, event: Mapping[str, Any], came: float, hops: int = 0
    ) -> None:
        for name in ("MatchedEvents", "TriggeredRules"):
            self.aws.telemetry.count(
                "AWS/Events",
                name,
                {"RuleName": rule.name},
                account_id=rule.account_id,
                region=rule.region,
            )
        for target in rule.targets:
            self._invoker.invoke(
                Invocation(
                    event,
                    target,
                    rule.name,
                    rule.arn,
                    rule.account_id,
                    rule.region,
                    came,
                    hops=hops,
                )
            )

    def _pass_on(self, bus_arn: str, event: Mapping[str, Any], hops: int) -> None:
        if hops <= _MOST_HOPS:
            self._arrive(bus_arn, event, hops)

    # -- buses ---------------------------------------------------------------------------------

    def CreateEventBus(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """A new bus, described back to its maker."""
        reply = forward()
        description = call.params.get("Description")
        if not reply.ok or not description:
            return reply
        return {"EventBusArn": reply.parsed()["EventBusArn"], "Description": description}

    def ListEventBuses(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The buses whose names begin as asked, with all that is known of each."""
        prefix = call.params.get("NamePrefix") or ""
        with self.aws.lock("events", call.account_id):
            buses = self._backend(call.account_id, call.region).event_buses.values()
            found = [event_rules.shown_bus(bus) for bus in buses if bus.name.startswith(prefix)]
        return page("EventBuses", found, call.params)

    def DeleteEventBus(self, call: Call, forward: Forward) -> Reply:
        """Delete a bus, which has to be there."""
        self.must_have_bus(call, call.params["Name"])
        return forward()

    # -- rules ---------------------------------------------------------------------------------

    def PutRule(self, call: Call, forward: Forward) -> Reply:
        """Make or replace a rule; its schedule starts to count now."""
        params = call.params
        pattern, schedule = params.get("EventPattern"), params.get("ScheduleExpression")
        if not pattern and not schedule:
            raise AwsError(
                "ValidationException",
                "Parameter(s) EventPattern or ScheduleExpression must be specified.",
            )
        if schedule:
            if _bus_name(params) != "default":
                raise AwsError(
                    "ValidationException",
                    "ScheduleExpression is supported only on the default event bus.",
                )
            event_rules.read_schedule(schedule)
        if pattern:
            event_rules.read_pattern(pattern)
        reply = forward()
        if reply.ok:
            self._reschedule(call)
        return reply

    def DeleteRule(self, call: Call, forward: Forward) -> Reply:
        """Delete a rule without targets."""
        reply = forward()
        if reply.ok:
            self._reschedule(call)
        return reply

    def EnableRule(self, call: Call, forward: Forward) -> Reply:
        """Have a rule match again."""
        return self._switch(call, forward)

    def DisableRule(self, call: Call, forward: Forward) -> Reply:
        """Have a rule match nothing."""
        return self._switch(call, forward)

    def DescribeRule(self, call: Call, forward: Forward) -> Reply:
        """A rule as it was put."""
        self._must_exist(call, call.params["Name"])
        return forward()

    def ListTargetsByRule(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A rule's targets, several of which may be the same resource."""
        self._must_exist(call, call.params["Rule"])
        rule = self._rule_now(
            call.account_id, call.region, _bus_name(call.params), call.params["Rule"]
        )
        return page("Targets", rule.targets if rule is not None else [], call.params)

    def PutTargets(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """Add targets to a rule or replace those of the same id, five at most in all."""
        targets = call.params["Targets"]
        self._must_exist(call, call.params["Rule"])
        for target in targets:
            event_rules.check_target(target)
        with self.aws.lock("events", call.account_id):
            rule = self._rule(call, call.params["Rule"])
            ids = {one["Id"] for one in rule.targets} if rule is not None else set()
        if len(ids | {target["Id"] for target in targets}) > event_rules.MOST_TARGETS:
            raise AwsError(
                "LimitExceededException",
                "The requested resource exceeds the maximum number allowed.",
            )
        reply = forward()
        if not reply.ok:
            return reply
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def _switch(self, call: Call, forward: Forward) -> Reply:
        self._must_exist(call, call.params["Name"])
        reply = forward()
        if reply.ok:
            self._reschedule(call)
        return reply

    def _reschedule(self, call: Call) -> None:
        bus = _bus_name(call.params)
        self._timers.reset(call.account_id, call.region, bus, call.params["Name"])

    def _rule_now(self, account_id: str, region: str, bus: str, name: str) -> Snapshot | None:
        """A rule as it is at this moment."""
        with self.aws.lock("events", account_id):
            found = self._find_bus(account_id, region, bus)
            rule = found.rules.get(name) if found is not None else None
            return Snapshot(rule) if rule is not None else None

    def archives(self, account_id: str, region: str) -> Archives:
        """The archives of one account and region."""
        with self._guard:
            key = (account_id, region)
            if key not in self._archives:
                self._archives[key] = Archives(self.aws, account_id, region, self._replay)
            return self._archives[key]

    def _replay(self, bus_arn: str, event: Mapping[str, Any], rules: list[str]) -> None:
        self._arrive(bus_arn, event, only_rules=rules)

    # -- how -----------------------------------------------------------------------------------

    def _find_bus(self, account_id: str, region: str, name: str) -> EventBus | None:
        """moto's bus, which keeps the rules and their targets; under the lock."""
        return self._backend(account_id, region).event_buses.get(name)

    def _backend(self, account_id: str, region: str) -> EventsBackend:
        """moto's EventBridge; CloudFormation makes rules there too, so that is where to look."""
        import moto.backends

        return moto.backends.get_backend("events")[account_id][region]

    def _rule(self, call: Call, name: str) -> Rule | None:
        bus_name = _bus_name(call.params)
        bus = self._find_bus(call.account_id, call.region, bus_name)
        if bus is None:
            raise AwsError("ResourceNotFoundException", f"Event bus {bus_name} does not exist.")
        return bus.rules.get(name)

    def _must_exist(self, call: Call, name: str) -> None:
        with self.aws.lock("events", call.account_id):
            if self._rule(call, name) is None:
                raise AwsError(
                    "ResourceNotFoundException",
                    f"Rule {name} does not exist on EventBus {_bus_name(call.params)}.",
                )

    def must_have_bus(self, call: Call, arn: str) -> None:
        """Refuse to go on without the bus of this ARN or name."""
        name = arn.rpartition("/")[2]
        with self.aws.lock("events", call.account_id):
            if self._find_bus(call.account_id, call.region, name) is None:
                raise AwsError("ResourceNotFoundException", f"Event bus {name} does not exist.")


def _bus_name(params: Mapping[str, Any]) -> str:
    return (params.get("EventBusName") or "default").rpartition("/")[2]


def _bus_arn(account_id: str, region: str, name: str) -> str:
    return f"arn:aws:events:{region}:{account_id}:event-bus/{name}"


def _time(given: Any, now: float) -> str:
    if given is None:
        given = now
    moment = (
        datetime.fromtimestamp(given, UTC)
        if isinstance(given, (int, float))
        else given.astimezone(UTC)
    )
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

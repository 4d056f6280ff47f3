"""The operations of EventBridge's API that are about archives and replays."""

from __future__ import annotations

from typing import Any

from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.services.event_archives import Archives
from labkit.localaws.services.event_rules import page, read_pattern


class ArchiveOperations(ServiceLayer):
    """Part of EventBridge's layer; the rest of it says which archives and buses there are."""

    def archives(self, account_id: str, region: str) -> Archives:
        """The archives of one account and region."""
        raise NotImplementedError

    def must_have_bus(self, call: Call, arn: str) -> None:
        """Refuse to go on without the bus of this ARN or name."""
        raise NotImplementedError

    def CreateArchive(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Keep what comes to a bus."""
        self.must_have_bus(call, call.params["EventSourceArn"])
        if call.params.get("EventPattern"):
            read_pattern(call.params["EventPattern"])
        return self.archives(call.account_id, call.region).create(call.params)

    def UpdateArchive(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Change what an archive keeps, and for how long."""
        if not any(
            name in call.params for name in ("EventPattern", "RetentionDays", "Description")
        ):
            raise AwsError(
                "ValidationException",
                "At least one of EventPattern, RetentionDays or Description must be provided.",
            )
        if call.params.get("EventPattern"):
            read_pattern(call.params["EventPattern"])
        return self.archives(call.account_id, call.region).update(call.params)

    def DeleteArchive(self, call: Call, forward: Forward) -> None:
        """Delete an archive with its events."""
        self.archives(call.account_id, call.region).delete(call.params["ArchiveName"])

    def DescribeArchive(self, call: Call, forward: Forward) -> dict[str, Any]:
        """One archive."""
        return self.archives(call.account_id, call.region).describe(call.params["ArchiveName"])

    def ListArchives(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The archives that match."""
        params = call.params
        if params.get("EventSourceArn"):
            self.must_have_bus(call, params["EventSourceArn"])
        found = self.archives(call.account_id, call.region).list(
            params.get("NamePrefix") or "", params.get("EventSourceArn"), params.get("State")
        )
        return page("Archives", found, params)

    def StartReplay(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Send archived events to their bus again."""
        self.must_have_bus(call, call.params["Destination"]["Arn"])
        return self.archives(call.account_id, call.region).start_replay(call.params)

    def CancelReplay(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Stop a replay."""
        return self.archives(call.account_id, call.region).cancel_replay(call.params["ReplayName"])

    def DescribeReplay(self, call: Call, forward: Forward) -> dict[str, Any]:
        """One replay."""
        archives = self.archives(call.account_id, call.region)
        return archives.describe_replay(call.params["ReplayName"])

    def ListReplays(self, call: Call, forward: Forward) -> dict[str, Any]:
        """The replays that match."""
        params = call.params
        found = self.archives(call.account_id, call.region).list_replays(
            params.get("NamePrefix") or "", params.get("EventSourceArn"), params.get("State")
        )
        return page("Replays", found, params)

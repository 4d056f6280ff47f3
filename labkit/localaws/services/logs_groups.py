"""Log groups and streams of CloudWatch Logs, as far as moto answers otherwise than AWS."""

from __future__ import annotations

from typing import Any

from moto.core.utils import unix_time_millis

from labkit.localaws import log_groups
from labkit.localaws.call import AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.services.logs_requests import check, group_of, invalid, read_token, token

# Amazon CloudWatch Logs API Reference, "PutRetentionPolicy".
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
)  # fmt: skip


class GroupOperations(ServiceLayer):
    """Groups, streams and how long they keep what they hold."""

    def CreateLogGroup(self, call: Call, forward: Forward) -> Reply:
        """Make a group; moto does, we keep its class."""
        params = check(call)
        reply = forward()
        if reply.ok:
            group = log_groups.find_group(call.account_id, call.region, params["logGroupName"])
            known = log_groups.extras(group)
            known.log_class = params.get("logGroupClass") or "STANDARD"
            known.protected = bool(params.get("deletionProtectionEnabled"))
        return reply

    def DeleteLogGroup(self, call: Call, forward: Forward) -> Reply:
        """Remove a group with all it holds."""
        check(call)
        group = group_of(call)
        known = log_groups.extras(group)
        if known.protected:
            raise AwsError(
                "ValidationException",
                "The log group cannot be deleted because deletion protection is enabled.",
            )
        for subscription in known.subscriptions.values():
            subscription.ended = True
        return forward()

    def PutLogGroupDeletionProtection(self, call: Call, forward: Forward) -> None:
        """Set or take back a group's protection against deletion."""
        params = check(call)
        log_groups.extras(group_of(call)).protected = params["deletionProtectionEnabled"]

    def DescribeLogGroups(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of groups by prefix, pattern or class, in the order of their names."""
        params = check(call)
        prefix, pattern = params.get("logGroupNamePrefix"), params.get("logGroupNamePattern")
        if prefix and pattern:
            raise invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        identifiers = {log_groups.name_of(each) for each in params.get("logGroupIdentifiers") or ()}
        wanted_class = params.get("logGroupClass")
        after = read_token(params.get("nextToken")).get("after", "")
        limit = params.get("limit") or 50
        with self.aws.lock("logs", call.account_id):
            known = dict(log_groups.backend(call.account_id, call.region).groups)
        names = sorted(
            name
            for name, group in known.items()
            if name > after
            and name.startswith(prefix or "")
            and (pattern or "") in name
            and (not identifiers or name in identifiers)
            and wanted_class in (None, log_groups.extras(group).log_class)
        )
        answer: dict[str, Any] = {"logGroups": [self._described(known[n]) for n in names[:limit]]}
        if len(names) > limit:
            answer["nextToken"] = token(after=names[limit - 1])
        return answer

    def ListLogGroups(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of groups, briefly."""
        params = check(call)
        after = read_token(params.get("nextToken")).get("after", "")
        limit = params.get("limit") or 50
        with self.aws.lock("logs", call.account_id):
            known = dict(log_groups.backend(call.account_id, call.region).groups)
        pattern, wanted_class = params.get("logGroupNamePattern") or "", params.get("logGroupClass")
        anchored = pattern.startswith("^")
        names = sorted(
            name
            for name, group in known.items()
            if name > after
            and (name.startswith(pattern[1:]) if anchored else pattern in name)
            and wanted_class in (None, log_groups.extras(group).log_class)
        )
        groups = [
            {
                "logGroupName": name,
                "logGroupArn": known[name].arn,
                "logGroupClass": log_groups.extras(known[name]).log_class,
            }
            for name in names[:limit]
        ]
        answer: dict[str, Any] = {"logGroups": groups}
        if len(names) > limit:
            answer["nextToken"] = token(after=names[limit - 1])
        return answer

    def _described(self, group: Any) -> dict[str, Any]:
        known = log_groups.extras(group)
        with self.aws.lock("logs", group.account_id):
            log_groups.expire(group, int(self.aws.clock.now() * 1000))
            stored = sum(stream.stored_bytes for stream in group.streams.values())
        answer = {
            "logGroupName": group.name,
            "creationTime": int(unix_time_millis(group.creation_time)),
            "metricFilterCount": len(known.metric_filters),
            "arn": f"{group.arn}:*",
            "storedBytes": stored,
            "logGroupClass": known.log_class,
            "logGroupArn": group.arn,
            "deletionProtectionEnabled": known.protected,
        }
        if group.retention_in_days:
            answer["retentionInDays"] = int(group.retention_in_days)
        if group.kms_key_id:
            answer["kmsKeyId"] = group.kms_key_id
        return answer

    def PutRetentionPolicy(self, call: Call, forward: Forward) -> Reply:
        """Keep a group's events for so many days, one of a fixed list."""
        params = check(call)
        days = params["retentionInDays"]
        if days not in RETENTION_DAYS:
            raise invalid(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to "
                "satisfy constraint: Member must satisfy enum value set: "
                f"[{', '.join(map(str, RETENTION_DAYS))}]"
            )
        return forward()

    # -- streams -----------------------------------------------------------------------------

    def CreateLogStream(self, call: Call, forward: Forward) -> None:
        """Make a stream in a group."""
        params = check(call)
        group = group_of(call)
        with self.aws.lock("logs", call.account_id):
            if params["logStreamName"] in group.streams:
                raise AwsError(
                    "ResourceAlreadyExistsException", "The specified log stream already exists"
                )
            group.create_log_stream(params["logStreamName"])

    def DeleteLogStream(self, call: Call, forward: Forward) -> None:
        """Remove a stream with its events."""
        params = check(call)
        group = group_of(call)
        with self.aws.lock("logs", call.account_id):
            log_groups.find_stream(group, params["logStreamName"])
            del group.streams[params["logStreamName"]]

    def DescribeLogStreams(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of a group's streams, by name or by the time of their latest event."""
        params = check(call)
        by_time = params.get("orderBy") == "LastEventTime"
        prefix = params.get("logStreamNamePrefix")
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        group = group_of(call)
        descending = bool(params.get("descending"))
        limit = params.get("limit") or 50
        state = read_token(params.get("nextToken"))
        with self.aws.lock("logs", call.account_id):
            log_groups.expire(group, int(self.aws.clock.now() * 1000))
            streams = [
                stream for name, stream in group.streams.items() if name.startswith(prefix or "")
            ]

            def place(stream: Any) -> tuple[int, str]:
                newest = stream.events[-1].timestamp if stream.events else 0
                return (newest if by_time else 0, stream.log_stream_name)

            streams.sort(key=place, reverse=descending)
            if state:
                after = (state.get("time", 0), state.get("name", ""))
                streams = [
                    each for each in streams if (place(each) < after if descending
                                                 else place(each) > after)
                ]  # fmt: skip
            page = streams[:limit]
            answer: dict[str, Any] = {"logStreams": [_described_stream(each) for each in page]}
            if len(streams) > limit:
                newest, name = place(page[-1])
                answer["nextToken"] = token(time=newest, name=name)
        return answer


def _described_stream(stream: Any) -> dict[str, Any]:
    answer = {
        "logStreamName": stream.log_stream_name,
        "creationTime": int(unix_time_millis(stream.creation_time)),
        "arn": stream.arn,
        # CloudWatch Logs has reported zero here since 2019.
        "storedBytes": 0,
    }
    if stream.events:
        answer["firstEventTimestamp"] = stream.events[0].timestamp
        answer["lastEventTimestamp"] = stream.events[-1].timestamp
        answer["lastIngestionTime"] = getattr(stream, "lab_last_ingestion", 0)
        answer["uploadSequenceToken"] = f"{stream.upload_sequence_token:056d}"
    return answer

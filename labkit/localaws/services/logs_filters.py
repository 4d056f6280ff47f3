"""Metric filters and subscription filters of CloudWatch Logs: making, showing, removing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.localaws import log_groups
from labkit.localaws.call import AwsError, Call, Forward, ServiceLayer
from labkit.localaws.log_filters import MetricFilter, check_transformation
from labkit.localaws.log_patterns import BadPattern, Pattern, compile_pattern
from labkit.localaws.log_subscriptions import Subscription
from labkit.localaws.services.logs_requests import check, group_of, invalid, read_token, token

MAX_METRIC_FILTERS = 100
MAX_SUBSCRIPTIONS = 2
_MAX_PAGE = 50


class FilterOperations(ServiceLayer):
    """What is done with log events that match a pattern."""

    def PutMetricFilter(self, call: Call, forward: Forward) -> None:
        """Make or replace a metric filter; it sees what comes in from now on."""
        params = check(call)
        pattern = _compiled(params["filterPattern"])
        transformation = params["metricTransformations"][0]
        try:
            check_transformation(transformation, pattern)
        except BadPattern as problem:
            raise invalid(str(problem)) from problem
        if transformation["metricNamespace"].startswith("AWS/"):
            raise invalid("metricNamespace must not start with AWS/")
        known = log_groups.extras(group_of(call)).metric_filters
        name = params["filterName"]
        if name not in known and len(known) >= MAX_METRIC_FILTERS:
            raise AwsError("LimitExceededException", "Resource limit exceeded.")
        known[name] = MetricFilter(
            name,
            params["logGroupName"],
            params["filterPattern"],
            transformation,
            int(self.aws.clock.now() * 1000),
        )

    def DescribeMetricFilters(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of metric filters, of a group or of a metric."""
        params = check(call)
        name, namespace = params.get("metricName"), params.get("metricNamespace")
        if bool(name) != bool(namespace):
            raise invalid("metricName and metricNamespace must be specified together.")
        if params.get("logGroupName"):
            groups = [group_of(call)]
        else:
            with self.aws.lock("logs", call.account_id):
                groups = list(log_groups.backend(call.account_id, call.region).groups.values())
        filters = [
            each
            for group in groups
            for each in log_groups.extras(group).metric_filters.values()
            if each.name.startswith(params.get("filterNamePrefix") or "")
            and name in (None, each.transformation["metricName"])
            and namespace in (None, each.transformation["metricNamespace"])
        ]
        filters.sort(key=lambda each: (each.name, each.group_name))
        page, answer = _paged(filters, params)
        return {"metricFilters": [each.described() for each in page], **answer}

    def DeleteMetricFilter(self, call: Call, forward: Forward) -> None:
        """Remove a metric filter; the metric keeps what it has."""
        params = check(call)
        known = log_groups.extras(group_of(call)).metric_filters
        if known.pop(params["filterName"], None) is None:
            raise AwsError(
                "ResourceNotFoundException", "The specified metric filter does not exist."
            )

    def TestMetricFilter(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Which of the given messages a pattern matches, and what it extracts from them."""
        params = check(call)
        pattern = _compiled(params["filterPattern"])
        matches = []
        for number, message in enumerate(params["logEventMessages"], 1):
            extracted = pattern.extract(message)
            if extracted is not None:
                matches.append(
                    {"eventNumber": number, "eventMessage": message, "extractedValues": extracted}
                )
        return {"matches": matches}

    # -- subscriptions -----------------------------------------------------------------------

    def PutSubscriptionFilter(self, call: Call, forward: Forward) -> None:
        """Make or replace a subscription, once a test has shown that deliveries would arrive."""
        params = check(call)
        _compiled(params["filterPattern"])
        subscription = Subscription(
            params["filterName"],
            params["logGroupName"],
            params["filterPattern"],
            params["destinationArn"],
            params.get("roleArn"),
            params.get("distribution") or "ByLogStream",
            int(self.aws.clock.now() * 1000),
        )
        arn = subscription.destination_arn.split(":")
        if len(arn) < 6 or arn[0] != "arn":
            raise invalid("The specified destination ARN is invalid.")
        if arn[2] == "lambda" and arn[4] != call.account_id:
            # Told before anybody looks whether the group is there.
            self.aws.telemetry.logs.subscriptions.check(subscription, call.account_id, call.region)
        known = log_groups.extras(group_of(call)).subscriptions
        if subscription.name not in known and len(known) >= MAX_SUBSCRIPTIONS:
            raise AwsError("LimitExceededException", "Resource limit exceeded.")
        self.aws.telemetry.logs.subscriptions.check(subscription, call.account_id, call.region)
        replaced = known.get(subscription.name)
        if replaced is not None:
            replaced.ended = True
            subscription.created_ms = replaced.created_ms
        known[subscription.name] = subscription

    def DescribeSubscriptionFilters(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A page of a group's subscription filters."""
        params = check(call)
        filters = [
            each
            for each in log_groups.extras(group_of(call)).subscriptions.values()
            if each.name.startswith(params.get("filterNamePrefix") or "")
        ]
        filters.sort(key=lambda each: each.name)
        page, answer = _paged(filters, params)
        return {"subscriptionFilters": [each.described() for each in page], **answer}

    def DeleteSubscriptionFilter(self, call: Call, forward: Forward) -> None:
        """Remove a subscription; what waits for delivery is dropped with it."""
        params = check(call)
        removed = log_groups.extras(group_of(call)).subscriptions.pop(params["filterName"], None)
        if removed is None:
            raise AwsError(
                "ResourceNotFoundException", "The specified subscription filter does not exist."
            )
        removed.ended = True


def _compiled(text: str) -> Pattern:
    try:
        return compile_pattern(text)
    except BadPattern as problem:
        raise invalid(str(problem)) from problem


def _paged(filters: Sequence[Any], params: Mapping[str, Any]) -> tuple[Sequence[Any], dict]:
    first = int(read_token(params.get("nextToken")).get("first", 0))
    last = first + (params.get("limit") or _MAX_PAGE)
    answer = {"nextToken": token(first=last)} if last < len(filters) else {}
    return filters[first:last], answer

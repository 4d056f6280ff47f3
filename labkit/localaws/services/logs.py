"""CloudWatch Logs beyond moto: events in order, filters that work, queries that compute.

Amazon CloudWatch Logs API Reference and User Guide. Tags, resource policies, destinations, exports
and deliveries stay with moto.
"""

from __future__ import annotations

from labkit.localaws.services.logs_events import EventOperations
from labkit.localaws.services.logs_filters import FilterOperations
from labkit.localaws.services.logs_groups import GroupOperations
from labkit.localaws.services.logs_queries import QueryOperations


class LogsLayer(GroupOperations, EventOperations, FilterOperations, QueryOperations):
    """All operations of CloudWatch Logs that are not moto's."""

    service = "logs"

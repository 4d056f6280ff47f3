"""Metrics and log events as AWS emits them, from what passes the front door and what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.localaws.call import Call, Reply

if TYPE_CHECKING:
    from labkit.localaws.server import LocalAws


class Telemetry:
    """Turns what happened into CloudWatch metrics and log events."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws

    def observe(self, call: Call, reply: Reply) -> None:
        """Meter one answered call."""

"""What a function writes, cut into log events.

Standard output and error and the framed log of awslambdaric arrive through one pipe, in the order
in which they were written. A line is one event; a frame (one call of the logging module) is one
event whatever line ends it holds: as AWS does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

# A frame: type, length of the message, microseconds since the epoch, message (see awslambdaric's
# FramedTelemetryLogSink). No text in UTF-8 begins like this.
_MAGIC = b"\xa5\x5a\x00"
_HEADER = 16
_LONGEST_FRAME = 16 << 20
# CloudWatch Logs takes 256 KB an event, 26 bytes of it its own (CloudWatch Logs quotas).
MAX_EVENT_BYTES = 262_144 - 26


@dataclass(frozen=True)
class Line:
    """One message; for frames also ``timestamp_us`` (the function's own clock) and ``level``.

    ``level`` counts as the frames do: 1 TRACE, 2 DEBUG, 3 INFO, 4 WARN, 5 ERROR, 6 FATAL; 0 is none.
    """

    message: str
    timestamp_us: int | None = None
    level: int = 0


LEVELS = {"TRACE": 1, "DEBUG": 2, "INFO": 3, "WARN": 4, "ERROR": 5, "FATAL": 6}


def level_of(line: Line) -> int:
    """The level that AWS's filter gives a message: that of its frame or JSON, otherwise INFO."""
    if line.level:
        return line.level
    if line.message.startswith("{"):
        try:
            level = json.loads(line.message).get("level")
        except ValueError:
            return LEVELS["INFO"]
        name = str(level).upper()
        return LEVELS.get({"WARNING": "WARN", "CRITICAL": "FATAL"}.get(name, name), LEVELS["INFO"])
    return LEVELS["INFO"]


class OutputParser:
    """Turns the bytes of the pipe into messages; keeps what is not whole yet."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Line]:
        """The messages that *data* completes."""
        buffer = self._rest + data
        lines: list[Line] = []
        position = 0
        while position < len(buffer):
            if buffer.startswith(_MAGIC, position):
                end = self._frame(buffer, position, lines)
                if end is None:
                    break
                if end > position:
                    position = end
                    continue
            newline = buffer.find(b"\n", position)
            frame = buffer.find(_MAGIC, position + 1)
            if 0 <= frame and (newline < 0 or frame < newline):
                # A frame begins behind unfinished text: the text ends here.
                end = frame
            elif newline >= 0:
                end = newline + 1
            elif len(buffer) - position >= MAX_EVENT_BYTES:
                end = position + MAX_EVENT_BYTES
            else:
                break
            self._add(lines, buffer[position:end])
            position = end
        self._rest = buffer[position:]
        return lines

    def finish(self) -> list[Line]:
        """What is left when no more is to come for now."""
        lines: list[Line] = []
        rest, self._rest = self._rest, b""
        if rest.startswith(_MAGIC):
            rest = rest[_HEADER:]
        self._add(lines, rest)
        return lines

    def _frame(self, buffer: bytes, start: int, lines: list[Line]) -> int | None:
        """Where the frame at *start* ends; None when it is not whole, *start* when it is none."""
        if len(buffer) - start < _HEADER:
            return None
        length = int.from_bytes(buffer[start + 4 : start + 8], "big")
        if length > _LONGEST_FRAME:
            return start
        end = start + _HEADER + length
        if end > len(buffer):
            return None
        timestamp = int.from_bytes(buffer[start + 8 : start + 16], "big")
        self._add(lines, buffer[start + _HEADER : end], timestamp, buffer[start + 3] >> 2)
        return end

    @staticmethod
    def _add(lines: list[Line], data: bytes, timestamp: int | None = None, level: int = 0) -> None:
        while len(data) > MAX_EVENT_BYTES:
            cut = MAX_EVENT_BYTES
            # Not within a character.
            while cut > MAX_EVENT_BYTES - 4 and data[cut] & 0xC0 == 0x80:
                cut -= 1
            lines.append(Line(data[:cut].decode("utf-8", "replace"), timestamp, level))
            data = data[cut:]
        if data:
            lines.append(Line(data.decode("utf-8", "replace"), timestamp, level))

"""What the runtime must know of a function to run it: :class:`FunctionVersion`.

The control plane makes one for every published version and one for each state of ``$LATEST``;
the runtime only reads it. Two objects with the same :attr:`FunctionVersion.key` share execution
environments, and a new ``revision_id`` of the same version retires those of the old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, eq=False)
class CodeArchive:
    """A zip file that the runtime unpacks: its bytes, or a path to them, and their SHA-256.

    ``sha256`` is the hexadecimal digest; left empty, it is computed from the bytes.
    """

    data: bytes | None = None
    path: Path | None = None
    sha256: str = ""

    def read(self) -> bytes:
        """The bytes of the zip file."""
        if self.data is not None:
            return self.data
        if self.path is None:
            raise ValueError("a code archive needs data or a path")
        return Path(self.path).read_bytes()

    @cached_property
    def digest(self) -> str:
        """The hexadecimal SHA-256 of the zip file: what unpacked copies are kept under."""
        return self.sha256 or hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer version: its ARN and its zip file, unpacked into ``/opt``."""

    arn: str
    archive: CodeArchive


@dataclass(frozen=True, eq=False)
class FunctionVersion:
    """A function as configured at one moment: all that decides how its code runs.

    ``arn`` is the unqualified function ARN, ``version`` is ``$LATEST`` or a number, ``memory_mb``
    and ``ephemeral_mb`` are MB as configured, ``timeout_seconds`` is the function's timeout,
    ``log_format`` is ``Text`` or ``JSON`` and the two log levels are those of LoggingConfig
    (``""`` or None: AWS's default, INFO in the JSON format). ``layers`` are in the order of the
    configuration: a later layer's files win.
    """

    function_name: str
    arn: str
    account_id: str
    region: str
    runtime: str
    handler: str
    code: CodeArchive
    version: str = "$LATEST"
    memory_mb: int = 128
    timeout_seconds: float = 3
    ephemeral_mb: int = 512
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    role_arn: str = ""
    revision_id: str = ""
    log_group: str = ""
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What environments are pooled by: function, version and configuration revision."""
        return (self.arn, self.version, self.revision_id or self.code.digest)

    @property
    def log_group_name(self) -> str:
        """The log group: the configured one, or ``/aws/lambda/<function name>``."""
        return self.log_group or f"/aws/lambda/{self.function_name}"

"""Every AWS call made through the lab, kept so that it can be shown.

botocore tells before and after each call; nothing of what a helper does is hidden.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from labkit.awscli import command, shortened
from labkit.display import Table

# Parameters whose values are nobody's business, whatever service they belong to.
_SECRET = re.compile(
    r"password|passphrase|secret|private_?key|plaintext|customerkey$|authparameters|"
    r"challengeresponses|access_?token|refresh_?token|session_?token|api_?key$",
    re.IGNORECASE,
)
# ... unless they only say which secret is meant.
_IDENTIFIER = re.compile(r"(Id|Arn|Name|Stage|Types?|Version|Md5|MD5|Algorithm)$")
_KEPT = 5_000

Seen = Callable[["AwsCall", Mapping[str, Any], Mapping[str, Any]], None]


@dataclass(frozen=True)
class AwsCall:
    """One call: what was asked, how it ended, how long it took; secrets are left out."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    status: int | None
    error: str | None
    milliseconds: float

    @property
    def cli(self) -> str:
        """The same call as a command of the AWS CLI."""
        return command(self.service, self.operation, self.parameters)

    def __repr__(self) -> str:
        ending = self.error or self.status or "no answer"
        return f"{self.service}.{self.operation} -> {ending} in {self.milliseconds:.0f} ms"


class Calls:
    """The calls of one lab, oldest first; shows itself as a table of the last ones."""

    def __init__(self, calls: list[AwsCall] | None = None) -> None:
        self._calls: deque[AwsCall] = deque(calls or (), maxlen=_KEPT)
        self._guard = threading.Lock()
        self._watchers: list[Calls] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[AwsCall]:
        return iter(list(self._calls))

    def __getitem__(self, which: int | slice) -> AwsCall | Calls:
        found = list(self._calls)[which]
        return Calls(found) if isinstance(which, slice) else found

    def last(self, count: int = 1) -> Calls:
        """The last *count* calls."""
        return Calls(list(self._calls)[-count:] if count else [])

    def of(self, service: str, operation: str | None = None) -> Calls:
        """The calls of one service (``sqs``) or of one operation (``SendMessage``)."""
        return Calls([c for c in self if c.service == service and operation in (None, c.operation)])

    @contextmanager
    def watch(self) -> Iterator[Calls]:
        """The calls made inside the ``with`` block."""
        seen = Calls()
        with self._guard:
            self._watchers.append(seen)
        try:
            yield seen
        finally:
            with self._guard:
                self._watchers.remove(seen)

    def clear(self) -> None:
        """Forget all calls so far."""
        with self._guard:
            self._calls.clear()

    @property
    def table(self) -> Table:
        """The calls as a table: operation, parameters, status with error code, milliseconds, parameters."""
        return Table(
            ["call", "status", "ms", "parameters"],
            [
                [
                    f"{call.service}.{call.operation}",
                    " ".join(str(part) for part in (call.status, call.error) if part),
                    f"{call.milliseconds:.0f}",
                    shortened(call.parameters, 160),
                ]
                for call in self
            ],
        )

    @property
    def cli(self) -> Table:
        """The calls as commands of the AWS CLI, in order."""
        return Table(["the same on the command line"], [[call.cli] for call in self])

    def __repr__(self) -> str:
        return f"{len(self)} AWS calls\n{self.last(20).table}"

    def _repr_html_(self) -> str:
        shown = self.last(20)
        title = f"{len(self)} AWS calls" + (", the last 20" if len(self) > 20 else "")
        return (
            f"<p>{title}</p>{shown.table._repr_html_()}"
            f"<details><summary>The same as AWS CLI commands</summary>"
            f"{shown.cli._repr_html_()}</details>"
        )

    def _add(self, call: AwsCall) -> None:
        with self._guard:
            self._calls.append(call)
            for watcher in self._watchers:
                watcher._calls.append(call)

    # -- botocore's side ---------------------------------------------------------------------

    def attach(self, events: Any, seen: Seen | None = None) -> None:
        """Keep every call of the botocore session whose event system this is.

        *seen* is told of each call that AWS answered: the call, its raw parameters, the answer.
        """

        def before(params: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
            context["labkit"] = (params, model, time.perf_counter())

        def after(http_response: Any, parsed: Any, model: Any, context: Any, **_: Any) -> None:
            params, _, started = context.pop("labkit", ({}, model, time.perf_counter()))
            error = (
                parsed.get("Error", {}).get("Code") if http_response.status_code >= 300 else None
            )
            call = AwsCall(
                service=model.service_model.service_name,
                operation=model.name,
                parameters=redacted(params),
                status=http_response.status_code,
                error=error,
                milliseconds=(time.perf_counter() - started) * 1000,
            )
            self._add(call)
            if seen is not None:
                seen(call, params, parsed)

        def failed(exception: Any, context: Any, **_: Any) -> None:
            if "labkit" not in context:
                return
            params, model, started = context.pop("labkit")
            call = AwsCall(
                service=model.service_model.service_name,
                operation=model.name,
                parameters=redacted(params),
                status=None,
                error=type(exception).__name__,
                milliseconds=(time.perf_counter() - started) * 1000,
            )
            self._add(call)

        events.register_last("before-parameter-build.*.*", before)
        events.register("after-call.*.*", after)
        events.register("after-call-error.*.*", failed)


def redacted(params: Mapping[str, Any]) -> dict[str, Any]:
    """*params* with secrets replaced by ``(redacted)`` and long bodies by their size."""
    secure = params.get("Type") == "SecureString"
    return {
        name: "(redacted)" if secure and name == "Value" else _redact(name, value)
        for name, value in params.items()
    }


def _redact(name: str, value: Any) -> Any:
    if _SECRET.search(name) and not _IDENTIFIER.search(name):
        return "(redacted)"
    if isinstance(value, Mapping):
        return {key: _redact(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(name, inner) for inner in value]
    if isinstance(value, (bytes, bytearray)) and (len(value) > 2_000 or _binary(value)):
        return Blob(len(value))
    if hasattr(value, "read"):
        return Blob(None)
    return bytes(value) if isinstance(value, bytearray) else value


@dataclass(frozen=True)
class Blob:
    """Bytes that are not worth keeping; only their number is."""

    size: int | None

    def __repr__(self) -> str:
        return "<a stream>" if self.size is None else f"<{self.size:,} bytes>"


def _binary(value: bytes | bytearray) -> bool:
    try:
        bytes(value).decode()
    except UnicodeDecodeError:
        return True
    return False

"""Functions and pools for the runtime's tests: made from source text, logs kept to look at."""

from __future__ import annotations

import io
import itertools
import json
import sys
import textwrap
import threading
import time
import zipfile
from typing import Any

from labkit.localaws.runtime import CodeArchive, Environments, FunctionVersion, InvocationResult

ACCOUNT = "123456789012"
REGION = "us-east-1"
# The best that this machine can do, and the two ways of those that can do less.
MODES = ["auto", "direct"]
KEEPERS = ["auto", "kept"] if sys.platform == "linux" else ["auto"]
_revisions = itertools.count(1)


def zipped(files: dict[str, str | bytes]) -> CodeArchive:
    """A package of *files*, path to content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return CodeArchive(data=buffer.getvalue())


def function(source: str = "", *, name: str = "shop", files: Any = None, **config: Any):
    """A function version whose ``app.handler`` is in *source*; each call is a new revision."""
    package = {"app.py": textwrap.dedent(source), **(files or {})}
    config.setdefault("handler", "app.handler")
    config.setdefault("memory_mb", 256)
    config.setdefault("timeout_seconds", 10)
    config.setdefault("revision_id", f"revision-{next(_revisions)}")
    config.setdefault("runtime", "python3.12")
    return FunctionVersion(
        function_name=name,
        arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
        account_id=ACCOUNT,
        region=REGION,
        code=zipped(package),
        **config,
    )


class Lab:
    """A pool with its log, a clock that can be moved, and credentials that can be seen."""

    def __init__(self, directory: Any, **options: Any) -> None:
        self.ahead = 0.0
        self.events: list[tuple[str, str, int, str]] = []
        self.lock = threading.Lock()
        self.session = {
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": "secret",
            "SessionToken": "token",
        }
        options.setdefault("endpoint_url", "http://127.0.0.1:9")
        self.pool = Environments(
            directory,
            region=REGION,
            credentials=lambda version: self.session,
            on_log=self.on_log,
            now=self.now,
            **options,
        )

    def now(self) -> float:
        """Lab time: the machine's, moved."""
        return time.time() + self.ahead

    def on_log(self, environment: Any, request_id: str, events: list[tuple[int, str]]) -> None:
        with self.lock:
            self.events += [
                (environment.log_stream, request_id, when, text) for when, text in events
            ]

    def invoke(self, version: FunctionVersion, event: Any = None, **more: Any) -> InvocationResult:
        """Invoke with *event* as JSON."""
        return self.pool.invoke(version, json.dumps(event).encode(), **more)

    def value(self, version: FunctionVersion, event: Any = None, **more: Any) -> Any:
        """The decoded result of an invocation that must succeed."""
        result = self.invoke(version, event, **more)
        assert result.function_error is None, (result.payload, self.messages(result))
        return json.loads(result.payload)

    def error(self, version: FunctionVersion, event: Any = None, **more: Any) -> Any:
        """The error envelope of an invocation that must fail."""
        result = self.invoke(version, event, **more)
        assert result.function_error == "Unhandled", result.payload
        return json.loads(result.payload)

    def messages(self, result: InvocationResult) -> list[str]:
        """What was logged for one invocation."""
        return [text for _, request, _, text in self.events if request == result.request_id]

    def stream(self, result: InvocationResult) -> list[str]:
        """All that the invocation's environment ever logged."""
        return [text for stream, _, _, text in self.events if stream == result.log_stream]

"""The Runtime API of one environment: who waits for an event, what was answered.

Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes". Works on a selector
that its owner turns: every registered object's data is called when it is ready.
"""

from __future__ import annotations

import selectors
from dataclasses import dataclass

from labkit.localaws.runtime import result
from labkit.localaws.runtime.api import MAX_RESPONSE_BYTES, Connection, Listener, Request
from labkit.localaws.runtime.result import Fault

_PREFIX = "/2018-06-01/runtime/"


@dataclass
class Answer:
    """What the runtime posted for an invocation: its result, or an error envelope."""

    payload: bytes
    is_error: bool
    fault: Fault | None = None


class RuntimeApi:
    """``address`` is what AWS_LAMBDA_RUNTIME_API holds; ``answer`` and ``init_error`` come in.

    ``waiting`` is true while the runtime waits for an event.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._listener = Listener()
        self._connections: set[Connection] = set()
        self._parked: Connection | None = None
        self._expected = ""
        self.address = self._listener.address
        self.answer: Answer | None = None
        self.init_error: Fault | None = None
        selector.register(self._listener.sock, selectors.EVENT_READ, self._accept)

    @property
    def waiting(self) -> bool:
        """Whether the runtime has asked for the next event."""
        return self._parked is not None

    def begin_init(self) -> None:
        """Forget an earlier process: a new one is about to call."""
        self.init_error = None
        self.hang_up()

    def send_event(self, request_id: str, payload: bytes, headers: list[tuple[str, str]]) -> None:
        """Give the waiting runtime its event; only the answer for *request_id* counts now."""
        self.answer = None
        self._expected = request_id
        parked, self._parked = self._parked, None
        assert parked is not None
        parked.answer(200, payload, headers)
        self._watch(parked)

    def hang_up(self) -> None:
        """Close all connections."""
        for connection in list(self._connections):
            self._drop(connection)

    def close(self) -> None:
        """Close everything, the address included."""
        self.hang_up()
        self._listener.close()

    def _accept(self) -> None:
        connection = self._listener.accept()
        if connection is not None:
            self._connections.add(connection)
            self._selector.register(
                connection.sock, selectors.EVENT_READ, lambda: self._receive(connection)
            )

    def _receive(self, connection: Connection) -> None:
        if connection.outgoing:
            connection.flush()
        requests = connection.receive()
        if requests is None:
            self._drop(connection)
            return
        for request in requests:
            self._handle(connection, request)
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        """Ask to be told when the socket takes more, as long as there is more to send."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outgoing else 0)
        key = self._selector.get_key(connection.sock)
        if key.events != wanted:
            self._selector.modify(connection.sock, wanted, key.data)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._parked is connection:
            self._parked = None
        self._selector.unregister(connection.sock)
        connection.close()

    def _handle(self, connection: Connection, request: Request) -> None:
        path = request.path.removeprefix(_PREFIX)
        match (request.method, *path.split("/")):
            case ("GET", "invocation", "next"):
                self._parked = connection
            case ("POST", "invocation", request_id, ("response" | "error") as kind):
                self._take_answer(connection, request, request_id, kind)
            case ("POST", "init", "error"):
                kind = request.headers.get("lambda-runtime-function-error-type", "Runtime.Unknown")
                said = result.reported_type(request.body) or kind
                self.init_error = Fault(said, request.body, kind)
                connection.answer_json(202, status="OK")
            case _:
                connection.answer_json(404, errorType="NotFound", errorMessage="Not found")

    def _take_answer(
        self, connection: Connection, request: Request, request_id: str, kind: str
    ) -> None:
        if request_id != self._expected:
            connection.answer_json(
                400, errorType="InvalidRequestID", errorMessage="Invalid request ID"
            )
        elif self.answer is not None:
            connection.answer_json(
                403, errorType="InvalidStateTransition", errorMessage="State transition is denied"
            )
        elif request.size > MAX_RESPONSE_BYTES:
            self.answer = Answer(b"", True, result.too_large())
            connection.answer_json(
                413,
                errorType="RequestEntityTooLarge",
                errorMessage=f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).",
            )
        else:
            self.answer = Answer(request.body, kind == "error")
            connection.answer_json(202, status="OK")

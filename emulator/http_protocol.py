"""uvicorn's HTTP protocol, with access to the connection for faults and with limits on unfinished requests."""

from __future__ import annotations

import asyncio
import select
import sys
from typing import Any, Callable, Optional

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .cage.peers import Address
from .connections import BODY_RATE, BODY_SECONDS, HEAD_SECONDS, Connections
from .half_closed import HalfClosedConnections
from .platform.errors import ApiError
from .wire.client_disconnect import CONNECTION, Connection
from .wire.fault_injection.connection import TRANSPORT
from .wire.problem import problem
from .writes import JoinedWrites

#: The response for a connection that has no descriptor of its own.
FULL = ApiError(
    503,
    "too few file descriptors are left for another connection; close some, or raise the limit (`ulimit -n`) and start"
    " the emulator again",
    retry_after=1,
)


class HttpProtocol(H11Protocol):
    """Serve one HTTP connection.

    The scope of each request holds the connection's transport, so that a fault can break it. A client that leaves a
    request unfinished gets a 408 after a while (see connections.py), and a connection on which no request is in
    progress is closed when its descriptor is needed.

    Args:
        connections: Where this connection is listed while it waits for its client.
        half_closed: Where it is listed while it responds to a client that has closed its sending side.
        is_full: This connection uses one of the descriptors that are reserved for work, so it serves one request and
            no WebSocket.
    """

    def __init__(
        self,
        *arguments: Any,
        connections: Connections,
        half_closed: HalfClosedConnections,
        is_full: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._connections = connections
        self._half_closed = half_closed
        self._has_eof = False
        self._is_full = is_full
        self._awaited = ""  # head, body, idle (another request, or none), or empty: nothing
        self._since = 0.0
        self._received = 0
        self._disconnect_listeners: list[Callable[[], None]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._writes = JoinedWrites(transport, self.loop)
        self.transport = self._writes  # type: ignore[assignment]
        app = _for_one_request(self.app) if self._is_full else self.app
        self.app = with_transport(_with_joined_head(app, self._writes), self._writes, self)
        self._update_awaited(0)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._connections.forget(self)
        self._half_closed.discard(self)
        super().connection_lost(exc)
        self._report_disconnect()

    def listen_for_disconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the client disconnects; soon, if it has."""
        self._disconnect_listeners.append(listener)
        if self.transport.is_closing():
            self.loop.call_soon(listener)
        else:
            self.flow.resume_reading()  # otherwise the end is not noticed

    def ignore_disconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        self._disconnect_listeners.remove(listener)

    def _report_disconnect(self) -> None:
        for listener in tuple(self._disconnect_listeners):
            listener()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is self:  # otherwise it is a WebSocket's now
            self._update_awaited(len(data))

    def on_response_complete(self) -> None:
        self._writes.flush()
        super().on_response_complete()
        self._update_awaited(0)
        if self._has_eof:
            self._finish_input()

    # --- the end of what the client sends

    def eof_received(self) -> bool:  # type: ignore[override]
        """Decide about a client that sends no more. Returns whether the connection stays open, to respond."""
        self._has_eof = True
        return self._finish_input()

    def _finish_input(self) -> bool:
        """Go on with a request that is complete; answer one that cannot become complete, and close the connection."""
        if self.transport.is_closing():
            return False
        cycle = self.cycle
        has_request = cycle is not None and not cycle.response_complete
        if has_request and (self.conn.their_state is not h11.SEND_BODY or cycle.response_started):
            self._half_closed.add(self)
            return True
        self._half_closed.discard(self)
        if has_request:
            self._answer(ApiError(400, "the request ended before its body was complete"))
        elif self.conn.trailing_data[0]:
            self._answer(ApiError(400, "the request ended before its head was complete"))
        else:
            self.transport.close()
        return False

    @property
    def ends(self) -> tuple[Address, Address]:
        return self.client or ("", 0), (self.server[0], self.server[1] or 0) if self.server else ("", 0)

    def client_is_gone(self) -> None:
        self.transport.abort()

    # --- what the client has to send

    def _update_awaited(self, received: int) -> None:
        """Note what the client has to send now, and that it sent `received` bytes."""
        awaited = self._awaited_part()
        if not awaited:
            self._awaited = ""
            self._connections.forget(self)
            return
        if awaited != self._awaited:
            self._awaited, self._since, self._received = awaited, self.loop.time(), 0
        self._received += received
        self._connections.wait_for(self, awaited == "idle")

    def _awaited_part(self) -> str:
        if self.transport.is_closing():
            return ""
        cycle = self.cycle
        if self.conn.their_state is h11.SEND_BODY:
            # A server that has begun to answer reads the rest at its own pace, or not at all.
            return "" if cycle is not None and cycle.response_started and not cycle.response_complete else "body"
        if cycle is not None and not cycle.response_complete:
            return ""
        has_begun = self.timeout_keep_alive_task is None or self.conn.trailing_data[0]
        return "head" if has_begun else "idle"

    def expire(self, now: float) -> None:
        if self._awaited == "head" and now - self._since > HEAD_SECONDS:
            self._give_up(f"the head of the request did not arrive within {HEAD_SECONDS:g} s", self._received > 0)
        elif self._awaited == "body":
            if self.flow.read_paused:  # the application has not read what has arrived
                self._since, self._received = now, 0
            elif now - self._since > BODY_SECONDS + self._received / BODY_RATE:
                self._give_up(f"the body of the request was sent too slowly ({self._received} bytes so far)", True)

    def evict(self) -> bool:
        if _has_input(self.transport):
            return False
        if self._awaited == "idle" or (self._awaited == "head" and not self._received):
            self.transport.close()
        else:
            self._answer(FULL)
        return True

    def _give_up(self, detail: str, has_begun: bool) -> None:
        if has_begun:
            self._answer(ApiError(408, detail))
        else:
            self.transport.close()

    def _answer(self, error: ApiError) -> None:
        """Answer in place of the application, to which the client appears disconnected, and close the connection."""
        self._connections.forget(self)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            self._report_disconnect()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            response = problem(error)
            headers = [*response.raw_headers, (b"connection", b"close")]
            events = [
                h11.Response(status_code=error.status, headers=headers),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ]
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    # --- requests that uvicorn does not pass on

    def send_400_response(self, msg: str) -> None:
        """Answer a request that h11 rejects: with 431 when its head is too large, and with 400 otherwise."""
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        self._answer(ApiError(status if status == 431 else 400, f"the request is not valid HTTP: {error or msg}"))

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        headers = dict(self.headers)
        if self._is_full:
            self._answer(FULL)
        elif b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0"):
            self._answer(ApiError(400, "the handshake of a WebSocket has no body"))
        else:
            self._connections.forget(self)
            self.transport = self._writes.transport
            super().handle_websocket_upgrade(event)


def _has_input(transport: asyncio.Transport) -> bool:
    """Whether data has arrived that is not read yet."""
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poller.poll(0)) and not transport.is_closing()


def _for_one_request(app: Any) -> Any:
    """The application, with `Connection: close` in its responses."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, send_with_close)

    return closing


def _with_joined_head(app: Any, writes: JoinedWrites) -> Any:
    """The application, with the head of each response sent together with the beginning of its body."""

    async def joining(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_joined(message: Message) -> None:
            if message["type"] == "http.response.start":
                writes.hold_next()
            await send(message)

        await app(scope, receive, send_joined)

    return joining


def with_transport(app: Any, transport: Any, connection: Optional[Connection] = None) -> Any:
    """The application, with the connection and its transport in the scope of each request."""

    async def connected(scope: Scope, receive: Receive, send: Send) -> None:
        scope[TRANSPORT] = transport
        if connection is not None:
            scope[CONNECTION] = connection
        await app(scope, receive, send)

    return connected

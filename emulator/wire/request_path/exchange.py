"""A request on its way through the handlers, with what they have found out about it so far."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Callable, Optional
from urllib.parse import unquote

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from ...control.fault_registry import Injection
from ...control.records import RequestRecord
from ...control.step import Step
from ...platform.platform import Platform
from ...store import AccountRecord, Key, Sandbox
from ..operation import Body, Operation
from ..sockets import SocketCall, SocketOperation

#: The account of a request that is not authenticated, or needs not be.
UNAUTHENTICATED = AccountRecord("", "", "", "", "")
#: Paths whose id is that of a sandbox.
SANDBOX_PATHS = ("/v1/sandboxes/", "/v1/trust/sandboxes/")


class Exchange:
    """What HTTP requests and the handshakes of WebSockets have in common.

    Attributes:
        record: The request's entry in the journal, if `journal.begin` adds it.
        account: UNAUTHENTICATED until a handler has found it.
        key: The API key, or the key of a dashboard session. None for a call without one.
        rate_window: For the response's headers: limit, remaining requests, reset in seconds since the epoch. None until
            the request is counted.
        injection: The fault that the request has taken.
        step: The request's step, from `journal.begin` on.
        response: Set by the handler that ends the path. For a WebSocket: the response in place of a handshake.
    """

    def __init__(self, platform: Platform, connection: HTTPConnection, method: str, operation: str) -> None:
        self.platform = platform
        self.connection = connection
        self.record = RequestRecord("", method, connection.scope["path"], operation)
        self.rate_window: Optional[tuple[int, int, int]] = None
        self.account = UNAUTHENTICATED
        self.key: Optional[Key] = None
        self.injection: Optional[Injection] = None
        self.step: Optional[Step] = None
        self.response: Optional[Response] = None
        self._started = time.perf_counter()

    @property
    def id_in_path(self) -> str:
        """The decoded id in the path; empty where there is none."""
        return unquote(self.connection.path_params.get("id", ""), errors="replace")

    @property
    def elapsed_ms(self) -> float:
        """Real time since the request came, in milliseconds."""
        return round((time.perf_counter() - self._started) * 1000, 3)


class HttpExchange(Exchange):
    """An HTTP request.

    Attributes:
        request: The request.
        served: The operation.
        raw_body: The body as it was sent, once it is read.
        body: The parsed body.
        is_answered_by_fault: The response is that of a fault, and no operation has run.
    """

    def __init__(self, platform: Platform, request: Request, served: Operation) -> None:
        super().__init__(platform, request, request.method, served.name)
        self.request = request
        self.served = served
        self.record.query = request.scope["query_string"].decode("latin-1")
        if self.record.path.startswith(SANDBOX_PATHS):
            self.record.sandbox = self.id_in_path
        self.raw_body = b""
        self.body: Optional[Body] = None
        self.is_answered_by_fault = False

    @property
    def is_read(self) -> bool:
        """Whether the request changes nothing."""
        return self.request.method in ("GET", "HEAD")


class SocketExchange(Exchange):
    """The handshake of a WebSocket, and the work that follows it. Its query is not recorded: it holds the credential.

    Attributes:
        socket: The WebSocket.
        served: The operation.
        sandbox: The sandbox that the path names, once it is found.
        call: What the operation works with, once it runs.
    """

    def __init__(self, platform: Platform, scope: Scope, receive: Receive, send: Send, served: SocketOperation) -> None:
        self.socket = WebSocket(scope, receive, send)
        super().__init__(platform, self.socket, "GET", served.name)
        self._receive = receive
        self.send = send
        self.served = served
        self.sandbox: Optional[Sandbox] = None
        self.call: Optional[SocketCall] = None

    def replace_send(self, send: Send) -> None:
        """Make the WebSocket send by another function than the server's."""
        self.socket = WebSocket(self.socket.scope, self._receive, send)


HttpHandler = Callable[[HttpExchange], Awaitable[None]]
SocketHandler = Callable[[SocketExchange], Awaitable[None]]

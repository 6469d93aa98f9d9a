"""The effects of faults: on an answer, on a connection, on a socket. `control/faults.py` decides which fault applies.

Every effect calls `Injection.trigger` at the moment when it happens and nowhere else. A request that ends before that
has not triggered its fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..control.faults import HANG_SECONDS, Fault, Injection
from ..platform.errors import ApiError
from .client_disconnect import unless_hung_up
from .problem import problem

#: Where `server.py` puts the connection of a request, for faults that break it.
TRANSPORT = "caged.transport"
#: Longest wait for the server to see that a connection which was broken here is broken.
_SEEN_SECONDS = 5.0


async def before(injection: Injection, request: Request) -> Optional[Response]:
    """The answer in place of the operation's; None when the operation has to run.

    Raises:
        ClientDisconnect: The client did not wait for it.
    """
    fault = injection.fault
    if fault.delay and fault.outcome != "dies":
        _late(injection)
        await unless_hung_up(request, asyncio.sleep(fault.delay))
    if fault.hang:
        injection.trigger()
        await unless_hung_up(request, _until_removed(fault))
        return ConnectionDropped()
    if fault.drop == "before":
        return ConnectionDropped(injection)
    response = _in_place(fault)
    if response is not None:
        injection.trigger()
    return response


def after(injection: Injection, response: Response, request: Request) -> Response:
    """The answer of the operation, whether it succeeded or not, as it has to arrive."""
    fault = injection.fault
    if fault.drop == "after":
        return ConnectionDropped(injection, response)
    empty = request.method == "HEAD" or getattr(response, "body", None) == b""
    if fault.drop == "mid-body":
        # An answer without a body has no middle: nothing of it arrives.
        return ConnectionDropped(injection, response) if empty else Cut(injection, response, None)
    if fault.truncate is not None and not empty:
        return Cut(injection, response, fault.truncate)
    return response


def _late(injection: Injection) -> None:
    """A delay alone has its effect also when the client gives up: it did not get its answer in time. Together with
    another effect only that counts, which the client may not see any more."""
    fault = injection.fault
    if not (fault.hang or fault.drop or fault.unreachable or fault.outcome or fault.truncate is not None) and (
        fault.status is None and fault.rate_limit is None and fault.close_socket is None
    ):
        injection.trigger()


def _in_place(fault: Fault) -> Optional[Response]:
    """The answer of `status` and `rate_limit`."""
    if fault.rate_limit is not None:
        return problem(ApiError(429, fault.detail or "rate limit reached", retry_after=fault.rate_limit))
    if fault.status is None:
        return None
    if fault.body is not None:
        response = Response(fault.body.encode("utf-8"), fault.status, media_type=_media(fault.body))
    else:
        detail = fault.detail or f"this answer was asked for by a test ({fault.id})"
        response = problem(ApiError(fault.status, detail, fault.reason))
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


def _media(body: str) -> str:
    start = body.lstrip()[:1]
    return {"<": "text/html", "{": "application/json", "[": "application/json"}.get(start, "text/plain")


async def _until_removed(fault: Fault) -> None:
    try:
        await asyncio.wait_for(fault.removed.wait(), HANG_SECONDS)
    except asyncio.TimeoutError:
        pass


def _break(transport: Any, injection: Optional[Injection]) -> None:
    """Break a connection. One that the client has closed already cannot be broken."""
    if injection is not None and not transport.is_closing():
        injection.trigger()
    transport.abort()


class ConnectionDropped(Response):
    """No answer: the connection breaks.

    Args:
        injection: The fault to trigger by that; None: it has triggered already.
        instead_of: The answer that is withheld, for the journal.
    """

    def __init__(self, injection: Optional[Injection] = None, instead_of: Optional[Response] = None) -> None:
        super().__init__(status_code=instead_of.status_code if instead_of is not None else 500)
        self.status_code = instead_of.status_code if instead_of is not None else 0
        self._injection = injection
        self._close = getattr(instead_of, "close", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _break(scope[TRANSPORT], self._injection)
        if self._close is not None:
            self._close()
        await _broken(receive)


class Cut(Response):
    """The first bytes of an answer's body, then the connection ends. An answer without so many bytes is not changed.

    Args:
        keep: How many bytes; None: half of the first piece that has any.
    """

    def __init__(self, injection: Injection, whole: Response, keep: Optional[int]) -> None:
        super().__init__(status_code=whole.status_code)
        self._injection = injection
        self._whole: ASGIApp = whole
        self._keep = keep
        self.raw_headers = whole.raw_headers
        self.body = getattr(whole, "body", b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport, left = scope[TRANSPORT], self._keep
        start: Optional[Message] = None

        async def cutting(message: Message) -> None:
            nonlocal left, start
            if message["type"] == "http.response.start":
                start = message  # waits for the first bytes: without any there is nothing to cut
                return
            if message["type"] != "http.response.body":
                return await send(message)
            body, last = message.get("body", b""), not message.get("more_body")
            if left is None and body:
                left = len(body) // 2
            if left is None and last:
                raise _Enough
            if left is None:
                return
            if start is not None:
                await send(start)
                start = None
            if len(body) <= left:
                left -= len(body)
                return await send(message)
            await send({**message, "body": body[:left], "more_body": True})
            raise _Enough

        try:
            await self._whole(scope, receive, cutting)
        except _Enough:
            if not transport.is_closing():
                self._injection.trigger()
            transport.abort() if start is not None else transport.close()
            await _broken(receive)


class _Enough(Exception):
    pass


async def _broken(receive: Receive) -> None:
    """Until the server knows that the connection is gone; before that it would complain of a missing answer."""

    try:
        await asyncio.wait_for(_disconnected(receive), _SEEN_SECONDS)
    except (asyncio.TimeoutError, ClientDisconnect):
        pass


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


# --- sockets


class Broken(Exception):
    """The connection of a WebSocket was broken before it was opened."""


async def before_upgrade(injection: Injection, socket: WebSocket) -> Optional[Response]:
    """The answer in place of a completed handshake; None when it goes on.

    Raises:
        Broken: The connection is gone.
    """
    fault = injection.fault
    if fault.interrupts:
        return None
    if fault.delay:
        _late(injection)
        await _unless_gone(socket, asyncio.sleep(fault.delay))
    if fault.hang:
        injection.trigger()
        await _unless_gone(socket, _until_removed(fault))
    if fault.hang or fault.drop is not None:
        _break(socket.scope[TRANSPORT], injection)
        await _broken(socket.receive)
        raise Broken
    response = _in_place(fault)
    if response is not None:
        injection.trigger()
    return response


async def _unless_gone(socket: WebSocket, work: Awaitable[None]) -> None:
    """Raises Broken when the client goes away first."""
    if socket.client_state.name == "CONNECTING":
        await socket.receive()  # what every handshake begins with; `accept` would have taken it
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(socket.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise Broken
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


class Interrupted:
    """The work of a WebSocket, which the fault ends: `close_socket`, a `drop` of the connection or the death of the
    sandbox (`kill`) after `delay` seconds, `truncate` before the message that has the character after so many."""

    def __init__(self, injection: Injection, scope: Scope, send: Send, kill: Callable[[], None]) -> None:
        self._injection = injection
        self._fault = injection.fault
        self._transport = scope[TRANSPORT]
        self._forward = send
        self._kill = kill
        self._opened = asyncio.Event()
        self._left = injection.fault.truncate

    async def send(self, message: Message) -> None:
        """In place of the socket's own."""
        if message["type"] == "websocket.send" and self._left is not None:
            self._left -= len(message.get("text") or message.get("bytes") or "")
            if self._left < 0:
                _break(self._transport, self._injection)
                return
        await self._forward(message)
        if message["type"] == "websocket.accept":
            self._opened.set()

    async def run(self, work: Awaitable[None]) -> None:
        working = asyncio.ensure_future(work)
        opening = asyncio.ensure_future(self._opened.wait())
        try:
            await asyncio.wait({working, opening}, return_when=asyncio.FIRST_COMPLETED)
            if self._opened.is_set() and self._fault.truncate is None:
                await asyncio.wait({working}, timeout=self._fault.delay)
                if not working.done():
                    await self._end(working)
            await asyncio.wait({working})
        finally:
            for task in (working, opening):
                task.cancel()
            await asyncio.gather(working, opening, return_exceptions=True)
        if not working.cancelled():
            working.result()

    async def _end(self, working: asyncio.Future[None]) -> None:
        if self._fault.outcome == "dies":
            self._kill()
            self._injection.trigger()
            return
        if self._fault.drop is not None:
            _break(self._transport, self._injection)
            return
        try:
            gone = self._transport.is_closing()
            await self._forward({"type": "websocket.close", "code": self._fault.close_socket})
            if not gone:
                self._injection.trigger()
        except (OSError, RuntimeError):
            pass  # the client was faster, or the work has closed it itself
        working.cancel()

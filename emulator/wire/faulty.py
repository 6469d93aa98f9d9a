"""Doing what a fault says: to an answer, to a connection, to a socket. Which fault, `control/faults.py` has decided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Callable, Optional

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..control.faults import HANG_SECONDS, Fault
from ..platform.refusal import Refusal
from .hangup import unless_hung_up
from .problem import problem

#: Where `server.py` puts the connection of a request, for faults that break it.
TRANSPORT = "caged.transport"
#: Longest wait for the server to see that a connection which was broken here is broken.
_SEEN_SECONDS = 5.0


async def before(fault: Fault, request: Request) -> Optional[Response]:
    """What happens instead of the call; None when it is to be done."""
    if fault.delay and fault.outcome != "dies":
        await unless_hung_up(request, asyncio.sleep(fault.delay))
    if fault.hang:
        await unless_hung_up(request, _until_removed(fault))
        return Dropped()
    if fault.drop == "before":
        return Dropped()
    if fault.rate_limit is not None:
        return problem(Refusal(429, fault.detail or "rate limit reached", retry_after=fault.rate_limit))
    if fault.status is not None:
        return _failing(fault, fault.status)
    return None


def after(fault: Fault, response: Response) -> Response:
    """The answer of the call that was done, as it is to arrive."""
    if fault.drop == "after":
        return Dropped(response)
    if fault.drop == "mid-body":
        # An answer without a body has no middle.
        return Dropped(response) if getattr(response, "body", None) == b"" else Cut(response, None)
    if fault.truncate is not None:
        return Cut(response, fault.truncate)
    return response


def _failing(fault: Fault, status: int) -> Response:
    if fault.body is not None:
        response = Response(fault.body.encode("utf-8"), status, media_type=_media(fault.body))
    else:
        response = problem(Refusal(status, _detail(fault), fault.reason))
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


def _detail(fault: Fault) -> str:
    return fault.detail or f"this answer was asked for by a test ({fault.id})"


def _media(body: str) -> str:
    start = body.lstrip()[:1]
    return {"<": "text/html", "{": "application/json", "[": "application/json"}.get(start, "text/plain")


async def _until_removed(fault: Fault) -> None:
    try:
        await asyncio.wait_for(fault.removed.wait(), HANG_SECONDS)
    except asyncio.TimeoutError:
        pass


class Dropped(Response):
    """No answer: the connection breaks. `instead_of`: what had been the answer, for the journal."""

    def __init__(self, instead_of: Optional[Response] = None) -> None:
        super().__init__(status_code=instead_of.status_code if instead_of is not None else 500)
        self.status_code = instead_of.status_code if instead_of is not None else 0
        self._close = getattr(instead_of, "close", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[TRANSPORT].abort()
        if self._close is not None:
            self._close()
        await _broken(receive)


class Cut(Response):
    """The first `keep` bytes of an answer's body (None: half of its first piece), then the connection ends."""

    def __init__(self, whole: Response, keep: Optional[int]) -> None:
        super().__init__(status_code=whole.status_code)
        self._whole: ASGIApp = whole
        self._keep = keep
        self.raw_headers = whole.raw_headers
        self.body = getattr(whole, "body", b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = self._keep

        async def cutting(message: Message) -> None:
            nonlocal left
            if message["type"] != "http.response.body":
                return await send(message)
            body = message.get("body", b"")
            left = len(body) // 2 if left is None else left
            await send({**message, "body": body[:left], "more_body": True})
            left -= len(body)
            if left < 0 or not message.get("more_body"):
                raise _Enough

        try:
            await self._whole(scope, receive, cutting)
        except _Enough:
            pass
        scope[TRANSPORT].close()
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


async def before_upgrade(fault: Fault, socket: WebSocket) -> None:
    """What a handshake meets. Raises Refusal for what is answered, Broken for what is not."""
    if fault.interrupts:
        return
    if fault.delay:
        await _unless_gone(socket, asyncio.sleep(fault.delay))
    if fault.hang:
        await _unless_gone(socket, _until_removed(fault))
    if fault.hang or fault.drop is not None:
        socket.scope[TRANSPORT].abort()
        await _broken(socket.receive)
        raise Broken
    if fault.rate_limit is not None:
        raise Refusal(429, fault.detail or "rate limit reached", retry_after=fault.rate_limit)
    if fault.status is not None:
        raise Refusal(fault.status, _detail(fault), fault.reason, retry_after=fault.retry_after)


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

    def __init__(self, fault: Fault, scope: Scope, send: Send, kill: Callable[[], None]) -> None:
        self._fault = fault
        self._transport = scope[TRANSPORT]
        self._forward = send
        self._kill = kill
        self._opened = asyncio.Event()
        self._left = fault.truncate

    async def send(self, message: Message) -> None:
        """In place of the socket's own."""
        if message["type"] == "websocket.send" and self._left is not None:
            self._left -= len(message.get("text") or message.get("bytes") or "")
            if self._left < 0:
                self._transport.abort()
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
            return
        if self._fault.drop is not None:
            self._transport.abort()
            return
        try:
            await self._forward({"type": "websocket.close", "code": self._fault.close_socket})
        except (OSError, RuntimeError):
            pass  # the client was faster, or the work has closed it itself
        working.cancel()

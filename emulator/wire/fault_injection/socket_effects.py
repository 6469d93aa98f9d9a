"""The effects of a fault on a WebSocket: on its handshake, and once it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Callable, Optional

from starlette.responses import Response
from starlette.types import Message, Scope, Send
from starlette.websockets import WebSocket

from ...control.fault_registry import Injection
from .connection import TRANSPORT, break_connection, until_break_is_noticed, until_disconnected
from .replacement import replacement_response, trigger_if_only_delay, until_removed


class BrokenHandshake(Exception):
    """The connection of a WebSocket broke before the handshake was complete."""


async def before_handshake(injection: Injection, socket: WebSocket) -> Optional[Response]:
    """Apply the effects that precede the completion of a handshake.

    Returns:
        The response in place of a completed handshake; None when the handshake goes on.

    Raises:
        BrokenHandshake: The connection is broken, by the fault or by the client.
    """
    fault = injection.fault
    if fault.interrupts:
        return None
    if injection.delay:
        trigger_if_only_delay(injection)
        await _unless_disconnected(socket, asyncio.sleep(injection.delay))
    if fault.hang:
        injection.trigger()
        await _unless_disconnected(socket, until_removed(fault))
    if fault.hang or fault.drop is not None:
        break_connection(socket.scope[TRANSPORT], injection)
        await until_break_is_noticed(socket.receive)
        raise BrokenHandshake
    return replacement_response(injection)


async def _unless_disconnected(socket: WebSocket, work: Awaitable[None]) -> None:
    """Run `work`; raise BrokenHandshake when the client disconnects first."""
    if socket.client_state.name == "CONNECTING":
        await socket.receive()  # the first message of every handshake, which `accept` would have received
    working = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(until_disconnected(socket.receive))
    try:
        await asyncio.wait({working, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if disconnected.done():
            raise BrokenHandshake
    finally:
        for task in (working, disconnected):
            task.cancel()
        await asyncio.gather(working, disconnected, return_exceptions=True)


class SocketInterruption:
    """The end that a fault puts to an open WebSocket.

    `close_socket`, `drop` and `outcome='dies'` end it `delay` seconds after it was opened. `truncate` ends it before
    the message with the first character beyond that number.

    Args:
        injection: The fault.
        scope: The ASGI scope of the WebSocket.
        send: The ASGI `send` of the WebSocket.
        kill_processes: Kills all processes of the sandbox, for `outcome='dies'`.
    """

    def __init__(self, injection: Injection, scope: Scope, send: Send, kill_processes: Callable[[], None]) -> None:
        self._injection = injection
        self._fault = injection.fault
        self._transport = scope[TRANSPORT]
        self._forward = send
        self._kill_processes = kill_processes
        self._opened = asyncio.Event()
        self._left = injection.fault.truncate

    async def send(self, message: Message) -> None:
        """Replace the ASGI `send` of the WebSocket."""
        if message["type"] == "websocket.send" and self._left is not None:
            self._left -= len(message.get("text") or message.get("bytes") or "")
            if self._left < 0:
                break_connection(self._transport, self._injection)
                return
        await self._forward(message)
        if message["type"] == "websocket.accept":
            self._opened.set()

    async def run(self, work: Awaitable[None]) -> None:
        """Run what serves the WebSocket, and end it when its time has come."""
        working = asyncio.ensure_future(work)
        opening = asyncio.ensure_future(self._opened.wait())
        try:
            await asyncio.wait({working, opening}, return_when=asyncio.FIRST_COMPLETED)
            if self._opened.is_set() and self._fault.truncate is None:
                await asyncio.wait({working}, timeout=self._injection.delay)
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
            self._kill_processes()
            self._injection.trigger()
            return
        if self._fault.drop is not None:
            break_connection(self._transport, self._injection)
            return
        try:
            was_closing = self._transport.is_closing()
            await self._forward({"type": "websocket.close", "code": self._fault.close_socket})
            if not was_closing:
                self._injection.trigger()
        except (OSError, RuntimeError):
            pass  # the client, or what serves the socket, has closed it already
        working.cancel()

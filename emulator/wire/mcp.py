"""The MCP socket of a sandbox: wire-contract.md 4.4, wire-other-clients.md 6. One JSON-RPC message per frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..platform.services import Services
from .operation import Operations
from .sockets import Connection, SocketOperation, close, upgrade_required

if TYPE_CHECKING:
    from ..platform.mcp import McpSession

operations = Operations()

#: Requests of one connection that are worked on at a time; so many more may wait.
AT_ONCE, WAITING = 32, 1024


async def mcp(connection: Connection) -> None:
    from ..platform.mcp import McpSession  # a fifth of the emulator, for those who ask for it

    platform = connection.platform
    session = McpSession(
        platform.services, platform.sandboxes, connection.sandbox, read_only=connection.key.scope == "read_only"
    )
    async with platform.sandboxes.active(connection.sandbox):
        await connection.accept("mcp")
        serving = asyncio.ensure_future(_serve(connection.socket, session, platform.services))
        gone = asyncio.ensure_future(connection.sandbox.gone.wait())
        try:
            await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, gone):
                task.cancel()
            results = await asyncio.gather(serving, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        if connection.sandbox.gone.is_set():
            await close(connection.socket, 1001)


async def _serve(socket: WebSocket, session: McpSession, services: Services) -> None:
    """Until the client goes. It always reads, because only so that is seen, and a cancellation too."""
    slots = asyncio.Semaphore(AT_ONCE)
    working: set[asyncio.Task[None]] = set()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                text = (message.get("bytes") or b"").decode("utf-8", "replace")
            if len(working) >= AT_ONCE + WAITING:
                await close(socket, 1013, f"{len(working)} requests are waiting already")
                return
            task = asyncio.ensure_future(_answer(socket, session, services, text, slots))
            working.add(task)
            task.add_done_callback(working.discard)
    finally:
        for task in working:
            task.cancel()  # the client is gone: its commands are killed
        await asyncio.gather(*working, return_exceptions=True)


async def _answer(
    socket: WebSocket, session: McpSession, services: Services, text: str, slots: asyncio.Semaphore
) -> None:
    if '"notifications/' in text[:1000]:
        reply = await session.handle(text)  # a cancellation does not wait for what it cancels
    else:
        async with slots:
            reply = await session.handle(text)
    if reply is not None:
        services.commit()
        try:
            await socket.send_text(reply)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client did not wait


PATH = "/v1/sandboxes/{id}/mcp"
operations.add("GET", PATH, "sandboxes.mcp", status=101, errors=[409, 426])(upgrade_required)
socket_operation = SocketOperation(PATH, "sandboxes.mcp", mcp)

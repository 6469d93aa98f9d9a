"""The MCP socket of a sandbox: wire-contract.md 4.4, wire-other-clients.md 6. One JSON-RPC message per frame."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..platform.mcp import McpSession
from .operation import Operations
from .sockets import Connection, SocketOperation, upgrade_required

operations = Operations()

#: Requests of one connection that are worked on at a time; the next one is read when one of them is answered.
AT_ONCE = 32


async def mcp(connection: Connection) -> None:
    platform = connection.platform
    session = McpSession(
        platform.services, platform.sandboxes, connection.sandbox, read_only=connection.key.scope == "read_only"
    )
    async with platform.sandboxes.active(connection.sandbox):
        await connection.accept()
        working: set[asyncio.Task[None]] = set()
        ended = asyncio.ensure_future(connection.sandbox.gone.wait())
        try:
            while True:
                receiving = asyncio.ensure_future(connection.socket.receive())
                await asyncio.wait({receiving, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    receiving.cancel()
                    await connection.socket.close(1001)
                    return
                message = receiving.result()
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text")
                if text is None:
                    text = (message.get("bytes") or b"").decode("utf-8", "replace")
                task = asyncio.ensure_future(_answer(connection.socket, session, text))
                working.add(task)
                task.add_done_callback(working.discard)
                if len(working) >= AT_ONCE:
                    await asyncio.wait({*working, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            for task in working:
                task.cancel()  # the client is gone: its commands are killed
            await asyncio.gather(*working, return_exceptions=True)


async def _answer(socket: WebSocket, session: McpSession, text: str) -> None:
    reply = await session.handle(text)
    if reply is not None:
        try:
            await socket.send_text(reply)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client did not wait


PATH = "/v1/sandboxes/{id}/mcp"
operations.add("GET", PATH, "sandboxes.mcp", status=101, errors=[409, 426])(upgrade_required)
socket_operation = SocketOperation(PATH, "sandboxes.mcp", mcp)

"""The MCP socket of a sandbox: wire-contract.md 4.4, wire-other-clients.md 6. One JSON-RPC message per WebSocket
message, of at most 4 MiB. What the platform answers to a larger one is not known: here it is a JSON-RPC error, and the
connection stays open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..platform.platform import Platform
from .operation import Operations
from .sockets import Connection, SocketOperation, close, upgrade_required

if TYPE_CHECKING:
    from ..platform.mcp import McpSession

operations = Operations()

#: The platform's limit of a message, in bytes.
MESSAGE_BYTES = 4 * 1024 * 1024
#: Requests of one connection that may be in progress or waiting.
MOST_REQUESTS = 1056


async def mcp(connection: Connection) -> None:
    platform = connection.platform
    session = platform.mcp.open(connection.sandbox, read_only=connection.key.scope == "read_only")
    async with platform.sandboxes.active(connection.sandbox):
        await connection.accept("mcp")
        serving = asyncio.ensure_future(_serve(connection.socket, session, platform))
        gone = asyncio.ensure_future(platform.live.of(connection.sandbox).gone.wait())
        try:
            await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, gone):
                task.cancel()
            results = await asyncio.gather(serving, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        if platform.live.of(connection.sandbox).gone.is_set():
            await close(connection.socket, 1001)


async def _serve(socket: WebSocket, session: McpSession, platform: Platform) -> None:
    """Serve until the client disconnects. Reading never waits for a tool: only a reader sees a disconnect and a
    cancellation. It waits only while a refusal is sent, so that a client that does not read cannot fill the memory."""
    working: set[asyncio.Task[None]] = set()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                text = (message.get("bytes") or b"").decode("utf-8", "replace")
            refused = await _refuse(text, len(working))
            if refused is not None:
                await _send(socket, refused.reply)
                continue
            task = asyncio.ensure_future(_answer(socket, session, platform, text))
            working.add(task)
            task.add_done_callback(working.discard)
    finally:
        for task in working:
            task.cancel()  # the client is gone: its commands are killed
        await asyncio.gather(*working, return_exceptions=True)


@dataclass(frozen=True)
class _Refused:
    """A message that is not processed. `reply` is None when it gets none."""

    reply: Optional[str]


async def _refuse(text: str, working: int) -> Optional[_Refused]:
    """None: the message is to be processed."""
    from ..platform.mcp import protocol

    size = len(text) if len(text) * 4 <= MESSAGE_BYTES else len(text.encode("utf-8", "surrogatepass"))
    if size > MESSAGE_BYTES:
        reason = f"Invalid Request: the message is {size} bytes long; at most {MESSAGE_BYTES} are allowed"
        return _Refused(await asyncio.to_thread(protocol.refuse, text, protocol.INVALID_REQUEST, reason))
    if working >= MOST_REQUESTS and not _is_notification(text):
        reason = f"Server busy: {working} requests are in progress or waiting; wait for a reply before the next one"
        return _Refused(protocol.refuse(text, protocol.SERVER_BUSY, reason))
    return None


def _is_notification(text: str) -> bool:
    return '"notifications/' in text[:1000]


async def _answer(socket: WebSocket, session: McpSession, platform: Platform, text: str) -> None:
    reply = await session.handle(text)
    if reply is not None:
        platform.commit()
        await _send(socket, reply)


async def _send(socket: WebSocket, reply: Optional[str]) -> None:
    if reply is None:
        return
    try:
        await socket.send_text(reply)
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client has disconnected


PATH = "/v1/sandboxes/{id}/mcp"
operations.add("GET", PATH, "sandboxes.mcp", status=101, errors=[409, 426])(upgrade_required)
socket_operation = SocketOperation(PATH, "sandboxes.mcp", mcp)

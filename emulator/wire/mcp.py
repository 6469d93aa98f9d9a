"""The MCP server of a sandbox, over a WebSocket (wire-contract.md 4.4, wire-other-clients.md 6).

Each WebSocket message is one JSON-RPC message of at most 4 MiB. The platform's answer to a larger one is not known;
here it is a JSON-RPC error, and the connection stays open.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..platform.platform import Platform
from .operation import Operations
from .sockets import SocketCall, SocketOperation, close, upgrade_required

if TYPE_CHECKING:
    from ..platform.mcp import McpSession

operations = Operations()

#: The platform's limit for a message.
MESSAGE_BYTES = 4 * 1024 * 1024
#: Requests of one connection that may be in progress or waiting; more are rejected.
MOST_REQUESTS = 1056


async def mcp(call: SocketCall) -> None:
    """Serve one MCP session, until the client disconnects or the sandbox is destroyed."""
    platform = call.platform
    session = platform.mcp.open(call.sandbox, read_only=call.key.scope == "read_only")
    async with platform.sandboxes.active(call.sandbox):
        await call.accept("mcp")
        serving = asyncio.ensure_future(_serve(call.socket, session, platform))
        gone = asyncio.ensure_future(platform.live.of(call.sandbox).gone.wait())
        try:
            await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, gone):
                task.cancel()
            results = await asyncio.gather(serving, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        if platform.live.of(call.sandbox).gone.is_set():
            await close(call.socket, 1001)


async def _serve(socket: WebSocket, session: McpSession, platform: Platform) -> None:
    """Serve until the client disconnects.

    Reading never waits for a tool, because only a reader notices a disconnect and a cancellation. It waits only while
    an error is sent, so that a client that does not read cannot fill the memory.
    """
    working: set[asyncio.Task[None]] = set()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                text = (message.get("bytes") or b"").decode("utf-8", "replace")
            rejection = await _reject(text, len(working))
            if rejection is not None:
                await _send(socket, rejection.reply)
                continue
            task = asyncio.ensure_future(_answer(socket, session, platform, text))
            working.add(task)
            task.add_done_callback(working.discard)
    finally:
        for task in working:
            task.cancel()  # kills the commands of the client, which has disconnected
        await asyncio.gather(*working, return_exceptions=True)


@dataclass(frozen=True)
class _Rejection:
    """A message that is not processed. `reply`: the JSON-RPC error to send; None for a notification."""

    reply: Optional[str]


async def _reject(text: str, working: int) -> Optional[_Rejection]:
    """Reject a message that is too large, or one too many; None for a message to process."""
    from ..platform.mcp import protocol

    size = len(text) if len(text) * 4 <= MESSAGE_BYTES else len(text.encode("utf-8", "surrogatepass"))
    if size > MESSAGE_BYTES:
        reason = f"Invalid Request: the message is {size} bytes long; at most {MESSAGE_BYTES} are allowed"
        return _Rejection(await asyncio.to_thread(protocol.refuse, text, protocol.INVALID_REQUEST, reason))
    if working >= MOST_REQUESTS and not _is_notification(text):
        reason = f"Server busy: {working} requests are in progress or waiting; wait for a reply before the next one"
        return _Rejection(protocol.refuse(text, protocol.SERVER_BUSY, reason))
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

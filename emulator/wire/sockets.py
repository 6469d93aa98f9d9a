"""The WebSockets of the API: their operations, and what an operation works with (wire-contract.md 4.1)."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Callable, Optional

from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..platform.errors import ApiError
from ..platform.open_sockets import OpenSocket
from ..platform.platform import Platform
from ..store import AccountRecord, Key, Sandbox
from .common_headers import add_common_headers
from .operation import Call, EmptyBody

#: The subprotocol of each kind of socket. A client that requests another one gets none (platform-behaviour.md B 6).
SUBPROTOCOLS = {"terminal": "terminal", "stream": "terminal", "mcp": "mcp"}


@dataclass
class SocketCall:
    """One call of a WebSocket's operation: who calls it, and for which sandbox.

    The operation calls `accept` to complete the handshake; an ApiError before that becomes the response to it.
    """

    socket: WebSocket
    platform: Platform
    account: AccountRecord
    key: Key
    sandbox: Sandbox
    _open_socket: Optional[OpenSocket] = field(default=None, init=False)

    async def accept(self, kind: str) -> None:
        """Complete the handshake, with the subprotocol of `kind` if the client offers it and with none otherwise.

        Args:
            kind: A key of SUBPROTOCOLS. The socket is listed as one of this kind until `end`.
        """
        name = SUBPROTOCOLS[kind]
        await self.socket.accept(subprotocol=name if name in subprotocols(self.socket.scope) else None)
        opened_at = self.platform.clock.timestamp()
        self._open_socket = OpenSocket(self.account.id, self.sandbox.id, kind, opened_at)
        self.platform.sockets.add(self._open_socket)

    def end(self) -> None:
        """Remove the socket from the list of open ones."""
        if self._open_socket is not None:
            self.platform.sockets.remove(self._open_socket)

    def query_int(self, name: str) -> int:
        """The value of a query parameter; 0 when it is absent or not a number."""
        text = self.socket.query_params.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


Handler = Callable[[SocketCall], Awaitable[None]]


@dataclass(frozen=True)
class SocketOperation:
    """A WebSocket of the API: its path, its name as a call of the SDK, and the function that serves it."""

    path: str
    name: str
    handler: Handler


async def upgrade_required(call: Call[EmptyBody]) -> Response:
    """Reject a request that is not a handshake on the path of a WebSocket."""
    raise ApiError(426, "this is a WebSocket: connect with ws:// and `?token=<ticket or API key>`")


def subprotocols(scope: Scope) -> list[str]:
    """What a client offers, in its order. Some releases of uvicorn leave several names in one text."""
    names = (name.strip() for listed in scope.get("subprotocols") or () for name in listed.split(","))
    return [name for name in names if name]


async def close(socket: WebSocket, code: int, reason: str = "") -> None:
    """Close a socket, unless it is closed already."""
    if socket.application_state.name == "CONNECTED":
        try:
            await socket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            pass


async def deny(socket: WebSocket, platform: Platform, response: Response) -> None:
    """Answer a handshake with a response. A socket that is open already is closed with 1011."""
    add_common_headers(response, platform)
    try:
        if socket.application_state.name == "CONNECTING":
            await socket.send_denial_response(response)
        elif socket.application_state.name == "CONNECTED":
            await socket.close(1011)
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client has disconnected


def not_found(platform: Platform) -> Callable[[WebSocket], Awaitable[None]]:
    """The endpoint of all paths without a WebSocket."""

    async def answer(socket: WebSocket) -> None:
        await deny(socket, platform, PlainTextResponse("404 page not found\n", 404))

    return answer

"""From a WebSocket's handshake to the work behind it: credential, refusals before the upgrade, subprotocol, journal
(wire-contract.md 4.1)."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Callable, Optional
from urllib.parse import unquote

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..control.faults import Injection
from ..control.records import RequestRecord
from ..platform.errors import ApiError
from ..platform.open_sockets import OpenSocket
from ..platform.platform import Platform
from ..store import Account, Key, Sandbox
from . import fault_injection
from .dispatch import add_common_headers
from .operation import Call, NoBody
from .other_accounts import note_foreign
from .problem import problem

logger = logging.getLogger(__name__)

#: The subprotocol of each kind of socket. A client that asks for another is given none (platform-behaviour.md B 6).
SUBPROTOCOLS = {"terminal": "terminal", "stream": "terminal", "mcp": "mcp"}


@dataclass
class Connection:
    """One socket on its way: who asks, for which sandbox. `accept` completes the handshake; before it a Refusal
    becomes the answer to it."""

    socket: WebSocket
    platform: Platform
    account: Account
    key: Key
    sandbox: Sandbox
    _opened: Optional[OpenSocket] = field(default=None, init=False)

    async def accept(self, kind: str) -> None:
        """Complete the handshake, with the subprotocol of `kind` if the client asked for it and without any otherwise.

        Args:
            kind: One of platform/open_sockets.py, where the socket is listed from now until `over`.
        """
        name = SUBPROTOCOLS[kind]
        await self.socket.accept(subprotocol=name if name in subprotocols(self.socket.scope) else None)
        opened_at = self.platform.clock.timestamp()
        self._opened = OpenSocket(self.account.id, self.sandbox.id, kind, opened_at)
        self.platform.sockets.add(self._opened)

    def over(self) -> None:
        if self._opened is not None:
            self.platform.sockets.remove(self._opened)

    def query_int(self, name: str) -> int:
        """0 when it is absent or no number."""
        text = self.socket.query_params.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


Handler = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True)
class SocketOperation:
    path: str
    name: str
    handler: Handler


async def upgrade_required(call: Call[NoBody]) -> Response:
    """What a request that is no handshake gets on the path of a socket."""
    raise ApiError(426, "this is a WebSocket: connect with ws:// and `?token=<ticket or API key>`")


class SocketDispatcher:
    """The ASGI endpoint of one socket path."""

    def __init__(self, platform: Platform, operation: SocketOperation) -> None:
        self._platform = platform
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        platform = self._platform
        entry = platform.journal.add(
            RequestRecord(platform.clock.timestamp(), "GET", scope["path"], self._operation.name)
        )
        entry.status = 101
        started = time.perf_counter()
        connection: Optional[Connection] = None
        injection: Optional[Injection] = None
        account: Optional[Account] = None
        try:
            account, key = self._platform.tickets.admit(socket.query_params.get("token", ""))
            platform.journal.assign(entry, account.id, platform.clock.timestamp())
            self._platform.accounts.count_request(account)
            entry.sandbox = unquote(socket.path_params["id"], errors="replace")
            sandbox = self._platform.sandboxes.running(account, entry.sandbox)
            injection = platform.faults.take(
                account.id, entry.operation, "GET", entry.path, sandbox.id, functools.partial(setattr, entry, "fault")
            )
            if injection is not None:
                response = await fault_injection.before_upgrade(injection, socket)
                if response is not None:
                    entry.status = response.status_code
                    await refuse(socket, self._platform, response)
                    return
            if injection is None or not injection.fault.interrupts:
                connection = Connection(socket, self._platform, account, key, sandbox)
                await self._operation.handler(connection)
                return
            cage = self._platform.live.of(sandbox).cage
            assert cage is not None
            interrupted = fault_injection.Interrupted(injection, scope, send, cage.crash)
            socket = WebSocket(scope, receive, interrupted.send)
            connection = Connection(socket, self._platform, account, key, sandbox)
            await interrupted.run(self._operation.handler(connection))
        except fault_injection.Broken:
            entry.status = 0
        except ApiError as refusal:
            entry.status = refusal.status
            if account is not None:
                note_foreign(self._platform, entry, account, refusal, [entry.sandbox])
            await refuse(socket, self._platform, problem(refusal))
        except WebSocketDisconnect:
            pass
        except Exception:
            logger.exception("%s failed", self._operation.name)
            entry.status = 500
            failure = ApiError(500, "the emulator failed; its log has the traceback. Please report it.")
            await refuse(socket, self._platform, problem(failure))
        finally:
            if injection is not None:
                injection.release()
            if connection is not None:
                connection.over()
            entry.duration_ms = round((time.perf_counter() - started) * 1000, 3)


def subprotocols(scope: Scope) -> list[str]:
    """What a client offers, in its order. Some releases of uvicorn leave several names in one."""
    names = (name.strip() for listed in scope.get("subprotocols") or () for name in listed.split(","))
    return [name for name in names if name]


async def close(socket: WebSocket, code: int, reason: str = "") -> None:
    """Closes a socket from this side; the client may have been faster."""
    if socket.application_state.name == "CONNECTED":
        try:
            await socket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            pass


async def refuse(socket: WebSocket, platform: Platform, response: Response) -> None:
    """Answers a handshake with a response; a socket that is open already is closed."""
    add_common_headers(response, platform)
    try:
        if socket.application_state.name == "CONNECTING":
            await socket.send_denial_response(response)
        elif socket.application_state.name == "CONNECTED":
            await socket.close(1011)
    except (WebSocketDisconnect, RuntimeError):
        pass  # it is gone


def unknown(platform: Platform) -> Callable[[WebSocket], Awaitable[None]]:
    """The endpoint of every other path."""

    async def answer(socket: WebSocket) -> None:
        await refuse(socket, platform, PlainTextResponse("404 page not found\n", 404))

    return answer

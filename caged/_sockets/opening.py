"""Opening a WebSocket, awaiting or blocking, and what it means when that fails."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect

from .._call import Call, ExpectedContent, ignore
from .._constants import (
    LARGEST_MESSAGE,
    SOCKET_CLOSE_TIMEOUT,
    SOCKET_PING_INTERVAL,
    SOCKET_PING_TIMEOUT,
)
from .._decoding import api_error
from .._errors import CagedConnectionError, CagedError, CagedTimeoutError
from .._http import is_loopback
from .._observation import headers
from .._settings import Settings
from .channel import AsyncChannel, Channel
from .target import Target

# ValueError: proxy settings of the environment that cannot be understood. ImportError: a SOCKS proxy without
# the package for it.
_FAILURES = (WebSocketException, OSError, EOFError, ValueError, ImportError, asyncio.TimeoutError)


class _Refused(Exception):
    """The server answered with HTTP. No class of websockets, or a redirect would be followed, ticket and all."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class _AsyncConnection(AsyncConnection):
    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().handshake(*args, **kwargs)
        except InvalidStatus as refusal:
            raise _Refused(refusal.response) from None


class _Connection(ClientConnection):
    def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as refusal:
            raise _Refused(refusal.response) from None


async def open_async(settings: Settings, target: Target, token: str) -> AsyncChannel:
    """Open a WebSocket.

    Raises:
        CagedAPIError: The server refused; the class says how, as for any other call.
        CagedTimeoutError: It did not come about within the client's timeout.
        CagedConnectionError: The server cannot be reached, or speaks no WebSocket.
    """
    try:
        options = _options(settings, target)
        connection = await connect_async(target.url(settings, token), create_connection=_AsyncConnection, **options)
    except (_Refused, *_FAILURES) as problem:
        raise _error(settings, target, problem) from None
    return AsyncChannel(connection, target)


def open_sync(settings: Settings, target: Target, token: str) -> Channel:
    """Open a WebSocket; raises as `open_async` does."""
    try:
        options = _options(settings, target)
        # Entered like a context manager: newer releases of websockets warn of any other use.
        connection = connect(target.url(settings, token), create_connection=_Connection, **options).__enter__()
    except (_Refused, *_FAILURES) as problem:
        raise _error(settings, target, problem) from None
    return Channel(connection, target)


#: websockets writes the whole URL to its debug log, with the credential in it.
_silent = logging.getLogger("caged.sockets")
_silent.setLevel(logging.WARNING)


def _options(settings: Settings, target: Target) -> dict[str, Any]:
    local = is_loopback(settings.host)
    options: dict[str, Any] = {
        "subprotocols": [target.subprotocol],
        "additional_headers": headers() or None,
        "open_timeout": settings.timeout,
        "max_size": LARGEST_MESSAGE,
        "compression": None if local else "deflate",  # there is nothing to save on one machine
        "proxy": None if local else True,
        "ping_interval": SOCKET_PING_INTERVAL,
        "ping_timeout": None if target.patient else SOCKET_PING_TIMEOUT,
        "close_timeout": SOCKET_CLOSE_TIMEOUT,
        "logger": _silent,
    }
    if settings.is_encrypted:
        options["ssl"] = httpx.create_ssl_context()  # the certificates that the other calls trust
    return options


def _error(settings: Settings, target: Target, problem: BaseException) -> CagedError:
    if isinstance(problem, _Refused):
        return _refusal(target, problem.response)
    if isinstance(problem, (TimeoutError, asyncio.TimeoutError, socket.timeout)):  # one and the same since 3.11
        limit = "" if settings.timeout is None else f" after {settings.timeout}s"
        return CagedTimeoutError(f"{target} timed out{limit}: no connection", timeout=settings.timeout)
    if isinstance(problem, InvalidURI):
        return CagedError(f"{target}: this address cannot be opened; check base_url")
    reason = str(problem) or type(problem).__name__
    if isinstance(problem, OSError):
        return CagedConnectionError(f"{target}: cannot connect to {settings.base_url}: {reason}")
    if isinstance(problem, ImportError):
        return CagedError(f"{target}: cannot use the environment's proxy settings: {reason}")
    return CagedConnectionError(f"{target}: it did not open: {reason}")


def _refusal(target: Target, response: Response) -> CagedError:
    status = response.status_code
    if status < 300:
        return CagedConnectionError(
            f"{target}: the server answered HTTP {status} and opened no WebSocket; check base_url"
        )
    # The body is assembled already and not compressed, because no compression was offered.
    dropped = {"content-encoding", "transfer-encoding", "content-length"}
    headers = [(name, value) for name, value in response.headers.raw_items() if name.lower() not in dropped]
    call = Call("GET", target.path, ExpectedContent.NOTHING, ignore)
    return api_error(call, httpx.Response(status, headers=headers, content=bytes(response.body or b"")))

"""The transports for servers on this machine: each request leaves in one piece.

httpx sends the head of a request and its body one after the other. On this machine that wakes the server twice, and a
short call takes a twentieth longer. These transports hold what is written until the answer is read, up to
`HELD_BYTES`. They use no proxy. For other hosts httpx's own transports are used, which read the environment's proxies.
"""

from __future__ import annotations

import ssl
from typing import Any, NoReturn, Optional

import httpcore
import httpx

from ._constants import MAX_CONNECTIONS, MAX_KEEPALIVE_CONNECTIONS

#: What is written is sent at once where it would be more than this together with what is held.
HELD_BYTES = 64 * 1024
#: Seconds after which an unused connection is closed: httpx's default.
_KEEPALIVE_SECONDS = 5.0


class LoopbackTransport(httpx.BaseTransport):
    """A connection pool for a client that blocks.

    Args:
        ssl_context: For `https`; httpcore's default, which reads the certificate authorities, when None.
    """

    def __init__(self, ssl_context: Optional[ssl.SSLContext] = None) -> None:
        self._pool = httpcore.ConnectionPool(network_backend=_Backend(), **_pool_options(ssl_context))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its answer to the end.

        Raises:
            httpx.TransportError: The kind that httpx's own transport raises.
        """
        try:
            response = self._pool.handle_request(_core_request(request))
            try:
                content = response.read()
            finally:
                response.close()
        except Exception as problem:
            _raise_as_httpx(problem)
        return _httpx_response(response, content)

    def close(self) -> None:
        self._pool.close()


class AsyncLoopbackTransport(httpx.AsyncBaseTransport):
    """A connection pool for a client that uses asyncio; otherwise as `LoopbackTransport`."""

    def __init__(self, ssl_context: Optional[ssl.SSLContext] = None) -> None:
        self._pool = httpcore.AsyncConnectionPool(network_backend=_AsyncBackend(), **_pool_options(ssl_context))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Do what `LoopbackTransport.handle_request` does."""
        try:
            response = await self._pool.handle_async_request(_core_request(request))
            try:
                content = await response.aread()
            finally:
                await response.aclose()
        except Exception as problem:
            _raise_as_httpx(problem)
        return _httpx_response(response, content)

    async def aclose(self) -> None:
        await self._pool.aclose()


def _pool_options(ssl_context: Optional[ssl.SSLContext]) -> dict[str, Any]:
    return {
        "ssl_context": ssl_context,
        "max_connections": MAX_CONNECTIONS,
        "max_keepalive_connections": MAX_KEEPALIVE_CONNECTIONS,
        "keepalive_expiry": _KEEPALIVE_SECONDS,
    }


def _core_request(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _httpx_response(response: httpcore.Response, content: bytes) -> httpx.Response:
    # As a stream: given as content, it would get a Content-Length that the server did not send.
    return httpx.Response(
        response.status,
        headers=response.headers,
        stream=httpx.ByteStream(content),
        extensions=response.extensions,
    )


def _raise_as_httpx(problem: Exception) -> NoReturn:
    """Raise the exception of httpx that has the name of one of httpcore's; any other as it is."""
    for kind in type(problem).__mro__:
        if kind.__module__.partition(".")[0] == "httpcore" and hasattr(httpx, kind.__name__):
            raise getattr(httpx, kind.__name__)(str(problem)) from problem
    raise problem


class _Stream(httpcore.NetworkStream):
    """A connection that holds what is written until it is read from."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._held = b""
        self._timeout: Optional[float] = None

    def write(self, buffer: bytes, timeout: Optional[float] = None) -> None:
        if len(self._held) + len(buffer) <= HELD_BYTES:
            self._held += buffer
            self._timeout = timeout
            return
        self._send_held(timeout)
        self._stream.write(buffer, timeout)

    def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        try:
            self._send_held(self._timeout)
        except httpcore.WriteError:
            pass  # a server may answer and close before it has read the request; httpcore ignores this error as well
        return self._stream.read(max_bytes, timeout)

    def _send_held(self, timeout: Optional[float]) -> None:
        held, self._held = self._held, b""
        if held:
            self._stream.write(held, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: Optional[str] = None, timeout: Optional[float] = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """As `_Stream`."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._held = b""
        self._timeout: Optional[float] = None

    async def write(self, buffer: bytes, timeout: Optional[float] = None) -> None:
        if len(self._held) + len(buffer) <= HELD_BYTES:
            self._held += buffer
            self._timeout = timeout
            return
        await self._send_held(timeout)
        await self._stream.write(buffer, timeout)

    async def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        try:
            await self._send_held(self._timeout)
        except httpcore.WriteError:
            pass
        return await self._stream.read(max_bytes, timeout)

    async def _send_held(self, timeout: Optional[float]) -> None:
        held, self._held = self._held, b""
        if held:
            await self._stream.write(held, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: Optional[str] = None, timeout: Optional[float] = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **options))


class _AsyncBackend(httpcore.AnyIOBackend):
    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await super().connect_tcp(*args, **options))

"""The transports for servers on this machine. They take a tenth of the time of a short call less than httpx's own:

- A request leaves in one piece. httpx sends its head and its body one after the other, which wakes the server twice.
  Here, what is written is held until the answer is read, up to `HELD_BYTES`.
- The connections are those of httpcore, but not the pool, which looks at each of its connections before and after each
  request.

They use no proxy. `_http.py` uses httpx's own transports for other hosts, and where a program has replaced them.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any, Callable, Generic, NoReturn, Optional, TypeVar, Union

import httpcore
import httpx

from ._constants import MAX_CONNECTIONS, MAX_KEEPALIVE_CONNECTIONS

#: What is written is sent at once where it would be more than this together with what is held.
HELD_BYTES = 64 * 1024
#: Seconds after which an unused connection is closed: httpx's default.
KEEPALIVE_SECONDS = 5.0

C = TypeVar("C", bound=Union[httpcore.HTTPConnection, httpcore.AsyncHTTPConnection])


class LoopbackTransport(httpx.BaseTransport):
    """Connections of a client that blocks. Several threads may use it.

    Args:
        ssl_context: For `https`; httpcore's default, which reads the certificate authorities, when None.
    """

    def __init__(self, ssl_context: Optional[ssl.SSLContext] = None) -> None:
        backend = _Backend()

        def connection_to(origin: httpcore.Origin) -> httpcore.HTTPConnection:
            return httpcore.HTTPConnection(
                origin, ssl_context, keepalive_expiry=KEEPALIVE_SECONDS, network_backend=backend
            )

        self._connections = _Connections(connection_to)
        self._slots = threading.Semaphore(MAX_CONNECTIONS)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its answer to the end.

        Raises:
            httpx.TransportError: The kind that httpx's own transport raises.
        """
        sent = _core_request(request)
        if not self._slots.acquire(timeout=_pool_timeout(request)):
            raise httpx.PoolTimeout("")
        connection = self._connections.take(sent.url.origin)
        try:
            response = connection.handle_request(sent)
            try:
                content = response.read()
            finally:
                response.close()
        except Exception as problem:
            _raise_as_httpx(problem)
        finally:
            for unused in self._connections.put_back(connection, sent.url.origin):
                unused.close()
            self._slots.release()
        return _httpx_response(response, content)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.end():
            connection.close()


class AsyncLoopbackTransport(httpx.AsyncBaseTransport):
    """Connections of a client that uses asyncio; otherwise as `LoopbackTransport`."""

    def __init__(self, ssl_context: Optional[ssl.SSLContext] = None) -> None:
        backend = _AsyncBackend()

        def connection_to(origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
            return httpcore.AsyncHTTPConnection(
                origin, ssl_context, keepalive_expiry=KEEPALIVE_SECONDS, network_backend=backend
            )

        self._connections = _Connections(connection_to)
        self._slots: Optional[asyncio.Semaphore] = None  # made by the first call, to whose event loop it belongs

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Do what `LoopbackTransport.handle_request` does."""
        sent = _core_request(request)
        self._slots = self._slots or asyncio.Semaphore(MAX_CONNECTIONS)
        if self._slots.locked():
            try:
                await asyncio.wait_for(self._slots.acquire(), _pool_timeout(request))
            except asyncio.TimeoutError:
                raise httpx.PoolTimeout("") from None
        else:
            await self._slots.acquire()
        connection = self._connections.take(sent.url.origin)
        try:
            response = await connection.handle_async_request(sent)
            try:
                content = await response.aread()
            finally:
                await response.aclose()
        except Exception as problem:
            _raise_as_httpx(problem)
        finally:
            self._slots.release()
            for unused in self._connections.put_back(connection, sent.url.origin):
                await unused.aclose()
        return _httpx_response(response, content)

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._connections.end():
            await connection.aclose()


class _Connections(Generic[C]):
    """The open connections of a transport. Its methods do not wait.

    Args:
        connection_to: Makes a connection.
    """

    def __init__(self, connection_to: Callable[[httpcore.Origin], C]) -> None:
        self._connection_to = connection_to
        self._lock = threading.Lock()
        self._used: set[C] = set()
        #: By scheme, host and port; the one that was used last is at the end, and is used first.
        self._unused: dict[tuple[bytes, bytes, int], list[C]] = {}
        self._expired: list[C] = []
        self._has_ended = False

    def take(self, origin: httpcore.Origin) -> C:
        """Return a connection for one call: an unused one, or else a new one."""
        with self._lock:
            unused = self._unused.get((origin.scheme, origin.host, origin.port))
            while unused:
                connection = unused.pop()
                if not connection.has_expired():
                    break
                self._expired.append(connection)
            else:
                connection = self._connection_to(origin)
            self._used.add(connection)
            return connection

    def put_back(self, connection: C, origin: httpcore.Origin) -> list[C]:
        """Note that the call of a connection is over.

        Returns:
            The connections that the caller has to close.
        """
        with self._lock:
            self._used.discard(connection)
            closing, self._expired = self._expired, []
            if self._has_ended or connection.is_closed() or not connection.is_idle():
                return [*closing, connection]
            unused = self._unused.setdefault((origin.scheme, origin.host, origin.port), [])
            unused.append(connection)
            while len(unused) > MAX_KEEPALIVE_CONNECTIONS or (len(unused) > 1 and unused[0].has_expired()):
                closing.append(unused.pop(0))
            return closing

    def end(self) -> list[C]:
        """Return all connections, which the caller has to close. Those of later calls are closed with the call."""
        with self._lock:
            self._has_ended = True
            unused = [connection for connections in self._unused.values() for connection in connections]
            return [*self._used, *unused, *self._expired]


def _pool_timeout(request: httpx.Request) -> Optional[float]:
    """Seconds to wait for one of MAX_CONNECTIONS; None for no limit."""
    seconds: Optional[float] = request.extensions.get("timeout", {}).get("pool")
    return seconds


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

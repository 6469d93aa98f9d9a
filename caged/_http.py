"""The two sessions that do I/O: each carries out the plans of `_core`, one blocking, one with asyncio."""

from __future__ import annotations

import functools
import ipaddress
import logging
import ssl
import weakref
from types import FunctionType
from typing import Any, Optional, TypeVar, Union, cast
from urllib.request import getproxies

import httpx

from . import _timing
from ._call import Call
from ._constants import MAX_CONNECTIONS, MAX_KEEPALIVE_CONNECTIONS
from ._core import CallPlan, LocalWork, Outcome, Pause, Request, perform
from ._errors import CagedError
from ._event_loop import EventLoop
from ._settings import Settings
from ._version import __version__

T = TypeVar("T")
_httpx_logger = logging.getLogger("httpx")

# RuntimeError: an async client whose event loop is gone, or one closed by another thread in mid-call.
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError)


class _Cookies(httpx.Cookies):
    """Cookies that are looked for only in responses that set some. To look, httpx makes two objects of urllib's, which
    takes a fifth of the processor time of a short call."""

    def extract_cookies(self, response: httpx.Response) -> None:
        if "set-cookie" in response.headers:
            super().extract_cookies(response)


# As an option of the client, the cookies would be copied into the class of httpx.
class _Client(httpx.Client):
    cookies = functools.cached_property(lambda _client: _Cookies())  # type: ignore[override]


class _AsyncClient(httpx.AsyncClient):
    cookies = functools.cached_property(lambda _client: _Cookies())  # type: ignore[override]


class _LoopbackClient(_Client):
    """A client of a server on this machine. It sends without what httpx does for redirects, authentication, proxies and
    streams, of which this package uses nothing there; without it and with a transport of its own, a short call takes a
    tenth less. Where mocks or instrumentation have replaced a method of httpx, it sends as httpx does."""

    def __init__(self, settings: Settings) -> None:
        from ._loopback_transport import LoopbackTransport  # loads httpcore, as httpx does with a client

        options = _options(settings)
        super().__init__(**options)
        self._loopback = LoopbackTransport(options["verify"])

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if not _are_original(httpx.Client.send, httpx.HTTPTransport.handle_request):
            return super().send(request, **options)
        try:
            response = self._loopback.handle_request(request)
        except httpx.TransportError as error:
            error.request = request
            raise
        return _received(self, request, response)

    def close(self) -> None:
        super().close()
        self._loopback.close()


class _AsyncLoopbackClient(_AsyncClient):
    """As `_LoopbackClient`, for asyncio."""

    def __init__(self, settings: Settings) -> None:
        from ._loopback_transport import AsyncLoopbackTransport  # loads httpcore, as httpx does with a client

        options = _options(settings)
        super().__init__(**options)
        self._loopback = AsyncLoopbackTransport(options["verify"])

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if not _are_original(httpx.AsyncClient.send, httpx.AsyncHTTPTransport.handle_async_request):
            return await super().send(request, **options)
        try:
            response = await self._loopback.handle_async_request(request)
        except httpx.TransportError as error:
            error.request = request
            raise
        return _received(self, request, response)

    async def aclose(self) -> None:
        await super().aclose()
        await self._loopback.aclose()


def _are_original(*methods: Any) -> bool:
    """Whether methods of httpx are its own. A wrapper may have the name, module and attributes of what it wraps."""
    return all(type(method) is FunctionType and method.__globals__["__name__"][:6] == "httpx." for method in methods)


def _received(
    client: Union[httpx.Client, httpx.AsyncClient], request: httpx.Request, response: httpx.Response
) -> httpx.Response:
    """Do for a response, of which all has arrived, what httpx does: link it to its request, keep its cookies, decode
    its content and log a line."""
    response.request = request
    client.cookies.extract_cookies(response)
    response.read()
    if _httpx_logger.isEnabledFor(logging.INFO):
        line = (request.method, request.url, response.http_version, response.status_code, response.reason_phrase)
        _httpx_logger.info('HTTP Request: %s %s "%s %d %s"', *line)
    return response


class Session:
    """Sends the calls of one sync client."""

    def __init__(self, settings: Settings, transport: Optional[httpx.BaseTransport]) -> None:
        self.settings = settings
        _check_transport(transport, httpx.BaseTransport)
        try:
            if transport is None and is_loopback(settings.host):
                self._http: _Client = _LoopbackClient(settings)
            else:
                self._http = _Client(transport=transport, **_options(settings))
        except (ImportError, *_FAILURES) as problem:
            raise _unusable(problem) from None
        # A client that is never closed must not leave sockets to the garbage collector's warnings.
        self._finalizer = weakref.finalize(self, self._http.close)

    @property
    def closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._finalizer()

    def send(self, call: Call[T]) -> T:
        """Carry out one call."""
        return self.run(perform(self.settings, call))

    def run(self, plan: CallPlan[T]) -> T:
        """Carry out a plan to its result."""
        outcome: Outcome = None
        try:
            while True:
                try:
                    action = plan.send(outcome)
                except StopIteration as end:
                    return cast(T, end.value)
                if isinstance(action, Pause):
                    _timing.sleep(action.seconds)
                    outcome = None
                elif isinstance(action, LocalWork):
                    outcome = action.outcome()
                else:
                    outcome = self._exchange(action)
        finally:
            plan.close()  # where sending was interrupted, the plan ends now, not when it is collected

    def _exchange(self, request: Request) -> Outcome:
        check_open(self)
        try:
            return _freed(self._http.send(_prepared(self._http, request)))
        except _FAILURES as problem:
            return problem


class AsyncSession:
    """Sends the calls of one async client."""

    def __init__(self, settings: Settings, transport: Optional[httpx.AsyncBaseTransport]) -> None:
        self.settings = settings
        _check_transport(transport, httpx.AsyncBaseTransport)
        try:
            if transport is None and is_loopback(settings.host):
                self._http: _AsyncClient = _AsyncLoopbackClient(settings)
            else:
                self._http = _AsyncClient(transport=transport, **_options(settings))
        except (ImportError, *_FAILURES) as problem:
            raise _unusable(problem) from None
        # Connections of a pool belong to the event loop that opened them. A transport that was given may have none.
        self._loop = EventLoop("this AsyncCaged", pooled=transport is None)

    @property
    def closed(self) -> bool:
        return self._http.is_closed

    async def close(self) -> None:
        if self.closed:
            return
        self._loop.check()
        try:
            await self._http.aclose()
        except RuntimeError as problem:
            if self._loop.is_another():
                raise self._loop.error() from None
            raise CagedError(f"the client's connections cannot be closed: {problem}") from None

    async def send(self, call: Call[T]) -> T:
        """Carry out one call."""
        return await self.run(perform(self.settings, call))

    async def run(self, plan: CallPlan[T]) -> T:
        """Carry out a plan to its result."""
        outcome: Outcome = None
        try:
            while True:
                try:
                    action = plan.send(outcome)
                except StopIteration as end:
                    return cast(T, end.value)
                if isinstance(action, Pause):
                    await _timing.sleep_async(action.seconds)
                    outcome = None
                elif isinstance(action, LocalWork):
                    outcome = await _in_thread(action)
                else:
                    outcome = await self._exchange(action)
        finally:
            plan.close()  # where sending was interrupted, the plan ends now, not when it is collected

    async def _exchange(self, request: Request) -> Outcome:
        check_open(self)
        self._loop.enter()
        try:
            return _freed(await self._http.send(_prepared(self._http, request)))
        except _FAILURES as problem:
            if isinstance(problem, RuntimeError) and self._loop.is_another():
                raise self._loop.error() from None
            return problem


async def _in_thread(work: LocalWork) -> Outcome:
    import asyncio  # whoever comes here runs an event loop

    return await asyncio.to_thread(work.outcome)


def _prepared(client: Union[httpx.Client, httpx.AsyncClient], request: Request) -> httpx.Request:
    """What the client's `build_request` returns, which takes a quarter of the processor time of a short call: it copies
    and decodes the headers several times to merge them."""
    url = _parsed(request.url)
    headers = [(b"Host", url.netloc), *client.headers.raw]
    headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in request.headers.items()]
    content = request.content or b""
    if content or request.method in _WITH_CONTENT:
        headers.append((b"Content-Length", b"%d" % len(content)))
    prepared = httpx.Request(
        request.method,
        url,
        headers=headers,
        cookies=client.cookies,
        stream=httpx.ByteStream(content),
        extensions={"timeout": _timeouts(request.timeout)},
    )
    prepared.read()  # so that a transport can look at its content
    return prepared


#: A request by these methods has a length, also without a body.
_WITH_CONTENT = ("POST", "PUT", "PATCH")


@functools.lru_cache(maxsize=64)
def _timeouts(seconds: Optional[float]) -> dict[str, Optional[float]]:
    return httpx.Timeout(seconds).as_dict()


def _freed(response: httpx.Response) -> httpx.Response:
    """A response that is read to its end, without its stream, which refers to the response.

    The cycle would keep the bodies of both directions, of megabytes, until the garbage collector finds it.
    """
    response.stream = _READ
    return response


_READ = httpx.ByteStream(b"")


def check_open(session: Union[Session, AsyncSession]) -> None:
    """Raise CagedError for a closed client."""
    if session.closed:
        raise CagedError("this client is closed; make a new one")


def _check_transport(transport: Any, kind: type) -> None:
    if transport is not None and not isinstance(transport, kind):
        raise CagedError(f"transport must be an httpx.{kind.__name__}, not {type(transport).__name__}")


def _unusable(problem: Exception) -> CagedError:
    return CagedError(f"cannot set up HTTP with the environment's proxy and certificate settings: {problem}")


def _options(settings: Settings) -> dict[str, Any]:
    """The options of both httpx clients."""
    local = is_loopback(settings.host)
    return {
        "headers": {
            "Authorization": f"Bearer {settings.api_key}",
            "Accept": "application/json",
            "User-Agent": f"caged-python/{__version__}",
        },
        "timeout": settings.timeout,
        "limits": httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEEPALIVE_CONNECTIONS),
        "follow_redirects": False,
        "trust_env": not local,  # no proxy variable may divert what stays on this machine
        "verify": _verify(settings, local),
    }


def _verify(settings: Settings, local: bool) -> Union[ssl.SSLContext, bool]:
    """Reading the CA bundle costs more than 20 ms per client: only done where TLS may be spoken."""
    if settings.is_encrypted:
        # trust_env is off for loopback, yet SSL_CERT_FILE is how a local CA is named.
        return httpx.create_ssl_context() if local else True
    if not local and any(proxy.lower().startswith("https:") for proxy in getproxies().values()):
        return True
    return no_authorities()


@functools.lru_cache(maxsize=256)
def _parsed(url: str) -> httpx.URL:
    """Most calls repeat an address, and parsing it takes a tenth of the processor time of a short call."""
    return httpx.URL(url)


@functools.cache
def no_authorities() -> ssl.SSLContext:
    """A context that trusts no certificate authority, for all clients of plain HTTP: to make one takes as long as to
    make all the rest of a client."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@functools.lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """True for localhost, 127.0.0.0/8 and ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""The ASGI application: routes and the gate in front of them, nothing else."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import Callable, Optional
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from .control.routes import Route as ApiRoute
from .platform.errors import ApiError
from .platform.platform import Platform
from .wire import account, execs, files, health, mcp, openapi_endpoint, ports, sandboxes, snapshots, terminals, tickets
from .wire.admin.operations import PREFIX
from .wire.dispatch import Dispatcher, add_common_headers
from .wire.operation import Operation
from .wire.preview_address import target_of
from .wire.problem import problem
from .wire.sockets import SocketDispatcher, SocketOperation, refuse, unknown


def operations() -> list[Operation]:
    """Everything that is served."""
    from .wire import alerts, billing, device_logins, events, logins, not_implemented, notifications, sessions, trust

    return [
        *_core(),
        *logins.operations,
        *device_logins.operations,
        *billing.operations,
        *alerts.operations,
        *notifications.operations,
        *sessions.operations,
        *events.operations,
        *trust.operations,
        *not_implemented.operations,
        *_of_the_emulator(),
    ]


def _core() -> list[Operation]:
    """What nearly every client calls."""
    return [
        *sandboxes.operations,
        *execs.operations,
        *files.operations,
        *snapshots.operations,
        *account.operations,
        *tickets.operations,
        *terminals.operations,
        *ports.operations,
        *mcp.operations,
        *health.operations,
        openapi_endpoint.describing(operations),
    ]


def socket_operations() -> list[SocketOperation]:
    return [terminals.socket_operation, mcp.socket_operation]


def build(platform: Platform) -> ASGIApp:
    platform.faults.routes = _of_the_platform
    routes = [
        Route(f"{PREFIX}/{{rest:path}}", _Later(platform, _of_the_emulator)),
        *_routes(platform, _core()),
        Route("/{rest:path}", _Later(platform, operations)),
    ]
    sockets = [WebSocketRoute(socket.path, SocketDispatcher(platform, socket)) for socket in socket_operations()]
    sockets.append(WebSocketRoute("/{rest:path}", unknown(platform)))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response: Response
        if error.status_code == 404:
            response = PlainTextResponse("404 page not found\n", 404)
        else:
            response = problem(ApiError(error.status_code, f"{request.method} is not allowed here"))
            response.headers.update(error.headers or {})
        add_common_headers(response, platform)
        return response

    app = Starlette(routes=[*routes, *sockets], exception_handlers={404: refused, 405: refused})
    app.router.redirect_slashes = False
    return Gate(app, platform)


def _routes(platform: Platform, served: Iterable[Operation]) -> list[Route]:
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in served:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, Dispatcher(platform, methods), methods=list(methods)) for path, methods in by_path.items()]


@functools.cache
def _of_the_platform() -> tuple[ApiRoute, ...]:
    """Without the emulator's own."""
    return tuple(
        ApiRoute(operation.method, operation.path, operation.name) for operation in operations() if not operation.admin
    )


def _of_the_emulator() -> list[Operation]:
    """The operations about the emulator itself."""
    from .wire.admin.all import operations as admin

    return admin


class _Later:
    """Routes that are made when the first request for one of them comes, so that an emulator starts faster."""

    def __init__(self, platform: Platform, operations: Callable[[], list[Operation]]) -> None:
        self._platform = platform
        self._operations = operations
        self._router: Optional[Router] = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._router is None:
            self._router = Router(_routes(self._platform, self._operations()), redirect_slashes=False)
        await self._router(scope, receive, send)


class Gate:
    """In front of the routes: routes on the raw path, and refuses requests that a foreign web page makes.

    Names are what DNS rebinding needs, so plain addresses pass as Host; an Origin must be of this machine.
    """

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform
        config = platform.config
        self._hosts = {"localhost", config.host.lower(), *(name.lower() for name in config.allow_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        # Routing happens on the still-encoded path, so that an id may hold an encoded slash.
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        scope = dict(scope, path=path)
        refusal = self._foreign(scope)
        if refusal is None:
            target = target_of(scope)
            if target is not None:
                from .wire.preview import Previews  # with a client of HTTP and WebSockets, for who looks at some

                return await Previews(self._platform)(target, scope, receive, send)
            return await self._app(scope, receive, send)
        response = problem(refusal)
        if scope["type"] == "websocket":
            return await refuse(WebSocket(scope, receive, send), self._platform, response)
        add_common_headers(response, self._platform)
        await response(scope, receive, send)

    def _foreign(self, scope: Scope) -> Optional[ApiError]:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._known(_name(f"//{host}"), addresses=True):
            return ApiError(403, f"Host {host!r} is not this emulator's; start it with --allow-host to accept it")
        origin = headers.get(b"origin")
        if origin is not None and not self._known(_name(origin.decode("latin-1")), addresses=False):
            return ApiError(403, f"Origin {origin.decode('latin-1')!r} is not of this machine")
        return None

    def _known(self, name: Optional[str], addresses: bool) -> bool:
        if not name:
            return False
        if name in self._hosts or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return addresses or address.is_loopback


def _name(url: str) -> Optional[str]:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None

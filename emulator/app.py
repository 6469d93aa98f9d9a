"""The ASGI application: the routes of all operations, behind a check of the request's origin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable, Optional

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .platform.errors import ApiError
from .platform.platform import Platform
from .wire.admin.operations import PREFIX
from .wire.all_operations import (
    admin_operations,
    all_operations,
    core_operations,
    socket_operations,
)
from .wire.common_headers import add_common_headers
from .wire.dispatch import Dispatcher, SocketDispatcher
from .wire.front_door import FrontDoor
from .wire.operation import Operation
from .wire.problem import problem
from .wire.sockets import not_found


def build(platform: Platform) -> ASGIApp:
    """Build the application that serves a platform."""
    routes = [
        Route(f"{PREFIX}/{{rest:path}}", _DeferredRoutes(platform, admin_operations)),
        *_routes(platform, core_operations()),
        Route("/{rest:path}", _DeferredRoutes(platform, all_operations)),
    ]
    sockets = [WebSocketRoute(socket.path, SocketDispatcher(platform, socket)) for socket in socket_operations()]
    sockets.append(WebSocketRoute("/{rest:path}", not_found(platform)))

    router = Router([*routes, *sockets], redirect_slashes=False)
    app = _Application(router, platform)
    return FrontDoor(app, platform, _DeferredInspector(platform, app))


class _Application:
    """The routes, and the answer where none of them serves a request.

    Not a Starlette application: its two layers of middleware would handle each message of each response, for errors
    that the dispatchers answer themselves.

    Args:
        router: The routes.
        platform: The emulator's platform.
    """

    def __init__(self, router: Router, platform: Platform) -> None:
        self._router = router
        self._platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # makes a route raise HTTPException instead of answering with a text of its own
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await self._answer_without_operation(scope["method"], error)(scope, receive, send)

    def _answer_without_operation(self, method: str, error: HTTPException) -> Response:
        response: Response
        if error.status_code == 404:
            response = PlainTextResponse("404 page not found\n", 404)
        else:
            response = problem(ApiError(error.status_code, f"{method} is not allowed here"))
            response.headers.update(error.headers or {})
        add_common_headers(response, self._platform)
        return response


def _routes(platform: Platform, served: Iterable[Operation]) -> list[Route]:
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in served:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, Dispatcher(platform, methods), methods=list(methods)) for path, methods in by_path.items()]


class _DeferredInspector:
    """The inspector, whose modules are imported with the first request for it.

    Args:
        platform: The emulator's platform.
        app: The application whose API its pages call.
    """

    def __init__(self, platform: Platform, app: ASGIApp) -> None:
        self._platform = platform
        self._app = app
        self._inspector: Optional[ASGIApp] = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inspector is None:
            from .inspector.application import Inspector

            self._inspector = Inspector(self._platform, self._app)
        await self._inspector(scope, receive, send)


class _DeferredRoutes:
    """Routes that are made for the first request for one of them, so that an emulator starts faster.

    Args:
        platform: The emulator's platform.
        operations: Returns the operations of the routes.
    """

    def __init__(self, platform: Platform, operations: Callable[[], list[Operation]]) -> None:
        self._platform = platform
        self._operations = operations
        self._router: Optional[Router] = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._router is None:
            self._router = Router(_routes(self._platform, self._operations()), redirect_slashes=False)
        await self._router(scope, receive, send)

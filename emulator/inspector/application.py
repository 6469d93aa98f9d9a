"""The ASGI application of the inspector: logins, pages, and the API for the pages.

It is all that is served at the host name `inspector.localhost`. A preview is served at the emulator's other addresses,
so what a sandbox serves is another origin and another site for a browser: it neither reads the pages nor gets the
cookie.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Optional
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..platform.errors import ApiError
from ..platform.inspector_logins import HOST, PATH, SESSION_SECONDS
from ..platform.platform import Platform
from ..store import Account
from ..wire.problem import problem
from ..wire.sockets import deny
from .assets import asset
from .layout import plain_page
from .pages import Pages

#: Sent with each response. Pages load their own scripts and styles, and nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
#: Calls of the API that answer with keys or make them, which no page needs.
WITH_SECRETS = (
    "/_emulator/accounts",
    "/_emulator/export",
    "/_emulator/import",
    "/_emulator/inspector/",
    "/v1/account/keys",
    "/v1/auth/",
)
_API = ("/_emulator/", "/v1/")


class Inspector:
    """Serves the inspector.

    Args:
        platform: The emulator's platform.
        app: The application whose API the pages call.
    """

    def __init__(self, platform: Platform, app: ASGIApp) -> None:
        self._platform = platform
        self._app = app
        self._logins = platform.inspector_logins
        self._pages = Pages(platform)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            error = ApiError(404, "the inspector has no WebSocket")
            return await deny(WebSocket(scope, receive, send), self._platform, problem(error))
        request = Request(scope, receive)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in HEADERS}
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
                message = {**message, "headers": [*headers, *HEADERS]}
            await send(message)

        try:
            response = await self._respond(request)
        except ApiError as error:
            response = problem(error)
        if response is not None:
            return await response(scope, receive, send_with_headers)
        await self._app(self._authorized(scope, request), receive, send_with_headers)

    async def _respond(self, request: Request) -> Optional[Response]:
        """The response to a request; None for an allowed call of the API."""
        path = request.scope["path"]
        if _host(request) != HOST:
            return self._to_own_host(request)
        if path in ("/", PATH):
            return RedirectResponse(f"{PATH}/", 303)
        if path.startswith(f"{PATH}/static/"):
            return asset(path.rpartition("/")[2]) or _not_found()
        if path == f"{PATH}/login":
            return self._log_in(request)
        if path == f"{PATH}/logout":
            return self._log_out(request)
        if path.startswith(f"{PATH}/"):
            return await self._page(request, path[len(PATH) + 1 :])
        if not path.startswith(_API):
            return _not_found()
        self._check_call(request)
        return None

    def _to_own_host(self, request: Request) -> Response:
        """The way from any address of the emulator to the inspector's own; with the port by which the browser came,
        which may be a forwarded one."""
        _, _, port = request.headers.get("host", "").rpartition(":")
        path = request.scope["path"] if request.scope["path"] != "/" else f"{PATH}/"
        query = request.scope["query_string"].decode("latin-1")
        authority = f"{HOST}:{port}" if port.isdecimal() else HOST
        return RedirectResponse(f"http://{authority}{path}{f'?{query}' if query else ''}", 303)

    # --- logins

    def _log_in(self, request: Request) -> Response:
        if request.method != "GET":
            return _only("GET")
        session = self._logins.redeem(request.query_params.get("token", ""))
        if session is None:
            return _needs_login(403, "This link was used already, or has expired.")
        response = RedirectResponse(f"{PATH}/", 303)
        response.set_cookie(
            self._logins.cookie, session, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="strict"
        )
        return response

    def _log_out(self, request: Request) -> Response:
        if request.method != "POST":
            return _only("POST")
        self._check_call(request)
        self._logins.log_out(self._session(request))
        response = Response(status_code=204)
        response.delete_cookie(self._logins.cookie, path="/", httponly=True, samesite="strict")
        return response

    def _session(self, request: Request) -> str:
        return request.cookies.get(self._logins.cookie, "")

    # --- pages

    async def _page(self, request: Request, name: str) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _only("GET")
        if not self._logins.is_session(self._session(request)):
            return _needs_login(401, "You are not logged in.")
        try:
            html = await self._pages.render([unquote(part, errors="replace") for part in name.split("/")], request)
        except ApiError as error:
            return HTMLResponse(plain_page("Not found" if error.status == 404 else "Error", [str(error)]), error.status)
        return HTMLResponse(html)

    # --- the API, for the pages

    def _check_call(self, request: Request) -> None:
        """Check that a call comes from a page of a session.

        Raises:
            ApiError: 401 without a session, 403 for a call of another origin or one that answers with keys.
        """
        if not self._logins.is_session(self._session(request)):
            raise ApiError(401, "not logged in to the inspector; `caged-emulator ui` makes a link")
        headers = request.headers
        if headers.get("origin", _origin(request)) != _origin(request):
            raise ApiError(403, f"Origin {headers['origin']!r} is not the inspector's")
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise ApiError(403, f"the call is {headers['sec-fetch-site']}; only pages of the inspector may make it")
        if request.method not in ("GET", "HEAD") and headers.get("x-caged-inspector") != "1":
            raise ApiError(403, "a call that changes something needs the header `X-Caged-Inspector: 1`")
        if _is_below(request.scope["path"], WITH_SECRETS):
            raise ApiError(403, "the inspector does not call what answers with keys; use the admin key or an API key")

    def _authorized(self, scope: Scope, request: Request) -> Scope:
        """The request as the API gets it: with a key, and without the cookie."""
        if scope["path"].startswith("/v1/"):
            key = self._key(self._platform.accounts.administered(request.headers.get("x-caged-account")))
        else:
            key = self._platform.admin_key
        dropped = (b"cookie", b"authorization", b"x-caged-account", b"x-caged-inspector")
        headers = [pair for pair in scope["headers"] if pair[0] not in dropped]
        return {**scope, "headers": [*headers, (b"authorization", b"Bearer " + key.encode())]}

    def _key(self, account: Account) -> str:
        """A full key of an account; empty for one that has none left, and for all accounts, which the API rejects."""
        return next((key.secret for key in account.keys.values() if key.scope == "full"), "")


def _host(request: Request) -> str:
    return request.headers.get("host", "").lower().partition(":")[0]


def _origin(request: Request) -> str:
    return f"http://{request.headers.get('host', '').lower()}"


def _is_below(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or below one. An encoded path is decoded first, as a route's parameters are."""
    decoded = unquote(path)
    return any(decoded == prefix.rstrip("/") or decoded.startswith(prefix.rstrip("/") + "/") for prefix in prefixes)


def _not_found() -> Response:
    return PlainTextResponse("404 page not found\n", 404)


def _only(method: str) -> Response:
    return PlainTextResponse(f"use {method}\n", 405, headers={"Allow": method})


def _needs_login(status: int, text: str) -> Response:
    lines = [text, "Run this on the emulator's machine, and it opens the inspector:"]
    return HTMLResponse(plain_page("Log in", lines, code="caged-emulator ui"), status)

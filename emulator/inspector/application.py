"""The ASGI application of the inspector: logins, pages, and the API for the pages.

It is all that is served at the inspector's own host name, `inspector-….localhost`. A preview is served at the other
addresses of the emulator, so what a sandbox serves is another origin and another site for a browser: it neither reads
the pages nor gets the cookie, and a service worker that it registers never sees a link that logs in. At these other
addresses there is only a page that says how to log in. Nothing there may name the host.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Optional
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..platform.errors import ApiError
from ..platform.inspector_logins import COOKIE, PATH, SESSION_SECONDS
from ..platform.platform import Platform
from ..wire.fault_injection.connection import TRANSPORT
from ..wire.problem import problem
from ..wire.sockets import deny
from .assets import asset
from .layout import plain_page
from .renderer import Renderer
from .request_checks import ACCOUNT_HEADER, CALL_HEADER, check_call, check_socket, is_own_host

#: Pages load their own scripts and styles, and nothing else.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
#: An answer of the API, which may be a file of a sandbox, loads nothing and runs nothing, however it is opened.
_API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NOT_STORED = (b"cache-control", b"no-store")
#: Scripts and styles at the inspector's own host name, which is another one after the next start of an emulator.
_STORED = (b"cache-control", b"private, max-age=3600")
_API = ("/_emulator/", "/v1/")
_STATIC = f"{PATH}/static/"


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
        self._renderer = Renderer(platform)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._socket(scope, receive, send)
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ApiError as error:
            response = problem(error)
        if response is not None:
            is_static = request.scope["path"].startswith(_STATIC) and response.status_code == 200
            is_stored = is_static and is_own_host(request.headers, self._logins)
            return await response(scope, receive, _with_headers(send, _PAGE_POLICY, is_stored))
        try:
            key = self._platform.admin_key
            if scope["path"].startswith("/v1/"):
                key = self._key(request.headers.get(ACCOUNT_HEADER))
        except ApiError as error:
            return await problem(error)(scope, receive, _with_headers(send, _API_POLICY))
        # Every call handles that its client is disconnected.
        with self._logins.in_use(self._session(request), scope[TRANSPORT].abort):
            await self._app(_with_key(scope, key), receive, _with_headers(send, _API_POLICY))

    async def _respond(self, request: Request) -> Optional[Response]:
        """The response to a request; None for an allowed call of the API."""
        path = request.scope["path"]
        if path in ("/", PATH):
            return RedirectResponse(f"{PATH}/", 303)
        if path.startswith(_STATIC):
            return asset(path.rpartition("/")[2]) or _not_found()
        if not is_own_host(request.headers, self._logins):
            return _needs_login(401, "The inspector is opened by a link that logs in, at an address of its own.")
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

    # --- logins

    def _log_in(self, request: Request) -> Response:
        if request.method != "GET":
            return _only("GET")
        session = self._logins.redeem(request.query_params.get("token", ""))
        if session is None:
            return _needs_login(403, "This link was used already, or has expired.")
        response = RedirectResponse(f"{PATH}/", 303)
        response.set_cookie(COOKIE, session, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="strict")
        return response

    def _log_out(self, request: Request) -> Response:
        if request.method != "POST":
            return _only("POST")
        self._check_call(request)
        self._logins.log_out(self._session(request))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    def _session(self, connection: HTTPConnection) -> str:
        return connection.cookies.get(COOKIE, "")

    # --- pages

    async def _page(self, request: Request, name: str) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _only("GET")
        if not self._logins.is_session(self._session(request)):
            if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                return _once_more(request)
            return _needs_login(401, "You are not logged in to this emulator.")
        path = [unquote(part, errors="replace") for part in name.split("/")]
        try:
            return HTMLResponse(await self._renderer.render(path, request.query_params))
        except ApiError as error:
            return HTMLResponse(plain_page("Not found" if error.status == 404 else "Error", [str(error)]), error.status)

    # --- the API, for the pages

    def _check_call(self, request: Request) -> None:
        path = request.scope["path"]
        check_call(request.method, path, request.headers, self._session(request), self._logins)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket of a page. A script cannot set a header for it, so the account is in the query. The API reads a
        key there, too."""
        socket = WebSocket(scope, receive, send)
        try:
            if not is_own_host(socket.headers, self._logins) or not scope["path"].startswith("/v1/"):
                raise ApiError(404, "the inspector has no such WebSocket")
            check_socket(scope["path"], socket.headers, self._session(socket), self._logins)
            key = self._key(socket.query_params.get("account"))
        except ApiError as error:
            return await deny(socket, self._platform, problem(error))
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        kept = [*(pair for pair in query if pair[0] not in ("account", "token")), ("token", key)]
        with self._logins.in_use(self._session(socket), scope[TRANSPORT].abort):
            await self._app({**_with_key(scope, key), "query_string": urlencode(kept).encode()}, receive, send)

    def _key(self, account_id: Optional[str]) -> str:
        """A full key of an account."""
        account = self._platform.accounts.administered(account_id or None)
        key = next((key.secret for key in account.keys.values() if key.scope == "full"), None)
        if key is None:
            raise ApiError(409, "the account has no key with the scope `full` left, which calls of a page need")
        return key


def _with_key(scope: Scope, key: str) -> Scope:
    """A request as the API gets it: with a key, and without the cookie."""
    dropped = {b"cookie", b"authorization", ACCOUNT_HEADER.encode(), CALL_HEADER.encode()}
    headers = [pair for pair in scope["headers"] if pair[0] not in dropped]
    return {**scope, "headers": [*headers, (b"authorization", b"Bearer " + key.encode())]}


def _with_headers(send: Send, policy: str, is_stored: bool = False) -> Send:
    """Send a response with the headers of all of the inspector's."""
    ours = ((b"content-security-policy", policy.encode()), _STORED if is_stored else _NOT_STORED, *_HEADERS)
    names = {name for name, _ in ours}

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
            message = {**message, "headers": [*headers, *ours]}
        await send(message)

    return send_with_headers


def _once_more(request: Request) -> Response:
    """A page that opens the same page again. A browser sends the cookie only to a request of the same site, and a link
    elsewhere (a chat, an editor in the browser) is not one, also if it leads to a page that one may see."""
    query = request.scope["query_string"].decode("latin-1")
    url = request.scope["path"] + (f"?{query}" if query else "")
    return HTMLResponse(plain_page("Opening the inspector", [], refresh=url))


def _not_found() -> Response:
    return PlainTextResponse("404 page not found\n", 404)


def _only(method: str) -> Response:
    return PlainTextResponse(f"use {method}\n", 405, headers={"Allow": method})


def _needs_login(status: int, text: str) -> Response:
    lines: Sequence[str] = [text, "Run this on the emulator's machine, and the inspector opens:"]
    return HTMLResponse(plain_page("Log in", lines, code="caged-emulator ui"), status)

"""What happens to a request before it is routed: requests of foreign web pages are rejected, previews are served."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from typing import Optional
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..platform.errors import ApiError
from ..platform.inspector_logins import PATH as INSPECTOR_PATH
from ..platform.platform import Platform
from .common_headers import add_common_headers
from .preview_address import target_of
from .problem import problem
from .sockets import deny


class FrontDoor:
    """The outermost ASGI application.

    Any IP address is accepted as Host: an attack by DNS rebinding can only send a name, so only names are checked. They
    have to be this machine's or allowed ones.
    Origin has to be this machine's. The inspector is all that is served at its own host name.

    Args:
        app: What serves the API.
        platform: The emulator's platform.
        inspector: What serves the inspector.
    """

    def __init__(self, app: ASGIApp, platform: Platform, inspector: ASGIApp) -> None:
        self._app = app
        self._inspector = inspector
        self._platform = platform
        config = platform.config
        self._hosts = {"localhost", config.host.lower(), *(name.lower() for name in config.allow_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        # The path is routed while it is still encoded, so that an id may hold an encoded slash.
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        scope = dict(scope, path=path)
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = _host_name(f"//{host}")
        error = self._origin_error(host, name, headers.get(b"origin"))
        if error is None:
            target = target_of(scope, host)
            is_inspector = name == self._platform.inspector_logins.host
            if is_inspector or (target is None and _is_for_inspector(scope, headers)):
                return await self._inspector(scope, receive, send)
            if target is not None:
                from .preview import Previews  # imports an HTTP client

                return await Previews(self._platform)(target, scope, receive, send)
            return await self._app(scope, receive, send)
        response = problem(error)
        if scope["type"] == "websocket":
            return await deny(WebSocket(scope, receive, send), self._platform, response)
        add_common_headers(response, self._platform)
        await response(scope, receive, send)

    def _origin_error(self, host: str, name: Optional[str], origin: Optional[bytes]) -> Optional[ApiError]:
        if not self._is_allowed(name, allow_addresses=True):
            return ApiError(403, f"Host {host!r} is not this emulator's; start it with --allow-host to accept it")
        if origin is not None and not self._is_allowed(_host_name(origin.decode("latin-1")), allow_addresses=False):
            return ApiError(403, f"Origin {origin.decode('latin-1')!r} is not of this machine")
        return None

    def _is_allowed(self, name: Optional[str], allow_addresses: bool) -> bool:
        if not name:
            return False
        if name in self._hosts or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return allow_addresses or address.is_loopback


def _is_for_inspector(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request to any of the emulator's addresses, which is not for a preview, is for a page of the
    inspector."""
    path = scope["path"]
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    if path == "/":
        return b"text/html" in headers.get(b"accept", b"")
    return bool(path == INSPECTOR_PATH or path.startswith(f"{INSPECTOR_PATH}/"))


@functools.lru_cache(maxsize=64)
def _host_name(url: str) -> Optional[str]:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None

"""Previews: what a program in a sandbox serves on one of its ports, shown to a browser or any other HTTP client.

    http://127.0.0.1:4747/_preview/cage_ab12cd34/3000/any/path     works everywhere; this is the `preview_url`
    http://cage_ab12cd34-3000.localhost:4747/any/path              for pages whose links begin with a slash

The second needs a resolver that takes `*.localhost` for this machine, as browsers and curl do and Python may not. No
API key is asked for, but the port's password, where one is set, by Basic authentication.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from typing import Optional

from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..control.journal import Entry
from ..control.scope import act_for
from ..platform.platform import Platform
from ..platform.refusal import Refusal
from .dispatch import add_common_headers
from .preview_http import forward
from .problem import problem
from .sockets import refuse

_PATH = re.compile(r"/_preview/([^/]+)/(\d{1,5})(/.*)?\Z")
_HOST = re.compile(r"(cage_[a-z0-9]+)-(\d{1,5})\.localhost(?::\d+)?\Z")


def url_of(base: str, sandbox_id: str, port: int) -> str:
    """The address of a preview on the emulator that is reached as `base`."""
    return f"{base}/_preview/{sandbox_id}/{port}/"


@dataclass(frozen=True)
class Target:
    """`prefix`: what the visitor's path has in front of the server's own. `path`: raw, with its query."""

    sandbox_id: str
    port: int
    prefix: str
    path: str


def target_of(scope: Scope) -> Optional[Target]:
    """What a request is a preview of, if it is one."""
    headers = dict(scope["headers"])
    path = scope["raw_path"].decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    found = _HOST.match(headers.get(b"host", b"").decode("latin-1").lower())
    target: Optional[Target] = None
    if found:
        target = Target(found[1], int(found[2]), "", path or "/")
    else:
        found = _PATH.match(path)
        if found:
            target = Target(found[1], int(found[2]), f"/_preview/{found[1]}/{found[2]}", found[3] or "")
    return replace(target, path=f"{target.path}?{query}") if target and query else target


class Previews:
    """Answers the requests that are previews."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def __call__(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        services = self._platform.services
        method = scope.get("method", "GET")
        entry = services.journal.add(
            Entry(services.clock.timestamp(), method, scope["path"], "preview", sandbox=target.sandbox_id)
        )
        act_for("")
        sandbox = services.store.sandboxes.get(target.sandbox_id)
        if sandbox is not None:
            act_for(sandbox.account_id)
            services.journal.belongs(entry, sandbox.account_id, services.clock.timestamp())

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            await send(message)

        try:
            await self._serve(target, scope, receive, answer)
            entry.status = entry.status or 101
        except Refusal as refusal:
            entry.status = refusal.status
            await self._refuse(refusal, scope, receive, send)

    async def _serve(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        ports = self._platform.ports
        sandbox = await ports.admit(target.sandbox_id, target.port, _password(scope))
        protected = ports.is_protected(sandbox.id, target.port)
        async with self._platform.sandboxes.active(sandbox):
            connection = await ports.connect(sandbox, target.port)
            if scope["type"] == "websocket":
                from .preview_socket import forward_socket  # brings all of a WebSocket client along

                await forward_socket(target.port, target.path, scope, receive, send, connection, protected)
            elif not target.path.startswith("/"):
                connection.close()
                await _to_the_directory(target, send)
            else:
                await forward(target.port, target.prefix, target.path, scope, receive, send, connection, protected)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem(refusal, scope["path"])
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="preview"'
        if scope["type"] == "websocket":
            await refuse(WebSocket(scope, receive, send), self._platform, response)
            return
        add_common_headers(response, self._platform)
        await response(scope, receive, send)


async def _to_the_directory(target: Target, send: Send) -> None:
    """Relative links of a page need the slash at the end of its address."""
    location = f"{target.prefix}/{target.path}".encode("latin-1")
    await send({"type": "http.response.start", "status": 307, "headers": [(b"location", location)]})
    await send({"type": "http.response.body", "body": b""})


def _password(scope: Scope) -> Optional[str]:
    """Of Basic authentication; the user name does not matter."""
    text = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    scheme, _, encoded = text.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return None

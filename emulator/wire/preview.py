"""Serve previews (see preview_address.py)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Optional

from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..control.current_account import act_for
from ..control.records import RequestRecord
from ..control.step import Step, set_current
from ..platform.errors import ApiError
from ..platform.platform import Platform
from .common_headers import add_common_headers
from .preview_address import Target, with_query
from .preview_credentials import CredentialFilter
from .preview_http import forward
from .problem import problem
from .sockets import deny


class Previews:
    """Passes previews' requests on to the servers in sandboxes."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def __call__(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        platform = self._platform
        method = scope.get("method", "GET")
        record = platform.journal.add(
            RequestRecord(platform.clock.timestamp(), method, scope["path"], "preview", sandbox=target.sandbox_id)
        )
        act_for("")
        set_current(None)
        sandbox = platform.store.sandboxes.get(target.sandbox_id)
        if sandbox is not None:
            act_for(sandbox.account_id)
            platform.journal.assign(record, sandbox.account_id, platform.clock.timestamp())
        step = self._begin_step(record)

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        try:
            await self._serve(target, scope, receive, send_and_record)
            record.status = record.status or 101
        except ApiError as error:
            record.status = error.status
            await self._answer_error(error, scope, receive, send)
        finally:
            is_answered = 100 <= record.status < 400
            platform.steps.finish(step, "ok" if is_answered else "error", status=record.status)

    def _begin_step(self, record: RequestRecord) -> Step:
        """Begin the step of a request. Its query, which may hold a credential, is not recorded."""
        path = self._platform.journal.redacted_path(record.account, record.path)
        return self._platform.steps.begin(
            "request",
            f"{record.method} {path}",
            account=record.account,
            sandbox=record.sandbox,
            parent="",
            method=record.method,
            path=path,
            operation="preview",
        )

    async def _serve(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        ports = self._platform.ports
        sandbox = await ports.admit(target.sandbox_id, target.port, _password(scope))
        scope = CredentialFilter(self._platform).filter(scope)
        target = replace(target, path=with_query(target.path, scope["query_string"]))
        protected = ports.is_protected(sandbox.id, target.port)
        async with self._platform.sandboxes.active(sandbox):
            connection = await ports.connect(sandbox, target.port)
            if scope["type"] == "websocket":
                from .preview_socket import forward_socket  # imports a WebSocket client

                await forward_socket(target.port, target.path, scope, receive, send, connection, protected)
            elif not target.path.startswith("/"):
                connection.close()
                await _redirect_to_directory(target, send)
            else:
                await forward(target.port, target.prefix, target.path, scope, receive, send, connection, protected)

    async def _answer_error(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem(error)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="preview"'
        if scope["type"] == "websocket":
            await deny(WebSocket(scope, receive, send), self._platform, response)
            return
        add_common_headers(response, self._platform)
        await response(scope, receive, send)


async def _redirect_to_directory(target: Target, send: Send) -> None:
    """Add the slash at the end of a preview's address, without which relative links of its page are wrong."""
    location = f"{target.prefix}/{target.path}".encode("latin-1")
    await send({"type": "http.response.start", "status": 307, "headers": [(b"location", location)]})
    await send({"type": "http.response.body", "body": b""})


def _password(scope: Scope) -> Optional[str]:
    """The password of Basic authentication, with any user name; None without one."""
    text = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    scheme, _, encoded = text.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return None

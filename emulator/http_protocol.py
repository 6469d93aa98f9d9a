"""What uvicorn does with an HTTP connection, with what faults need."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .wire.faulty import TRANSPORT


class Http(H11Protocol):
    """As uvicorn's; its requests know their connection, for faults that break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = with_transport(self.app, transport)


def with_transport(app: Any, transport: asyncio.Transport) -> Any:
    async def connected(scope: Scope, receive: Receive, send: Send) -> None:
        scope[TRANSPORT] = transport
        await app(scope, receive, send)

    return connected

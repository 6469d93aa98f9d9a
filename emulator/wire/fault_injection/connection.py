"""Breaking a client's connection."""

from __future__ import annotations

import asyncio
from typing import Any, Optional

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ...control.fault_registry import Injection

#: The key of a scope that holds the transport of the request's connection; `http_protocol.py` sets it.
TRANSPORT = "caged.transport"
#: The longest wait for the server to notice that a connection was broken here.
_NOTICE_SECONDS = 5.0


def break_connection(transport: Any, injection: Optional[Injection]) -> None:
    """Break a connection, and trigger the fault unless the client has closed the connection already.

    Args:
        transport: The connection's asyncio transport.
        injection: The fault that breaks it; None when it has triggered before.
    """
    if injection is not None and not transport.is_closing():
        injection.trigger()
    transport.abort()


async def until_disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


async def until_break_is_noticed(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is broken; otherwise it would log a missing response."""
    try:
        await asyncio.wait_for(until_disconnected(receive), _NOTICE_SECONDS)
    except (asyncio.TimeoutError, ClientDisconnect):
        pass

"""uvicorn around the application, on a socket that listens already; in a thread or in the foreground."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable, Optional

import uvicorn
from starlette.types import ASGIApp

from .http_protocol import Http
from .listening import BACKLOG

#: After the sandboxes are gone every request ends by itself; what has not after this is cut.
GRACE_SECONDS = 3
#: The largest message that a client may send, except to the MCP server (websocket_protocol.py).
WS_MESSAGE_BYTES = 4 * 1024 * 1024
#: Longer than any client keeps an idle connection, so that none meets one that is just being closed.
KEEP_ALIVE_SECONDS = 90


class Server:
    """`serve` returns after `stop` was called. Signals are the caller's business."""

    def __init__(self, app: ASGIApp, sock: socket.socket, on_ready: Callable[[], None]) -> None:
        self._sock = sock
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws=_websocket,  # type: ignore[arg-type]
            ws_max_size=WS_MESSAGE_BYTES,
            # A client that reads slowly answers no ping either; its connection's end is seen without.
            ws_ping_interval=None,
            ws_ping_timeout=None,
            ws_per_message_deflate=False,  # on one machine it costs more than it saves
            http=Http,
            loop="asyncio",
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
            proxy_headers=False,
        )
        self._uvicorn = _Uvicorn(config, on_ready)

    async def serve(self) -> None:
        await self._uvicorn.run_on(self._sock)

    def stop(self) -> None:
        """Stops taking connections and ends when the requests in progress have ended."""
        self._uvicorn.should_exit = True
        self._uvicorn.stopping.set()


def _websocket(**options: Any) -> Any:
    """What serves a WebSocket, loaded with the first of them: a server without any starts the faster."""
    from .websocket_protocol import WebSocket

    return WebSocket(**options)


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self.stopping = asyncio.Event()

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    async def main_loop(self) -> None:
        """As uvicorn's, but it ends at once when it is told to."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864000
            try:
                await asyncio.wait_for(self.stopping.wait(), 0.1)
            except asyncio.TimeoutError:
                pass

    async def run_on(self, sock: socket.socket) -> None:
        """What uvicorn's own `serve` does, without taking over the process's signals."""
        config = self.config
        if not config.loaded:
            config.load()
        self.lifespan = config.lifespan_class(config)
        await self.startup(sockets=[sock])
        if not self.should_exit:
            await self.main_loop()
        await self.shutdown(sockets=[sock])

"""uvicorn around the application, on a socket that listens already. It may run in any thread."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, Callable, Optional

import uvicorn
from starlette.types import ASGIApp

from . import descriptors
from .connections import HEAD_BYTES, Connections
from .half_closed import HalfClosedConnections
from .http_protocol import HttpProtocol
from .listener import BATCH, Listener
from .listening_socket import BACKLOG

logger = logging.getLogger(__name__)

#: When the sandboxes are gone, every request ends by itself; those that have not after this are cut off.
GRACE_SECONDS = 3
#: The largest message that a client may send, except to the MCP server (websocket_protocol.py).
WS_MESSAGE_BYTES = 4 * 1024 * 1024
#: Longer than any client keeps an idle connection, so that no client uses one that is just being closed.
KEEP_ALIVE_SECONDS = 90


class Server:
    """`serve` returns after `stop` was called. It handles no signals of the process."""

    def __init__(
        self, app: ASGIApp, sock: socket.socket, on_ready: Callable[[], None], free_descriptors: Callable[[], None]
    ) -> None:
        """
        Args:
            free_descriptors: Begins to free descriptors, when too few are left for connections that stay open.
        """
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
            http=HttpProtocol,
            h11_max_incomplete_event_size=HEAD_BYTES,
            loop="asyncio",
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
            proxy_headers=False,
        )
        self._uvicorn = _Uvicorn(config, on_ready, free_descriptors)

    async def serve(self) -> None:
        await self._uvicorn.run_on(self._sock)

    def stop(self) -> None:
        """Stop accepting connections, and make `serve` return when the requests in progress have ended."""
        self._uvicorn.should_exit = True
        self._uvicorn.stopping.set()


def _websocket(**options: Any) -> Any:
    """Return what serves a WebSocket. It is loaded with the first one, so that a server starts faster."""
    from .websocket_protocol import WebSocketProtocol

    return WebSocketProtocol(**options)


class _Uvicorn(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], free_descriptors: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._free_descriptors = free_descriptors
        self._connections = Connections()
        self._half_closed = HalfClosedConnections()
        self.stopping = asyncio.Event()

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        """As uvicorn's for listening sockets, with a listener that survives a lack of descriptors."""
        await self.lifespan.startup()
        listeners: list[Any] = [Listener(sock, self._connected, self._free_slots) for sock in sockets or ()]
        self.servers = listeners
        self.started = True
        self._on_ready()

    def _free_slots(self) -> int:
        """Return how many connections may be accepted now: many while there are enough descriptors, then one at a time,
        in exchange for an idle one where there is one."""
        free = descriptors.count_free()
        if free > descriptors.reserve() + BATCH:
            return BATCH
        return 1 if free > descriptors.reserved_for_work() or self._connections.evict() else 0

    async def _connected(self, sock: socket.socket) -> None:
        is_full = False
        if not descriptors.has_room_for_connection():
            self._free_descriptors()
            is_full = not self._connections.evict()

        def protocol() -> HttpProtocol:
            return HttpProtocol(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                connections=self._connections,
                half_closed=self._half_closed,
                is_full=is_full,
            )

        await asyncio.get_running_loop().connect_accepted_socket(protocol, sock)

    async def main_loop(self) -> None:
        """As uvicorn's, but it ends at once when `stopping` is set."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864000
            if counter % 10 == 0:
                self._connections.expire(asyncio.get_running_loop().time())
            try:
                await asyncio.wait_for(self.stopping.wait(), 0.1)
            except asyncio.TimeoutError:
                pass

    async def shutdown(self, sockets: Optional[list[socket.socket]] = None) -> None:
        """As uvicorn's, but it returns when the last request has ended: that one pauses for 0.1 s, and then looks ten
        times a second, which every end of an emulator would take longer."""
        for server in self.servers:
            server.close()
            await server.wait_closed()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        pause = 0.0
        while (state.connections or state.tasks) and loop.time() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause + 0.001, 0.1)
        if state.tasks:
            logger.error("%d requests have not ended and are cut off", len(state.tasks))
        for task in state.tasks:
            task.cancel()

    async def run_on(self, sock: socket.socket) -> None:
        """Do what uvicorn's own `serve` does, without its handlers of the process's signals."""
        config = self.config
        if not config.loaded:
            config.load()
        self.lifespan = config.lifespan_class(config)
        await self.startup(sockets=[sock])
        if not self.should_exit:
            await self.main_loop()
        await self.shutdown(sockets=[sock])

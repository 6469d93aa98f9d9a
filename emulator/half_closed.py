"""Clients that have sent their last byte while they wait for a response: with the sending side closed, or gone.

In both cases the server reads end of file. A client that has only closed its sending side (`shutdown(SHUT_WR)`) gets
its response. One that has disconnected must end the work that it requested. Only the kernel's table of sockets tells
them apart: the socket of a client that is gone belongs to no process. A client whose socket is not in the table, such
as one of another machine, counts as gone.
"""

from __future__ import annotations

import asyncio
from typing import Optional, Protocol

from .cage.peers import Address, open_clients

#: Between two looks at the table.
INTERVAL = 0.1


class HalfClosedConnection(Protocol):
    @property
    def ends(self) -> tuple[Address, Address]:
        """The addresses of the client and of the server."""

    def client_is_gone(self) -> None:
        """End the connection."""


class HalfClosedConnections:
    """Watches connections of which the client has closed at least the sending side. Used on the emulator's loop."""

    def __init__(self) -> None:
        self._connections: dict[HalfClosedConnection, None] = {}
        self._task: Optional[asyncio.Task[None]] = None

    def add(self, connection: HalfClosedConnection) -> None:
        """Watch a connection, until its client is gone or it is discarded."""
        self._connections[connection] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def discard(self, connection: HalfClosedConnection) -> None:
        self._connections.pop(connection, None)

    async def _watch(self) -> None:
        try:
            while self._connections:
                watched = list(self._connections)
                ends = {connection: connection.ends for connection in watched}
                found = await asyncio.to_thread(open_clients, set(ends.values()))
                for connection in watched:
                    if connection in self._connections and ends[connection] not in found:
                        self.discard(connection)
                        connection.client_is_gone()
                await asyncio.sleep(INTERVAL)
        finally:
            self._task = None

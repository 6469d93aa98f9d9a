"""Writes to a connection that are sent together: each packet wakes the client, and costs both sides system calls."""

from __future__ import annotations

import asyncio
from typing import Any

#: A longer write is not joined, because it would have to be copied.
_JOINED_BYTES = 64 * 1024


class JoinedWrites:
    """A transport that can hold back one write until the next one, and then sends both at once.

    Args:
        transport: The connection's transport, which does everything else.
        loop: The event loop. What is held back is sent in its next iteration at the latest.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._holds_next = False
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def hold_next(self) -> None:
        """Hold back the next write until the one after it."""
        self.flush()
        self._holds_next = True

    def write(self, data: bytes) -> None:
        if self._holds_next:
            self._holds_next = False
            self._held = data
            self._loop.call_soon(self.flush)
        elif data and self._held and len(data) <= _JOINED_BYTES:
            data, self._held = self._held + data, b""
            self.transport.write(data)
        elif data:
            self.flush()
            self.transport.write(data)

    def flush(self) -> None:
        """Send what is held back."""
        if self._held:
            held, self._held = self._held, b""
            self.transport.write(held)

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        self.flush()
        self.transport.abort()

"""The WebSockets that are open now, with their account and sandbox."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..control.current_account import ALL_ACCOUNTS


@dataclass(frozen=True, eq=False)
class OpenSocket:
    """`kind`: terminal, stream (the terminal of a streaming exec) or mcp."""

    account_id: str
    sandbox_id: str
    kind: str
    opened_at: str


class OpenSockets:
    """Used on the emulator's loop."""

    def __init__(self) -> None:
        self._open: list[OpenSocket] = []
        self._waiting: set[asyncio.Future[None]] = set()

    def of(self, account_id: str) -> list[OpenSocket]:
        """The account's open sockets (`*`: all), oldest first."""
        return [socket for socket in self._open if account_id in (socket.account_id, ALL_ACCOUNTS)]

    def add(self, socket: OpenSocket) -> None:
        """Register a socket that was opened."""
        self._open.append(socket)

    def remove(self, socket: OpenSocket) -> None:
        """Unregister a socket that was closed."""
        self._open.remove(socket)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for_none(self, account_id: str, seconds: float) -> None:
        """Return when the account has no open socket, and after so many seconds in any case: a client's close takes a
        moment to arrive."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.of(account_id) and loop.time() < deadline:
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.add(waiter)
            try:
                await asyncio.wait({waiter}, timeout=deadline - loop.time())
            finally:
                self._waiting.discard(waiter)

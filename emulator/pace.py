"""Long work on the event loop, in pieces."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Optional

#: The loop is held for so long at most before others have their turn.
SECONDS = 0.005


class Turns:
    """Of one emulator: of all its long pieces of work, one goes on in each round of the event loop."""

    def __init__(self) -> None:
        self._lock: Optional[asyncio.Lock] = None

    @property
    def lock(self) -> asyncio.Lock:
        if self._lock is None:
            self._lock = asyncio.Lock()  # in Python 3.9 it belongs to the loop that runs when it is made
        return self._lock


class Pace:
    """Wait for it between the pieces of a long piece of work: others have their turn when it has taken SECONDS. Nothing
    else may be waited for in its block."""

    def __init__(self, turns: Turns) -> None:
        self._lock = turns.lock
        self._since = 0.0
        self._held = False

    async def __aenter__(self) -> Pace:
        await self._lock.acquire()
        self._held = True
        self._since = time.monotonic()
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._held:
            self._lock.release()

    async def __call__(self) -> None:
        if time.monotonic() - self._since <= SECONDS:
            return
        self._lock.release()
        self._held = False
        await asyncio.sleep(0)
        await self._lock.acquire()
        self._held = True
        self._since = time.monotonic()

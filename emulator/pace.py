"""Divides long work on the event loop into pieces, so that other tasks run in between."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Optional

#: How long a piece may occupy the event loop.
SECONDS = 0.003


class LongWorkLock:
    """The lock of an emulator's long work: in each iteration of the event loop, only one such task continues."""

    def __init__(self) -> None:
        self._lock: Optional[asyncio.Lock] = None

    @property
    def lock(self) -> asyncio.Lock:
        if self._lock is None:
            self._lock = asyncio.Lock()  # in Python 3.9 a lock belongs to the loop that runs when it is created
        return self._lock


class Pace:
    """Pauses long work when it has taken SECONDS.

    Await the object between the pieces, and nothing else in its block:

        async with Pace(long_work) as pace:
            for piece in work:
                piece.run()
                await pace()
    """

    def __init__(self, long_work: LongWorkLock) -> None:
        self._lock = long_work.lock
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

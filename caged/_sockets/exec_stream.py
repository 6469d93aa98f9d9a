"""The output of a command while it runs, for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from .._closeable import AsyncCloseable
from .._errors import CagedError
from .._naming import public
from .._tracebacks import short_tracebacks
from .run import Run

if TYPE_CHECKING:
    from .channel import AsyncChannel

S = TypeVar("S", bound="ExecStream")


@public
@short_tracebacks
class ExecStream(AsyncCloseable):
    """The output of one command, in pieces, as it comes: ``async for text in stream``.

    What is not read makes the command wait. Once the pieces have ended, `exit_code` is there; whoever stops
    reading before closes it (``async with``, `kill`), or the command goes on.
    """

    def __init__(self, run: Run, open_channel: Callable[[], Awaitable[AsyncChannel]]) -> None:
        self._run = run
        self._open_channel = open_channel
        self._channel: Optional[AsyncChannel] = None
        self._started = False
        self._ended = False

    @property
    def exit_code(self) -> Optional[int]:
        """The command's exit code; None before its end, and when its shell ended without one."""
        return self._run.exit_code

    async def start(self) -> None:
        """Open the connection and start the command, if that has not been done; reading does it, too.

        Raises:
            CagedAPIError: The platform refuses: no such sandbox, or it is not running.
        """
        if self._started or self._ended:
            return
        self._started = True
        try:
            self._channel = await self._open_channel()
        except BaseException:
            self._started = False
            raise
        try:
            if self._ended:  # closed in the meantime
                await self._channel.close()
                return
            for message in self._run.begin():
                await asyncio.wait_for(self._channel.send(message), self._run.patience())
        except asyncio.TimeoutError:
            await self.close()
            self._run.run_out()
        except BaseException:
            await self.close()
            raise

    def __aiter__(self: S) -> S:
        return self

    async def __anext__(self) -> str:
        await self.start()
        while not self._ended:
            text = await self._next()
            if self._run.over:
                await self.close()
            if text:
                return text
        raise StopAsyncIteration

    async def _next(self) -> str:
        if self._channel is None:
            raise CagedError("another task is starting this stream; read it in one task")
        try:
            return self._run.take(await self._channel.receive_within(self._run.patience()))
        except asyncio.TimeoutError:
            await self.close()
            self._run.run_out()
            return ""

    async def text(self) -> str:
        """All output that has not been read yet, when the command has ended."""
        return "".join([piece async for piece in self])

    async def close(self) -> None:
        """Close the connection; a command that still runs is ended. May be called twice."""
        self._ended = True
        if self._channel is not None:
            await self._channel.close()

    async def kill(self) -> None:
        """The same as `close`."""
        await self.close()

    async def _begin(self) -> None:
        await self.start()

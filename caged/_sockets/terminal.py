"""A terminal in a sandbox."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from .. import _arguments as arguments
from .._closeable import AsyncCloseable
from .._constants import SOCKET_CLOSE_TIMEOUT, UNHEARD_OUTPUT
from .._naming import public
from .._tracebacks import short_tracebacks
from .handlers import Handlers, report_to_loop
from .messages import input_messages, output_of, resize_message

if TYPE_CHECKING:
    from .channel import AsyncChannel

OnOutput = TypeVar("OnOutput", bound=Callable[[str], Any])
OnClose = TypeVar("OnClose", bound=Callable[[], Any])
OnError = TypeVar("OnError", bound=Callable[[Exception], Any])


@public
@short_tracebacks
class TerminalSession(AsyncCloseable):
    """A login shell on a terminal, as a person would use it. The caller types the line breaks, too.

    Handlers are functions or coroutine functions; each ``on_...`` gives its function back, so it can be a
    decorator. What comes before the first output handler is kept for it, the newest 1 MiB.
    """

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self._outputs: Handlers[Callable[[str], Any]] = Handlers(self._report)
        self._closes: Handlers[Callable[[], Any]] = Handlers(self._report)
        self._errors: Handlers[Callable[[Exception], Any]] = Handlers(report_to_loop)
        self._unheard: deque[str] = deque()
        self._unheard_size = 0
        self._delivery: Optional[asyncio.Task[None]] = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self._reader = asyncio.ensure_future(self._read())

    @property
    def closed(self) -> bool:
        """True once either side has closed it."""
        return self._ended or self._channel.closed

    async def send(self, text: str) -> None:
        """Type a text.

        Args:
            text: What is typed, line breaks included; ``"\\x03"`` is Ctrl-C.

        Raises:
            CagedConnectionError: The terminal is closed.
        """
        for message in input_messages(arguments.text("text", text)):
            await self._channel.send(message)

    async def resize(self, rows: int, cols: int) -> None:
        """Change its size, which its programs are notified of. Does nothing when it is closed.

        Args:
            rows: The height, in lines.
            cols: The width, in characters.
        """
        message = resize_message(arguments.integer("rows", rows), arguments.integer("cols", cols))
        self._channel.check_loop()
        if not self.closed:
            await self._channel.send(message)

    def on_output(self, handler: OnOutput) -> OnOutput:
        """Call a handler with what the terminal prints.

        Args:
            handler: A function or coroutine function that is called as `handler(text)`, with each piece of output.

        Returns:
            The handler, so that the method can be a decorator.
        """
        self._outputs.add(handler)
        if self._unheard and self._delivery is None:
            self._delivery = asyncio.ensure_future(self._deliver())
        return handler

    def on_close(self, handler: OnClose) -> OnClose:
        """Call a handler once, when either side closes the terminal; at once if it is closed.

        Args:
            handler: A function or coroutine function without parameters.

        Returns:
            The handler, so that the method can be a decorator.
        """
        if self._ended:
            late: Handlers[OnClose] = Handlers(self._report)
            late.add(handler)
            self._keep(late.start())
        else:
            self._closes.add(handler)
        return handler

    def on_error(self, handler: OnError) -> OnError:
        """Call a handler when another one fails; without one, the event loop logs the exception.

        Args:
            handler: A function or coroutine function that is called as `handler(exception)`.

        Returns:
            The handler, so that the method can be a decorator.
        """
        self._errors.add(handler)
        return handler

    async def wait_closed(self) -> None:
        """Wait until the terminal is closed and all its output has been handled."""
        self._channel.check_loop()
        await asyncio.wait({self._reader})

    async def close(self) -> None:
        """Close it and end what runs in it. May be called twice, and by a handler."""
        await self._channel.close()
        if asyncio.current_task() in (self._reader, self._delivery):
            return
        await asyncio.wait({self._reader}, timeout=SOCKET_CLOSE_TIMEOUT)
        self._reader.cancel()  # a handler that does not come to an end

    async def _read(self) -> None:
        try:
            while True:
                message = await self._channel.receive()
                if message is None:
                    break
                self._hear(output_of(message))
                if self._delivery is not None:
                    await self._delivery
                elif self._outputs:
                    await self._deliver()
            if self._delivery is not None:
                await self._delivery
        except Exception as problem:
            self._report(problem)
        finally:
            self._ended = True
            self._keep(self._closes.start())

    def _hear(self, text: str) -> None:
        self._unheard.append(text)
        self._unheard_size += len(text)
        while self._unheard_size > UNHEARD_OUTPUT and len(self._unheard) > 1 and not self._outputs:
            self._unheard_size -= len(self._unheard.popleft())

    async def _deliver(self) -> None:
        try:
            while self._unheard:
                text = self._unheard.popleft()
                self._unheard_size -= len(text)
                if text:
                    await self._outputs.call(text)
        finally:
            self._delivery = None

    def _report(self, problem: Exception) -> None:
        if self._errors:
            self._keep(self._errors.start(problem))
        else:
            report_to_loop(problem)

    def _keep(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:  # the event loop holds tasks weakly
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

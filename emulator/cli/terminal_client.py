"""Connects this process's terminal to a terminal in a sandbox."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from caged import TerminalSession

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Typed when the input ends. Not Ctrl-D, which has no effect while a command runs.
_END_OF_INPUT = "exit\n"
_PIECE = 4096


async def attach(sandbox: str, base_url: Optional[str], api_key: Optional[str]) -> int:
    """Connect until either side ends.

    Returns:
        0, or 128 + n when signal n ended it on this side.

    Raises:
        CagedError: The terminal cannot be opened.
    """
    from caged import AsyncCaged

    rows, cols = _size()
    async with AsyncCaged(api_key=api_key, base_url=base_url) as caged:
        async with await caged.sandboxes.terminal(sandbox, rows=rows, cols=cols) as terminal:
            return await _Connection(terminal).run()


class _Connection:
    def __init__(self, terminal: TerminalSession) -> None:
        self._terminal = terminal
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._resized = asyncio.Event()
        self._stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        stdin = sys.stdin.fileno()
        self._terminal.on_output(_show)
        closed = asyncio.ensure_future(self._terminal.wait_closed())
        working = [asyncio.ensure_future(self._type()), asyncio.ensure_future(self._resize())]
        with _raw(stdin):
            for number in _STOPPING:
                loop.add_signal_handler(number, self._stop, 128 + number)
            loop.add_signal_handler(signal.SIGWINCH, self._resized.set)
            loop.add_reader(stdin, self._read, stdin)
            try:
                ends: list[asyncio.Future[Any]] = [closed, self._stopped, *working]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                loop.remove_reader(stdin)
                for task in (closed, *working):
                    task.cancel()
                await asyncio.gather(closed, *working, return_exceptions=True)
        return self._stopped.result() if self._stopped.done() else 0

    def _stop(self, code: int) -> None:
        if not self._stopped.done():
            self._stopped.set_result(code)

    def _read(self, stdin: int) -> None:
        try:
            data = os.read(stdin, _PIECE)
        except OSError:
            data = b""
        if data:
            self._typed.put_nowait(self._decoder.decode(data))
        else:
            asyncio.get_running_loop().remove_reader(stdin)
            self._typed.put_nowait(_END_OF_INPUT)

    async def _type(self) -> None:
        while True:
            await self._terminal.send(await self._typed.get())

    async def _resize(self) -> None:
        while True:
            await self._resized.wait()
            self._resized.clear()
            await self._terminal.resize(*_size())


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _size() -> tuple[int, int]:
    """Rows and columns of the terminal; 24 and 80 when there is none."""
    try:
        size = os.get_terminal_size(sys.stdin.fileno())
    except OSError:
        return 24, 80
    return size.lines or 24, size.columns or 80


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Send every key to the other side, Ctrl-C included. Does nothing when the descriptor is not a terminal."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # keeps what was typed ahead
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""The signals that ask a process to stop, delivered so that none is lost.

asyncio's own handlers learn which signal arrived from a byte in the pipe that also wakes the event loop. That pipe
holds a few hundred bytes, and threads write into it too: when many of them finish while the loop is busy, it is full
and the byte of a SIGTERM is dropped. Python's own handlers do not depend on a pipe: the interpreter notes the signal
itself and calls the handler in the main thread. The pipe here only wakes a loop that sleeps, so a full one is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Callable, Optional

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Handles the signals of STOPPING in the main thread.

    At first a signal raises SystemExit, so that what was made so far is removed. From `hold` on signals are kept. From
    `deliver` on they are passed to a function on the event loop, kept ones first.
    """

    def __init__(self) -> None:
        self._held: Optional[list[int]] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._pipe: tuple[int, int] = (-1, -1)
        self._on_signal: Callable[[int], None] = lambda number: None
        for number in STOPPING:
            signal.signal(number, self._received)

    def _received(self, number: int, _frame: Optional[FrameType]) -> None:
        if self._held is None:
            sys.exit(128 + number)
        self._held.append(number)
        if self._loop is not None:
            # Safe in a handler: it appends to a deque and writes one byte, which may fail when the loop is awake.
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends already
                self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        while self._held:
            self._on_signal(self._held.pop(0))

    def hold(self) -> None:
        """Keep signals from now on, until `deliver`."""
        if self._held is None:
            self._held = []

    def deliver(self, loop: asyncio.AbstractEventLoop, on_signal: Callable[[int], None]) -> None:
        """Call `on_signal` with the number of each signal, on `loop`, which runs in the main thread."""
        self.hold()
        self._on_signal = on_signal
        reader, writer = self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        loop.add_reader(reader, self._drain)
        # A signal that another thread receives does not interrupt the loop's wait; the byte in the pipe does.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._loop = loop
        loop.call_soon(self._pass_on)

    def _drain(self) -> None:
        try:
            os.read(self._pipe[0], 1 << 16)
        except (BlockingIOError, InterruptedError):
            pass

    def end(self) -> None:
        """Release the pipe, once the loop is closed. A signal that arrives later is kept and has no effect."""
        if self._loop is None:
            return
        self._loop = None
        signal.set_wakeup_fd(-1)
        for end in self._pipe:
            os.close(end)

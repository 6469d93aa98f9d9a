"""The output of a command: the emulator's ends of its pipes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import time
from typing import Callable, Optional

#: Seconds after the start of a command until its output is read. A pipe holds 64 KiB until then.
READ_AFTER = 0.003
#: The longest such wait of commands that run at the same time, each of which takes longer.
READ_AFTER_LONGEST = 0.03
#: Times of one output that are kept, and how much later the next must be, in seconds.
TIMES, TIMES_APART = 200, 0.01
#: Bytes that are read at once.
_MOST_AT_ONCE = 256 * 1024
#: Bytes of one output that are kept, unless the caller says otherwise.
OUTPUT_LIMIT = 16 * 1024 * 1024


class OutputReader:
    """Reads a command's pipe, keeps the first bytes, and goes on reading as long as a process in the sandbox has the
    pipe open: a server in the background must not end because of a closed pipe.

    Args:
        fd: The end to read from.
        limit: The number of bytes to keep.
        on_end: Called when the pipe is closed.
        on_reading: Called when the command has run for `after` seconds.
        after: Seconds until it reads. Most commands end before that with little output, and need no reader.
    """

    def __init__(
        self,
        fd: int,
        limit: int,
        on_end: Callable[[OutputReader], None],
        on_reading: Callable[[], None] = lambda: None,
        after: float = READ_AFTER,
    ) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._keep = True
        self._on_end = on_end
        self._on_reading = on_reading
        self._loop = asyncio.get_running_loop()
        self._timer: Optional[asyncio.TimerHandle] = self._loop.call_later(after, self._start_reading)
        #: Whether there was more than `limit`.
        self.truncated = False
        #: When there were how many bytes: seconds since this was made, and a number. At least TIMES_APART between two.
        self.times: list[tuple[float, int]] = []
        self._begun = time.perf_counter()

    def _start_reading(self) -> None:
        self._timer = None
        self._loop.add_reader(self._fd, self._readable)
        self._on_reading()

    def _readable(self) -> None:
        self._read(_MOST_AT_ONCE)

    def _read(self, most: int) -> int:
        """Read once. The number of bytes; 0 when none was there."""
        try:
            data = os.read(self._fd, most)
        except (BlockingIOError, InterruptedError):
            return 0
        if not data:
            self.close()
        elif self._keep:
            kept = data[: self._limit - self._size]
            self._size += len(kept)
            self._chunks.append(kept)
            self._note_time()
            self.truncated = self.truncated or len(kept) < len(data)
        return len(data)

    def _note_time(self) -> None:
        now = time.perf_counter() - self._begun
        if self.times and (now - self.times[-1][0] < TIMES_APART or len(self.times) == TIMES):
            self.times[-1] = self.times[-1][0], self._size
        else:
            self.times.append((now, self._size))

    def finish(self) -> bytes:
        """Return what was written up to now; what is written later is read and dropped."""
        if self._timer is None:
            self.drain()
        elif self._read(_MOST_AT_ONCE):  # most commands have printed nothing, and nothing has their pipe open any more
            self.drain()
            self._read(_MOST_AT_ONCE)  # closes it when no process has it open any more
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._loop.add_reader(self._fd, self._readable)
        self._keep = False
        output = b"".join(self._chunks)
        self._chunks.clear()
        return output

    @property
    def so_far(self) -> bytes:
        """What was read up to now; empty after `finish`."""
        return b"".join(self._chunks)

    @property
    def size(self) -> int:
        """How many bytes of the output are kept."""
        return self._size

    def drain(self) -> None:
        """Read what was written up to now."""
        if self._fd >= 0:
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))
            while waiting > 0 and self._fd >= 0:
                size = self._read(waiting)
                waiting = waiting - size if size else 0

    def relative_times(self) -> tuple[tuple[float, float], ...]:
        """Seconds since this was made, and the part of the output, from 0 to 1, that had been read by then."""
        return tuple((seconds, size / self._size) for seconds, size in self.times)

    def close(self) -> None:
        if self._fd >= 0:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            else:
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._on_end(self)


class OutputWatch:
    """Shows what a command has printed while it runs, and what it had printed when it was killed. It can kill it."""

    def __init__(self) -> None:
        self._readers: list[OutputReader] = []
        self._abort: Callable[[Exception], None] = lambda error: None
        self._error: Optional[Exception] = None
        #: Called when the first of its output is read, for each of its outputs.
        self.on_reading: Callable[[], None] = lambda: None

    def attach(self, readers: list[OutputReader], abort: Callable[[Exception], None]) -> None:
        """Watch the outputs of a command, which may be made later: `readers` is not copied.

        Args:
            readers: Its outputs.
            abort: Kills the command, if it has not ended, and raises an error where its end is waited for.
        """
        self._readers, self._abort = readers, abort
        if self._error is not None:
            abort(self._error)

    def abort(self, error: Exception) -> None:
        """Kill the command, and raise an error where its end is waited for. Without effect when it has ended."""
        self._error = error
        self._abort(error)

    @property
    def size(self) -> int:
        """How many bytes it has printed."""
        return sum(reader.size for reader in self._readers)

    @property
    def text(self) -> bytes:
        """What it has printed."""
        return b"".join(reader.so_far for reader in self._readers)

    @property
    def times(self) -> tuple[tuple[float, float], ...]:
        """As `OutputReader.relative_times`, of standard output."""
        return self._readers[0].relative_times() if self._readers else ()

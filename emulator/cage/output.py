"""The output of a command: the emulator's ends of its pipes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from typing import Callable

#: Bytes of one output that are kept, unless the caller says otherwise.
OUTPUT_LIMIT = 16 * 1024 * 1024


class OutputReader:
    """Reads a command's pipe, keeps the first bytes, and goes on reading as long as a process in the sandbox has the
    pipe open: a server in the background must not end because of a closed pipe.

    Args:
        fd: The end to read from.
        limit: The number of bytes to keep.
        on_end: Called when the pipe is closed.
    """

    def __init__(self, fd: int, limit: int, on_end: Callable[[OutputReader], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._keep = True
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)
        #: Whether there was more than `limit`.
        self.truncated = False

    def _readable(self) -> None:
        self._read(1 << 18)

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
            self.truncated = self.truncated or len(kept) < len(data)
        return len(data)

    def finish(self) -> bytes:
        """Return what was written up to now; what is written later is read and dropped."""
        if self._fd >= 0:
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))
            while waiting > 0 and self._fd >= 0:
                size = self._read(waiting)
                waiting = waiting - size if size else 0
        self._keep = False
        output = b"".join(self._chunks)
        self._chunks.clear()
        return output

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._on_end(self)

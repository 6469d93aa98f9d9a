"""What a command writes: the emulator's end of its pipe."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from typing import Callable


class Output:
    """Reads a command's pipe, keeps the first `limit` bytes, and goes on emptying it as long as somebody in the
    sandbox holds it: a server left in the background must not die of a closed pipe."""

    def __init__(self, fd: int, limit: int, on_end: Callable[[Output], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._keep = True
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)
        self.truncated = False

    def _readable(self) -> None:
        self._take(1 << 18)

    def _take(self, most: int) -> int:
        """Reads once; the number of bytes read, 0 when there was nothing."""
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
        """All that was written up to now; what comes later is thrown away."""
        if self._fd >= 0:
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))
            while waiting > 0 and self._fd >= 0:
                taken = self._take(waiting)
                waiting = waiting - taken if taken else 0
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

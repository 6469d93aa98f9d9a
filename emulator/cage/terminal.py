"""A terminal of a sandbox at the emulator's end: reading output, writing input, resizing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from typing import Callable, Optional

from .paths import Layout

#: One read takes no more; as JSON text at most six times as much, which is below 1 MiB.
CHUNK = 64 * 1024
#: A read that returns so many bytes got all that the kernel returns at once (a page): the program writes faster than
#: the emulator sends.
_FULL_READ_BYTES = 4000
#: How often reading is repeated after such a read: fewer and larger messages cost less.
_READ_RETRIES = 24
_TIOCGSID = getattr(termios, "TIOCGSID", 0x5429)  # Python has it on some systems only


class Terminal:
    """The controlling side of a terminal.

    The kernel stops the program when its output is not read; `write` waits when the program does not read.

    Args:
        fd: The controlling side's descriptor.
        kill: Kills the program and all processes that it has started.
    """

    def __init__(self, fd: int, kill: Callable[[], None]) -> None:
        #: Rewrites paths in input and output, at level `process`.
        self.layout: Optional[Layout] = None
        self._held = b""
        self._back = b""  # read by a call that was cancelled
        #: Whether its shell edits lines itself, as bash does.
        self.edits_lines = False
        os.set_blocking(fd, False)
        self._fd = fd
        self._kill = kill
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        self._ended = False
        #: 128+n after signal n; None while the program runs, and when the whole sandbox has ended.
        self.exit_code: Optional[int] = None

    async def read(self) -> bytes:
        """Return the next piece of output, at most CHUNK bytes; b"" when the program has ended and all was read."""
        pieces: list[bytes] = [self._back] if self._back else []
        size, retries, self._back = len(self._back), _READ_RETRIES, b""
        while self._fd >= 0:
            piece = self._read_now(CHUNK - size)
            if piece:
                # The kernel returns a page at a time: what else is there already goes into the same message.
                pieces.append(piece)
                size += len(piece)
                if size < CHUNK:
                    continue
            if pieces and piece is None and len(pieces[-1]) >= _FULL_READ_BYTES and retries:
                retries -= 1
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self._back = b"".join(pieces)
                    raise
                continue
            if pieces or piece == b"":
                break
            if self._ended:
                break  # output of its children, which may go on in the background, is not waited for
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
        return self._rewritten(b"".join(pieces))

    def _rewritten(self, data: bytes) -> bytes:
        """Return output with the sandbox's paths. An incomplete path at the end is held back until the next read."""
        if self.layout is None or self.layout.mounted:
            return data
        whole, self._held = self._held + data, b""
        cut = self.layout.cut_path(whole) if data else 0
        if cut and len(whole) > cut:
            whole, self._held = whole[:-cut], whole[-cut:]
        return self.layout.to_sandbox_text(whole)

    def _read_now(self, most: int) -> Optional[bytes]:
        """Read once: None when there is nothing yet, b"" at the end."""
        try:
            return os.read(self._fd, most)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""  # EIO: no process has the other side open any more

    async def write(self, text: str) -> None:
        """Write input. Returns when the terminal has taken all of it, or the program has ended."""
        data = (self.layout.to_host_text(text) if self.layout else text).encode("utf-8", "replace")
        while data and self._fd >= 0 and not self._ended:
            try:
                data = data[os.write(self._fd, data) :]
            except (BlockingIOError, InterruptedError):
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                return

    async def _ready(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        fd, future = self._fd, self._loop.create_future()
        self._waiting.add(future)

        def done() -> None:
            if not future.done():
                future.set_result(None)

        add(fd, done)
        try:
            await future
        finally:
            self._waiting.discard(future)
            if self._fd == fd:
                remove(fd)

    def resize(self, rows: int, cols: int) -> None:
        """Change the size; the foreground program gets SIGWINCH."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def at_prompt(self) -> bool:
        """Return whether input is a command line: the shell is in the foreground, and does not execute `read`."""
        try:
            flags = termios.tcgetattr(self._fd)[3]
            if flags & termios.ICANON if self.edits_lines else not flags & termios.ECHO:
                return False
        except (OSError, termios.error):
            return False
        return self.shell_in_front()

    def shell_in_front(self) -> bool:
        """Return whether the shell itself is in the foreground: it reads a line, or will soon."""
        try:
            (session,) = struct.unpack("i", fcntl.ioctl(self._fd, _TIOCGSID, bytes(4)))
            return os.tcgetpgrp(self._fd) == int(session)
        except OSError:
            return False

    def ended(self, exit_code: Optional[int]) -> None:
        """Note that the program has ended; its output can still be read."""
        self._ended = True
        self.exit_code = exit_code
        self._wake()

    def close(self) -> None:
        """Close the terminal, and kill the program with all that it has started if it has not ended."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        if not self._ended:
            self._kill()
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

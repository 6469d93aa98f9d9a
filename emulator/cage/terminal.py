"""A terminal of a sandbox, as the emulator holds it: what its program writes, what is typed, how large it is."""

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
#: A piece as large as the kernel makes them: its program writes faster than we send. Then so many looks at whether
#: there is more yet make messages fewer and larger, which is what they cost.
_FLOOD, _PATIENCE = 4000, 24
_TIOCGSID = getattr(termios, "TIOCGSID", 0x5429)  # Python tells it on some systems only


class Terminal:
    """Reading and writing wait for each other side: a program that nobody reads is stopped by the kernel, and so is
    whoever types what no program takes. `kill` ends the program and all that came from it."""

    def __init__(self, fd: int, kill: Callable[[], None]) -> None:
        #: Where paths are rewritten (`process` isolation): what is typed, and what is shown.
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
        #: 128+n after a signal; None as long as the program runs, and when the whole sandbox went.
        self.exit_code: Optional[int] = None

    async def read(self) -> bytes:
        """The next piece of output, at most CHUNK bytes; b"" when the program has ended and all was read."""
        pieces: list[bytes] = [self._back] if self._back else []
        size, patience, self._back = len(self._back), _PATIENCE, b""
        while self._fd >= 0:
            piece = self._read_now(CHUNK - size)
            if piece:
                # The kernel gives a page at a time: what else is there already goes into the same message.
                pieces.append(piece)
                size += len(piece)
                if size < CHUNK:
                    continue
            if pieces and piece is None and len(pieces[-1]) >= _FLOOD and patience:
                patience -= 1
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self._back = b"".join(pieces)
                    raise
                continue
            if pieces or piece == b"":
                break
            if self._ended:
                break  # what its children, which go on in the background, may write later is not waited for
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
        return self._rewritten(b"".join(pieces))

    def _rewritten(self, data: bytes) -> bytes:
        """As the sandbox's paths. A path that a read has cut waits for its rest."""
        if self.layout is None or self.layout.mounted:
            return data
        whole, self._held = self._held + data, b""
        cut = self.layout.cut_path(whole) if data else 0
        if cut and len(whole) > cut:
            whole, self._held = whole[:-cut], whole[-cut:]
        return self.layout.to_sandbox_text(whole)

    def _read_now(self, most: int) -> Optional[bytes]:
        """None when there is nothing yet, b"" at the end."""
        try:
            return os.read(self._fd, most)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""  # EIO: nobody holds the other side any more

    async def write(self, text: str) -> None:
        """Types. Returns when the terminal has taken it all, or the program has ended."""
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
        """The program in front gets SIGWINCH."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def at_prompt(self) -> bool:
        """Whether what is typed is a command line: the shell is in front, not a program that it started, and reads one,
        not an answer or a password (`read`, `read -s`)."""
        try:
            flags = termios.tcgetattr(self._fd)[3]
            if flags & termios.ICANON if self.edits_lines else not flags & termios.ECHO:
                return False
        except (OSError, termios.error):
            return False
        return self.shell_in_front()

    def shell_in_front(self) -> bool:
        """Whether no program that the shell has started has the terminal: it reads a line, or will soon."""
        try:
            (session,) = struct.unpack("i", fcntl.ioctl(self._fd, _TIOCGSID, bytes(4)))
            return os.tcgetpgrp(self._fd) == int(session)
        except OSError:
            return False

    def ended(self, exit_code: Optional[int]) -> None:
        """The program is gone; what it wrote can still be read."""
        self._ended = True
        self.exit_code = exit_code
        self._wake()

    def close(self) -> None:
        """Hangs up, and kills the program and all that came from it, if it has not ended. Harmless to repeat."""
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

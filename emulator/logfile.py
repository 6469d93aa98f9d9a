"""A log on disk of bounded size, and reading it while it is written."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

#: A full file replaces the older half, so that a log takes at most twice this on disk.
HALF_BYTES = 512 * 1024
#: Seconds between two checks for new lines.
POLL_SECONDS = 0.05


class LogFile:
    """A log that only its owner can read (mode 0600). A write that fails, as on a full disk, loses its line.

    Args:
        path: The file, in a directory that exists.
        half_bytes: The size at which a new file is begun.

    Raises:
        OSError: The file cannot be created, or exists already.
    """

    def __init__(self, path: Path, half_bytes: int = HALF_BYTES) -> None:
        self.path = path
        self._half_bytes = half_bytes
        self._lock = threading.Lock()
        self._file = self._open()
        self._size = 0

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def write(self, line: str) -> None:
        """Add a line, which may contain line breaks. May be called from any thread."""
        data = (line + "\n").encode("utf-8", "replace")[-self._half_bytes :]
        with self._lock:
            if self._file < 0:
                return
            try:
                if self._size + len(data) > self._half_bytes:
                    self._rotate()
                os.write(self._file, data)
                self._size += len(data)
            except OSError:
                pass  # a full disk must not take the emulator down

    def _rotate(self) -> None:
        os.replace(self.path, older(self.path))
        os.close(self._file)
        self._file = -1
        self._file = self._open()
        self._size = 0

    def remove(self) -> None:
        """Close and remove both files. Harmless to repeat."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        self.path.unlink(missing_ok=True)
        older(self.path).unlink(missing_ok=True)


def older(path: Path) -> Path:
    """The file with the older half of a log."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, count: int) -> list[str]:
    """Return the newest `count` lines, oldest first.

    Raises:
        OSError: The log does not exist.
    """
    lines = deque(_lines(older(path)) if older(path).exists() else [], maxlen=count)
    lines.extend(_lines(path))
    return list(lines)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def follow(path: Path, count: int, is_alive: Callable[[], bool]) -> Iterator[str]:
    """Yield the newest `count` lines, then new ones as they are written.

    Args:
        path: The log.
        count: How many existing lines to begin with.
        is_alive: Whether more lines may be written; when it returns False, the rest is read and the iteration ends.

    Raises:
        OSError: The log does not exist.
    """
    shown = False
    while True:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            if not shown:
                lines = deque(_lines(older(path)) if older(path).exists() else [], maxlen=count)
                lines.extend(line.rstrip("\n") for line in file)
                yield from lines
                shown = True
            replaced = False
            while not replaced:
                # Checked before reading, so that what was written until then is read below.
                ended, replaced = not is_alive(), _replaced(file.fileno(), path)
                for line in file:
                    yield line.rstrip("\n")
                if ended:
                    return
                if not replaced:
                    time.sleep(POLL_SECONDS)


def _replaced(descriptor: int, path: Path) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False

"""A log on disk that cannot grow without bound, and reading one while it is written."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

#: A full file becomes the older half, whose predecessor goes: never more than twice this on disk.
HALF_BYTES = 512 * 1024
LOOK_SECONDS = 0.05


class LogFile:
    """Mode 0600, in a directory that exists. OSError when it cannot be made; later failures lose lines, no more."""

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
        """Adds a line, which may have further lines in it. From any thread."""
        data = (line + "\n").encode("utf-8", "replace")[-self._half_bytes :]
        with self._lock:
            if self._file < 0:
                return
            try:
                if self._size + len(data) > self._half_bytes:
                    self._begin_anew()
                os.write(self._file, data)
                self._size += len(data)
            except OSError:
                pass  # a full disk must not take the emulator down

    def _begin_anew(self) -> None:
        os.replace(self.path, older(self.path))
        os.close(self._file)
        self._file = -1
        self._file = self._open()
        self._size = 0

    def remove(self) -> None:
        """Harmless to repeat."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        self.path.unlink(missing_ok=True)
        older(self.path).unlink(missing_ok=True)


def older(path: Path) -> Path:
    """Where the older half of a log is."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, count: int) -> list[str]:
    """The newest `count` lines, oldest first. OSError when there is no such log."""
    lines = deque(_lines(older(path)) if older(path).exists() else [], maxlen=count)
    lines.extend(_lines(path))
    return list(lines)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def follow(path: Path, count: int, alive: Callable[[], bool]) -> Iterator[str]:
    """The newest `count` lines, then those that come, until `alive` says that none will. OSError as `tail`."""
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
                # Both are asked first: what was written before is read below.
                ended, replaced = not alive(), _replaced(file.fileno(), path)
                for line in file:
                    yield line.rstrip("\n")
                if ended:
                    return
                if not replaced:
                    time.sleep(LOOK_SECONDS)


def _replaced(descriptor: int, path: Path) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False

"""Shared memory of a sandbox's processes, which RLIMIT_DATA does not count: memfds, and what is mapped as shared.

Looking at each process is slow. So it happens only when the whole machine has more shared memory than the sandbox may
have, and the more seldom the longer it takes.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

#: Between two looks, at least; and how many times as long as the last one took.
SECONDS = 0.5
_SHARE = 20
_MIB = 1024 * 1024


class SharedMemory:
    """A limit of `memory_mb` for the shared memory of one sandbox, kept by looking now and then."""

    def __init__(self, memory_mb: int) -> None:
        self._limit = memory_mb * _MIB
        self._next_look = 0.0

    def enforce(self, processes: Callable[[], list[int]]) -> None:
        """Kills the processes that hold shared memory when they have too much of it together; to be called often."""
        start = time.monotonic()
        if start < self._next_look:
            return
        if _of_machine() > self._limit:
            _kill(self._over(processes()))
        now = time.monotonic()
        self._next_look = now + max(SECONDS, _SHARE * (now - start))

    def _over(self, pids: Iterable[int]) -> list[int]:
        """The processes that hold shared memory, when it is more than the limit altogether; none otherwise."""
        memfds: dict[tuple[int, int], int] = {}
        mapped, holders = 0, []
        for pid in pids:
            held = _memfds(pid)
            memfds.update(held)
            maps = _mapped(pid)
            mapped += maps
            if held or maps > _MIB:
                holders.append(pid)
        # A memfd may be mapped as well, so that the sum would count it twice.
        return holders if max(sum(memfds.values()), mapped) > self._limit else []


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def _of_machine() -> int:
    return _kibibytes("/proc/meminfo", b"Shmem:")


def _mapped(pid: int) -> int:
    """A process's share of what it has mapped as shared."""
    return _kibibytes(f"/proc/{pid}/smaps_rollup", b"Pss_Shmem:")


def _kibibytes(path: str, name: bytes) -> int:
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has ended, or this kernel does not tell
    return 0


def _memfds(pid: int) -> dict[tuple[int, int], int]:
    """Bytes in memory of the memfds that a process has open, by device and inode."""
    found: dict[tuple[int, int], int] = {}
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{name}"
            if os.readlink(path).startswith("/memfd:"):
                status = os.stat(path)
                found[status.st_dev, status.st_ino] = status.st_blocks * 512
    except OSError:
        pass  # it has ended, or closed one meanwhile
    return found

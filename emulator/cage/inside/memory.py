"""The shared memory of a sandbox's processes, which RLIMIT_DATA does not count: memfds and shared mappings.

To inspect each process is slow. So it is done only when the whole machine has more shared memory than the sandbox may
have, and less often the longer it takes.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

#: Seconds between two checks, at least.
SECONDS = 0.5
#: The time between two checks, as a multiple of the time that the last one took.
_SHARE = 20
_MIB = 1024 * 1024


class SharedMemory:
    """A limit of `memory_mb` for the shared memory of one sandbox, checked at intervals."""

    def __init__(self, memory_mb: int) -> None:
        self._limit = memory_mb * _MIB
        self._next_check = 0.0

    def enforce(self, processes: Callable[[], list[int]]) -> None:
        """Kill the processes that hold shared memory when they have too much of it together. To be called often."""
        start = time.monotonic()
        if start < self._next_check:
            return
        if _of_machine() > self._limit:
            _kill(self._holders_over_limit(processes()))
        now = time.monotonic()
        self._next_check = now + max(SECONDS, _SHARE * (now - start))

    def _holders_over_limit(self, pids: Iterable[int]) -> list[int]:
        """The processes that hold shared memory, when they exceed the limit together; else none."""
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
        pass  # it has ended, or this kernel does not have the number
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

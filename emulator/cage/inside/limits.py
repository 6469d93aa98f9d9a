"""The limits of one sandbox, which init sets on itself, so that all its commands inherit them.

Memory is limited for the whole sandbox by a control group where the emulator has made one (memory_mb is 0 here then),
else per process (by RLIMIT_DATA: a command that exceeds it gets no more memory, and usually ends; `memory.py` limits
shared memory). Cores are limited by affinity, a single file by RLIMIT_FSIZE. The number of processes is limited by the
kernel where it counts them per sandbox, and otherwise by init (`process_limit.py`).
"""

from __future__ import annotations

import os
import re
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

_MIB = 1024 * 1024
#: The kernel uses the numbers below 300 only once; the rest of the range is the number of processes at a time.
_FIRST_LASTING_PID = 300


def apply(spec: dict[str, Any], own_table: bool) -> Optional[int]:
    """Set the limits that the kernel enforces.

    Args:
        spec: `limits`, `core` and `counted`; see `IsolationLevel.spec`.
        own_table: Whether the sandbox has a process table of its own.

    Returns:
        The number of processes that init has to enforce; None when the kernel does.
    """
    limits = spec.get("limits")
    if not limits:
        return None
    if limits["memory_mb"]:
        _lower(resource.RLIMIT_DATA, limits["memory_mb"] * _MIB)
    _lower(resource.RLIMIT_FSIZE, limits["disk_gb"] * 1024 * _MIB)
    _use_cores(limits["cpus"], spec["core"])
    processes: int = limits["processes"]
    return None if own_table and _kernel_limits(processes, spec["counted"]) else processes


def limit_segments(memory_mb: int, root: str = "") -> None:
    """Limit System V shared memory in a new IPC namespace, whose /proc is below `root` and not read-only yet.

    Where that is not permitted, the kernel's own limit stays.
    """
    if not memory_mb:
        return
    try:
        _write(root + "/proc/sys/kernel/shmall", memory_mb * _MIB // resource.getpagesize())
    except OSError:
        pass


def _lower(which: int, value: int) -> None:
    _soft, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(which, (value, value))


def _use_cores(count: int, first: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if count < len(cores):
            # Sandboxes are distributed over the cores.
            chosen = {cores[(first + more) % len(cores)] for more in range(count)}
            os.sched_setaffinity(0, chosen)


def kernel_counts(counted: bool) -> str:
    """Return how the kernel can limit the processes of one sandbox: "nproc" where it counts per user namespace
    (`counted`), "pid_max" where each process table has its own, "" where it cannot."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    known = (int(release.group(1)), int(release.group(2))) if release else (0, 0)
    if counted and known >= (5, 14):
        return "nproc"
    return "pid_max" if known >= (6, 14) else ""  # before, pid_max is the whole machine's


def count_by_kernel(processes: int, counted: bool, root: str = "") -> None:
    """Set pid_max of a new process table, whose /proc is below `root` and not read-only yet, and skip the numbers that
    are used only once, so that the limit applies from the first process on."""
    if kernel_counts(counted) == "pid_max":
        try:
            _write(root + "/proc/sys/kernel/pid_max", processes + _FIRST_LASTING_PID)
            _write(root + "/proc/sys/kernel/ns_last_pid", _FIRST_LASTING_PID - 1)
        except OSError:
            pass  # `apply` finds out that it did not work


def _write(path: str, number: int) -> None:
    with open(path, "w") as file:
        file.write(str(number))


def _read(path: str) -> int:
    with open(path) as file:
        return int(file.read())


def _kernel_limits(processes: int, counted: bool) -> bool:
    """Return whether the kernel limits this sandbox's processes from now on."""
    how = kernel_counts(counted)
    if how == "nproc":
        _lower(resource.RLIMIT_NPROC, processes)
        return True
    if how == "pid_max":
        try:
            # Without ns_last_pid (a kernel without checkpointing) there could be about 300 more at first: init counts.
            in_range = _read("/proc/sys/kernel/ns_last_pid") >= _FIRST_LASTING_PID - 1
            return _read("/proc/sys/kernel/pid_max") == processes + _FIRST_LASTING_PID and in_range
        except OSError:
            pass
    return False

"""File descriptors: how many this process may have, and what may still be started with the free ones.

Without a free descriptor everything fails at once: commands, pauses, the emulator's own log. So a quarter of them, but
at most RESERVE_MOST, is a reserve. Connections that stay open may not use it; new sandboxes, terminals and previews may
use half of it; connections for a single request may use three quarters; the rest is for the work in sandboxes.
Sandboxes are made before they are requested only while twice the reserve is free, and removed before anything else is
refused.
"""

from __future__ import annotations

import os
import resource

#: The soft limit that the emulator sets, if the hard limit allows it.
WANTED = 65_536
#: The largest reserve.
RESERVE_MOST = 256

#: The soft limit before it was raised, which sandboxes get.
_ordinary, _ = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_limit() -> None:
    """Raise this process's soft limit to its hard limit, or to WANTED if that is less. Can be called repeatedly."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # not permitted here; the present limit stays


def ordinary_limit() -> int:
    """Return the soft limit that this process was started with."""
    return _ordinary


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def count_used() -> int:
    """Return how many descriptors this process has."""
    try:
        # Since Linux 6.2 the size of the directory is their number; before that it is 0.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:  # /proc is not mounted, or no descriptor is left to list it
        return _lowest_free()


def _lowest_free() -> int:
    try:
        fd = os.dup(0)
    except OSError:
        return limit()
    os.close(fd)
    return fd


def count_free() -> int:
    """Return how many descriptors this process may still open."""
    return max(0, limit() - count_used())


def reserve() -> int:
    """Return the size of the reserve."""
    return min(RESERVE_MOST, limit() // 4)


def reserved_for_work() -> int:
    """Return the part of the reserve for the work in sandboxes."""
    return reserve() // 4


def has_room_for_connection() -> bool:
    """Whether a connection that may stay open can be accepted."""
    return count_free() > reserve()


def has_room_for_sandbox(held_by_ready: int = 0) -> bool:
    """Whether a sandbox can be created.

    Args:
        held_by_ready: Descriptors of ready-made sandboxes, of which it is one, or which can be removed for it.
    """
    return count_free() + held_by_ready > reserve() // 2


def has_room_for_ready() -> bool:
    """Whether a sandbox can be made before it is requested."""
    return count_free() > 2 * reserve()


def has_room_for_stream() -> bool:
    """Whether a terminal, or a preview's connection into a sandbox, can be opened."""
    return count_free() > reserve() // 2

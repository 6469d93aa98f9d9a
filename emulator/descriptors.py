"""File descriptors: how many this process may have, and what may still be started with those that are left.

When the last one is taken, everything fails at once: commands, pauses, the emulator's own log. So a quarter of them, or
RESERVE_MOST, is a reserve. Connections that stay open leave it alone; new sandboxes, terminals and previews may take
half of it; connections for a single request take it down to a quarter; the rest is for the work in sandboxes.
"""

from __future__ import annotations

import os
import resource

#: The soft limit that is asked for where the hard limit allows it.
WANTED = 65_536
#: Kept from new connections: a quarter, but no more than this.
RESERVE_MOST = 256

#: The process's own soft limit before it was raised, which sandboxes get.
_ordinary, _ = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_limit() -> None:
    """Raise this process's soft limit to its hard limit, or to WANTED where that is less. Harmless to repeat."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # not allowed here: what there is has to do


def ordinary_limit() -> int:
    """The soft limit that this process was started with."""
    return _ordinary


def limit() -> int:
    """How many descriptors this process may have."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def used() -> int:
    """How many it has."""
    try:
        # Since Linux 6.2 the directory's size is their number; before, it is 0.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:  # no /proc, or not even a descriptor to list it with
        return _lowest_free()


def _lowest_free() -> int:
    try:
        free = os.dup(0)
    except OSError:
        return limit()
    os.close(free)
    return free


def free() -> int:
    return max(0, limit() - used())


def reserve() -> int:
    """How many are kept from new connections."""
    return min(RESERVE_MOST, limit() // 4)


def kept_for_work() -> int:
    """How many only the work in sandboxes may take."""
    return reserve() // 4


def room_for_connection() -> bool:
    """One that may stay open."""
    return free() > reserve()


def room_for_sandbox() -> bool:
    return free() > reserve() // 2


def room_for_stream() -> bool:
    """A terminal, or a preview's connection into a sandbox."""
    return free() > reserve() // 2

"""Removing Python bytecode caches that Python would wrongly use.

Python trusts a `.pyc` file as long as the source has the size and the modification time, in whole seconds, that are
recorded in it. A source that is edited twice within a second, without a change of its size, keeps its old cache, and
Python goes on running the old code. Callers of a remote platform are hardly ever that fast; callers of the emulator
are. Only such a cache file is removed. Before a command, one that the command could make stale (its source was written
in the current second) is invalidated: it stays, as a command may look for it, and Python compiles the source again.
The sources, their times and all other cache files stay as they are.

Sources that were written through the API are compared at once (`drop_trusted`); those that commands have written,
before the next command (`bytecode_sweep.py`). All functions block and are meant for a thread.
"""

from __future__ import annotations

import os

CACHE = "__pycache__"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITABLE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def drop_trusted(directory: int, source: str) -> None:
    """Remove the cache files of a source that was just replaced, if Python would use them for the new content.

    Args:
        directory: Descriptor of the directory that holds the source.
        source: Name of the source in it; anything but `*.py` is ignored.
    """
    stem, dot, suffix = source.rpartition(".")
    if not dot or suffix != "py":
        return
    try:
        cache = os.open(CACHE, DIRECTORY, dir_fd=directory)
    except OSError:
        return
    try:
        status = os.stat(source, dir_fd=directory, follow_symlinks=False)
        for name in os.listdir(cache):
            if name.startswith(f"{stem}.") and name.endswith(".pyc"):
                drop(cache, name, status)
    except OSError:
        pass  # a command changes the same files, or the mode of the directory
    finally:
        os.close(cache)


def drop(cache: int, name: str, source: os.stat_result) -> None:
    """Remove a cache file, if Python would use it for the source."""
    try:
        if _is_trusted(cache, name, source):
            os.unlink(name, dir_fd=cache)
    except OSError:
        pass  # removed, or its mode does not allow it


def invalidate(cache: int, name: str, source: os.stat_result) -> None:
    """Make Python compile the source again, if it would use this cache file. The file and its times stay.

    A file with several links is not changed: the other names may not be those of cache files.
    """
    try:
        fd = os.open(name, _WRITABLE, dir_fd=cache)
    except OSError:
        return  # removed, or its mode does not allow it
    try:
        status = os.fstat(fd)
        if status.st_nlink == 1 and _trusts(os.read(fd, 16), source):
            os.pwrite(fd, bytes(4), 8)
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        pass
    finally:
        os.close(fd)


def _is_trusted(cache: int, name: str, source: os.stat_result) -> bool:
    fd = os.open(name, _FILE, dir_fd=cache)
    try:
        return _trusts(os.read(fd, 16), source)
    finally:
        os.close(fd)


def _trusts(header: bytes, source: os.stat_result) -> bool:
    """Return whether Python, which compares time and size, would use a cache file with this header for the source.
    False for cache files that are validated by a hash, or not at all."""
    recorded = [int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12)]
    expected = [0, source.st_mtime_ns // 10**9 & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF]
    return len(header) == 16 and recorded == expected

"""Locks on files, which the kernel releases when their process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Optional

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileLock:
    """A lock that is held. It is also released when nothing refers to it: a thread may return it to a task that was
    cancelled meanwhile."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Release it. May be repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def is_of(self, path: Path) -> bool:
        """Whether the path still leads to the locked file."""
        return self._fd >= 0 and _is_still(path, self._fd)

    def __del__(self) -> None:
        self.release()


def try_lock(path: Path, shared: bool = False) -> Optional[FileLock]:
    """Lock a file, which is made if it does not exist.

    Args:
        path: The file. A link is not followed.
        shared: Whether others may hold it at the same time, also shared.

    Returns:
        The lock; None while another process holds it.

    Raises:
        OSError: The file cannot be opened.
    """
    while True:
        fd = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is_still(path, fd):
                return FileLock(fd)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the file was removed or replaced before it was locked


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False

"""A position in a directory tree that moves by one name at a time, with one descriptor however deep the tree is.

The kernel gets no path and follows no link, so neither the depth of a tree (paths longer than PATH_MAX) nor a link in
it matters.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Optional

from .disk import unlock

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER = stat.S_IRUSR | stat.S_IXUSR


class DirectoryCursor:
    """A current directory. `fd` is its descriptor and changes with every move.

    Args:
        top: The directory to begin in.

    Raises:
        OSError: `top` is a link or not a directory.
    """

    def __init__(self, top: str) -> None:
        self._above: list[tuple[int, int]] = []  # device and inode of each directory on the way
        self._modes: dict[int, int] = {}  # by depth, of the directories that kept their owner out
        self.fd = self._open(top, None, 0)

    @property
    def depth(self) -> int:
        return len(self._above)

    def enter(self, name: bytes) -> None:
        """Move into a directory. One whose mode keeps its owner out gets another mode until it is left: root in a VM
        could enter it.

        Raises:
            OSError: `name` is a link or not a directory.
        """
        here = os.fstat(self.fd)
        below = self._open(os.fsdecode(name), self.fd, self.depth + 1)
        os.close(self.fd)
        self.fd = below
        self._above.append((here.st_dev, here.st_ino))

    def _open(self, name: str, parent: Optional[int], depth: int) -> int:
        try:
            fd = os.open(name, DIRECTORY, dir_fd=parent)
        except PermissionError:
            mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
            if mode & _ENTER == _ENTER:
                raise  # it belongs to another user
            unlock(name, parent)
            fd = os.open(name, DIRECTORY, dir_fd=parent)
            self._modes[depth] = mode
            return fd
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & _ENTER != _ENTER and os.geteuid() != 0:
            os.fchmod(fd, mode | _ENTER)
            self._modes[depth] = mode
        return fd

    def leave(self) -> None:
        """Move to the parent directory.

        Raises:
            OSError: (ESTALE) The directory was moved elsewhere since it was entered.
        """
        mode = self._modes.pop(self.depth, None)
        above = os.open("..", DIRECTORY, dir_fd=self.fd)
        if mode is not None:
            os.fchmod(self.fd, mode)
        status = os.fstat(above)
        if (status.st_dev, status.st_ino) != self._above[-1]:
            os.close(above)
            raise OSError(errno.ESTALE, "a directory was moved away while its content was read")
        os.close(self.fd)
        self.fd = above
        self._above.pop()

    def close(self) -> None:
        """Close the descriptor, and restore the modes that `enter` has changed. Repeating it has no effect."""
        if self.fd < 0:
            return
        try:
            while self._above and self._modes:
                self.leave()
            if self._modes:
                os.fchmod(self.fd, self._modes.pop(0))
        except OSError:
            pass  # moved away: its mode cannot be restored
        os.close(self.fd)
        self.fd = -1


def open_below(top: int, parts: Sequence[bytes]) -> int:
    """Open the directory that the names lead to from `top`; the caller closes the descriptor.

    Raises:
        OSError: One of them is a link or not a directory.
    """
    fd = os.dup(top)
    for part in parts:
        try:
            below = os.open(part, DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd

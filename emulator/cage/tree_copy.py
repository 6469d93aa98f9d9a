"""Copying a tree that no process changes any more, with all that an overlay's layer consists of.

Modes, owners, times, extended attributes (an opaque directory is one with an attribute), hard links, and devices with
the number 0:0, which stand for deleted entries. Sockets, pipes and other devices are left out. Blocks.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection

from ..workers import checkpoint

#: Bytes of a path on the host: what the kernel accepts, with room for the names of the places it is copied to.
MOST_PATH = 3500
_WHITEOUT = os.makedev(0, 0)


class TreeUnusable(OSError):
    """A tree cannot be copied; the text says why."""


def copy_tree(source: str, target: str, leave_out: Collection[str] = ()) -> None:
    """Copy a directory.

    Args:
        source: The directory. No process changes it.
        target: The copy. It may exist, and then gets the content, and the mode and owner of `source`.
        leave_out: Paths below `source` to leave out, such as `.cache`.

    Raises:
        TreeUnusable: A path is too long, or a file belongs to somebody whose files cannot be read.
        OSError: There is no space.
    """
    _Copy(leave_out).copy(source, target)


class _Copy:
    def __init__(self, leave_out: Collection[str]) -> None:
        self._leave_out = frozenset(leave_out)
        self._hard_links: dict[tuple[int, int], str] = {}
        self._is_root = os.geteuid() == 0

    def copy(self, source: str, target: str) -> None:
        if not os.path.isdir(target):
            os.mkdir(target, 0o700)
        waiting = [(source, target, "")]
        done = []
        while waiting:
            here, there, prefix = waiting.pop()
            done.append((here, there))
            if len(os.fsencode(here)) > MOST_PATH:
                raise TreeUnusable(errno.ENAMETOOLONG, f"a path has more than {MOST_PATH} bytes")
            for entry in _entries(here):
                checkpoint()
                path = prefix + entry.name
                if path in self._leave_out:
                    continue
                copy = f"{there}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if not os.path.isdir(copy) or os.path.islink(copy):
                        os.mkdir(copy, 0o700)
                    waiting.append((entry.path, copy, f"{path}/"))
                else:
                    self._copy_entry(entry.path, entry.stat(follow_symlinks=False), copy)
        for here, there in reversed(done):  # a directory's time changes with its content
            self._copy_attributes(here, os.lstat(here), there)

    def _copy_entry(self, source: str, status: os.stat_result, target: str) -> None:
        if os.path.lexists(target):
            os.unlink(target)
        if status.st_nlink > 1:
            first = self._hard_links.setdefault((status.st_dev, status.st_ino), target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            _copy_content(source, target)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), target)
        elif stat.S_ISCHR(status.st_mode) and status.st_rdev == _WHITEOUT:
            os.mknod(target, stat.S_IFCHR | 0o600, _WHITEOUT)
        else:
            return
        self._copy_attributes(source, status, target)

    def _copy_attributes(self, source: str, status: os.stat_result, target: str) -> None:
        if self._is_root:
            os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            for name in os.listxattr(source, follow_symlinks=False):
                if name.startswith("security."):
                    continue  # labels of the host; and file capabilities, which no sandbox may use
                os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
            os.chmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except PermissionError as error:
        raise TreeUnusable(errno.EACCES, f"{directory} cannot be read: {error.strerror}") from error


def _copy_content(source: str, target: str) -> None:
    try:
        shutil.copyfile(source, target, follow_symlinks=False)
    except PermissionError as error:
        raise TreeUnusable(errno.EACCES, f"{source} cannot be read: {error.strerror}") from error

"""Copying a tree that no process changes any more, with all that an overlay's layer consists of.

Modes, owners, times, extended attributes, hard links, and whiteouts: devices with the number 0:0, which stand for
deleted entries. A directory with a certain attribute is opaque: it replaces what layers below have there. Named pipes
are copied on request; sockets and other devices are left out. Blocks.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection
from typing import Optional

from ..workers import checkpoint
from . import disk, overlay_marks

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
#: Bytes of a path on the host: what the kernel accepts, with room for the names of the places it is copied to.
MOST_PATH = 3500


class TreeUnusable(OSError):
    """A tree cannot be copied; the text says why."""


def copy_tree(
    source: str, target: str, leave_out: Collection[str] = (), is_lowest: bool = False, keep_pipes: bool = False
) -> None:
    """Copy a directory.

    Args:
        source: The directory. No process changes it.
        target: The copy. It may exist, and then becomes what an overlay of `source` over it would show, with the mode
            and owner of `source`.
        leave_out: Paths below `source` to leave out, such as `.cache`.
        is_lowest: Whether nothing is below the copy, so that it has no whiteouts.
        keep_pipes: Whether to copy named pipes, for which a program that reads the copy may wait.

    Raises:
        TreeUnusable: A path is too long, or a file belongs to a user whose files cannot be read.
        OSError: There is no space.
    """
    _Copy(leave_out, is_lowest, keep_pipes).copy(source, target)


class _Copy:
    def __init__(self, leave_out: Collection[str], is_lowest: bool, keep_pipes: bool) -> None:
        self._leave_out = frozenset(leave_out)
        self._is_lowest = is_lowest
        self._keep_pipes = keep_pipes
        self._hard_links: dict[tuple[int, int], str] = {}
        self._is_root = os.geteuid() == 0
        self._top: Optional[str] = None

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
            directory = self._open(here, prefix)
            try:
                for entry in _entries(directory):
                    checkpoint()
                    path, copy = prefix + entry.name, f"{there}/{entry.name}"
                    if path in self._leave_out:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        _make_room_for_directory(f"{here}/{entry.name}", copy)
                        waiting.append((f"{here}/{entry.name}", copy, f"{path}/"))
                    else:
                        self._copy_entry(directory, f"{here}/{entry.name}", entry.stat(follow_symlinks=False), copy)
            finally:
                os.close(directory)
        for here, there in reversed(done):  # a directory's time changes with its content
            self._copy_attributes(here, os.lstat(here), there)

    def _open(self, path: str, prefix: str) -> int:
        """Open a directory of the tree, and check that no link has led out of the tree: a process that is stopped may
        have been continued by another one."""
        try:
            directory = os.open(path, _DIRECTORY)
        except PermissionError as error:
            raise TreeUnusable(errno.EACCES, f"{path} cannot be read: {error.strerror}") from error
        except NotADirectoryError as error:
            raise _changed(path) from error
        real = _path_of(directory)
        if not prefix:
            self._top = real
        elif real is not None and real != f"{self._top}/{prefix[:-1]}":
            os.close(directory)
            raise _changed(path)
        return directory

    def _copy_entry(self, directory: int, source: str, status: os.stat_result, target: str) -> None:
        _remove(target)
        if not self._is_copied(status):
            return
        if status.st_nlink > 1:  # overlayfs makes all whiteouts of a layer as links to one inode
            first = self._hard_links.setdefault((status.st_dev, status.st_ino), target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            _copy_content(directory, source, target)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(os.path.basename(source), dir_fd=directory), target)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(target)
        else:
            overlay_marks.make_whiteout(target)
        self._copy_attributes(source, status, target)

    def _is_copied(self, status: os.stat_result) -> bool:
        if stat.S_ISCHR(status.st_mode):
            return overlay_marks.is_whiteout(status) and not self._is_lowest
        if stat.S_ISFIFO(status.st_mode):
            return self._keep_pipes
        return stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)

    def _copy_attributes(self, source: str, status: os.stat_result, target: str) -> None:
        if self._is_root:
            os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            for name in _attributes(source):
                if name.startswith("security.") or (self._is_lowest and ".overlay." in name):
                    continue  # labels of the host; and file capabilities, which no sandbox may use
                os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
            os.chmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _make_room_for_directory(source: str, target: str) -> None:
    if os.path.isdir(target) and not os.path.islink(target):
        if not _is_opaque(source):
            return
        disk.remove(target)
    else:
        _remove(target)
    os.mkdir(target, 0o700)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        disk.remove(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _is_opaque(directory: str) -> bool:
    return any(name in overlay_marks.OPAQUE_ATTRIBUTES for name in _attributes(directory))


def _attributes(path: str) -> list[str]:
    """The names of the extended attributes; none where the system has no such calls."""
    return os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []


def _entries(directory: int) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def _path_of(directory: int) -> Optional[str]:
    """Return the path of an open directory; None where the system does not report it."""
    try:
        return os.readlink(f"/proc/self/fd/{directory}")
    except OSError:
        return None


def _changed(path: str) -> TreeUnusable:
    return TreeUnusable(errno.EBUSY, f"{path} was replaced while it was copied")


def _copy_content(directory: int, source: str, target: str) -> None:
    try:
        fd = os.open(os.path.basename(source), _FILE, dir_fd=directory)
    except PermissionError as error:
        raise TreeUnusable(errno.EACCES, f"{source} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise (_changed(source) if error.errno in (errno.ELOOP, errno.ENXIO) else error) from error
    with open(fd, "rb", buffering=0) as content, open(target, "wb") as copy:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _changed(source)
        shutil.copyfileobj(content, copy, _PIECE)

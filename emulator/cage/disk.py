"""Measuring and removing directory trees on the host's disk.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Callable, Optional, Union

from ..workers import checkpoint
from .root_removal import remove_as_root

#: The end of the name of a directory that is being removed, so that an interrupted removal can be continued.
REMOVED = ".removed"


class WorkspaceTooLarge(Exception):
    """The workspace is larger than a snapshot may be."""


def size(path: str) -> int:
    """Return the bytes on disk below a directory. Links are not followed; what cannot be read is not counted."""
    total, todo = 0, [path]
    while todo:
        checkpoint()
        try:
            with os.scandir(todo.pop()) as found:
                for entry in found:
                    total += _size_of(entry)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            pass
    return total


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0  # removed meanwhile


def entries(directory: str) -> list[os.DirEntry[str]]:
    """Return the entries of a directory by name; none if it cannot be read."""
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def remove(path: Union[Path, str], parent: Optional[int] = None, seconds: Optional[float] = None) -> None:
    """Remove a tree, however deep, whatever modes its directories have, and also when parts of it belong to subordinate
    ids of this user. Without effect when it does not exist.

    Links are not followed, and the mode of a file is not changed, because it may be a hard link to a file outside.

    Args:
        path: The tree.
        parent: The descriptor of the directory that `path` is relative to.
        seconds: The time after which it gives up, where a process may go on filling the tree.

    Raises:
        OSError: It cannot be removed; ENOTEMPTY after `seconds`.
    """
    deadline = time.monotonic() + seconds if seconds is not None else None
    for attempt in range(5):
        try:
            top = _open_directory(str(path), parent)
            try:
                _empty(top, deadline)
            finally:
                os.close(top)
            os.rmdir(path, dir_fd=parent)
            return
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link, where the system says it this way
                return
            if isinstance(error, PermissionError) and parent is None and remove_as_root(str(path)):
                return
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == 4:
                raise  # else a process has made an entry meanwhile


def set_aside(path: Path) -> Optional[Path]:
    """Rename a sandbox's directory, so that its name shows that it is being removed if that is interrupted. Blocks for
    microseconds.

    Returns:
        What has to be removed: `path` itself where it cannot be renamed; None when it does not exist.
    """
    doomed = path.with_name(path.name + REMOVED)
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return None
    except OSError:
        return path
    return doomed


def _empty(top: int, deadline: Optional[float] = None) -> None:
    """Remove the content of a directory.

    Nested directories are moved up into `top` first, so that neither recursion nor descriptors nor paths grow with the
    depth.
    """
    token, count = secrets.token_hex(4), 0
    while True:
        directories = _remove_files(top)
        if not directories:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        for name in directories:
            try:
                child = _open_directory(name, top)
            except FileNotFoundError:
                continue
            try:
                for below in _remove_files(child):
                    count += 1
                    _move_up(below, child, f".{token}-{count}", top)
            finally:
                os.close(child)
            _unless_gone(os.rmdir, name, dir_fd=top)


def _remove_files(directory: int) -> list[str]:
    """Remove all entries but directories that are not empty, and return the names of those."""
    with os.scandir(directory) as found:
        entries = list(found)
    left = []
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            _unless_gone(os.unlink, entry.name, dir_fd=directory)
        elif not _remove_empty(entry.name, directory):
            left.append(entry.name)
    return left


def _remove_empty(name: str, parent: int) -> bool:
    """Remove a directory if it is empty, as most of a sandbox's are: to move it up would take five times as long."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError:
        return False  # what follows says why, if that prevents its removal as well
    return True


def _open_directory(name: str, parent: Optional[int]) -> int:
    """Open a directory, and let its owner read and change it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        unlock(name, parent)
        return os.open(name, flags, dir_fd=parent)
    if os.fstat(fd).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(fd, stat.S_IRWXU)
    return fd


def unlock(name: str, parent: Optional[int]) -> None:
    """Let its owner read and change a directory, without following a link that has replaced it meanwhile."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, stat.S_IRWXU, dir_fd=parent, follow_symlinks=False)
        return
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{fd}", stat.S_IRWXU)
    finally:
        os.close(fd)


def _move_up(name: str, source: int, new_name: str, target: int) -> None:
    try:
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    except FileNotFoundError:
        pass
    except PermissionError:  # a directory that is moved must be writable itself
        unlock(name, source)
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


def _unless_gone(act: Callable[..., None], name: str, *, dir_fd: int) -> None:
    try:
        act(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass

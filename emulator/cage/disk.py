"""A directory on the host's disk with all that is below it: how large it is, and its removal.

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

#: Ends the name of a directory that is being removed, should nobody come to the end of it.
REMOVED = ".removed"


class TooLarge(Exception):
    """The workspace is larger than a snapshot may be."""


def size(path: str) -> int:
    """Bytes on disk below a directory. Links are not followed; what cannot be looked into counts as nothing."""
    total, todo = 0, [path]
    while todo:
        checkpoint()
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            pass
    return total


def remove(path: Union[Path, str], parent: Optional[int] = None, seconds: Optional[float] = None) -> None:
    """Removes a tree, however deep and whatever modes its directories have. Missing is fine, also when somebody else
    removes it too. Never follows a link, and touches the mode of no file: that may be a hard link to one outside.
    `path` is below the descriptor `parent`, if there is one. `seconds` bounds it where something may go on filling the
    tree: OSError (ENOTEMPTY) after that."""
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
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == 4:
                raise  # else somebody put something in meanwhile


def discard(path: Path) -> None:
    """Remove a sandbox's directory, which has another name from the first moment on: what is left of it when that is
    cut off shows by its name that it was to go."""
    doomed = path.with_name(path.name + REMOVED)
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return
    except OSError:
        doomed = path
    remove(doomed)


def _empty(top: int, deadline: Optional[float] = None) -> None:
    """What a directory holds is moved up into `top` before it goes: so nothing here grows with the depth, neither
    recursion nor descriptors nor paths."""
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
    """Removes all but the directories, and returns those."""
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            _unless_gone(os.unlink, entry.name, dir_fd=directory)
    return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _open_directory(name: str, parent: Optional[int]) -> int:
    """A descriptor of a directory that its owner may read and change from now on."""
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
    """Lets its owner into a directory, and never through a link that was put in its place meanwhile."""
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

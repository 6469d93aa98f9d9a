"""Where a download is written: beside its target, which it becomes or joins when it is complete."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from .file_stat import FileStat
from .local_tree import KEPT_MODE
from .remote_tree import RemoteTree

#: What a rename to a directory that is not empty says.
_EXISTS = (errno.ENOTEMPTY, errno.EEXIST)


@contextmanager
def staged_file(target: str, mode: int, mtime: float) -> Iterator[BinaryIO]:
    """A file; what is written there replaces the target at the end of the block, unless the block raises.

    Raises:
        OSError: The target is a directory, or cannot be written.
    """
    if os.path.isdir(target) or not os.path.basename(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    parent = os.path.dirname(os.path.abspath(target))
    os.makedirs(parent, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".caged-", dir=parent)
    try:
        # Where a coroutine is cancelled, a thread may still write: close() waits for it.
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(name, mode & KEPT_MODE)
        os.utime(name, (mtime, mtime))
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


class StagedDirectory:
    """A directory with a tree's directories, to which files are added.

    `complete` makes it the target, or moves what is in it into the target. Used in a ``with`` block, which removes
    what is left of it.

    Raises:
        OSError: The target is a file, or cannot be written.
    """

    def __init__(self, target: str, tree: RemoteTree) -> None:
        self._target = os.path.abspath(target)
        self._tree = tree
        beside = self._target if os.path.isdir(self._target) else os.path.dirname(self._target)
        if os.path.lexists(self._target) and beside != self._target:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), target)
        self._beside = beside
        self._working = threading.Lock()
        self._ended = False

    def __enter__(self) -> StagedDirectory:
        os.makedirs(self._beside, exist_ok=True)
        self._outer = tempfile.mkdtemp(prefix=".caged-", dir=self._beside)
        self._root = os.path.join(self._outer, "new")
        try:
            os.mkdir(self._root)
            for path in sorted(self._tree.directories, key=lambda path: path.count("/")):
                os.mkdir(self._at(path), 0o700)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._working:  # where a coroutine is cancelled, a thread may still add a file
            self._ended = True
        _remove(self._outer)

    def _at(self, path: str) -> str:
        return os.path.join(self._root, path)

    def open(self, path: str) -> BinaryIO:
        """A new file of the tree."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self._at(path), flags, 0o600), "wb")

    def add(self, path: str, content: bytes) -> None:
        """Write a whole file of the tree."""
        with self._working:
            if self._ended:
                raise RuntimeError("this download has ended")
            with self.open(path) as file:
                file.write(content)
            self.finish(path)

    def finish(self, path: str) -> None:
        """Give a file of the tree its mode and time."""
        known = self._tree.files[path]
        os.chmod(self._at(path), known.mode & KEPT_MODE)
        os.utime(self._at(path), (known.mtime.timestamp(),) * 2)

    def complete(self) -> None:
        """Make the links, and put all of it into its place.

        Raises:
            OSError: A directory would replace a file, or a file a directory. Nothing was changed.
        """
        with self._working:
            # Links are made last: nothing is ever written through one.
            for path, target in self._tree.links.items():
                os.symlink(target, self._at(path))
            for path in sorted(self._tree.directories, key=lambda path: -path.count("/")):
                _finish(self._at(path), self._tree.directories[path])
            if self._tree.top is not None:
                _finish(self._root, self._tree.top)
            if self._beside != self._target:
                try:
                    os.rename(self._root, self._target)
                    return
                except OSError as problem:
                    # Another download may have made the directory meanwhile; what is no directory is refused.
                    if problem.errno not in _EXISTS:
                        raise
            self._join()

    def _join(self) -> None:
        # Each directory that another download makes at the same time is joined, too.
        for left in range(len(self._tree.directories), -1, -1):
            try:
                for source, destination in list(self._moves()):
                    os.replace(source, destination)
                return
            except OSError as problem:
                if problem.errno not in _EXISTS or not left:
                    raise

    def _moves(self) -> Iterator[tuple[str, str]]:
        waiting = [""]
        while waiting:
            below = waiting.pop()
            with os.scandir(self._at(below)) as found:
                entries = list(found)
            for entry in entries:
                path = os.path.join(below, entry.name)
                destination = os.path.join(self._target, path)
                try:
                    there = os.lstat(destination).st_mode
                except FileNotFoundError:
                    yield entry.path, destination
                    continue
                if entry.is_dir(follow_symlinks=False):
                    # A link to a directory is none: it may lead out of the target.
                    if not stat.S_ISDIR(there):
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), destination)
                    waiting.append(path)
                elif stat.S_ISDIR(there):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), destination)
                else:
                    yield entry.path, destination


def _finish(path: str, known: FileStat) -> None:
    """Give a directory its mode and time."""
    # Its owner has to be able to move it, to download into it again, and to remove it.
    os.chmod(path, known.mode & KEPT_MODE | 0o700)
    os.utime(path, (known.mtime.timestamp(),) * 2)


def _remove(root: str) -> None:
    """Remove a directory of the owner's alone with all that is in it, as far as that is possible.

    `shutil.rmtree` calls itself for each level of directories, and a sandbox decides how many there are.
    """
    directories, waiting = [], [root]
    while waiting:
        directory = waiting.pop()
        directories.append(directory)
        with suppress(OSError), os.scandir(directory) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with suppress(OSError):
                        os.unlink(entry.path)
    for directory in reversed(directories):
        with suppress(OSError):
            os.rmdir(directory)

"""Writing a directory of a sandbox into a tar file: modes, times, empty directories, symlinks and hard links kept.

A tree of any depth is read through directory descriptors (`directory_cursor.py`), so no path is too long for the kernel
and no link is followed. All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Optional

from ..workers import checkpoint
from . import layers
from .directory_cursor import DirectoryCursor
from .disk import WorkspaceTooLarge
from .paths import Layout
from .safe_files import TEMPORARY
from .tar_reader import MOST_MEMBERS, MOST_PATH

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)


def pack(layout: Layout, target: Path, limit: Optional[int] = None, name: str = "workspace") -> int:
    """Write a directory of a sandbox into a tar file. Sockets and devices are left out: they have no content to keep.

    Args:
        layout: The sandbox's paths.
        target: The file to write, which appears complete or not at all.
        limit: The highest number of bytes in the directory's files; None for no limit.
        name: The directory, one of `Layout.roots`.

    Returns:
        The number of bytes in its files.

    Raises:
        WorkspaceTooLarge: There are more than `limit`.
        OSError: The directory cannot be read, or has more entries or longer paths than an archive may hold.
    """
    temporary = target.with_suffix(".part")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            _require_directory(layout, name)
            with layers.merged(layout, name) as directory:
                total = _Packer(layout, archive, limit).pack(directory)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return total


def _require_directory(layout: Layout, name: str) -> None:
    """Raise NotADirectoryError unless a writable directory is one on the host: a command may have put a link to any
    directory of the host there."""
    if not stat.S_ISDIR(os.lstat(layout.roots()[name]).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"/{name} is not a directory any more")


@dataclass
class _Entry:
    """An entry of the tree: its name in the directory with the descriptor `parent`, and its path in the archive."""

    parent: int
    name: bytes
    member: bytes
    status: os.stat_result


def _walk(top: str) -> Generator[_Entry, None, None]:
    """Yield directories before what they hold, names sorted: the same tree gives the same archive."""
    status = os.lstat(top)  # before the cursor opens it, which changes a mode that keeps its owner out
    cursor = DirectoryCursor(top)
    try:
        yield _Entry(cursor.fd, b".", b".", status)
        path, waiting = [b"."], [_names(cursor.fd)]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                path.pop()
                if waiting:
                    cursor.leave()
                continue
            name = waiting[-1].pop()
            try:
                status = os.stat(name, dir_fd=cursor.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile, by a process that cannot be frozen
            member = b"/".join((*path, name))
            if len(member) >= MOST_PATH:
                raise OSError(errno.ENAMETOOLONG, f"a path has more than {MOST_PATH:,} bytes")
            yield _Entry(cursor.fd, name, member, status)
            if stat.S_ISDIR(status.st_mode):
                cursor.enter(name)
                path.append(name)
                waiting.append(_names(cursor.fd))
    finally:
        cursor.close()


def _names(directory: int) -> list[bytes]:
    """The names in a directory, last one first."""
    found = (os.fsencode(name) for name in os.listdir(directory) if not TEMPORARY.match(name))
    return sorted(found, reverse=True)


class _Packer:
    def __init__(self, layout: Layout, archive: tarfile.TarFile, limit: Optional[int]) -> None:
        self._layout = layout
        self._archive = archive
        self._limit = limit
        self._total = self._count = 0
        self._hard_links: dict[tuple[int, int], str] = {}

    def pack(self, top: str) -> int:
        with closing(_walk(top)) as walk:
            for entry in walk:
                checkpoint()
                self._count += 1
                if self._count > MOST_MEMBERS:
                    raise OSError(errno.EFBIG, f"there are more than {MOST_MEMBERS:,} files")
                self._add(entry)
        return self._total

    def _add(self, entry: _Entry) -> None:
        mode = entry.status.st_mode
        member = _member(entry)
        if stat.S_ISREG(mode):
            self._add_file(entry, member)
            return
        if stat.S_ISDIR(mode):
            member.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(mode):
            member.type = tarfile.SYMTYPE
            member.linkname = self._layout.link_to_sandbox(os.fsdecode(os.readlink(entry.name, dir_fd=entry.parent)))
        elif stat.S_ISFIFO(mode):
            member.type = tarfile.FIFOTYPE
        else:
            return
        self._archive.addfile(member)

    def _add_file(self, entry: _Entry, member: tarfile.TarInfo) -> None:
        inode = (entry.status.st_dev, entry.status.st_ino)
        if entry.status.st_nlink > 1:
            member.linkname = self._hard_links.setdefault(inode, member.name)
            if member.linkname != member.name:
                member.type = tarfile.LNKTYPE
                self._archive.addfile(member)
                return
            member.linkname = ""
        with _open(entry) as content:
            member.size = os.fstat(content.fileno()).st_size
            self._total += member.size
            if self._limit is not None and self._total > self._limit:
                raise WorkspaceTooLarge
            self._archive.addfile(member, _ExactSizeReader(content, member.size))


def _member(entry: _Entry) -> tarfile.TarInfo:
    member = tarfile.TarInfo(os.fsdecode(entry.member))
    member.mode = stat.S_IMODE(entry.status.st_mode)
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    nanoseconds = entry.status.st_mtime_ns  # more exact than the float that tarfile would write
    sign, (seconds, rest) = "-" * (nanoseconds < 0), divmod(abs(nanoseconds), 10**9)
    member.mtime = -seconds if sign else seconds
    if rest:
        member.pax_headers = {"mtime": f"{sign}{seconds}.{rest:09d}"}
    return member


def _open(entry: _Entry) -> IO[bytes]:
    """Open a regular file for reading, also one whose mode keeps its owner out."""
    try:
        fd = os.open(entry.name, _READ, dir_fd=entry.parent)
    except PermissionError:
        fd = _open_closed(entry)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ESTALE, "a file was replaced while it was read")
    return open(fd, "rb")


def _open_closed(entry: _Entry) -> int:
    """Open a file whose mode keeps its owner out, by changing the mode for a moment. Where the system has O_PATH, the
    mode is changed through a descriptor, so that a link that replaces the file is not followed."""
    if not hasattr(os, "O_PATH"):
        os.chmod(entry.name, stat.S_IMODE(entry.status.st_mode) | stat.S_IRUSR, dir_fd=entry.parent)
        try:
            return os.open(entry.name, _READ, dir_fd=entry.parent)
        finally:
            os.chmod(entry.name, stat.S_IMODE(entry.status.st_mode), dir_fd=entry.parent)
    handle = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.ESTALE, "a file was replaced while it was read")
        path = f"/proc/self/fd/{handle}"
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRUSR)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.chmod(path, stat.S_IMODE(mode))
    finally:
        os.close(handle)


class _ExactSizeReader:
    """Reads exactly `size` bytes of a file that may change meanwhile: it is cut, or filled with zero bytes."""

    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content = content
        self._left = size

    def read(self, count: int = -1) -> bytes:
        checkpoint()
        count = self._left if count < 0 else min(count, self._left)
        data = self._content.read(count)
        data += b"\0" * (count - len(data))
        self._left -= len(data)
        return data

"""A workspace as a tar file and back: modes, times, empty directories, symlinks and hard links kept.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Callable, Optional, TypeVar

from .paths import Layout

CHUNK = 1 << 20

T = TypeVar("T")


class TooLarge(Exception):
    """The workspace is larger than a snapshot may be."""


def pack(layout: Layout, target: Path, limit: Optional[int] = None) -> int:
    """Writes the workspace into `target` (a tar file, appearing complete or not at all). Returns the number of
    bytes that its files hold. TooLarge when that is more than `limit`."""
    temporary = target.with_suffix(".part")
    total = 0
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for path, name in _walk(str(layout.workspace)):
                member = archive.gettarinfo(path, name)
                if member is None:  # a socket: it has no content to keep
                    continue
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                if member.issym():
                    member.linkname = layout.link_to_sandbox(member.linkname)
                if member.isreg():
                    total += member.size
                    if limit is not None and total > limit:
                        raise TooLarge
                    with _open(path) as content:
                        archive.addfile(member, _Exactly(content, member.size))
                else:
                    archive.addfile(member)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return total


def _walk(root: str, prefix: str = ".") -> Iterator[tuple[str, str]]:
    """Directories before what they hold, names sorted: the same tree gives the same archive."""
    yield root, prefix
    for name in sorted(_list(root)):
        path, member = os.path.join(root, name), f"{prefix}/{name}"
        if name.endswith(".caged-write"):
            continue
        if stat.S_ISDIR(os.lstat(path).st_mode):
            yield from _walk(path, member)
        else:
            yield path, member


def _list(path: str) -> list[str]:
    return _despite_mode(path, stat.S_IRUSR | stat.S_IXUSR, lambda: os.listdir(path))


def _open(path: str) -> IO[bytes]:
    return _despite_mode(path, stat.S_IRUSR, lambda: open(path, "rb"))


def _despite_mode(path: str, bits: int, act: Callable[[], T]) -> T:
    """Does what root in a VM could do: a file whose mode keeps its owner out is opened all the same."""
    try:
        return act()
    except PermissionError:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        os.chmod(path, mode | bits)
        try:
            return act()
        finally:
            os.chmod(path, mode)


class _Exactly:
    """Reads exactly `size` bytes: a file that changes under our hands is cut or filled with zeros."""

    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content = content
        self._left = size

    def read(self, count: int = -1) -> bytes:
        count = self._left if count < 0 else min(count, self._left)
        data = self._content.read(count)
        data += b"\0" * (count - len(data))
        self._left -= len(data)
        return data


def unpack(source: Path, layout: Layout) -> None:
    """Replaces all that the workspace holds by the archive's content, or, when that fails, nothing.

    The directory itself stays the same, so that processes that stand in it (and a mount of it) see the new
    content. Everything is unpacked beside it first; what is left then are renames, undone when one fails.
    """
    staging = layout.directory / "restore-new"
    outgoing = layout.directory / "restore-old"
    for leftover in (staging, outgoing):
        remove(leftover)
    moved_out: list[str] = []
    moved_in: list[str] = []
    try:
        staging.mkdir()
        outgoing.mkdir()
        _extract(source, staging, layout)
        layout.workspace.mkdir(exist_ok=True)
        try:
            for name in os.listdir(layout.workspace):
                os.rename(layout.workspace / name, outgoing / name)
                moved_out.append(name)
            for name in os.listdir(staging):
                os.rename(staging / name, layout.workspace / name)
                moved_in.append(name)
        except OSError:
            for name in moved_in:
                os.rename(layout.workspace / name, staging / name)
            for name in moved_out:
                os.rename(outgoing / name, layout.workspace / name)
            raise
        status = staging.stat()
        os.chmod(layout.workspace, stat.S_IMODE(status.st_mode))
        os.utime(layout.workspace, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        for leftover in (staging, outgoing):
            remove(leftover)


def _extract(source: Path, target: Path, layout: Layout) -> None:
    """The archive is our own, so its names are trusted; directory modes come last, a read-only one must first
    take what it holds."""
    directories: list[tuple[str, tarfile.TarInfo]] = []
    with tarfile.open(source, "r:") as archive:
        for member in archive:
            path = os.path.normpath(os.path.join(target, member.name))
            if member.isdir():
                os.makedirs(path, exist_ok=True)
                directories.append((path, member))
            elif member.issym():
                os.symlink(layout.link_to_host(member.linkname), path)
                os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
            elif member.islnk():
                os.link(os.path.normpath(os.path.join(target, member.linkname)), path, follow_symlinks=False)
            elif member.isfifo():
                os.mkfifo(path, member.mode)
            elif member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                with open(path, "wb") as out:
                    shutil.copyfileobj(content, out, CHUNK)
                os.chmod(path, member.mode)
                os.utime(path, (member.mtime, member.mtime))
    for path, member in reversed(directories):
        os.chmod(path, member.mode)
        os.utime(path, (member.mtime, member.mtime))


def gzipped(source: Path) -> Iterator[bytes]:
    """The archive as `.tar.gz`, in pieces; the same archive gives the same bytes."""
    out = _Pieces()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=1, mtime=0) as packer:
        with open(source, "rb") as archive:
            while True:
                chunk = archive.read(CHUNK)
                if not chunk:
                    break
                packer.write(chunk)
                yield from out.take()
    yield from out.take()


class _Pieces:
    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces


def remove(path: Path) -> None:
    """Removes a tree whatever modes its directories have. Missing is fine. Never follows a link."""
    for _attempt in range(5):
        try:
            shutil.rmtree(path)
            return
        except NotADirectoryError:
            return
        except FileNotFoundError:
            if not os.path.lexists(path):
                return
            # Somebody else removes it too; look again.
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOTEMPTY):
                raise
            for directory, _names, _files in os.walk(path):
                _open_up(directory)
    shutil.rmtree(path, ignore_errors=True)


def _open_up(directory: str) -> None:
    try:
        os.chmod(directory, 0o700)
        for name in os.listdir(directory):
            child = os.path.join(directory, name)
            if stat.S_ISDIR(os.lstat(child).st_mode):
                os.chmod(child, 0o700)
    except OSError:
        pass

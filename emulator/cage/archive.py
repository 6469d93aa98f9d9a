"""A workspace as a tar file and back: modes, times, empty directories, symlinks and hard links kept.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import gzip
import os
import stat
import tarfile
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Optional

from ..workers import checkpoint
from .disk import TooLarge
from .paths import Layout
from .tree import TEMPORARY

CHUNK = 1 << 20
_ENTER = stat.S_IRUSR | stat.S_IXUSR


def pack(layout: Layout, target: Path, limit: Optional[int] = None, name: str = "workspace") -> int:
    """Writes the workspace, or another of the sandbox's places, into `target` (a tar file, appearing complete or not
    at all). Returns the number of bytes that its files hold. TooLarge when that is more than `limit`."""
    temporary = target.with_suffix(".part")
    total = 0
    try:
        walk = _walk(_directory(layout, name))
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive, closing(walk):
            for path, member_name in walk:
                checkpoint()
                member = archive.gettarinfo(path, member_name)
                if member is None:  # a socket: it has no content to keep
                    continue
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                _set_mtime(member, os.lstat(path).st_mtime_ns)
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


def _set_mtime(member: tarfile.TarInfo, nanoseconds: int) -> None:
    """To the nanosecond, which tarfile's own float does not hold."""
    sign, (seconds, rest) = "-" * (nanoseconds < 0), divmod(abs(nanoseconds), 10**9)
    member.mtime = -seconds if sign else seconds
    if rest:
        member.pax_headers = {"mtime": f"{sign}{seconds}.{rest:09d}"}


def times_of(member: tarfile.TarInfo) -> tuple[int, int]:
    """(access, modification) in nanoseconds, for os.utime."""
    whole, _, rest = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    nanoseconds = abs(int(whole)) * 10**9 + int(f"{rest:0<9}"[:9])
    nanoseconds = -nanoseconds if whole.startswith("-") else nanoseconds
    return nanoseconds, nanoseconds


def _directory(layout: Layout, name: str) -> str:
    """A place, when it is a directory of its own. A command may have put a link to any place of the host where it was;
    what is behind that link is none of our business."""
    path = layout.roots()[name]
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"/{name} is not a directory any more")
    return path


def _walk(root: str) -> Generator[tuple[str, str], None, None]:
    """Directories before what they hold, names sorted: the same tree gives the same archive. A directory whose mode
    keeps its owner out is open while its content is walked, as it would be to root in a VM."""
    opened: list[tuple[str, int]] = []
    todo = [(root, ".")]
    try:
        while todo:
            path, member = todo.pop()
            yield path, member
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode):
                if mode & _ENTER != _ENTER and os.geteuid() != 0:
                    opened.append((path, stat.S_IMODE(mode)))
                    os.chmod(path, stat.S_IMODE(mode) | _ENTER)
                names = sorted((name for name in os.listdir(path) if not TEMPORARY.match(name)), reverse=True)
                todo += [(os.path.join(path, name), f"{member}/{name}") for name in names]
    finally:
        for path, mode in reversed(opened):
            os.chmod(path, mode)


def _open(path: str) -> IO[bytes]:
    """A file for reading, also one whose mode keeps its owner out."""
    try:
        return open(path, "rb")
    except PermissionError:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        os.chmod(path, mode | stat.S_IRUSR)
        try:
            return open(path, "rb")
        finally:
            os.chmod(path, mode)


class _Exactly:
    """Reads exactly `size` bytes: a file that changes under our hands is cut or filled with zeros."""

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


def extract(source: Path, target: Path, layout: Layout) -> tarfile.TarInfo:
    """Puts all into `target` and returns the place's own entry, which is not applied. The archive is our own, so its
    names are trusted; directory modes come last, a read-only one must first take what it holds."""
    directories: list[tuple[str, tarfile.TarInfo]] = []
    with tarfile.open(source, "r:") as archive:
        top = archive.next()
        if top is None or top.name != ".":
            raise tarfile.ReadError("it does not begin with the directory itself")
        for member in archive:
            checkpoint()
            if member is top:
                continue
            path = os.path.normpath(os.path.join(target, member.name))
            if member.isdir():
                os.makedirs(path, exist_ok=True)
                directories.append((path, member))
            elif member.issym():
                os.symlink(layout.link_to_host(member.linkname), path)
                os.utime(path, ns=times_of(member), follow_symlinks=False)
            elif member.islnk():
                os.link(os.path.normpath(os.path.join(target, member.linkname)), path, follow_symlinks=False)
            elif member.isfifo():
                os.mkfifo(path)
                os.chmod(path, member.mode)
                os.utime(path, ns=times_of(member))
            elif member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                with open(path, "wb") as out:
                    while piece := content.read(CHUNK):
                        checkpoint()
                        out.write(piece)
                os.chmod(path, member.mode)
                os.utime(path, ns=times_of(member))
    for path, member in reversed(directories):
        os.chmod(path, member.mode)
        os.utime(path, ns=times_of(member))
    return top


class Gzipped:
    """An archive as `.tar.gz`, in pieces; the same archive gives the same bytes. FileNotFoundError at once. To be
    closed, also when it was not read to its end."""

    def __init__(self, source: Path) -> None:
        self._archive = open(source, "rb")  # noqa: SIM115  until `close`
        self._pieces = _gzipped(self._archive)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._pieces.close()
        self._archive.close()


def _gzipped(archive: IO[bytes]) -> Generator[bytes, None, None]:
    out = _Pieces()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=1, mtime=0) as packer:
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

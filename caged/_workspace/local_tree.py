"""A directory of this machine as what is sent of it: archives of a piece's size, and pieces of large files."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Callable, Optional

from .._errors import CagedError
from .pieces import PIECE

#: The permission bits that a transfer keeps. Setuid, setgid and sticky bits are dropped: they must not take effect on
#: another machine.
KEPT_MODE = 0o777
_BLOCK = 512


@dataclass(frozen=True)
class LocalEntry:
    """One file, directory or link, by its path below the directory that is sent."""

    path: str
    status: os.stat_result


@dataclass(frozen=True)
class Part:
    """What is sent at once.

    Attributes:
        content: An archive, or a piece of a file.
        size: Bytes of files in it.
        file: The file whose piece it is; None for an archive.
        last: Whether it is the last piece of the file.
    """

    content: bytes
    size: int
    file: Optional[LocalEntry] = None
    last: bool = True


def entries(root: str, ignored: Callable[[str], bool]) -> list[LocalEntry]:
    """Everything below a directory, a directory before what is in it. Sockets, pipes and devices are left out.

    Raises:
        OSError: A directory cannot be read.
    """
    found: list[LocalEntry] = []
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        for entry in sorted(os.scandir(os.path.join(root, directory)), key=lambda entry: entry.name):
            path = f"{directory}/{entry.name}" if directory else entry.name
            if ignored(path):
                continue
            try:
                path.encode()
            except UnicodeEncodeError:
                raise CagedError(f"{os.path.join(root, path)!r} cannot be sent: its name is not UTF-8") from None
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
            elif not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
                continue
            found.append(LocalEntry(path, status))
    return found


def size_of(found: Sequence[LocalEntry]) -> int:
    """Bytes of all files, each name of a file counted."""
    return sum(entry.status.st_size for entry in found if stat.S_ISREG(entry.status.st_mode))


def parts(root: str, found: Sequence[LocalEntry]) -> Iterator[Part]:
    """What is sent for some entries, in order.

    Directories come last, from the deepest on: what is made in a directory changes its time, and cannot be made in
    one that is read-only.

    Raises:
        OSError: A file cannot be read.
        CagedError: A file became shorter.
    """
    archive = _Archive()
    names: dict[tuple[int, int], str] = {}
    for entry in found:
        mode, size = entry.status.st_mode, entry.status.st_size
        if stat.S_ISDIR(mode):
            continue
        if stat.S_ISLNK(mode):
            archive.add(_header(entry, tarfile.SYMTYPE, os.readlink(os.path.join(root, entry.path))))
        elif (first := names.setdefault((entry.status.st_dev, entry.status.st_ino), entry.path)) != entry.path:
            archive.add(_header(entry, tarfile.LNKTYPE, f"./{first}"), counted=size)
        elif size > PIECE - 16 * _BLOCK:
            if archive.size:
                yield archive.take()
            yield from _large(root, entry)
        else:
            if archive.size + size > PIECE - 16 * _BLOCK:
                yield archive.take()
            with open(os.path.join(root, entry.path), "rb") as file:
                archive.add(_header(entry, tarfile.REGTYPE), _exactly(file.read(size), size, file.name), size)
        if archive.size > PIECE - 16 * _BLOCK:
            yield archive.take()
    if archive.size:
        # Not in the same archive: busybox makes links when all else is there.
        yield archive.take()
    directories = [entry for entry in found if stat.S_ISDIR(entry.status.st_mode)]
    for entry in [*reversed(directories), LocalEntry("", os.stat(root))]:
        archive.add(_header(entry, tarfile.DIRTYPE))
        if archive.size > PIECE - 16 * _BLOCK:
            yield archive.take()
    yield archive.take()


def _large(root: str, entry: LocalEntry) -> Iterator[Part]:
    left = entry.status.st_size
    with open(os.path.join(root, entry.path), "rb") as file:
        while left:
            count = min(PIECE, left)
            content = _exactly(file.read(count), count, file.name)
            left -= count
            yield Part(content, count, entry, not left)


def _exactly(content: bytes, size: int, name: str) -> bytes:
    if len(content) != size:
        raise CagedError(f"{name!r} became shorter while it was sent; nothing in the sandbox was changed")
    return content


def _header(entry: LocalEntry, kind: bytes, target: str = "") -> bytes:
    info = tarfile.TarInfo(f"./{entry.path}")
    info.type = kind
    info.linkname = target
    info.size = entry.status.st_size if kind == tarfile.REGTYPE else 0
    info.mode = entry.status.st_mode & KEPT_MODE
    info.mtime = max(0, int(entry.status.st_mtime))
    # busybox knows the GNU form of long names, and not the one of POSIX.
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


@dataclass
class _Archive:
    """An archive that grows."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    counted: int = 0

    def add(self, header: bytes, content: bytes = b"", counted: int = 0) -> None:
        padding = bytes(-len(content) % _BLOCK)
        self.pieces += (header, content, padding)
        self.size += len(header) + len(content) + len(padding)
        self.counted += counted

    def take(self) -> Part:
        """All of it; it is empty afterwards."""
        part = Part(b"".join((*self.pieces, bytes(2 * _BLOCK))), self.counted)
        self.pieces, self.size, self.counted = [], 0, 0
        return part

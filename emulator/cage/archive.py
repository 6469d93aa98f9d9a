"""A workspace as a tar file and back: modes, times, empty directories, symlinks and hard links kept.

A tree of any depth is packed and extracted through directory descriptors (`directory_cursor.py`), so no path is too
long for the kernel and no link is followed. `extract` takes archives of any origin (`tarball.py` says what is refused).

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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Optional

from ..workers import checkpoint
from .directory_cursor import DIRECTORY, Cursor, open_below
from .disk import TooLarge
from .paths import Layout
from .safe_files import TEMPORARY
from .tarball import CHUNK, MOST_MEMBERS, MOST_PATH, ArchiveError, Member, Tarball

__all__ = ["CHUNK", "ArchiveError", "Gzipped", "Member", "check", "extract", "pack"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# --- packing


def pack(layout: Layout, target: Path, limit: Optional[int] = None, name: str = "workspace") -> int:
    """Write the workspace, or another of the sandbox's places, into `target` (a tar file, appearing complete or not
    at all). Sockets and devices are left out: they have no content to keep.

    Returns:
        The number of bytes that its files hold.

    Raises:
        TooLarge: That is more than `limit`.
        OSError: The tree cannot be read, or has more than an archive may hold.
    """
    temporary = target.with_suffix(".part")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            total = _Packer(layout, archive, limit).pack(_directory(layout, name))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return total


def _directory(layout: Layout, name: str) -> str:
    """A place, when it is a directory of its own. A command may have put a link to any place of the host where it was;
    what is behind that link is none of our business."""
    path = layout.roots()[name]
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"/{name} is not a directory any more")
    return path


@dataclass
class _Found:
    """An entry of a tree: its name in the directory `parent`, and its path in the archive."""

    parent: int
    name: bytes
    member: bytes
    status: os.stat_result


def _walk(top: str) -> Generator[_Found, None, None]:
    """Directories before what they hold, names sorted: the same tree gives the same archive."""
    status = os.lstat(top)  # before it is opened: a mode that keeps its owner out is another as long as it is open
    cursor = Cursor(top)
    try:
        yield _Found(cursor.fd, b".", b".", status)
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
                continue  # removed meanwhile, by a process that cannot be held still
            member = b"/".join((*path, name))
            if len(member) >= MOST_PATH:
                raise OSError(errno.ENAMETOOLONG, f"a path has more than {MOST_PATH:,} bytes")
            yield _Found(cursor.fd, name, member, status)
            if stat.S_ISDIR(status.st_mode):
                cursor.enter(name)
                path.append(name)
                waiting.append(_names(cursor.fd))
    finally:
        cursor.close()


def _names(directory: int) -> list[bytes]:
    """Last one first."""
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
            for found in walk:
                checkpoint()
                self._count += 1
                if self._count > MOST_MEMBERS:
                    raise OSError(errno.EFBIG, f"there are more than {MOST_MEMBERS:,} files")
                self._add(found)
        return self._total

    def _add(self, found: _Found) -> None:
        mode = found.status.st_mode
        member = _member(found)
        if stat.S_ISREG(mode):
            self._add_file(found, member)
            return
        if stat.S_ISDIR(mode):
            member.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(mode):
            member.type = tarfile.SYMTYPE
            member.linkname = self._layout.link_to_sandbox(os.fsdecode(os.readlink(found.name, dir_fd=found.parent)))
        elif stat.S_ISFIFO(mode):
            member.type = tarfile.FIFOTYPE
        else:
            return
        self._archive.addfile(member)

    def _add_file(self, found: _Found, member: tarfile.TarInfo) -> None:
        inode = (found.status.st_dev, found.status.st_ino)
        if found.status.st_nlink > 1:
            member.linkname = self._hard_links.setdefault(inode, member.name)
            if member.linkname != member.name:
                member.type = tarfile.LNKTYPE
                self._archive.addfile(member)
                return
            member.linkname = ""
        with _open(found) as content:
            member.size = os.fstat(content.fileno()).st_size
            self._total += member.size
            if self._limit is not None and self._total > self._limit:
                raise TooLarge
            self._archive.addfile(member, _Exactly(content, member.size))


def _member(found: _Found) -> tarfile.TarInfo:
    member = tarfile.TarInfo(os.fsdecode(found.member))
    member.mode = stat.S_IMODE(found.status.st_mode)
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    nanoseconds = found.status.st_mtime_ns  # which tarfile's own float does not hold
    sign, (seconds, rest) = "-" * (nanoseconds < 0), divmod(abs(nanoseconds), 10**9)
    member.mtime = -seconds if sign else seconds
    if rest:
        member.pax_headers = {"mtime": f"{sign}{seconds}.{rest:09d}"}
    return member


def _open(found: _Found) -> IO[bytes]:
    """A regular file for reading, also one whose mode keeps its owner out."""
    try:
        fd = os.open(found.name, _READ, dir_fd=found.parent)
    except PermissionError:
        fd = _open_closed(found)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ESTALE, "a file was replaced while it was read")
    return open(fd, "rb")


def _open_closed(found: _Found) -> int:
    """Its mode is another for a moment. Where the system can, it is opened without being read first, so that it is the
    file and not a link put in its place."""
    if not hasattr(os, "O_PATH"):
        os.chmod(found.name, stat.S_IMODE(found.status.st_mode) | stat.S_IRUSR, dir_fd=found.parent)
        try:
            return os.open(found.name, _READ, dir_fd=found.parent)
        finally:
            os.chmod(found.name, stat.S_IMODE(found.status.st_mode), dir_fd=found.parent)
    handle = os.open(found.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.parent)
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


# --- extracting


def check(source: Path) -> None:
    """Read an archive to its end without extracting it. ArchiveError for one that `extract` would refuse."""
    wanted: set[bytes] = set()
    with open(source, "rb") as file:
        for member in Tarball(file):
            if member.kind == "hard link":
                wanted.add(b"/".join(member.target_parts))
    if not wanted:
        return
    held: set[bytes] = set()
    with open(source, "rb") as file:
        for member in Tarball(file):
            if member.kind == "file":
                held |= {b"/".join(member.parts)} & wanted
            elif member.kind == "hard link" and b"/".join(member.target_parts) not in held:
                raise _missing(member)


def extract(source: Path, target: Path, layout: Layout) -> Member:
    """Put all that an archive holds into the empty directory `target`, and nothing anywhere else.

    Returns:
        The archive's own directory, whose mode and times are not applied.

    Raises:
        ArchiveError: A member is refused. What was extracted before it is left to the caller.
    """
    extraction = _Extraction(target, layout)
    try:
        with open(source, "rb") as file:
            return extraction.run(Tarball(file))
    finally:
        extraction.close()


class _Extraction:
    """Goes through the tree with the archive. Every directory that it enters was made by itself."""

    def __init__(self, target: Path, layout: Layout) -> None:
        self._top = os.open(target, DIRECTORY)
        self._layout = layout
        self._cursor = Cursor(str(target))
        self._way: list[Member] = []
        #: A closed directory must first take what later hard links find in it.
        self._closed: list[Member] = []

    def close(self) -> None:
        self._cursor.close()
        os.close(self._top)

    def run(self, archive: Tarball) -> Member:
        members = iter(archive)
        top = next(members)
        for member in members:
            while len(self._way) >= len(member.parts):
                self._leave()
            try:
                self._put(member, archive)
            except FileExistsError:
                raise ArchiveError(f"{member.shown} comes twice") from None
        while self._way:
            self._leave()
        for member in self._closed:
            directory = open_below(self._top, member.parts)
            try:
                os.fchmod(directory, member.mode)
            finally:
                os.close(directory)
        return top

    def _leave(self) -> None:
        member = self._way.pop()
        os.utime(self._cursor.fd, ns=member.times)
        if member.mode & stat.S_IRWXU == stat.S_IRWXU:
            os.fchmod(self._cursor.fd, member.mode)
        else:
            self._closed.append(member)
        self._cursor.leave()

    def _put(self, member: Member, archive: Tarball) -> None:
        parent, name = self._cursor.fd, member.parts[-1]
        if member.kind == "file":
            self._write(member, archive)
        elif member.kind == "directory":
            os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
            self._cursor.enter(name)
            self._way.append(member)
        elif member.kind == "link":
            os.symlink(self._layout.link_to_host(os.fsdecode(member.target)), name, dir_fd=parent)
            os.utime(name, ns=member.times, dir_fd=parent, follow_symlinks=False)
        elif member.kind == "fifo":
            os.mkfifo(name, 0o600, dir_fd=parent)
            os.chmod(name, member.mode, dir_fd=parent)
            os.utime(name, ns=member.times, dir_fd=parent, follow_symlinks=False)
        else:
            self._link(member)

    def _write(self, member: Member, archive: Tarball) -> None:
        fd = os.open(member.parts[-1], _CREATE, 0o600, dir_fd=self._cursor.fd)
        try:
            for piece in archive.content():
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            os.fchmod(fd, member.mode)
            os.utime(fd, ns=member.times)
        finally:
            os.close(fd)

    def _link(self, member: Member) -> None:
        """A second name for a file that was extracted: the way to it is walked from the top, and has no links."""
        *above, name = member.target_parts or (b"",)
        try:
            directory = open_below(self._top, above)
        except OSError as error:
            raise _missing(member) from error
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise _missing(member)
            os.link(
                name,
                member.parts[-1],
                src_dir_fd=directory,
                dst_dir_fd=self._cursor.fd,
                follow_symlinks=False,
            )
        except FileNotFoundError as error:
            raise _missing(member) from error
        finally:
            os.close(directory)


def _missing(member: Member) -> ArchiveError:
    return ArchiveError(f"{member.shown} is a hard link to a file that the archive does not hold before it")


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

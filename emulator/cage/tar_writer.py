"""Writing files of a sandbox into a tar file: modes, owners, times, empty directories, symlinks and hard links kept.

`pack` writes one directory, `pack_file_system` whatever the sandbox has changed anywhere (`archive_form.py`).

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
from typing import IO, Callable, Optional

from ..workers import checkpoint
from . import archive_form, host_view, layers
from .directory_cursor import DirectoryCursor
from .disk import WorkspaceTooLarge
from .overlay_marks import is_whiteout
from .paths import MOUNT_POINTS, Layout
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
    _directory(layout, name)
    with layers.flattened(layout, [name]) as flat:
        return _write(flat, target, limit, lambda packer: packer.pack(_directory(flat, name)))


def pack_file_system(layout: Layout, target: Path, limit: Optional[int] = None, system_only: bool = False) -> int:
    """Write what a sandbox has changed anywhere into a tar file, of the form in `archive_form.py`.

    Args:
        layout: The sandbox's paths.
        target: The file to write, which appears complete or not at all.
        limit: The highest number of bytes in the files; None for no limit.
        system_only: Whether /workspace, /root and /tmp are left out.

    Returns:
        The number of bytes in the files.

    Raises:
        WorkspaceTooLarge: There are more than `limit`.
        OSError: A directory cannot be read, has more entries or longer paths than an archive may hold, or an entry with
            a name that marks deletions.
    """
    with layers.flattened(layout, ["system", *(() if system_only else ["root"])]) as flat:
        return _write(flat, target, limit, lambda packer: packer.pack_file_system(system_only))


def _write(layout: Layout, target: Path, limit: Optional[int], write: Callable[[_Packer], int]) -> int:
    temporary = target.with_suffix(".part")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            total = write(_Packer(layout, archive, limit))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return total


def _directory(layout: Layout, name: str) -> str:
    """The path of a writable directory on the host. Raises NotADirectoryError for anything else: a command may have put
    a link to any directory of the host there."""
    path = layout.roots()[name]
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"/{name} is not a directory any more")
    return path


@dataclass
class _Entry:
    """An entry of the tree: its name in the directory with the descriptor `parent`, and its path in the archive.

    Attributes:
        is_mark: Whether it becomes an empty file that marks a deletion.
    """

    parent: int
    name: bytes
    member: bytes
    status: os.stat_result
    is_mark: bool = False


def _walk(top: str, member: bytes = b".", opaque: str = "") -> Generator[_Entry, None, None]:
    """Yield directories before what they hold, in the order of their names in the archive: the same tree gives the same
    archive.

    Args:
        top: A directory of the host.
        member: Its path in the archive.
        opaque: The attribute of opaque directories, for a directory in which deletions are marked; "" for others.
    """
    status = os.lstat(top)  # before the cursor opens it, which changes a mode that keeps its owner out
    cursor = DirectoryCursor(top)
    try:
        yield _Entry(cursor.fd, b".", member, status)
        path, waiting = [member], [_names(cursor.fd, opaque)]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                path.pop()
                if waiting:
                    cursor.leave()
                continue
            shown, name = waiting[-1].pop()
            try:
                # The mark of an opaque directory has its attributes.
                status = os.stat(name, dir_fd=cursor.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile, by a process that cannot be frozen
            inside = b"/".join((*path, shown))
            if len(inside) >= MOST_PATH:
                raise OSError(errno.ENAMETOOLONG, f"a path has more than {MOST_PATH:,} bytes")
            is_mark = bool(opaque) and shown.startswith(archive_form.WHITEOUT)
            yield _Entry(cursor.fd, name, inside, status, is_mark)
            if stat.S_ISDIR(status.st_mode) and not is_mark:
                cursor.enter(name)
                path.append(shown)
                waiting.append(_names(cursor.fd, opaque))
    finally:
        cursor.close()


def _names(directory: int, opaque: str) -> list[tuple[bytes, bytes]]:
    """Return the names in a directory as the archive has them, with those on disk, last one first."""
    found = [(os.fsencode(name), os.fsencode(name)) for name in os.listdir(directory) if not TEMPORARY.match(name)]
    if opaque:
        found = [(_marked(name, directory), name) for _, name in found]
        if is_opaque(directory, opaque):
            found.append((archive_form.OPAQUE, b"."))
    return sorted(found, reverse=True)


def _marked(name: bytes, directory: int) -> bytes:
    """Return the name of an entry of an upper layer as the archive has it."""
    if name.startswith(archive_form.WHITEOUT):
        raise OSError(errno.EINVAL, f"{os.fsdecode(name)!r} has a name that marks deletions in an archive; rename it")
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return name
    return archive_form.WHITEOUT + name if is_whiteout(status) else name


def is_opaque(directory: int, attribute: str) -> bool:
    """Whether a directory of an upper layer hides all that is below it."""
    try:
        return os.getxattr(directory, attribute) == b"y"
    except OSError:
        return False


class _Packer:
    def __init__(self, layout: Layout, archive: tarfile.TarFile, limit: Optional[int]) -> None:
        self._layout = layout
        self._archive = archive
        self._limit = limit
        self._keeps_owners = layout.keeps_owners
        self._total = self._count = 0
        self._hard_links: dict[tuple[int, int], str] = {}

    def pack(self, top: str, member: bytes = b".", opaque: str = "") -> int:
        with closing(_walk(top, member, opaque)) as walk:
            for entry in walk:
                self._count_one()
                self._add(entry)
        return self._total

    def _count_one(self) -> None:
        checkpoint()
        self._count += 1
        if self._count > MOST_MEMBERS:
            raise OSError(errno.EFBIG, f"there are more than {MOST_MEMBERS:,} files")

    def pack_file_system(self, system_only: bool) -> int:
        layout = self._layout
        first = _member(_Entry(-1, b".", b".", os.lstat(layout.top if layout.overlays else layout.directory)))
        first.type = tarfile.DIRTYPE
        if not layout.overlays:
            first.mode = 0o755
        comment = archive_form.WHOLE if layout.overlays else archive_form.WRITABLE_ONLY
        first.pax_headers = {**first.pax_headers, "comment": comment.decode("ascii")}
        self._archive.addfile(first)
        directories = {} if system_only else {name.encode(): _directory(layout, name) for name in layout.roots()}
        overlaid = [name.encode() for name in host_view.overlaid_directories()] if layout.overlays else []
        for name in sorted({*directories, *overlaid, *self._top_names()}):
            if name in directories:
                self.pack(directories[name], b"./" + name)
            elif name in overlaid:
                self.pack(os.path.join(layout.changed, os.fsdecode(name)), b"./" + name, layout.opaque_attribute)
            else:
                self._add_top(name)
        return self._total

    def _top_names(self) -> list[bytes]:
        """The entries of the sandbox's own root, apart from what is mounted there, and the marks of what is missing."""
        if not self._layout.overlays:
            return []
        elsewhere = {name.encode() for name in (*MOUNT_POINTS, *host_view.overlaid_directories())}
        found = {os.fsencode(name) for name in os.listdir(self._layout.top) if not TEMPORARY.match(name)}
        expected = {name.encode() for name in (*host_view.links(), *host_view.EMPTY_DIRECTORIES)}
        return [*(found - elsewhere), *(archive_form.WHITEOUT + name for name in expected - found)]

    def _add_top(self, name: bytes) -> None:
        """Add an entry of the root that only the sandbox has."""
        path = os.path.join(self._layout.top, os.fsdecode(name))
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if name[len(archive_form.WHITEOUT) :] in archive_form.EXPECTED:
                self._add_mark(b"./" + name, os.lstat(self._layout.top))
            return
        if name.startswith(archive_form.WHITEOUT):
            raise OSError(
                errno.EINVAL, f"/{os.fsdecode(name)} has a name that marks deletions in an archive; rename it"
            )
        if stat.S_ISDIR(status.st_mode):
            self.pack(path, b"./" + name)
            return
        top = os.open(self._layout.top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._count_one()
            self._add(_Entry(top, name, b"./" + name, status))
        finally:
            os.close(top)

    def _add_mark(self, path: bytes, status: os.stat_result) -> None:
        self._count_one()
        self._add(_Entry(-1, b"", path, status, is_mark=True))

    def _add(self, entry: _Entry) -> None:
        mode = entry.status.st_mode
        member = _member(entry)
        if self._keeps_owners:
            member.uid, member.gid = entry.status.st_uid, entry.status.st_gid
            if (member.uid, member.gid) != (0, 0):
                member.uname = member.gname = ""
        if entry.is_mark:
            member.mode = 0o600
            self._archive.addfile(member)
            return
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

"""Extracting a tar file of any origin into a directory: modes, times, empty directories, symlinks and hard links kept.

A tree of any depth is written through directory descriptors (`directory_cursor.py`), so no path is too long for the
kernel and no link is followed. `tar_reader.py` decides which archives are refused. All functions block and are meant
for a thread.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .directory_cursor import DIRECTORY, DirectoryCursor, open_below
from .paths import Layout
from .tar_reader import ArchiveError, TarMember, TarReader

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def check(source: Path) -> None:
    """Read an archive to its end without extracting it.

    Raises:
        ArchiveError: `extract` would refuse it.
    """
    wanted: set[bytes] = set()
    with open(source, "rb") as file:
        for member in TarReader(file):
            if member.kind == "hard link":
                wanted.add(b"/".join(member.target_parts))
    if not wanted:
        return
    held: set[bytes] = set()
    with open(source, "rb") as file:
        for member in TarReader(file):
            if member.kind == "file":
                held |= {b"/".join(member.parts)} & wanted
            elif member.kind == "hard link" and b"/".join(member.target_parts) not in held:
                raise _missing(member)


def extract(source: Path, target: Path, layout: Layout) -> TarMember:
    """Write the content of an archive into the empty directory `target`, and nothing anywhere else.

    Args:
        source: The archive.
        target: The directory.
        layout: Turns absolute links in the sandbox's directories into those of the host.

    Returns:
        The archive's own directory, whose mode and times are not applied.

    Raises:
        ArchiveError: A member is refused. The caller removes what was extracted before it.
        OSError: The disk is full, or the directory cannot be written.
    """
    extraction = _Extraction(target, layout)
    try:
        with open(source, "rb") as file:
            return extraction.run(TarReader(file))
    finally:
        extraction.close()


class _Extraction:
    """Extracts one archive. It enters only directories that it has made."""

    def __init__(self, target: Path, layout: Layout) -> None:
        self._top = os.open(target, DIRECTORY)
        self._layout = layout
        self._cursor = DirectoryCursor(str(target))
        self._path: list[TarMember] = []
        #: Directories that keep their owner out. They get their modes last, so that later hard links can be made.
        self._closed: list[TarMember] = []

    def close(self) -> None:
        self._cursor.close()
        os.close(self._top)

    def run(self, archive: TarReader) -> TarMember:
        members = iter(archive)
        top = next(members)
        for member in members:
            while len(self._path) >= len(member.parts):
                self._leave()
            try:
                self._extract(member, archive)
            except FileExistsError:
                raise ArchiveError(f"{member.printable} comes twice") from None
        while self._path:
            self._leave()
        for member in self._closed:
            directory = open_below(self._top, member.parts)
            try:
                os.fchmod(directory, member.mode)
            finally:
                os.close(directory)
        return top

    def _leave(self) -> None:
        member = self._path.pop()
        os.utime(self._cursor.fd, ns=member.times)
        if member.mode & stat.S_IRWXU == stat.S_IRWXU:
            os.fchmod(self._cursor.fd, member.mode)
        else:
            self._closed.append(member)
        self._cursor.leave()

    def _extract(self, member: TarMember, archive: TarReader) -> None:
        parent, name = self._cursor.fd, member.parts[-1]
        if member.kind == "file":
            self._write(member, archive)
        elif member.kind == "directory":
            os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
            self._cursor.enter(name)
            self._path.append(member)
        elif member.kind == "link":
            os.symlink(self._layout.link_to_host(os.fsdecode(member.target)), name, dir_fd=parent)
            os.utime(name, ns=member.times, dir_fd=parent, follow_symlinks=False)
        elif member.kind == "fifo":
            os.mkfifo(name, 0o600, dir_fd=parent)
            os.chmod(name, member.mode, dir_fd=parent)
            os.utime(name, ns=member.times, dir_fd=parent, follow_symlinks=False)
        else:
            self._link(member)

    def _write(self, member: TarMember, archive: TarReader) -> None:
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

    def _link(self, member: TarMember) -> None:
        """Give a file that was extracted a second name. Its path is walked from the top, without following links."""
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


def _missing(member: TarMember) -> ArchiveError:
    return ArchiveError(f"{member.printable} is a hard link to a file that the archive does not hold before it")

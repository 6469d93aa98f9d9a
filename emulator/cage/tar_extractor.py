"""Extracting a tar file of any origin: modes, owners, times, empty directories, symlinks and hard links kept.

A tree of any depth is written through directory descriptors (`directory_cursor.py`), so no path is too long for the
kernel and no link is followed. `tar_reader.py` decides which archives are refused. All functions block and are meant
for a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from . import archive_form, host_view, overlay_marks
from .directory_cursor import DIRECTORY, DirectoryCursor, open_below
from .paths import Layout
from .tar_reader import ArchiveError, TarMember, TarReader

#: The paths of the files that name the sandbox, in an archive.
_OWN_FILES = {(top.encode(), name.encode()) for top, names in host_view.OWN_FILES.items() for name in names}
#: Names of the root that do not by themselves make an archive one with changes.
_USUAL = (*host_view.EMPTY_DIRECTORIES, "bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr", "var")

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def check(source: Path, form: Optional[bytes] = None) -> None:
    """Read an archive to its end without extracting it.

    Args:
        source: The archive.
        form: The form that it must have: `archive_form.WHOLE`, `WRITABLE_ONLY` or `ONE_DIRECTORY`; None for any.

    Raises:
        ArchiveError: `extract` would refuse it, or it has another form.
    """
    wanted: set[bytes] = set()
    with open(source, "rb") as file:
        archive = TarReader(file)
        for member in archive:
            if form not in (None, archive.form):
                raise ArchiveError(
                    f"it is an archive of {archive_form.describe(archive.form)}, and one of"
                    f" {archive_form.describe(form)} is needed; export again"
                )
            if member.kind == "hard link":
                wanted.add(b"/".join(member.target_parts))
    if not wanted:
        return
    held: set[bytes] = set()
    with open(source, "rb") as file:
        archive = TarReader(file)
        for member in archive:
            if archive.form and member.parts and archive_form.is_marked(member.parts):
                continue
            if member.kind == "file":
                held |= {b"/".join(member.parts)} & wanted
            elif member.kind == "hard link" and b"/".join(member.target_parts) not in held:
                raise _missing(member)


@dataclass
class ExtractionResult:
    """What an archive held.

    Attributes:
        form: `archive_form.WHOLE`, `WRITABLE_ONLY` or `ONE_DIRECTORY`.
        top: The archive's own directory, whose mode and times are not applied.
        directories: The directories directly below, as far as they were extracted; the same goes for them where `form`
            is not `ONE_DIRECTORY`.
        deleted: Names directly below that the archive says do not exist.
        left_out: Names directly below with changes that the sandbox cannot have, because its root has no overlays.
    """

    form: bytes
    top: TarMember
    directories: dict[bytes, TarMember] = field(default_factory=dict)
    deleted: set[bytes] = field(default_factory=set)
    left_out: set[bytes] = field(default_factory=set)


def extract(source: Path, target: Path, layout: Layout) -> ExtractionResult:
    """Write the content of an archive into the empty directory `target`, and nothing anywhere else.

    Of an archive of the whole file system (`archive_form.py`), the directories that a sandbox shares with its host are
    written as the upper layers of overlays.

    Args:
        source: The archive.
        target: The directory.
        layout: Turns absolute links in the sandbox's directories into those of the host.

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
        self._overlaid = frozenset(name.encode() for name in host_view.overlaid()) if layout.overlays else frozenset()
        self._cursor = DirectoryCursor(str(target))
        self._path: list[TarMember] = []
        #: Directories that keep their owner out. They get their modes last, so that later hard links can be made.
        self._closed: list[TarMember] = []

    def close(self) -> None:
        self._cursor.close()
        os.close(self._top)

    def run(self, archive: TarReader) -> ExtractionResult:
        members = iter(archive)
        top = next(members)
        result = ExtractionResult(archive.form, top)
        for member in members:
            if archive.form and self._is_handled(member, result):
                continue
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
        return result

    def _is_handled(self, member: TarMember, result: ExtractionResult) -> bool:
        """Note what is directly below the root. Returns whether the member is not to be extracted."""
        name = member.parts[0]
        if name not in archive_form.OWN and not self._layout.overlays:
            if _is_change(member):
                result.left_out.add(name)
            return True
        if len(member.parts) > 1:
            return False
        if archive_form.is_marked(member.parts):
            result.deleted.add(name[len(archive_form.WHITEOUT) :])
            return True
        if member.kind == "directory":
            result.directories[name] = member
        return False

    def _leave(self) -> None:
        member = self._path.pop()
        self._own(member, self._cursor.fd)
        os.utime(self._cursor.fd, ns=member.times)
        if member.mode & stat.S_IRWXU == stat.S_IRWXU:
            os.fchmod(self._cursor.fd, member.mode)
        else:
            self._closed.append(member)
        self._cursor.leave()

    def _own(self, member: TarMember, fd: int) -> None:
        """Give a file the owner that it has in the sandbox, where files on the disk have that. The mode comes later,
        because this clears bits of it."""
        if self._layout.keeps_owners and member.owner != (0, 0):
            try:
                os.fchown(fd, *member.owner)
            except OSError as error:
                raise _explain(error, member) from error

    def _own_entry(self, member: TarMember) -> None:
        if self._layout.keeps_owners and member.owner != (0, 0):
            try:
                os.chown(member.parts[-1], *member.owner, dir_fd=self._cursor.fd, follow_symlinks=False)
            except OSError as error:
                raise _explain(error, member) from error

    def _mark(self, member: TarMember) -> None:
        """Write the mark of a deletion, or of an opaque directory, as overlays know it."""
        if member.parts[0] not in self._overlaid:
            return  # here it is a directory of the sandbox alone
        if member.parts[-1] == archive_form.OPAQUE:
            overlay_marks.make_opaque(self._cursor.fd, self._layout.opaque_attribute)
            return
        name = member.parts[-1][len(archive_form.WHITEOUT) :]
        overlay_marks.make_whiteout(name, self._cursor.fd)

    def _extract(self, member: TarMember, archive: TarReader) -> None:
        parent, name = self._cursor.fd, member.parts[-1]
        if archive.form and archive_form.is_marked(member.parts):
            self._mark(member)
        elif member.kind == "file":
            self._write(member, archive)
        elif member.kind == "directory":
            os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
            self._cursor.enter(name)
            self._path.append(member)
        elif member.kind == "link":
            os.symlink(self._layout.link_to_host(os.fsdecode(member.target)), name, dir_fd=parent)
            self._own_entry(member)
            os.utime(name, ns=member.times, dir_fd=parent, follow_symlinks=False)
        elif member.kind == "fifo":
            os.mkfifo(name, 0o600, dir_fd=parent)
            self._own_entry(member)
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
            self._own(member, fd)
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


def _is_change(member: TarMember) -> bool:
    """Whether a member outside of /workspace, /root and /tmp is a change. Each archive has the usual directories and
    links of the root, and the files that name the sandbox."""
    if len(member.parts) > 1:
        return member.parts not in _OWN_FILES
    usual = (*_USUAL, *host_view.overlaid(), *host_view.links())
    return os.fsdecode(member.parts[0]) not in usual


def _explain(error: OSError, member: TarMember) -> OSError:
    """Return the error of a change of the owner, with the reason where a user namespace does not have it."""
    if error.errno != errno.EINVAL:
        return error
    user, group = member.owner
    return OSError(
        errno.EINVAL,
        f"{member.printable} belongs to user {user} and group {group}, and a sandbox has fewer users here (see"
        " `caged-emulator doctor`)",
    )

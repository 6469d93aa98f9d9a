"""Restoring a workspace from a snapshot: completely or not at all, even when the emulator is killed meanwhile.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

from . import disk, tar_extractor
from .paths import Layout
from .tar_reader import ArchiveError, TarMember


class _Paths:
    """Files and directories beside the workspace while its content is replaced.

    Attributes:
        workspace: The workspace itself.
        staging: The new content.
        outgoing: The old content, until all of it has been moved here.
        out: The old content from then on, until all of the new content is in place.
        note: The workspace's own mode and times, before and after. Without it, no content was moved yet.
    """

    def __init__(self, layout: Layout) -> None:
        self.workspace = layout.workspace
        self.staging = layout.directory / "restore-new"
        self.outgoing = layout.directory / "restore-old"
        self.out = layout.directory / "restore-out"
        self.note = layout.directory / "restore.json"

    def clear(self) -> None:
        """Remove all of them, the note last: it says how the others have to be read."""
        for leftover in (self.staging, self.outgoing, self.out):
            disk.remove(leftover)
        self.note.unlink(missing_ok=True)

    def write_note(self, before: os.stat_result, after: TarMember) -> None:
        attributes = {
            "before": [stat.S_IMODE(before.st_mode), before.st_atime_ns, before.st_mtime_ns],
            "after": [after.mode, *after.times],
        }
        temporary = self.note.with_suffix(".part")
        temporary.write_text(json.dumps(attributes), encoding="ascii")
        temporary.replace(self.note)

    def set_attributes(self, when: str) -> None:
        """Give the workspace the mode and times of the note. `when`: "before" or "after"."""
        mode, *times = json.loads(self.note.read_text(encoding="ascii"))[when]
        os.chmod(self.workspace, mode)
        os.utime(self.workspace, ns=(times[0], times[1]))


def restore_workspace(source: Path, layout: Layout) -> None:
    """Replace the content of the workspace by that of an archive.

    The directory itself stays the same, so that processes in it (and a mount of it) see the new content. Everything is
    extracted beside it first; only renames follow, which are undone when one fails. A workspace that a command has
    removed, or replaced by a file or a link, is made again.

    Args:
        source: The archive.
        layout: The sandbox's directory.

    Raises:
        OSError: The archive is damaged, or the disk is full; then the workspace has its old content.
    """
    places = _Paths(layout)
    places.clear()
    try:
        places.staging.mkdir()
        places.outgoing.mkdir()
        try:
            top = tar_extractor.extract(source, places.staging, layout)
        except ArchiveError as error:
            raise OSError(errno.EIO, f"the archive is damaged ({error})") from error
        _ensure_directory(layout.workspace)
        before = layout.workspace.stat()
        places.write_note(before, top)
        os.chmod(layout.workspace, stat.S_IMODE(before.st_mode) | stat.S_IRWXU)
        _exchange(places)
    finally:
        places.clear()


def _exchange(places: _Paths) -> None:
    moved_in: list[str] = []
    try:
        _move_all(places.workspace, places.outgoing)
        places.outgoing.rename(places.out)
        for name in os.listdir(places.staging):
            _move(places.staging / name, places.workspace / name)
            moved_in.append(name)
    except OSError:
        for name in moved_in:
            _move(places.workspace / name, places.staging / name)
        if places.out.exists():
            places.out.rename(places.outgoing)
        _move_all(places.outgoing, places.workspace)
        places.set_attributes("before")
        raise
    places.set_attributes("after")


def finish_interrupted(layout: Layout) -> None:
    """Finish a restore that was interrupted by the end of the emulator: forwards when all of the old content is out of
    the workspace, else backwards."""
    places = _Paths(layout)
    if places.note.exists():
        _ensure_directory(layout.workspace)
        os.chmod(layout.workspace, stat.S_IMODE(layout.workspace.stat().st_mode) | stat.S_IRWXU)
        if places.out.exists():
            if places.staging.exists():
                _move_all(places.staging, layout.workspace)
            places.set_attributes("after")
        elif places.outgoing.exists():
            _move_all(places.outgoing, layout.workspace)
            places.set_attributes("before")
    places.clear()


def _ensure_directory(workspace: Path) -> None:
    """Make the workspace again when a command has removed it, or has put a file or a link there."""
    if workspace.is_symlink() or not workspace.is_dir():
        workspace.unlink(missing_ok=True)
        workspace.mkdir()


def _move_all(source: Path, target: Path) -> None:
    """Move all entries of a directory. Raises OSError for a link: what it leads to is not the sandbox's."""
    if source.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(source))
    for name in os.listdir(source):
        _move(source / name, target / name)


def _move(source: Path, target: Path) -> None:
    """Rename, also a directory that its owner may not write to: the kernel requires that, since its `..` changes."""
    try:
        os.rename(source, target)
    except PermissionError:
        mode = os.lstat(source).st_mode
        if not stat.S_ISDIR(mode):
            raise
        os.chmod(source, stat.S_IMODE(mode) | stat.S_IRWXU)
        try:
            os.rename(source, target)
        except BaseException:
            os.chmod(source, stat.S_IMODE(mode))
            raise
        os.chmod(target, stat.S_IMODE(mode))

"""A snapshot put back into a workspace: all of it or nothing, whatever happens on the way, `kill -9` included.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

from . import archive, disk
from .paths import Layout


class _Paths:
    """Beside the workspace while it is replaced. `staging`: what comes. `outgoing`: what goes; it is called `out` from
    when all has gone until all has come. `note`: the workspace's own mode and times, before and after."""

    def __init__(self, layout: Layout) -> None:
        self.workspace = layout.workspace
        self.staging = layout.directory / "restore-new"
        self.outgoing = layout.directory / "restore-old"
        self.out = layout.directory / "restore-out"
        self.note = layout.directory / "restore.json"

    def clear(self) -> None:
        """The note last: it says how what is left has to be read."""
        for leftover in (self.staging, self.outgoing, self.out):
            disk.remove(leftover)
        self.note.unlink(missing_ok=True)

    def put_down(self, before: os.stat_result, after: archive.Member) -> None:
        marks = {
            "before": [stat.S_IMODE(before.st_mode), before.st_atime_ns, before.st_mtime_ns],
            "after": [after.mode, *after.times],
        }
        temporary = self.note.with_suffix(".part")
        temporary.write_text(json.dumps(marks), encoding="ascii")
        temporary.replace(self.note)

    def mark(self, when: str) -> None:
        mode, *times = json.loads(self.note.read_text(encoding="ascii"))[when]
        os.chmod(self.workspace, mode)
        os.utime(self.workspace, ns=(times[0], times[1]))


def unpack(source: Path, layout: Layout) -> None:
    """Replaces all that the workspace holds by the archive's content, or, when that fails, nothing.

    The directory itself stays the same, so that processes that stand in it (and a mount of it) see the new
    content. Everything is unpacked beside it first; what is left then are renames, undone when one fails.
    A workspace that a command has removed, or replaced by a file or a link, is made anew.
    """
    places = _Paths(layout)
    places.clear()
    try:
        places.staging.mkdir()
        places.outgoing.mkdir()
        try:
            top = archive.extract(source, places.staging, layout)
        except archive.ArchiveError as error:
            raise OSError(errno.EIO, f"the archive is damaged ({error})") from error
        _complete(layout.workspace)
        before = layout.workspace.stat()
        places.put_down(before, top)
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
        places.mark("before")
        raise
    places.mark("after")


def finish(layout: Layout) -> None:
    """Ends a restore that the emulator's death has cut off, forwards when all that was there before is out of the
    workspace, else back."""
    places = _Paths(layout)
    if places.note.exists():
        _complete(layout.workspace)
        os.chmod(layout.workspace, stat.S_IMODE(layout.workspace.stat().st_mode) | stat.S_IRWXU)
        if places.out.exists():
            if places.staging.exists():
                _move_all(places.staging, layout.workspace)
            places.mark("after")
        elif places.outgoing.exists():
            _move_all(places.outgoing, layout.workspace)
            places.mark("before")
    places.clear()


def _complete(workspace: Path) -> None:
    """Make it anew when a command has removed it, or has put a file or a link there."""
    if workspace.is_symlink() or not workspace.is_dir():
        workspace.unlink(missing_ok=True)
        workspace.mkdir()


def _move_all(source: Path, target: Path) -> None:
    """OSError for a link: what it leads to is not ours to move."""
    if source.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(source))
    for name in os.listdir(source):
        _move(source / name, target / name)


def _move(source: Path, target: Path) -> None:
    """A rename, also of a directory that its owner may not write to: its `..` changes, so the kernel asks for that."""
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

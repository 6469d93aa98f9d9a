"""Restoring the files of a sandbox: completely or not at all, even when the emulator is killed meanwhile.

Everything is extracted beside the sandbox's files first; only renames follow. /workspace, /root, /tmp and the sandbox's
own root stay the same directories and get a new content, so that processes in them see it. The upper layers of overlays
must not be changed while they are mounted: they are replaced as a whole, and then init mounts the overlays again.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from . import archive_form, disk, host_view, hosts_file, tar_extractor
from .paths import MOUNT_POINTS, WORKSPACE, WRITABLE, Layout
from .tar_extractor import ExtractionResult
from .tar_reader import ArchiveError, TarMember

#: Directories of `Layout.system` that are replaced as a whole.
_REPLACED = ("changed", "work")
#: The name of the sandbox's own root among the directories that get a new content.
_TOP = "top"


@dataclass
class RestoreResult:
    """What a restore has done.

    Attributes:
        has_system: Whether the whole file system was restored, not only /workspace, /root and /tmp.
        left_out: Names in the archive's root that the sandbox cannot have, because its root has no overlays.
        is_workspace_only: Whether the archive held nothing but a workspace.
    """

    has_system: bool
    left_out: list[str]
    is_workspace_only: bool


class _Paths:
    """Files and directories beside the sandbox's while these get a new content.

    Attributes:
        staging: The new content, by directory: "workspace", "root", "tmp", "top", "changed" and "work".
        outgoing: The old content in the same way, until all of it has been moved here.
        out: The old content from then on, until all of the new content is in place.
        note: The directories' own modes, times and owners, before and after. Without it, no content was moved yet.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.staging = layout.directory / "restore-new"
        self.outgoing = layout.directory / "restore-old"
        self.out = layout.directory / "restore-out"
        self.note = layout.directory / "restore.json"

    def clear(self) -> None:
        """Remove all of them, the note last: it says how the others have to be read."""
        for leftover in (self.staging, self.outgoing, self.out):
            disk.remove(leftover)
        self.note.unlink(missing_ok=True)

    def live(self, name: str) -> Path:
        """The directory of the sandbox that gets a new content."""
        return self.layout.top if name == _TOP else self.layout.directory / name

    def kept(self, name: str) -> frozenset[str]:
        """The entries of a directory that stay, because something is mounted on them."""
        return frozenset((*MOUNT_POINTS, *host_view.overlaid())) if name == _TOP else frozenset()

    def write_note(self, after: dict[str, TarMember]) -> None:
        before = {name: os.lstat(self.live(name)) for name in after}
        attributes = {
            name: {
                "before": [stat.S_IMODE(old.st_mode), old.st_atime_ns, old.st_mtime_ns, old.st_uid, old.st_gid],
                "after": [after[name].mode, *after[name].times, *after[name].owner],
            }
            for name, old in before.items()
        }
        temporary = self.note.with_suffix(".part")
        temporary.write_text(json.dumps(attributes), encoding="ascii")
        temporary.replace(self.note)

    def read_note(self) -> dict[str, dict[str, list[int]]]:
        found: dict[str, dict[str, list[int]]] = json.loads(self.note.read_text(encoding="ascii"))
        return {name: found[name] for name in (*WRITABLE, _TOP) if name in found}

    def set_attributes(self, when: str) -> None:
        """Give the directories the attributes of the note. `when`: "before" or "after"."""
        for name, both in self.read_note().items():
            mode, accessed, modified, user, group = both[when]
            if self.layout.keeps_owners:
                os.chown(self.live(name), user, group)
            os.chmod(self.live(name), mode)
            os.utime(self.live(name), ns=(accessed, modified))


def restore_files(
    source: Path,
    layout: Layout,
    remount: Callable[[], None] = lambda: None,
    host_name: Optional[str] = None,
) -> RestoreResult:
    """Replace the files of a sandbox by those of an archive.

    An archive of one directory is that of a workspace; an archive of a sandbox without a root of its own has
    /workspace, /root and /tmp. What an archive does not have stays as it is. A workspace that a command has removed, or
    replaced by a file or a link, is made again.

    Args:
        source: The archive.
        layout: The sandbox's directory.
        remount: Mounts the overlays of a running sandbox again, over new upper layers, or raises OSError and leaves
            them as they are.
        host_name: The sandbox's host name, which replaces that of the sandbox that the archive is of in /etc/hosts.

    Raises:
        OSError: The archive is damaged, or the disk is full; then the sandbox has its old files.
    """
    places = _Paths(layout)
    places.clear()
    try:
        places.staging.mkdir()
        places.outgoing.mkdir()
        try:
            extracted = _stage(places, source)
        except ArchiveError as error:
            raise OSError(errno.EIO, f"the archive is damaged ({error})") from error
        after = _attributes(extracted)
        if "root" in after and not (places.staging / "changed").is_dir():
            _require_own_home(layout)
        if (places.staging / "changed").is_dir():
            after[_TOP] = extracted.top
            if host_name is not None:
                hosts_file.rename(places.staging / "changed" / "etc", host_name)
        for name in after:
            _ensure_directory(places.live(name))
        places.write_note(after)
        for name in after:
            _unlock(places.live(name))
        _exchange(places, list(after), remount)
        left_out = sorted(os.fsdecode(name) for name in extracted.left_out)
        return RestoreResult(_TOP in after, left_out, not extracted.form)
    finally:
        places.clear()


def _require_own_home(layout: Layout) -> None:
    """Raise OSError where a layer is mounted below /root, which only a restore of everything mounts without it."""
    if any((layer / "root").is_dir() for layer in layout.layers):
        raise OSError(
            errno.EBUSY,
            "the archive has /workspace, /root and /tmp alone, and the sandbox was created with packages or from a"
            " prepared one; restore into a sandbox without them",
        )


def _attributes(extracted: ExtractionResult) -> dict[str, TarMember]:
    """Return the directories in an archive that a sandbox has for itself, with the attributes that they get."""
    if not extracted.form:
        return {WORKSPACE[1:]: extracted.top}
    found = {os.fsdecode(name): member for name, member in extracted.directories.items()}
    return {name: found[name] for name in WRITABLE if name in found}


# --- extracting


def _stage(places: _Paths, source: Path) -> ExtractionResult:
    """Extract an archive, and arrange its directories as they are in a sandbox's own.

    Raises:
        ArchiveError: It is refused.
        OSError: It cannot be written, or does not fit to the host's file system.
    """
    tree = places.staging / "tree"
    tree.mkdir()
    extracted = tar_extractor.extract(source, tree, places.layout)
    if not extracted.form:
        tree.rename(places.staging / WORKSPACE[1:])
        return extracted
    for name in WRITABLE:
        if (tree / name).is_dir():
            _unlock(tree / name)  # its mode is in the note, and it is emptied first
            (tree / name).rename(places.staging / name)
    if extracted.form == archive_form.WHOLE and places.layout.overlays:
        stage_system(tree, places.staging, extracted)
    else:
        disk.remove(tree)
    return extracted


def stage_system(tree: Path, target: Path, extracted: ExtractionResult) -> None:
    """Arrange an extracted tree as the upper layers and the root of a sandbox.

    Args:
        tree: The tree, which is moved.
        target: Gets the directories "changed", "work" and "top".
        extracted: What the archive held.

    Raises:
        OSError: It does not fit to the host's file system.
    """
    for name in _REPLACED:
        (target / name).mkdir()
    for name in host_view.overlaid():
        if (tree / name).is_symlink():
            raise OSError(errno.EINVAL, f"/{name} is a link in the archive, and a directory of this host")
        if (tree / name).is_dir():
            _move(tree / name, target / "changed" / name)
        else:
            (target / "changed" / name).mkdir()
            (target / "changed" / name).chmod(0o755)
        (target / "work" / name).mkdir()
    for name, link in host_view.links().items():
        if (tree / name).is_dir() and not (tree / name).is_symlink():
            if os.listdir(tree / name):
                raise OSError(errno.EINVAL, f"/{name} is a directory in the archive, and a link of this host")
            (tree / name).rmdir()
        if not os.path.lexists(tree / name) and name.encode() not in extracted.deleted:
            os.symlink(link, tree / name)
    tree.rename(target / _TOP)


# --- exchanging


def _exchange(places: _Paths, names: list[str], remount: Callable[[], None]) -> None:
    """Move the old content out and the new content in, and undo that when a step fails.

    Args:
        places: Where they are.
        names: The directories that get a new content.
        remount: Called when all is in place.
    """
    moved_in: list[tuple[Path, Path]] = []
    try:
        for name in names:
            (places.outgoing / name).mkdir()
            _move_all(places.live(name), places.outgoing / name, places.kept(name))
        if _TOP in names:
            for name in _REPLACED:
                (places.layout.system / name).rename(places.outgoing / name)
        places.outgoing.rename(places.out)
        for name in names:
            for entry in os.listdir(places.staging / name):
                pair = places.staging / name / entry, places.live(name) / entry
                if entry in places.kept(name):
                    continue
                _move(*pair)
                moved_in.append(pair)
        if _TOP in names:
            for name in _REPLACED:
                pair = places.staging / name, places.layout.system / name
                pair[0].rename(pair[1])
                moved_in.append(pair)
            remount()
    except OSError:
        for source, target in reversed(moved_in):
            _move(target, source)
        if places.out.exists():
            places.out.rename(places.outgoing)
        _move_back(places)
        places.set_attributes("before")
        raise
    places.set_attributes("after")


def _move_back(places: _Paths) -> None:
    """Move the old content, or as much of it as was moved out, to where it was."""
    for name in os.listdir(places.outgoing):
        if name in _REPLACED:
            (places.outgoing / name).rename(places.layout.system / name)
        else:
            _move_all(places.outgoing / name, places.live(name))


def finish_interrupted(layout: Layout) -> None:
    """Finish a restore that was interrupted by the end of the emulator: forwards when all of the old content is out of
    the sandbox's directories, else backwards."""
    places = _Paths(layout)
    if places.note.exists():
        note: dict[str, Any] = places.read_note()
        for name in note:
            _ensure_directory(places.live(name))
            _unlock(places.live(name))
        if places.out.exists():
            for name in (*note, *_REPLACED):
                if not (places.staging / name).exists():
                    continue
                if name in _REPLACED:
                    (places.staging / name).rename(layout.system / name)
                else:
                    _move_all(places.staging / name, places.live(name), places.kept(name))
            places.set_attributes("after")
        elif places.outgoing.exists():
            _move_back(places)
            places.set_attributes("before")
    places.clear()


def _ensure_directory(place: Path) -> None:
    """Make a directory again when a command has removed it, or has put a file or a link there."""
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        place.mkdir()


def _unlock(place: Path) -> None:
    os.chmod(place, stat.S_IMODE(place.stat().st_mode) | stat.S_IRWXU)


def _move_all(source: Path, target: Path, kept: Collection[str] = ()) -> None:
    """Move the entries of a directory. Raises OSError for a link: what it leads to is not the sandbox's."""
    if source.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(source))
    for name in os.listdir(source):
        if name not in kept:
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

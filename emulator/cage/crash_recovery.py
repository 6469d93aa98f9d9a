"""Making the directory of a sandbox whose processes have ended ready for new ones. All functions block."""

from __future__ import annotations

import os
import stat
from typing import Callable

from . import bwrap, copies, disk
from .directory_cursor import DirectoryCursor
from .paths import WRITABLE, Layout
from .safe_files import TEMPORARY

#: What the emulator makes in a sandbox's directory, besides its writable directories.
_DIRECTORIES = (
    *("opt", "restore-new", "restore-old", "restore-out"),
    *("system", "system/top", "system/changed", "system/work"),
)
_FILES = (bwrap.ERRORS, "restore.json", "restore.part")


class DirectoryReplaced(OSError):
    """A sandbox's directory, or a part of it, is not what the emulator has made; the text says what to do."""


def recover_directory(layout: Layout) -> list[str]:
    """Undo what was interrupted, and remove the emulator's programs, which are installed again. The sandbox's own files
    stay as they are.

    Returns:
        The writable directories that were missing, and are empty now.

    Raises:
        DirectoryReplaced: Something has taken the place of a part of the directory. Nothing was changed.
    """
    from . import restore  # loads what reads tar files

    check_directory(layout)
    restore.finish_interrupted(layout)
    disk.remove(layout.opt)
    layout.make_opt_directory()
    layout.make_system()
    if layout.overlays:
        copies.make_upper_layers(layout)
    (layout.directory / bwrap.ERRORS).unlink(missing_ok=True)  # a hard link may have taken its place
    missing = recreate_missing_places(layout)
    for path in layout.kept():
        _remove_half_written(path)
    return missing


def check_directory(layout: Layout) -> None:
    """Check that neither the directory nor a part of it was replaced by a link, or by anything of another kind. What a
    link leads to is not the sandbox's, and opening a pipe would wait. A part may be missing.

    Raises:
        DirectoryReplaced: One was replaced, or the directory is missing.
    """
    require_directory(layout)
    for name in (*WRITABLE, *_DIRECTORIES):
        _require(layout.directory / name, "a directory", stat.S_ISDIR)
    for name in _FILES:
        _require(layout.directory / name, "a file", stat.S_ISREG)


def require_directory(layout: Layout) -> None:
    """Check the directory itself, without its parts.

    Raises:
        DirectoryReplaced: It was replaced, or is missing.
    """
    if not os.path.lexists(layout.directory):
        raise DirectoryReplaced(f"{layout.directory} is missing; put it back, or destroy the sandbox")
    _require(layout.directory, "a directory", stat.S_ISDIR)


def _require(path: os.PathLike[str], kind: str, is_kind: Callable[[int], bool]) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not is_kind(mode):
        raise DirectoryReplaced(
            f"{os.fspath(path)} must be {kind}, and is {_described(mode)}; put back what was there, or destroy the"
            " sandbox"
        )


def _described(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a file" if stat.S_ISREG(mode) else "neither a file nor a directory"


def recreate_missing_places(layout: Layout) -> list[str]:
    """Make each writable directory that a command has removed, or replaced by a file or a link. Returns their names."""
    made = []
    for name, path in layout.roots().items():
        if os.path.islink(path) or not os.path.isdir(path):
            if os.path.lexists(path):
                os.unlink(path)  # a command has put something else there
            os.mkdir(path)
            if name == "tmp":
                os.chmod(path, 0o1777)
            made.append(name)
    return made


def _remove_half_written(root: str) -> None:
    """Remove the temporary files of writes that were interrupted, at any depth, without following links. A tree that
    cannot be read completely does not keep the sandbox from starting."""
    try:
        cursor = DirectoryCursor(root)
    except OSError:
        return
    try:
        waiting = [_clean(cursor.fd)]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if waiting:
                    cursor.leave()
                continue
            name = waiting[-1].pop()
            try:
                cursor.enter(name)
            except OSError:
                continue  # closed to its owner: the file API could not write there either
            waiting.append(_clean(cursor.fd))
    except OSError:
        pass
    finally:
        cursor.close()


def _clean(directory: int) -> list[bytes]:
    """Remove temporary files from a directory. Returns the names of the directories in it."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(os.fsencode(entry.name))
            elif TEMPORARY.match(entry.name):
                os.unlink(entry.name, dir_fd=directory)
    return found

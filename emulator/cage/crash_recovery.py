"""Making the directory of a sandbox whose processes have ended ready for new ones. All functions block."""

from __future__ import annotations

import os

from . import disk
from .directory_cursor import DirectoryCursor
from .paths import Layout
from .safe_files import TEMPORARY


def recover_directory(layout: Layout) -> None:
    """Undo what was interrupted, and remove the emulator's programs, which are installed again. The sandbox's own files
    stay as they are."""
    from . import restore  # loads what reads tar files

    restore.finish_interrupted(layout)
    disk.remove(layout.opt)
    layout.make_opt_directory()
    recreate_missing_places(layout)
    for path in layout.roots().values():
        _remove_half_written(path)


def recreate_missing_places(layout: Layout) -> None:
    """Make each writable directory that a command has removed, or replaced by a file or a link."""
    for name, path in layout.roots().items():
        if os.path.islink(path) or not os.path.isdir(path):
            if os.path.lexists(path):
                os.unlink(path)  # a command has put something else there
            os.mkdir(path)
            if name == "tmp":
                os.chmod(path, 0o1777)


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

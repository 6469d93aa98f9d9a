"""The directory of a sandbox whose processes are gone, made ready for new ones. All functions block."""

from __future__ import annotations

import os

from . import disk
from .directory_cursor import Cursor
from .paths import Layout
from .safe_files import TEMPORARY


def refurnish(layout: Layout) -> None:
    """Writes that were cut off are taken back, a restore likewise; programs that the emulator puts into a sandbox go,
    to be put there anew. The sandbox's own files stay as they are."""
    from . import restore

    restore.finish(layout)
    disk.remove(layout.opt)
    layout.make_opt()
    complete(layout)
    for path in layout.roots().values():
        _remove_half_written(path)


def complete(layout: Layout) -> None:
    """Each place is a directory of its own, whatever a command has put there instead."""
    for name, path in layout.roots().items():
        if os.path.islink(path) or not os.path.isdir(path):
            if os.path.lexists(path):
                os.unlink(path)  # a command has put something else there
            os.mkdir(path)
            if name == "tmp":
                os.chmod(path, 0o1777)


def _remove_half_written(root: str) -> None:
    """What the file API writes has another name until it is whole. However deep; links are not followed. A tree that
    cannot be read to its end is no reason not to start the sandbox."""
    try:
        cursor = Cursor(root)
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
    """Returns the directories in it."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(os.fsencode(entry.name))
            elif TEMPORARY.match(entry.name):
                os.unlink(entry.name, dir_fd=directory)
    return found

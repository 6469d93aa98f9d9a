"""Directories of which a mask has all, so that the host's is not a layer.

In a user namespace, the kernel refuses a layer in which something is mounted. Container runtimes mount files in /etc:
so it is copied there, as far as a sandbox may see it, and the other directories are layers as elsewhere. What is
mounted in a larger directory, such as /usr, prevents overlays. All functions block.
"""

from __future__ import annotations

import os
import shutil
from typing import Callable

from .. import disk, overlay_marks
from ..mount_table import mounts_below
from .directories import make_directory

#: Small enough to be copied.
COPYABLE = ("etc",)


def names() -> tuple[str, ...]:
    """Return the top-level directories that have to be copied on this machine."""
    return tuple(name for name in COPYABLE if mounts_below(f"/{name}"))


def make(root: str, path: str, is_hidden: Callable[[str], bool]) -> None:
    """Copy a directory into a mask. What the mask has already stays.

    Args:
        root: The directory of the mask.
        path: That of the host, relative to its root.
        is_hidden: Whether a path, relative to the root, is one that the mask hides, or replaces as a whole.
    """
    make_directory(root, path, own_user=True)
    for entry in disk.entries(f"/{path}"):
        below, target = f"{path}/{entry.name}", f"{root}/{path}/{entry.name}"
        if is_hidden(below):
            continue
        if entry.is_dir(follow_symlinks=False):
            make(root, below, is_hidden)
        elif not os.path.lexists(target):
            try:
                if entry.is_symlink():
                    os.symlink(os.readlink(f"/{below}"), target)
                elif entry.is_file() and os.access(f"/{below}", os.R_OK):
                    shutil.copyfile(f"/{below}", target)
                    shutil.copystat(f"/{below}", target)
            except FileNotFoundError:
                pass  # removed meanwhile
    for entry in disk.entries(f"{root}/{path}"):
        # There is nothing to hide below, and the kernel lists those of a directory that one layer alone has.
        if overlay_marks.is_whiteout(entry.stat(follow_symlinks=False)):
            os.unlink(entry.path)

"""The marks by which overlays know, in a layer, what is deleted below it: whiteouts and opaque directories."""

from __future__ import annotations

import os
import stat
from typing import Optional, Union

#: By whether the overlay is mounted in a user namespace, which may not set the first.
OPAQUE_ATTRIBUTES = ("trusted.overlay.opaque", "user.overlay.opaque")
_DEVICE = os.makedev(0, 0)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an entry hides what lower layers have under its name."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _DEVICE


def make_whiteout(path: Union[str, bytes], directory: Optional[int] = None) -> None:
    """Make a whiteout.

    Args:
        path: Its path; relative to `directory`, if that is given.
        directory: A descriptor.
    """
    os.mknod(path, stat.S_IFCHR | 0o600, _DEVICE, dir_fd=directory)


def copy_whiteout(whiteout: str, path: str) -> None:
    """Make a whiteout by a link to another one, which is made in a tenth of the time."""
    try:
        os.link(whiteout, path)
    except FileExistsError:
        raise
    except OSError:
        make_whiteout(path)  # this file system has no links


def opaque_attribute(own_user: bool) -> str:
    """Return the extended attribute of an opaque directory, for overlays mounted in a user namespace or not."""
    return OPAQUE_ATTRIBUTES[own_user]


def make_opaque(directory: Union[str, int], attribute: str) -> None:
    """Let a directory hide all that lower layers have in it."""
    os.setxattr(directory, attribute, b"y")

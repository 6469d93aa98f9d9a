"""Directories of a lower layer, with the modes and owners of the host's."""

from __future__ import annotations

import os
import stat


def make_directory(root: str, path: str, own_user: bool = False) -> None:
    """Make a directory and its parents with the modes and owners of the host's: a directory that several layers have
    takes them from the topmost. Blocks (microseconds).

    Args:
        root: The directory of the layer.
        path: Relative to it, and to the root of the host.
        own_user: Whether the owner is the emulator's user, since the layer is for a user namespace.
    """
    if os.path.isdir(f"{root}/{path}"):
        return
    target = root
    for depth, name in enumerate(path.split("/"), 1):
        target += "/" + name
        if os.path.isdir(target):
            continue
        if os.path.lexists(target):
            os.unlink(target)  # a whiteout: something below has to exist
        os.mkdir(target)
        try:
            status = os.stat("/" + "/".join(path.split("/")[:depth]))
        except OSError:
            continue
        if os.geteuid() == 0 and not own_user:
            os.chown(target, status.st_uid, status.st_gid)
            os.chmod(target, stat.S_IMODE(status.st_mode))
        else:
            os.chmod(target, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)

"""Mounting the overlays of a sandbox again, over new upper layers, while its processes go on.

An overlay's layers are given by paths, and after `pivot` init has none to the host's directories, nor to the sandbox's
own. So they are bound below a directory that the sandbox cannot reach, because its /run is mounted over it, and init
keeps a descriptor of that directory. A mount that covers another can only be removed with the right to mount, which
commands do not have; in a user namespace of their own the two are locked together.
"""

from __future__ import annotations

import os

from . import libc
from .mounts import (
    MNT_DETACH,
    MS_MOVE,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    bind,
    make_mount_point,
    mount,
    overlay,
    own_inodes,
    read_only,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class RemountFailed(Exception):
    """The overlays are gone, and cannot be mounted again with all that was in them."""


class Sources:
    """What it takes to mount the overlays of one sandbox again. What is restored is complete in itself, so they are
    mounted without the layers that the sandbox was created with (`layers.py`).

    Args:
        place: A directory over which something is mounted later.
        spec: What `root_filesystem.build` gets.
        lower: The lower layers of each overlay, by its name.
    """

    def __init__(self, place: str, spec: dict[str, Any], lower: dict[str, Sequence[str]]) -> None:
        mount("sources", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=700")
        self._spec = spec
        self._counts = {name: len(directories) for name, directories in lower.items()}
        sources: dict[str, str] = {}
        for name, directories in lower.items():
            sources.update((f"{name}-{number}", directory) for number, directory in enumerate(directories))
            os.mkdir(f"{place}/new-{name}")
        for name, directory in sources.items():
            os.mkdir(f"{place}/{name}")
            bind(directory, f"{place}/{name}", recursive=False)
        for number, path in enumerate([*spec["show"], *([spec["python"]] if spec["python"] else [])]):
            if os.path.isdir(path):
                os.mkdir(f"{place}/shown-{number}")
                bind(path, f"{place}/shown-{number}")
        os.mkdir(f"{place}/sandbox")
        read_only(place)
        bind(spec["directory"], f"{place}/sandbox", recursive=False)
        own_inodes(f"{place}/sandbox")
        self._fd = os.open(place, os.O_PATH | os.O_DIRECTORY)

    def remount(self) -> None:
        """Mount every overlay again.

        Raises:
            IsolationError, OSError: One cannot be mounted. The old ones still are.
            RemountFailed: The old ones are not, either.
        """
        place = f"/proc/self/fd/{self._fd}"
        made: list[str] = []
        try:
            for name, count in self._counts.items():
                target = f"{place}/new-{name}"
                lower = [f"{place}/{name}-{number}" for number in range(count)]
                system = f"{place}/sandbox/system"
                overlay(target, lower, f"{system}/changed/{name}", f"{system}/work/{name}", self._spec["own_user"])
                made.append(target)
            self._show_programs(place)
        except (OSError, libc.IsolationError):
            for target in reversed(made):
                libc.call("umount2", os.fsencode(target), MNT_DETACH)
            raise
        try:
            for name in self._counts:
                libc.call("umount2", os.fsencode(f"/{name}"), MNT_DETACH)
                mount(f"{place}/new-{name}", f"/{name}", "", MS_MOVE)
            if self._spec["layers"].get("root"):
                libc.call("umount2", b"/root", MNT_DETACH)
                bind(f"{place}/sandbox/root", "/root", recursive=False)
            for number, path in enumerate(self._spec["show"]):
                if os.path.isdir(f"{place}/shown-{number}") and make_mount_point("", path):
                    bind(f"{place}/shown-{number}", path)
                    read_only(path)
        except (OSError, libc.IsolationError) as error:
            raise RemountFailed(str(error)) from error

    def _show_programs(self, place: str) -> None:
        """Bind the emulator's programs, with the interpreter that they need, in the new overlay of /opt."""
        target = f"{place}/new-opt/caged"
        bind(f"{place}/sandbox/opt", target, recursive=False)
        if self._spec["python"]:
            bind(f"{place}/shown-{len(self._spec['show'])}", f"{target}/python", recursive=False)
        read_only(target)

"""Resolving a path of a sandbox without leaving its writable directories.

Every path is walked component by component with directory descriptors. The kernel never gets a whole path, and never
follows a symlink: links are read and resolved here, as the sandbox would resolve them. So neither `..`, nor a link, nor
a directory that is replaced by a link between the check and the use, leads outside.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from .paths import Layout, split

MAX_LINKS = 40
MAX_PATH = 4096  # as the kernel's PATH_MAX
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OutsideOfSandbox(Exception):
    """The path leads out of the sandbox's writable directories."""


class PathCursor:
    """A position in the sandbox's files.

    It uses one descriptor, however deep it is: a path of a thousand levels must not use up all descriptors.

    Attributes:
        names: The components of the path.
        fd: The descriptor of the directory; -1 at the top, which holds the writable directories.
        links: The number of links that were followed.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.names: list[str] = []
        self.fd = -1
        self.links = 0

    def reset(self) -> None:
        """Move to the top, and close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self.names.clear()

    def up(self) -> None:
        """Move to the parent, by walking down from the top: `..` of a directory that was moved may be anywhere."""
        names = self.names[:-1]
        self.reset()
        for name in names:
            self.enter(name)

    def enter(self, name: str) -> None:
        """Move into a directory that is not a link.

        Raises:
            OSError: The kernel refuses, for example because it is a link.
            OutsideOfSandbox: At the top: it is not a writable directory.
        """
        if self.fd < 0:
            root = self._layout.roots().get(name)
            if root is None:
                raise OutsideOfSandbox
            self.fd = os.open(root, _DIR)
        else:
            below = os.open(name, _DIR, dir_fd=self.fd)
            os.close(self.fd)
            self.fd = below
        self.names.append(name)

    def make(self, name: str) -> None:
        """Make a directory, unless a process has made it meanwhile, and move into it. Errors are those of `enter`."""
        try:
            os.mkdir(name, dir_fd=self.fd)
        except FileExistsError:
            self.enter(name)
            return
        self.enter(name)
        os.fchmod(self.fd, 0o755)  # whatever the umask of the emulator is

    def link_target(self, name: str) -> Optional[str]:
        """Return the target of a link, as the sandbox has it; None when `name` is not a link, or does not exist."""
        if self.fd < 0:
            return None
        try:
            target = os.readlink(name, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise
        return self._layout.link_to_sandbox(target)

    @property
    def path(self) -> str:
        return "/" + "/".join(self.names)


@contextmanager
def walk(layout: Layout, path: str, create: bool = False) -> Iterator[tuple[PathCursor, Optional[str]]]:
    """Resolve a path with all its links.

    Args:
        layout: The sandbox's directory.
        path: A path of the sandbox.
        create: Whether to make missing directories.

    Yields:
        The directory, and the name of the last component in it, which may not exist. The name is None when the path is
        the directory itself: the top, a writable directory, or a path that ends in `..` or `/`.

    Raises:
        OSError: The path is too long, does not exist, or has too many links.
        OutsideOfSandbox: It leads outside.
    """
    if len(os.fsencode(path)) >= MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    place = PathCursor(layout)
    of_directory = path.endswith(("/", "/."))
    todo = list(reversed(split(path)))
    try:
        last: Optional[str] = None
        while todo:
            name = todo.pop()
            last = None
            if name == "..":
                place.up()
                continue
            target = place.link_target(name)
            if target is not None:
                place.links += 1
                if place.links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    place.reset()
                todo.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
                continue
            if place.fd >= 0 and not todo and not of_directory:
                last = name
                break
            try:
                place.enter(name)
            except FileNotFoundError:
                if not create or place.fd < 0:
                    raise
                place.make(name)
        yield place, last
    finally:
        place.reset()


def resolve_directory(layout: Layout, path: str) -> str:
    """Return the path by which a command (git) has to use a directory of the sandbox, links resolved. Blocks. Raises
    OSError and OutsideOfSandbox."""
    with walk(layout, path) as (place, name):
        if name is not None:
            place.enter(name)
        if not place.names:
            raise OutsideOfSandbox
        return os.path.join(layout.command_path(place.names[0]), *place.names[1:])

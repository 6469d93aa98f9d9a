"""Resolving a path of a sandbox without leaving its files (`file_tree.py`).

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

from .file_tree import FileTree
from .paths import split

MAX_LINKS = 40
MAX_PATH = 4096  # as the kernel's PATH_MAX


class PathCursor:
    """A position in the sandbox's files.

    It uses one descriptor, however deep it is: a path of a thousand levels must not use up all descriptors.

    Args:
        tree: The files. The caller closes it, after the cursor.

    Attributes:
        names: The components of the path.
        fd: The descriptor of the directory; -1 at the top where that is not a directory of the host.
        links: The number of links that were followed.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self.names: list[str] = []
        self.fd = tree.open_top()
        self.links = 0

    def close(self) -> None:
        """Close the descriptor. Repeating it has no effect."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self.names.clear()

    def reset(self) -> None:
        """Move to the top."""
        self.close()
        self.fd = self._tree.open_top()

    @property
    def at_top(self) -> bool:
        return not self.names

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
            OutsideOfSandbox: It is not one that may be reached.
        """
        below = self._tree.enter(name, self.fd, self.at_top)
        if self.fd >= 0:
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
        """Return the target of a link, as the sandbox has it; None when `name` is not a link, or does not exist.

        Raises:
            OSError: The kernel refuses.
            OutsideOfSandbox: It is not one that may be reached.
        """
        if self.at_top:
            self._tree.require_top(name)
        if self.fd < 0:
            return None
        try:
            target = os.readlink(name, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise
        return self._tree.layout.link_to_sandbox(target)

    @property
    def path(self) -> str:
        return "/" + "/".join(self.names)


@contextmanager
def walk(tree: FileTree, path: str, create: bool = False) -> Iterator[tuple[PathCursor, Optional[str]]]:
    """Resolve a path with all its links.

    Args:
        tree: The sandbox's files.
        path: A path of the sandbox.
        create: Whether to make missing directories.

    Yields:
        The directory, and the name of the last component in it, which may not exist. The name is None when the path is
        the directory itself: the top, a directory in it where that is not one of the host, or a path that ends in `..`
        or `/`.

    Raises:
        OSError: The path is too long, does not exist, or has too many links.
        OutsideOfSandbox: It leads outside.
    """
    if len(os.fsencode(path)) >= MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    place = PathCursor(tree)
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
        place.close()


def resolve_directory(tree: FileTree, path: str) -> str:
    """Return the path by which a command (git) has to use a directory of the sandbox, links resolved. Blocks. Raises
    OSError and OutsideOfSandbox."""
    with walk(tree, path) as (place, name):
        if name is not None:
            place.enter(name)
        if not place.at_top:
            return os.path.join(tree.layout.command_path(place.names[0]), *place.names[1:])
        if place.fd < 0:
            raise tree.outside()
        return "/"

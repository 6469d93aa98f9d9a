"""Reading and writing a sandbox's files for the file API, without leaving its writable directories.

Every path is walked component by component with directory descriptors. The kernel never gets a whole path, and never
follows a symlink: links are read and resolved here, as the sandbox would resolve them. So neither `..`, nor a link, nor
a directory that is replaced by a link between the check and the use, leads outside.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

from ..workers import checkpoint
from .bytecode import drop_trusted
from .paths import Layout, split

#: Entries of a directory that can be listed.
LISTING_MOST = 500_000
_SORTED_AT_ONCE = 10_000
MAX_LINKS = 40
MAX_PATH = 4096  # as the kernel's PATH_MAX
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.caged-write\Z")
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)


class OutsideOfSandbox(Exception):
    """The path leads out of the sandbox's writable directories."""


@dataclass(frozen=True)
class Entry:
    """One entry of a listing. A link is listed as what it leads to, if that is inside.

    Attributes:
        name: Its name.
        path: Its path in the sandbox.
        kind: "file" or "directory".
        size: Bytes of a file; 0 for a directory.
        mtime: The time of its last change, in seconds since 1970.
    """

    name: str
    path: str
    kind: str
    size: int
    mtime: float


class Place:
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
def walk(layout: Layout, path: str, create: bool = False) -> Iterator[tuple[Place, Optional[str]]]:
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
    place = Place(layout)
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
                try:
                    os.mkdir(name, dir_fd=place.fd)
                except FileExistsError:
                    place.enter(name)
                    continue
                place.enter(name)
                os.fchmod(place.fd, 0o755)  # whatever the umask of the emulator is
        yield place, last
    finally:
        place.reset()


def read(layout: Layout, path: str, limit: int) -> bytes:
    """Return the bytes of a file, at most `limit` plus one. Blocks. Raises OSError and OutsideOfSandbox."""
    with walk(layout, path) as (place, name):
        if name is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        fd = os.open(name, _FILE, dir_fd=place.fd)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            chunks, left = [], limit + 1
            while left:
                chunk = os.read(fd, left)
                if not chunk:
                    break
                chunks.append(chunk)
                left -= len(chunk)
            return b"".join(chunks)
        finally:
            os.close(fd)


def write(layout: Layout, path: str, content: bytes) -> str:
    """Replace or create a file in one step, with its parents. The mode of an existing file is kept. Blocks.

    Returns:
        The path that was written, links resolved.

    Raises:
        OSError: It is a directory, or cannot be written.
        OutsideOfSandbox: The path leads outside.
    """
    if path.endswith(("/", "/.")):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with walk(layout, path, create=True) as (place, name):
        if name is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        directory = place.fd
        mode = 0o644
        try:
            existing = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISDIR(existing):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(existing):
                raise OSError(errno.EINVAL, "not a regular file", path)
            mode = stat.S_IMODE(existing)
        except FileNotFoundError:
            pass
        temporary = f".{secrets.token_hex(8)}.caged-write"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(fd, view) :]
                os.fchmod(fd, mode)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
        drop_trusted(directory, name)
        return f"{place.path}/{name}"


def listing(layout: Layout, path: str) -> list[Entry]:
    """Return the entries of a directory, sorted by name. Blocks. Raises OSError and OutsideOfSandbox."""
    with walk(layout, path) as (place, name):
        if name is not None:
            place.enter(name)
        shown = "/" + "/".join(part for part in split(path) if part != "..") if ".." not in split(path) else place.path
        if place.fd < 0:
            top = layout.roots()
            return [_entry(child, "/", os.stat(top[child])) for child in sorted(top)]
        entries = []
        names = os.listdir(place.fd)
        if len(names) > LISTING_MOST:
            reason = f"has {len(names):,} entries; a listing has at most {LISTING_MOST:,}. List it in parts with exec"
            raise OSError(errno.EOVERFLOW, reason)
        for child in in_order(names):
            checkpoint()
            if TEMPORARY.match(child):
                continue
            try:
                status = os.stat(child, dir_fd=place.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(status.st_mode):
                status = _behind_link(layout, f"{place.path}/{child}") or status
            entries.append(_entry(child, shown, status))
        return entries


def in_order(names: list[str]) -> Iterable[str]:
    """Sort names in pieces, because sorting holds the interpreter lock."""
    pieces = [sorted(names[at : at + _SORTED_AT_ONCE]) for at in range(0, len(names), _SORTED_AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else heapq.merge(*pieces)


def _behind_link(layout: Layout, path: str) -> Optional[os.stat_result]:
    """Return the status of what a link leads to; None when that is missing or outside."""
    try:
        with walk(layout, path) as (place, name):
            if name is not None:
                return os.stat(name, dir_fd=place.fd, follow_symlinks=False)
            return os.fstat(place.fd) if place.fd >= 0 else None
    except (OSError, OutsideOfSandbox):
        return None


def _entry(name: str, directory: str, status: os.stat_result) -> Entry:
    is_dir = stat.S_ISDIR(status.st_mode)
    # A name that is not UTF-8 is shown with replacement characters, because it is sent as JSON.
    shown = os.fsencode(name).decode("utf-8", "replace")
    return Entry(
        name=shown,
        path=f"{directory.rstrip('/')}/{shown}",
        kind="directory" if is_dir else "file",
        size=0 if is_dir else status.st_size,
        mtime=status.st_mtime,
    )


def resolve_directory(layout: Layout, path: str) -> str:
    """Return the path by which a command (git) has to use a directory of the sandbox, links resolved. Blocks. Raises
    OSError and OutsideOfSandbox."""
    with walk(layout, path) as (place, name):
        if name is not None:
            place.enter(name)
        if not place.names:
            raise OutsideOfSandbox
        return os.path.join(layout.command_path(place.names[0]), *place.names[1:])

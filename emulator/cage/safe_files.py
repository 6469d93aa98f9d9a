"""The file API's view of a sandbox: every path is walked component by component with directory descriptors.

No path string is ever handed to the kernel whole, and no symlink is ever followed by it: links are read and
expanded here, in the sandbox's own terms. So neither `..`, nor a link of any kind, nor a directory swapped for
a link between the check and the use, can lead outside the sandbox's writable places.
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

#: Entries of a directory that is listed.
LISTING_MOST = 500_000
_SORTED_AT_ONCE = 10_000
MAX_LINKS = 40
MAX_PATH = 4096  # as the kernel's PATH_MAX
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.caged-write\Z")
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)


class OutsideOfSandbox(Exception):
    """The path leads out of the sandbox's writable places."""


@dataclass(frozen=True)
class Entry:
    """One line of a listing. `kind`: file or directory; a link counts as what it leads to, if that is inside."""

    name: str
    path: str
    kind: str
    size: int
    mtime: float


class Place:
    """A position in the tree: the names from a writable place down, and the descriptor of the last of them
    (-1 at the top). One descriptor, however deep: a path of a thousand levels must not take all there are."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.names: list[str] = []
        self.fd = -1
        self.links = 0

    def reset(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self.names.clear()

    def up(self) -> None:
        """Walks down again from the top: `..` of a directory that was moved meanwhile may be anywhere."""
        names = self.names[:-1]
        self.reset()
        for name in names:
            self.enter(name)

    def enter(self, name: str) -> None:
        """Goes into a directory that is no link. OSError as the kernel gives it; Outside at the top."""
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
        """What the link `name` here points to, in the sandbox's terms; None when it is no link or absent."""
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
    """Resolves all links and yields (directory, name of the last component in it). The name may not exist; it is
    None when the path is a directory that the walk ended in (the top, a place, or a path ending in `..` or `/`)."""
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
    """The file's bytes, at most `limit` of them plus one. Blocks. Raises OSError and Outside."""
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
    """Replaces or creates a file in one step, parents included; the mode of one that exists is kept. Returns
    the path that was written, links resolved. Blocks. Raises OSError and Outside."""
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
    """The entries of a directory, by name. Blocks. Raises OSError and Outside."""
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
    """Sorted, in pieces: sorting holds the interpreter lock."""
    pieces = [sorted(names[at : at + _SORTED_AT_ONCE]) for at in range(0, len(names), _SORTED_AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else heapq.merge(*pieces)


def _behind_link(layout: Layout, path: str) -> Optional[os.stat_result]:
    """The status of what a link leads to; None when that is missing or outside."""
    try:
        with walk(layout, path) as (place, name):
            if name is not None:
                return os.stat(name, dir_fd=place.fd, follow_symlinks=False)
            return os.fstat(place.fd) if place.fd >= 0 else None
    except (OSError, OutsideOfSandbox):
        return None


def _entry(name: str, directory: str, status: os.stat_result) -> Entry:
    is_dir = stat.S_ISDIR(status.st_mode)
    # A name that is no UTF-8 is shown with replacement characters; the wire is JSON.
    shown = os.fsencode(name).decode("utf-8", "replace")
    return Entry(
        name=shown,
        path=f"{directory.rstrip('/')}/{shown}",
        kind="directory" if is_dir else "file",
        size=0 if is_dir else status.st_size,
        mtime=status.st_mtime,
    )


def resolve_directory(layout: Layout, path: str) -> str:
    """A directory of the sandbox, links resolved, by the path that a command (git) has to use. Blocks."""
    with walk(layout, path) as (place, name):
        if name is not None:
            place.enter(name)
        if not place.names:
            raise OutsideOfSandbox
        return os.path.join(layout.seen(place.names[0]), *place.names[1:])

"""Reading and writing a sandbox's files for the file API, without leaving them (`safe_paths.py`)."""

from __future__ import annotations

import errno
import heapq
import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from ..workers import checkpoint
from .bytecode import drop_trusted
from .file_tree import FileTree, OutsideOfSandbox
from .paths import split
from .safe_paths import walk

#: Entries of a directory that can be listed.
LISTING_MOST = 500_000
_SORTED_AT_ONCE = 10_000
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.caged-write\Z")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)


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


def read(tree: FileTree, path: str, limit: int, offset: int = 0) -> bytes:
    """Return the bytes of a file from an offset, at most `limit` plus one. Blocks. Raises OSError and
    OutsideOfSandbox."""
    with walk(tree, path) as (place, name):
        if name is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        fd = os.open(name, _FILE, dir_fd=place.fd)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            os.lseek(fd, offset, os.SEEK_SET)
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


def write(tree: FileTree, path: str, content: bytes) -> str:
    """Replace or create a file in one step, with its parents. Mode and owner of an existing file are kept. Blocks.

    Returns:
        The path that was written, links resolved.

    Raises:
        OSError: It is a directory, or cannot be written.
        OutsideOfSandbox: The path leads outside.
    """
    if path.endswith(("/", "/.")):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with walk(tree, path, create=True) as (place, name):
        if name is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        directory = place.fd
        existing = None
        try:
            existing = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(existing.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(existing.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
        except FileNotFoundError:
            pass
        temporary = f".{secrets.token_hex(8)}.caged-write"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(fd, view) :]
                _set_attributes(fd, existing)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
        drop_trusted(directory, name)
        return f"{place.path}/{name}"


def _set_attributes(fd: int, existing: Optional[os.stat_result]) -> None:
    """Give a new file the owner, as far as the emulator may, and the mode of the one that it replaces."""
    if existing is None:
        os.fchmod(fd, 0o644)
        return
    own = os.fstat(fd)
    if (own.st_uid, own.st_gid) != (existing.st_uid, existing.st_gid):
        try:
            os.fchown(fd, existing.st_uid, existing.st_gid)  # before the mode, of which it clears bits
        except OSError:
            pass
    os.fchmod(fd, stat.S_IMODE(existing.st_mode))


def listing(tree: FileTree, path: str) -> list[Entry]:
    """Return the entries of a directory, sorted by name. Blocks. Raises OSError and OutsideOfSandbox."""
    with walk(tree, path) as (place, name):
        if name is not None:
            place.enter(name)
        shown = "/" + "/".join(part for part in split(path) if part != "..") if ".." not in split(path) else place.path
        if place.fd < 0:
            top = tree.top_names()
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
                status = _behind_link(tree, f"{place.path}/{child}") or status
            entries.append(_entry(child, shown, status))
        return entries


def in_order(names: list[str]) -> Iterable[str]:
    """Sort names in pieces, because sorting holds the interpreter lock."""
    pieces = [sorted(names[at : at + _SORTED_AT_ONCE]) for at in range(0, len(names), _SORTED_AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else heapq.merge(*pieces)


def _behind_link(tree: FileTree, path: str) -> Optional[os.stat_result]:
    """Return the status of what a link leads to; None when that is missing or outside."""
    try:
        with walk(tree, path) as (place, name):
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

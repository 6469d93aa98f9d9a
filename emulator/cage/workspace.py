"""Files of the workspace for the MCP tools, which see only /workspace, without /root and /tmp.

Paths are walked by descriptors as in `safe_paths.py`, so whatever a command does to the tree meanwhile, neither `..`
nor a link leads outside. The `tree` of every function is one of which only the workspace may be reached
(`Cage.on_workspace`). All functions block and are meant for a thread; they raise OSError and OutsideOfSandbox.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import time
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Callable

from ..workers import checkpoint
from . import disk, safe_files, safe_paths
from .file_tree import FileTree, OutsideOfSandbox
from .paths import WORKSPACE
from .safe_files import Entry
from .safe_paths import PathCursor, walk

#: Seconds after which the removal of a tree that a process goes on filling is given up.
DELETE_SECONDS = 30.0
SEARCH_SECONDS = 10.0
SEARCH_ENTRIES = 500_000


def full_path(path: str) -> str:
    """Return the absolute path that a text means, with `.` and `..` resolved as text, before the file system is read.

    Raises:
        OutsideOfSandbox: It is not in the workspace.
    """
    full = "/" + posixpath.normpath(posixpath.join(WORKSPACE, path)).lstrip("/")
    if full != WORKSPACE and not full.startswith(f"{WORKSPACE}/"):
        raise OutsideOfSandbox(f"a path below {WORKSPACE}")
    return full


def read(tree: FileTree, path: str, limit: int) -> bytes:
    """Return the bytes of a file, at most `limit` plus one."""
    return safe_files.read(tree, full_path(path), limit)


def write(tree: FileTree, path: str, content: bytes) -> str:
    """Replace or create a file in one step, with its parents. Returns the path that was written, links resolved."""
    return safe_files.write(tree, full_path(path), content)


def listing(tree: FileTree, path: str) -> list[Entry]:
    """Return the entries of a directory, sorted by name.

    A link is a file, with the size of the link itself; the size of a directory is that of the file system.
    """
    full = full_path(path)
    with walk(tree, full) as (place, name):
        if name is not None:
            place.enter(name)
        if place.at_top:
            raise tree.outside()
        entries = []
        names = os.listdir(place.fd)
        if len(names) > safe_files.LISTING_MOST:
            raise OSError(errno.EOVERFLOW, f"has more than {safe_files.LISTING_MOST:,} entries; list it in parts")
        for child in sorted(names, key=os.fsencode):
            checkpoint()
            if safe_files.TEMPORARY.match(child):
                continue
            try:
                status = os.stat(child, dir_fd=place.fd, follow_symlinks=False)
                target = place.link_target(child) if stat.S_ISLNK(status.st_mode) else None
            except FileNotFoundError:
                continue  # deleted since it was listed
            shown = os.fsencode(child).decode("utf-8", "replace")
            kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
            size = status.st_size if target is None else len(os.fsencode(target))
            entries.append(Entry(shown, f"{full}/{shown}", kind, size, status.st_mtime))
        return entries


def first_not_directory(tree: FileTree, path: str) -> str:
    """Return the shortest beginning of an absolute path that is not a directory; its parent when there is none."""
    parent = posixpath.dirname(path)
    names = parent.strip("/").split("/")
    for count in range(1, len(names) + 1):
        beginning = "/" + "/".join(names[:count])
        try:
            safe_paths.resolve_directory(tree, beginning)
        except NotADirectoryError:
            return beginning
        except (OSError, OutsideOfSandbox):
            break
    return parent


def delete(tree: FileTree, path: str) -> bool:
    """Remove a file, a link (not what it leads to) or a whole directory. Returns False when it did not exist. Raises
    OSError also for the workspace itself."""
    full = full_path(path)
    if full == WORKSPACE:
        raise OSError(errno.EBUSY, "the workspace itself cannot be deleted; name what is in it", path)
    parent, _, name = full.rpartition("/")
    try:
        with walk(tree, f"{parent}/") as (place, _none):
            if place.at_top:
                raise tree.outside()
            if stat.S_ISDIR(os.stat(name, dir_fd=place.fd, follow_symlinks=False).st_mode):
                disk.remove(name, place.fd, DELETE_SECONDS)
            else:
                os.unlink(name, dir_fd=place.fd)
    except FileNotFoundError:
        return False
    return True


def search(tree: FileTree, matches: Callable[[str], bool], most: int) -> tuple[list[str], bool]:
    """Search the workspace by name, including directories and hidden entries, without following links.

    Args:
        tree: The sandbox's files.
        matches: Returns whether a name matches.
        most: The number of results to return.

    Returns:
        Paths relative to the workspace, a directory before what it holds, by name; and whether there may be more.
    """
    found: list[str] = []
    deadline = time.monotonic() + SEARCH_SECONDS
    with closing(_walk(tree)) as everything:
        for count, path in enumerate(everything):
            checkpoint()
            if count >= SEARCH_ENTRIES or time.monotonic() > deadline:
                return found, True
            if matches(posixpath.basename(path)):
                if len(found) == most:
                    return found, True
                found.append(path)
    return found, False


def _walk(tree: FileTree) -> Generator[str, None, None]:
    place = PathCursor(tree)
    try:
        waiting = _list_directory(place, ())
        while waiting:
            parts, is_dir = waiting.pop()
            yield os.fsencode("/".join(parts)).decode("utf-8", "replace")
            if is_dir:
                try:
                    waiting.extend(_list_directory(place, parts))
                except (OSError, OutsideOfSandbox):
                    pass  # removed, not readable, or replaced by a link since it was listed
    finally:
        place.close()


def _list_directory(place: PathCursor, parts: tuple[str, ...]) -> list[tuple[tuple[str, ...], bool]]:
    """Return the content of a directory, last name first. It is entered from the current position if that is an
    ancestor, else from the top: one descriptor, however deep."""
    names = ["workspace", *parts]
    if place.names != names[: len(place.names)]:
        place.reset()
    for name in names[len(place.names) :]:
        place.enter(name)
    with os.scandir(place.fd) as entries:
        held = [
            ((*parts, entry.name), entry.is_dir(follow_symlinks=False))
            for entry in islice(entries, SEARCH_ENTRIES)
            if not safe_files.TEMPORARY.match(entry.name)
        ]
    return sorted(held, reverse=True)

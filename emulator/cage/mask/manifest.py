"""What a mask in the cache consists of, so that a change is noticed before the mask is used.

For each directory and file: mode, owner, size and times. A user can set the time of the last modification, but not that
of the last change of the inode, which is another one after content, mode or the attribute of an opaque directory was
changed; that of a directory also after an entry, such as a whiteout, was added, removed or replaced. So neither is the
content read nor are directories listed: a start of an emulator waits for this. All functions block.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Optional


def write(root: Path, path: Path) -> None:
    """Write the manifest of a tree into a new file, which only this user can read."""
    described = {entry: _status_of(f"{root}/{entry}") for entry in _walk(str(root))}
    with open(path, "x", encoding="ascii", opener=_private) as file:
        json.dump(described, file)


def find_difference(root: Path, path: Path) -> Optional[str]:
    """Return the path, relative to the tree, of an entry that differs from its manifest; None where there is none.

    Raises:
        OSError: The manifest cannot be read.
        ValueError: It is not one.
    """
    with open(path, encoding="ascii", opener=_without_links) as file:
        described = json.load(file)
    if not isinstance(described, dict) or "." not in described:
        raise ValueError("it does not describe a tree")
    for entry, expected in described.items():
        try:
            found = _status_of(f"{root}/{entry}")
        except OSError:
            return str(entry)
        if found != expected:
            return str(entry)
    return None


def _status_of(path: str) -> list[int]:
    status = os.lstat(path)
    return [status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _walk(root: str) -> Iterator[str]:
    """Yield all that has a state of its own: whiteouts and links can only be replaced, which changes the directory."""
    yield "."
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(f"{root}/{prefix}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    continue
                yield f"{prefix}{entry.name}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

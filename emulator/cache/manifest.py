"""The manifest of a tree: a line for each entry with what must not change, sorted.

The content of files is left out: to read it would take longer than what the cache saves. A file that is written to gets
another time or size.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..workers import checkpoint


@dataclass(frozen=True)
class Manifest:
    """What a tree consists of.

    Attributes:
        lines: One for each entry, sorted.
        size: Bytes on disk.
    """

    lines: tuple[str, ...]
    size: int

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode("utf-8", "surrogateescape")).hexdigest()

    def difference(self, other: Manifest) -> Optional[str]:
        """Return the path of the first entry that differs; None where there is none."""
        differing = set(self.lines) ^ set(other.lines)
        return min(line.split("\t", 1)[0] for line in differing) if differing else None


def describe(top: Path) -> Manifest:
    """Return the manifest of a tree. Links are not followed. Blocks.

    Raises:
        OSError: It cannot be read.
    """
    lines, size = [], 0
    for path, status, target in _walk(str(top), ""):
        checkpoint()
        lines.append(_line(path, status, target))
        size += status.st_blocks * 512
    return Manifest(tuple(sorted(lines)), size)


def _walk(directory: str, prefix: str) -> Iterator[tuple[str, os.stat_result, str]]:
    waiting = [(directory, prefix)]
    yield ".", os.lstat(directory), ""
    while waiting:
        directory, prefix = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                path = f"{prefix}{entry.name}"
                yield path, status, os.readlink(entry.path) if stat.S_ISLNK(status.st_mode) else ""
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((entry.path, f"{path}/"))


def _line(path: str, status: os.stat_result, target: str) -> str:
    """A directory's size, and the count of its links, depend on the file system, and so are left out."""
    is_file = stat.S_ISREG(status.st_mode)
    fields = (
        _escaped(path),
        f"{status.st_mode:o}",
        f"{status.st_uid}:{status.st_gid}",
        str(status.st_size if is_file else status.st_rdev),
        str(status.st_mtime_ns if is_file else 0),
        _escaped(target),
    )
    return "\t".join(fields)


def _escaped(name: str) -> str:
    """The name in one field of one line."""
    return name.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")

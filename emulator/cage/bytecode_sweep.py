"""Before a command starts: removing bytecode caches that earlier commands have made stale, and invalidating those that
this command could make stale. `bytecode.py` says why."""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass, field
from typing import Optional

from caged._workspace.scratch import SCRATCH

from .bytecode import CACHE, DIRECTORY, drop, invalidate
from .file_tree import FileTree, OutsideOfSandbox
from .paths import Layout
from .safe_paths import walk

#: `module.cpython-311.pyc`, `module.cpython-311.opt-1.pyc`, `test_module.cpython-311-pytest-8.3.2.pyc`.
_CACHE_FILE = re.compile(r"(.+?)\.[a-z]+-?\d[^/]*\.pyc\Z")
#: Never entered: their Python sources, if any, are installed and not edited. The directory of bound sandboxes has none,
#: and changes with each of their commands.
_SKIPPED = frozenset({CACHE, ".git", "node_modules", "site-packages", ".cache", os.path.basename(SCRATCH)})
#: Directories that are inspected; the others of a larger tree are ignored.
DIRECTORIES_MOST = 20_000
#: Up to so many directories, a sweep takes less time than starting it in a thread.
_FEW = 50
#: A cache file that is older than the last sweep by more than this can no longer become stale: Python compares whole
#: seconds. The other second is for the resolution of a file system's times.
_SETTLED_SECONDS = 2.0
#: A file system's clock is behind `time.time()` by less than this.
_LAG_SECONDS = 0.02


@dataclass
class _Directory:
    """A directory at the last sweep.

    Attributes:
        mtime: Its modification time; 0 when that was too recent to notice the next change.
        below: Its directories, by path on the host and in the sandbox.
        has_cache: Whether it has a `__pycache__`.
    """

    mtime: int
    below: list[tuple[str, str]] = field(default_factory=list)
    has_cache: bool = False


class BytecodeSweep:
    """Finds the cache files of one sandbox that are stale, or can become stale by the next command."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: dict[str, _Directory] = {}
        self._last = 0.0
        #: Whether the last sweep has found /workspace to be a directory, and not a link.
        self.has_workspace = False

    @property
    def is_quick(self) -> bool:
        """Whether a sweep is expected to take well under a millisecond."""
        return 0 < len(self._seen) <= _FEW

    def drop(self) -> None:
        """Remove or invalidate cache files in the sandbox's writable directories."""
        began = time.time()
        seen: dict[str, _Directory] = {}
        suspects: list[str] = []
        roots = self._layout.roots()
        for place, root in roots.items():
            todo = [(root, f"/{place}")]
            while todo and len(seen) < DIRECTORIES_MOST:
                path, shown = todo.pop()
                found = self._look(path, shown, began)
                if found is None:
                    continue
                seen[path] = found
                todo += found.below
                if found.has_cache and self._was_written(f"{path}/{CACHE}"):
                    suspects.append(shown)
        for directory in suspects:
            self._drop_in(directory)
        self._seen, self._last, self.has_workspace = seen, began, roots["workspace"] in seen

    def _look(self, path: str, shown: str, now: float) -> Optional[_Directory]:
        """Return the content of a directory, read again if it has changed; None when it is not a directory."""
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                return None
            known = self._seen.get(path)
            if known is not None and known.mtime == status.st_mtime_ns:
                return known
            found = _Directory(status.st_mtime_ns if status.st_mtime < now - 0.1 else 0)
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name == CACHE:
                        found.has_cache = True
                    elif entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
                        found.below.append((entry.path, f"{shown}/{entry.name}"))
            return found
        except OSError:
            return None

    def _was_written(self, cache: str) -> bool:
        """Whether a cache file was written so recently that an edit since the last sweep could have made it stale."""
        try:
            return os.lstat(cache).st_mtime >= self._last - _SETTLED_SECONDS
        except OSError:
            return False

    def _drop_in(self, directory: str) -> None:
        """Remove the stale cache files of a directory, given by its path in the sandbox.

        The path is walked without following links: a command may have replaced any part of it meanwhile.
        """
        try:
            with walk(FileTree(self._layout), f"{directory}/{CACHE}/") as (place, _name):
                if place.path != f"{directory}/{CACHE}":
                    return
                sources = os.open("..", DIRECTORY, dir_fd=place.fd)
                try:
                    _compare(place.fd, sources)
                finally:
                    os.close(sources)
        except (OSError, OutsideOfSandbox):
            pass


def _compare(cache: int, sources: int) -> None:
    this_second = int(time.time() - _LAG_SECONDS) * 10**9
    for name in os.listdir(cache):
        found = _CACHE_FILE.match(name)
        if found is None:
            continue
        try:
            source = os.stat(f"{found[1]}.py", dir_fd=sources, follow_symlinks=False)
            written = os.stat(name, dir_fd=cache, follow_symlinks=False)
        except OSError:
            continue  # without a source, or changed meanwhile
        if source.st_mtime_ns >= written.st_mtime_ns:
            drop(cache, name, source)
        elif source.st_mtime_ns >= this_second:
            invalidate(cache, name, source)  # the command that starts now may edit the source within this second

"""Memory limits for whole sandboxes, where this process may make control groups (version 2, or 1).

On a desktop with systemd an ordinary user may do so in a delegated slice; in a container it is usually not
permitted. Where it is not, each process is limited by itself (`inside/limits.py`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .inside import cgroups as cleaning

REMOVE_SECONDS = 1.0
_MIB = 1024 * 1024


@dataclass(frozen=True)
class MemoryGroup:
    """The control group of one sandbox.

    Attributes:
        path: Its directory.
        limit: The name of the file with its limit.
        events: The name of the file with the number of kills.
    """

    path: Path
    limit: str
    events: str

    def add(self, pids: Sequence[int]) -> None:
        """Move processes into the group, which their children inherit. One that has ended is ignored."""
        for pid in pids:
            try:
                (self.path / "cgroup.procs").write_text(str(pid))
            except ProcessLookupError:
                pass

    def kills(self) -> int:
        """Return the number of processes that the kernel has killed because the memory was used up."""
        try:
            for line in (self.path / self.events).read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except OSError:
            pass
        return 0

    async def remove(self) -> None:
        """Remove the group after every process was killed. The kernel takes a moment to release the last one; a group
        that is in use after REMOVE_SECONDS is left to `inside/cgroups.py`."""
        deadline = time.monotonic() + REMOVE_SECONDS
        while True:
            try:
                self.path.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > deadline:
                    return
            await asyncio.sleep(0.001)


class MemoryGroups:
    """Makes the groups of one emulator.

    Args:
        parent: The directory in which they are made.
        version: The version of control groups, 1 or 2.
        run_dir: The emulator's directory, whose name is part of theirs.
    """

    def __init__(self, parent: Path, version: int, run_dir: Path) -> None:
        self.parent = parent
        self.version = version
        self._prefix = cleaning.prefix(str(run_dir))
        self._limit, self._events = (
            ("memory.max", "memory.events") if version == 2 else ("memory.limit_in_bytes", "memory.oom_control")
        )

    @classmethod
    def find(cls, run_dir: Path) -> Optional[MemoryGroups]:
        """Find the nearest parent in which a group with a limit can be made, by trying; None when there is none."""
        for parent, version in _candidates():
            groups = cls(parent, version, run_dir)
            try:
                groups.create("probe", 64).path.rmdir()
            except OSError:
                continue
            (run_dir / cleaning.PARENT_FILE).write_text(str(parent), encoding="utf-8")
            return groups
        return None

    def create(self, name: str, memory_mb: int) -> MemoryGroup:
        """Make a group with a limit. Raises OSError when that fails; then no group is left."""
        group = MemoryGroup(self.parent / f"{self._prefix}{name}", self._limit, self._events)
        group.path.mkdir()
        try:
            (group.path / group.limit).write_text(str(memory_mb * _MIB))
        except OSError:
            group.path.rmdir()
            raise
        return group


def _candidates() -> Iterator[tuple[Path, int]]:
    """Yield possible parents with their version: the group of this process, then those above it."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for fields in mounts:
        root, point, kind, options = fields[3], fields[4], fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup2":
            path = next((path for number, _, path in own if number == "0"), None)
            version = 2
        elif kind == "cgroup" and "memory" in options:
            path = next((path for _, controllers, path in own if "memory" in controllers.split(",")), None)
            version = 1
        else:
            continue
        if path is None or not (path + "/").startswith(root.rstrip("/") + "/"):
            continue
        here = Path(point) / path[len(root.rstrip("/")) :].lstrip("/")
        for parent in (here, *here.parents):
            # To move a process, one must be able to write to the nearest group above both the old and the new one.
            ours = os.access(parent, os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)
            if ours and (version == 1 or "memory" in _controllers(parent)):
                yield parent, version
            if str(parent) == point:
                break


def _controllers(group: Path) -> list[str]:
    """Return the controllers that a version 2 group enables for the groups in it."""
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []

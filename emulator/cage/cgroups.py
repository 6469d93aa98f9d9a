"""Memory limits for whole sandboxes, where this process may make control groups (version 2, or 1).

On a desktop with systemd that is so for an ordinary user inside a delegated slice; in a container usually not.
Where it is not, each process is limited by itself (`inside/limits.py`).
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
    """The group of one sandbox. `limit` and `events` are its files for the limit and the count of kills."""

    path: Path
    limit: str
    events: str

    def add(self, pids: Sequence[int]) -> None:
        """Moves processes in; their children follow by themselves. One that is gone is passed over."""
        for pid in pids:
            try:
                (self.path / "cgroup.procs").write_text(str(pid))
            except ProcessLookupError:
                pass

    def kills(self) -> int:
        """How many processes the kernel has killed here because the memory was used up."""
        try:
            for line in (self.path / self.events).read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except OSError:
            pass
        return 0

    async def remove(self) -> None:
        """After everything was killed. The kernel takes a moment to let go of the last process; a group that is held
        longer stays for the sweep."""
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
    """A parent in which groups can be made. `version` is 1 or 2."""

    def __init__(self, parent: Path, version: int, run_dir: Path) -> None:
        self.parent = parent
        self.version = version
        self._prefix = cleaning.prefix(str(run_dir))
        self._limit, self._events = (
            ("memory.max", "memory.events") if version == 2 else ("memory.limit_in_bytes", "memory.oom_control")
        )

    @classmethod
    def find(cls, run_dir: Path) -> Optional[MemoryGroups]:
        """The nearest parent that lets us make a group with a limit, tried out; None when there is none."""
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
        """OSError when it cannot be made; then nothing is left of it."""
        group = MemoryGroup(self.parent / f"{self._prefix}{name}", self._limit, self._events)
        group.path.mkdir()
        try:
            (group.path / group.limit).write_text(str(memory_mb * _MIB))
        except OSError:
            group.path.rmdir()
            raise
        return group


def _candidates() -> Iterator[tuple[Path, int]]:
    """Directories that may serve as parents: our own group, then what is above it."""
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
            # Moving a process asks for the right to write to the nearest group above both places.
            ours = os.access(parent, os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)
            if ours and (version == 1 or "memory" in _controllers(parent)):
                yield parent, version
            if str(parent) == point:
                break


def _controllers(group: Path) -> list[str]:
    """What a version 2 group hands on to the groups below it."""
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []

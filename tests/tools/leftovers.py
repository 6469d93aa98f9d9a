"""Looking for what an emulator may have left: processes by a mark in their command line, directories by name."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

_numbers = itertools.count(1)


def unique_seconds() -> str:
    """An argument for `sleep` that no other process on the machine has: the mark to look for."""
    return f"3{os.getpid():07d}{next(_numbers):03d}"


def processes_with(mark: str) -> list[str]:
    """The command lines of living processes (zombies have none) that hold `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if mark in words:
                found.append(f"{entry.name}: {words}")
    return found


def run_dirs(base: Path) -> list[Path]:
    return sorted(base.glob("caged-*"))


def until(condition: Callable[[], object], seconds: float = 10.0, what: Callable[[], object] = str) -> None:
    """Waits for a condition, and says what was there instead when it does not come."""
    begun = time.monotonic()
    while not condition():
        passed = time.monotonic() - begun
        assert passed < seconds, f"not within {seconds} s: {what()}"
        time.sleep(min(max(0.002, passed / 5), 0.1))  # more seldom as it takes longer: a look costs processor time


def children_of(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _words(task / "children")]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def mounts() -> list[str]:
    """The mounts of emulators and their sandboxes that this process sees."""
    table = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return [line for line in table if "caged" in line]


def groups(run: str) -> list[str]:
    """The control groups of the emulator whose directory is called `run`."""
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{run}-*")]

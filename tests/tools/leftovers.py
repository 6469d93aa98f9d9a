"""Search for what an emulator left: processes by a mark in their command line, directories by name."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

from waiting import eventually

_numbers = itertools.count(1)


def unique_seconds() -> str:
    """Return an argument for `sleep` that no other process on the machine has, as a mark."""
    return f"3{os.getpid():07d}{next(_numbers):03d}"


def processes_with(mark: str) -> list[str]:
    """Return the command lines with `mark` of running processes (zombies have none)."""
    found, wanted, own = [], mark.encode(), str(os.getpid())
    for pid in os.listdir("/proc"):  # without pathlib: tests wait for processes to come and go
        if pid.isdigit() and pid != own:
            try:
                with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
                    words = (file.read() or b"").replace(b"\0", b" ")
            except OSError:
                continue
            if wanted in words:
                found.append(f"{pid}: {words.decode('utf-8', 'replace')}")
    return found


def command_of(pid: int) -> str:
    """Return the command line of a process; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def run_dirs(base: Path) -> list[Path]:
    return sorted(base.glob("caged-*"))


def until(condition: Callable[[], object], seconds: float = 60.0, what: Callable[[], object] = str) -> None:
    """Wait for a condition. Fails with the result of `what` if it is not met in time."""
    eventually(condition, lambda: f"a condition: {what()}", seconds)


def children_of(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _words(task / "children")]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def mounts() -> list[str]:
    """Return the mounts of emulators and their sandboxes that are visible to this process."""
    table = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return [line for line in table if "caged" in line]


def descriptors_below(path: Path) -> int:
    """Return how many descriptors this process has of a directory or what is below it. Emulators of other tests, which
    run on in this process, open and close others meanwhile."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself, and what others close
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(link == str(path) or link.startswith(f"{path}/") for link in links)


def groups(run: str) -> list[str]:
    """Return the control groups of the emulator whose directory is named `run`."""
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{run}-*")]

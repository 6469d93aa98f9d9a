"""Finding the emulators that run, by their locators, and removing what dead ones left."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .locator import places, process_start, variables
from .logfile import older

_HALF_MADE_SECONDS = 60.0


@dataclass(frozen=True)
class DiscoveredEmulator:
    """A running emulator. `pid` is the process to signal; `started` its start in the kernel's clock ticks, where there
    is a /proc; `kind` serve or exec; `since` in seconds since 1970; `run_dir` what goes with it, if anything does."""

    path: Path
    pid: int
    started: Optional[int]
    kind: str
    since: float
    base_url: str
    port: int
    api_key: str
    admin_key: str
    isolation: str
    run_dir: Optional[Path]
    log_file: Path

    @property
    def alive(self) -> bool:
        """Whether the emulator still lives."""
        lock = _open_ours(self.path)
        if lock is None:
            return False
        try:
            return _held(lock)
        finally:
            os.close(lock)

    @property
    def process_runs(self) -> bool:
        """Whether `pid` still is the process that it was."""
        if self.started is not None:
            return process_start(self.pid) == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def variables(self) -> dict[str, str]:
        """What a program has to have in its environment to use this emulator."""
        return variables(self.base_url, self.api_key, self.admin_key)


def running() -> list[DiscoveredEmulator]:
    """The user's emulators that run now, oldest first. What dead ones left is removed on the way."""
    found = []
    for directory, _make_parents in places():
        for path in sorted(_listing(directory)):
            if path.suffix == ".json":
                one = _look(path)
                if one is not None:
                    found.append(one)
            elif path.suffix in (".log", ".new"):
                _remove_half_made(path)
    return sorted(found, key=lambda one: one.since)


def looked_in() -> str:
    """The directories in which `running` looks, for an error's text."""
    return " and ".join(str(directory) for directory, _make_parents in places()) or "no directory: there is no home"


def _listing(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _look(path: Path) -> Optional[DiscoveredEmulator]:
    """The emulator that a locator leads to; None, and the locator removed, when it is dead."""
    lock = _open_ours(path)
    if lock is None:
        return None
    try:
        if _held(lock):
            with open(lock, encoding="utf-8", closefd=False) as file:
                return _decode(path, json.load(file))
        for left in (path, path.with_suffix(".log"), older(path.with_suffix(".log"))):
            left.unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not written by us, or it cannot be removed: nobody is found by it
    finally:
        os.close(lock)
    return None


def _open_ours(path: Path) -> Optional[int]:
    """What it holds may be evaluated by a shell: only what this user wrote counts."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if os.fstat(file).st_uid == os.geteuid():
        return file
    os.close(file)
    return None


def _held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two looks at a time do not take each other for it
    except BlockingIOError:
        return True
    return False


def _decode(path: Path, content: Mapping[str, Any]) -> DiscoveredEmulator:
    return DiscoveredEmulator(
        path=path,
        pid=int(content["pid"]),
        started=content["started"],
        kind=str(content["kind"]),
        since=float(content["since"]),
        base_url=str(content["base_url"]),
        port=int(content["port"]),
        api_key=str(content["api_key"]),
        admin_key=str(content["admin_key"]),
        isolation=str(content["isolation"]),
        run_dir=Path(content["run_dir"]) if content["run_dir"] else None,
        log_file=Path(content["log_file"]),
    )


def _remove_half_made(path: Path) -> None:
    """What an emulator left that died before it could be found, or was killed while its locator was removed."""
    try:
        old = time.time() - path.stat().st_mtime > _HALF_MADE_SECONDS
        if old and path.stat().st_uid == os.geteuid() and not path.with_suffix(".json").exists():
            path.unlink()
            older(path).unlink(missing_ok=True)
    except OSError:
        pass

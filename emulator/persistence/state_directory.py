"""The directory that outlives its emulators, and the lock that lets one of them at a time have it.

The zygote and the inits hold the lock too: it is free when the last process of the emulator before is gone, however
that one ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from ..config import ConfigError
from ..run_directory import base_directory
from .database import NAME, is_emulators

LOCK = "state.lock"
#: How long the processes of an emulator that is dead may take to go.
GOING_SECONDS = 15.0
_INTERVAL = 0.01


#: Says that the directory is an emulator's. Written before anything else is put there.
MARKER = "state.marker"
LOST = "lost+found"
REASONS = "reasons.txt"
_MARKER_TEXT = "The state directory of a caged-emulator. What is in it belongs together: move it as a whole.\n"
#: What a directory that is still to become ours may hold: it is not touched, and often there from the start.
_HARMLESS = frozenset({LOCK, LOST, ".gitignore", ".gitkeep"})


class StateDirectory:
    """`path` is resolved. `lock`: the descriptor that holds the directory."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def open(cls, state_dir: Path) -> StateDirectory:
        """Take a directory, which is made when it does not exist. Blocks while what an emulator that was killed has
        left goes away.

        Raises:
            ConfigError: Another emulator has it; it is not empty and not a state directory; or it has files and no
                database. Nothing in it has changed then.
        """
        path = base_directory(state_dir)
        try:
            _check(path)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {path} as a state directory: {error.strerror}") from error
        try:
            _hold(lock, path)
            _check(path)  # again, now that no other emulator changes it
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
            if not (path / MARKER).exists():
                (path / MARKER).write_text(_MARKER_TEXT, encoding="ascii")
            (path / "sandboxes").mkdir(mode=0o700, exist_ok=True)
            (path / "snapshots").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            os.close(lock)
            raise ConfigError(f"cannot use {path} as a state directory: {error.strerror}") from error
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    def move_aside(self, path: Path, why: str) -> Path:
        """Move an entry of the directory that has no record to lost+found, where the reason is written down.

        Returns:
            Where it is now.

        Raises:
            OSError: It cannot be moved. It is where it was.
        """
        lost = self.path / LOST
        lost.mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR(lost.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(lost))
        stem = f"{time.strftime('%Y%m%dT%H%M%S')}-{path.name}"[:200]
        target, number = lost / stem, 1
        while os.path.lexists(target):
            number += 1
            target = lost / f"{stem}.{number}"
        line = f"{target.name!r} was {str(path)!r}: {why}\n".encode("utf-8", "backslashreplace")
        reasons = os.open(lost / REASONS, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(reasons, line)
        finally:
            os.close(reasons)
        path.rename(target)
        return target

    def close(self) -> None:
        """Harmless to repeat."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def _check(path: Path) -> None:
    """ConfigError for a directory that must not be touched. Changes nothing."""
    held = sorted(name for name in os.listdir(path) if name not in _HARMLESS)
    _require_kind(path, (LOCK, MARKER, NAME, f"{NAME}-wal", f"{NAME}-shm"), stat.S_ISREG, "a regular file")
    if held and MARKER not in held and not is_emulators(path / NAME):
        if NAME in held and not (path / NAME).stat().st_size:
            _refuse_without_database(path)
        raise ConfigError(
            f"{path} is not empty and not a state directory of an emulator: it holds {_listed(held)}. Nothing was"
            " changed; name a directory that is empty or does not exist yet"
        )
    if not held and _holder_text(path) is None:
        raise ConfigError(f"{path} is not a state directory: its {LOCK} is not an emulator's; use an empty directory")
    _require_kind(path, ("sandboxes", "snapshots"), stat.S_ISDIR, "a directory")
    database = path / NAME
    if held and not (database.is_file() and database.stat().st_size):
        _refuse_without_database(path)
    for written in (path, database):
        if written.exists() and not os.access(written, os.W_OK):
            raise ConfigError(f"cannot use {path} as a state directory: {written} may not be written to by this user")


def _refuse_without_database(path: Path) -> None:
    """A new database would know none of the files that are here."""
    found = {name: len(_entries(path / name)) for name in ("sandboxes", "snapshots")}
    changes = path / f"{NAME}-wal"
    if not any(found.values()) and not (changes.is_file() and changes.stat().st_size):
        return
    raise ConfigError(
        f"{path} holds the files of {found['sandboxes']} sandboxes and {found['snapshots']} snapshots, but its"
        f" {NAME} is missing or empty. Nothing was changed. Put {NAME} back (and {changes.name}, if it was beside it)"
        f" to go on with them. To begin anew, use another directory, or rename this one, which keeps all of its files:"
        f" mv {path} {path}.old"
    )


def _require_kind(path: Path, names: Sequence[str], is_kind: Callable[[int], bool], kind: str) -> None:
    for name in names:
        try:
            mode = (path / name).lstat().st_mode
        except FileNotFoundError:
            continue
        if not is_kind(mode):
            what = "a link" if stat.S_ISLNK(mode) else "something else"
            raise ConfigError(
                f"{path / name} must be {kind}, and is {what}. Nothing was changed; put back what was there, or use"
                " another directory"
            )


def _entries(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name[:60]) for name in names[:3]) + more


def _holder_text(path: Path) -> Optional[str]:
    """What the lock file says, "" without one; None when that is not what an emulator writes."""
    try:
        with open(path / LOCK, "rb") as file:
            text = file.read(64).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    return text if not text.strip() or text.strip().isdigit() else None


def _hold(lock: int, path: Path) -> None:
    deadline = time.monotonic() + GOING_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        holder = _holder(lock)
        if _lives(holder):
            raise ConfigError(
                f"the state directory {path} is in use by the emulator with pid {holder}; stop that one, or use"
                " another directory"
            )
        if time.monotonic() > deadline:
            raise ConfigError(
                f"the emulator that had the state directory {path} (pid {holder}) is dead, but processes of it have"
                f" not gone within {GOING_SECONDS:g} s; end them, or use another directory"
            )
        time.sleep(_INTERVAL)


def _holder(lock: int) -> int:
    """0 when it has not said yet."""
    try:
        return int(os.pread(lock, 32, 0) or b"0")
    except ValueError:
        return 0


def _lives(pid: int) -> bool:
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return os.path.exists(f"/proc/{pid}") or not os.path.isdir("/proc/self")
    return state not in "ZX"  # killed, and not yet waited for by whoever started it

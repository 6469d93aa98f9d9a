"""The directory in which state survives, and the lock that lets one emulator at a time use it.

The zygote and the inits hold the lock, too, so it is free only when the last process of the previous emulator is gone,
however that emulator ended.
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
from .database import NAME, is_state_database

LOCK = "state.lock"
#: How long the processes of a dead emulator may take to end.
EXIT_SECONDS = 15.0
_POLL_SECONDS = 0.01

#: Marks the directory as an emulator's. Written before anything else.
MARKER = "state.marker"
LOST = "lost+found"
REASONS = "reasons.txt"
_MARKER_TEXT = "The state directory of a caged-emulator. What is in it belongs together: move it as a whole.\n"
#: Entries that a directory may have before it becomes a state directory. They are not touched.
_IGNORED = frozenset({LOCK, LOST, ".gitignore", ".gitkeep"})


class StateDirectory:
    """A locked state directory.

    Attributes:
        path: The resolved path.
        lock: The descriptor that holds the lock; -1 after `close`.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def open(cls, state_dir: Path) -> StateDirectory:
        """Lock a directory, which is made if it does not exist. Blocks while processes of a killed emulator end.

        Raises:
            ConfigError: Another emulator uses it; it is not empty and not a state directory; or it has files but no
                database. Nothing in it has changed.
        """
        path = base_directory(state_dir)
        try:
            _check(path)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {path} as a state directory: {error.strerror}") from error
        try:
            _acquire(lock, path)
            _check(path)  # again, now that no other emulator can change it
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
        """Move an entry that has no record to lost+found, and append the reason to `reasons.txt` there.

        Returns:
            The new path.

        Raises:
            OSError: It cannot be moved, and is where it was.
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
        """Release the lock. Can be called repeatedly."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def _check(path: Path) -> None:
    """Raise ConfigError for a directory that cannot be used as a state directory. Changes nothing."""
    entries = sorted(name for name in os.listdir(path) if name not in _IGNORED)
    _require_kind(path, (LOCK, MARKER, NAME, f"{NAME}-wal", f"{NAME}-shm"), stat.S_ISREG, "a regular file")
    if entries and MARKER not in entries and not is_state_database(path / NAME):
        if NAME in entries and not (path / NAME).stat().st_size:
            _require_no_files(path)
        raise ConfigError(
            f"{path} is not empty and not a state directory of an emulator: it holds {_list_names(entries)}. Nothing"
            " was changed; name an empty directory, or one that does not exist"
        )
    if not entries and _read_lock_file(path) is None:
        raise ConfigError(f"{path} is not a state directory: its {LOCK} is not an emulator's; use an empty directory")
    _require_kind(path, ("sandboxes", "snapshots"), stat.S_ISDIR, "a directory")
    database = path / NAME
    if entries and not (database.is_file() and database.stat().st_size):
        _require_no_files(path)
    for target in (path, database):
        if target.exists() and not os.access(target, os.W_OK):
            raise ConfigError(f"cannot use {path} as a state directory: {target} is not writable for this user")


def _require_no_files(path: Path) -> None:
    """Raise ConfigError if there are files: a new database would not have records of them."""
    found = {name: len(_entries(path / name)) for name in ("sandboxes", "snapshots")}
    changes = path / f"{NAME}-wal"
    if not any(found.values()) and not (changes.is_file() and changes.stat().st_size):
        return
    raise ConfigError(
        f"{path} holds the files of {found['sandboxes']} sandboxes and {found['snapshots']} snapshots, but its"
        f" {NAME} is missing or empty. Nothing was changed. Put {NAME} back (and {changes.name}, if there was one)"
        f" to continue with them. To start with an empty state, use another directory, or rename this one, which keeps"
        f" all of its files: mv {path} {path}.old"
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


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name[:60]) for name in names[:3]) + more


def _read_lock_file(path: Path) -> Optional[str]:
    """Return the text of the lock file, "" if there is none; None if it is not one that an emulator writes."""
    try:
        with open(path / LOCK, "rb") as file:
            text = file.read(64).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    return text if not text.strip() or text.strip().isdigit() else None


def _acquire(lock: int, path: Path) -> None:
    """Wait for the lock as long as its holder is dead, for EXIT_SECONDS at most."""
    deadline = time.monotonic() + EXIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        holder = _read_holder(lock)
        if _is_alive(holder):
            raise ConfigError(
                f"the state directory {path} is in use by the emulator with pid {holder}; stop that one, or use"
                " another directory"
            )
        if time.monotonic() > deadline:
            raise ConfigError(
                f"the emulator that used the state directory {path} (pid {holder}) is dead, but processes of it did"
                f" not end within {EXIT_SECONDS:g} s; end them, or use another directory"
            )
        time.sleep(_POLL_SECONDS)


def _read_holder(lock: int) -> int:
    """Return the process id in the lock file; 0 if it is not written yet."""
    try:
        return int(os.pread(lock, 32, 0) or b"0")
    except ValueError:
        return 0


def _is_alive(pid: int) -> bool:
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
    return state not in "ZX"  # killed, and not yet waited for by its parent

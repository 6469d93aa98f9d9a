"""The directory that outlives its emulators, and the lock that lets one of them at a time have it.

The zygote and the inits hold the lock too: it is free when the last process of the emulator before is gone, however
that one ended.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from ..config import ConfigError
from ..rundir import base_directory

LOCK = "state.lock"
#: How long the processes of an emulator that is dead may take to go.
GOING_SECONDS = 15.0
_INTERVAL = 0.01


class StateDir:
    """`path` is resolved. `lock`: the descriptor that holds the directory."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def open(cls, state_dir: Path) -> StateDir:
        """Blocks while what an emulator that was killed has left goes away. ConfigError when another one has it."""
        path = base_directory(state_dir)
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {path} as a state directory: {error.strerror}") from error
        try:
            _hold(lock, path)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
            (path / "sandboxes").mkdir(mode=0o700, exist_ok=True)
            (path / "snapshots").mkdir(mode=0o700, exist_ok=True)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    def close(self) -> None:
        """Harmless to repeat."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


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

"""The directory in which one emulator keeps its sandboxes, and the removal of those that were left behind.

An emulator holds a lock on a file in its directory as long as it lives; the kernel drops the lock however it
dies. A directory whose lock is free belongs to nobody any more, and the next emulator removes it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from .cage import disk
from .cage.inside import cgroups
from .cage.paths import usable_base
from .config import ConfigError

_PREFIX = "caged-run-"
_NEW = "caged-new-"
_LOCK = "lock"
_SIGNATURE = b"The directory of a running caged-emulator.\n"
_HALF_MADE_SECONDS = 60.0


class RunDirectory:
    """Made by `create`, ended by `remove`. `path` is resolved and safe to stand in a shell word."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, state_dir: Optional[Path]) -> RunDirectory:
        base = base_directory(state_dir)
        sweep(base)
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=base))
        # The name that a sweep looks at appears only when the lock is held.
        lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(lock, _SIGNATURE)
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = made.with_name(_PREFIX + made.name[len(_NEW) :])
        made.rename(path)
        (path / "sandboxes").mkdir()
        (path / "snapshots").mkdir()
        return cls(path, lock)

    def remove(self) -> None:
        """Blocks. Harmless when the directory is gone already."""
        _remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove(path: Path) -> None:
    """The lock goes last: what has none was not an emulator's."""
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name == _LOCK:
            continue
        below = path / name
        if below.is_dir() and not below.is_symlink():
            disk.remove(below)
        else:
            below.unlink(missing_ok=True)
    disk.remove(path)


def base_directory(state_dir: Optional[Path]) -> Path:
    if state_dir is not None:
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {state_dir} for the sandboxes' files: {error.strerror}") from error
        base = state_dir.resolve()
        if not usable_base(str(base)):
            raise ConfigError(f"{base} cannot hold sandboxes: use a path without spaces and shell characters")
        return base
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        base = Path(candidate).resolve()
        if usable_base(str(base)) and os.access(base, os.W_OK | os.X_OK):
            return base
    raise ConfigError("no temporary directory without spaces in its path; name one with state_dir")


def sweep(base: Path) -> None:
    """Removes the directories of emulators that are dead. Another user's are left alone."""
    for path in _ours(base):
        try:
            _sweep_one(path)
        except OSError:
            pass  # it cannot be removed, or is being removed by somebody else: no reason not to start


def _sweep_one(path: Path) -> None:
    """A directory is removed only when it is an emulator's beyond doubt: it has a lock file as one makes it. One that
    is empty is no loss."""
    if time.time() - path.stat().st_mtime > _HALF_MADE_SECONDS and not os.listdir(path):
        path.rmdir()
        return
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if os.read(lock, len(_SIGNATURE) + 1) != _SIGNATURE:
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        cgroups.remove_all(str(path))
        _remove(path)
    except BlockingIOError:
        pass  # alive
    finally:
        os.close(lock)


def _ours(base: Path) -> Iterator[Path]:
    for path in base.glob("caged-*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        named = path.name.startswith((_PREFIX, _NEW))
        if named and status.st_uid == os.geteuid() and path.is_dir() and not path.is_symlink():
            yield path

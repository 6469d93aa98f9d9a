"""The directory in which an emulator keeps its sandboxes, and the removal of those that dead emulators have left.

An emulator holds a lock on a file in its directory as long as it lives; the kernel releases the lock however it
dies. The next emulator removes directories whose lock is free.
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
#: A directory that is older, and is empty or has an empty lock file, was abandoned while it was made.
_UNFINISHED_SECONDS = 60.0


class RunDirectory:
    """The locked directory of a running emulator.

    Attributes:
        path: The resolved path, which has only characters that need no quoting in a shell.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, state_dir: Optional[Path]) -> RunDirectory:
        """Make a directory, after removing those of dead emulators beside it.

        Args:
            state_dir: The directory to make it in; None means the directory for temporary files.

        Raises:
            ConfigError: No suitable directory is writable.
        """
        base = base_directory(state_dir)
        sweep(base)
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=base))
        # The name that `sweep` looks for appears only when the lock is held.
        lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # The signature after the lock: another start would take a directory with a free lock for a dead emulator's.
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, _SIGNATURE)
        path = made.with_name(_PREFIX + made.name[len(_NEW) :])
        made.rename(path)
        (path / "sandboxes").mkdir()
        (path / "snapshots").mkdir()
        return cls(path, lock)

    def remove(self) -> None:
        """Remove the directory, if it still exists, and release the lock. Blocks."""
        _remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove(path: Path) -> None:
    """Remove a directory, its lock file last: without one it would not be recognised as an emulator's."""
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
    """Return the directory in which emulators keep their files.

    Args:
        state_dir: A directory, which is made if it does not exist; None means the directory for temporary files.

    Raises:
        ConfigError: It cannot be made, or its path has characters that need quoting in a shell.
    """
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
    raise ConfigError(
        "there is no writable directory for temporary files without spaces in its path; give one as state_dir"
    )


def sweep(base: Path) -> None:
    """Remove the directories of dead emulators, except for those of other users."""
    for path in _own_directories(base):
        try:
            _sweep_one(path)
        except OSError:
            pass  # it cannot be removed, or another emulator is removing it; this emulator can start


def _sweep_one(path: Path) -> None:
    """Remove a directory if it is empty, or if its lock file is one that an emulator writes and the lock is free."""
    is_old = time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS
    if is_old and not os.listdir(path):
        path.rmdir()
        return
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        content = os.read(lock, len(_SIGNATURE) + 1)
        if content != _SIGNATURE and not (is_old and not content and os.listdir(path) == [_LOCK]):
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        cgroups.remove_all(str(path))
        _remove(path)
    except BlockingIOError:
        pass  # its emulator is alive
    finally:
        os.close(lock)


def _own_directories(base: Path) -> Iterator[Path]:
    for path in base.glob("caged-*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        has_prefix = path.name.startswith((_PREFIX, _NEW))
        if has_prefix and status.st_uid == os.geteuid() and path.is_dir() and not path.is_symlink():
            yield path

"""How an emulator lets itself be found by other programs of the same user: one file for each, its log beside it.

The file holds keys, so it is the user's alone. Its emulator holds a lock on it as long as it lives; the kernel drops
the lock however it dies. A file whose lock is free belongs to nobody any more, and the next look (`running.py`) removes
it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from .logfile import LogFile

#: Where locators are, and nowhere else, when it is set.
DIRECTORY_VARIABLE = "CAGED_EMULATOR_LOCATOR_DIR"


class Locator:
    """Made by `create` before the emulator, told by `publish` once it answers, ended by `remove`."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.pid = pid
        self.started = process_start(pid)
        self.path = directory / f"{pid}-{self.started or time.time_ns()}.json"
        self.log = LogFile(self.path.with_suffix(".log"))
        self._lock = -1

    @classmethod
    def create(cls, pid: int) -> Locator:
        """For an emulator that `pid` answers for. OSError, with a text for its user, when there is no place for it."""
        refused = []
        for directory, make_parents in places():
            try:
                directory.mkdir(mode=0o700, parents=make_parents, exist_ok=True)
                if directory.stat().st_uid != os.geteuid():
                    raise PermissionError(0, "it belongs to another user")
                return cls(directory, pid)
            except OSError as error:
                refused.append(f"{directory}: {error.strerror}")
        raise OSError("; ".join(refused) or "there is no home directory")

    def publish(self, **facts: Any) -> None:
        """Lets the emulator be found. OSError when the file cannot be written."""
        content = {"pid": self.pid, "started": self.started, **facts, "log_file": str(self.log.path)}
        temporary = self.path.with_suffix(".new")
        self._lock = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # The name that a look looks at appears only when the lock is held and everything is in the file.
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._lock, (json.dumps(content) + "\n").encode())
        temporary.rename(self.path)

    def remove(self) -> None:
        """Harmless to repeat."""
        for path in (self.path, self.path.with_suffix(".new")):
            path.unlink(missing_ok=True)
        self.log.remove()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def variables(base_url: str, api_key: str, admin_key: str) -> dict[str, str]:
    """What a program has to have in its environment to use an emulator."""
    return {
        "CAGED_BASE_URL": base_url,
        "CAGED_API_KEY": api_key,
        "CAGED_EMULATOR_URL": base_url,
        "CAGED_EMULATOR_ADMIN_KEY": admin_key,
    }


def process_start(pid: int) -> Optional[int]:
    """When a process began, in the kernel's clock ticks; None when it has ended, or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def places() -> Iterator[tuple[Path, bool]]:
    """Where locators may be, best first, and whether the directories above may be made. The session's directory may
    be known to one of a user's shells and not to another: a look looks everywhere."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        yield Path(named).absolute(), True
        return
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session) and _is_ours(session):
        yield Path(session) / "caged", False
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    if os.path.isabs(cache):
        yield Path(cache) / "caged" / "emulators", True


def _is_ours(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == os.geteuid()  # sudo may keep the variable of another user
    except OSError:
        return False

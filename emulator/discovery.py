"""How a running emulator is found by other programs of the same user: it publishes a locator, a small file.

A locator holds keys, so it is readable by its user alone; the emulator's log lies next to it. The emulator holds a lock
on its locator as long as it lives, which the kernel releases however it ends. A locator whose lock is free is left from
an emulator that was killed, and `find_running` removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .logfile import LogFile, older

#: When this environment variable is set, it names the only directory of locators.
DIRECTORY_VARIABLE = "CAGED_EMULATOR_LOCATOR_DIR"
#: A log or a half-written locator without its emulator is removed when it is older than this.
_UNPUBLISHED_SECONDS = 60.0


class Locator:
    """The file by which an emulator can be found: `create` before the emulator starts, `publish` once it answers,
    `remove` at its end."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.pid = pid
        self.started = process_start(pid)
        self.path = directory / f"{pid}-{self.started or time.time_ns()}.json"
        self.log = LogFile(self.path.with_suffix(".log"))
        self._lock = -1

    @classmethod
    def create(cls, pid: int) -> Locator:
        """Choose the directory and open the log.

        Args:
            pid: The process to signal in order to stop the emulator.

        Raises:
            OSError: No directory can be used; the text, which is for the user, gives the reason for each.
        """
        failures = []
        for directory, make_parents in locator_directories():
            try:
                directory.mkdir(mode=0o700, parents=make_parents, exist_ok=True)
                if directory.stat().st_uid != os.geteuid():
                    raise PermissionError(0, "it belongs to another user")
                return cls(directory, pid)
            except OSError as error:
                failures.append(f"{directory}: {error.strerror}")
        raise OSError("; ".join(failures) or "there is no home directory")

    def publish(self, **facts: Any) -> None:
        """Make the emulator discoverable.

        Args:
            facts: The fields of `DiscoveredEmulator` that this object does not know by itself.

        Raises:
            OSError: The file cannot be written.
        """
        content = {"pid": self.pid, "started": self.started, **facts, "log_file": str(self.log.path)}
        temporary = self.path.with_suffix(".new")
        self._lock = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # The name that `find_running` reads appears only when the lock is held and the content is complete.
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._lock, (json.dumps(content) + "\n").encode())
        temporary.rename(self.path)

    def remove(self) -> None:
        """Remove the file and the log. Harmless to repeat."""
        for path in (self.path, self.path.with_suffix(".new")):
            path.unlink(missing_ok=True)
        self.log.remove()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@dataclass(frozen=True)
class DiscoveredEmulator:
    """An emulator of this user that runs on this machine, as its locator describes it.

    Attributes:
        path: The locator.
        pid: The process to signal.
        started: When that process started, in the kernel's clock ticks; None where there is no /proc.
        kind: `serve` or `exec`.
        since: When the emulator began to answer, in seconds since 1970.
        run_dir: The directory that is removed with the emulator; None when it has a state directory.
    """

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
    def is_alive(self) -> bool:
        """Whether the emulator still holds its lock."""
        lock = _open_own(self.path)
        if lock is None:
            return False
        try:
            return _is_locked(lock)
        finally:
            os.close(lock)

    @property
    def process_runs(self) -> bool:
        """Whether `pid` still is the same process."""
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
        """The environment variables of a program that uses this emulator."""
        return environment_variables(self.base_url, self.api_key, self.admin_key)


def find_running() -> list[DiscoveredEmulator]:
    """Return the user's running emulators, oldest first, and remove the files of those that were killed."""
    found = []
    for directory, _make_parents in locator_directories():
        for path in sorted(_list(directory)):
            if path.suffix == ".json":
                emulator = _read(path)
                if emulator is not None:
                    found.append(emulator)
            elif path.suffix in (".log", ".new"):
                _remove_unpublished(path)
    return sorted(found, key=lambda emulator: emulator.since)


def describe_directories() -> str:
    """The directories that `find_running` searches, for an error's text."""
    listed = " and ".join(str(directory) for directory, _make_parents in locator_directories())
    return listed or "no directory: there is no home"


def environment_variables(base_url: str, api_key: str, admin_key: str) -> dict[str, str]:
    """The environment variables of a program that uses an emulator."""
    return {
        "CAGED_BASE_URL": base_url,
        "CAGED_API_KEY": api_key,
        "CAGED_EMULATOR_URL": base_url,
        "CAGED_EMULATOR_ADMIN_KEY": admin_key,
    }


def process_start(pid: int) -> Optional[int]:
    """When a process started, in the kernel's clock ticks; None when it has ended, or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def locator_directories() -> Iterator[tuple[Path, bool]]:
    """The directories of locators, best first, each with whether missing parents may be made.

    One of a user's shells may know the session's directory and another may not, so a search reads all of them.
    """
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        yield Path(named).absolute(), True
        return
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session) and _is_own_directory(session):
        yield Path(session) / "caged", False
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    if os.path.isabs(cache):
        yield Path(cache) / "caged" / "emulators", True


def _is_own_directory(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == os.geteuid()  # sudo may keep the variable of another user
    except OSError:
        return False


def _list(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _read(path: Path) -> Optional[DiscoveredEmulator]:
    """The emulator of a locator; None, and the locator removed, when it has ended."""
    lock = _open_own(path)
    if lock is None:
        return None
    try:
        if _is_locked(lock):
            with open(lock, encoding="utf-8", closefd=False) as file:
                return _decode(path, json.load(file))
        for leftover in (path, path.with_suffix(".log"), older(path.with_suffix(".log"))):
            leftover.unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not a locator, or it cannot be removed
    finally:
        os.close(lock)
    return None


def _open_own(path: Path) -> Optional[int]:
    """Open a file that belongs to this user. A shell may evaluate what a locator holds, so others' are ignored."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if os.fstat(file).st_uid == os.geteuid():
        return file
    os.close(file)
    return None


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two searches do not see each other's lock
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


def _remove_unpublished(path: Path) -> None:
    """Remove a file of an emulator that was killed before it published its locator, or while it removed it."""
    try:
        is_old = time.time() - path.stat().st_mtime > _UNPUBLISHED_SECONDS
        if is_old and path.stat().st_uid == os.geteuid() and not path.with_suffix(".json").exists():
            path.unlink()
            older(path).unlink(missing_ok=True)
    except OSError:
        pass

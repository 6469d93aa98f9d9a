"""How a running emulator is found by other programs of the same user: one file per emulator, its log beside it.

The file holds keys, so it is the user's alone. Its emulator holds a lock on it as long as it lives; the kernel drops
the lock however it dies. A file whose lock is free belongs to nobody any more, and the next look removes it.
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

#: Where locators are, and nowhere else, when it is set.
DIRECTORY_VARIABLE = "CAGED_EMULATOR_LOCATOR_DIR"
_HALF_MADE_SECONDS = 60.0


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
        for directory, make_parents in _places():
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


@dataclass(frozen=True)
class Found:
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


def variables(base_url: str, api_key: str, admin_key: str) -> dict[str, str]:
    return {
        "CAGED_BASE_URL": base_url,
        "CAGED_API_KEY": api_key,
        "CAGED_EMULATOR_URL": base_url,
        "CAGED_EMULATOR_ADMIN_KEY": admin_key,
    }


def running() -> list[Found]:
    """The user's emulators that run now, oldest first. What dead ones left is removed on the way."""
    found = []
    for directory, _make_parents in _places():
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
    return " and ".join(str(directory) for directory, _make_parents in _places()) or "no directory: there is no home"


def process_start(pid: int) -> Optional[int]:
    """When a process began, in the kernel's clock ticks; None when it has ended, or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _places() -> Iterator[tuple[Path, bool]]:
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


def _listing(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _look(path: Path) -> Optional[Found]:
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


def _decode(path: Path, content: Mapping[str, Any]) -> Found:
    return Found(
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

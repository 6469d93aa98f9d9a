"""Ledgers of the pytest plugin's live runs: a file per run with what it created and has not destroyed yet.

The module is part of the SDK because the plugin writes ledgers, `caged-emulator sweep` reads them, and neither may
depend on the other. A file holds one JSON object per line; every process of a run appends to it and holds a shared lock
on it, which the kernel releases however the process ends. It holds no API key, only a fingerprint of the key.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

#: An environment variable of every sandbox that a run creates; its value is the run's id.
VARIABLE = "CAGED_RUN_ID"
#: The description of a snapshot that was created without one is this and the id of the run.
DESCRIPTION = "caged-run:"
#: When this environment variable is set, it names the directory of the ledgers.
DIRECTORY_VARIABLE = "CAGED_RUNS_DIR"
KINDS = ("snapshot", "sandbox", "key")  # in the order in which they are destroyed
_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


def directory() -> Path:
    """The directory of the ledgers."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "caged" / "runs"


def fingerprint(api_key: str) -> str:
    """A text that differs between API keys and does not reveal them."""
    return hashlib.sha256(f"caged-run {api_key}".encode()).hexdigest()[:16]


class Ledger:
    """A run's ledger, open for this process.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, run: str, base_url: str, api_key: str) -> None:
        self._path = _path(run)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _open_locked(self._path)
        self._tokens = 0
        began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        key = fingerprint(api_key)
        self._write(what="begin", run=run, base_url=base_url, key=key, began=began)

    def creating(self, kind: str) -> str:
        """Note that something is about to be created. Returns a token for `created` or `refused`."""
        self._tokens += 1
        token = f"{os.getpid()}-{self._tokens}"
        self._write(what="creating", kind=kind, token=token)
        return token

    def created(self, kind: str, id: str, token: str = "") -> None:
        """Note that it was created."""
        self._write(what="created", kind=kind, id=id, token=token)

    def refused(self, token: str) -> None:
        """Note that it was not created."""
        self._write(what="refused", token=token)

    def gone(self, kind: str, id: str) -> None:
        """Note that it was destroyed."""
        self._write(what="gone", kind=kind, id=id)

    def close(self) -> None:
        """Close the file; the run's last process removes it when nothing is left. Harmless to repeat."""
        file, self._file = self._file, -1
        if file < 0:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # another process of the run lives, and does this at its end
        else:
            remove_if_empty(self._path)
        os.close(file)

    def _write(self, **line: str) -> None:
        if self._file >= 0:
            os.write(self._file, (json.dumps(line) + "\n").encode())  # one write: whole, whoever else writes


def _path(run: str) -> Path:
    if not _ID.fullmatch(run) or run.startswith("."):
        raise ValueError(f"{run!r} is not the id of a run; ids look like run_0123456789abcdef")
    return directory() / f"{run}.jsonl"


def _open_locked(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(file, fcntl.LOCK_SH)
        try:
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        os.close(file)  # it was removed between the two: by a process of the run that was the last one until now


@dataclass
class Run:
    """A live run, as its ledger describes it.

    Attributes:
        path: The ledger; None for a run that has none here.
        key: The fingerprint of the API key.
        running: Whether a process of the run still lives.
        held: (kind, id) of what was created and not destroyed, oldest first.
        unanswered: How many requests to create something were never answered.
    """

    id: str
    path: Optional[Path]
    base_url: str = ""
    key: str = ""
    began: str = ""
    running: bool = False
    held: list[tuple[str, str]] = field(default_factory=list)
    unanswered: int = 0

    @property
    def empty(self) -> bool:
        return not self.held and not self.unanswered


def runs() -> list[Run]:
    """The runs that have a ledger, oldest first."""
    try:
        paths = sorted(directory().glob("*.jsonl"))
    except OSError:
        return []
    found = [run for run in map(_read, paths) if run is not None]
    return sorted(found, key=lambda run: run.began)


def find(id: str) -> Optional[Run]:
    """The run with an id; None when it has no ledger here.

    Raises:
        ValueError: It is not the id of a run.
    """
    return _read(_path(id))


def note_removed(run: Run, kind: str, id: str) -> None:
    """Note that something was destroyed after the run."""
    assert run.path is not None
    file = os.open(run.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(file, (json.dumps({"what": "gone", "kind": kind, "id": id}) + "\n").encode())
    finally:
        os.close(file)


def remove_if_empty(path: Optional[Path], unanswered: bool = False) -> None:
    """Remove a ledger that holds nothing any more.

    Args:
        path: The file; None does nothing.
        unanswered: Remove it although some creations were never answered.
    """
    run = _read(path) if path is not None else None
    if path is not None and run is not None and not run.held and (unanswered or not run.unanswered):
        path.unlink(missing_ok=True)


def _read(path: Path) -> Optional[Run]:
    """Read a ledger; None when there is no such file, or it belongs to another user."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(file, encoding="utf-8", errors="replace") as text:
        if os.fstat(file).st_uid != os.geteuid():
            return None
        run = Run(path.stem, path, running=_locked(file))
        held: dict[tuple[str, str], None] = {}
        open_tokens: set[str] = set()
        for line in _lines(text):
            what, kind, id = line.get("what"), str(line.get("kind")), str(line.get("id"))
            if what == "begin" and not run.began:
                run.base_url, run.key, run.began = (str(line.get(name)) for name in ("base_url", "key", "began"))
            elif what == "creating":
                open_tokens.add(str(line.get("token")))
            elif what == "refused":
                open_tokens.discard(str(line.get("token")))
            elif what == "created" and kind in KINDS:
                open_tokens.discard(str(line.get("token")))
                held[kind, id] = None
            elif what == "gone":
                held.pop((kind, id), None)
    run.held, run.unanswered = list(held), len(open_tokens)
    return run


def _lines(text: Any) -> Iterator[dict[str, Any]]:
    for raw in text:
        try:
            line = json.loads(raw)
        except ValueError:
            continue  # a line that is cut, because the disk was full
        if isinstance(line, dict):
            yield line


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False

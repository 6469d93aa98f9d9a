"""Which files of a workspace were changed between two scans, with the texts before and after.

A scan is bounded in entries and time, because it delays the answer of the command before which and after which it
takes place. Directories are walked by descriptors and links are not followed, as in `safe_files.py`: a command may
replace any of them meanwhile.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Optional

from .bytecode import CACHE
from .paths import WORKSPACE, Layout
from .safe_files import TEMPORARY

#: Most entries of one scan.
ENTRIES = 2000
#: Most seconds of processor time of one scan.
SECONDS = 0.020
#: Most seconds of one scan, when the thread has to wait for a processor or a disk.
LONGEST_SECONDS = 0.2
#: Most levels of directories that are entered.
DEPTH = 32
#: Most bytes of a text that is kept.
TEXT_BYTES = 64 * 1024
#: Most bytes of all texts of one scan.
TEXTS_BYTES = 2 * 1024**2
#: Most changes that one comparison lists.
CHANGES = 200
#: Most characters of their texts.
CHANGES_CHARACTERS = 256 * 1024
#: Directories that are not scanned.
SKIPPED = (".git", "node_modules", CACHE)
#: A file that was changed so shortly before a scan may be changed again without another time.
_SETTLED_NS = 20_000_000
#: A scan that took less is repeated on the event loop: a thread would take longer.
_QUICK_SECONDS = 0.001
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)
_TOO_LONG = f"it has more than {TEXT_BYTES // 1024} KiB"
_TOO_MUCH = f"the texts of the workspace have more than {TEXTS_BYTES // 1024**2} MiB"
_NO_TIME = "there was no time to read it"
_NOT_TEXT, _LINK, _NOT_A_FILE, _NOT_READ = "it is not text", "it is a link", "it is not a regular file", "not readable"
_LEFT_OUT = f"the changes have more than {CHANGES_CHARACTERS // 1024} KiB of texts"

Change = Literal["added", "changed", "removed"]


@dataclass(frozen=True)
class FileState:
    """A file at one scan.

    Attributes:
        size: Bytes.
        mtime_ns: When it was changed.
        inode: Its number.
        text: Its content, where that is kept.
        note: Why not.
        is_settled: A later change would change the time.
    """

    size: int
    mtime_ns: int
    inode: int
    text: Optional[str] = None
    note: str = ""
    is_settled: bool = True

    def is_same(self, other: FileState) -> bool:
        """Whether the content is that of the other, as far as it is known."""
        if self.text is not None and other.text is not None:
            return self.text == other.text
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)  # a restore makes files with other numbers


@dataclass
class Scan:
    """The files of a workspace at one time, by path.

    Attributes:
        notes: What was not scanned.
        is_complete: Whether all files were, apart from those in skipped directories.
        seconds: How long it took.
    """

    files: dict[str, FileState] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_complete: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class FileChange:
    """A file that was changed between two scans.

    Attributes:
        path: Its path in the sandbox.
        change: What happened to it.
        before, after: Its text, where there was one and it is known.
        note: Why a text is missing.
    """

    path: str
    change: Change
    before: Optional[str] = None
    after: Optional[str] = None
    note: str = ""


class FileChanges:
    """Scans the workspace of one sandbox. Its texts are not read again as long as a file is the same."""

    def __init__(self, layout: Layout) -> None:
        self._root = layout.roots()["workspace"]
        self._last = Scan()

    @property
    def is_quick(self) -> bool:
        """Whether a scan is expected to take well under a millisecond."""
        return 0 < self._last.seconds < _QUICK_SECONDS

    def scan(self) -> Scan:
        """Scan all files. Blocks, about SECONDS, LONGEST_SECONDS at most."""
        self._last = _Walk(self._root, self._last.files).run()
        return self._last


class _Walk:
    """One scan."""

    def __init__(self, root: str, known: dict[str, FileState]) -> None:
        self._root = root
        self._known = known
        self._scan = Scan()
        self._begun = time.perf_counter()
        self._worked = time.thread_time()
        self._entries = 0
        self._bytes = 0
        self._skipped: set[str] = set()

    def _is_out_of_time(self, part: float) -> bool:
        """Whether so large a part of the time is over."""
        if time.thread_time() - self._worked > SECONDS * part:
            return True
        return time.perf_counter() - self._begun > LONGEST_SECONDS * part

    def run(self) -> Scan:
        scan = self._scan
        try:
            fd = os.open(self._root, _DIRECTORY)
        except OSError:
            scan.is_complete = False
            scan.notes.append(f"{WORKSPACE} could not be scanned")
        else:
            self._enter(fd, WORKSPACE, 0)
        if self._skipped:
            scan.notes.append(f"not scanned: {', '.join(sorted(self._skipped))}")
        scan.seconds = time.perf_counter() - self._begun
        return scan

    def _enter(self, fd: int, path: str, depth: int) -> bool:
        """Scan a directory, and close its descriptor. False: the bounds are reached."""
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if not self._has_room():
                        return False
                    if not TEMPORARY.match(entry.name) and not self._entry(fd, entry, f"{path}/{entry.name}", depth):
                        return False
        except OSError:
            self._cut(f"{_shown(path)} could not be scanned")
        finally:
            os.close(fd)
        return True

    def _entry(self, directory: int, entry: os.DirEntry[str], path: str, depth: int) -> bool:
        self._entries += 1
        try:
            if not entry.is_dir(follow_symlinks=False):
                self._scan.files[path] = self._file(directory, entry.name, path, entry.stat(follow_symlinks=False))
                return True
        except OSError:
            return True  # it was removed meanwhile
        if entry.name in SKIPPED:
            self._skipped.add(entry.name)
            return True
        if depth == DEPTH:
            self._cut(f"not scanned: directories more than {DEPTH} deep")
            return True
        try:
            below = os.open(entry.name, _DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            return True
        except OSError:
            self._cut(f"{_shown(path)} could not be scanned")
            return True
        return self._enter(below, path, depth + 1)

    def _has_room(self) -> bool:
        if self._entries >= ENTRIES:
            self._cut(f"only {ENTRIES:,} entries of {WORKSPACE} were scanned")
            return False
        if self._is_out_of_time(1.0):
            self._cut(f"{WORKSPACE} was scanned for {SECONDS * 1000:g} ms only")
            return False
        return True

    def _cut(self, note: str) -> None:
        self._scan.is_complete = False
        if note not in self._scan.notes:
            self._scan.notes.append(note)

    def _file(self, directory: int, name: str, path: str, status: os.stat_result) -> FileState:
        known = self._known.get(path)
        identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        if known is not None and known.is_settled and (known.size, known.mtime_ns, known.inode) == identity:
            state = known
        else:
            is_settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
            state = FileState(*identity, is_settled=is_settled)
            if self._is_out_of_time(0.5):
                return replace(state, note=_NO_TIME, is_settled=False)
            text, note = _content(directory, name, status, TEXTS_BYTES - self._bytes)
            state = replace(state, text=text, note=note)
        if state.text is not None:
            if self._bytes + state.size > TEXTS_BYTES:
                return replace(state, text=None, note=_TOO_MUCH, is_settled=False)
            self._bytes += state.size
        return state


def _content(directory: int, name: str, status: os.stat_result, room: int) -> tuple[Optional[str], str]:
    """The text of a file, or None and why it is not kept."""
    if stat.S_ISLNK(status.st_mode):
        return None, _LINK
    if not stat.S_ISREG(status.st_mode):
        return None, _NOT_A_FILE
    if status.st_size > TEXT_BYTES:
        return None, _TOO_LONG
    if status.st_size > room:
        return None, _TOO_MUCH
    try:
        fd = os.open(name, _FILE, dir_fd=directory)
    except OSError:
        return None, _NOT_READ
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_ino != status.st_ino:
            return None, _NOT_READ
        raw = os.read(fd, TEXT_BYTES + 1)
    except OSError:
        return None, _NOT_READ
    finally:
        os.close(fd)
    if len(raw) > TEXT_BYTES:
        return None, _TOO_LONG
    try:
        return (None, _NOT_TEXT) if b"\0" in raw else (raw.decode("utf-8"), "")
    except UnicodeDecodeError:
        return None, _NOT_TEXT


def compare(before: Scan, after: Scan) -> tuple[list[FileChange], list[str]]:
    """Return the changes between two scans, by path, and what is not known about them."""
    notes = list(dict.fromkeys([*before.notes, *after.notes]))
    changes: list[FileChange] = []
    characters = 0
    for change in _changes(before, after):
        if len(changes) == CHANGES:
            notes.append(f"more than {CHANGES} files were changed; the others are not listed")
            break
        texts = sum(len(text) for text in (change.before, change.after) if text is not None)
        if characters + texts > CHANGES_CHARACTERS:
            change = replace(change, before=None, after=None, note=_LEFT_OUT)
        else:
            characters += texts
        changes.append(change)
    return changes, notes


def _changes(before: Scan, after: Scan) -> Iterator[FileChange]:
    for path in sorted({*before.files, *after.files}):
        old, new = before.files.get(path), after.files.get(path)
        if old is not None and new is not None:
            if old is not new and not old.is_same(new):
                yield FileChange(_shown(path), "changed", old.text, new.text, new.note or old.note)
        elif new is not None and before.is_complete:
            yield FileChange(_shown(path), "added", None, new.text, new.note)
        elif old is not None and after.is_complete:
            yield FileChange(_shown(path), "removed", old.text, None, old.note)


def _shown(path: str) -> str:
    """A path as valid text: a name may be any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")

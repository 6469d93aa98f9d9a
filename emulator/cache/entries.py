"""One entry of the cache: a directory with the tree itself, its description, its manifest and its lock.

    <digest>.<token>/content       the tree
    <digest>.<token>/entry.json    what it is
    <digest>.<token>/manifest      the lines of `manifest.Manifest`
    <digest>.<token>/lock          held shared while a sandbox uses the tree, and alone by who removes it

It appears under its name complete, by a rename, and is never changed: it is only renamed again to be removed. The time
of the lock file is the time of the last use.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from . import manifest
from .locks import FileLock

#: Part of every key: a change of the format makes earlier entries unused, and so the first to be removed.
FORMAT = 1
CONTENT, _DESCRIPTION, _MANIFEST, LOCK = "content", "entry.json", "manifest", "lock"
_DESCRIPTION_BYTES = 1024 * 1024
#: How far in the future an entry may have been made: the clock may have been set back since.
_CLOCK_SECONDS = 86400
_MOST_SIZE = 1 << 60


class EntryDamaged(Exception):
    """An entry is not as it was published; the text says what differs."""


@dataclass(frozen=True)
class Key:
    """What identifies an entry.

    Attributes:
        kind: The kind of entry, such as `packages`.
        name: What it is called in lists.
        parts: Everything that its content depends on.
    """

    kind: str
    name: str
    parts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        text = json.dumps([FORMAT, self.kind, self.parts], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Description:
    """What `entry.json` holds.

    Attributes:
        kind, name, parts: Those of the key.
        created_at: Seconds since 1970.
        size: Bytes on disk.
        files: Entries of the tree.
        manifest: The digest of the manifest.
        details: What its builder wants to be remembered.
    """

    kind: str
    name: str
    parts: dict[str, Any]
    created_at: float
    size: int
    files: int
    manifest: str
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, entry: Path) -> Description:
        """Read it.

        Raises:
            EntryDamaged: It is missing, or is not what an emulator writes.
        """
        try:
            with open(entry / _DESCRIPTION, "rb", opener=_without_links) as file:
                fields = json.loads(file.read(_DESCRIPTION_BYTES))
            description = cls(**fields)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise EntryDamaged(f"{_DESCRIPTION} cannot be read: {error}") from error
        types = cls.__annotations__
        for name, kinds in (("str", str), ("float", (int, float)), ("int", int)):
            for one in (one for one in types if types[one] == name):
                if not isinstance(getattr(description, one), kinds):
                    raise EntryDamaged(f"{_DESCRIPTION} has a wrong {one}")
        if not isinstance(description.parts, dict) or not isinstance(description.details, dict):
            raise EntryDamaged(f"{_DESCRIPTION} has wrong parts")
        # Comparisons with NaN are false. Beyond these bounds, neither the age nor the time can be calculated.
        if not 0 <= description.created_at <= time.time() + _CLOCK_SECONDS:
            raise EntryDamaged(f"{_DESCRIPTION} has a wrong created_at")
        if not 0 <= description.size <= _MOST_SIZE or not 0 <= description.files <= _MOST_SIZE:
            raise EntryDamaged(f"{_DESCRIPTION} has a wrong size")
        return description


def digest_of(name: str) -> str:
    """Return the digest in the name of an entry's directory."""
    return name.partition(".")[0]


def time_of_publication(entry: Path) -> int:
    """Return when an entry was made, in nanoseconds since 1970; 0 for one without a description."""
    try:
        return os.lstat(entry / _DESCRIPTION).st_mtime_ns
    except OSError:
        return 0


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def complete(entry: Path, key: Key, created_at: float, details: Mapping[str, Any]) -> Description:
    """Write everything but the content, which is there already. Blocks.

    Raises:
        OSError: It cannot be read or written.
    """
    described = manifest.describe(entry / CONTENT)
    description = Description(
        key.kind,
        key.name,
        dict(key.parts),
        created_at,
        described.size,
        len(described.lines),
        described.digest,
        dict(details),
    )
    lines = "\n".join(described.lines)
    (entry / _MANIFEST).write_text(lines, encoding="utf-8", errors="surrogateescape")
    (entry / _DESCRIPTION).write_text(json.dumps(vars(description)), encoding="ascii")
    os.close(os.open(entry / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return description


def check(entry: Path, key: Key) -> Description:
    """Check that an entry is this user's, and exactly as it was published. Blocks.

    Raises:
        EntryDamaged: It is not.
    """
    for path in (entry, entry / CONTENT, entry / _DESCRIPTION, entry / _MANIFEST, entry / LOCK):
        _check_owner(path)
    description = Description.read(entry)
    made_from = Key(description.kind, description.name, description.parts).digest
    if made_from != key.digest or digest_of(entry.name) != key.digest:
        raise EntryDamaged(f"{_DESCRIPTION} belongs to another entry")
    try:
        described = manifest.describe(entry / CONTENT)
    except OSError as error:
        raise EntryDamaged(f"it cannot be read: {error}") from error
    if described.digest != description.manifest:
        raise EntryDamaged(f"{_difference(entry, described)} is not as it was when the entry was made")
    return description


def _check_owner(path: Path) -> None:
    """Check what is around the content, in which files may belong to others, such as the user of a service."""
    try:
        status = os.lstat(path)
    except OSError as error:
        raise EntryDamaged(f"{path.name} cannot be read: {error.strerror}") from error
    if status.st_uid != os.geteuid():
        raise EntryDamaged(f"{path.name} belongs to user {status.st_uid}")
    if os.path.islink(path):
        raise EntryDamaged(f"{path.name} is a link")
    if status.st_mode & 0o022 and path.name != CONTENT:
        raise EntryDamaged(f"{path.name} can be changed by other users")


def _difference(entry: Path, found: manifest.Manifest) -> str:
    try:
        with open(entry / _MANIFEST, encoding="utf-8", errors="surrogateescape", opener=_without_links) as file:
            expected = manifest.Manifest(tuple(file.read().split("\n")), 0)
    except OSError:
        return "a file"
    return found.difference(expected) or "a file"


class UsedEntry:
    """An entry that is in use: it is not removed before `release`.

    Attributes:
        content: The tree, which must not be changed.
        description: What it is.
    """

    def __init__(self, entry: Path, description: Description, lock: FileLock) -> None:
        self.content = entry / CONTENT
        self.description = description
        self._lock: Optional[FileLock] = lock

    @property
    def is_in_place(self) -> bool:
        """Whether its path still leads to it. Another emulator that found it damaged has moved it away."""
        return self._lock is not None and self._lock.is_of(self.content.parent / LOCK) and self.content.is_dir()

    def release(self) -> None:
        """Allow its removal. May be repeated."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

"""The cache of one user, which any number of emulators use at the same time. All functions block.

    entries/<digest>.<token>    published entries (`entries.py`)
    building/<digest>.<token>   entries that are being made, or removed
    locks/<digest>              held by who makes the entry

What is in `building` belongs to the holder of the lock of that digest, so that the rest of a process that was killed is
recognised: its lock is free.

Each publication has a name of its own, so that an entry that replaces another one does not change what a sandbox reads
by the path of the earlier one. That stays until nothing uses it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..cage import disk
from . import entries
from .entries import Description, EntryDamaged, Key, UsedEntry
from .location import check_directory, open_directory
from .locks import FileLock, try_lock

logger = logging.getLogger(__name__)

MEBIBYTE = 1024 * 1024
#: How often, and with which pause in seconds, an entry's lock is tried.
_LOCK_TRIES, _LOCK_PAUSE = 100, 0.01
#: A name in `entries` and `building`. What has another name is not the cache's, and stays.
_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{8}")
_ENTRIES, _BUILDING, _LOCKS = "entries", "building", "locks"


@dataclass(frozen=True)
class CacheEntry:
    """An entry as `caged-emulator cache ls` shows it.

    Attributes:
        kind: What kind of entry it is.
        name: What it holds.
        mb: MiB on disk.
        files: Files, directories and links in it.
        created_at: When it was made, in UTC.
        used_at: When a sandbox was last created with it, in UTC.
        in_use: Whether a living sandbox uses it.
        digest: What it was made from, as the beginning of the name of its directory.
    """

    kind: str
    name: str
    mb: float
    files: int
    created_at: str
    used_at: str
    in_use: bool
    digest: str


class Cache:
    """
    Args:
        directory: The directory of the cache, which is made if it does not exist.
        limit_mb: MiB on disk that entries may have together.
        links: A directory for links to what is being made. Who removes it when this process was killed removes their
            targets, too; without it the next use of the cache does.

    Raises:
        CacheUnusable: It cannot be made, another user can change it, or it holds files that are not the cache's.
        OSError: The directory for links cannot be made.
    """

    def __init__(self, directory: Path, limit_mb: int, links: Optional[Path] = None) -> None:
        self.path = open_directory(directory)
        if links is not None:
            links.mkdir(mode=0o700, exist_ok=True)
        self._links = links
        self._limit = limit_mb * MEBIBYTE
        for name in (_ENTRIES, _BUILDING, _LOCKS):
            _open_below(self.path / name)
        self.remove_abandoned()

    # --- using entries

    def find(self, key: Key) -> Optional[UsedEntry]:
        """Return the newest entry, in use from then on; None when there is none. One that is damaged is removed.

        Raises:
            OSError: The cache cannot be read.
        """
        for entry in self._entries_of(key.digest):
            used = self._use(entry, key)
            if used is not None:
                return used
        return None

    def _use(self, entry: Path, key: Key) -> Optional[UsedEntry]:
        lock = self._lock_shared(entry)
        if lock is None:
            return None
        try:
            description = entries.check(entry, key)
            os.utime(entry / entries.LOCK)
            return UsedEntry(entry, description, lock)
        except EntryDamaged as error:
            logger.warning("the cache's entry %s (%s) is not used, and removed: %s", key.name, entry, error)
            lock.release()
            self._move_out(entry)
            return None
        except BaseException:
            lock.release()
            raise

    def _names(self, directory: str) -> list[str]:
        return [name for name in os.listdir(self.path / directory) if _NAME.fullmatch(name)]

    def _entries_of(self, digest: str) -> list[Path]:
        """Return the entries with a digest, the one that was published last first."""
        found = [self.path / _ENTRIES / name for name in self._names(_ENTRIES) if entries.digest_of(name) == digest]
        return sorted(found, key=entries.time_of_publication, reverse=True)

    @staticmethod
    def _lock_entry(entry: Path, shared: bool = False) -> Optional[FileLock]:
        """Lock an entry. None when it does not exist, or another process holds it in a way that excludes this one."""
        try:
            return try_lock(entry / entries.LOCK, shared) if _is_directory(entry) else None
        except OSError:
            return None  # removed meanwhile, or without a lock: damaged

    def _lock_shared(self, entry: Path) -> Optional[FileLock]:
        """Lock an entry against its removal. Others hold it alone for a moment only, to see whether it is in use."""
        for _ in range(_LOCK_TRIES):
            lock = self._lock_entry(entry, shared=True)
            if lock is not None or not _is_directory(entry):
                return lock
            time.sleep(_LOCK_PAUSE)
        return None

    # --- making entries

    def begin(self, key: Key) -> Optional[EntryBuilder]:
        """Begin to make an entry; None while another process, or another task of this one, makes it.

        Raises:
            OSError: The cache cannot be written.
        """
        lock = try_lock(self.path / _LOCKS / key.digest)
        if lock is None:
            return None
        try:
            self._remove_leftovers(key.digest)
            directory = self._working_name(key.digest)
            link = None if self._links is None else self._links / directory.name
            if link is not None:
                link.symlink_to(directory)  # first, so that there is nothing without a link to it
            directory.mkdir(mode=0o700)
            (directory / entries.CONTENT).mkdir(mode=0o755)
            return EntryBuilder(self, key, directory, lock, link)
        except BaseException:
            lock.release()
            raise

    def _working_name(self, digest: str) -> Path:
        return self.path / _BUILDING / f"{digest}.{secrets.token_hex(4)}"

    def publish(self, key: Key, directory: Path) -> Optional[UsedEntry]:
        """Move a complete entry to its place, remove those that it replaces, and make room. Returns the entry, in use;
        None when it was lost at once."""
        replaced = self._entries_of(key.digest)
        entry = directory.rename(self.path / _ENTRIES / directory.name)
        used = self._use(entry, key)
        for earlier in replaced:
            self._remove(earlier)
        self.evict()
        return used

    # --- removing entries

    def evict(self) -> None:
        """Remove the entries that were not used for longest until the rest is within the limit. What is in use
        stays."""
        found = sorted(self._described(), key=lambda one: one[2])
        total = sum(description.size for _, description, _ in found)
        for entry, description, _ in found:
            if total <= self._limit:
                return
            if self._remove(entry):
                total -= description.size

    def clear(self) -> tuple[int, int]:
        """Remove all entries that are not in use.

        Returns:
            How many were removed, and how many are in use.
        """
        self.remove_abandoned()
        removed = kept = 0
        for name in self._names(_ENTRIES):
            if self._remove(self.path / _ENTRIES / name):
                removed += 1
            else:
                kept += 1
        return removed, kept

    def _remove(self, entry: Path) -> bool:
        """Remove an entry unless it is in use."""
        if _is_directory(entry) and os.path.lexists(entry / entries.LOCK):
            lock = self._lock_entry(entry)
            if lock is None:
                return not os.path.lexists(entry)
            try:
                self._move_out(entry, is_locked=True)
            finally:
                lock.release()
        else:
            self._move_out(entry)
        return True

    def _move_out(self, entry: Path, is_locked: bool = False) -> None:
        """Remove what has the name of an entry. It leaves that name at once; the tree of one that is damaged and still
        in use stays until it is not."""
        doomed = self._working_name(entries.digest_of(entry.name))
        try:
            entry.rename(doomed)
        except FileNotFoundError:
            return
        if is_locked:
            _remove_tree(doomed)
        else:
            self._remove_unused(doomed)

    def _remove_unused(self, doomed: Path) -> None:
        lock = None
        if _is_directory(doomed) and os.path.lexists(doomed / entries.LOCK):
            lock = self._lock_entry(doomed)
            if lock is None:
                return
        try:
            _remove_tree(doomed)
        finally:
            if lock is not None:
                lock.release()

    def remove_abandoned(self) -> None:
        """Remove what killed processes have left in `building`."""
        for digest in {entries.digest_of(name) for name in self._names(_BUILDING)}:
            lock = try_lock(self.path / _LOCKS / digest)
            if lock is None:
                continue
            try:
                self._remove_leftovers(digest)
            finally:
                lock.release()

    def _remove_leftovers(self, digest: str) -> None:
        """Remove what earlier holders of the digest's lock have left. The caller holds it."""
        for leftover in (self.path / _BUILDING).glob(f"{digest}.*"):
            try:
                self._remove_unused(leftover)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", leftover, error)

    # --- lists

    def list(self) -> list[CacheEntry]:
        """Return all entries, the last used first."""
        found = []
        for entry, description, used in sorted(self._described(), key=lambda one: -one[2]):
            lock = self._lock_entry(entry)
            if lock is not None:
                lock.release()
            found.append(
                CacheEntry(
                    kind=description.kind,
                    name=description.name,
                    mb=round(description.size / MEBIBYTE, 1),
                    files=description.files,
                    created_at=_timestamp(description.created_at),
                    used_at=_timestamp(used),
                    in_use=lock is None,
                    digest=entries.digest_of(entry.name),
                )
            )
        return found

    def _described(self) -> Iterator[tuple[Path, Description, float]]:
        """Yield each entry with its description and the time of its last use, which is not in the future. One that is
        damaged counts as unused since ever, so that it is the first to go."""
        for name in self._names(_ENTRIES):
            entry = self.path / _ENTRIES / name
            try:
                used = os.lstat(entry / entries.LOCK).st_mtime
                yield entry, Description.read(entry), min(max(used, 0.0), time.time())
            except (EntryDamaged, OSError):
                yield entry, Description("damaged", name, {}, 0.0, disk.size(str(entry)), 0, ""), 0.0


class EntryBuilder:
    """An entry that is being made. Either `publish` or `abandon` has to follow.

    Attributes:
        key: What it will be.
        content: The empty directory to fill.
    """

    def __init__(self, cache: Cache, key: Key, directory: Path, lock: FileLock, link: Optional[Path]) -> None:
        self.key = key
        self.content = directory / entries.CONTENT
        self._cache = cache
        self._directory = directory
        self._lock = lock
        self._link = link

    def publish(self, details: Mapping[str, Any]) -> Optional[UsedEntry]:
        """Make the entry usable by all.

        Args:
            details: What to remember with it; JSON.

        Returns:
            The entry, in use; None when it was lost at once.

        Raises:
            OSError: It cannot be written. It is abandoned.
        """
        try:
            entries.complete(self._directory, self.key, time.time(), details)
            return self._cache.publish(self.key, self._directory)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Remove what was made, and let others make it. May be repeated."""
        try:
            _remove_tree(self._directory)
            if self._link is not None:
                self._link.unlink(missing_ok=True)
        finally:
            self._lock.release()


def _open_below(path: Path) -> None:
    """Make a directory in the cache, and check it. Raises CacheUnusable."""
    path.mkdir(mode=0o700, exist_ok=True)
    check_directory(path)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_tree(path: Path) -> None:
    if _is_directory(path):
        disk.remove(path)
    else:
        path.unlink(missing_ok=True)


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

"""Masks of user namespaces, kept in the user's cache between runs: they have some thousand entries.

    <digest>/root        the mask; the digest is one of everything that it was made from
    <digest>/manifest    what it consists of, which is checked when an emulator starts to use it
    damaged-<token>      a mask that failed the check, because sandboxes may have mounted it

An entry is made under another name and then renamed, and never changed; its time is that of the last use. Overlays only
read it, so a sandbox cannot change it either. All functions block.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional

from ...cache.location import CacheUnusable, check_directory
from .. import disk, host_view
from . import manifest, writable_entries

logger = logging.getLogger(__name__)

_ROOT, _MANIFEST = "root", "manifest"
_DAMAGED = "damaged-"
#: Entries that were not used for so long are removed, and unfinished ones after a day.
_KEPT_SECONDS = 30 * 86400
_UNFINISHED = "part-"
_UNFINISHED_SECONDS = 86400
#: Change when packages are installed, and with them the directories of /usr.
_DATABASES = ("/var/lib/dpkg/status", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/lib/apk/db", "/var/lib/pacman/local")
_TREES = ("/usr", "/usr/lib", "/usr/local", "/usr/share")
#: Their code decides what is in a mask.
_MODULES = (
    "../host_view.py",
    "cache.py",
    "directories.py",
    "manifest.py",
    "mask.py",
    "whole_copies.py",
    "writable_entries.py",
)


def find_or_make(
    hide: Sequence[str],
    replacements: Sequence[tuple[str, bytes, int]],
    complete: Sequence[str],
    make: Callable[[Path], str],
) -> Optional[str]:
    """Return the directory of the mask for this machine as it is now.

    Args:
        hide: Directories of the host that it hides.
        replacements: Files that it has in place of the host's: path, content, mode.
        complete: The top-level directories of which it has all.
        make: Makes the mask in a directory, and returns its path.

    Returns:
        None where the user has no directory for a cache that other users cannot write to, and where the mask cannot
        be kept in it.
    """
    place = _directory()
    if place is None:
        return None
    entry = place / _digest(hide, replacements, complete)
    damage = _find_damage(entry)
    if damage is not None:
        if os.path.lexists(entry):
            logger.warning("the mask %s is not used, and made anew: %s", entry, damage)
        if not _make_entry(entry, make):
            return None
        _remove_old(place)
    os.utime(entry)
    return str(entry / _ROOT)


def renew(root: str) -> None:
    """Keep a mask that `find_or_make` has returned from being removed as one that is not used.

    Raises:
        OSError: It does not exist any more.
    """
    os.utime(os.path.dirname(root))


def _make_entry(entry: Path, make: Callable[[Path], str]) -> bool:
    """Make an entry unless another emulator has made it meanwhile. Returns whether it can be used."""
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=entry.parent))
    os.rename(make(unfinished), unfinished / _ROOT)
    manifest.write(unfinished / _ROOT, unfinished / _MANIFEST)
    for _ in range(2):
        try:
            os.rename(unfinished, entry)
            return True
        except OSError:
            if _find_damage(entry) is None:
                break  # another emulator was faster
            _set_aside(entry)
    disk.remove(unfinished)
    return _find_damage(entry) is None


def _set_aside(entry: Path) -> None:
    try:
        os.rename(entry, entry.with_name(_DAMAGED + secrets.token_hex(8)))
    except OSError:
        pass  # another emulator does the same


def _find_damage(entry: Path) -> Optional[str]:
    """Return why an entry cannot be used; None for one that is as it was made."""
    try:
        if not _is_trusted(entry):
            return "it is not a directory of this user's that other users cannot write to"
        difference = manifest.find_difference(entry / _ROOT, entry / _MANIFEST)
    except (OSError, ValueError, RecursionError) as error:
        return f"its {_MANIFEST} cannot be read: {error}"
    return None if difference is None else f"{difference} is not as it was made"


def _directory() -> Optional[Path]:
    """Return the directory of the masks, without links, if only this user can change what is in it."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = Path(base, "caged", "masks")
    if not place.is_absolute():
        return None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = place.resolve(strict=True)
        check_directory(place, "XDG_CACHE_HOME")
    except CacheUnusable as error:
        logger.warning("no mask of the root directory is kept for the next start, which makes it slower: %s", error)
        return None
    except OSError:
        return None
    return place if os.access(place, os.W_OK) else None


def _is_trusted(path: Path) -> bool:
    """Whether this is a directory of the user's that other users cannot write to."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _digest(hide: Sequence[str], replacements: Sequence[tuple[str, bytes, int]], complete: Sequence[str]) -> str:
    parts = [
        *(_code(), tuple(replacements), tuple(complete)),
        *(host_view.ALLOWED, host_view.ALWAYS, host_view.REFUSED, writable_entries.FORM),
        *(os.geteuid(), os.getegid(), sorted(path for path in hide if host_view.is_listed(path.strip("/")))),
        *_stamps(),
    ]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """Return a digest of the modules that make a mask, so that another release does not use this one's."""
    digest = hashlib.sha256()
    for name in _MODULES:
        try:
            digest.update(Path(__file__).parent.joinpath(name).read_bytes())
        except OSError:
            pass  # installed without sources
    return digest.hexdigest()


def _stamps() -> Iterator[tuple[object, ...]]:
    for path in (*_DATABASES, *_TREES, *(f"/{name}" for name, names in host_view.ALLOWED.items() if names)):
        yield path, *_stamp(path)
    yield from etc_stamps()


def etc_stamps() -> Iterator[tuple[object, ...]]:
    """Yield the name, time, size, mode and owner of each file and link in /etc."""
    for directory, directories, files in os.walk("/etc"):
        directories.sort()
        links = [name for name in directories if os.path.islink(f"{directory}/{name}")]
        for name in sorted((*files, *links)):
            yield name, *_stamp(f"{directory}/{name}")


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid, status.st_gid


def _remove_old(place: Path) -> None:
    now = time.time()
    for entry in place.iterdir():
        kept = _UNFINISHED_SECONDS if entry.name.startswith(_UNFINISHED) else _KEPT_SECONDS
        try:
            if now - entry.lstat().st_mtime > kept:
                disk.remove(entry)
        except OSError:
            pass  # another emulator removes it

"""Where the cache is, and whether it can be trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

#: The environment variable that places the cache elsewhere.
VARIABLE = "CAGED_CACHE_DIR"
_TAG = "CACHEDIR.TAG"
#: By this first line backup programs recognise a cache directory (https://bford.info/cachedir/).
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Made by caged-emulator. `caged-emulator cache clear` removes what is in here.\n"
)


class CacheUnusable(Exception):
    """The cache cannot be used; the text says why, and what to do."""


def cache_directory(given: Optional[Path] = None) -> Path:
    """Return the path of the cache, whether it exists or not: `given`, else CAGED_CACHE_DIR, else the directory `caged`
    in the user's cache directory.

    Raises:
        CacheUnusable: None is given, and the user has no home directory.
    """
    if given is not None:
        return given.absolute()
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home):  # the specification says to ignore a relative one
        return Path(home) / "caged"
    user_home = os.path.expanduser("~")
    if not os.path.isabs(user_home):
        raise CacheUnusable(f"this user has no home directory; set {VARIABLE} to a directory for the cache")
    return Path(user_home) / ".cache" / "caged"


def open_directory(path: Path) -> Path:
    """Make the cache directory if it does not exist, and check it.

    Returns:
        Its path without links.

    Raises:
        CacheUnusable: It cannot be made, or another user can change it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve(strict=True)
        check_directory(path)
        tag = path / _TAG
        if not tag.exists():
            tag.write_text(_TAG_TEXT, encoding="ascii")
    except OSError as error:
        raise CacheUnusable(
            f"the cache directory {path} cannot be used: {error.strerror or error}; set {VARIABLE} to another one"
        ) from error
    return path


def check_directory(path: Path) -> None:
    """Check that only this user (and root) can change what is in a directory, by itself or by its parents.

    Args:
        path: An existing directory, without links.

    Raises:
        CacheUnusable: Another user can; the text names the directory.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise CacheUnusable(f"{path} is not a directory, so it cannot hold the cache; set {VARIABLE} to another one")
    if status.st_uid != os.geteuid():
        raise CacheUnusable(
            f"the cache {path} belongs to user {status.st_uid}, not to {os.geteuid()}, who runs the emulator;"
            f" set {VARIABLE} to a directory of this user"
        )
    if status.st_mode & 0o022:
        raise CacheUnusable(
            f"the cache {path} can be changed by other users (mode {stat.S_IMODE(status.st_mode):o}); remove it, or"
            f" run `chmod go-w {path}` if you trust what is in it"
        )
    for parent in path.parents:
        _check_parent(path, parent)


def _check_parent(path: Path, parent: Path) -> None:
    """Check that no other user can rename what is in a parent of the cache. In a directory with the sticky bit only the
    owner of an entry can."""
    status = os.lstat(parent)
    why = ""
    if status.st_uid not in (0, os.geteuid()):
        why = f"belongs to user {status.st_uid}"
    elif status.st_mode & stat.S_ISVTX:
        return
    elif status.st_mode & 0o002 or (status.st_mode & 0o020 and status.st_gid not in (0, os.getegid())):
        why = f"can be changed by other users (mode {stat.S_IMODE(status.st_mode):o})"
    if why:
        raise CacheUnusable(
            f"the cache {path} cannot be trusted: {parent} {why}; set {VARIABLE} to a directory that only this user"
            " can change"
        )

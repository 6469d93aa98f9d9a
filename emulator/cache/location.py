"""Where the cache is, and whether it can be trusted."""

from __future__ import annotations

import os
import secrets
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
#: What other parts of the project keep in the user's directory `caged`.
_OTHER_USES = frozenset({"emulators", "masks", "runs"})


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
        CacheUnusable: It cannot be made, another user can change it, or it holds files that are not the cache's.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve(strict=True)
        check_directory(path)
        _claim(path)
    except FileExistsError as error:
        raise CacheUnusable(f"the cache directory {path} is not a directory; set {VARIABLE} to another one") from error
    except OSError as error:
        raise CacheUnusable(
            f"the cache directory {path} cannot be used: {error.strerror or error}; set {VARIABLE} to another one"
        ) from error
    return path


def _claim(path: Path) -> None:
    """Write the tag by which the directory is known as a cache of emulators, unless it has it. Raises CacheUnusable
    when the directory may be something else, in which nothing must be removed."""
    others = [name for name in os.listdir(path) if name not in _OTHER_USES and not name.startswith(f"{_TAG}.")]
    if _has_tag(path):  # after the look at its names: another emulator may just have made it
        return
    if others:
        raise CacheUnusable(
            f"the directory {path} is not empty and is not a cache of caged-emulator (it has {min(others)!r}), so that"
            f" it is not used as one; set {VARIABLE} or --cache-dir to an empty or new directory"
        )
    # Complete or not at all.
    written = path / f"{_TAG}.{secrets.token_hex(4)}"
    written.write_text(_TAG_TEXT, encoding="ascii")
    written.replace(path / _TAG)


def _has_tag(path: Path) -> bool:
    try:
        return (path / _TAG).read_bytes() == _TAG_TEXT.encode("ascii")
    except FileNotFoundError:
        return False


def check_directory(path: Path, variable: str = VARIABLE) -> None:
    """Check that only this user (and root) can change what is in a directory, by itself or by its parents.

    Args:
        path: An existing directory, without links.
        variable: The environment variable that places it elsewhere.

    Raises:
        CacheUnusable: Another user can; the text names the directory.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise CacheUnusable(f"{path} is not a directory, so it cannot hold the cache; set {variable} to another one")
    if status.st_uid != os.geteuid():
        raise CacheUnusable(
            f"the cache {path} belongs to user {status.st_uid}, not to {os.geteuid()}, who runs the emulator;"
            f" set {variable} to a directory of this user"
        )
    if status.st_mode & 0o022:
        raise CacheUnusable(
            f"the cache {path} can be changed by other users (mode {stat.S_IMODE(status.st_mode):o}); remove it, or"
            f" run `chmod go-w {path}` if you trust what is in it"
        )
    for parent in path.parents:
        _check_parent(path, parent, variable)


def _check_parent(path: Path, parent: Path, variable: str) -> None:
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
            f"the cache {path} cannot be trusted: {parent} {why}; set {variable} to a directory that only this user"
            " can change"
        )

"""Which directories of the host no sandbox sees, besides those that `host_view.py` does not list: the developer's
homes, and the directories of emulators and of keys."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .host_view import is_below
from .inside.root_filesystem import is_own

#: System directories. Some service accounts have one of them as their home.
_SHARED_TOP = ("", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr")

#: Those of them that hold nothing but programs and libraries.
_PROGRAMS = ("bin", "boot", "lib", "lib32", "lib64", "sbin")


def hidden_directories(run_dir: Path, key_directories: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the developer's homes, the directories of emulators (this one's and, beside it, others'), and those with
    keys.

    A file with a key is hidden by hiding its directory: what is mounted over a file disappears when the file is
    replaced, and nothing can be mounted over one that does not exist yet. Root in a sandbox reads a file of mode 0600.
    """
    homes = {os.path.expanduser("~"), "/home", "/root", str(run_dir.parent), tempfile.gettempdir()}
    try:
        homes.add(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        pass
    resolved = {os.path.realpath(path) for path in homes if path}
    hidden = {p for p in resolved if p.split("/")[1] not in _SHARED_TOP and p not in ("/var", "/opt")}
    hidden.update(path for path in key_directories if can_be_hidden(path) and not is_never_visible(path))
    return tuple(sorted(path for path in hidden if not any(is_below(path, other) for other in hidden - {path})))


def is_never_visible(directory: str) -> bool:
    """Whether a directory is never seen inside: a sandbox has one of its own there, or (/, /opt) shows no files."""
    return directory in ("/", "/opt") or is_own(directory)


def can_be_hidden(directory: str) -> bool:
    """Whether a sandbox works without a directory: not one with the system's programs, libraries or settings."""
    parts = directory.strip("/").split("/")
    if is_never_visible(directory):
        return True
    if parts[0] == "usr":  # /usr/local/share and its like are shared, what is below /usr/bin and /usr/lib is in use
        return len(parts) > 3 and parts[1] in ("local", "share") and parts[2] not in ("bin", "lib", "sbin")
    return parts[0] not in _PROGRAMS and (len(parts) > 1 or parts[0] not in (*_SHARED_TOP, "var"))


def key_directory(path: Path) -> str:
    """Return the directory that has to be hidden to hide a file: its own, or the deepest of its parents that exists."""
    directory = os.path.realpath(path.parent)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory

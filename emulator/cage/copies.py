"""The root of a sandbox where overlays cannot be mounted: what can be written is copied, and the rest is the host's.

/etc is a copy. /opt, /var and /usr/local are directories of the sandbox: small files in them are copied, and what is
below is the host's, read-only. So `useradd`, a script in /usr/local/bin or a line in /etc/hosts work, and a package
manager of the system, which writes to /usr, does not. What of the host is seen at all is the same (`host_view.py`).

The copies are where the upper layers of overlays are (`Layout.changed`), so a sandbox may change from one form to the
other when its emulator is started where overlays can be mounted, or on another machine. All functions block.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from . import disk, host_view, overlay_marks
from .mask import replacements
from .paths import Layout

#: Directories that are made anew, with the host's entries in them. Those of `host_view.ALLOWED` are, too.
_OPENED = ("usr/local", *(f"usr/local/{name}" for name in ("bin", "etc", "include", "lib", "sbin", "share", "src")))
#: Larger files are not copied in them, but the host's.
_COPIED_BYTES = 1024 * 1024
#: Where the copies are mounted.
COPIED = ("etc", "opt", "var", "usr/local")
#: In the sandbox's directory of upper layers: shows that the copies are there, and lists what was made (JSON).
_MARKER = ".copied"


@dataclass
class RootContents:
    """What a sandbox gets, by path relative to the root.

    Attributes:
        directories: Directories to make, with their modes.
        files: Files of the host to copy.
        links: Links of the host to copy.
        bound: What is the host's, read-only.
    """

    directories: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    bound: list[str] = field(default_factory=list)


def list_contents(hide: Sequence[str]) -> RootContents:
    """Return what a sandbox of this machine gets.

    Args:
        hide: Directories of the host that no sandbox sees.
    """
    contents = RootContents()
    hidden = {*host_view.find_hidden_paths(), *(path.strip("/") for path in hide)}
    for top in COPIED:
        if os.path.isdir(f"/{top}"):
            _list_directory(contents, top, hidden, whole=top == "etc")
    for path, mode in host_view.ALWAYS.items():
        for depth in range(1, path.count("/") + 1):
            contents.directories.setdefault("/".join(path.split("/")[:depth]), 0o755)
        contents.directories[path] = mode
    return contents


def _list_directory(contents: RootContents, directory: str, hidden: set[str], whole: bool) -> None:
    contents.directories[directory] = _mode(directory)
    for entry in disk.entries(f"/{directory}"):
        path = f"{directory}/{entry.name}"
        if path in hidden or path == "etc/hosts":  # see `hosts_file.py`
            continue
        if entry.is_symlink():
            contents.links.append(path)
        elif entry.is_dir():
            if whole or path in _OPENED or path in host_view.ALLOWED:
                _list_directory(contents, path, hidden, whole)
            else:
                contents.directories[path] = 0o755
                contents.bound.append(path)
        elif entry.is_file():
            small = entry.stat().st_size <= _COPIED_BYTES
            (contents.files if whole or small else contents.bound).append(path)


def are_made(layout: Layout) -> bool:
    """Whether a sandbox has copies, where others have the upper layers of overlays."""
    return (layout.changed / _MARKER).exists()


def fill(layout: Layout, contents: RootContents, own_user: bool) -> None:
    """Make the copies of a sandbox, unless it has them. What is there already stays, as the sandbox's own.

    Args:
        layout: The sandbox's directory.
        contents: What it gets.
        own_user: Whether it is in a user namespace.
    """
    if are_made(layout):
        return
    changed = str(layout.changed)
    for path in sorted(contents.directories):
        target = f"{changed}/{path}"
        if not os.path.isdir(target) or os.path.islink(target):
            if os.path.lexists(target):
                os.unlink(target)
            os.mkdir(target)
        os.chmod(target, contents.directories[path])
    for path in contents.links:
        if not os.path.lexists(f"{changed}/{path}"):
            os.symlink(os.readlink(f"/{path}"), f"{changed}/{path}")
    replaced = {path: (content, mode) for path, content, mode in replacements(own_user)}
    for path, (content, mode) in replaced.items():
        _write(f"{changed}/{path}", content, mode)
    for path in contents.files:
        if path not in replaced and not os.path.lexists(f"{changed}/{path}"):
            _copy(f"/{path}", f"{changed}/{path}")
    mount_points = [path for path in contents.bound if path not in contents.directories]
    for path in mount_points:
        if not os.path.lexists(f"{changed}/{path}"):
            _write(f"{changed}/{path}", b"", 0o644)
    copied = [
        path
        for path in (*contents.directories, *contents.links, *contents.files, *replaced)
        if os.path.lexists(f"{changed}/{path}")
    ]
    made = {"mount_points": mount_points, "copied": sorted(set(copied))}
    (layout.changed / _MARKER).write_text(json.dumps(made), encoding="ascii")


def make_upper_layers(layout: Layout) -> None:
    """Make upper layers of overlays of a sandbox's copies, unless it has none: the host's files are seen where nothing
    but a mount point was, and what the sandbox has deleted stays deleted. Can be repeated when it was interrupted.

    Raises:
        OSError: It cannot be read or written.
    """
    marker = layout.changed / _MARKER
    try:
        made = json.loads(marker.read_text(encoding="ascii"))
        mount_points, copied = made["mount_points"], made["copied"]
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError) as error:
        raise OSError(
            f"{marker} is damaged ({error}), so it is not known which of the sandbox's files stand for the host's;"
            " start the emulator where overlays cannot be mounted, or destroy the sandbox"
        ) from error
    changed = str(layout.changed)
    for path in mount_points:
        _remove_mount_point(changed, path)
    for path in copied:
        _hide_if_deleted(changed, path)
    marker.unlink()


def _remove_mount_point(changed: str, path: str) -> None:
    """Remove an empty file, unless the sandbox has replaced a directory that leads to it, such as by a link to the
    host's."""
    target = changed
    for name in path.split("/"):
        parent, target = target, f"{target}/{name}"
        status = _status(parent)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return
    status = _status(target)
    if status is not None and stat.S_ISREG(status.st_mode) and status.st_size == 0:
        os.unlink(target)


def _hide_if_deleted(changed: str, path: str) -> None:
    """Make a whiteout where a path, or a directory that leads to it, is missing."""
    target = changed
    for name in path.split("/"):
        target = f"{target}/{name}"
        status = _status(target)
        if status is None:
            overlay_marks.make_whiteout(target)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return


def _status(path: str) -> Optional[os.stat_result]:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _copy(source: str, target: str) -> None:
    try:
        shutil.copyfile(source, target, follow_symlinks=False)
        shutil.copystat(source, target, follow_symlinks=False)
    except PermissionError:
        return  # not for this user
    except FileNotFoundError:
        return  # removed meanwhile


def _write(path: str, content: bytes, mode: int) -> None:
    if os.path.lexists(path):
        return
    with open(path, "xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(f"/{path}").st_mode) | stat.S_IRWXU

"""Directories and files of the mask's own, for a user namespace that does not map the host's users.

There the host's files belong to users without a number, and root inside may neither write into such a directory nor
change such a file. A directory that several layers have takes owner and mode from the topmost: so one of the mask's,
which belongs to the emulator's user and therefore to root inside, makes the directory writable. Files are copied where
something opens them to write; everywhere else they can be replaced, which is what package managers do. All functions
block.
"""

from __future__ import annotations

import os
import shutil
from typing import Callable

from .. import disk, host_view, overlay_marks
from ..host_view import is_below
from .directories import make_directory

#: How many levels of directories are made below a directory; the deepest that is listed counts.
_DEPTHS: dict[str, int] = {
    "etc": 8,
    "opt": 2,
    "usr": 1,
    "usr/include": 1,
    "usr/include/X11": 1,
    "usr/lib": 2,
    "usr/lib/aarch64-linux-gnu/perl5": 2,
    "usr/lib/gcc": 2,
    "usr/lib/google-cloud-sdk": 0,
    "usr/lib/jvm": 3,
    "usr/lib/node_modules": 1,
    "usr/lib/postgresql": 2,
    "usr/lib/python3": 2,
    "usr/lib/systemd": 2,
    "usr/lib/x86_64-linux-gnu/perl5": 2,
    "usr/libexec": 1,
    "usr/local": 3,
    "usr/share": 2,
    "usr/share/doc": 0,
    "usr/share/fonts/truetype": 1,
    "usr/share/gdb": 4,
    "usr/share/icons/hicolor": 2,
    "usr/share/locale": 2,
    "usr/share/man": 2,
    "usr/share/postgresql": 3,
    "usr/share/vim/addons": 1,
    "var": 8,
}
#: Directories whose files are copied, so that root inside can open them for writing.
_CHANGED = ("etc", "var/cache/debconf", "var/lib")
#: Directories among them whose files are not copied: package managers replace these files, and never write into them.
_REPLACED = ("var/lib/apt/lists", "var/lib/dpkg/info")
#: Larger files are not copied.
_COPIED_BYTES = 256 * 1024
#: Copied whatever its size: dpkg makes a hard link to it, which the owner of the file must be permitted.
_COPIED_WHOLE = "var/lib/dpkg/status"
#: What a mask depends on, besides the host.
FORM = (1, _DEPTHS, _CHANGED, _REPLACED, _COPIED_BYTES, _COPIED_WHOLE)


def make(root: str, is_hidden: Callable[[str], bool]) -> None:
    """Make the directories and files in a mask.

    Args:
        root: Its directory.
        is_hidden: Whether a path, relative to the root, is one that the mask hides, or replaces as a whole.
    """
    for top in host_view.overlaid_directories():
        if top in _DEPTHS:
            _make(root, top, _DEPTHS[top], is_hidden)


def markdown_table() -> str:
    """Return how deep the host's directories can be written to, for the documentation."""
    lines = ["| directory | levels below it |", "| --- | --- |"]
    lines += [f"| `/{path}` | {depth} |" for path, depth in sorted(_DEPTHS.items())]
    return "\n".join(lines) + "\n"


def _make(root: str, path: str, depth: int, is_hidden: Callable[[str], bool]) -> None:
    if is_hidden(path):
        return
    target = f"{root}/{path}"
    try:
        status = os.stat(f"/{path}")
    except OSError:
        return  # removed meanwhile
    if _is_foreign(status):
        make_directory(root, path, own_user=True)
        if status.st_mode & 0o005 != 0o005:
            # No user in the namespace can list it, so the sandbox has an empty one.
            overlay_marks.make_opaque(target, overlay_marks.opaque_attribute(own_user=True))
            return
    depth = _DEPTHS.get(path, depth)
    changed_in_place = any(is_below(path, place) for place in _CHANGED)
    if not depth and not changed_in_place:
        return
    for entry in disk.entries(f"/{path}"):
        below_path = f"{path}/{entry.name}"
        is_directory = entry.is_dir(follow_symlinks=False)
        matters = depth > 0 if is_directory else changed_in_place and entry.is_file(follow_symlinks=False)
        # Last, because it looks at the disk: nine of ten entries are files that are not copied.
        if not matters or is_hidden(below_path):
            continue
        if is_directory:
            _make(root, below_path, depth - 1, is_hidden)
        else:
            _copy(root, below_path, entry.stat(), not any(is_below(path, place) for place in _REPLACED))


def _copy(root: str, path: str, status: os.stat_result, with_content: bool) -> None:
    if not _is_foreign(status):
        return
    target = f"{root}/{path}"
    if not os.access(f"/{path}", os.R_OK):
        # Not for this user, such as the locks of package managers. Without the host's, a sandbox can make its own.
        make_directory(root, os.path.dirname(path), own_user=True)
        overlay_marks.make_whiteout(target)
    elif path == _COPIED_WHOLE or (with_content and status.st_size <= _COPIED_BYTES):
        make_directory(root, os.path.dirname(path), own_user=True)
        try:
            shutil.copyfile(f"/{path}", target)
            shutil.copystat(f"/{path}", target)
        except FileNotFoundError:
            pass  # removed meanwhile


def _is_foreign(status: os.stat_result) -> bool:
    """Whether an entry's owner or group has no number in a namespace with this user and group alone."""
    return (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid())

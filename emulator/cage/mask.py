"""The mask: a lower layer above the host's directories that hides what `host_view` does not list, and replaces what
a sandbox must not share with its host.

It is made once per emulator, and anew when something was added to one of the filtered directories. Whiteouts
(character device 0:0, which every user may make) hide an entry; files and directories replace it. All functions block.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from . import host_view

#: Root inside may become any user. No other user may become root, whatever this says: commands get no new privileges.
_SUDOERS = "Defaults !requiretty\nroot ALL=(ALL:ALL) NOPASSWD: ALL\n%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n"
#: Files that a container runtime mounts over those of the image, so that the layer below has another content.
_OFTEN_MOUNTED = ("etc/hostname", "etc/hosts", "etc/resolv.conf")


class Mask:
    """The mask of one emulator.

    Args:
        place: The emulator's directory, in which masks are made.
        hide: Directories of the host that no sandbox sees, besides those that `host_view` leaves out.
        user_xattr: Whether overlays are mounted in a user namespace.
    """

    def __init__(self, place: Path, hide: Sequence[str], user_xattr: bool = False) -> None:
        self._place = place
        self._hide = tuple(hide)
        self._xattr = "user.overlay.opaque" if user_xattr else "trusted.overlay.opaque"
        self._current: Optional[str] = None
        self._seen: tuple[int, ...] = ()

    def current(self) -> str:
        """Return the directory that holds the mask, which has one directory for each overlaid one. Blocks for some
        milliseconds when it has to be made."""
        seen = _times()
        if self._current is None or seen != self._seen:
            self._current, self._seen = self._make(), seen
        return self._current

    def _make(self) -> str:
        # An earlier one stays: sandboxes have mounted it.
        root = tempfile.mkdtemp(prefix="mask-", dir=self._place)
        os.chmod(root, 0o755)
        for name in host_view.overlaid():
            _make_directory(root, name)
        for path, mode in host_view.ALWAYS.items():
            _make_directory(root, path)
            os.chmod(f"{root}/{path}", mode)
        opaque = [path for path, names in host_view.ALLOWED.items() if not names and self._make_opaque(root, path)]
        for path in host_view.masked():
            if os.path.dirname(path) not in opaque:
                _hide(root, path)
        for path in self._hide:
            if host_view.is_listed(path.strip("/")) and os.path.isdir(path):
                _hide(root, path.strip("/"))
        for path, content, mode in _replacements():
            _make_directory(root, os.path.dirname(path))
            _write(f"{root}/{path}", content, mode)
        return root

    def _make_opaque(self, root: str, path: str) -> bool:
        _make_directory(root, path)
        if sys.platform != "linux":
            return False
        try:
            os.setxattr(f"{root}/{path}", self._xattr, b"y")
        except OSError:
            return False  # then each entry is hidden
        return True


def _make_directory(root: str, path: str) -> None:
    """Make a directory and its parents with the modes and owners of the host's: a directory that several layers have
    takes them from the topmost."""
    target = root
    for depth, name in enumerate(path.split("/"), 1):
        target += "/" + name
        if os.path.isdir(target):
            continue
        if os.path.lexists(target):
            os.unlink(target)  # a whiteout: something below has to exist
        os.mkdir(target)
        try:
            status = os.stat("/" + "/".join(path.split("/")[:depth]))
        except OSError:
            continue
        os.chmod(target, stat.S_IMODE(status.st_mode))
        if os.geteuid() == 0:
            os.chown(target, status.st_uid, status.st_gid)


def _hide(root: str, path: str) -> None:
    """Make a whiteout, unless the mask has a directory of its own there, which is empty."""
    parent = os.path.dirname(path)
    if parent:
        _make_directory(root, parent)
    if not os.path.lexists(f"{root}/{path}"):
        os.mknod(f"{root}/{path}", stat.S_IFCHR | 0o600, os.makedev(0, 0))


def _write(path: str, content: bytes, mode: int) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def _replacements() -> Iterator[tuple[str, bytes, int]]:
    """Yield files that every sandbox has in place of the host's: path, content, mode."""
    for source, path, rest in (("passwd", "etc/shadow", "*:19000:0:99999:7:::"), ("group", "etc/gshadow", "*::")):
        names = [line.split(b":")[0] for line in _read(f"/etc/{source}").splitlines() if b":" in line]
        yield path, b"".join(name + b":" + rest.encode() + b"\n" for name in names), 0o640
    yield "etc/sudoers", _SUDOERS.encode(), 0o440
    for path in _OFTEN_MOUNTED:
        if os.path.isfile(f"/{path}") and not os.path.islink(f"/{path}") and _is_mount(f"/{path}"):
            yield path, _read(f"/{path}"), 0o644


def _is_mount(path: str) -> bool:
    return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _times() -> tuple[int, ...]:
    """Return when the entries of each filtered directory changed last."""
    times = []
    for path in host_view.ALLOWED:
        try:
            times.append(os.stat(f"/{path}").st_mtime_ns)
        except OSError as error:
            times.append(-(error.errno or errno.EIO))
    return tuple(times)

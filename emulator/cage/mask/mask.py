"""The mask: a lower layer above the host's directories that hides what `host_view` does not list, and replaces what
a sandbox must not share with its host.

It is made once per emulator, and anew when something was added to one of the filtered directories. Whiteouts
(character device 0:0, which every user may make) hide an entry; files and directories replace it. All functions block.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from .. import host_view, overlay_marks
from . import cache, whole_copies, writable_entries
from .directories import make_directory

#: Root inside may become any user. No other user may become root, whatever this says: commands get no new privileges.
_SUDOERS = "Defaults !requiretty\nroot ALL=(ALL:ALL) NOPASSWD: ALL\n%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n"
#: Files that a container runtime mounts over those of the image, so that the layer below has another content.
_OFTEN_MOUNTED = ("etc/hostname", "etc/hosts", "etc/resolv.conf")

#: Beside the directories of a mask: what the whiteouts in them are links to.
_WHITEOUT = ".whiteout"

#: Seconds between two renewals of a mask in the cache, where those that were not used for long are removed.
_RENEWED_SECONDS = 3600.0


@functools.lru_cache(maxsize=16)
def mask_of(place: Path, hide: Sequence[str], own_user: bool) -> Mask:
    """Return the mask with these arguments of `Mask`: the one that was made to try out an isolation level is used."""
    return Mask(place, hide, own_user)


class Mask:
    """The mask of one emulator.

    Args:
        place: The emulator's directory, in which masks are made.
        hide: Directories of the host that no sandbox sees, besides those that `host_view` leaves out.
        own_user: Whether overlays are mounted in a user namespace. Unless it maps the host's root, root inside may
            not write into directories of the host's users, and not change their files. So the mask has directories
            of its own for those, and copies of small files.

    Attributes:
        complete: The top-level directories of which the current one has all, so that the host's is no layer below it.
    """

    def __init__(self, place: Path, hide: Sequence[str], own_user: bool = False) -> None:
        self._place = place
        self._hide = tuple(hide)
        self._user = own_user
        self._xattr = overlay_marks.opaque_attribute(own_user)
        self.complete: tuple[str, ...] = ()
        self._current: Optional[str] = None
        self._times: dict[str, int] = {}
        #: What it hides and replaces, once that was looked at; see `current`.
        self._entries: Optional[tuple[object, ...]] = None
        self._is_cached = False
        self._renewed = 0.0

    def current(self) -> str:
        """Return the directory that holds the mask, which has one directory for each overlaid one. Blocks for some
        milliseconds when it has to be made."""
        self._renew()
        if self._current is None or any(_time(path) != time for path, time in self._times.items()):
            times = {path: _time(path) for path in host_view.ALLOWED}
            # The first mask is made without it. If something is added while the emulator runs, which is rare, it is
            # made anew even where the change does not matter.
            entries = self._look() if self._current is not None else None
            if self._current is None or entries != self._entries:
                self._current = self._find_or_make()  # an earlier one stays: sandboxes have mounted it
            self._entries = entries
            self._times = {path: time for path, time in times.items() if not self._hides_all(path)}
        return self._current

    def _find_or_make(self) -> str:
        if self._user:
            self.complete = whole_copies.names()
            cached = cache.find_or_make(self._hide, tuple(replacements(own_user=True)), self.complete, self._make)
            self._is_cached = cached is not None
            if cached is not None:
                self._renewed = time.monotonic()
                return cached
        return self._make(self._place)

    def _renew(self) -> None:
        """Keep the cache from removing the mask while an emulator runs that uses it."""
        if self._is_cached and self._current is not None and time.monotonic() - self._renewed > _RENEWED_SECONDS:
            self._renewed = time.monotonic()
            try:
                cache.renew(self._current)
            except OSError:
                self._current = None  # it was removed

    def _look(self) -> tuple[object, ...]:
        """Return what the mask depends on, as far as it is in the filtered directories."""
        hidden = list(host_view.find_hidden_paths([path for path in host_view.ALLOWED if self._hides_all(path)]))
        names = [(path, sorted(_names(path))) for path, allowed in host_view.ALLOWED.items() if allowed]
        # In a user namespace, the mask has copies of small files.
        copied = tuple(cache.etc_stamps()) if self._user else ()
        return hidden, names, tuple(replacements(self._user)), copied

    def _hides_all(self, path: str) -> bool:
        """Whether the current mask hides all that a directory of the host has, now and later."""
        if self._current is None or host_view.ALLOWED.get(path, ("",)) or sys.platform != "linux":
            return False
        try:
            return os.getxattr(f"{self._current}/{path}", self._xattr) == b"y"
        except OSError:
            return False

    def _make(self, place: Path) -> str:
        root = tempfile.mkdtemp(prefix="mask-", dir=place)
        os.chmod(root, 0o755)
        overlay_marks.make_whiteout(f"{root}/{_WHITEOUT}")
        for name in host_view.overlaid_directories():
            make_directory(root, name, self._user)
        for path, mode in host_view.ALWAYS.items():
            make_directory(root, path, self._user)
            os.chmod(f"{root}/{path}", mode)
        opaque = [path for path, names in host_view.ALLOWED.items() if not names and self._make_opaque(root, path)]
        for path in host_view.find_hidden_paths(opaque):
            self._white_out(root, path)
        for path in self._hide:
            if host_view.is_listed(path.strip("/")) and os.path.isdir(path):
                self._white_out(root, path.strip("/"))
        if self._user:
            writable_entries.make(root, lambda path: path in opaque or _is_whiteout(f"{root}/{path}"))
        for name in self.complete:
            whole_copies.make(root, name, lambda path: path in opaque or _is_whiteout(f"{root}/{path}"))
        for path, content, mode in replacements(self._user):
            make_directory(root, os.path.dirname(path), self._user)
            _write(f"{root}/{path}", content, mode)
        return root

    def _make_opaque(self, root: str, path: str) -> bool:
        make_directory(root, path, self._user)
        if sys.platform != "linux":
            return False
        try:
            overlay_marks.make_opaque(f"{root}/{path}", self._xattr)
        except OSError:
            return False  # then each entry is hidden
        return True

    def _white_out(self, root: str, path: str) -> None:
        """Make a whiteout, unless the mask has a directory of its own there, which is empty."""
        parent = os.path.dirname(path)
        if parent:
            make_directory(root, parent, self._user)
        if not os.path.lexists(f"{root}/{path}"):
            overlay_marks.copy_whiteout(f"{root}/{_WHITEOUT}", f"{root}/{path}")


def _is_whiteout(path: str) -> bool:
    try:
        return overlay_marks.is_whiteout(os.lstat(path))
    except OSError:
        return False


def _write(path: str, content: bytes, mode: int) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def replacements(own_user: bool = False) -> Iterator[tuple[str, bytes, int]]:
    """Yield files that every sandbox has in place of the host's: path, content, mode.

    Args:
        own_user: Whether they are for a user namespace, in which apt cannot become its own user.
    """
    if own_user and os.path.isdir("/etc/apt/apt.conf.d"):
        yield "etc/apt/apt.conf.d/99caged", b'APT::Sandbox::User "root";\n', 0o644
    for source, path, rest in (("passwd", "etc/shadow", "*:19000:0:99999:7:::"), ("group", "etc/gshadow", "*::")):
        names = [line.split(b":")[0] for line in _read(f"/etc/{source}").splitlines() if b":" in line]
        yield path, b"".join(name + b":" + rest.encode() + b"\n" for name in names), 0o640
    if os.path.lexists("/etc/sudoers"):  # elsewhere the package sudo brings it, and asks before it replaces another one
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


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(f"/{directory}")
    except OSError:
        return []


def _time(directory: str) -> int:
    """Return when the entries of a directory of the host changed last."""
    try:
        return os.stat(f"/{directory}").st_mtime_ns
    except OSError as error:
        return -(error.errno or errno.EIO)

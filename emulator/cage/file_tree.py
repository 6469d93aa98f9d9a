"""What of a sandbox's files the emulator reaches, and where a walk through them begins.

At the levels `namespace` and `bwrap` that is the whole file system as commands see it, through a descriptor of init's
root directory: mounts and overlays are those of the sandbox. At level `process`, and where init has ended, it is
/workspace, /root and /tmp. In no case is it a file system of the kernel's own: its files act on whoever opens them, and
its links lead out of the sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar

from .paths import Layout

T = TypeVar("T")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Top-level directories with files of the kernel's own.
KERNEL_DIRECTORIES = ("dev", "proc", "sys")
#: Types of such file systems (linux/magic.h), wherever they are mounted: the host may have a /proc elsewhere, too.
_KERNEL_FILE_SYSTEMS = frozenset(
    {
        0x00009FA0,  # proc
        0x62656572,  # sysfs
        0x00001CD1,  # devpts
        0x0027E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0x62656570,  # configfs
        0x6165676C,  # pstore
        0xCAFE4A11,  # bpf
        0xDE5E81E4,  # efivarfs
        0xF97CFF8C,  # selinuxfs
        0x43415D53,  # smackfs
        0x65735543,  # fusectl
        0x42494E4D,  # binfmt_misc
        0x19800202,  # mqueue
        0x6E736673,  # nsfs
    }
)


class OutsideOfSandbox(Exception):
    """The path leads out of the sandbox's files, or to one of the kernel's own. The text says which can be used."""


class FileTree:
    """The files of one sandbox that one call may reach. It closes its descriptor, at the latest when it is deleted.

    Args:
        layout: The sandbox's directory.
        root: A descriptor of the sandbox's root directory, which becomes the tree's own; None to reach only the
            directories in `layout.roots()`.
        only: The only top-level directory that may be reached; None for all.
    """

    def __init__(self, layout: Layout, root: Optional[int] = None, only: Optional[str] = None) -> None:
        self._root = root
        self._places = layout.roots()
        self._only = only
        self.layout = layout

    def __enter__(self) -> FileTree:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor. Repeating it has no effect."""
        root, self._root = self._root, None
        if root is not None:
            self._places = {}
            os.close(root)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return `function(tree, *arguments)`, called as `Layout.as_root` does, which may be in another process."""
        if not self.layout.has_root_calls:
            return function(self, *arguments)
        result: T = self.layout.as_root(_call, self.layout, self._only, function, arguments, descriptor=self._root)
        return result

    def outside(self) -> OutsideOfSandbox:
        """Return the error for a path that may not be reached."""
        if self._only is not None:
            return OutsideOfSandbox(f"a path below /{self._only}")
        if self._root is None:
            return OutsideOfSandbox("a path below /workspace, /root or /tmp")
        return OutsideOfSandbox("a path that is not in /proc, /sys, /dev or another file system of the kernel's own")

    def open_top(self) -> int:
        """Return a descriptor of the root directory, for the caller to close; -1 where it is not a directory of the
        host, and holds only what `top_names` returns."""
        if self._root is None:
            return -1
        return os.open(".", _DIRECTORY, dir_fd=self._root)

    def top_names(self) -> dict[str, str]:
        """Return the directories that can be reached where `open_top` returns -1, with their paths on the host."""
        return {name: path for name, path in self._places.items() if self._only in (None, name)}

    def require_top(self, name: str) -> None:
        """Raise OutsideOfSandbox unless the entry of this name in the root directory may be used."""
        if name in KERNEL_DIRECTORIES or self._only not in (None, name):
            raise self.outside()

    def enter(self, name: str, parent: int, at_top: bool) -> int:
        """Return a descriptor of a directory, for the caller to close.

        Args:
            name: Its name.
            parent: The descriptor of the directory that holds it; -1 for the root directory where `open_top` returns
                that.
            at_top: Whether that is the root directory.

        Raises:
            OSError: The kernel refuses, for example because it is a link.
            OutsideOfSandbox: It may not be entered.
        """
        if at_top:
            self.require_top(name)
            if parent < 0:
                path = self.top_names().get(name)
                if path is None:
                    raise self.outside()
                return os.open(path, _DIRECTORY)
        below = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            if self._root is not None and _enters_kernel_file_system(below, parent):
                raise self.outside()
        except BaseException:
            os.close(below)
            raise
        return below


def _call(
    layout: Layout,
    only: Optional[str],
    function: Callable[..., T],
    arguments: tuple[Any, ...],
    root: Optional[int] = None,
) -> T:
    with FileTree(layout, root, only) as tree:
        return function(tree, *arguments)


def _enters_kernel_file_system(directory: int, parent: int) -> bool:
    """Whether a directory, but not its parent, is in a file system of the kernel's own. Its type is looked up only
    where another file system begins."""
    return os.fstat(directory).st_dev != os.fstat(parent).st_dev and _file_system(directory) in _KERNEL_FILE_SYSTEMS


_libc: Optional[ctypes.CDLL] = None


def _file_system(descriptor: int) -> int:
    """Return the type of the file system that a file is on, which Python's os.fstatvfs leaves out."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    status = ctypes.create_string_buffer(512)
    if _libc.fstatfs(descriptor, status) != 0:
        number = ctypes.get_errno()
        raise OSError(number or errno.EIO, os.strerror(number))
    # The first field is a word, which on one architecture is half as long as the others'.
    size = 4 if os.uname().machine == "s390x" else ctypes.sizeof(ctypes.c_long)
    return int.from_bytes(status.raw[:size], sys.byteorder) & 0xFFFFFFFF

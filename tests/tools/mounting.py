"""For scripts of root that run a program in a mount namespace of its own."""

from __future__ import annotations

import ctypes
import os

MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
CLONE_NEWNS = 1 << 17

libc = ctypes.CDLL(None, use_errno=True)


def enter_mount_namespace() -> None:
    """Give this process mounts of its own, which nothing outside sees. Raises OSError."""
    _check(libc.unshare(CLONE_NEWNS), "a mount namespace")
    _check(libc.mount(b"none", b"/", b"", ctypes.c_ulong(MS_REC | MS_PRIVATE), b""), "/")


def bind(source: str, target: str) -> None:
    """Mount a file or directory on another one. Raises OSError."""
    _check(libc.mount(os.fsencode(source), os.fsencode(target), b"", ctypes.c_ulong(MS_BIND), b""), target)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)

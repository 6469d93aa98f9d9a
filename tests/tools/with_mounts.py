"""Run by root: `with_mounts.py PATH... -- COMMAND...` runs COMMAND in a mount namespace in which each PATH is mounted
on itself, as container runtimes mount a file of their own on /etc/hosts."""

from __future__ import annotations

import ctypes
import os
import sys

from continuing import continue_as

MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
CLONE_NEWNS = 1 << 17

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


def main() -> None:
    end = sys.argv.index("--")
    check(libc.unshare(CLONE_NEWNS), "a mount namespace")
    check(libc.mount(b"none", b"/", b"", ctypes.c_ulong(MS_REC | MS_PRIVATE), b""), "/")
    for path in map(os.fsencode, sys.argv[1:end]):
        check(libc.mount(path, path, b"", ctypes.c_ulong(MS_BIND), b""), os.fsdecode(path))
    continue_as(sys.argv[end + 1 :])


main()

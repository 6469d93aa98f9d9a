"""Run by root: `as_ordinary_user.py PATH... -- COMMAND...` runs COMMAND as user 65534, in a mount namespace of its own.

The interpreter, the tree and the temp directory may be below a directory that only root can enter (/root/.pyenv,
/tmp/pytest-of-root). An empty directory is mounted over each such directory, and the PATHs are bind-mounted into it at
their old places. These mounts are visible in this mount namespace only.
"""

from __future__ import annotations

import ctypes
import os
import sys

from continuing import continue_as

ORDINARY_USER = 65534
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
CLONE_NEWNS = 1 << 17
PR_SET_DUMPABLE = 4


libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    done = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    check(done, target)


def obstacle(path: str) -> str:
    """Return the first directory on the way to `path` that an ordinary user cannot enter, or ""."""
    parts = path.split("/")
    for length in range(2, len(parts) + 1):
        above = "/".join(parts[:length])
        if not os.stat(above).st_mode & 0o001:
            return above
    return ""


def main() -> None:
    end = sys.argv.index("--")
    paths = sorted({os.path.realpath(path) for path in sys.argv[1:end]}, key=len)
    check(libc.unshare(CLONE_NEWNS), "a mount namespace")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    held = {path: os.open(path, os.O_PATH) for path in paths}
    blocked = {path: obstacle(path) for path in paths}
    for place in sorted({place for place in blocked.values() if place}, key=len):
        mount("covered", place, "tmpfs", 0, "mode=755")
    for path in paths:
        if blocked[path] and not os.path.exists(os.path.join(path, ".")):
            os.makedirs(path)
        if blocked[path]:
            mount(f"/proc/self/fd/{held[path]}", path, "", MS_BIND)
    for fd in held.values():
        os.close(fd)
    os.setgroups([])
    os.setresgid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER)
    os.setresuid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER)
    # After a change of its user a process cannot open its own files in /proc, until it is dumpable again.
    check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE")
    continue_as(sys.argv[end + 1 :])


main()

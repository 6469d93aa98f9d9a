"""The /etc/hosts of a sandbox that has a host name of its own.

The host's file does not know the sandbox's name. Programs that look it up, such as `python3 -m http.server`, would
wait for a DNS server that may not be reachable.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

PATH = "/etc/hosts"
#: As Debian does it: an address of the loopback network that is not `localhost`.
ADDRESS = "127.0.1.1"


def write(etc: Path, sandbox_id: str) -> None:
    """Write the file of a sandbox, unless it is there, or the sandbox has deleted it. Blocks (microseconds).

    It is a copy of the host's file that names the sandbox, too.

    Args:
        etc: The directory of what the sandbox has changed in /etc.
        sandbox_id: The sandbox's host name.
    """
    path = etc / "hosts"
    if os.path.lexists(path):
        return
    _write(path, content_for(sandbox_id))


def rename(etc: Path, old: str, new: str) -> None:
    """Replace the host name of another sandbox in a file that was copied from it.

    Args:
        etc: The upper layer of /etc.
        old: The other sandbox's host name.
        new: The sandbox's host name.
    """
    path = etc / "hosts"
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        content = path.read_bytes()
    except OSError:
        return
    changed = content.replace(f"{ADDRESS} {old}\n".encode(), f"{ADDRESS} {new}\n".encode())
    if changed != content:
        status = path.stat()
        path.write_bytes(changed)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _content(sandbox_id: str) -> bytes:
    with open(PATH, "rb") as source:
        content = source.read()
    if content and not content.endswith(b"\n"):
        content += b"\n"
    return content + f"{ADDRESS} {sandbox_id}\n".encode()


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=_open_anew) as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)


def content_for(sandbox_id: str) -> bytes:
    """Return what a sandbox with a root of its own begins with. Blocks (microseconds)."""
    try:
        return _content(sandbox_id)
    except OSError:
        return f"127.0.0.1 localhost\n{ADDRESS} {sandbox_id}\n".encode()


def _open_anew(path: str, flags: int) -> int:
    """Open a file that does not exist yet. A link is not followed."""
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

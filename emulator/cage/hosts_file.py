"""The /etc/hosts of a sandbox that has a host name of its own.

The host's file does not know the sandbox's name. Programs that look it up, such as `python3 -m http.server`, would
wait for a DNS server that may not be reachable.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

PATH = "/etc/hosts"
#: As Debian does it: an address of the loopback network that is not `localhost`.
ADDRESS = "127.0.1.1"
#: Of a file in which the name is replaced: a sandbox may have made it as large as its disk.
MOST_BYTES = 1024**2

#: The line of a sandbox's own name, or of the name of the one in which a prepared sandbox was built.
_OWN_LINE = re.compile(rb"^%s (?:cage_[a-z0-9]+|prepare-[0-9a-f]+)$" % re.escape(ADDRESS.encode()), re.MULTILINE)

logger = logging.getLogger(__name__)


def write(etc: Path, sandbox_id: str, below: Iterable[Path] = ()) -> None:
    """Write the file of a sandbox, unless it is there, or the sandbox has deleted it. Blocks (microseconds).

    It is a copy of the host's file that names the sandbox, too.

    Args:
        etc: The directory of what the sandbox has changed in /etc.
        sandbox_id: The sandbox's host name.
        below: Files that take the place of the host's, if they exist: the first one does.
    """
    path = etc / "hosts"
    if os.path.lexists(path):
        return
    _write(path, content_for(sandbox_id, below))


def rename(etc: Path, new: str) -> None:
    """Replace the host name of another sandbox in a file that was copied from it. Files that are too large, or cannot
    be read or replaced, stay as they are.

    Args:
        etc: The upper layer of /etc.
        new: The sandbox's host name.
    """
    path = etc / "hosts"
    try:
        content = _read(path)
        if content is None:
            return
        status = os.lstat(path)
        changed = _named(content, new)
        if changed != content:
            _replace(path, changed, status)
    except FileNotFoundError:
        pass  # the sandbox has deleted it
    except OSError as error:
        logger.warning("%s still names another sandbox: %s", path, error)


def _named(content: bytes, sandbox_id: str) -> bytes:
    return _OWN_LINE.sub(f"{ADDRESS} {sandbox_id}".encode(), content)


def _read(path: Path) -> Optional[bytes]:
    """Return the content of a file that a sandbox may have made; None where it is not a usual one, or too large."""
    status = os.lstat(path)
    return path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES else None


def _replace(path: Path, content: bytes, status: os.stat_result) -> None:
    """Replace a file, which may be read-only, by one with the same owner, mode and times."""
    temporary = path.with_name(f".hosts-{secrets.token_hex(8)}")
    try:
        _write(temporary, content)
        if os.geteuid() == 0:
            os.chown(temporary, status.st_uid, status.st_gid)
        os.chmod(temporary, stat.S_IMODE(status.st_mode))
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def content_for(sandbox_id: str, below: Iterable[Path] = ()) -> bytes:
    """Return what a sandbox with a root of its own begins with. Blocks (microseconds). `below`: as of `write`."""
    for path in below:
        try:
            content = _read(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("%s cannot be read: %s", path, error)
            continue
        if content is not None:
            return _named(content, sandbox_id)
    try:
        return _content(sandbox_id)
    except OSError:
        return f"127.0.0.1 localhost\n{ADDRESS} {sandbox_id}\n".encode()


def _open_anew(path: str, flags: int) -> int:
    """Open a file that does not exist yet. A link is not followed."""
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

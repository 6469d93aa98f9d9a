"""Files that are written beside their place and then moved there, so that a reader never sees a part of one."""

from __future__ import annotations

import contextlib
import errno
import stat
from collections.abc import Iterator
from pathlib import Path


def check_replaceable(path: Path) -> None:
    """Check that a file may be moved to a path: nothing is there, or a regular file.

    Moved over a device such as /dev/null, it would take the device away from the whole machine.

    Raises:
        OSError: Something else is there; the text says what to do.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file, and would be replaced; name another file", str(path))


@contextlib.contextmanager
def replacement(path: Path, suffix: str = "new") -> Iterator[Path]:
    """Move the file that the block writes to a path, when the block has ended well. Otherwise what was there stays.

    Args:
        path: The file's place.
        suffix: Of the name of the file beside it, which the block gets; one of its own where several may be written at
            a time.

    Raises:
        OSError: Something is there that is not a regular file, or the file cannot be moved.
    """
    check_replaceable(path)
    beside = path.with_name(f".{path.name}.{suffix}")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        remove_regular(beside)
        raise


def remove_regular(path: Path) -> None:
    """Remove a regular file, if it can be removed."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()

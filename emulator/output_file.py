"""Files that are written beside their place and then moved there, so that a reader never sees a part of one."""

from __future__ import annotations

import errno
import os
import stat
from typing import Union


def check_replaceable(path: Union[str, os.PathLike[str]]) -> None:
    """Check that a file may be moved to a path: nothing is there, or a regular file.

    Moved over a device such as /dev/null, it would take the device away from the whole machine.

    Raises:
        OSError: Something else is there; the text says what to do.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file, and would be replaced; name another file", str(path))

"""The table of mounts of this process, as the kernel lists it."""

from __future__ import annotations

import os
import re
from pathlib import Path


def mounts_below(directory: str) -> list[str]:
    """Return the places below a directory on which something is mounted, without what is covered by another mount.

    Args:
        directory: An absolute path without links.
    """
    try:
        descriptor = os.open(directory, getattr(os, "O_PATH", 0) | os.O_DIRECTORY)
        try:
            status = Path(f"/proc/self/fdinfo/{descriptor}").read_text("ascii")
        finally:
            os.close(descriptor)
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    holder = re.search(r"^mnt_id:\s*(\d+)", status, re.M)
    if holder is None:
        return []
    # The number of a mount, of the one that it is on, and where; spaces and the like are octal numbers.
    fields = [line.split(" ") for line in lines]
    points = {re.sub(r"\\(\d{3})", _character, field[4]) for field in fields if field[1] == holder[1]}
    return sorted(point for point in points if point.startswith(directory.rstrip("/") + "/"))


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))

"""Which walls work on this machine, strongest first, and why."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    name: str
    works: bool
    reason: str


def levels() -> list[Level]:
    """All levels that this version knows, strongest first."""
    if sys.platform == "linux":
        return [Level("process", True, "temp directory, process tree under a child subreaper, paths rewritten")]
    return [
        Level("process", True, "temp directory and process groups; a daemon that leaves its group is not followed here")
    ]


def best() -> Level:
    return next(level for level in levels() if level.works)

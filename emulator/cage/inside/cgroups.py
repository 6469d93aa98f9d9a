"""Removing control groups: the last thing that is left of a sandbox whose memory was limited by one.

A run's directory holds a file that names the parent of its groups, so that whoever clears up after a killed
emulator (its zygote, or the next emulator) finds them.
"""

from __future__ import annotations

import os

PARENT_FILE = "cgroup-parent"


def prefix(run_dir: str) -> str:
    """How the names of a run's groups begin."""
    return os.path.basename(run_dir.rstrip("/")) + "-"


def remove_all(run_dir: str) -> None:
    """Removes what groups the run has; one that still has a process stays."""
    try:
        with open(os.path.join(run_dir, PARENT_FILE), encoding="utf-8") as file:
            parent = file.read().strip()
        names = os.listdir(parent)
    except OSError:
        return
    for name in names:
        if name.startswith(prefix(run_dir)):
            try:
                os.rmdir(os.path.join(parent, name))
            except OSError:
                pass

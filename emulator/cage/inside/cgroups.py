"""Removing the control groups of sandboxes, after an emulator that was killed.

An emulator's directory holds a file that names the parent of its groups, so that its zygote or the next emulator finds
them.
"""

from __future__ import annotations

import os

PARENT_FILE = "cgroup-parent"


def prefix(run_dir: str) -> str:
    """Return how the names of an emulator's groups begin."""
    return os.path.basename(run_dir.rstrip("/")) + "-"


def remove_all(run_dir: str) -> None:
    """Remove the groups of an emulator; one that still has a process stays."""
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

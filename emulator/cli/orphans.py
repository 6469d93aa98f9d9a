"""Ends processes that a command left running, by a mark in their environment.

Child processes inherit the mark, but can drop it (`env -i`), and another user's (sudo) cannot be read. Where there is
no /proc nothing is found.
"""

from __future__ import annotations

import os
import signal

_ROUNDS = 50


def kill_marked(mark: str) -> None:
    """Kill every process that was started with `mark` (`NAME=value`) in its environment, until none is found."""
    for _ in range(_ROUNDS):
        found = _marked(mark.encode())
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass


def _marked(mark: bytes) -> list[int]:
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return []
    found = []
    for pid in numbers:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read().split(b"\0") and pid != os.getpid():
                    found.append(pid)
        except OSError:
            continue  # ended, or another user's
    return found

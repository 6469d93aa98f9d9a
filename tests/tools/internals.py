"""Parts of an emulator in this process that have no public way to them: for tests of these parts."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from caged.emulator import Emulator
from caged.emulator.platform.platform import Platform

T = TypeVar("T")


def platform_of(emulator: Emulator) -> Platform:
    """Return the parts of a running emulator. EmulatorError when it does not run."""
    return emulator._running().platform


def call_on_loop(emulator: Emulator, work: Coroutine[Any, Any, T], limit: float = 30) -> T:
    """Run a coroutine on a running emulator's loop, from another thread, for at most `limit` seconds. Its changes are
    durable afterwards."""
    return emulator._call(work, limit)

"""Parts of an emulator in this process that have no public way to them: for tests of these parts."""

from __future__ import annotations

from caged.emulator import Emulator
from caged.emulator.platform.platform import Platform


def platform_of(emulator: Emulator) -> Platform:
    """Return the parts of a running emulator. EmulatorError when it does not run."""
    return emulator._running().platform

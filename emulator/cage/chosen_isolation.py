"""The isolation level that an emulator uses: chosen once, at its start, after the levels have been tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from .isolation import IsolationLevel
from .probe_result import ProbeResult


class ChosenIsolation:
    """The level in use, and why stronger ones are not.

    Attributes:
        current: The level; `process` until another one is chosen.
        probe_results: The levels that were tried, strongest first; the last one is in use.
    """

    def __init__(self, level: Optional[IsolationLevel] = None) -> None:
        self.current = level or IsolationLevel("process")
        self.probe_results: list[ProbeResult] = []

    def choose(self, level: IsolationLevel, probe_results: Sequence[ProbeResult]) -> None:
        """Use this level for every sandbox that is created from now on."""
        self.current = level
        self.probe_results = list(probe_results)

    def close(self) -> None:
        """End the processes that belong to the level. Blocks."""
        self.current.close()

"""Measuring things against each other in one run: alternately, and by the median, so that a busy machine slows
both sides."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`ours` and `theirs` in milliseconds."""

    name: str
    ours: float
    theirs: float
    against: str
    bound: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def alternate(rounds: int, *work: Callable[[], object], warm: int = 3) -> list[float]:
    """The median of each piece of work in milliseconds, run in turns."""
    times: list[list[float]] = [[] for _ in work]
    for turn in range(warm + rounds):
        for index, act in enumerate(work):
            begun = time.perf_counter()
            act()
            if turn >= warm:
                times[index].append((time.perf_counter() - begun) * 1000)
    return [statistics.median(series) for series in times]


def report(rows: list[Row]) -> int:
    """Prints a table; 1 when a bound is broken."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        verdict = "ok" if row.ratio <= row.bound else "TOO SLOW"
        print(
            f"{row.name:<{width}}  {row.ours:8.2f} ms  against {row.theirs:8.2f} ms ({row.against})"
            f"  ratio {row.ratio:5.2f}  bound {row.bound:g}  {verdict}"
        )
    print(f"Python {sys.version.split()[0]}")
    return int(any(row.ratio > row.bound for row in rows))

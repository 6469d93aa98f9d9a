"""Measuring things against each other in one run: alternately, and by the median, so that a busy machine slows
both sides."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Of the bare spawn: a sandbox has this LANG, which costs each bash a tenth of its time.
_ENVIRONMENT = {**os.environ, "LANG": "C.UTF-8"}
#: Seconds before a create, in which the emulator makes sandboxes ready.
PAUSE = 0.06
#: Bound of create + first exec against a bare spawn, both after a pause.
FIRST_EXEC = 5.0


def spawn() -> None:
    """The bare spawn that others are compared with."""
    subprocess.run(["bash", "-c", "true"], check=True, env=_ENVIRONMENT)


def pause() -> None:
    time.sleep(PAUSE)


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

"""python benchmarks/threads.py: 400 execs through 8 threads, against 400 bare spawns through 8 threads. The emulator
runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Callable

from _served import served_emulator
from _timing import Row, report

from caged import Caged

CALLS, THREADS, ROUNDS = 400, 8, 5
#: The part of the rate of bare spawns that execs have at least.
SHARE = 0.55


def milliseconds(act: Callable[[], object]) -> float:
    """How long CALLS calls take through THREADS threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: act(), range(2 * THREADS)))  # now the threads and their connections exist
        begun = time.perf_counter()
        list(pool.map(lambda _: act(), range(CALLS)))
        return (time.perf_counter() - begun) * 1000


def main() -> int:
    with served_emulator() as (url, key), Caged(key, url) as caged:
        box = caged.sandboxes.create().id
        bare, ours = [], []
        for _ in range(ROUNDS):
            bare.append(milliseconds(lambda: subprocess.run(["bash", "-c", "true"], check=True)))
            ours.append(milliseconds(lambda: caged.sandboxes.exec(box, "true")))
    code = report([Row(f"{CALLS} execs", median(ours), median(bare), f"{CALLS} bare spawns", round(1 / SHARE, 2))])
    print(f"{median(bare) / median(ours):.2f} of the rate of bare spawns, at least {SHARE}")
    return code


if __name__ == "__main__":
    sys.exit(main())

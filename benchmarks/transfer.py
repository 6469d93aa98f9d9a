"""python benchmarks/transfer.py: 100 MB up and down, as a file and as a directory, against `cat` of as much over the
API's stream; and how much memory the client needs for that. The emulator runs in a process of its own."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable

from _served import served_emulator
from _timing import Row, report

from caged import BoundSandbox, Caged

MEGABYTES = 100
ROUNDS = 3
BOUND = 3.0
#: MB that transfers may add to the client's peak: a few pieces of 3 MiB, encoded, as requests and as responses.
MEMORY_BOUND = 64.0
FILES = 1000


def best(rounds: int, *work: Callable[[], object]) -> list[float]:
    """The shortest time of each in milliseconds, run in turns."""
    times: list[list[float]] = [[] for _ in work]
    for _ in range(rounds):
        for series, act in zip(times, work):
            begun = time.perf_counter()
            act()
            series.append((time.perf_counter() - begun) * 1000)
    return [min(series) for series in times]


def peak() -> float:
    """MB of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_sources(folder: Path) -> None:
    """A file, and a directory of files, of random bytes: nothing on the way can make them smaller."""
    with (folder / "file").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1_000_000))
    for number in range(FILES):
        path = folder / "directory" / f"{number % 20}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(MEGABYTES * 1_000_000 // FILES))


def measure(caged: Caged, box: BoundSandbox, folder: Path) -> list[Row]:
    line = "0123456789 the quick brown fox jumps over the lazy dog, over and over again.\n"
    box.write("text", line * (1_000_000 // len(line)))
    box.run(f"for i in $(seq {MEGABYTES}); do cat text; done > cat-me", check=True)

    def stream() -> None:
        size = 0
        with caged.sandboxes.stream(box.id, "cat cat-me") as output:
            for text in output:
                size += len(text)
        assert output.exit_code == 0
        assert size > MEGABYTES * 990_000, size

    before = peak()
    transfers: dict[str, Callable[[], object]] = {
        "a file up": partial(box.upload, folder / "file", "file"),
        "a file down": partial(box.download, "file", folder / "file-back"),
        f"{FILES} files up": partial(box.upload, folder / "directory", "directory"),
        f"{FILES} files down": partial(box.download, "directory", folder / "directory-back"),
    }
    for transfer in transfers.values():
        transfer()
    added = peak() - before
    assert (folder / "file-back").read_bytes() == (folder / "file").read_bytes()
    cat, *times = best(ROUNDS, stream, *transfers.values())
    rows = [
        Row(f"{MEGABYTES} MB: {name}", taken, cat, "cat over the stream", BOUND)
        for name, taken in zip(transfers, times)
    ]
    return [*rows, Row("the client's memory, MB in place of ms", added, MEMORY_BOUND, "the bound", 1.0)]


def main() -> int:
    with served_emulator() as (url, key), Caged(key, url) as caged, tempfile.TemporaryDirectory() as folder:
        make_sources(Path(folder))
        sandbox = caged.sandboxes.create().id
        return report(measure(caged, caged.sandboxes.bind(sandbox), Path(folder)))


if __name__ == "__main__":
    sys.exit(main())

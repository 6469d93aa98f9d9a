"""python benchmarks/isolation.py: what each isolation level costs, against a bare spawn and against bwrap per command.
Create + first exec is measured as in latency.py: after a pause, against a bare spawn after a pause. An exec against a
bare spawn and a round trip is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from _timing import FIRST_EXEC, Row, alternate, pause, report, spawn

from caged.emulator import Emulator, EmulatorError
from caged.emulator.cage.isolation import LEVELS

ROUNDS = 100
ALIVE = 300


def bwrap() -> None:
    """The least that isolation of the same kind take when they are built for each command."""
    words = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    subprocess.run([*words, "bash", "-c", "true"], check=True)


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def measure(level: str) -> list[Row]:
    rows = []
    with Emulator(isolation=level) as emulator, emulator.client() as caged:
        sandbox = caged.sandboxes.create()
        boxes: list[str] = []

        def create_and_exec() -> None:
            boxes.append(caged.sandboxes.create().id)
            caged.sandboxes.exec(boxes[-1], "true")

        if shutil.which("bwrap"):
            per_command, execute = alternate(ROUNDS, bwrap, lambda: caged.sandboxes.exec(sandbox.id, "true"))
            rows.append(Row(f"{level}: exec", execute, per_command, "bwrap … bash -c true", 1.0))
        bare, _, make, _ = alternate(
            ROUNDS,
            spawn,  # after the pause at the end
            pause,
            create_and_exec,
            lambda: (caged.sandboxes.destroy(boxes.pop()), pause()),
        )
        rows.append(Row(f"{level}: create + first exec", make, bare, "bash -c true, after a pause", FIRST_EXEC))
        if level == "namespace":
            while len(boxes) < ALIVE:
                create_and_exec()
            inits = dict(emulator._runtime.platform.zygote.inits)  # type: ignore[union-attr]
            each = [pss_kib(inits[box]) for box in boxes]
            rows.append(Row(f"{ALIVE} alive: MB each (PSS)", sum(each) / len(each) / 1024, 1.0, "1 MB", 4.0))
    return rows


def main() -> int:
    rows = []
    for level in LEVELS:
        try:
            rows += measure(level)
        except EmulatorError as error:
            print(f"{level}: not here. {str(error).splitlines()[0]}")
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())

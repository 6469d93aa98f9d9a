"""python benchmarks/state.py: a small exec and a small file with a state directory, against the same without one."""

from __future__ import annotations

import sys
import tempfile

from _timing import Row, alternate, report

from caged.emulator import Emulator

ROUNDS = 300


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, Emulator() as without, Emulator(state_dir=folder) as kept:
        with without.client() as plain, kept.client() as durable:
            box, kept_box = plain.sandboxes.create().id, durable.sandboxes.create().id
            rows = []
            for name, bound, act, kept_act in (
                (
                    'exec("true")',
                    1.3,
                    lambda: plain.sandboxes.exec(box, "true"),
                    lambda: durable.sandboxes.exec(kept_box, "true"),
                ),
                (
                    "PUT a file of 1 kB",
                    1.5,
                    lambda: plain.files.write(box, "/workspace/a", "x" * 1000),
                    lambda: durable.files.write(kept_box, "/workspace/a", "x" * 1000),
                ),
            ):
                bare, ours = alternate(ROUNDS, act, kept_act)
                rows.append(Row(name, ours, bare, "no state directory", bound))
            return report(rows)


if __name__ == "__main__":
    sys.exit(main())

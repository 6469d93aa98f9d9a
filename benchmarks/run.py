"""python benchmarks/run.py: a command of a bound sandbox, with streams apart and all of its bytes, against the API's
`exec`. The emulator runs in a process of its own."""

from __future__ import annotations

import sys

from _served import served_emulator
from _timing import Row, alternate, report

from caged import Caged

ROUNDS = 300
BOUND = 1.3


def measure(caged: Caged) -> list[Row]:
    sandbox = caged.sandboxes.create().id
    box = caged.sandboxes.bind(sandbox)
    run, execute = alternate(ROUNDS, lambda: box.run("true"), lambda: caged.sandboxes.exec(sandbox, "true"), warm=20)
    return [Row('box.run("true")', run, execute, 'exec("true")', BOUND)]


def main() -> int:
    with served_emulator() as (url, key), Caged(key, url) as caged:
        return report(measure(caged))


if __name__ == "__main__":
    sys.exit(main())

"""python benchmarks/packages.py: what a create with packages and one from a prepared sandbox cost, against a plain one.

The packages are in the cache already: what is measured is the second create and each later one. pip needs an index for
the first.
"""

from __future__ import annotations

import sys
import tempfile
import time

from _timing import Row, alternate, report

from caged import Caged
from caged.emulator import Emulator

ROUNDS = 60
#: As in latency.py: what the emulator does between two creates is not part of the second.
PAUSE = 0.06
TEMPLATE, PACKAGES = "python-312", ["pytest"]
#: Files of the prepared sandbox, in a directory of the root.
FILES = 2000


def main() -> int:
    with tempfile.TemporaryDirectory() as cache, Emulator(cache_dir=cache, allow_unused=True) as emulator:
        with emulator.client() as client:
            begun = time.perf_counter()
            created(client, template=TEMPLATE, packages=PACKAGES)
            print(f"the first create with packages={PACKAGES} took {time.perf_counter() - begun:.1f} s")
            script = f"mkdir -p /app && cd /app && for i in $(seq {FILES}); do echo $i > $i; done"
            emulator.prepare("ready", template=TEMPLATE, packages=PACKAGES, init_script=script)
            boxes: list[str] = []

            def create(**options: object) -> None:
                boxes.append(created(client, **options))

            def clear() -> None:
                time.sleep(PAUSE)
                client.sandboxes.destroy(boxes.pop())
                time.sleep(PAUSE)

            plain, _, packages, _, prepared, _ = alternate(
                ROUNDS,
                lambda: create(template=TEMPLATE),
                clear,
                lambda: create(template=TEMPLATE, packages=PACKAGES),
                clear,
                lambda: create(template="ready"),
                clear,
                warm=8,
            )
    return report(
        [
            Row(f"create, packages={PACKAGES}", packages, plain, "create without packages", 1.5),
            Row("create, from a prepared sandbox", prepared, plain, "create without packages", 1.5),
        ]
    )


def created(client: Caged, **options: object) -> str:
    box = client.sandboxes.create(**options)  # type: ignore[arg-type]
    assert box.status == "running", client.sandboxes.logs(box.id)
    return box.id


if __name__ == "__main__":
    sys.exit(main())

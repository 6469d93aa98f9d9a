"""python benchmarks/latency.py [ROUNDS]: exec, create and destroy through the SDK, against a bare spawn and an empty
round trip, all in turns.

A pause follows each create and each destroy, in which the emulator does what it does while no client waits. So a bare
spawn is not slowed down by that, and a create is a warm one.
"""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
from _empty import empty_server
from _timing import Row, alternate, report

from caged.emulator import Emulator

ROUNDS = 200
PAUSE = 0.06


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with empty_server() as url, Emulator() as emulator, emulator.client() as caged, httpx.Client(base_url=url) as http:
        boxes: list[str] = []

        def spawn() -> None:
            subprocess.run(["bash", "-c", "true"], check=True)

        def trip() -> None:
            http.get("/").raise_for_status()

        def create() -> None:
            boxes.append(caged.sandboxes.create().id)

        def create_and_exec() -> None:
            create()
            caged.sandboxes.exec(boxes[-1], "true")

        def pause() -> None:
            time.sleep(PAUSE)

        box = caged.sandboxes.create().id
        _, bare, empty, execute, _, make, _, make_and_run, _, remove, _ = alternate(
            rounds,
            spawn,  # the first after a pause takes longer
            spawn,
            trip,
            lambda: caged.sandboxes.exec(box, "true"),
            pause,
            create,
            pause,
            create_and_exec,
            pause,
            lambda: caged.sandboxes.destroy(boxes.pop()),
            lambda: (caged.sandboxes.destroy(boxes.pop()), pause()),
        )
        against = f"bash -c true {bare:.2f} + empty round trip {empty:.2f}"
        return report(
            [
                Row('exec("true")', execute, bare + empty, against, 1.35),
                Row("create", make, bare + empty, against, 2.5),
                Row("create + first exec", make_and_run, bare, "bash -c true", 5.0),
                Row("destroy", remove, bare + empty, against, 1.5),
            ]
        )


if __name__ == "__main__":
    sys.exit(main())

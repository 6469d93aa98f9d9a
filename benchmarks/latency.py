"""python benchmarks/latency.py [ROUNDS]: exec, create and destroy through the SDK, against a bare spawn and an empty
round trip, all in turns.

There are two series, because like is compared with like. After a pause everything takes longer, since the processor's
caches hold other things by then, a bare spawn and an empty round trip included.

- exec: a bare spawn, a round trip and an exec, in turns, without a pause.
- create and destroy: a pause comes before each, in which the emulator does what it does while no client waits: others
  are not slowed down by that, and a create finds a sandbox that is ready. They are compared with a bare spawn and a
  round trip, in this order, right after a pause; create + first exec with a bare spawn right after a pause.
"""

from __future__ import annotations

import sys

import httpx
from _empty import empty_server
from _timing import FIRST_EXEC, Row, alternate, pause, report, spawn

from caged.emulator import Emulator

ROUNDS = 200


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with empty_server() as url, Emulator() as emulator, emulator.client() as caged, httpx.Client(base_url=url) as http:
        boxes: list[str] = []

        def trip() -> None:
            http.get("/").raise_for_status()

        def spawn_and_trip() -> None:
            spawn()
            trip()

        def create() -> None:
            boxes.append(caged.sandboxes.create().id)

        def create_and_exec() -> None:
            create()
            caged.sandboxes.exec(boxes[-1], "true")

        box = caged.sandboxes.create().id
        bare, empty, execute = alternate(rounds, spawn, trip, lambda: caged.sandboxes.exec(box, "true"))
        paused_bare, _, paused_both, _, make, _, make_and_run, _, remove, _ = alternate(
            rounds,
            spawn,  # after the pause at the end
            pause,
            spawn_and_trip,
            pause,
            create,
            pause,
            create_and_exec,
            pause,
            lambda: caged.sandboxes.destroy(boxes.pop()),
            lambda: (caged.sandboxes.destroy(boxes.pop()), pause()),
        )
        warm = f"bash -c true {bare:.2f} + empty round trip {empty:.2f}"
        paused = "bash -c true + empty round trip, after a pause"
        return report(
            [
                Row('exec("true")', execute, bare + empty, warm, 1.35),
                Row("create", make, paused_both, paused, 2.5),
                Row("create + first exec", make_and_run, paused_bare, "bash -c true, after a pause", FIRST_EXEC),
                Row("destroy", remove, paused_both, paused, 1.5),
            ]
        )


if __name__ == "__main__":
    sys.exit(main())

"""python benchmarks/latency.py: exec and create through the SDK against a bare spawn and an empty round trip."""

from __future__ import annotations

import subprocess
import sys

import httpx
from _empty import empty_server
from _timing import Row, alternate, report

from caged.emulator import Emulator

ROUNDS = 300


def main() -> int:
    with empty_server() as url, Emulator() as emulator, emulator.client() as caged, httpx.Client(base_url=url) as http:

        def spawn() -> None:
            subprocess.run(["bash", "-c", "true"], check=True)

        def trip() -> None:
            http.get("/").raise_for_status()

        sandbox = caged.sandboxes.create()
        rows = []
        for name, bound, act in (
            ('exec("true")', 1.5, lambda: caged.sandboxes.exec(sandbox.id, "true")),
            ("create", 8.0, caged.sandboxes.create),
        ):
            bare, empty, ours = alternate(ROUNDS, spawn, trip, act)
            against = f"bash -c true {bare:.2f} + empty round trip {empty:.2f}"
            rows.append(Row(name, ours, bare + empty, against, bound))
        code = report(rows)
        print(f"{len(caged.sandboxes.list())} sandboxes alive in the end")
    return code


if __name__ == "__main__":
    sys.exit(main())

"""python benchmarks/double.py: what faults and the journal cost those who use neither: a GET and an exec as they are,
with a hundred faults of another account, and without both, in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable

import httpx
from _timing import Row, alternate, report

from caged.emulator import Emulator

GETS, EXECS = 3000, 600
#: More than that would be felt.
BOUND = 1.1
FAULTS = 100


def main() -> int:
    with Emulator() as emulator, httpx.Client(base_url=f"{emulator.base_url}/v1") as http:
        http.headers["Authorization"] = f"Bearer {emulator.api_key}"
        box = http.post("/sandboxes", json={"template": "minimal"}).json()["id"]
        services = emulator._running().platform
        take, finish, none = services.faults.take, services.journal.finish, dict(services.faults._faults)
        other = emulator.create_account()
        for _ in range(FAULTS):
            emulator.faults.add("sandboxes.*", status=503, account=other.id)
        theirs = dict(services.faults._faults)

        def without(act: Callable[[], object]) -> Callable[[], None]:
            """As it was before there were faults, and bodies in the journal."""

            def run() -> None:
                services.faults.take = lambda *_: None  # type: ignore[method-assign]
                services.journal.finish = lambda *_: None  # type: ignore[method-assign]
                act()
                services.faults.take = take  # type: ignore[method-assign]
                services.journal.finish = finish  # type: ignore[method-assign]

            return run

        def among(faults: dict[str, object], act: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                services.faults._faults = faults  # type: ignore[assignment]
                act()

            return run

        def get() -> None:
            http.get(f"/sandboxes/{box}").raise_for_status()

        def execute() -> None:
            http.post(f"/sandboxes/{box}/exec", json={"command": "true"}).raise_for_status()

        rows = []
        for name, rounds, act in (("GET /v1/sandboxes/{id}", GETS, get), ('exec("true")', EXECS, execute)):
            before, unused, many = alternate(rounds, without(act), among(none, act), among(theirs, act))
            rate = f"{1000 / before:.0f} per second without faults and the journal's bodies"
            rows.append(Row(f"{name}, {1000 / unused:.0f} per second", unused, before, rate, BOUND))
            rows.append(
                Row(f"{name}, {FAULTS} faults elsewhere, {1000 / many:.0f} per second", many, before, rate, BOUND)
            )
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())

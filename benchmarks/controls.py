"""python benchmarks/controls.py: what controls cost.

- Calls of controls within the process against the same calls over HTTP, in turns; each ratio is the median of several
  rounds.
- Faults and the journal for those who use neither: a GET and an exec as they are, with a hundred faults of another
  account, and without both, in turns.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import httpx
from _timing import Row, alternate, report

from caged.emulator import Emulator, RemoteEmulator
from caged.emulator.control_client.base_emulator import BaseEmulator

#: Rounds of calls of controls, and calls of each kind in a round.
ROUNDS, CALLS = 5, 300
#: Of calls within the process against those over HTTP.
TRANSPORT_BOUND = 0.5
GETS, EXECS = 3000, 600
#: Of what those pay who use no controls; more than that would be felt.
BOUND = 1.1
FAULTS = 100


def main() -> int:
    with Emulator() as emulator:
        return report(_transports(emulator) + _unused(emulator))


def _transports(emulator: Emulator) -> list[Row]:
    """Controls within the process, against those over HTTP."""

    def add_and_remove(controls: BaseEmulator) -> None:
        controls.faults.add("sandboxes.*", status=503).remove()

    def account(controls: BaseEmulator) -> None:
        with controls.account():
            pass

    acts: list[tuple[str, Callable[[BaseEmulator], object]]] = [
        ("clock.now()", lambda controls: controls.clock.now()),
        ("faults.add(…), remove()", add_and_remove),
        ("journal.requests()", lambda controls: controls.journal.requests()),
        ("an account of its own", account),
    ]
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        return [_transport_row(name, act, emulator, remote) for name, act in acts]


def _transport_row(name: str, act: Callable[[BaseEmulator], object], emulator: Emulator, remote: RemoteEmulator) -> Row:
    rounds = [alternate(CALLS, lambda: act(emulator), lambda: act(remote)) for _ in range(ROUNDS)]
    within, http = min(rounds, key=lambda one: abs(one[0] / one[1] - _median_ratio(rounds)))
    return Row(f"{name}, {1000 / within:.0f} per second", within, http, "over HTTP", TRANSPORT_BOUND)


def _median_ratio(rounds: list[list[float]]) -> float:
    return statistics.median(within / http for within, http in rounds)


def _unused(emulator: Emulator) -> list[Row]:
    """Calls of the API with faults and the journal, against those without."""
    with httpx.Client(base_url=f"{emulator.base_url}/v1") as http:
        http.headers["Authorization"] = f"Bearer {emulator.api_key}"
        box = http.post("/sandboxes", json={"template": "minimal"}).json()["id"]
        platform = emulator._running().platform
        take, finish, none = platform.faults.take, platform.journal.finish, dict(platform.faults._controls)
        other = emulator.create_account()
        for _ in range(FAULTS):
            emulator.faults.add("sandboxes.*", status=503, account=other.id, optional=True)
        theirs = dict(platform.faults._controls)

        def without(act: Callable[[], object]) -> Callable[[], None]:
            """As it was before there were faults, and bodies in the journal."""

            def run() -> None:
                platform.faults.take = lambda *_: None  # type: ignore[method-assign]
                platform.journal.finish = lambda *_: None  # type: ignore[method-assign]
                act()
                platform.faults.take = take  # type: ignore[method-assign]
                platform.journal.finish = finish  # type: ignore[method-assign]

            return run

        def among(faults: dict[str, object], act: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                platform.faults._controls = faults  # type: ignore[assignment]
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
    return rows


if __name__ == "__main__":
    sys.exit(main())

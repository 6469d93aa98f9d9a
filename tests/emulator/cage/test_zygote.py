"""The process that forks: what it ends when the init of a sandbox has ended."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from emulator_testing import Api, eventually, live

#: So many that one is lost in two of three runs where the zygote takes what is orphaned for what an init has left.
PROCESSES = 300


def test_killed_init_of_one_sandbox_costs_another_no_process(process_api: Api, process_box: str) -> None:
    api, box = process_api, process_box
    # Each loses its parent, at a moment in which the zygote may look for what a killed init has left.
    command = f"for i in $(seq {PROCESSES}); do (((sleep 0.05; echo $i >> done) &) &); done"
    with ThreadPoolExecutor() as threads:
        starting = threads.submit(api.output, box, command)
        while not starting.done():
            other = api.sandbox()
            cage = live(api.emulator, other).cage
            os.kill(eventually(lambda: cage.init_pid, "the zygote to report the init"), signal.SIGKILL)  # noqa: B023
            assert api.delete(f"/sandboxes/{other}").status_code == 204
        starting.result()

    def lines() -> int:
        return api.read(box, "done").text.count("\n")

    eventually(lambda: lines() == PROCESSES, lambda: f"{PROCESSES} processes to end by themselves; {lines()} have")

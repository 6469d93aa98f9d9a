"""The process that forks: what it ends when the init of a sandbox, or its emulator, has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulator_testing import Api, eventually, live

#: So many that one is lost in two of three runs where the zygote takes what is orphaned for what an init has left.
PROCESSES = 300

#: An emulator that is killed while its zygote has not yet read the request for a sandbox. The zygote is stopped, so
#: that it reads the request afterwards.
_KILLED_IN_MID_CREATE = """
import asyncio, os, signal, sys
from pathlib import Path
from caged.emulator.cage.zygote import Zygote

async def main():
    zygote = Zygote(Path(sys.argv[1]))
    spec = {"id": "sbx_1", "isolation": sys.argv[2], "users": None, "network": "none"}
    first = await zygote.create(spec)
    os.kill(zygote.pid, signal.SIGSTOP)
    os.waitpid(zygote.pid, os.WUNTRACED)
    second = await zygote.create(spec)
    print(zygote.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


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


@pytest.mark.parametrize("isolation", ["process", "namespace"])
def test_kill_of_emulator_with_unread_create_removes_directory(tmp_path: Path, isolation: str) -> None:
    """Neither the emulator's socket nor that of the sandbox can be written to any more."""
    directory = tmp_path / "run"
    (directory / "sandboxes" / "sbx_1").mkdir(parents=True)
    (directory / "lock").touch()
    words = [sys.executable, "-c", _KILLED_IN_MID_CREATE, str(directory), isolation]
    # Its own error output, which the zygote has too, ends when both have ended.
    emulator = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert emulator.stdout
    zygote = emulator.stdout.readline().strip()
    assert emulator.wait(60) == -signal.SIGKILL
    os.kill(int(zygote), signal.SIGCONT)
    assert emulator.communicate(timeout=60) == ("", "")
    assert not directory.exists()

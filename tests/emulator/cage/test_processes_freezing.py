"""Stopping all processes of a sandbox, also those that continue each other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from caged.emulator.cage.inside.processes import ProcessTree, is_held

#: Four processes that continue all others of their group as fast as they can.
_CONTINUING = """
import os, signal, sys
for _ in range(4):
    if os.fork() == 0:
        while True:
            os.killpg(0, signal.SIGCONT)
print("started", flush=True)
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_that_continue_each_other_stay_stopped() -> None:
    command = [sys.executable, "-S", "-c", _CONTINUING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline() == b"started\n"
            tree = ProcessTree(parent.pid)
            missed = 0
            for _ in range(20):
                tree.freeze()
                missed += any(not is_held(pid) for pid in tree.all_pids())
                tree.thaw()
            assert missed <= 3  # on a busy machine, one may not be scheduled until the freeze gives up
        finally:
            parent.stdin.close()
            parent.wait(20)
    assert not os.path.exists(f"/proc/{parent.pid}")

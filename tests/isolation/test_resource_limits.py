"""Limits on what a sandbox uses of the machine, at every level."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caged import Caged
from caged.emulator import ConfigError, Emulator, EmulatorError
from caged.emulator.cage.cgroups import MemoryGroups


def test_command_over_memory_limit_is_killed_and_sandbox_survives(client: Caged) -> None:
    box = client.sandboxes.create(template="python-312", memory_mb=128)
    over = client.sandboxes.exec(box.id, "python3 -c 'print(len(b\"x\" * (400 << 20)))'")
    assert over.error is None
    assert over.exit_code == 137 or "MemoryError" in over.output  # by the limit of the group, or of the process
    assert client.sandboxes.exec(box.id, "python3 -c 'print(len(b\"x\" * (30 << 20)))'").ok
    reported = [entry.message for entry in client.sandboxes.logs(box.id) if "128 MB" in entry.message]
    assert len(reported) == 1
    client.sandboxes.destroy(box.id)


@pytest.mark.parametrize("level", ["namespace", "bwrap", "process"])
def test_control_group_limits_memory_of_all_processes(level: str, tmp_path: Path) -> None:
    try:
        emulator = Emulator(isolation=level, memory_limit="sandbox").start()
    except (ConfigError, EmulatorError) as error:
        pytest.skip(str(error).splitlines()[0])
    with emulator.client() as client:
        box = client.sandboxes.create(template="python-312", memory_mb=128)
        exceed_memory_together(client, box.id)
        lines = client.sandboxes.exec(box.id, "cat /proc/self/cgroup").output.splitlines()
        (name,) = {Path(line).name for line in lines if line.endswith(box.id)}
    groups = MemoryGroups.find(tmp_path)
    assert groups is not None
    pattern = name[: -len(box.id)] + "*"
    assert [group.name for group in groups.parent.glob(pattern)] == [name]
    emulator.stop()
    assert not list(groups.parent.glob(pattern))


def exceed_memory_together(client: Caged, box: str) -> None:
    hog = """
import subprocess, sys, time
hold = "held = b'x' * (50 << 20); import time; time.sleep(30)"
hogs = [subprocess.Popen([sys.executable, "-c", hold]) for _ in range(4)]
deadline = time.monotonic() + 20
while time.monotonic() < deadline and not [hog for hog in hogs if hog.poll() == -9]:
    time.sleep(0.01)
for hog in hogs:
    hog.kill()
sys.exit(1)
"""
    client.files.write(box, "/workspace/hog.py", hog)
    together = client.sandboxes.exec(box, "python3 hog.py")
    assert not together.ok
    assert any("want of memory" in entry.message for entry in client.sandboxes.logs(box))


@pytest.mark.parametrize("client", ["namespace"], indirect=True)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one core")
def test_nproc_reports_cpus_of_sandbox(client: Caged) -> None:
    box = client.sandboxes.create(cpus=1)
    assert client.sandboxes.exec(box.id, "nproc").output == "1\n"
    client.sandboxes.destroy(box.id)


# The kernel counts the processes of a user at level `process`; init counts those of its namespace at the others.
@pytest.mark.parametrize("client", ["namespace", "process"], indirect=True)
# Not a real fork bomb: 600 processes that sleep, forks without a program of their own.
def test_too_many_processes_affect_no_other_sandbox_and_end_with_theirs(client: Caged) -> None:
    box = client.sandboxes.create(template="python-312")
    bomb = """
import os, time
try:
    for number in range(600):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(30)  # init counts at intervals
except OSError as error:
    print("refused", error.errno)
"""
    client.files.write(box.id, "/workspace/bomb.py", bomb)
    result = client.sandboxes.exec(box.id, "python3 bomb.py")
    assert "refused 11" in result.output or result.exit_code == 137  # limited by the kernel, or by init
    other = client.sandboxes.create()
    assert client.sandboxes.exec(other.id, "echo fine").output == "fine\n"
    client.sandboxes.destroy(box.id)
    client.sandboxes.destroy(other.id)


def test_no_limits_option_disables_limits() -> None:
    with Emulator(isolation="process", limits=False) as emulator, emulator.client() as client:
        box = client.sandboxes.create(memory_mb=128)
        with_limits, without = "134217728", "unlimited"
        assert with_limits not in client.sandboxes.exec(box.id, "grep 'Max data size' /proc/self/limits").output
        assert without in client.sandboxes.exec(box.id, "grep 'Max data size' /proc/self/limits").output

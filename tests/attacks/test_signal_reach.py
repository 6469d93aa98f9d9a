"""Isolation level `process`: a command can send signals only to processes of its own sandbox.

The signals sent here have no effect: 0 only checks the permission, and SIGCONT goes to a running process. Never
send one to -1 from a test: without the protection it would reach every process of the machine.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fork_server
import pytest
from isolation_testing import python
from leftovers import until
from levels import Served, has_landlock_scopes

REFUSING = [sys.executable, str(Path(__file__).parents[1] / "tools" / "refusing.py")]
ROOT = os.geteuid() == 0

# System calls that the kernel refuses, so that the next best method is used.
MACHINES = {"as it is": [], "without Landlock": [*REFUSING, "landlock"]}
NEITHER = [*REFUSING, "landlock,setuid"]


def need(words: list[str]) -> None:
    done = fork_server.run([*words, "true"], capture_output=True, text=True) if words else None
    if done is not None and done.returncode != 0:
        pytest.skip(f"cannot make this machine refuse it: {done.stderr.strip()}")


@pytest.fixture(scope="module", params=MACHINES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not ROOT and (request.param != "as it is" or not has_landlock_scopes()):
        pytest.skip("an ordinary user's signals are confined by Landlock alone (Linux 6.12)")
    need(MACHINES[request.param])
    served = Served(tmp_path_factory.mktemp("signals"), "process", wrap=MACHINES[request.param])
    yield served
    served.stop()


@contextlib.contextmanager
def victim() -> Iterator[int]:
    """A process outside of the sandbox, with the emulator's user and its own process group."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


# 434 and 424: pidfd_open and pidfd_send_signal, 129 or 138 rt_sigqueueinfo.
REACHES = """
    import ctypes, json, os, platform, signal, sys
    victim, libc = {pid}, ctypes.CDLL(None, use_errno=True)

    def call(*words):
        if libc.syscall(*words) < 0:
            raise OSError(ctypes.get_errno(), "")

    def queue(number):
        info = (ctypes.c_int * 32)(number, 0, -1)
        call({{"x86_64": 129, "aarch64": 138}}.get(platform.machine(), -1), victim, number, info)

    ways = {{
        "kill": lambda: os.kill(victim, 0),
        "continue": lambda: os.kill(victim, signal.SIGCONT),
        "group": lambda: os.killpg(victim, 0),
        "pidfd": lambda: call(424, libc.syscall(434, victim, 0), 0, None, 0),
        "queue": lambda: queue(0),
        "thread": lambda: call({{"x86_64": 234, "aarch64": 131}}.get(platform.machine(), -1), victim, victim, 0),
    }}
    reached = []
    for name, way in ways.items():
        try:
            way()
            reached.append(name)
        except OSError:
            pass
    print(json.dumps(reached))
"""


def test_command_cannot_signal_process_outside(served: Served) -> None:
    with victim() as pid, served.sandbox(template="python-312") as box:
        for target in (pid, served.process.pid, served.zygote, os.getpid()):
            assert python(served, box, REACHES.format(pid=target)) == []


def test_command_cannot_signal_other_sandbox(served: Served) -> None:
    with served.sandbox() as other, served.sandbox(template="python-312") as box:
        pid = int(served.run(other, "sleep 60 > /dev/null 2>&1 & echo $!"))
        assert python(served, box, REACHES.format(pid=pid)) == []
        served.run(other, f"kill -0 {pid}")


def test_command_can_signal_own_sandbox(served: Served) -> None:
    with served.sandbox() as box:
        pid = int(served.run(box, "sleep 60 > /dev/null 2>&1 & echo $!"))
        served.run(box, f"kill -0 {pid} && kill {pid}")


def test_pause_and_stop_work(served: Served) -> None:
    with served.sandbox() as box:
        pid = int(served.run(box, "setsid sleep 60 > /dev/null 2>&1 & echo $!"))
        served.client.sandboxes.pause(box)
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        served.client.sandboxes.resume(box)
        served.run(box, f"kill -0 {pid}")
    assert not Path(f"/proc/{pid}").exists()


def test_files_git_and_agents_work(served: Served) -> None:
    with served.sandbox(template="python-312", agents=["claude-code"]) as box:
        served.client.files.write(box, "/workspace/made/by-api", "one")
        served.run(box, "echo two >> made/by-api && git init -q . && git add . && git status --short")
        served.run(box, "test -r made && test -w made/by-api && mkdir d && mv made d && claude --version")
        assert served.client.files.read(box, "/workspace/d/made/by-api") == "onetwo\n"


@pytest.mark.skipif(not ROOT, reason="an ordinary user's processes are not the machine's")
def test_auto_as_root_fails_with_advice_where_signals_cannot_be_confined(tmp_path: Path) -> None:
    words = [*REFUSING, "landlock,setuid,namespaces"]
    need(words)
    done = fork_server.run(
        [*words, sys.executable, "-m", "caged.emulator", "serve", "--port", "0"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "--isolation process" in done.stderr
    assert "could end every process of root" in done.stderr


@pytest.mark.skipif(not ROOT, reason="an ordinary user's processes are not the machine's")
def test_process_by_name_warns_where_signals_cannot_be_confined(tmp_path: Path) -> None:
    need(NEITHER)
    served = Served(tmp_path, "process", wrap=NEITHER)
    try:
        with served.sandbox() as box:
            assert served.run(box, "id -u") == "0\n"
    finally:
        printed = served.stop()
    assert "a command can end every process of root on this machine" in printed


@pytest.mark.skipif(not ROOT, reason="an ordinary user's processes are not the machine's")
def test_auto_as_root_takes_process_where_signals_are_confined(tmp_path: Path) -> None:
    words = [*REFUSING, "landlock,namespaces"]
    need(words)
    served = Served(tmp_path, "auto", wrap=words)
    try:
        with served.sandbox() as box, victim() as pid:
            assert served.run(box, "id -u") != "0\n"
            assert not served.client.sandboxes.exec(box, f"kill -0 {pid}").ok
    finally:
        printed = served.stop()
    assert "a command can end every process" not in printed

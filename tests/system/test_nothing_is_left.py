"""No process and no directory of an emulator is left, however it ends."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import fork_server
import pytest
from faults import ESCAPED, ESCAPES, FAULTS, SECONDS, SURVIVED, escape, kill, survivors_of_all
from leftovers import mounts, processes_with, run_dirs, unique_seconds, until
from levels import OWN_USER, Served, isolation, need

from caged import CagedConnectionError
from caged.emulator import ConfigError, Emulator
from caged.emulator.run_directory import sweep


@pytest.fixture(params=OWN_USER)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """An emulator process of the test's own, at each isolation level that this machine has."""
    need(request.param)
    served = Served(tmp_path, request.param)
    yield served
    served.end()
    assert mounts() == []


@pytest.fixture(scope="module")
def shared_by_level(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    """Return the emulator of a level, started when it is first needed."""
    started: dict[str, Served] = {}

    def lasting(level: str) -> Served:
        if level not in started:
            started[level] = Served(tmp_path_factory.mktemp("lasting"), level)
        return started[level]

    yield lasting
    for served in started.values():
        served.stop()
        assert run_dirs(served.tmp) == []
    assert mounts() == []


@pytest.fixture(params=OWN_USER)
def lasting(request: pytest.FixtureRequest, shared_by_level: Callable[[str], Served]) -> Iterator[Served]:
    """An emulator process at each isolation level, shared by the module. Tests must not end it."""
    need(request.param)
    served = shared_by_level(request.param)
    yield served
    for box in served.client.sandboxes.list():
        served.client.sandboxes.destroy(box.id)
    assert served.process.poll() is None


@pytest.fixture(params=OWN_USER)
def level(request: pytest.FixtureRequest) -> str:
    """An isolation level for an emulator in this process, with this process's user."""
    need(request.param)
    return isolation(request.param)


def start_escapees(served: Served, mark: str) -> str:
    box = served.client.sandboxes.create().id
    escape(served, box, mark)
    return box


def wait_for_no_process(mark: str, seconds: float = SECONDS) -> None:
    until(lambda: not processes_with(mark), seconds, lambda: processes_with(mark))


#: The faults of single processes, after which the tests below look at more.
OF_OTHER_TESTS = ("kill -9 of the emulator", "kill -9 of the zygote", "kill -9 of a sandbox's init")


# An emulator starts three times, and the faults during creates need some creates first.
@pytest.mark.parametrize("level", OWN_USER)
def test_fault_leaves_nothing(tmp_path: Path, level: str) -> None:
    need(level)
    # One emulator is enough for the faults that it survives, so these come first. The moment is random;
    # scripts/faults tries many.
    names = sorted(FAULTS.keys() - set(OF_OTHER_TESTS), key=lambda name: (name not in SURVIVED, name))
    assert survivors_of_all(names, tmp_path, level, random.Random()) == []


def test_destroy_returns_when_every_escaped_process_is_gone(lasting: Served) -> None:
    mark = unique_seconds()
    lasting.client.sandboxes.destroy(start_escapees(lasting, mark))
    assert processes_with(mark) == []


def test_destroy_of_paused_sandbox_kills_frozen_processes(lasting: Served) -> None:
    mark = unique_seconds()
    box = start_escapees(lasting, mark)
    lasting.client.sandboxes.pause(box)
    lasting.client.sandboxes.destroy(box)
    assert processes_with(mark) == []


def test_kill_of_emulator_ends_running_and_paused_sandboxes(served: Served) -> None:
    mark, of_running = unique_seconds(), unique_seconds()
    served.client.sandboxes.pause(start_escapees(served, mark))
    start_escapees(served, of_running)
    served.process.kill()
    wait_for_no_process(mark)
    wait_for_no_process(of_running)
    until(lambda: not served.ours(), what=served.ours)
    until(lambda: not run_dirs(served.tmp), what=lambda: run_dirs(served.tmp))


def test_stop_leaves_nothing(tmp_path: Path, level: str) -> None:
    mark = unique_seconds()
    with Emulator(state_dir=tmp_path, isolation=level) as emulator, emulator.client() as client:
        box = client.sandboxes.create().id
        assert client.sandboxes.exec(box, ESCAPES.format(mark=mark)).ok
        assert run_dirs(tmp_path)
    assert processes_with(mark) == []
    assert run_dirs(tmp_path) == []
    assert mounts() == []


def test_failed_start_leaves_nothing(tmp_path: Path) -> None:
    with Emulator(allow_unused=True) as running:
        port = int(running.base_url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="choose another port"):
            Emulator(port=port, state_dir=tmp_path).start()
    assert run_dirs(tmp_path) == []


def test_kill_of_init_ends_only_its_sandbox(lasting: Served) -> None:
    mark, of_other = unique_seconds(), unique_seconds()
    other = start_escapees(lasting, of_other)
    box, init = lasting.create_with_init()
    escape(lasting, box, mark)
    kill(init)
    wait_for_no_process(mark)
    until(lambda: lasting.client.sandboxes.get(box).status == "error")
    result = lasting.client.sandboxes.exec(box, "true")
    assert result.error
    assert result.exit_code == -1
    assert "killed from outside" in lasting.client.sandboxes.logs(box)[-1].message
    assert len(processes_with(of_other)) >= ESCAPED
    assert lasting.run(other, "echo alive") == "alive\n"
    lasting.client.sandboxes.destroy(box)
    assert not lasting.sandbox_dir(box).exists()


def test_emulator_creates_sandboxes_after_kill_of_zygote(lasting: Served) -> None:
    mark = unique_seconds()
    box = start_escapees(lasting, mark)
    kill(lasting.zygote)
    wait_for_no_process(mark)
    until(lambda: lasting.client.sandboxes.get(box).status == "error")
    with lasting.sandbox() as again:
        assert lasting.run(again, "echo again") == "again\n"


#: All three signals take the same path to the stop at every level: one level is enough for two of them.
SIGNALS = [(signal.SIGTERM, level) for level in OWN_USER]
SIGNALS += [(number, "namespace") for number in (signal.SIGINT, signal.SIGHUP)]


@pytest.mark.parametrize(("number", "served"), SIGNALS, indirect=["served"])
def test_signal_during_exec_stops_emulator(served: Served, number: signal.Signals) -> None:
    mark = unique_seconds()
    box = served.client.sandboxes.create().id
    outcome: list[object] = []

    def work() -> None:
        try:
            outcome.append(served.client.sandboxes.exec(box, f"sleep {mark}"))
        except CagedConnectionError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: processes_with(mark))
    served.process.send_signal(number)
    assert served.process.wait(60) == 0
    thread.join(60)
    assert len(outcome) == 1
    wait_for_no_process(mark)
    assert run_dirs(served.tmp) == []


# As a bwrap ends its sandbox, so does init at level `namespace`: with its namespace of processes.
@pytest.mark.parametrize("served", ["namespace", "process"], indirect=True)
def test_second_sigint_ends_emulator_without_waiting(served: Served) -> None:
    mark = unique_seconds()
    start_escapees(served, mark)
    served.process.send_signal(signal.SIGINT)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(60) in (0, 128 + signal.SIGINT)
    wait_for_no_process(mark)
    assert run_dirs(served.tmp) == []


def test_disconnect_kills_only_command_of_that_client(lasting: Served) -> None:
    mine, other = unique_seconds(), unique_seconds()
    box = start_escapees(lasting, other)
    with pytest.raises(Exception, match="timed out"):
        lasting.client.sandboxes.exec(box, ESCAPES.format(mark=mine) + f"\nsleep {mine}", timeout=0.3)
    wait_for_no_process(mine)
    assert len(processes_with(other)) >= ESCAPED
    assert lasting.run(box, "echo alive") == "alive\n"


def test_interpreter_exit_without_stop_leaves_nothing(tmp_path: Path, level: str) -> None:
    mark = unique_seconds()
    code = f"""
from caged.emulator import Emulator
emulator = Emulator(state_dir={str(tmp_path)!r}, isolation={level!r}).start()
client = emulator.client()
client.sandboxes.exec(client.sandboxes.create().id, "setsid sleep {mark} >/dev/null 2>&1 &")
"""
    # An interpreter's own exit at one level; what is to be ended differs by level, and not when that is done.
    run = subprocess.run if level == "namespace" else fork_server.run
    run([sys.executable, "-c", code], check=True, timeout=60)
    assert processes_with(mark) == []
    assert run_dirs(tmp_path) == []


def test_sweep_keeps_running_emulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Emulator() as emulator, emulator.client() as client:
        box = client.sandboxes.create().id
        sweep(tmp_path)
        with Emulator(isolation="process"):
            pass
        assert client.sandboxes.exec(box, "echo alive").output == "alive\n"

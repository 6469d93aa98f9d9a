"""However an emulator ends, no process and no directory of it stays."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import ESCAPED, ESCAPES, FAULTS, SECONDS, escape, kill, survivors
from leftovers import mounts, processes_with, run_dirs, unique_seconds, until
from levels import LEVELS, Served, isolation, need

from caged import CagedConnectionError
from caged.emulator import ConfigError, Emulator
from caged.emulator.run_directory import sweep


@pytest.fixture(params=LEVELS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """An emulator process of the test's own, at each isolation level that this machine has."""
    need(request.param)
    served = Served(tmp_path, request.param)
    yield served
    served.end()
    assert mounts() == []


@pytest.fixture(params=[level for level in LEVELS if not level.endswith("-user")])
def level(request: pytest.FixtureRequest) -> str:
    """For an emulator in this process, which has this process's user."""
    need(request.param)
    return isolation(request.param)


def start_escapees(served: Served, mark: str) -> str:
    box = served.client.sandboxes.create().id
    escape(served, box, mark)
    return box


def no_process(mark: str, seconds: float = SECONDS) -> None:
    until(lambda: not processes_with(mark), seconds, lambda: processes_with(mark))


# Two to four seconds each: two starts of an emulator, and those in mid-create create for a while.
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_leaves_anything(tmp_path: Path, level: str, fault: str) -> None:
    need(level)
    # Any moment is as good as another here; scripts/faults tries many.
    assert survivors(fault, tmp_path, level, random.Random()) == []


def test_destroy_returns_when_every_escaped_process_is_gone(served: Served) -> None:
    mark = unique_seconds()
    served.client.sandboxes.destroy(start_escapees(served, mark))
    assert processes_with(mark) == []


def test_destroy_of_a_paused_sandbox_kills_what_is_frozen(served: Served) -> None:
    mark = unique_seconds()
    box = start_escapees(served, mark)
    served.client.sandboxes.pause(box)
    served.client.sandboxes.destroy(box)
    assert processes_with(mark) == []


def test_kill_9_of_the_emulator_with_a_paused_sandbox_takes_it_along(served: Served) -> None:
    mark = unique_seconds()
    served.client.sandboxes.pause(start_escapees(served, mark))
    served.process.kill()
    no_process(mark)
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


def test_a_failed_start_leaves_nothing(tmp_path: Path) -> None:
    with Emulator(allow_unused=True) as running:
        port = int(running.base_url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="choose another port"):
            Emulator(port=port, state_dir=tmp_path).start()
    assert run_dirs(tmp_path) == []


def test_kill_9_of_a_sandboxs_init_ends_that_sandbox_only(served: Served) -> None:
    mark, of_other = unique_seconds(), unique_seconds()
    other = start_escapees(served, of_other)
    box, init = served.create_with_init()
    escape(served, box, mark)
    kill(init)
    no_process(mark)
    until(lambda: served.client.sandboxes.get(box).status == "error")
    result = served.client.sandboxes.exec(box, "true")
    assert result.error
    assert result.exit_code == -1
    assert "killed from outside" in served.client.sandboxes.logs(box)[-1].message
    assert len(processes_with(of_other)) >= ESCAPED
    assert served.run(other, "echo alive") == "alive\n"
    served.client.sandboxes.destroy(box)
    assert not served.sandbox_dir(box).exists()


def test_kill_9_of_the_zygote_is_survived(served: Served) -> None:
    mark = unique_seconds()
    box = start_escapees(served, mark)
    kill(served.zygote)
    no_process(mark)
    until(lambda: served.client.sandboxes.get(box).status == "error")
    with served.sandbox() as again:
        assert served.run(again, "echo again") == "again\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_an_exec_stops_it_cleanly(served: Served, number: signal.Signals) -> None:
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
    assert served.process.wait(20) == 0
    thread.join(10)
    assert len(outcome) == 1
    no_process(mark)
    assert run_dirs(served.tmp) == []


def test_a_second_ctrl_c_does_not_wait(served: Served) -> None:
    mark = unique_seconds()
    start_escapees(served, mark)
    served.process.send_signal(signal.SIGINT)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(10) in (0, 128 + signal.SIGINT)
    no_process(mark)
    assert run_dirs(served.tmp) == []


def test_a_client_that_hangs_up_kills_its_command_and_nothing_else(served: Served) -> None:
    mine, other = unique_seconds(), unique_seconds()
    box = start_escapees(served, other)
    with pytest.raises(Exception, match="timed out"):
        served.client.sandboxes.exec(box, ESCAPES.format(mark=mine) + f"\nsleep {mine}", timeout=0.3)
    no_process(mine)
    assert len(processes_with(other)) >= ESCAPED
    assert served.run(box, "echo alive") == "alive\n"


def test_interpreter_exit_without_stop_leaves_nothing(tmp_path: Path, level: str) -> None:
    mark = unique_seconds()
    code = f"""
from caged.emulator import Emulator
emulator = Emulator(state_dir={str(tmp_path)!r}, isolation={level!r}).start()
client = emulator.client()
client.sandboxes.exec(client.sandboxes.create().id, "setsid sleep {mark} >/dev/null 2>&1 &")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert processes_with(mark) == []
    assert run_dirs(tmp_path) == []


def test_a_sweep_leaves_living_emulators_alone(tmp_path: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Emulator(isolation=level) as emulator, emulator.client() as client:
        box = client.sandboxes.create().id
        sweep(tmp_path)
        with Emulator(isolation="process"):
            pass
        assert client.sandboxes.exec(box, "echo alive").output == "alive\n"

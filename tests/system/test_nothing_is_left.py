"""However an emulator ends, no process and no directory of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import processes_with, run_dirs, unique_seconds, until

from caged import Caged, CagedConnectionError, CagedError
from caged.emulator import ConfigError, Emulator
from caged.emulator.rundir import sweep

# Everything a shell can do to get away from its parent: background, new session, double fork, ignored signals,
# closed output, an emptied environment.
ESCAPES = """
sleep {mark} &
setsid sleep {mark} >/dev/null 2>&1 &
(setsid sh -c 'sleep {mark} & sleep {mark} &' >/dev/null 2>&1 &)
trap '' HUP TERM INT; nohup sleep {mark} >/dev/null 2>&1 &
env -i setsid sleep {mark} >/dev/null 2>&1 &
"""
STARTED = 6


class Served:
    """A `caged-emulator serve` of its own, with its own temp directory."""

    def __init__(self, folder: Path) -> None:
        self.tmp = folder / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self._ready = folder / "ready.json"
        self._ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "caged.emulator", "serve", "--port", "0", "--ready-file", str(self._ready)],
            env={**os.environ, "TMPDIR": str(self.tmp)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until(lambda: self._ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[0]
        told = json.loads(self._ready.read_text())
        self.client = Caged(api_key=told["api_key"], base_url=told["base_url"])

    def end(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.end()


def start_escapees(client: Caged, mark: str) -> str:
    sandbox = client.sandboxes.create()
    assert client.sandboxes.exec(sandbox.id, ESCAPES.format(mark=mark)).ok
    until(lambda: sum("sleep" in line for line in processes_with(mark)) >= STARTED, what=lambda: processes_with(mark))
    return sandbox.id


def no_process(mark: str, seconds: float = 5.0) -> None:
    until(lambda: not processes_with(mark), seconds, lambda: processes_with(mark))


def test_destroy_returns_when_every_escaped_process_is_gone() -> None:
    mark = unique_seconds()
    with Emulator() as emulator, emulator.client() as client:
        client.sandboxes.destroy(start_escapees(client, mark))
        assert processes_with(mark) == []


def test_stop_leaves_nothing(tmp_path: Path) -> None:
    mark = unique_seconds()
    with Emulator(state_dir=tmp_path) as emulator, emulator.client() as client:
        start_escapees(client, mark)
        assert run_dirs(tmp_path)
    assert processes_with(mark) == []
    assert run_dirs(tmp_path) == []


def test_a_failed_start_leaves_nothing(tmp_path: Path) -> None:
    with Emulator() as running:
        port = int(running.base_url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="choose another port"):
            Emulator(port=port, state_dir=tmp_path).start()
    assert run_dirs(tmp_path) == []


def test_kill_9_of_the_emulator_takes_everything_along(served: Served) -> None:
    mark = unique_seconds()
    start_escapees(served.client, mark)
    served.process.kill()
    no_process(mark)
    until(lambda: not run_dirs(served.tmp), what=lambda: run_dirs(served.tmp))


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01])
def test_kill_9_in_the_middle_of_a_create_or_exec(served: Served, delay: float) -> None:
    mark = unique_seconds()
    begun = threading.Event()

    def work() -> None:
        try:
            for _ in range(50):
                begun.set()
                box = served.client.sandboxes.create(init_script=f"setsid sleep {mark} >/dev/null 2>&1 &")
                served.client.sandboxes.exec(box.id, f"sleep {mark} &")
        except CagedError:
            pass  # the emulator is dead: that is what this is about

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(5)
    until(lambda: processes_with(mark))
    threading.Event().wait(delay)
    served.process.kill()
    thread.join(20)
    assert not thread.is_alive()
    no_process(mark)
    until(lambda: not run_dirs(served.tmp), what=lambda: run_dirs(served.tmp))


def test_kill_9_of_emulator_and_zygote_together(served: Served, tmp_path: Path) -> None:
    mark = unique_seconds()
    start_escapees(served.client, mark)
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    os.kill(served.process.pid, signal.SIGSTOP)  # so that it cannot react between the two
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    served.process.kill()
    no_process(mark)
    # Nobody was left to remove the directory: the next start does.
    served.process.wait(10)
    assert run_dirs(served.tmp)
    again = Served(tmp_path)
    try:
        assert len(run_dirs(served.tmp)) == 1
    finally:
        again.process.send_signal(signal.SIGTERM)
        again.process.wait(20)
        again.end()
    assert run_dirs(served.tmp) == []


def test_kill_9_of_a_sandboxs_init_ends_that_sandbox_only() -> None:
    mark = unique_seconds()
    with Emulator() as emulator, emulator.client() as client:
        box = start_escapees(client, mark)
        other = client.sandboxes.create().id
        init = emulator._runtime.services.store.sandboxes[box].cage.init_pid  # type: ignore[union-attr]
        os.kill(init, signal.SIGKILL)
        no_process(mark)
        until(lambda: client.sandboxes.get(box).status == "error")
        result = client.sandboxes.exec(box, "true")
        assert result.error
        assert result.exit_code == -1
        assert "killed from outside" in client.sandboxes.logs(box)[-1].message
        assert client.sandboxes.exec(other, "echo alive").output == "alive\n"
        client.sandboxes.destroy(box)


def test_kill_9_of_the_zygote_is_survived() -> None:
    mark = unique_seconds()
    with Emulator() as emulator, emulator.client() as client:
        box = start_escapees(client, mark)
        os.kill(emulator._runtime.services.zygote.pid, signal.SIGKILL)  # type: ignore[union-attr]
        no_process(mark)
        until(lambda: client.sandboxes.get(box).status == "error")
        assert client.sandboxes.exec(client.sandboxes.create().id, "echo again").output == "again\n"


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
    start_escapees(served.client, mark)
    served.process.send_signal(signal.SIGINT)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(10) in (0, 128 + signal.SIGINT)
    no_process(mark)
    assert run_dirs(served.tmp) == []


def test_a_client_that_hangs_up_kills_its_command_and_nothing_else() -> None:
    mine, other = unique_seconds(), unique_seconds()
    with Emulator() as emulator, emulator.client() as client:
        box = start_escapees(client, other)
        with pytest.raises(Exception, match="timed out"):
            client.sandboxes.exec(box, ESCAPES.format(mark=mine) + f"\nsleep {mine}", timeout=0.3)
        no_process(mine)
        assert len(processes_with(other)) >= STARTED
        assert client.sandboxes.exec(box, "echo alive").output == "alive\n"


def test_interpreter_exit_without_stop_leaves_nothing(tmp_path: Path) -> None:
    mark = unique_seconds()
    code = f"""
from caged.emulator import Emulator
emulator = Emulator(state_dir={str(tmp_path)!r}).start()
client = emulator.client()
client.sandboxes.exec(client.sandboxes.create().id, "setsid sleep {mark} >/dev/null 2>&1 &")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert processes_with(mark) == []
    assert run_dirs(tmp_path) == []


def test_a_sweep_leaves_living_emulators_alone(tmp_path: Path) -> None:
    with Emulator(state_dir=tmp_path) as emulator, emulator.client() as client:
        box = client.sandboxes.create().id
        sweep(tmp_path)
        with Emulator(state_dir=tmp_path):
            pass
        assert client.sandboxes.exec(box, "echo alive").output == "alive\n"

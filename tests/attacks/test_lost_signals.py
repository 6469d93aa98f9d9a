"""A signal stops the emulator (Guard 13) also when the wake-up pipe of its event loop is full, when the loop is
busy, and before the loop exists."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest
from net_testing import LONG

from caged.emulator.config import EmulatorConfig
from caged.emulator.emulator import Emulator

SECONDS = 60

#: An emulator in the foreground, as `caged-emulator serve` runs it. `attack` is called on the loop when it is ready.
PROGRAM = """
import asyncio, os, signal, sys, threading, time
from caged.emulator.cli.foreground import Foreground
from caged.emulator.config import EmulatorConfig

def fill(loop):
    for _ in range(5000):  # far more than the loop's own pipe holds: each writes one byte
        loop.call_soon_threadsafe(lambda: None)

def attack(loop):
{attack}

foreground = Foreground(EmulatorConfig.make(port=0, isolation="process"), "serve", os.getpid())
{before}
foreground.run(lambda: attack(asyncio.get_running_loop()))
print("the run ended", flush=True)
"""

ATTACKS = {
    "full pipe, then {signal}": """
    fill(loop)
    os.kill(os.getpid(), {signal})
""",
    "{signal} while threads fill the pipe of a busy loop": """
    threads = [threading.Thread(target=fill, args=(loop,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.kill(os.getpid(), {signal})
    fill(loop)
""",
    "{signal} from a thread, to that thread, while the loop sleeps": """
    def send():
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), {signal})
    threading.Thread(target=send).start()
""",
    "a flood of SIGCHLD, then {signal}": """
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    fill(loop)
    for _ in range(2000):
        os.kill(os.getpid(), signal.SIGCHLD)
    os.kill(os.getpid(), {signal})
""",
    "every descriptor that wakes the loop is full, then {signal}": """
    fill(loop)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    for _ in range(70000 if "{signal}" == "signal.SIGTERM" else 1000):  # a pipe holds 65536 bytes
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), {signal})
""",
}
SIGNALS = ("signal.SIGTERM", "signal.SIGINT", "signal.SIGHUP")
#: Without --long: all signals for the first attack, one for each other.
CASES = [(name, signal) for name in ATTACKS for signal in SIGNALS[: 3 if LONG or name.startswith("full") else 1]]


def run(tmp_path: Path, attack: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program with an attack. It must end without help."""
    env = {**os.environ, "TMPDIR": str(tmp_path), "CAGED_EMULATOR_LOCATOR_DIR": str(tmp_path / "locators")}
    return fork_server.run(
        [sys.executable, "-c", PROGRAM.format(attack=attack, before=before)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=env,
    )


def left_in(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir() if entry.name != "locators" or list(entry.iterdir())]


@pytest.mark.parametrize(("name", "signal"), CASES, ids=[name.format(signal=number) for name, number in CASES])
def test_signal_during_attack_stops_emulator(tmp_path: Path, name: str, signal: str) -> None:
    done = run(tmp_path, ATTACKS[name].replace("{signal}", signal))
    assert done.returncode == 0, done.stderr
    assert "stopping" in done.stderr
    assert done.stdout.rstrip().endswith("the run ended")
    assert "Traceback" not in done.stderr
    assert "wakeup fd" not in done.stderr
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("signal", SIGNALS if LONG else SIGNALS[:1])
def test_signal_before_loop_runs_stops_emulator(tmp_path: Path, signal: str) -> None:
    before = f"""
import contextlib
real = asyncio.run
def run(work):
    os.kill(os.getpid(), {signal})  # after `run` was called and before a loop exists
    return real(work)
asyncio.run = run
"""
    done = run(tmp_path, "    raise AssertionError('it became ready')", before)
    assert done.returncode == 0, done.stderr
    assert "stopping" in done.stderr
    assert "it became ready" not in done.stderr
    assert left_in(tmp_path) == []


def test_signal_during_construction_leaves_nothing(tmp_path: Path) -> None:
    """Before `run` there is no loop to stop: the process ends with the signal's exit code."""
    done = run(tmp_path, "    pass", "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(20)")
    assert done.returncode == 128 + 15, done.stderr


def test_stop_requested_before_loop_exists_takes_effect() -> None:
    """After `request_stop` on a runtime that does not run yet, `run` returns at once."""
    import asyncio

    from caged.emulator.runtime import Runtime

    runtime = Runtime(EmulatorConfig.make(port=0, isolation="process"))
    try:
        runtime.request_stop()
        asyncio.run(asyncio.wait_for(runtime.run(lambda: None), SECONDS))
    finally:
        runtime.abandon()


def test_emulator_object_stops_although_wakeup_pipe_is_full() -> None:
    with Emulator(isolation="process") as emulator:
        loop = emulator._loop
        assert loop is not None
        for _ in range(5000):
            loop.call_soon_threadsafe(lambda: None)

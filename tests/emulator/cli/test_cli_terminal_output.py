"""The progress of long work on the command line: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess

import fork_server
import pytest
from cli_testing import COMMAND, Served, run
from terminal_testing import Relay, Terminal

ERASE = "\r\x1b[K"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running one, with its environment as `env`."""
    place = tmp_path_factory.mktemp("progress")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    env = {**bare, "CAGED_EMULATOR_LOCATOR_DIR": str(place / "locators"), "CAGED_ISOLATION": "process", "TERM": "xterm"}
    one = Served(place / "tmp", "--port", "0", env=env)
    one.env = env
    exports = one.exports()
    one.key = ("--admin-key", exports["CAGED_EMULATOR_ADMIN_KEY"])
    one.port = int(exports["CAGED_EMULATOR_URL"].rpartition(":")[2])
    yield one
    one.process.terminate()
    assert one.end() == 0


def slow(served, relay, words):
    """The words of a command whose emulator is behind a relay."""
    return [*COMMAND, *words, "--url", f"http://127.0.0.1:{relay.port}", *served.key]


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "state.tar.gz"
    assert run("export", str(path), env=served.env).returncode == 0
    return path


WORK = [
    (["export", "{new}"], "exporting", ""),
    (["import", "{archive}"], "importing", " of 0.0 MB"),
    (["reset"], "resetting", ""),
    (["clock", "advance", "--seconds", "1"], "moving the time on", ""),
    (["load-scenario", "{scenario}"], "loading the scenario", ""),
]


@pytest.mark.parametrize(("words", "what", "detail"), WORK, ids=[what for _words, what, _detail in WORK])
def test_long_work_shows_its_progress_and_removes_it(served, archive, tmp_path, words, what, detail):
    (tmp_path / "scenario.toml").write_text("")
    places = {"new": tmp_path / "new.tar.gz", "archive": archive, "scenario": tmp_path / "scenario.toml"}
    with Relay(served.port) as relay:
        relay.hold()
        with Terminal(slow(served, relay, [word.format(**places) for word in words]), served.env) as terminal:
            terminal.until(f"{ERASE}{what}")
            terminal.until("1 s")
            relay.release()
            text = terminal.rest()
    assert detail in text
    last = text.rpartition(ERASE)[2]
    assert what not in last, "it is gone"
    if what != "importing":  # its ids exist already
        assert (terminal.process.returncode, "Error" in text) == (0, False), text


def test_progress_is_not_part_of_an_output_that_is_not_a_terminal(served, tmp_path):
    with Relay(served.port) as relay:
        relay.hold()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = fork_server.Process(
            slow(served, relay, ["export", str(tmp_path / "x.tar.gz")]), env=served.env, **pipes
        )
        with Terminal(slow(served, relay, ["export", str(tmp_path / "y.tar.gz")]), served.env) as terminal:
            terminal.until("exporting")
            terminal.until("1 s")  # the other one began before
            relay.release()
            said, complained = process.communicate(timeout=60)
    assert (process.returncode, said, complained) == (0, "", "")


def test_work_that_is_quick_and_dumb_terminals_show_none(served, tmp_path):
    with Relay(served.port) as relay:
        with Terminal(
            slow(served, relay, ["export", str(tmp_path / "x.tar.gz")]), {**served.env, "TERM": "dumb"}
        ) as one:
            assert ERASE not in one.rest()
            assert one.process.returncode == 0


def test_stop_shows_that_it_waits(serve, env):
    served = serve("--port", "0")
    exports = served.exports()
    served.process.send_signal(signal.SIGSTOP)
    try:
        with Terminal([*COMMAND, "stop"], {**env, "TERM": "xterm"}) as terminal:
            terminal.until(f"{ERASE}stopping {exports['CAGED_EMULATOR_URL']}")
            served.process.send_signal(signal.SIGCONT)
            text = terminal.rest()
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert f"{ERASE}stopped {exports['CAGED_EMULATOR_URL']}" in text
    assert served.end() == 0


def test_exec_shows_that_a_scenario_is_loaded_and_its_command_has_the_signals(env, tmp_path):
    (tmp_path / "tmp").mkdir()
    scenario = tmp_path / "slow.toml"
    scenario.write_text('[[sandboxes]]\nname = "a"\ninit_script = "until [ -e go ]; do sleep 0.01; done"\n')
    words = [*COMMAND, "exec", "--scenario", str(scenario), "--", "sh", "-c", "echo ready; exec sleep 1000"]
    place = {**env, "TERM": "xterm", "TMPDIR": str(tmp_path / "tmp")}
    with Terminal(words, place) as terminal:
        terminal.until(f"{ERASE}loading the scenario")
        (workspace,) = (tmp_path / "tmp").glob("caged-*/sandboxes/*/workspace")
        (workspace / "go").touch()
        terminal.until("ready")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.rest()
        assert terminal.process.returncode == 143

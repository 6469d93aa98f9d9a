"""`caged-emulator env`, `status`, `stop` and `logs`: finding emulators that run already.

They are called in this process; one goes through a shell, as its user does."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess

import cli_testing
import fork_server
import pytest
from cli_testing import COMMAND, Served, next_line
from emulator_testing import eventually

from caged.emulator.cli.status import _duration

NONE_RUNS = "no emulator of yours is running; start one with `caged-emulator serve`"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two emulators, and where they are found."""
    place = tmp_path_factory.mktemp("two")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    environment = {
        **bare,
        "CAGED_EMULATOR_LOCATOR_DIR": str(place / "locators"),
        "CAGED_ISOLATION": "process",
        "TMPDIR": str(place),
    }
    served = []
    for name in ("first", "second"):
        served.append(Served(place / name, "--port", "0", env=environment))
        served[-1].exports()
    yield served, place / "locators"
    for one in served:
        one.process.terminate()
        assert one.end() == 0
    assert list((place / "locators").iterdir()) == []


@pytest.fixture
def call(env, monkeypatch):
    """Calls a command that looks where this test's `serve` is found."""
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", env["CAGED_EMULATOR_LOCATOR_DIR"])
    return cli_testing.call


@pytest.fixture
def call_two(two, call, monkeypatch):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", str(two[1]))
    return call


def port_of(served):
    return served.exports()["CAGED_BASE_URL"].rpartition(":")[2]


def test_env_works_in_a_shell(serve, env):
    served = serve()
    served.exports()
    script = f'eval "$({shlex.join(COMMAND)} env)" && env'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=env, timeout=60)
    assert {f"{name}={value}" for name, value in served.exports().items()} <= set(done.stdout.splitlines()), done.stderr


@pytest.mark.parametrize("by", ["--port", "--pid"])
def test_env_prints_what_that_one_printed_itself(two, call_two, by):
    for served in two[0]:
        said = call_two("env", by, port_of(served) if by == "--port" else str(served.process.pid))
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout.splitlines() == [line.strip() for line in served.lines if line.startswith("export ")]


def test_env_prints_json(two, call_two):
    said = call_two("env", "--json", "--pid", str(two[0][1].process.pid))
    assert json.loads(said.stdout) == two[0][1].exports()


@pytest.mark.parametrize("command", ["env", "stop", "logs"])
def test_several_running_emulators_are_an_error_that_lists_them(two, call_two, command):
    said = call_two(command)
    assert (said.returncode, said.stdout) == (1, "")
    assert "2 emulators are running; say which with --port or --pid" in said.stderr
    for served in two[0]:
        assert f"--pid {served.process.pid}  --port {port_of(served)}  http://127.0.0.1:" in said.stderr


@pytest.mark.parametrize("command", ["env", "stop", "logs"])
def test_pid_without_an_emulator_is_an_error_that_lists_the_running_ones(two, call_two, command):
    said = call_two(command, "--pid", "1")
    assert (said.returncode, said.stdout) == (1, "")
    assert "no emulator of yours has process number 1; running are:" in said.stderr
    assert str(two[0][0].process.pid) in said.stderr


@pytest.mark.parametrize("words", [["env"], ["status"], ["stop"], ["stop", "--all"], ["logs"], ["env", "--port", "1"]])
def test_no_running_emulator_is_an_error_that_says_what_to_do(call, env, words):
    said = call(*words)
    assert (said.returncode, said.stdout) == (1, "")
    assert NONE_RUNS in said.stderr
    assert env["CAGED_EMULATOR_LOCATOR_DIR"] in said.stderr


def test_status_has_a_line_for_each_emulator(two, call_two):
    two[0][1].post("/v1/sandboxes", {"template": "minimal"})
    said = call_two("status")
    assert said.returncode == 0
    header, first, second = said.stdout.splitlines()
    assert header.split() == ["URL", "KIND", "PID", "ISOLATION", "UP", "STATE"]
    pattern = r"http://127\.0\.0\.1:{} +serve +{} +\w+ +(?:\d+ min )?\d+ s +{}"
    assert re.fullmatch(pattern.format(port_of(two[0][0]), two[0][0].process.pid, "0 sandboxes"), first)
    assert re.fullmatch(pattern.format(port_of(two[0][1]), two[0][1].process.pid, "1 sandbox"), second)
    listed = [json.loads(line) for line in call_two("status", "--json").stdout.splitlines()]
    assert [one["pid"] for one in listed] == [served.process.pid for served in two[0]]
    assert [(one["kind"], one["sandboxes"], one["problem"]) for one in listed] == [("serve", 0, ""), ("serve", 1, "")]
    assert all(one["up_seconds"] >= 0 and one["isolation"] and one["url"] for one in listed)


def test_status_reports_an_emulator_that_does_not_answer(serve, call, monkeypatch):
    monkeypatch.setattr("caged.emulator.cli.status.STATUS_SECONDS", 0.1)
    served = serve()
    served.exports()
    served.process.send_signal(signal.SIGSTOP)
    try:
        assert "no answer within 0.1 s" in call("status").stdout
    finally:
        served.process.send_signal(signal.SIGCONT)


def test_a_duration_is_readable():
    assert [_duration(seconds) for seconds in (0, 59, 61, 7320)] == ["0 s", "59 s", "1 min 1 s", "2 h 2 min"]


def test_stop_returns_when_it_and_its_files_are_gone(env, call, tmp_path):
    command = [*COMMAND, "serve", "--port", "0"]
    with fork_server.Process(
        command, stdout=subprocess.PIPE, text=True, env={**env, "TMPDIR": str(tmp_path)}
    ) as process:
        url = next_line(process.stdout).split(" on ")[1].split()[0]
        said = call("stop")
        assert (said.returncode, said.stdout) == (0, f"stopped {url} (pid {process.pid})\n")
        assert list(tmp_path.iterdir()) == []
        assert process.wait(60) == 0


def test_stop_all_stops_all_and_no_others(serve, call):
    one, other = serve(), serve()
    one.exports(), other.exports()
    said = call("stop", "--all")
    assert said.returncode == 0
    assert sorted(said.stdout.splitlines()) == sorted(
        f"stopped {served.exports()['CAGED_BASE_URL']} (pid {served.process.pid})" for served in (one, other)
    )
    assert (one.end(), other.end()) == (0, 0)


def test_stop_does_not_wait_for_ever(serve, call):
    served = serve()
    served.exports()
    served.process.send_signal(signal.SIGSTOP)
    try:
        said = call("stop", "--timeout", "0.1")
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert (said.returncode, said.stdout) == (1, "")
    assert "has not ended within 0.1 s" in said.stderr
    assert f"kill -9 {served.process.pid}" in said.stderr


def test_stop_all_and_one_is_a_usage_error(call):
    assert call("stop", "--all", "--pid", "1").returncode == 2


def test_a_killed_emulator_is_not_found(serve, call, env):
    served = serve()
    served.exports()
    served.process.kill()
    served.end()
    assert NONE_RUNS in call("status").stderr
    assert os.listdir(env["CAGED_EMULATOR_LOCATOR_DIR"]) == []


def test_logs_prints_the_newest_lines(two, call_two):
    served = two[0][0]
    begun = len(served.errors)
    for _ in range(3):
        served.post("/v1/auth/device/code", {})
    eventually(lambda: len(served.errors) == begun + 3, "three lines of the log")
    number = str(served.process.pid)
    assert call_two("logs", "--pid", number).stdout == "".join(served.errors)
    assert call_two("logs", "-n", "2", "--pid", number).stdout == "".join(served.errors[-2:])
    assert call_two("logs", "-n", "0", "--pid", number).stdout == ""


def test_logs_follows_until_the_end(serve, env):
    served = serve()
    served.post("/v1/auth/device/code", {})
    follower = fork_server.Process([*COMMAND, "logs", "-f"], stdout=subprocess.PIPE, text=True, env=env)
    with follower:
        assert "device login" in next_line(follower.stdout)
        served.post("/v1/auth/device/code", {})
        assert "device login" in next_line(follower.stdout)
        served.process.terminate()
        assert "stopping" in next_line(follower.stdout)
        assert follower.stdout.read() == ""
        assert follower.wait(60) == 0


def test_an_emulator_that_has_no_place_to_be_found_at_only_warns(serve):
    served = serve(CAGED_EMULATOR_LOCATOR_DIR="/dev/null/x")
    assert served.get("/v1/account").status_code == 200
    eventually(lambda: served.errors, "the warning")
    assert "warning: env, status, stop and logs will not find this emulator: /dev/null/x: Not a d" in served.errors[0]

"""Which emulator a command is about: options, then the environment, then the only one that runs."""

from __future__ import annotations

import json
import logging
import os
import sys

import cli_testing
import pytest
from cli_testing import Served, run

from caged.emulator import Emulator

#: Every command that is about a running emulator, with arguments of which it takes no harm.
CONTROLS = [
    ("accounts", "list"),
    ("accounts", "create", "x"),
    ("agents", "list"),
    ("agents", "clear"),
    ("clock", "now"),
    ("clock", "reset"),
    ("commands", "list"),
    ("commands", "clear"),
    ("faults", "list"),
    ("faults", "clear"),
    ("inventory", "sandboxes"),
    ("journal", "requests"),
    ("journal", "clear"),
    ("env",),
    ("logs",),
    ("reset",),
    ("status",),
]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two emulators of the user, and the directory in which they are found."""
    place = tmp_path_factory.mktemp("two")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    environment = {**bare, "CAGED_EMULATOR_LOCATOR_DIR": str(place / "locators"), "CAGED_ISOLATION": "process"}
    served = [Served(place / name, "--port", "0", env=environment) for name in ("first", "second")]
    for one in served:
        one.exports()
    yield served, place / "locators"
    for one in served:
        one.process.terminate()
        assert one.end() == 0


@pytest.fixture(scope="module")
def elsewhere():
    """An emulator that no locator leads to, as one on another machine."""
    with Emulator(allow_unused=True) as emulator:
        yield emulator


@pytest.fixture
def call(two, monkeypatch):
    for name in ("CAGED_EMULATOR_URL", "CAGED_EMULATOR_ADMIN_KEY", "CAGED_API_KEY", "CAGED_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", str(two[1]))
    return cli_testing.call


@pytest.fixture
def environment(monkeypatch):
    def name(emulator):
        monkeypatch.setenv("CAGED_EMULATOR_URL", emulator.base_url)
        monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", emulator.admin_key)

    return name


def keys_of(call, *options):
    """The API keys of the accounts of the emulator that is meant."""
    done = call("accounts", "list", *options)
    assert done.returncode == 0, done.stderr
    return [line.split()[1] for line in done.stdout.splitlines()[1:]]


def port_of(served):
    return served.exports()["CAGED_BASE_URL"].rpartition(":")[2]


def options_for(emulator):
    return ("--url", emulator.base_url, "--admin-key", emulator.admin_key)


def test_emulator_of_the_environment_is_meant_though_others_run(call, elsewhere, environment):
    environment(elsewhere)
    assert elsewhere.api_key in keys_of(call)


def test_url_and_key_are_meant_though_the_environment_names_another(call, two, elsewhere, environment):
    environment(elsewhere)
    exports = two[0][0].exports()
    options = ("--url", exports["CAGED_EMULATOR_URL"] + "/", "--admin-key", exports["CAGED_EMULATOR_ADMIN_KEY"])
    assert exports["CAGED_API_KEY"] in keys_of(call, *options)


@pytest.mark.parametrize("by", ["--port", "--pid"])
def test_port_and_pid_are_meant_though_the_environment_names_another(call, two, elsewhere, environment, by):
    environment(elsewhere)
    for served in two[0]:
        value = port_of(served) if by == "--port" else str(served.process.pid)
        assert served.exports()["CAGED_API_KEY"] in keys_of(call, by, value)


@pytest.mark.parametrize("words", CONTROLS, ids=" ".join)
def test_every_control_command_reaches_the_emulator_that_is_named(call, elsewhere, environment, words):
    refused = call(*words)
    if words != ("status",):
        assert "2 emulators are running; say which" in refused.stderr
    assert call(*words, *options_for(elsewhere)).returncode == 0
    environment(elsewhere)
    assert call(*words).returncode == 0


def test_remote_emulator_is_controlled_completely(call, elsewhere, environment, tmp_path, monkeypatch):
    environment(elsewhere)
    account, key = call("accounts", "create", "mine").stdout.split()
    (tmp_path / "data.txt").write_text("read where the command runs")
    (tmp_path / "s.toml").write_text("[[sandboxes]]\nname = 'web'\n[sandboxes.files]\nx = { from = 'data.txt' }")
    scope = ("--account", account)
    box = call("load-scenario", str(tmp_path / "s.toml"), *scope).stdout.strip().rpartition("=")[2]
    with elsewhere.client(key) as caged:
        assert caged.files.read(box, "x") == "read where the command runs"
    assert float(call("spend", box, "0.5", *scope).stdout) >= 0.5
    assert call("export", str(tmp_path / "all.tar.gz"), *scope).returncode == 0
    assert call("accounts", "remove", account).returncode == 0
    assert call("import", str(tmp_path / "all.tar.gz")).returncode == 0
    variables = dict(line[len("export ") :].split("=") for line in call("env").stdout.splitlines())
    assert variables["CAGED_EMULATOR_URL"] == variables["CAGED_BASE_URL"] == elsewhere.base_url
    assert variables["CAGED_EMULATOR_ADMIN_KEY"] == elsewhere.admin_key
    assert variables["CAGED_API_KEY"] == elsewhere.api_key
    with elsewhere._runtime.log.selected():
        logging.getLogger("caged.emulator").info("a line of the emulator's log")
    assert call("logs").stdout.endswith("a line of the emulator's log\n")
    assert call("logs", "-n", "0").stdout == ""
    status = call("status").stdout
    assert [line.split()[1] for line in status.splitlines()] == ["KIND", "elsewhere", "serve", "serve"]
    assert elsewhere.base_url in status
    (only,) = map(json.loads, call("status", "--json", *options_for(elsewhere)).stdout.splitlines())
    assert (only["url"], only["kind"], only["pid"]) == (elsewhere.base_url, "elsewhere", None)


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"URL": "http://127.0.0.1:1"}, (), "CAGED_EMULATOR_URL (http://127.0.0.1:1) needs the emulator's admin key"),
        ({}, ("--url", "http://127.0.0.1:1"), "--url (http://127.0.0.1:1) needs the emulator's admin key"),
        (
            {"URL": "http://127.0.0.1:1", "ADMIN_KEY": "of another"},
            ("--url", "http://127.0.0.1:2"),
            "--url (http://127.0.0.1:2) needs the emulator's admin key",
        ),
        ({}, ("--admin-key", "x"), "--admin-key needs the emulator's URL"),
        ({}, ("--url", "http://127.0.0.1:1", "--port", "1"), "cannot be combined with --url and --admin-key"),
        ({}, ("--admin-key", "x", "--pid", "1"), "cannot be combined with --url and --admin-key"),
    ],
)
@pytest.mark.parametrize("words", [("faults", "list"), ("env",), ("status",), ("logs",), ("shell", "x"), ("stop",)])
def test_half_a_pair_and_options_that_exclude_each_other_are_errors(call, monkeypatch, words, variables, options, said):
    for name, value in variables.items():
        monkeypatch.setenv(f"CAGED_EMULATOR_{name}", value)
    done = call(*words, *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_key_of_the_environment_goes_with_its_own_url(call, elsewhere, environment):
    environment(elsewhere)
    assert elsewhere.api_key in keys_of(call, "--url", elsewhere.base_url)


def test_key_alone_in_the_environment_is_the_one_that_serve_takes(call, two, monkeypatch):
    monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", "caged_adm_for_serve")
    assert "2 emulators are running" in call("faults", "list").stderr


@pytest.mark.parametrize("words", [("stop",), ("logs", "-f")])
def test_command_that_needs_the_machine_of_the_emulator_says_so(call, elsewhere, environment, words):
    environment(elsewhere)
    done = call(*words)
    assert done.returncode in (1, 2)
    assert "where it runs" in done.stderr or "where the emulator runs" in done.stderr
    assert elsewhere.log_tail(1) is not None  # it still runs


def test_stop_and_logs_of_the_environment_find_the_one_of_this_machine(call, env, monkeypatch, tmp_path):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", env["CAGED_EMULATOR_LOCATOR_DIR"])
    served = [Served(tmp_path / name, "--port", "0", env=env) for name in ("a", "b")]
    exports = [one.exports() for one in served]
    try:
        monkeypatch.setenv("CAGED_EMULATOR_URL", exports[1]["CAGED_EMULATOR_URL"])
        monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", exports[1]["CAGED_EMULATOR_ADMIN_KEY"])
        assert call("logs").returncode == 0
        said = call("stop")
        assert said.stdout == f"stopped {exports[1]['CAGED_BASE_URL']} (pid {served[1].process.pid})\n"
        assert served[0].get("/v1/account").status_code == 200
    finally:
        for one in served:
            one.process.terminate()
            one.end()


def test_command_of_exec_reaches_its_own_emulator_though_others_run(two, call):
    """In an `exec` within an `exec`: test_cli_exec.py."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    environment = {**bare, "CAGED_EMULATOR_LOCATOR_DIR": str(two[1]), "CAGED_ISOLATION": "process"}
    emulator = " ".join([sys.executable, "-m", "caged.emulator"])
    script = f'{emulator} accounts list && echo "$CAGED_API_KEY"'
    done = run("exec", "--", "sh", "-c", script, env=environment)
    assert done.returncode == 0, done.stderr
    _header, listed, key = done.stdout.splitlines()
    assert listed.split()[1] == key


def test_shell_finds_the_account_of_a_sandbox_of_the_emulator_that_is_named(call, elsewhere, env):
    account = elsewhere.create_account()
    with elsewhere.client(account.api_key) as caged:
        box = caged.sandboxes.create().id
    named = {
        **env,
        "CAGED_BASE_URL": elsewhere.base_url,
        "CAGED_API_KEY": elsewhere.api_key,  # of the first account, which does not have it
        "CAGED_EMULATOR_URL": elsewhere.base_url,
        "CAGED_EMULATOR_ADMIN_KEY": elsewhere.admin_key,
    }
    done = run("shell", box, env=named, input="echo $((40 + 2))\n")
    assert "42" in done.stdout, done.stderr
    done = run("shell", box, *options_for(elsewhere), env=env, input="echo $((40 + 2))\n")
    assert "42" in done.stdout, done.stderr

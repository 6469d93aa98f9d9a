"""Following what happens: `serve --verbose`, `journal follow` and `logs -f`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import cli_testing
import fork_server
import pytest
from cli_testing import COMMAND, Served, next_line, run
from emulator_testing import eventually
from terminal_testing import Relay, Terminal

from caged import Caged, CagedError
from caged.emulator import RemoteEmulator

ESCAPE = "\x1b["
#: One value is declared as a secret, the other one is not.
ENV = {"TOKEN": "planted-token-0123", "PLAIN": "planted-value-0123"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A verbose one, with its environment as `env`."""
    place = tmp_path_factory.mktemp("following")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    env = {**bare, "CAGED_EMULATOR_LOCATOR_DIR": str(place / "locators"), "CAGED_ISOLATION": "process"}
    one = Served(place / "tmp", "--port", "0", "--verbose", env=env)
    one.env = env
    one.exports()
    yield one
    one.process.terminate()
    assert one.end() == 0


@pytest.fixture
def remote(served):
    exports = served.exports()
    with RemoteEmulator(exports["CAGED_EMULATOR_URL"], exports["CAGED_EMULATOR_ADMIN_KEY"]) as emulator:
        yield emulator
        emulator.reset(account="*")


@pytest.fixture
def client(served, remote):
    exports = served.exports()
    with Caged(exports["CAGED_API_KEY"], exports["CAGED_BASE_URL"], max_retries=0) as one:
        yield one


@pytest.fixture
def follow(served):
    """Starts `journal follow`; the test reads from it."""
    started = []

    def start(*options, words=("journal", "follow"), env=None):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(fork_server.Process([*COMMAND, *words, *options], env={**served.env, **(env or {})}, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(60)
        for pipe in (process.stdout, process.stderr):
            pipe.close()


def lines_until(process, wanted):
    """The lines up to the first one that has a text."""
    found = []
    while not found or wanted not in found[-1]:
        line = next_line(process.stdout)
        assert line, f"it ended before {wanted!r}: {found}"
        found.append(line)
    return found


def use(remote, client, run=None):
    """A fault, a stub, a command that fails, one that takes long, and a repository that cannot be cloned.

    `run` replaces the command that takes long: a function of the sandbox.
    """
    remote.faults.add("sandboxes.get", status=503, times=1)
    remote.commands.stub("npm install", "added 3")
    box = client.sandboxes.create(template="minimal", env=ENV, secrets=["TOKEN"]).id
    with pytest.raises(CagedError):
        client.sandboxes.get(box)
    client.sandboxes.exec(box, "npm install")
    if run is None:
        client.sandboxes.exec(box, "echo planted-token-0123; sleep 1.5; exit 3")
    else:
        run(box)
    client.sandboxes.exec(box, "true planted-value-0123")
    with contextlib.suppress(CagedError):
        client.sandboxes.create(template="minimal", repo="file:///nonexistent/repository.git")
    return box


def test_verbose_prints_a_line_for_each_step_with_what_applied(served, remote, client):
    begun = len(served.errors)

    def run(box):
        """A command that ends after its beginning was printed."""
        with ThreadPoolExecutor(1) as pool:
            command = "echo planted-token-0123; until [ -e go ]; do sleep 0.01; done; exit 3"
            running = pool.submit(client.sandboxes.exec, box, command)
            eventually(lambda: any("… $ echo" in line for line in served.errors[begun:]), "the line of its beginning")
            client.files.write(box, "go", "")
            running.result(60)

    box = use(remote, client, run)
    client.files.write(box, "/workspace/last-file", "x")
    eventually(lambda: any("last-file" in line for line in served.errors[begun:]), "the last line")
    text = "".join(served.errors[begun:])
    for wanted in (
        r"  faults add  fault sandboxes\.get 503 times=1",
        rf"! GET /v1/sandboxes/{box} -> 503  <- fault sandboxes\.get 503 times=1  [\d.]+ m?s$",
        rf"  \$ npm install -> exit 0  <- stub 'npm install'  \[{box}\]",
        r"  POST /v1/sandboxes -> 201  [\d.]+ m?s$",
        rf" … \$ echo \*\*\*; until .*; exit 3  \[{box}\]$",
        rf"! \$ echo \*\*\*; until .*; exit 3 -> exit 3  \[{box}\]  [\d.]+ s$",
        r"! cloning file:///nonexistent/repository\.git failed",
    ):
        assert re.search(wanted, text, re.MULTILINE), (wanted, text)
    assert ESCAPE not in text
    assert "planted" not in text
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d\d\d [ !…] |\d{4}-", line) for line in served.errors[begun:]), text


def test_serve_prints_no_steps_without_the_option(serve):
    quiet = serve("--port", "0")
    assert quiet.get("/v1/account").status_code == 200
    quiet.process.terminate()
    assert quiet.end() == 0
    assert "/v1/account" not in "".join(quiet.errors)


def test_follow_prints_one_line_for_each_step_in_the_order_in_which_they_end(remote, client, follow):
    client.account.get()
    process = follow()
    assert "GET /v1/account -> 200" in lines_until(process, "/v1/account")[-1], "what there was before"
    box = use(remote, client)
    client.account.list_keys()
    found = lines_until(process, "/keys")
    assert len([line for line in found if "$ npm install -> exit 0  <- stub 'npm install'" in line]) == 1
    assert len([line for line in found if f"GET /v1/sandboxes/{box} -> 503  <- fault" in line]) == 1
    assert len([line for line in found if "sleep 1.5" in line]) == 1, "not when it begins"
    assert ESCAPE not in "".join(found)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read() == ""


def test_follow_selects_and_ends_when_nothing_comes(remote, client, served):
    use(remote, client)
    done = run("journal", "follow", "--kind", "command", "--json", "--wait", "0", env=served.env)
    assert (done.returncode, done.stderr) == (0, "")
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["detail"]["exit_code"] for step in steps] == [0, 3, 0]
    assert {step["kind"] for step in steps} == {"command"}
    assert len({step["id"] for step in steps}) == 3


def test_journal_with_the_option_follow_is_the_command_follow(remote, client, served):
    client.account.get()
    steps = run("journal", "follow", "--json", "--wait", "0", env=served.env).stdout
    assert '"GET /v1/account"' in steps
    for words in (["--follow", "--json", "--wait", "0"], ["--wait", "0", "--json", "-f"]):
        done = run("journal", *words, env=served.env)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", steps)
    assert run("journal", "requests", "--follow", env=served.env).returncode == 2


def test_follow_ends_with_its_reader(remote, client, follow):
    client.account.get()
    process = follow()
    assert next_line(process.stdout)
    process.stdout.close()

    def has_ended():
        client.account.get()
        return process.poll() is not None

    eventually(has_ended, "it to notice that its reader is gone", 60)
    assert (process.returncode, process.stderr.read()) == (0, "")


def test_follow_shows_what_happened_while_its_connection_was_lost(remote, client, follow, served):
    exports = served.exports()
    port = int(exports["CAGED_EMULATOR_URL"].rpartition(":")[2])
    with Relay(port) as relay:
        key = ("--admin-key", exports["CAGED_EMULATOR_ADMIN_KEY"])
        process = follow("--url", f"http://127.0.0.1:{relay.port}", *key)
        client.account.get()
        lines_until(process, "/v1/account")
        relay.refuse()
        client.account.list_keys()
        relay.accept()
        found = lines_until(process, "/keys")
        assert len(found) == 1, "nothing that it has printed before"
        client.account.get()
        assert len(lines_until(process, "/v1/account")) == 1


@pytest.fixture
def followed(serve, env, follow):
    """(`serve`, `journal follow` of it), once a step was printed."""
    served = serve("--port", "0")
    exports = served.exports()
    process = follow(env=env)
    with RemoteEmulator(exports["CAGED_EMULATOR_URL"], exports["CAGED_EMULATOR_ADMIN_KEY"]) as emulator:
        emulator.faults.add("sandboxes.get", status=500, optional=True)
        lines_until(process, "faults add")
    return served, process


def test_follow_ends_with_the_emulator(followed):
    served, process = followed
    served.process.terminate()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_follow_says_that_the_emulator_was_killed(followed, env):
    served, process = followed
    served.process.kill()
    assert process.wait(120) == 1
    assert process.stderr.read().startswith("Error: ")
    served.end()
    run("status", env=env)  # removes the locator


@pytest.mark.parametrize(("more", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_follow_has_colours_on_a_terminal_unless_they_are_not_wanted(served, remote, client, more, is_coloured):
    with contextlib.suppress(CagedError):
        client.sandboxes.get("cage_none")
    env = {name: value for name, value in served.env.items() if name != "NO_COLOR"}
    with Terminal([*COMMAND, "journal", "follow", "--wait", "0"], {**env, "TERM": "xterm", **more}) as terminal:
        text = terminal.rest()
    assert "GET /v1/sandboxes/cage_none -> 404" in text
    assert (ESCAPE in text) is is_coloured


def test_a_terminal_gets_no_escape_sequence_of_a_sandbox(served, remote, client):
    box = client.sandboxes.create(template="minimal").id
    client.sandboxes.exec(box, "echo '\x1b]0;title\x07 \u202e' first\nsecond")
    found = run("journal", "follow", "--wait", "0", "--kind", "command", env=served.env).stdout
    logged = run("logs", "-n", "1", env=served.env).stdout
    for text in (found, logged):
        assert len(text.splitlines()) == 1
        assert "first" in text
        assert not set("\x1b\x07\u202e") & set(text)


@pytest.mark.parametrize("words", [["--account", "*"], ["--kind", "commands"], ["--wait", "-1"], ["--wait", "x"]])
def test_follow_refuses_what_it_cannot_do(served, remote, monkeypatch, words):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", served.env["CAGED_EMULATOR_LOCATOR_DIR"])
    done = cli_testing.call("journal", "follow", *words)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert words[0].strip("-") in done.stderr


def test_logs_follow_commands_and_failed_clones(remote, client, follow):
    process = follow(words=("logs", "-n", "10000", "-f"))
    box = use(remote, client)
    stubbed = lines_until(process, f"{box}: $ npm install")[-1]
    assert re.search(rf"Z info: {box}: \$ npm install -> exit 0", stubbed)
    (failed,) = lines_until(process, f"{box}: $ echo")
    assert re.search(rf"Z info: {box}: \$ echo \*\*\*; sleep 1\.5; exit 3 -> exit 3 \([\d.]+ s\)$", failed)
    plain, cloning = lines_until(process, "cloning")
    assert "$ true *** -> exit 0" in plain, "what is in the environment is redacted as well"
    assert re.search(r"Z warning: cage_\w+: cloning file:///nonexistent/repository.git failed", cloning)

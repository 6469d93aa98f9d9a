"""Stubs of commands: by exec, MCP, streams and terminals, and of a create."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest
from sockets import Term, leave_exec, open_socket, streamed
from stubs_testing import at_every_level, isolated
from waiting import eventually

from caged import CagedAPIError
from caged.emulator import EmulatorError, Output, RemoteEmulator


def term(emulator, account, box, **options):
    return Term(emulator.base_url, box, account.api_key, **options)


# --- matching


@pytest.mark.parametrize(
    ("match", "fits", "fits_not"),
    [
        ("frob install", ["frob install", "  frob install\n"], ["frob install x", "frob  install"]),
        ("frob *", ["frob install", "frob run build\nfrob test"], ["pfrob install", "frob"]),
        ("frob [it]*", ["frob install", "frob [it]*"], ["frob run"]),
        ("frob ?", ["frob i"], ["frob in"]),
        (re.compile(r"\bpytest\b"), ["cd x && pytest -q", "pytest"], ["pytests"]),
        (re.compile(r"(?i)^npm"), ["NPM i"], ["xnpm"]),
        (re.compile(r"^NPM", re.I | re.M), ["true\nnpm i"], ["echo npm"]),
        (lambda command: "x" in command, ["x", "echo x"], ["echo y"]),
    ],
)
def test_stub_replaces_only_matching_commands(emulator, client, box, match, fits, fits_not):
    emulator.commands.stub(match, "stubbed")
    for command in fits:
        assert client.sandboxes.exec(box, command).output == "stubbed", command
    for command in fits_not:
        assert client.sandboxes.exec(box, command).output != "stubbed", command


def test_first_matching_stub_is_used_until_exhausted(emulator, client, box):
    first = emulator.commands.stub("echo *", "first", times=2)
    second = emulator.commands.stub("echo a", "second", 3)
    said = [client.sandboxes.exec(box, command) for command in ("echo a", "echo b", "echo a", "echo b")]
    assert [(one.output, one.exit_code) for one in said] == [("first", 0), ("first", 0), ("second", 3), ("b\n", 0)]
    assert (first.used, second.used) == (2, 1)


def test_stub_has_configured_output_exit_code_and_delay(emulator, client, box):
    emulator.commands.stub("a", ["one\n", "two\n"], 7, 0.05)
    emulator.commands.stub("b", error="the disk is on fire")
    result = client.sandboxes.exec(box, "a")
    assert (result.output, result.exit_code, result.error) == ("one\ntwo\n", 7, None)
    assert emulator.journal.commands()[-1].duration_ms >= 100
    result = client.sandboxes.exec(box, "b")
    assert (result.output, result.exit_code, result.error) == ("", -1, "the disk is on fire")


@pytest.mark.parametrize(
    ("said", "output", "code"),
    [
        (True, "fixed", 4),
        ("text", "text", 4),
        (Output("all", 9), "all", 9),
        (None, "real\n", 0),
        (False, "real\n", 0),
    ],
)
def test_match_function_may_return_bool_text_or_output(emulator, client, box, said, output, code):
    emulator.commands.stub(lambda command: said, "fixed", 4)
    result = client.sandboxes.exec(box, "echo real")
    assert (result.output, result.exit_code) == (output, code)


def test_output_may_be_function_of_command(emulator, client, box):
    emulator.commands.stub("npm *", lambda command: command.upper())
    emulator.commands.stub(lambda command: command == "b", lambda command: Output(command * 2, 1))
    assert client.sandboxes.exec(box, "npm i").output == "NPM I"
    assert client.sandboxes.exec(box, "b").output == "bb"


def test_command_fails_if_stub_function_raises(emulator, client, box):
    def fail(command):
        raise KeyError("no idea")

    emulator.commands.stub(fail, allow_errors=True)
    emulator.commands.stub("never", lambda command: 12)
    result = client.sandboxes.exec(box, "true")
    assert result.exit_code == 1
    assert "no idea" in result.output
    assert any("no idea" in line for line in emulator.log_tail())


def test_stub_function_may_use_sandbox(emulator, client, box):
    emulator.commands.stub("build", lambda command: client.sandboxes.exec(box, "echo $((6*7))").output)
    assert client.sandboxes.exec(box, "build").output == "42\n"


def test_stub_can_be_limited_to_one_sandbox(emulator, client, box):
    other = client.sandboxes.create().id
    emulator.commands.stub("echo a", "stubbed", sandbox=box)
    assert [client.sandboxes.exec(each, "echo a").output for each in (box, other)] == ["stubbed", "a\n"]


def test_stub_applies_to_one_account(emulator, client, box):
    emulator.commands.stub("echo a", "stubbed")
    other = emulator.create_account()
    with emulator.client(other.api_key) as stranger:
        assert stranger.sandboxes.exec(stranger.sandboxes.create().id, "echo a").output == "a\n"
    theirs = emulator.for_account(other)
    assert theirs.commands.list() == []
    theirs.commands.clear()
    emulator.remove_account(other.id)
    assert len(emulator.commands.list()) == 1


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda commands: commands.stub("a", times=0), "times"),
        (lambda commands: commands.stub("a", exit_code=256), "exit_code"),
        (lambda commands: commands.stub("a", delay=-1), "delay"),
        (lambda commands: commands.program("bin/npm"), "program"),
        (lambda commands: commands.program(".."), "program"),
        (lambda commands: commands.program(""), "program"),
    ],
)
def test_invalid_option_is_refused_by_name(emulator, call, names):
    with pytest.raises(ValueError, match=names):
        call(emulator.commands)
    assert emulator.commands.list() == []


def test_invalid_regular_expression_is_refused_over_http(emulator):
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    answer = httpx.post(
        f"{emulator.base_url}/_emulator/commands",
        json={"match": {"regex": "("}},
        headers=headers,
        trust_env=False,
        verify=False,
        timeout=60,
    )
    assert answer.status_code == 400
    assert "regular expression" in answer.json()["detail"]


# --- from another process


def test_remote_control_supports_all_but_functions(emulator, account, client, box):
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account=account) as remote:
        stub = remote.commands.stub(re.compile("^npm"), ["a", "b"], 2)
        assert client.sandboxes.exec(box, "npm i").output == "ab"
        assert stub.info.used == 1
        assert stub.info.options == {"match": {"regex": "^npm"}, "output": ["a", "b"], "exit_code": 2}
        with pytest.raises(EmulatorError, match="in this process"):
            remote.commands.stub(lambda command: True)


# --- unused, removed


def test_stub_is_removed_at_end_of_with_statement(emulator, client, box):
    with emulator.commands.stub("echo a", "stubbed") as stub:
        assert client.sandboxes.exec(box, "echo a").output == "stubbed"
        assert stub.used == 1
    assert client.sandboxes.exec(box, "echo a").output == "a\n"
    assert emulator.commands.list() == []


def test_unused_stub_fails_and_names_commands_that_ran(emulator, client, box):
    with pytest.raises(AssertionError) as caught, emulator.commands.stub("npm install", "x"):
        client.sandboxes.exec(box, "npm  install --quiet || true")
    assert "'npm install'" in str(caught.value)
    assert "npm  install --quiet" in str(caught.value)
    with emulator.commands.stub("npm install", optional=True):
        pass
    with pytest.raises(KeyError), emulator.commands.stub("npm install"):
        raise KeyError("the test's own")


def test_unused_stubs_are_listed(emulator, client, box):
    emulator.commands.stub("true")
    emulator.commands.stub("false")
    emulator.commands.stub("never", optional=True)
    client.sandboxes.exec(box, "true")
    assert [stub.options["match"] for stub in emulator.commands.unused()] == ["false"]
    emulator.commands.clear()
    assert emulator.commands.unused() == []


def test_stub_of_an_empty_command_answers_an_empty_command(emulator, client, box):
    with emulator.commands.stub("", "stubbed") as stub:
        assert client.sandboxes.exec(box, "true").output == ""
        assert client.sandboxes.exec(box, " ").output == "stubbed"
        assert stub.used == 1


def test_reset_and_deletion_of_account_remove_stubs(emulator, account, client):
    emulator.commands.stub("true", "stubbed")
    emulator.commands.program("npm", "stubbed")
    emulator.reset()
    assert emulator.commands.list() == []
    emulator.emulator.commands.stub("only-everywhere", "stubbed", account=account.id)
    other = emulator.create_account()
    emulator.commands.stub("x", account=other.id)
    emulator.remove_account(other.id)
    assert other.id not in {stub.account for stub in emulator.commands.list(account="*")}


# --- effects of a real command


def test_stubbed_exec_is_recorded_like_real_one(emulator, client, box):
    stub = emulator.commands.stub("npm i", "added 3 packages\n", 3)
    client.sandboxes.exec(box, "npm i")
    (ran,) = emulator.journal.assert_ran("npm i")
    assert (ran.stub, ran.exit_code, ran.output, ran.source) == (stub.id, 3, "added 3 packages\n", "exec")
    (event,) = emulator.journal.events(box, type="command")
    assert event.data == {"command": "npm i", "exit_code": 3}
    assert f"$ npm i (exit 3, {0} ms, {stub.id})" in [
        re.sub(r"\d+ ms", "0 ms", line.message) for line in client.sandboxes.logs(box)
    ]
    client.sandboxes.exec(box, "true")
    assert emulator.journal.commands(box)[-1].stub == ""


def test_disconnect_ends_delay_of_stub(emulator, account, box):
    emulator.commands.stub("long", delay=60)

    def runs():
        return emulator.journal.steps(box, kind="command", status="running")

    leave_exec(emulator.base_url, box, account.api_key, "long", runs)
    eventually(lambda: emulator.journal.commands(box), "the command to end")
    (ran,) = emulator.journal.commands(box)
    assert ran.exit_code is None
    assert ran.stub


def test_stub_ends_when_sandbox_dies(emulator, client, box):
    emulator.commands.stub("long", delay=60)
    emulator.faults.add("sandboxes.exec", outcome="dies", delay=0.05)
    result = client.sandboxes.exec(box, "long")
    assert result.exit_code == -1
    assert "gone" in (result.error or "")


def test_faults_take_precedence_over_stubs(emulator, client, box):
    stub = emulator.commands.stub("true", "stubbed")
    with emulator.faults.add("sandboxes.exec", status=503), pytest.raises(CagedAPIError):
        client.sandboxes.exec(box, "true")
    with emulator.faults.add("sandboxes.exec", unreachable=True):
        assert client.sandboxes.exec(box, "true").error
    assert stub.used == 0


def test_commands_of_create_are_stubbed(emulator, client):
    emulator.commands.stub("pip install left-pad", "Successfully installed left-pad\n")
    emulator.commands.stub("make *", "no rule\n", 2)
    made = client.sandboxes.create(template="python", packages=["left-pad"])
    assert made.status == "running"
    assert [(ran.source, bool(ran.stub)) for ran in emulator.journal.commands(made.id)] == [("build", True)]
    failed = client.sandboxes.create(init_script="make all")
    assert failed.status == "error"
    assert "no rule" in "\n".join(line.message for line in client.sandboxes.logs(failed.id))


# --- MCP


def call_tool(emulator, account, box, command, **arguments):
    params = {"name": "terminal_exec", "arguments": {"command": command, **arguments}}
    with open_socket(emulator.base_url, f"/sandboxes/{box}/mcp", account.api_key, "mcp") as socket:
        socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        result = json.loads(socket.recv(timeout=60))["result"]
    return result["content"][0]["text"], bool(result.get("isError"))


def test_mcp_commands_are_stubbed(emulator, account, box):
    emulator.commands.stub("good", "done\n")
    emulator.commands.stub("bad", "oh\n", 2)
    emulator.commands.stub("long", delay=60)
    emulator.commands.stub("broken", error="no shell")
    assert call_tool(emulator, account, box, "good") == ("done\n", False)
    assert call_tool(emulator, account, box, "bad") == ("oh\n\nexit: exit status 2", True)
    assert call_tool(emulator, account, box, "echo real") == ("real\n", False)
    assert call_tool(emulator, account, box, "long", timeout=1)[0] == "exit: signal: killed"  # the shortest duration
    assert call_tool(emulator, account, box, "broken") == ("no shell", True)  # exec reports it in `error`
    assert [bool(ran.stub) for ran in emulator.journal.commands(box, source="mcp")] == [True, True, False, True, True]


def test_mcp_commands_use_stubbed_programs(emulator, account, box):
    emulator.commands.program("npm", "added 1 package\n", args="install")
    command = "if true; then npm install; fi; echo $?"
    assert call_tool(emulator, account, box, command) == ("added 1 package\n0\n", False)


# --- streams


@at_every_level
def test_streamed_command_is_stubbed(emulator, account, client, box):
    stub = emulator.commands.stub("npm *", ["added 1\n", "added 2\n"], 5, 0.05)
    with term(emulator, account, box, size="") as quiet:
        assert streamed(quiet, "npm install") == ("added 1\nadded 2\n", 5)
    with term(emulator, account, box, size="") as quiet:
        assert streamed(quiet, "echo real; (exit 4)") == ("real\n", 4)
    stubbed, real = emulator.journal.commands(box, source="stream")
    assert (stubbed.command, stubbed.exit_code, stubbed.stub) == ("npm install", 5, stub.id)
    assert (real.command, real.stub) == ("echo real; (exit 4)", "")
    assert stub.used == 1


def test_pieces_of_streamed_stub_arrive_one_by_one(emulator, client, box):
    emulator.commands.stub("build", [f"step {number}\n" for number in range(3)], delay=0.1)
    came = []
    with client.sandboxes.stream(box, "build") as stream:
        for piece in stream:
            came.append((time.monotonic(), piece))
    assert "".join(piece for _, piece in came) == "step 0\nstep 1\nstep 2\n"
    assert len(came) >= 2


@pytest.mark.parametrize("command", ["echo 'a\nb'", "cat <<END\nx\nEND", "x" * 100_000])
def test_streamed_command_in_any_form_is_stubbed(emulator, account, box, command):
    emulator.commands.stub(lambda given: given == command, "found\n")
    with term(emulator, account, box, size="") as quiet:
        assert streamed(quiet, command) == ("found\n", 0)


def test_streamed_command_without_matching_stub_runs_unchanged(emulator, account, box):
    emulator.commands.stub("nothing", optional=True)
    with term(emulator, account, box, size="") as quiet:
        assert streamed(quiet, "cat <<'END'\na  b\n$HOME\nEND\nfalse") == ("a  b\n$HOME\n", 1)


def test_incomplete_streamed_command_is_passed_to_shell(emulator, account, box, monkeypatch):
    """The emulator waits for the rest of a streamed command, by default for one second."""
    monkeypatch.setattr("caged.emulator.platform.stream_transcript.LINES_SECONDS", 1.0)
    emulator.commands.stub("nothing", optional=True)
    with term(emulator, account, box, size="") as quiet:
        quiet.type("printf '%s\\n' '__CAGED_BEGIN_0123456789abcdef__'\necho alone\n")
        quiet.until("alone\n")


def test_streamed_stub_ends_when_client_disconnects(emulator, account, box):
    emulator.commands.stub("long", "begun", delay=60)
    with term(emulator, account, box, size="") as quiet:
        quiet.type("printf '%s\\n' '__CAGED_BEGIN_0123456789abcdef__'\nlong\necho '__CAGED_EXIT_0123456789abcdef__'\n")
        quiet.until("__CAGED_BEGIN_0123456789abcdef__\n")
    eventually(lambda: emulator.journal.commands(box), "its end")
    assert [(ran.exit_code, bool(ran.stub)) for ran in emulator.journal.commands(box)] == [(None, True)]


# --- terminals


@at_every_level
def test_line_typed_at_prompt_is_stubbed(emulator, account, client, box):
    stub = emulator.commands.stub("npm *", "added 3 packages\n", 6)
    with term(emulator, account, box) as person:
        person.prompt().type("npm install\r")
        shown = person.until("added 3 packages")
        person.prompt()
        assert "npm install\r\n" in shown
        assert "run-stub" not in person.text
        assert "777" not in person.text
        person.type("echo code=$?\r")
        assert "code=6\r\n" in person.until("code=6\r\n")
        assert "\x1b]" not in person.text
        person.prompt().type("history | tail -3 | head -1\r")
        person.until(re.compile(r"\d+  npm install\r\n").search)
    ran = emulator.journal.commands(box, source="terminal")
    assert [(one.command, one.stub) for one in ran[:2]] == [("npm install", stub.id), ("echo code=$?", "")]


def test_line_typed_key_by_key_is_stubbed(emulator, account, box):
    emulator.commands.stub("npm i", "stubbed\n")
    # So wide that the line does not end where bash begins another: at level `process` it counts the host's path, which
    # the prompt shows as /workspace, and in the middle of what is typed slowly it prints what moves the cursor there.
    with term(emulator, account, box, size="?rows=24&cols=500") as person:
        person.prompt()
        for key in "npm ix\x7f":
            person.type(key)
        person.until("npm ix")
        person.type("\r")
        person.until("stubbed")
        assert "run-stub" not in person.prompt().text


def test_line_typed_before_first_prompt_is_stubbed(emulator, account, box):
    emulator.commands.stub("npm i", "stubbed\n")
    with term(emulator, account, box) as person:
        person.type("npm i\n")
        person.until("stubbed\r\n")
        person.until(lambda text: text.count("# ") + text.count("$ ") >= 2)


def test_other_lines_and_input_of_programs_are_unchanged(emulator, account, box):
    emulator.commands.stub("secret", "stubbed\n", optional=True)
    with term(emulator, account, box) as person:
        person.prompt().type("cat\r")
        person.until("cat\r\n")
        person.type("secret\r")
        person.until("secret\r\nsecret\r\n")
        person.type("\x04")
        person.prompt().type("echo $((40+2))\r")
        person.until("42\r\n")
        person.prompt()
    assert emulator.commands.list()[0].used == 0


@isolated  # lists the processes of the sandbox
def test_ctrl_c_ends_stub_in_terminal(emulator, account, box):
    emulator.commands.stub("long", ["begun\n", "never\n"], delay=0.3)
    emulator.commands.stub("longer", ["", "never\n"], delay=30)
    with term(emulator, account, box) as person:
        person.prompt().type("longer\r")
        person.until("longer\r\n")
        # The stub runs once its shim has queried the emulator. Another terminal's `ps` shows the shim.
        with term(emulator, account, box, size="") as other:
            eventually(lambda: "shim" in list_processes(emulator, account, box), "the stub's process")
            other.type("exit\n")
        person.type("\x03")
        person.until("^C")
        person.prompt().type("echo code=$?\r")
        person.until("code=130\r\n")


def list_processes(emulator, account, box):
    with term(emulator, account, box, size="") as quiet:
        return streamed(quiet, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; true")[0]

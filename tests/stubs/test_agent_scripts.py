"""Replies of agents that a test sets up, and the prompts that are recorded."""

from __future__ import annotations

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sockets import Term
from stubs_testing import at_every_level

from caged import __version__ as version
from caged.emulator import Emulator, EmulatorError, Output, RemoteEmulator, Reply


@pytest.fixture
def box(client):
    return client.sandboxes.create(agents=["claude", "codex", "aider"]).id


def say(client, box, command):
    """Run a command that calls an agent. Returns (output, exit code)."""
    result = client.sandboxes.exec(box, command)
    assert result.error is None
    return result.output, result.exit_code


# --- replies


@at_every_level
def test_reply_is_printed_writes_files_and_costs(emulator, client, box):
    emulator.agent("claude").reply(
        "done", files={"/workspace/a.py": "ä = 1\n", "sub/b": ""}, tokens_in=1200, tokens_out=34, cost_usd=0.25
    )
    assert say(client, box, "claude -p 'Fix /workspace/a.py' --dangerously-skip-permissions") == ("done\n", 0)
    assert client.files.read(box, "a.py") == "ä = 1\n"
    assert client.files.read(box, "/workspace/sub/b") == ""
    (session,) = client.sessions.list().data
    assert (session.tokens_in, session.tokens_out, session.llm_cost) == (1200, 34, 0.25)
    assert client.sandboxes.get(box).llm_cost == 0.25
    (prompt,) = emulator.agent("claude").prompts
    assert (prompt.prompt, prompt.reply, prompt.exit_code) == ("Fix /workspace/a.py", "done", 0)
    assert prompt.arguments == ["-p", "Fix /workspace/a.py", "--dangerously-skip-permissions"]
    assert (prompt.agent, prompt.program, prompt.cwd) == ("claude-code", "claude", "/workspace")
    assert (prompt.session, prompt.sandbox) == (session.id, box)
    assert (prompt.tokens_in, prompt.tokens_out, prompt.cost_usd) == (1200, 34, 0.25)
    written = [event.data["path"] for event in emulator.journal.events(box, type="file_op")]
    assert "/workspace/a.py" in written
    emulator.journal.assert_prompted("Fix *", agent="claude-code")


def test_default_reply_is_recorded(emulator, client, box):
    output, _ = say(client, box, "claude -p hi")
    assert "called no model" in output
    (prompt,) = emulator.agent("claude").prompts
    assert (prompt.prompt, prompt.cost_usd) == ("hi", 0.0)
    assert prompt.reply == output


@pytest.mark.parametrize("name", ["claude", "claude-code"])
def test_agent_can_be_named_by_alias(emulator, client, box, name):
    added = emulator.agent(name).reply("x")
    assert added.agent == "claude-code"
    assert say(client, box, "claude -p hi") == ("x\n", 0)
    assert added.used == 1
    assert len(emulator.agent(name).prompts) == 1


def test_replies_apply_to_their_agent_only(emulator, client, box):
    emulator.agent("claude").reply("c")
    emulator.agent("codex").reply("x", exit_code=3)
    assert say(client, box, "claude -p hi") == ("c\n", 0)
    assert say(client, box, "codex exec hi") == ("x\n", 3)
    assert "called no model" in say(client, box, "aider -m hi")[0]
    emulator.agent("codex").clear()
    assert "called no model" in say(client, box, "codex exec hi")[0]
    assert say(client, box, "claude -p hi") == ("c\n", 0)
    with pytest.raises(ValueError, match="agent 'clippy' does not exist; did you mean 'cline'"):
        emulator.agent("clippy").reply("x")


def test_replies_are_used_in_order_and_last_one_repeats(emulator, client, box):
    emulator.agent("claude").replies(["one", Reply("two", 2, cost_usd=0.5), lambda prompt, sandbox: prompt.text])
    said = [say(client, box, f"claude -p {word}") for word in "abcd"]
    assert said == [("one\n", 0), ("two\n", 2), ("c\n", 0), ("d\n", 0)]
    assert [reply.used for reply in emulator.agent("claude").list()] == [1, 1, 2]


def test_prompt_after_last_reply_without_repeat_fails(emulator, client, box):
    emulator.agent("claude").replies(["one", "two"], repeat=False)
    said = [say(client, box, "claude -p hi") for _ in range(3)]
    assert said[:2] == [("one\n", 0), ("two\n", 0)]
    output, code = said[2]
    assert code == 1
    assert "no reply is left" in output


def test_replies_are_used_in_order_of_addition(emulator, client, box):
    emulator.agent("claude").reply("one")
    emulator.agent("claude").reply("two", times=2)
    emulator.agent("claude").reply("three")
    assert [say(client, box, "claude -p hi")[0] for _ in range(5)] == ["one\n", "two\n", "two\n", "three\n", "three\n"]


def test_replies_to_prompt_take_precedence(emulator, client, box):
    claude = emulator.agent("claude")
    claude.reply("else")
    claude.reply_to("Fix *", "fixed")
    claude.reply_to({re.compile("test(s|ed)", re.I): "tested", "hello": Reply("hi", 1), "[x]": lambda *_prompt: "x"})
    claude.reply_to("hello", "again")
    prompts = ("Fix it", "run the TESTS", "hello", "other")
    said = [say(client, box, f"claude -p '{text}'")[0].strip() for text in prompts]
    assert said == ["fixed", "tested", "hi", "else"]
    assert say(client, box, "claude -p hello")[0] == "again\n"
    assert say(client, box, "claude -p x")[0] == "x\n"
    assert say(client, box, "claude -p 'Fix it'")[0] == "fixed\n"


def test_reply_function_gets_prompt_and_changes_sandbox(emulator, client, box):
    seen = []

    def work(prompt, sandbox):
        seen.append((prompt.agent, prompt.text, prompt.cwd, sandbox.id, sandbox.cwd))
        sandbox.write("a.txt", sandbox.read("a.txt") + "more\n")
        count = sandbox.exec("wc -l < a.txt").output.strip()
        return Reply(f"{count} lines", cost_usd=0.01)

    client.files.write(box, "a.txt", "some\n")
    emulator.agent("claude").reply(work)
    assert say(client, box, "mkdir d; cd d; claude -p 'More'") == ("2 lines\n", 0)
    assert seen == [("claude-code", "More", "/workspace/d", box, "/workspace/d")]
    assert client.files.read(box, "a.txt") == "some\nmore\n"
    assert client.sandboxes.get(box).llm_cost == 0.01


def test_reply_function_may_return_none_or_fail(emulator, client, box):
    emulator.agent("claude").reply(lambda prompt, sandbox: None, times=1)
    emulator.agent("claude").reply(lambda prompt, sandbox: 1 / 0, times=1, allow_errors=True)
    emulator.agent("claude").reply(lambda prompt, sandbox: Output("wrong kind"), times=1, allow_errors=True)
    assert "called no model" in say(client, box, "claude -p hi")[0]
    output, code = say(client, box, "claude -p hi")
    assert code == 1
    assert "division by zero" in output
    output, code = say(client, box, "claude -p hi")
    assert code == 1
    assert "Output" in output


def test_agent_fails_if_file_of_reply_cannot_be_written(emulator, client, box):
    client.sandboxes.exec(box, "mkdir taken")
    with pytest.raises(ValueError, match="files: '/etc/passwd' is not below /workspace, /root, /tmp"):
        emulator.agent("claude").reply("done", files={"/etc/passwd": "x"})
    emulator.agent("claude").reply("done", files={"taken": "x"}, allow_errors=True)
    output, code = say(client, box, "claude -p hi")
    assert code == 1
    assert "taken" in output
    assert "done" not in output


def test_pieces_of_reply_are_printed_one_by_one(emulator, client, box):
    emulator.agent("claude").reply([f"word{number} " for number in range(4)], delay=0.1)
    with client.sandboxes.stream(box, "claude -p hi") as stream:
        came = [piece for piece in stream if piece]
    assert "".join(came) == "word0 word1 word2 word3 \n"
    assert len(came) > 1
    assert emulator.agent("claude").prompts[0].reply == "word0 word1 word2 word3 "


def test_agent_after_killed_agent_gets_next_reply(emulator, client, box):
    emulator.agent("claude").reply("slow", delay=60, times=1)
    emulator.agent("claude").reply("quick")
    command = "claude -p first & until [ -e go ]; do sleep 0.01; done; { kill $!; wait $!; } 2>&-; claude -p second"
    with ThreadPoolExecutor(1) as pool:
        saying = pool.submit(say, client, box, command)
        deadline = time.monotonic() + 60
        while not emulator.journal.steps(box, kind="prompt", status="running"):
            assert time.monotonic() < deadline
        client.files.write(box, "go", "")
        assert saying.result(60) == ("quick\n", 0)
    first, second = emulator.agent("claude").prompts
    assert (first.prompt, first.exit_code) == ("first", -1)
    assert (second.prompt, second.exit_code) == ("second", 0)
    assert [session.status for session in client.sessions.list().data] == ["completed", "failed"]


def test_cost_of_reply_counts_against_budget(emulator, client):
    box = client.sandboxes.create(agents=["claude"], budget=1.0).id
    emulator.agent("claude").reply("expensive", cost_usd=2.0)
    say(client, box, "claude -p hi")
    emulator.clock.tick()
    assert client.sandboxes.get(box).status == "paused"


def test_command_that_uses_up_budget_is_answered_before_pause(emulator, client):
    """The sleep is longer than the emulator needs to notice that the budget is used up."""
    box = client.sandboxes.create(agents=["claude"], budget=1.0).id
    emulator.agent("claude").reply("expensive", cost_usd=2.0)
    assert say(client, box, "claude -p hi; sleep 0.4; echo end") == ("expensive\nend\n", 0)
    deadline = time.monotonic() + 60
    while client.sandboxes.get(box).status != "paused":
        assert time.monotonic() < deadline


# --- the command line


def test_json_output_has_format_of_claude(emulator, client, box):
    emulator.agent("claude").reply("all done\n", tokens_in=5, tokens_out=7, cost_usd=0.03)
    output, code = say(client, box, "claude -p hi --output-format json")
    reported = json.loads(output)
    assert code == 0
    assert reported.pop("duration_ms") >= 0
    assert reported.pop("duration_api_ms") >= 0
    assert reported == {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "num_turns": 1,
        "result": "all done",
        "session_id": client.sessions.list().data[0].id,
        "total_cost_usd": 0.03,
        "usage": {"input_tokens": 5, "output_tokens": 7},
    }
    emulator.agent("claude").clear()
    emulator.agent("claude").reply("no", exit_code=1)
    output, code = say(client, box, "claude --output-format=json -p hi")
    assert (json.loads(output)["is_error"], code) == (True, 1)


def test_stream_json_has_line_for_each_piece(emulator, client, box):
    emulator.agent("claude").reply(["a", "b"], model="opus")
    output, _ = say(client, box, "claude -p hi --output-format stream-json --verbose --dangerously-skip-permissions")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["type"] for line in lines] == ["system", "assistant", "assistant", "result"]
    assert (lines[0]["subtype"], lines[0]["model"], lines[0]["permissionMode"]) == ("init", "opus", "bypassPermissions")
    assert [line["message"]["content"] for line in lines[1:3]] == [[{"type": "text", "text": text}] for text in "ab"]
    assert lines[3]["result"] == "ab"
    assert len({line["session_id"] for line in lines}) == 1


def test_json_output_has_format_of_codex(emulator, client, box):
    emulator.agent("codex").reply(["all ", "done\n"], tokens_in=5, tokens_out=7)
    output, code = say(client, box, "codex exec --json hi")
    assert code == 0
    assert [json.loads(line) for line in output.splitlines()] == [
        {"type": "thread.started", "thread_id": client.sessions.list().data[0].id},
        {"type": "turn.started"},
        {"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": "all done"}},
        {"type": "turn.completed", "usage": {"input_tokens": 5, "cached_input_tokens": 0, "output_tokens": 7}},
    ]
    emulator.agent("codex").clear()
    emulator.agent("codex").reply("no\n", exit_code=1)
    output, code = say(client, box, "echo hi | codex exec --json resume ses_1 -")
    assert code == 1
    assert [json.loads(line) for line in output.splitlines()[2:]] == [
        {"type": "error", "message": "no"},
        {"type": "turn.failed", "error": {"message": "no"}},
    ]
    assert say(client, box, "codex exec -- --json") == ("no\n", 1)


def test_default_reply_supports_json(emulator, client, box):
    output, _ = say(client, box, "claude -p hi --output-format json")
    assert "called no model" in json.loads(output)["result"]


def test_version_option_prints_emulator_version_without_session(emulator, client, box):
    assert say(client, box, "claude --version; codex --version") == (f"{version} (caged emulator)\n" * 2, 0)
    assert emulator.agent("claude").prompts == []
    assert client.sessions.list().data == []


def test_prompt_on_standard_input_is_matched_and_recorded(emulator, client, box):
    emulator.agent("claude").reply_to("from stdin", "yes")
    assert say(client, box, "echo from stdin | claude -p --output-format text") == ("yes\n", 0)
    assert [prompt.prompt for prompt in emulator.agent("claude").prompts] == ["from stdin"]


def test_standard_input_is_not_read_if_prompt_is_argument(emulator, client, box):
    emulator.agent("claude").reply("ok")
    assert say(client, box, "printf '1\\n2\\n' | while read x; do claude -p $x; done") == ("ok\nok\n", 0)


def test_secrets_are_redacted_in_recorded_prompts(emulator, client):
    box = client.sandboxes.create(agents=["claude"], env={"TOKEN": "hunter2hunter2"}, secrets=["TOKEN"]).id
    emulator.agent("claude").reply(lambda prompt, sandbox: f"I received {prompt.text}")
    say(client, box, 'claude -p "use $TOKEN"')
    (prompt,) = emulator.agent("claude").prompts
    assert (prompt.prompt, prompt.reply) == ("use ***", "I received use ***")


def test_agent_replies_in_terminal(emulator, account, client, box):
    emulator.agent("claude").reply("done")
    with Term(emulator.base_url, box, account.api_key) as person:
        person.prompt().type("claude -p hi\r")
        person.until("done\r\n")


# --- passthrough


@at_every_level
def test_passthrough_without_program_fails_with_reason(emulator, client, box, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    emulator.agent("codex").passthrough()
    output, code = say(client, box, "codex exec hi")
    assert code == 127
    assert "codex: passthrough needs the real program" in output
    (prompt,) = emulator.agent("codex").prompts
    assert (prompt.prompt, prompt.session, prompt.exit_code) == ("hi", "", -1)


def test_passthrough_runs_program_of_host_with_arguments_and_input(emulators, tmp_path, monkeypatch):
    program = tmp_path / "claude"
    program.write_text('#!/bin/sh\necho "real $*"; cat; exit 4\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    emulator = emulators("process")
    account = emulator.create_account()
    view = emulator.for_account(account)
    with view.client() as client:
        box = client.sandboxes.create(agents=["claude"]).id
        claude = view.agent("claude")
        claude.reply_to("scripted", "yes")
        passing = claude.passthrough()
        assert say(client, box, "echo input | claude --model x -p 'a b'") == ("real --model x -p a b\ninput\n", 4)
        assert say(client, box, "echo input | claude -p") == ("real -p\ninput\n", 4)
        assert say(client, box, "claude -p scripted") == ("yes\n", 0)
        assert passing.used == 2
        claude.clear()
        assert "called no model" in say(client, box, "claude -p hi")[0]
    emulator.remove_account(account.id)


# --- scope, unused replies, wrong arguments


def test_unused_replies_are_reported(emulator, client, box):
    used = emulator.agent("claude").reply("a")
    emulator.agent("claude").reply_to("never", "b")
    emulator.agent("codex").reply("c")
    emulator.agent("aider").reply("d", optional=True)
    say(client, box, "claude -p hi")
    assert {(reply.agent, reply.options["text"]) for reply in emulator.agents.unused()} == {
        ("claude-code", "b"),
        ("codex", "c"),
    }
    assert [reply.options["text"] for reply in emulator.agent("claude").unused()] == ["b"]
    used.remove()
    assert len(emulator.agents.list()) == 3
    emulator.agents.clear()
    assert emulator.agents.list() == []


def test_reply_is_removed_at_end_of_with_statement(emulator, client, box):
    with emulator.agent("claude").reply("done"):
        assert say(client, box, "claude -p hi") == ("done\n", 0)
    assert "called no model" in say(client, box, "claude -p hi")[0]
    with pytest.raises(AssertionError, match=r"a reply was never used:\n  reply .* of codex"):
        with emulator.agent("codex").reply("done"):
            pass


def test_replies_apply_to_one_account(emulator, client, box):
    emulator.agent("claude").reply("mine")
    other = emulator.create_account()
    with emulator.client(other.api_key) as stranger:
        theirs = stranger.sandboxes.create(agents=["claude"]).id
        assert "called no model" in say(stranger, theirs, "claude -p hi")[0]
        assert emulator.for_account(other).agents.list() == []
    emulator.remove_account(other.id)
    assert say(client, box, "claude -p hi") == ("mine\n", 0)
    emulator.reset()
    assert emulator.agents.list() == []


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"times": 0}, "times"),
        ({"delay": -1}, "delay"),
        ({"cost_usd": -0.1}, "cost_usd"),
        ({"exit_code": 300}, "exit_code"),
        ({"tokens_in": -1}, "tokens_in"),
    ],
)
def test_invalid_option_is_refused_by_name(emulator, options, names):
    with pytest.raises(ValueError, match=names):
        emulator.agent("claude").reply("x", **options)


def test_remote_control_supports_all_but_functions(emulator, account, client, box):
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account=account) as remote:
        remote.agent("claude").replies(["a", Reply(["b", "c"], files={"f": "g"})])
        remote.agent("claude").reply_to(re.compile("^X", re.I), "x")
        assert [say(client, box, f"claude -p {word}")[0] for word in "yxy"] == ["a\n", "x\n", "bc\n"]
        assert client.files.read(box, "f") == "g"
        assert [prompt.prompt for prompt in remote.agent("claude").prompts] == ["y", "x", "y"]
        with pytest.raises(EmulatorError, match="in this process"):
            remote.agent("claude").reply(lambda prompt, sandbox: "x")


def test_seed_makes_ids_reproducible():
    def run():
        with Emulator(seed=7, allow_unused=True) as emulator, emulator.client() as client:
            box = client.sandboxes.create(agents=["claude"]).id
            added = [emulator.agent("claude").reply("a").id, emulator.commands.stub("x").id]
            output = client.sandboxes.exec(box, "claude -p hi --output-format json").output
            return added, output, [prompt.session for prompt in emulator.agent("claude").prompts]

    assert run() == run()

"""Prompts to the agents of a bound sandbox: scripted ones, and programs that print what the real ones do."""

from __future__ import annotations

import json
import pickle
import shlex
from types import SimpleNamespace

import pytest
from cases import each
from either_kind import items, result

from caged import Caged, CagedAgentError, CagedCommandTimeoutError, CagedConnectionError, CagedError
from caged._workspace import agent_streams
from caged._workspace.agent_dialects import AgentFailure, Claude, Codex, UnreadableOutput

AGENTS = ["claude", "codex"]


@pytest.fixture(autouse=True)
def clock():
    """Time is real here."""


@pytest.fixture(scope="module")
def agent_sandbox(emulator):
    with emulator.client() as client, client.sandboxes.open(agents=AGENTS) as box:
        yield box.id


@pytest.fixture
def box(on, agent_sandbox):
    """Runs a coroutine function of a bound sandbox that has agents, of either kind."""

    def run(use):
        async def bound(client):
            return await use(client.sandboxes.bind(agent_sandbox))

        return on(bound)

    return run


# --- scripted agents


def test_claude_replies_with_text_cost_tokens_and_session(box, emulator):
    async def use(box):
        return await result(box.agent("claude").ask("Fix it"))

    with emulator.agent("claude").reply("Done.\n", cost_usd=0.25, tokens_in=100, tokens_out=20, files={"fix": "1"}):
        reply = box(use)
    assert (reply.text, reply.cost, reply.tokens_in, reply.tokens_out, reply.tokens) == ("Done.", 0.25, 100, 20, 120)
    assert reply.session_id == reply.raw["session_id"] == emulator.agent("claude").prompts[-1].session
    assert reply.raw["type"] == "result"


def test_codex_replies_with_text_tokens_and_session(box, emulator):
    async def use(box):
        return await result(box.agent("codex").ask("Fix it"))

    with emulator.agent("codex").reply("Done.\n", tokens_in=100, tokens_out=20):
        reply = box(use)
    assert (reply.text, reply.cost, reply.tokens_in, reply.tokens_out) == ("Done.", None, 100, 20)
    assert reply.session_id == emulator.agent("codex").prompts[-1].session
    assert [event["type"] for event in reply.raw][::3] == ["thread.started", "turn.completed"]


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("stream", [False, True])
def test_reply_may_hold_every_separator_of_lines(box, emulator, agent, stream):
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh\ni"

    async def use(box):
        reply = box.agent(agent).ask("Say it", stream=stream)
        if not stream:
            return (await result(reply)).text
        assert len([event async for event in items(reply)]) >= 3
        return reply.reply.text

    with emulator.agent(agent).reply(text):
        assert box(use) == text


@pytest.mark.parametrize("agent", AGENTS)
def test_prompt_arrives_whole_with_model_session_and_options(box, emulator, agent):
    prompt = "-- 'quoted' \"$HOME\"\n`date`" + " long" * 8_000

    option = "--append-system-prompt" if agent == "claude" else "--profile"

    async def use(box):
        bound = box.agent(agent, options=[option, "a b"], env={"A": "b"}, cwd="/tmp")
        session = (await result(bound.ask("Begin"))).session_id
        return session, await result(bound.ask(prompt, model="some-model", session=session))

    with emulator.agent(agent).reply("ok"):
        session, reply = box(use)
    assert reply.text == "ok"
    record = emulator.agent(agent).prompts[-1]
    assert (record.prompt, record.cwd) == (prompt, "/tmp")
    words = list(record.arguments)
    assert words[words.index("--model") + 1] == "some-model"
    assert words[words.index(option) + 1] == "a b"
    assert words[words.index("--resume" if agent == "claude" else "resume") + 1] == session


@pytest.mark.parametrize("options", [{}, {"json": False}, {"stream": True}])
def test_session_that_claude_does_not_have_is_an_error(box, emulator, options):
    async def use(box):
        reply = box.agent("claude").ask("Go on", session="sess_of_another", **options)
        if "stream" in options:
            return [event async for event in items(reply)]
        return await result(reply)

    with emulator.agent("claude").reply("never", optional=True) as script:
        with pytest.raises(CagedAgentError, match="No conversation found with session ID: sess_of_another") as caught:
            box(use)
        assert script.used == 0
    assert caught.value.exit_code == 1
    assert emulator.agent("claude").prompts[-1].prompt == "Go on"


@pytest.mark.parametrize("agent", AGENTS)
def test_text_is_what_the_agent_prints_for_people(box, emulator, agent):
    async def use(box):
        return await result(box.agent(agent).ask("Say it", json=False))

    with emulator.agent(agent).reply("First.\nSecond.\n"):
        reply = box(use)
    assert (reply.text, reply.raw, reply.tokens, reply.session_id) == (
        "First.\nSecond.",
        "First.\nSecond.\n",
        None,
        None,
    )


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("as_json", [True, False])
def test_error_of_an_agent_is_raised_with_what_it_printed(box, emulator, agent, as_json):
    async def use(box):
        await result(box.agent(agent).ask("Fail", json=as_json))

    with emulator.agent(agent).reply("I am out of credit", exit_code=3):
        with pytest.raises(CagedAgentError, match=r"(?s)failed: .*I am out of credit") as caught:
            box(use)
    error = caught.value
    assert (error.agent, error.exit_code, error.stderr) == (agent, 3, "")
    assert "I am out of credit" in error.stdout
    assert (error.raw is not None) is as_json
    assert pickle.loads(pickle.dumps(error)).exit_code == 3


# --- streams


def test_claude_gives_its_events_as_they_come_and_then_its_reply(box, emulator):
    async def use(box):
        stream = box.agent("claude").ask("Go", stream=True)
        with pytest.raises(CagedError, match="no reply yet"):
            assert stream.reply
        return [event async for event in items(stream)], stream.reply

    with emulator.agent("claude").reply(["First. ", "Sécond."], cost_usd=0.5, tokens_in=10, tokens_out=2):
        events, reply = box(use)
    assert [event["type"] for event in events] == ["system", "assistant", "assistant", "result"]
    assert [event["message"]["content"][0]["text"] for event in events[1:3]] == ["First. ", "Sécond."]
    assert (reply.text, reply.cost, reply.tokens, reply.raw) == ("First. Sécond.", 0.5, 12, events[-1])


def test_event_is_there_before_the_agent_ends_and_closing_ends_the_agent(box, emulator):
    async def use(box):
        stream = box.agent("claude").ask("Go", stream=True)
        async for event in items(stream):
            assert event["type"] == "system"
            break
        processes = await result(box.processes())
        await result(stream.close())
        await result(stream.close())
        assert [event async for event in items(stream)] == []
        assert await result(processes[-1].wait(timeout=15)) == 137

    with emulator.agent("claude").reply("late", delay=600):
        box(use)


def test_codex_gives_its_events(box, emulator):
    async def use(box):
        stream = box.agent("codex").ask("Go", stream=True)
        return [event["type"] async for event in items(stream)], stream.reply.text

    with emulator.agent("codex").reply("Done."):
        types, text = box(use)
    assert (types, text) == (["thread.started", "turn.started", "item.completed", "turn.completed"], "Done.")


def test_error_of_a_streaming_agent_is_raised_after_its_events(box, emulator):
    async def use(box):
        stream = items(box.agent("claude").ask("Fail", stream=True))
        events = [await stream.__anext__() for _ in range(3)]
        with pytest.raises(CagedAgentError, match="I am out of credit") as caught:
            await stream.__anext__()
        assert caught.value.exit_code == 3
        return [event["type"] for event in events]

    with emulator.agent("claude").reply("I am out of credit", exit_code=3):
        assert box(use) == ["system", "assistant", "result"]


# --- programs that print something else


async def agent_program(box, program, script):
    """A program that a test has written, in place of claude or codex."""
    path = f"/workspace/programs/{program}"
    text = f"mkdir -p /workspace/programs; printf %s {shlex.quote(script)} >{path}; chmod 755 {path}"
    await result(box.run(text, check=True))
    return box.agent(program, env={"PATH": "/workspace/programs:/usr/bin:/bin"})


def with_program(box, program, script):
    """Give a prompt to such a program."""

    async def use(box):
        return await result((await agent_program(box, program, script)).ask("Go"))

    return box(use)


SLOW = "#!/bin/sh\necho begun; sleep 600 & echo $! >/workspace/slow; wait"


def test_agent_that_takes_too_long_is_ended(box):
    async def use(box):
        agent = await agent_program(box, "claude", SLOW)
        with pytest.raises(CagedCommandTimeoutError, match=r"claude -p.* took longer than 0.5 s") as caught:
            await result(agent.ask("Think", timeout=0.5))
        assert (await result(box.run("kill -0 $(cat /workspace/slow)"))).exit_code != 0
        return caught.value

    assert box(use).timeout == 0.5


def test_streaming_agent_that_takes_too_long_is_ended(box):
    async def use(box):
        stream = items((await agent_program(box, "claude", SLOW)).ask("Think", timeout=0.5, stream=True))
        with pytest.raises(CagedCommandTimeoutError, match=r"claude -p.* took longer than 0.5 s"):
            await stream.__anext__()
        assert await result((await result(box.processes()))[-1].wait(timeout=15)) == 137

    box(use)


@pytest.fixture
def stream_clock(monkeypatch):
    """A list with the time by which a stream of events knows its deadline."""
    time = [0.0]
    monkeypatch.setattr(agent_streams, "_timing", SimpleNamespace(now=lambda: time[0]))
    return time


async def all_of(events, received):
    async for event in events:
        received.append(event["type"])


def test_reply_of_an_agent_that_finished_in_time_is_there_for_a_slow_reader(box, stream_clock):
    printed = json.dumps({"type": "result", "result": "fine"})
    script = f"""#!/bin/sh
echo '{{"type":"system"}}'
until [ -e /workspace/read ]; do sleep 0.02; done
rm /workspace/read
echo '{printed}'"""

    async def use(box):
        stream = (await agent_program(box, "claude", script)).ask("Go", timeout=100, stream=True)
        events = items(stream)
        received = [(await events.__anext__())["type"]]
        await result(box.run("touch read"))
        assert await result((await result(box.processes()))[-1].wait(timeout=15)) == 0
        stream_clock[0] += 200
        await all_of(events, received)
        return received, stream.reply.text

    assert box(use) == (["system", "result"], "fine")


def test_events_before_a_timeout_are_returned(box, stream_clock):
    script = """#!/bin/sh
echo '{"type":"system"}'
until [ -e /workspace/read ]; do sleep 0.02; done
rm /workspace/read
echo '{"type":"assistant"}'
touch /workspace/printed
sleep 600"""

    async def use(box):
        events = items((await agent_program(box, "claude", script)).ask("Go", timeout=100, stream=True))
        received = [(await events.__anext__())["type"]]
        command = "touch read; until [ -e printed ]; do sleep 0.02; done; rm printed"
        await result(box.run(command, timeout=60, check=True))
        stream_clock[0] += 200
        with pytest.raises(CagedCommandTimeoutError, match="took longer than 100 s") as caught:
            await all_of(events, received)
        assert await result((await result(box.processes()))[-1].wait(timeout=15)) == 137
        assert "assistant" in caught.value.stdout
        return received

    assert box(use) == ["system", "assistant"]


def test_agent_that_prints_without_end_is_ended_in_time(box):
    script = """#!/bin/sh
while :; do echo '{"type":"assistant"}'; sleep 0.01; done"""

    async def use(box):
        events = items((await agent_program(box, "claude", script)).ask("Go", timeout=0.5, stream=True))
        with pytest.raises(CagedCommandTimeoutError, match=r"took longer than 0.5 s"):
            await all_of(events, [])
        assert await result((await result(box.processes()))[-1].wait(timeout=15)) == 137

    box(use)


def test_start_of_a_stream_whose_answer_is_lost_is_not_repeated_and_ends_the_agent(box, emulator):
    async def use(box):
        agent = await agent_program(box, "claude", "#!/bin/sh\necho $$ >>/workspace/started; exec sleep 600")
        await result(box.run("rm -f started"))
        known = len(await result(box.processes()))
        stream = agent.ask("Go", stream=True)
        with emulator.faults.add("sandboxes.exec", times=1, drop="after"):
            with pytest.raises(CagedConnectionError):
                await items(stream).__anext__()
        assert [event async for event in items(stream)] == []
        await result(stream.close())
        assert len(await result(box.processes())) == known
        started = (await result(box.run("cat started 2>/dev/null || true"))).stdout.split()
        assert len(started) <= 1
        for pid in started:
            assert not (await result(box.run(f"kill -0 {pid}"))).ok

    box(use)


def test_output_that_is_not_json_is_an_error_with_the_output(box):
    with pytest.raises(CagedAgentError, match=r"its output has no result\nstdout: Welcome!\nstderr: a warning"):
        with_program(box, "claude", "#!/bin/sh\necho Welcome!; echo a warning >&2")
    with pytest.raises(CagedAgentError, match=r"it exited with 4\nstdout: Please log in"):
        with_program(box, "codex", "#!/bin/sh\necho Please log in; exit 4")


def test_reply_of_a_program_that_exits_with_an_error_is_an_error(box):
    printed = json.dumps({"type": "result", "result": "fine"})
    with pytest.raises(CagedAgentError, match="it exited with 5") as caught:
        with_program(box, "claude", f"#!/bin/sh\necho '{printed}'; exit 5")
    assert caught.value.raw["result"] == "fine"


def test_agent_that_is_not_installed_is_an_error_that_says_what_to_do(on, sandbox_id):
    async def use(client):
        agent = client.sandboxes.bind(sandbox_id).agent("codex", env={"PATH": "/nowhere:/bin:/usr/bin"})
        with pytest.raises(CagedAgentError, match=r"has no such program; create it with agents=\['codex'\]"):
            await result(agent.ask("Go"))

    on(use)


# --- formats, without a sandbox


CLAUDE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "The answer",
    "session_id": "f1f3a1d4",
    "total_cost_usd": 0.0421,
    "usage": {
        "input_tokens": 4,
        "cache_creation_input_tokens": 1000,
        "cache_read_input_tokens": 200,
        "output_tokens": 30,
        "server_tool_use": {"web_search_requests": 0},
    },
}
CODEX = [
    {"type": "thread.started", "thread_id": "0199"},
    {"type": "turn.started"},
    {"type": "item.started", "item": {"id": "item_0", "type": "command_execution", "command": "ls"}},
    {"type": "item.completed", "item": {"id": "item_1", "type": "reasoning", "text": "thinking"}},
    {"type": "item.completed", "item": {"id": "item_2", "type": "agent_message", "text": "First"}},
    {"type": "item.completed", "item": {"id": "item_3", "type": "agent_message", "text": "The answer"}},
    {"type": "turn.completed", "usage": {"input_tokens": 1204, "cached_input_tokens": 1000, "output_tokens": 30}},
]


def lines(*objects):
    return "".join(json.dumps(one) + "\n" for one in objects)


@each(
    "dialect, output",
    [
        (Claude(), json.dumps(CLAUDE)),
        (Claude(), json.dumps([{"type": "system"}, CLAUDE])),
        (Claude(), "a warning\n" + lines({"type": "system"}, CLAUDE)),
        (Claude(), "a warning\r\n" + lines({"type": "system"}, CLAUDE).replace("\n", "\r\n")),
        (Codex(), lines(*CODEX)),
        (Codex(), "a warning\n" + lines({"type": "error", "message": "reconnecting"}, *CODEX)),
    ],
)
def test_reply_is_read(dialect, output):
    reply = dialect.read(output)
    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("The answer", 1204, 30)
    assert reply.session_id in ("f1f3a1d4", "0199")
    assert reply.cost == (0.0421 if isinstance(dialect, Claude) else None)


@each(
    "dialect, output, message",
    [
        (Claude(), json.dumps({**CLAUDE, "is_error": True, "result": "Invalid API key"}), "Invalid API key"),
        (Claude(), json.dumps({"type": "result", "subtype": "error_max_turns", "is_error": True}), "error_max_turns"),
        (Claude(), json.dumps({"type": "result", "subtype": "error_max_turns", "is_error": False}), "error_max_turns"),
        (Claude(), json.dumps({"type": "result", "is_error": True, "errors": ["No such", "thing"]}), "No such; thing"),
        (Codex(), lines({"type": "turn.failed", "error": {"message": "no credit"}}), "no credit"),
        (Codex(), lines({"type": "error", "message": "no connection"}), "no connection"),
        (Codex(), lines({"type": "turn.failed"}), "the turn failed"),
    ],
)
def test_failure_is_read(dialect, output, message):
    with pytest.raises(AgentFailure) as caught:
        dialect.read(output)
    assert str(caught.value) == message


@each("dialect", [Claude(), Codex()])
@each("output", ["", "text", "[]", "3", '{"type": "other"}', '{"type": ["result"]}', '"result"', "[[]]"])
def test_other_output_is_unreadable(dialect, output):
    with pytest.raises(UnreadableOutput):
        dialect.read(output)


@each("member", ["result", "usage", "total_cost_usd", "session_id"])
@each("wrong", [None, [], True, {"a": []}])
def test_member_of_another_type_is_left_out(member, wrong):
    if member == "result":  # without a text it is no reply
        with pytest.raises(UnreadableOutput):
            Claude().read(json.dumps({**CLAUDE, member: wrong}))
        return
    reply = Claude().read(json.dumps({**CLAUDE, member: wrong}))
    assert isinstance(reply.text, str)
    assert reply.cost is None or isinstance(reply.cost, float)


@each("count", [-1, 1.5, "12", True, [1], -1e300])
@each("member", ["input_tokens", "cache_read_input_tokens", "output_tokens"])
def test_number_of_tokens_that_is_none_is_an_error(count, member):
    with pytest.raises(UnreadableOutput, match=f"{member}, which is not a number of tokens"):
        Claude().read(json.dumps({**CLAUDE, "usage": {**CLAUDE["usage"], member: count}}))
    if not member.startswith("cache"):
        last = {**CODEX[-1], "usage": {**CODEX[-1]["usage"], member: count}}
        with pytest.raises(UnreadableOutput, match=f"{member}, which is not a number of tokens"):
            Codex().read(lines(*CODEX[:-1], last))


def test_cost_below_zero_is_an_error_and_one_of_zero_is_not():
    for cost in (-0.01, -1):
        with pytest.raises(UnreadableOutput, match=f"{cost} as total_cost_usd, which is below 0"):
            Claude().read(json.dumps({**CLAUDE, "total_cost_usd": cost}))
    assert Claude().read(json.dumps({**CLAUDE, "total_cost_usd": 0})).cost == 0


def test_numbers_that_make_no_sense_are_an_agents_error(box):
    printed = json.dumps({**CLAUDE, "usage": {"input_tokens": -4, "output_tokens": 1}})
    with pytest.raises(CagedAgentError, match=r"'claude' failed: its output has -4 as input_tokens") as caught:
        with_program(box, "claude", f"#!/bin/sh\necho '{printed}'")
    assert "The answer" in caught.value.stdout


def test_missing_numbers_of_tokens_are_unknown_or_nothing():
    reply = Claude().read(json.dumps({**CLAUDE, "usage": {"input_tokens": 3, "cache_read_input_tokens": None}}))
    assert (reply.tokens_in, reply.tokens_out) == (3, None)


def test_nan_infinity_and_deep_json_are_unreadable_output():
    whole = json.dumps({**CLAUDE, "total_cost_usd": 1.5})
    for output in (whole.replace("1.5", "NaN"), whole.replace("1.5", "1e999"), "[" * 100_000):
        with pytest.raises(UnreadableOutput):
            Claude().read(output)


def test_arguments_are_checked_before_any_request(driver):
    for options, prompt, message in [
        (
            {"name": "cladue"},
            {},
            "agent 'cladue' is not known; did you mean 'claude'\\? Known: claude, claude-code, codex",
        ),
        ({"name": "aider"}, {}, r"agent 'aider' is not known. Known: .*; others can be called with run\(\)"),
        ({"name": None}, {}, "agent None is not known"),
        ({"name": []}, {}, r"agent \[\] is not known"),
        ({"name": "claude", "options": "--verbose"}, {}, "options must be a list of str"),
        ({"name": "claude", "env": {"A": 1}}, {}, "must be a str"),
        ({"name": "claude"}, {"prompt": " \n"}, "prompt is empty"),
        ({"name": "claude"}, {"prompt": b"x"}, "prompt must be a str"),
        ({"name": "claude"}, {"model": ""}, "model is empty"),
        ({"name": "claude"}, {"session": 3}, "session must be a str"),
        (
            {"name": "claude"},
            {"session": "--verbose"},
            "session begins with '-', so the agent would",
        ),
        ({"name": "codex"}, {"model": "-"}, "model begins with '-'"),
        ({"name": "claude"}, {"json": None}, "json must be True or False"),
        ({"name": "claude"}, {"timeout": 0}, "timeout must be above 0"),
        ({"name": "claude"}, {"stream": 1}, "stream must be True or False"),
        ({"name": "claude"}, {"stream": True, "json": False}, "stream=True reads the agent's events"),
    ]:

        def use(client, options=options, prompt=prompt):
            return client.sandboxes.bind("cage_1").agent(**options).ask(**{"prompt": "Go", **prompt})

        with pytest.raises(CagedError, match=message):
            driver.run([], use)


@each(
    "options, message",
    [
        ({"cwd": 5}, "cwd must be a str"),
        ({"cwd": ""}, "cwd is empty"),
        ({"env": {"A-B": "x"}}, "env has the name 'A-B'"),
        ({"env": {"UID": "x"}}, "env has the name 'UID', which the shell sets itself"),
        ({"options": ["a\0b"]}, "NUL character"),
        ({"options": ["--output-format", "text"]}, r"'--output-format', which the SDK sets itself; ask\(json=False\)"),
        ({"options": ["--verbose", "--model=opus"]}, r"'--model', which the SDK sets itself; use ask\(model=...\)"),
        ({"options": ["-r", "id"]}, r"'-r', which the SDK sets itself; use ask\(session=...\)"),
        ({"options": ["-p"]}, "'-p', which the SDK sets itself; leave it out"),
        ({"name": "codex", "options": ["--json"]}, "'--json', which the SDK sets itself"),
        ({"name": "codex", "options": ("-m", "x")}, "'-m', which the SDK sets itself"),
    ],
)
def test_agent_with_an_argument_that_cannot_be_used_is_an_error_at_once(options, message):
    with Caged("k") as client:
        box = client.sandboxes.bind("cage_1")
        with pytest.raises(CagedError, match=message):
            box.agent(**{"name": "claude", **options})


@each("agent", [Claude(), Codex()])
def test_each_option_of_the_sdk_is_refused_from_callers(agent):
    for form in ("text", "json", "events"):
        for word in agent.words("some-model", "some-session", form, []):
            if word.startswith("-") and word not in ("-", "--verbose"):  # `--verbose` again has no effect
                with pytest.raises(CagedError, match=f"'{word}', which the SDK sets itself"):
                    agent.check_options([word])


def test_words_behind_two_dashes_are_no_options():
    with Caged("k") as client:
        client.sandboxes.bind("cage_1").agent("claude", options=["--max-turns", "5", "--", "--model"])


def test_agent_is_shown_with_its_sandbox():
    with Caged("k") as client:
        assert repr(client.sandboxes.bind("cage_1").agent("claude-code")) == "BoundAgent('claude', sandbox='cage_1')"
